"""What a run's code was: enough to find it again, and to see that it has changed."""

import functools
import hashlib
import re
import subprocess
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent.parent
SHOWS_ONLY = ("analysis", "cli", "reports", "sweeps")
"""Packages that no result depends on."""


@functools.cache
def provenance() -> dict[str, Any]:
    """``commit`` and ``dirty`` of the repository, both ``None`` outside of one, and ``code``, see `code`."""
    status = _git("status", "--porcelain")
    return {"commit": _git("rev-parse", "HEAD"), "dirty": None if status is None else status != "", "code": code()}


@functools.cache
def code(package: Path = PACKAGE) -> str:
    """A hash of what the package does to a result: its statements, without comments and docstrings."""
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        place = file.relative_to(package)
        if place.parts[0] not in SHOWS_ONLY:
            digest.update(place.as_posix().encode() + b"\0" + _statements(file.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:16]


# One pass over everything that can hold a quote or a number sign, so that neither is taken for the other: a text that
# stands by itself, which is a docstring; any other text, which is kept; a comment. Parsing would cost every job 0.2 s.
SINGLE, TRIPLE = r"{0}(?:\\.|[^{0}\\\n])*{0}", r"{0}{0}{0}(?:\\.|[^\\])*?{0}{0}{0}"
DOC = TRIPLE.format('"')
TEXTS = "|".join(form.format(quote) for form in (TRIPLE, SINGLE) for quote in ('"', "'"))
TEXT_OR_COMMENT = re.compile(
    rf"(?P<alone>^[ ]*r?{DOC}[ ]*$)|(?P<text>{TEXTS})|(?P<comment>[ ]*\#[^\n]*)",
    re.MULTILINE | re.DOTALL,
)


def _statements(source: str) -> str:
    """The source without comments, docstrings and empty lines."""
    bare = TEXT_OR_COMMENT.sub(lambda found: found["text"] or "", source)
    return "\n".join(line for line in bare.splitlines() if line.strip())


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
