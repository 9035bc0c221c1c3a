"""Leaves out of the doctests the adapters whose framework is not installed."""

from importlib.util import find_spec

FRAMEWORKS = {"keras": "keras", "optax": "jax", "transformers": "transformers"}

collect_ignore = [f"src/lrdecay/adapters/{name}.py" for name, needed in FRAMEWORKS.items() if find_spec(needed) is None]
