"""Quasi-random points made on the host: they cost nothing to compile and fill space better than random ones.

The sequence is Halton's with randomly permuted digits (Owen 2017, "A randomized Halton algorithm in R",
arXiv:1706.02808). Past some 20 dimensions, where it loses its merit, the points are plain random ones.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71)


def uniform_points(n: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """Points (n, dimension) in the open unit cube."""
    if dimension > len(_PRIMES):
        points = rng.random((n, dimension))
    else:
        points = np.stack([_radical_inverse(n, base, rng) for base in _PRIMES[:dimension]], axis=1)
    return np.clip(points, 1e-16, 1.0 - 1e-16)


def _radical_inverse(n: int, base: int, rng: np.random.Generator) -> np.ndarray:
    """First `n` points of the one-dimensional sequence in a base, every digit permuted at random."""
    index, scale = np.arange(n), 1.0 / base
    points = np.zeros(n)
    while index.any():
        points += scale * rng.permutation(base)[index % base]
        index, scale = index // base, scale / base
    # the digits that follow are the same for all points
    return points + scale * base * rng.random()


def normal_points(n: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """Standard normal points (n, dimension)."""
    return ndtri(uniform_points(n, dimension, rng))


def student_points(n: int, dimension: int, pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Standard Student-t points (n, dimension) with ``2 * pairs`` degrees of freedom; normal ones for 0 pairs."""
    if not pairs:
        return normal_points(n, dimension, rng)
    u = uniform_points(n, dimension + pairs, rng)
    chi2 = -2.0 * np.log(u[:, dimension:]).sum(axis=1)
    return ndtri(u[:, :dimension]) * np.sqrt(2.0 * pairs / chi2)[:, None]
