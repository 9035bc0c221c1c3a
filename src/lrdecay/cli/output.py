"""What is printed never changes what is done: a letter that an encoding lacks, a closed pipe or a full disk cost
letters, not runs.

Imported at every start, so nothing heavy is imported here.
"""

import codecs
import contextlib
import io
import os
import select
import sys
from typing import Any

PLAIN = {
    "→": "->", "·": "|", "–": "-", "−": "-", "×": "x", "±": "+-", "…": "...", "γ": "gamma", "η": "lr", "λ": "lambda",
    "μ": "mu", "²": "^2", "³": "^3", "≤": "<=", "≥": ">=", "∞": "inf", "½": "1/2", "β": "beta", "ε": "eps",
    **dict(zip("▁▂▃▄▅▆▇█", "__..--==", strict=True)),
}  # fmt: skip
"""What stands for a letter that an encoding lacks; for any other it is a question mark."""


def replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler for encodings: something that can be printed, for whatever cannot."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = ""
    for letter in error.object[error.start : error.end]:
        plain = PLAIN.get(letter, "?")
        # Surrogates stand for bytes of a file's name that were no text.
        text += "?" if "\ud800" <= letter <= "\udfff" else plain
    return text, error.end


codecs.register_error("lrdecay.replaced", replaced)


def keep_printing() -> None:
    """Replaces stdout and stderr of this process, so that writing to them cannot fail."""
    _occupy_standard_streams()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, _Forgiving) and _has_descriptor(stream):
            _REPLACED.append(stream)
            setattr(sys, name, _forgiving(stream, name))


def _occupy_standard_streams() -> None:
    """Opens what was closed before the start, or the first file of the run would be written to by whatever prints."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


_REPLACED: list[io.TextIOWrapper] = []
"""Kept, since a stream that is not needed any more would close its descriptor."""


def _has_descriptor(stream: io.TextIOWrapper) -> bool:
    """Whether it leads out of the process; one in memory belongs to a caller who will read it."""
    try:
        return stream.fileno() >= 0
    except (OSError, ValueError):
        return False


def _forgiving(stream: io.TextIOWrapper, name: str) -> "_Forgiving":
    with contextlib.suppress(OSError):
        stream.flush()
    return _Forgiving(
        io.BufferedWriter(_Descriptor(stream.fileno(), name)),
        encoding=stream.encoding,
        errors="lrdecay.replaced",
        line_buffering=stream.line_buffering or stream.write_through,
    )


class _Forgiving(io.TextIOWrapper):
    """A stream of this kind, so that it is known again."""


class _Descriptor(io.RawIOBase):
    """A file descriptor that takes everything, and from the first write that fails on throws it away."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor, self.name, self._lost = descriptor, f"<{name}>", False

    def write(self, content: Any) -> int:
        size = len(content)
        while not self._lost:
            try:
                return os.write(self._descriptor, content)
            except BlockingIOError:  # a pipe whose other end does not want to be waited for, but is slow
                select.select([], [self._descriptor], [])
            except OSError as error:
                self._lost = True
                # That nobody reads on is no news; that the output is incomplete is.
                if not isinstance(error, BrokenPipeError) and self.name == "<stdout>":
                    print(f"warning: the output is incomplete: {error.strerror}", file=sys.stderr)
        return size

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)
