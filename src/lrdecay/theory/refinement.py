"""A schedule from the gradient norms that a training had: refinement.

Defazio, Cutkosky, Mehta and Mishchenko, *Optimal linear decay learning rate schedules and further refinements* (arXiv
2310.07831), Algorithm 1: with the norms G_1 … G_T of a training's gradients, smoothed by a median filter, the bound of
Theorem 3 is lowest for the rates ::

    η_t ∝ w_t·Σ_{s>t} w_s,   w_t = 1/G_t²

With equal norms that is linear decay to zero. Where norms are large at first it begins with a warm-up, and where they
grow towards the end it falls faster there. It is derived for SGD; for Adam the paper takes the sum of absolute values
for the norm and w = 1/G.
"""

import numpy as np
from scipy.ndimage import median_filter

from lrdecay.errors import is_number, require


def refined(norms: np.ndarray, smoothing: float = 0.1) -> np.ndarray:
    """The refined schedule, at the beginning of as many equal parts of a run as there are norms, and at its end.

    Args:
        norms: of the gradient, one for each part.
        smoothing: the width of the median filter, as a fraction of the run; the filter repeats the first norm before
            the first, and past the last goes back, as in the paper.

    Returns:
        Heights relative to the highest, one more than norms: the last is 0.

    Raises:
        BadValue: a norm is not above 0 or not finite, or there are fewer than 3; smoothing is not in [0, 1].
    """
    norms = np.asarray(norms, dtype=float)
    require(norms.ndim == 1 and norms.size >= 3, "norms", norms.shape, "one for each part of the run, at least 3")
    require(bool(np.isfinite(norms).all() and (norms > 0).all()), "norms", norms.min(), "finite and above 0")
    require(is_number(smoothing) and 0 <= smoothing <= 1, "smoothing", smoothing, "a fraction of the run, in [0, 1]")
    weights = (norms.min() / smoothed(norms, smoothing)) ** 2
    # The beginning of a part has all of it before itself.
    rest = np.cumsum(weights[::-1])[::-1]
    heights = np.append(weights * rest, 0.0)
    relative: np.ndarray = heights / heights.max()
    return relative


def smoothed(norms: np.ndarray, smoothing: float) -> np.ndarray:
    """The norms through the median filter."""
    half = min(round(smoothing * len(norms) / 2), len(norms) - 1)
    padded = np.concatenate([np.full(half, norms[0]), norms, norms[::-1][1 : half + 1]])
    found: np.ndarray = median_filter(padded, size=2 * half + 1)[half : half + len(norms)]
    return found
