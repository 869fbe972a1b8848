"""Quasi-random points made on the host: they cost nothing to compile and fill space better than random ones.

The sequence is the additive recurrence of the generalised golden ratio (Roberts 2018, "The unreasonable effectiveness
of quasirandom sequences"), shifted at random (Cranley & Patterson 1976, SIAM J. Numer. Anal. 13, 904). Past some 20
dimensions, where such sequences lose their merit, the points are plain random ones.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

_MAX_DIMENSION = 20


def uniform_points(n: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """Points (n, dimension) in the open unit cube."""
    if dimension > _MAX_DIMENSION:
        points = rng.random((n, dimension))
    else:
        ratio = 1.0
        for _ in range(60):
            ratio = (1.0 + ratio) ** (1.0 / (dimension + 1.0))
        steps = ratio ** -np.arange(1.0, dimension + 1.0)
        points = (rng.random(dimension) + np.arange(1.0, n + 1.0)[:, None] * steps) % 1.0
    return np.clip(points, 1e-16, 1.0 - 1e-16)


def normal_points(n: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """Standard normal points (n, dimension)."""
    return ndtri(uniform_points(n, dimension, rng))


def student_points(n: int, dimension: int, pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Standard Student-t points (n, dimension) with ``2 * pairs`` degrees of freedom."""
    u = uniform_points(n, dimension + pairs, rng)
    chi2 = -2.0 * np.log(u[:, dimension:]).sum(axis=1)
    return ndtri(u[:, :dimension]) * np.sqrt(2.0 * pairs / chi2)[:, None]
