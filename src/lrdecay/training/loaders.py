"""Loaders that are not ours: a run that was stopped within an epoch resumes behind the batches that it has seen.

The batches of this package are a function of seed and epoch. Those of a ``DataLoader`` follow from the state of the
random generators when its iterator is made. So that state is kept, and a resumed epoch makes the iterator again from it
and passes over what was seen.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch

from lrdecay.data.batches import Batches
from lrdecay.training import internals
from lrdecay.training.randomness import random_state, restore_random_state

CPU = torch.device("cpu")


class Order:
    """What determines the order of the batches in the present epoch, for loaders that cannot tell themselves."""

    def __init__(self) -> None:
        self._state: dict[str, Any] | None = None
        self._before_batch: dict[str, Any] | None = None
        """The generators before the latest batch was fetched, which may have drawn from them."""

    def note_batch(self) -> None:
        """Notes the generators; to be called before a batch is fetched."""
        self._before_batch = random_state(CPU)

    def note(self, loaders: list[Any]) -> None:
        """Notes everything as it is now; to be called before an iterator is made."""
        self._state = {"random": random_state(CPU), **_taken(loaders)}

    def follow(self, trainer: pl.Trainer) -> None:
        """Notes it from now on whenever Lightning makes an iterator."""
        fetcher = internals.fetcher(trainer)
        if not _are_ours(trainer) and not hasattr(fetcher, "notes"):
            fetcher.__class__ = _noting(type(fetcher), self)

    def state(self, trainer: pl.Trainer) -> dict[str, Any] | None:
        """What a checkpoint must hold: how the epoch began, and what the next one will begin from."""
        if self._state is None or _are_ours(trainer):
            return None
        return {"epoch": self._state, "now": _taken(_loaders(trainer)), "batch": self._before_batch}

    def begin(self, trainer: pl.Trainer, state: dict[str, Any] | None = None) -> None:
        """Makes the iterator of a whole epoch; Lightning's was made before all was as it is now.

        Args:
            trainer: trains.
            state: from a checkpoint between two epochs.
        """
        if _are_ours(trainer):
            return
        loaders = _loaders(trainer)
        if state is not None:
            _put_back(loaders, state["now"])
        self.note(loaders)
        iter(internals.fetcher(trainer))

    def resume(self, trainer: pl.Trainer, state: dict[str, Any] | None, seen: int) -> bool:
        """Puts the epoch's iterator behind the batches that were seen.

        Returns:
            Whether it could be done; torch's generators are elsewhere then.
        """
        if _are_ours(trainer):
            return True
        if state is None:  # a checkpoint of version 0.1
            return False
        self._state = state["epoch"]
        fetcher = internals.fetcher(trainer)
        restore_random_state(state["epoch"]["random"], CPU)
        _put_back(_loaders(trainer), state["epoch"])
        iter(fetcher)
        for _ in range(seen):
            next(fetcher)
        fetcher.fetched -= seen  # Lightning will add them
        self.follow(trainer)
        return True

    def rewind(self, trainer: pl.Trainer, state: dict[str, Any] | None) -> None:
        """Puts the generators before the next batch, which had been fetched when the checkpoint was written."""
        if state is not None and state["batch"] is not None and not _are_ours(trainer):
            restore_random_state(state["batch"], CPU)


def _noting(kind: type, order: Order) -> type:
    """That kind of Lightning's fetchers, which make the iterator; these note first."""

    def __iter__(fetcher: Any) -> Any:
        order.note(list(_leaves(fetcher.combined_loader.iterables)))
        return kind.__iter__(fetcher)  # type: ignore[attr-defined]

    def __next__(fetcher: Any) -> Any:
        order.note_batch()
        return kind.__next__(fetcher)  # type: ignore[attr-defined]

    return type(f"Noting{kind.__name__}", (kind,), {"__iter__": __iter__, "__next__": __next__, "notes": True})


def _loaders(trainer: pl.Trainer) -> list[Any]:
    """Those that the training draws from, out of whatever lists and dictionaries they came in."""
    return list(_leaves(trainer.train_dataloader))


def _leaves(loaders: Any) -> Iterator[Any]:
    if isinstance(loaders, Mapping | list | tuple):
        for item in loaders.values() if isinstance(loaders, Mapping) else loaders:
            yield from _leaves(item)
    elif loaders is not None:
        yield loaders


def _are_ours(trainer: pl.Trainer) -> bool:
    """Whether the order of all loaders is a function of seed and epoch."""
    return all(isinstance(loader, Batches) for loader in _loaders(trainer))


def _taken(loaders: list[Any]) -> dict[str, Any]:
    """The states that loaders have of their own."""
    generators = [generator.get_state() for generator in _generators(loaders)]
    return {"generators": generators, "loaders": [loader.state_dict() for loader in loaders if _has_state(loader)]}


def _put_back(loaders: list[Any], states: dict[str, Any]) -> None:
    for generator, state in zip(_generators(loaders), states["generators"], strict=True):
        generator.set_state(state)
    for loader, state in zip(filter(_has_state, loaders), states["loaders"], strict=True):
        loader.load_state_dict(state)


def _has_state(loader: Any) -> bool:
    """Whether it can tell and take a state.

    Lightning saves it too, but when the next batch has been fetched, and has no occasion to restore it here.
    """
    return callable(getattr(loader, "state_dict", None)) and callable(getattr(loader, "load_state_dict", None))


def _generators(loaders: list[Any]) -> list[torch.Generator]:
    """Those that loaders and their samplers have of their own, each once."""
    owners = [owner for loader in loaders for owner in (loader, getattr(loader, "sampler", None))]
    found = [getattr(owner, "generator", None) for owner in owners]
    return list({id(one): one for one in found if isinstance(one, torch.Generator)}.values())
