"""Losses that are no longer finite: noticed, recorded, and the end of the run unless it is to continue."""

import logging
import math
from collections.abc import Mapping
from typing import Any, Literal

from lrdecay.errors import DivergedError

log = logging.getLogger(__name__)


class DivergenceWatch:
    """Looks at every loss that is logged.

    Args:
        on_divergence: ``stop`` raises `DivergedError` at a loss that is not finite, ``continue`` says so once.

    Attributes:
        first: the first loss that was not finite: its step, the rate then, and the last finite one with its step.
        last_finite: the last finite training loss, and its step.
    """

    def __init__(self, on_divergence: Literal["stop", "continue"]) -> None:
        self.on_divergence = on_divergence
        self.first: dict[str, Any] | None = None
        self.last_finite: dict[str, Any] = {}

    def look(self, metrics: Mapping[str, float], split: str, step: int, rate: float) -> None:
        """Looks at the loss of a split.

        Raises:
            DivergedError: it is not finite, and that is to stop the run.
        """
        key = f"{split}/loss"
        if key not in metrics:  # somebody's module need not have one
            return
        if math.isfinite(metrics[key]):
            if split == "train":
                self.last_finite = {"last_loss": metrics[key], "last_step": step}
            return
        if self.first is not None:
            return
        self.first = {"loss": key, "step": step, "lr": rate, **self.last_finite}
        last = "no finite one before"
        if self.last_finite:
            last = f"last finite {self.last_finite['last_loss']:.4g} at step {self.last_finite['last_step']}"
        message = f"{key} {metrics[key]} at step {step}, learning rate {rate:g}; {last}"
        if self.on_divergence == "stop":
            raise DivergedError(message)
        log.warning("%s; on_divergence=continue", message)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold to continue."""
        return {"divergence": self.first, "last_finite": self.last_finite}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continues from what `state` gave."""
        self.first, self.last_finite = state["divergence"], state["last_finite"]
