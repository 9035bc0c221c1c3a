"""How long a run is to be, in any unit, and by how much it is stretched."""

from dataclasses import dataclass, replace
from fractions import Fraction

from lrdecay.errors import is_number, require
from lrdecay.schedules.durations import Duration, DurationLike, nearest
from lrdecay.schedules.horizon import Horizon


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
        BadValue: the duration is none, or the stretch ratio is not a number above 0.
    """

    duration: DurationLike | None = None
    ssr: float = 1.0
    samples_per_step: int | None = None
    tokens_per_step: int | None = None
    seconds_per_step: float | None = None

    def __post_init__(self) -> None:
        require(is_number(self.ssr) and self.ssr > 0, "ssr", self.ssr, "a number above 0")
        if self.duration is not None:
            parsed = Duration.parse(self.duration, "duration")
            allowed = "longer than 0, and no percentage, for a run"
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
        require(total >= 1, key, value, "long enough for 1 step")
        return replace(known, total_steps=total, stretch=self.ssr)
