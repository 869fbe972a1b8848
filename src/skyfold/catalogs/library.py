"""Library of prior draws: what a catalogue's objects share, and where the search of each begins.

The expected data of tens of thousands of prior draws are computed once. Their likelihoods for an object cost little
then, so that every object is looked at over all of its prior; modes that the proposals miss are seen here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyfold.catalogs.engine import BLOCK, expected_at
from skyfold.catalogs.problem import Problem
from skyfold.inference.importance.psis import kish, systematic
from skyfold.inference.search.quasirandom import normal_points

#: Draws of a half that the other's proposals are tested at, those that take part in an object's own draws, and heaviest
#: ones among which a half with few is tempered.
TESTS, MEMBERS, _TOP = 128, 512, 4096
#: Effective draws that the tempered posterior shall have.
_TEMPERED = 40.0
#: Wide component: factor on the covariance of the tempered draws, and share of the prior's in it.
_WIDER, _PRIOR = 1.5, 0.05


@dataclass(frozen=True)
class Library:
    """Prior draws (2, n, d) in two halves, and their expected data (2, n, n_data)."""

    z: np.ndarray
    expected: np.ndarray

    @classmethod
    def of(cls, problem: Problem, size: int, seed: int) -> Library:
        """Draw `size` points of a problem's prior."""
        half, ndim = max(size // 2 // BLOCK, 64) * BLOCK, problem.template.ndim
        z = np.stack([normal_points(half, ndim, np.random.default_rng([seed, 40, i])) for i in range(2)])
        expected = np.stack([np.asarray(expected_at(problem.target, part)) for part in z])
        return cls(z, np.where(np.isfinite(expected), expected, 0.0))


@dataclass(frozen=True)
class Beginning:
    """Where one half of the search of an object begins.

    Attributes
    ----------
    starts : (s, d) starts of Fisher scoring.
    centre, spread : (d,), (d, d) of the tempered posterior of the library.
    tests, test_expected : (m, d), (m, n_data) draws of the library's own posterior, and their expected data.
    members, member_expected : (k, d), (k, n_data) other ones, each once.
    member_factors : (k,) logarithms of what a sum over them is to be weighted by to stand for the sum over all of the
        half; -inf for entries that only fill up.
    """

    starts: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    tests: np.ndarray
    test_expected: np.ndarray
    members: np.ndarray
    member_expected: np.ndarray
    member_factors: np.ndarray

    @classmethod
    def of(
        cls, z: np.ndarray, expected: np.ndarray, log_likelihood: np.ndarray, starts: int, rng: np.random.Generator
    ) -> Beginning:
        """Temper the library's likelihoods (n,) until enough draws have weight, and draw starts from them.

        All of the half takes part, not its likeliest draws alone: where the data say little the posterior is wide, and
        most of it lies at likelihoods far below the best.
        """
        weights = np.exp(log_likelihood - log_likelihood.max())
        points, tempered, best = z, weights, int(np.argmax(log_likelihood))
        if kish(weights) < _TEMPERED:
            top = np.argpartition(-log_likelihood, min(_TOP, len(z) - 1))[:_TOP]
            logs, points = log_likelihood[top] - log_likelihood[best], z[top]
            power = 1.0
            while kish(tempered) < _TEMPERED and power > 1e-6:
                power *= 0.7
                tempered = np.exp(power * logs)
        centre = tempered @ points / tempered.sum()
        off = points - centre
        spread = _WIDER * (tempered[:, None] * off).T @ off / tempered.sum() + _PRIOR * np.eye(z.shape[1])
        first = points[systematic(tempered, starts, rng)]
        first[0] = z[best]
        tests = systematic(weights, TESTS, rng)
        own, counts = np.unique(systematic(weights, MEMBERS, rng), return_counts=True)
        factors = np.full(MEMBERS, -np.inf)
        factors[: len(own)] = np.log(counts * weights.sum() / MEMBERS) - (log_likelihood[own] - log_likelihood[best])
        own = own[np.arange(MEMBERS) % len(own)]
        return cls(first, centre, spread, z[tests], expected[tests], z[own], expected[own], factors)
