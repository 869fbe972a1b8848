"""Uniformity: whether numbers between 0 and 1 are uniform, and the band in which their distribution should lie.

The empirical distribution function is looked at in many points at once. The band is made of binomial intervals, each
of the same small level, chosen so that the *whole* function stays inside with the wanted probability; that probability
is computed exactly, by a recursion over the points (Sailynoja, Buerkner & Vehtari 2022, Stat. Comput. 32, 32).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

#: Most points in which a distribution function is looked at.
MOST_POINTS = 100


def points(n: int) -> np.ndarray:
    """Points inside 0 .. 1 in which the distribution function of `n` numbers is looked at."""
    k = min(n, MOST_POINTS)
    return np.arange(1, k) / k if k > 1 else np.array([0.5])


def fractions(u: np.ndarray) -> np.ndarray:
    """Empirical distribution function of numbers (n,) in `points`."""
    return _counts(u) / len(u)


def band(n: int, level: float = 0.99) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limit of the distribution function of `n` uniform numbers, in `points`.

    Parameters
    ----------
    n : how many numbers.
    level : probability that the function lies inside in all points.
    """
    low, high = _limits(n, _local_level(n, level))
    return low / n, high / n


def p_value(u: np.ndarray) -> float:
    """Probability that uniform numbers depart from uniformity at least as far, in their worst point, as these do.

    It is below ``1 - level`` exactly where the distribution function leaves the `band` of that level.
    """
    from scipy.special import bdtr

    n, z = len(u), points(len(u))
    k = _counts(u)
    below = bdtr(k, n, z)
    above = np.where(k > 0, 1.0 - bdtr(np.maximum(k - 1, 0), n, z), 1.0)
    observed = 2.0 * min(float(np.min(below)), float(np.min(above)))
    if observed >= 1.0:
        return 1.0
    # the smallest departure that counts as farther is one whose local level is this one or less
    return float(np.clip(1.0 - _probability_inside(n, *_limits(n, observed * (1.0 + 1e-9))), 0.0, 1.0))


def _counts(u: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(u), points(len(u)), side="right")


def _limits(n: int, local: float) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest count at or below each point in two-sided binomial intervals of level ``1 - local``."""
    from scipy.special import bdtr

    z = points(n)
    cumulative = bdtr(np.arange(n + 1.0), n, z[:, None])
    low = np.array([np.searchsorted(row, 0.5 * local) for row in cumulative])
    high = np.array([np.searchsorted(row, 1.0 - 0.5 * local) for row in cumulative])
    return np.minimum(low, n), np.minimum(high, n)


def _probability_inside(n: int, low: np.ndarray, high: np.ndarray) -> float:
    """Probability that the counts of `n` uniform numbers lie within the limits in all points."""
    from scipy.special import gammaln

    log_factorial = gammaln(np.arange(n + 1) + 1.0)
    state, before, reached = np.ones(1), np.zeros(1, int), 0.0
    for z, first, last in zip(points(n), low, high, strict=True):
        now = np.arange(first, last + 1)
        p = (z - reached) / (1.0 - reached)
        new, left = now[None, :] - before[:, None], n - now[None, :]
        possible = new >= 0
        new = np.maximum(new, 0)
        log_step = log_factorial[n - before][:, None] - log_factorial[new] - log_factorial[left]
        log_step = log_step + new * np.log(p) + left * np.log1p(-p)
        state = state @ np.where(possible, np.exp(log_step), 0.0)
        before, reached = now, z
    return float(state.sum())


@lru_cache(maxsize=64)
def _local_level(n: int, level: float) -> float:
    """Level of the binomial intervals that together hold the whole function with probability `level`."""
    low, high = np.log((1.0 - level) / MOST_POINTS / 2.0), np.log(1.0 - level)
    for _ in range(30):
        middle = 0.5 * (low + high)
        inside = _probability_inside(n, *_limits(n, float(np.exp(middle)))) >= level
        low, high = (middle, high) if inside else (low, middle)
    return float(np.exp(low))
