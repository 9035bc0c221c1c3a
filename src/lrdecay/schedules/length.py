"""How long a run is to be, in any unit, and by how much it is stretched."""

from dataclasses import dataclass, replace
from fractions import Fraction

from lrdecay.errors import is_number, require
from lrdecay.schedules.durations import LONGEST, Duration, DurationLike, nearest
from lrdecay.schedules.horizon import Horizon

MOST = 1_000_000
"""How many times as long a run can be made."""


@dataclass(frozen=True)
class Length:
    """How long a run is to be.

    Args:
        duration: of the run, in any unit but a percentage; ``None``: as long as its trainer trains.
        ssr: stretch ratio: the run, and every duration of its schedule but percentages, becomes so many times as long.
        samples_per_step: see `Horizon`, as for the next two.
        tokens_per_step: likewise.
        seconds_per_step: likewise.

    Raises:
        BadValue: the duration is invalid, or the stretch ratio is not a number above 0.
    """

    duration: DurationLike | None = None
    ssr: float = 1.0
    samples_per_step: int | None = None
    tokens_per_step: int | None = None
    seconds_per_step: float | None = None

    def __post_init__(self) -> None:
        require(is_number(self.ssr) and 0 < self.ssr <= MOST, "ssr", self.ssr, f"a number above 0, at most {MOST:,}")
        if self.duration is not None:
            fraction = isinstance(self.duration, float) and self.duration % 1 != 0
            require(not fraction, "duration", self.duration, 'a whole number of steps, or have a unit, such as "0.5ep"')
            parsed = Duration.parse(self.duration, "duration")
            allowed = "longer than 0, and not a percentage"
            require(parsed.unit != "%" and parsed.value > 0, "duration", self.duration, allowed)

    @property
    def decides(self) -> bool:
        """Whether the run ends elsewhere than its trainer would end it."""
        return self.duration is not None or self.ssr != 1

    def horizon(self, trained: int | None, steps_per_epoch: int | None) -> Horizon:
        """The horizon of the run.

        Args:
            trained: optimizer steps that the trainer would train for; needed where there is no duration.
            steps_per_epoch: optimizer steps of an epoch.

        Raises:
            BadValue: the duration is in a unit in which the run is not known, or shorter than a step.
        """
        rates = (self.samples_per_step, self.tokens_per_step, self.seconds_per_step)
        known = Horizon(trained or 1, steps_per_epoch, *rates)
        steps = Fraction(known.total_steps)
        if self.duration is not None:
            steps = Duration.parse(self.duration, "duration").length(known, "duration")
        total = nearest(steps * Fraction(str(self.ssr)))
        key, value = ("ssr", self.ssr) if self.duration is None else ("duration", self.duration)
        require(1 <= total <= LONGEST, key, value, f"long enough for 1 step, and for at most {LONGEST:,}")
        return replace(known, total_steps=total, stretch=self.ssr)
