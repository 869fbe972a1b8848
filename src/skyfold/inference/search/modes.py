"""Search for modes: climb from batches of starts until new ones stop finding new modes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyfold.inference.running import Progress
from skyfold.inference.search.large import LARGE
from skyfold.inference.search.maxima import Modes, joined
from skyfold.inference.search.scoring import climb
from skyfold.inference.search.screening import choose_starts
from skyfold.posterior import Posterior

#: Share of starts that may find a mode of their own before the search is called incomplete.
MOST_UNSEEN = 0.05
#: Batches of starts that a search spends at most.
_BATCHES = 16
#: Log mass below the heaviest mode's from which a mode is no matter.
_LIGHT = 10.0


@dataclass(frozen=True)
class Search:
    """Modes of a posterior, and how likely one more start is to end in a mode not found yet.

    Attributes
    ----------
    modes : Modes
    unseen : float
        Share of the starts that found a mode which no other start found (Good & Turing's estimate; Good 1953,
        Biometrika 40, 237), among modes that carry mass.
    evaluations : int
    """

    modes: Modes
    unseen: float
    evaluations: int

    @property
    def complete(self) -> bool:
        """Whether new starts stopped finding new modes."""
        return self.unseen <= MOST_UNSEEN


def search_modes(
    posterior: Posterior, points: np.ndarray, density: np.ndarray, starts: int, progress: Progress | None = None
) -> Search:
    """Climb from batches of starts until new ones stop finding new modes.

    In more than 200 dimensions the only mode is the `centre` of the posterior.

    Parameters
    ----------
    points, density : screened prior draws (n, ndim) and their log density.
    starts : starts per batch.
    progress : is told how the search for the centre comes along.
    """
    if posterior.ndim > LARGE:
        from skyfold.inference.search.mass_centre import central

        modes = central(posterior, points, density, progress=progress)
        return Search(modes, 0.0, len(points) + modes.evaluations)
    modes = climb(posterior, choose_starts(points, density, starts))
    pool = None
    for batch in range(_BATCHES):
        heavy = modes.log_masses > modes.log_masses.max() - _LIGHT
        unseen = float(np.sum(modes.hits[heavy] == 1) / max(modes.hits[heavy].sum(), 1))
        if unseen <= MOST_UNSEEN:
            break
        pool = choose_starts(points, density, starts * _BATCHES) if pool is None else pool
        modes = joined(modes, climb(posterior, pool[batch::_BATCHES][:starts]))
    return Search(modes, unseen, len(points) + modes.evaluations)


def best_fit(posterior: Posterior, best: np.ndarray, z: np.ndarray, likelihood: np.ndarray, starts: int) -> np.ndarray:
    """Latent vector (ndim,) of the maximum of the likelihood, climbed to from the best draw where that is better."""
    known = climb(posterior, np.tile(best, (starts, 1)), with_prior=False)
    return best_of(posterior, known, z, likelihood, starts)


def best_of(posterior: Posterior, best: Modes, z: np.ndarray, likelihood: np.ndarray, size: int) -> np.ndarray:
    """Latent vector (ndim,) of the best fit: that found by climbing, or one climbed to from a better draw."""
    i = int(np.argmax(likelihood))
    if not likelihood[i] > best.log_likelihood[0] + 1e-6:
        return best.z[0]
    return climb(posterior, np.tile(z[i], (size, 1)), with_prior=False).z[0]
