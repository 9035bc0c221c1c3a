"""Smooth curves through points that rise and fall only where the points do."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def monotone_cubic(x: Array, y: Array, at: Array) -> Array:
    """The piecewise cubic of Fritsch and Butland (1984) through the points, which overshoots none of them.

    The slope at an inner point is a harmonic mean of those of the lines beside it, and 0 at a peak; scipy's
    ``PchipInterpolator``, for those who have numpy alone.

    Args:
        x: of the points, rising.
        y: of the points.
        at: where the curve is asked for, within the points.
    """
    if len(x) == 1:
        return np.full(at.shape, y[0])
    h, rise = np.diff(x), np.diff(y) / np.diff(x)
    slopes = np.concatenate([[0.0], _inner_slopes(h, rise), [0.0]])
    slopes[0], slopes[-1] = _end_slope(h, rise), _end_slope(h[::-1], rise[::-1])
    i = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(h) - 1)
    s = (at - x[i]) / h[i]
    # Hermite's cubic between two points, of their heights and slopes.
    from_left = (1 - s) ** 2 * ((1 + 2 * s) * y[i] + s * h[i] * slopes[i])
    height: Array = from_left + s**2 * ((3 - 2 * s) * y[i + 1] - (1 - s) * h[i] * slopes[i + 1])
    return height


def _inner_slopes(h: Array, rise: Array) -> Array:
    before, after = rise[:-1], rise[1:]
    weights = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
    # The flatter line's rise in front of the fraction: its inverse may be larger than any float.
    flat_first = np.abs(before) <= np.abs(after)
    flat, steep = np.where(flat_first, before, after), np.where(flat_first, after, before)
    of_flat, of_steep = np.where(flat_first, *weights), np.where(flat_first, *weights[::-1])
    slopes, same = np.zeros(len(before)), np.sign(before) * np.sign(after) > 0
    slopes[same] = (flat * (of_flat + of_steep))[same] / (of_flat[same] + of_steep[same] * (flat[same] / steep[same]))
    return slopes


def _end_slope(h: Array, rise: Array) -> float:
    """That of the parabola through the last three points, kept from overshooting."""
    if len(h) == 1:
        return float(rise[0])
    slope = ((2 * h[0] + h[1]) * rise[0] - h[0] * rise[1]) / (h[0] + h[1])
    if np.sign(slope) != np.sign(rise[0]):
        return 0.0
    turns = np.sign(rise[0]) != np.sign(rise[1]) and abs(slope) > 3 * abs(rise[0])
    return float(3 * rise[0] if turns else slope)
