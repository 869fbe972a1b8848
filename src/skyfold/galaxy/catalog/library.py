"""Library of prior draws: what a catalogue's galaxies share, and where the search of each begins.

The fluxes of tens of thousands of prior draws are computed once. Their likelihoods for a galaxy cost two matrix
products, so that every galaxy is looked at over all of its prior; modes that the proposals miss are seen here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skyfold.galaxy.catalog.engine import BLOCK, library_fluxes
from skyfold.inference.quasirandom import normal_points

#: Draws of the library, in each half, that a galaxy's starts are taken from, and that its proposals are tested at.
TOP, TESTS = 512, 64
#: Effective draws that the tempered posterior shall have.
_TEMPERED = 40.0
#: Wide component: factor on the covariance of the tempered draws, and share of the prior's in it.
_WIDER, _PRIOR = 1.5, 0.05


@dataclass(frozen=True)
class Library:
    """Prior draws (2, n, d) in two halves, and their fluxes (2, n, n_band) for one solar mass."""

    z: np.ndarray
    fluxes: np.ndarray

    @classmethod
    def of(cls, posterior: Any, size: int, seed: int) -> Library:
        """Draw `size` points of the prior of a posterior with one observation."""
        half = max(size // 2 // BLOCK, 64) * BLOCK
        z = np.stack([normal_points(half, posterior.ndim, np.random.default_rng([seed, 40, i])) for i in range(2)])
        fluxes = np.stack([np.asarray(library_fluxes(posterior.kernel, part)) for part in z])
        return cls(z, np.where(np.isfinite(fluxes), fluxes, 0.0))

    def log_likelihood(self, half: int, data: np.ndarray, sigma: np.ndarray, low: float, high: float) -> np.ndarray:
        """Log-likelihood (g, n) of one half for galaxies (g, n_band), up to a constant; a guide for proposals only.

        The mass is integrated over a density of equal mass per ln M by Laplace's rule, and kept within limits.
        """
        flux = self.fluxes[half]
        inverse = 1.0 / sigma
        precision = np.maximum((inverse**2) @ (flux**2).T, 1e-250)
        cross = (data * inverse**2) @ flux.T
        mass = np.clip(cross / precision, low, high)
        signal = np.maximum(mass * np.sqrt(precision), 1.0)
        return mass * cross - 0.5 * mass**2 * precision - np.log(signal)


@dataclass(frozen=True)
class Beginning:
    """Where one half of the search of a galaxy begins.

    Attributes
    ----------
    starts : (s, d) starts of Fisher scoring.
    centre, spread : (d,), (d, d) of the tempered posterior of the library.
    top, weights : (m, d) heaviest draws of the library, and their posterior weights (m,).
    fluxes : (m, n_band) of one solar mass, of these draws.
    """

    starts: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    top: np.ndarray
    weights: np.ndarray
    fluxes: np.ndarray

    @classmethod
    def of(
        cls, z: np.ndarray, fluxes: np.ndarray, log_likelihood: np.ndarray, starts: int, rng: np.random.Generator
    ) -> Beginning:
        """Temper the library's likelihoods (n,) until enough draws have weight; choose starts among the heaviest."""
        best = np.argpartition(-log_likelihood, TOP)[:TOP]
        best = best[np.argsort(-log_likelihood[best])]
        logs, points = log_likelihood[best] - log_likelihood[best[0]], z[best]
        weights = np.exp(logs)
        weights /= weights.sum()
        power = 1.0
        tempered = weights
        while 1.0 / np.sum(tempered**2) < _TEMPERED and power > 1e-6:
            power *= 0.7
            tempered = np.exp(power * logs)
            tempered /= tempered.sum()
        centre = tempered @ points
        off = points - centre
        spread = _WIDER * (tempered[:, None] * off).T @ off + _PRIOR * np.eye(z.shape[1])
        places = (np.arange(starts) + rng.random()) / starts
        chosen = np.minimum(np.searchsorted(np.cumsum(tempered), places), TOP - 1)
        chosen[0] = 0
        return cls(points[chosen], centre, spread, points[:TESTS], weights[:TESTS], fluxes[best[:TESTS]])
