"""How long a run is."""

from dataclasses import dataclass, fields

from lrdecay.errors import is_integer, is_number, require


@dataclass(frozen=True, repr=False)
class Horizon:
    """How long a run is, and what else is known of its steps, for durations in other units.

    Args:
        total_steps: optimizer steps of the whole run, T; gradient accumulation is counted in.
        steps_per_epoch: optimizer steps of one epoch, for durations in epochs.
        samples_per_step: samples of one optimizer step, on all devices, for durations in samples.
        tokens_per_step: tokens of one optimizer step, for durations in tokens.
        seconds_per_step: of one optimizer step, for durations in time.
        stretch: what every duration that is not a percentage is multiplied by.

    Raises:
        BadValue: the first four are not integers of at least 1, or the last two not numbers above 0.
    """

    total_steps: int
    steps_per_epoch: int | None = None
    samples_per_step: int | None = None
    tokens_per_step: int | None = None
    seconds_per_step: float | None = None
    stretch: float = 1.0

    def __post_init__(self) -> None:
        for key in ("total_steps", "steps_per_epoch", "samples_per_step", "tokens_per_step"):
            value = getattr(self, key)
            if value is not None or key == "total_steps":
                require(is_integer(value) and value >= 1, key, value, "an integer, at least 1")
                object.__setattr__(self, key, int(value))
        for key in ("seconds_per_step", "stretch"):
            value = getattr(self, key)
            if value is not None or key == "stretch":
                require(is_number(value) and value > 0, key, value, "a number above 0")
                object.__setattr__(self, key, float(value))

    def __repr__(self) -> str:
        """What is known."""
        known = [f for f in fields(self) if getattr(self, f.name) != f.default]
        return f"Horizon({', '.join(f'{f.name}={getattr(self, f.name)}' for f in known)})"
