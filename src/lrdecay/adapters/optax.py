"""Schedules for optax: ``optax.adam(schedule(Cosine(), 1e-3, Horizon(15_000)))``."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lrdecay.adapters.table import rate_table
from lrdecay.schedules import Horizon, Schedule


def schedule(schedule: Schedule, rate: float, horizon: Horizon) -> Callable[[jax.typing.ArrayLike], jax.Array]:
    """A function from the count of steps to the rate, as optax has its own schedules.

    It works under ``jit``, ``vmap`` and ``scan``, and in ``optax.inject_hyperparams``; in float64 where JAX has that
    enabled, otherwise in float32. Past the end the rate of the end holds.

    Args:
        schedule: of the rate; momentum and weight decay are not optax's to set here.
        rate: η₀.
        horizon: of the run.

    Raises:
        BadValue: see `lrdecay.adapters.table.rate_table`.

    >>> import optax
    >>> from lrdecay import Cosine, Horizon
    >>> optimizer = optax.adam(schedule(Cosine(), 1e-3, Horizon(15_000)))
    """
    rates = rate_table(schedule, rate, horizon)  # numpy's: an array of JAX's, made under a trace, would leak from it

    def rate_at(count: jax.typing.ArrayLike) -> jax.Array:
        return jnp.asarray(rates)[jnp.clip(jnp.asarray(count), 0, horizon.total_steps)]

    return rate_at
