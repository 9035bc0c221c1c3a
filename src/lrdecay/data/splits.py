"""How many items of a data set train and how many validate; without torch."""

from typing import Any

from lrdecay.errors import is_integer, require


def split_sizes(available: int, val_size: int | str, train_size: int | None) -> tuple[int, int]:
    """Items that train and that validate, of those `available`; the last ones validate.

    Args:
        available: images, signals or, of a text, characters.
        val_size: a number of them, or a percentage such as ``"20%"``.
        train_size: how many of the others are used; ``None`` for all.

    Raises:
        BadValue: a size is not one, or is more than there are.
    """
    allowed = f'a number below {available} or a percentage such as "20%"'
    val: Any = val_size
    if isinstance(val, str) and val.endswith("%"):
        try:
            val = round(float(val[:-1]) * available / 100)
        except (ValueError, OverflowError):
            val = None
    require(is_integer(val) and 1 <= val < available, "val_size", val_size, allowed)
    rest = available - int(val)
    if train_size is None:
        return rest, int(val)
    require(is_integer(train_size) and train_size >= 1, "train_size", train_size, "an integer, at least 1")
    require(train_size <= rest, "train_size", train_size, f"at most {rest}")
    return train_size, int(val)


def windows(characters: int, length: int) -> int:
    """Windows that an epoch reads of a text: side by side from an origin below `length`, their targets one further."""
    return max(characters - length, 0) // length
