"""The loss of a run under a schedule that was not trained, from runs that were: the multi-power law.

Luo, Zhuang, Zhang, Yan, Sun and Lyu, *A multi-power law for loss curve prediction across learning rate schedules*
(arXiv 2503.12811): after t steps with the rates η_1 … η_t ::

    L(t) = L₀ + A·S₁(t)^(−α) − B·Σ_k (η_{k−1} − η_k)·(1 − (1 + C·η_k^(−γ)·S_k(t))^(−β))

S₁(t) is the sum of all rates up to t and S_k(t) that from step k on, k running over the steps after the rate's first
peak. The first terms are what a constant rate would come to; the last is what each drop of the rate has gained since.

A jump is taken as a fast fall through all the rates between. As the law is printed, all of it would count at the rate
that it ends at, which promises too much of a step: 1.65 of a small transformer, by runs without any, where 1.70 was
measured; as a fast fall it is 1.70.

Rates are taken relative to the highest of the runs that the law is fitted to, so that its parameters are of the same
size for every optimizer.
"""

from dataclasses import dataclass, fields

import numpy as np

PIECES = 150
"""Of the changes of a rate, as many are told apart; neighbouring ones are taken as one, in their middle."""
JUMP = 0.01
"""Of the peak rate; a larger change from one step to the next is taken as several, through the rates between."""


@dataclass(frozen=True)
class Law:
    """The law with its parameters, for rates relative to ``peak``."""

    L0: float
    A: float
    alpha: float
    B: float
    C: float
    beta: float
    gamma: float
    peak: float

    def losses(self, rates: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """The losses after so many steps of a run with these rates."""
        return evaluate(self.parameters, Summed(rates / self.peak, steps))

    @property
    def parameters(self) -> np.ndarray:
        """All but the peak, in the order of `PARAMETERS`."""
        return np.array([getattr(self, name) for name in PARAMETERS])


PARAMETERS = tuple(field.name for field in fields(Law) if field.name != "peak")


class Summed:
    """A run's rates, summed up once: what the law takes of them at each step that is asked for.

    Attributes:
        all: S₁ at each of the steps.
        since: S_k at each of the steps, for each drop of the rate; 0 before it.
        drops: η_{k−1} − η_k; below 0 where the rate rises.
        rates: η_k.
    """

    def __init__(self, rates: np.ndarray, steps: np.ndarray, each: float = 1.0, smooth: bool = False) -> None:
        sums = each * np.concatenate([[0.0], np.cumsum(rates)])
        self.all = sums[steps]
        changes = -np.diff(rates, prepend=rates[:1])
        changes[: int(np.argmax(rates >= rates.max() * (1 - 1e-9))) + 1] = 0.0
        where = np.flatnonzero(changes)
        changes = changes[where]
        self.rates, self.drops, middle = rates[where], changes, sums[where]
        if not smooth and len(where):
            # A jump becomes small falls at one time, and of many small falls some are taken together.
            count = np.ceil(np.abs(changes) / JUMP).astype(int)
            part = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            left = np.repeat(changes, count) * (1 - (part + 1) / np.repeat(count, count))
            where, changes = np.repeat(where, count), np.repeat(changes / count, count)
            numbers = _pieces(changes, where / len(rates))
            weights = np.abs(changes)
            totals = np.bincount(numbers, weights)
            middle = np.bincount(numbers, weights * sums[where]) / totals
            self.rates = np.bincount(numbers, weights * (rates[where] + left)) / totals
            self.drops = np.bincount(numbers, changes)
        self.since = np.maximum(self.all[:, None] - middle, 0.0)


def _pieces(changes: np.ndarray, times: np.ndarray) -> np.ndarray:
    """For each change of a rate, the number of its piece, which is of one sign, and small in size and in time."""
    if len(changes) <= PIECES:
        return np.arange(len(changes))
    size = np.cumsum(np.abs(changes)) / np.abs(changes).sum()
    parts = np.stack([np.sign(changes), np.floor(size * PIECES / 2), np.floor(times * PIECES / 2)])
    numbers: np.ndarray = np.concatenate([[0], np.cumsum(np.any(np.diff(parts, axis=1) != 0, axis=0))])
    return numbers


def evaluate(parameters: np.ndarray, run: Summed) -> np.ndarray:
    """The losses of a run by a law with these parameters, in the order of `PARAMETERS`."""
    level, scale, alpha, gain, speed, beta, gamma = parameters
    undecayed = level + scale * run.all**-alpha
    # The rate may fall to 0, where the law's power has no value; what it gains there has no time to show.
    slow = speed * np.maximum(run.rates, 1e-9) ** -gamma
    losses: np.ndarray = undecayed - gain * ((1 - (1 + slow * run.since) ** -beta) @ run.drops)
    return losses
