"""Loaders that are not ours: a run that was stopped within an epoch resumes behind the batches that it has seen.

The batches of this package are a function of seed and epoch. Those of a ``DataLoader`` follow from the state of the
random generators when its iterator is made. So that state is kept, and a resumed epoch makes the iterator anew from it
and passes over what was seen.
"""

from typing import Any, cast

import pytorch_lightning as pl
import torch

from lrdecay.data import Batches
from lrdecay.randomness import random_state, restore_random_state

CPU = torch.device("cpu")


class Order:
    """What determines the order of the batches in the present epoch, for loaders that cannot tell themselves."""

    def __init__(self) -> None:
        self._state: dict[str, Any] | None = None

    def note(self, loaders: list[Any]) -> None:
        """Notes the generators as they are now; to be called before an iterator is made."""
        states = [generator.get_state() for generator in _generators(loaders)]
        self._state = {"random": random_state(CPU), "generators": states}

    def follow(self, trainer: pl.Trainer) -> None:
        """Notes them from now on whenever Lightning makes an iterator."""
        fetcher: Any = trainer.fit_loop._data_fetcher
        if not _tell_themselves(trainer) and not hasattr(fetcher, "notes"):
            fetcher.__class__ = _noting(type(fetcher), self)

    def state(self, trainer: pl.Trainer) -> dict[str, Any] | None:
        """What a checkpoint must hold."""
        return None if trainer.fit_loop._combined_loader is None or _tell_themselves(trainer) else self._state

    def resume(self, trainer: pl.Trainer, state: dict[str, Any] | None, seen: int) -> bool:
        """Puts the epoch's iterator behind the batches that were seen.

        Returns:
            Whether it could be done; the generators are elsewhere then.
        """
        if _tell_themselves(trainer):
            return True
        generators = _generators(_loaders(trainer))
        if state is None or len(state["generators"]) != len(generators):
            return False
        self._state = state
        fetcher: Any = trainer.fit_loop._data_fetcher
        restore_random_state(state["random"], CPU)
        for generator, before in zip(generators, state["generators"], strict=True):
            generator.set_state(before)
        iter(fetcher)
        for _ in range(seen):
            next(fetcher)
        fetcher.fetched -= seen  # Lightning will add them
        return True

    def begin(self, trainer: pl.Trainer) -> None:
        """Makes the iterator of a whole epoch from the generators as they are; Lightning's is from earlier ones."""
        if not _tell_themselves(trainer):
            self.note(_loaders(trainer))
            iter(cast(Any, trainer.fit_loop._data_fetcher))


def _noting(kind: type, order: Order) -> type:
    """That kind of Lightning's fetchers, which make the iterator; these note first."""

    def __iter__(fetcher: Any) -> Any:
        order.note(fetcher.combined_loader.flattened)
        return kind.__iter__(fetcher)  # type: ignore[attr-defined]

    return type(f"Noting{kind.__name__}", (kind,), {"__iter__": __iter__, "notes": True})


def _loaders(trainer: pl.Trainer) -> list[Any]:
    loader = trainer.fit_loop._combined_loader
    return [] if loader is None else list(loader.flattened)


def _tell_themselves(trainer: pl.Trainer) -> bool:
    """Whether all loaders are ours, or have a state that Lightning saves and restores."""
    return all(isinstance(loader, Batches) or hasattr(loader, "load_state_dict") for loader in _loaders(trainer))


def _generators(loaders: list[Any]) -> list[torch.Generator]:
    """Those that loaders and their samplers have of their own, each once."""
    owners = [owner for loader in loaders for owner in (loader, getattr(loader, "sampler", None))]
    found = [getattr(owner, "generator", None) for owner in owners]
    return list({id(one): one for one in found if isinstance(one, torch.Generator)}.values())
