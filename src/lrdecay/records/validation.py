"""What is wrong with values from a file, in words: the key first."""

import re

import msgspec

WORDS = {"array": "a list", "object": "a mapping", "str": "a text", "float": "a number", "int": "an integer"}


def mismatch(error: msgspec.ValidationError) -> str:
    """``.parts[0].measures: expected a list, got a text``; a key of the whole begins with a dot."""
    what, _, path = str(error).partition(" - at `$")
    what = re.sub(r"^Object (contains |is )?", "", what).replace("`", "").replace(" | ", " or ")
    what = re.sub(r"\b(array|object|str|float|int)\b", lambda kind: WORDS[kind[0]], what)
    return f"{path.rstrip('`')}: {what[0].lower()}{what[1:]}"
