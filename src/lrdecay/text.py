"""Numbers, names and values as people read them."""

from collections.abc import Sequence


def shortened(value: object) -> str:
    """The value as text, cut off where nobody reads on."""
    try:
        text = str(value)
    except ValueError:
        return "an integer of thousands of digits"
    return text if len(text) <= 200 else f"{text[:100]}… ({len(text)} characters)"


def brief(value: object) -> str:
    """The value on one line that leaves room for others."""
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:40]}… ({len(text)} characters)"


def listed(names: Sequence[str], most: int = 12) -> str:
    """The names, separated by commas; of many, the first and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def plural(count: int | None, noun: str) -> str:
    """``1 run``, ``12,000 runs``."""
    return f"{count:,} {noun}{'s' if count != 1 else ''}"


def format_seconds(seconds: float) -> str:
    """``0:41`` or ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
