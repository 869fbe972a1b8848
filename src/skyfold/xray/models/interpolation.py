"""Cubic interpolation in tables on an even grid: what makes expensive functions of one variable cheap."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def cubic_coefficients(values: np.ndarray) -> np.ndarray:
    """Coefficients of a piecewise cubic with continuous slope through values on an even grid.

    Parameters
    ----------
    values : (..., n) array
        Values at positions 0, 1, ..., n - 1.

    Returns
    -------
    (4, ..., n - 1) array
        Coefficients of 1, t, t^2, t^3 in each interval, for `cubic`. The slopes come from four-point differences,
        so the error is of fourth order in the step.
    """
    slope = np.gradient(values, axis=-1, edge_order=2)
    inner = (values[..., :-4] - 8.0 * values[..., 1:-3] + 8.0 * values[..., 3:-1] - values[..., 4:]) / 12.0
    slope[..., 2:-2] = inner
    rise = values[..., 1:] - values[..., :-1]
    start, stop = slope[..., :-1], slope[..., 1:]
    return np.stack([values[..., :-1], start, 3.0 * rise - 2.0 * start - stop, start + stop - 2.0 * rise])


def locate(position: jax.Array, intervals: int) -> tuple[jax.Array, jax.Array]:
    """Interval that holds each position, and the fraction of it that lies before; positions outside are clamped."""
    inside = jnp.clip(position, 0.0, intervals)
    index = jnp.minimum(inside.astype(jnp.int32), intervals - 1)
    return index, inside - index


def cubic(coefficients: jax.Array | np.ndarray, index: jax.Array, fraction: jax.Array) -> jax.Array:
    """Value of the piecewise cubic (`cubic_coefficients`, shape (4, n)) in the given intervals."""
    rows = jnp.asarray(coefficients)
    c0, c1, c2, c3 = (rows[k].at[index].get(mode="promise_in_bounds") for k in range(4))
    return c0 + fraction * (c1 + fraction * (c2 + fraction * c3))


def cubic_slope(coefficients: jax.Array | np.ndarray, index: jax.Array, fraction: jax.Array) -> jax.Array:
    """Return the derivative of `cubic` with respect to the position."""
    rows = jnp.asarray(coefficients)
    c1, c2, c3 = (rows[k].at[index].get(mode="promise_in_bounds") for k in (1, 2, 3))
    return c1 + fraction * (2.0 * c2 + 3.0 * fraction * c3)
