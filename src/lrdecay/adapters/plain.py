"""Schedules and horizons as plain values, for what is saved and read by other programs."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from lrdecay.errors import require
from lrdecay.schedules import Duration, Horizon, Schedule


def to_plain(thing: Any) -> Any:
    """A schedule or horizon as a mapping of its class and parameters; tuples become lists, and all else stays.

    >>> from lrdecay import Cosine
    >>> to_plain(Cosine(warmup="5%"))["warmup"]
    '5%'
    """
    if is_dataclass(thing) and not isinstance(thing, type):
        values = {field.name: to_plain(getattr(thing, field.name)) for field in fields(thing)}
        return {"class": _name(type(thing)), **values}
    return [to_plain(item) for item in thing] if isinstance(thing, list | tuple) else thing


def of_plain(value: Any) -> Any:
    """What `to_plain` was given. Nothing is imported: a name must be that of an imported class.

    Raises:
        BadValue: no schedule of that name has been imported, or a parameter is out of its range.
    """
    if isinstance(value, dict):
        kinds: dict[str, Any] = {_name(kind): kind for kind in [Duration, Horizon, *_schedules()]}
        name = str(value.get("class"))
        require(name in kinds, "class", name, "a schedule that has been imported")
        return kinds[name](**{key: of_plain(item) for key, item in value.items() if key != "class"})
    return [of_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _name(kind: type) -> str:
    module = "lrdecay" if kind.__module__.startswith("lrdecay.schedules.") else kind.__module__
    return f"{module}.{kind.__qualname__}"


def _schedules(kind: type = Schedule) -> Iterator[type]:
    children: list[type] = kind.__subclasses__()
    for child in children:
        yield child
        yield from _schedules(child)
