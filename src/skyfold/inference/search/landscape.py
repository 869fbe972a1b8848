"""Landscape: what a look over the posterior shows before a method begins, the modes above all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skyfold.inference.frames.unit_or_normal import Laplace
from skyfold.inference.running import Progress
from skyfold.inference.search.maxima import Modes
from skyfold.inference.search.modes import Search, best_of, search_modes
from skyfold.inference.search.scoring import CALM, LANES, climb, refine
from skyfold.inference.search.screening import choose_starts, screen
from skyfold.posterior import Posterior


@dataclass(frozen=True)
class Landscape:
    """Screened prior draws and what is climbed to from them; each search is made when it is first asked for.

    Attributes
    ----------
    posterior : Posterior
    points, density, log_likelihood : prior draws (n, ndim), their log density and log-likelihood (n,).
    starts : starts of a batch of climbs.
    progress : is told how a long search comes along.
    """

    posterior: Posterior
    points: np.ndarray
    density: np.ndarray
    log_likelihood: np.ndarray
    starts: int
    progress: Progress | None = None

    @property
    def screened(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Prior draws, their log density and log-likelihood."""
        return self.points, self.density, self.log_likelihood

    def first(self, max_steps: int = 200) -> Modes:
        """Maxima of the posterior that one batch of climbs comes to, best first."""
        starts = choose_starts(self.points, self.density, self.starts)
        return climb(self.posterior, starts, max_steps=max_steps, lanes=LANES, calm=CALM)

    @cached_property
    def search(self) -> Search:
        """Modes of the posterior, and whether they are all."""
        return search_modes(self.posterior, self.points, self.density, self.starts, self.progress)

    @property
    def modes(self) -> Modes:
        """Modes of the posterior, best first."""
        return self.search.modes

    @cached_property
    def best(self) -> Modes:
        """Maxima of the likelihood that the modes lead to, best first."""
        return refine(self.posterior, self.modes, self.starts)

    @cached_property
    def laplace(self) -> Laplace:
        """Normal approximations at the modes."""
        return Laplace.at(self.posterior, *self.modes.parts)

    @property
    def evaluations(self) -> int:
        """Evaluations of the search for the modes and for the maxima of the likelihood."""
        return self.search.evaluations + self.best.evaluations

    def best_fit(self, z: np.ndarray, log_likelihood: np.ndarray) -> np.ndarray:
        """Latent vector (ndim,) of the maximum of the likelihood, that of draws z (n, ndim) known."""
        return best_of(self.posterior, self.best, z, log_likelihood, self.starts)

    def record(self) -> dict[str, Any]:
        """What a run keeps of it in its state."""
        return {
            "best": self.best.z[0],
            "mode": self.modes.z[0],
            "modes": len(self.modes.z),
            "unseen": self.search.unseen,
            "spent": self.evaluations,
        }


def landscape(
    posterior: Posterior, *, screened: int, starts: int, seed: int, progress: Progress | None = None
) -> Landscape:
    """Screen the prior, to climb from the best draws.

    Parameters
    ----------
    screened, starts : prior draws, and how many of them a batch of climbs begins from.

    Raises
    ------
    SkyfoldError
        If the likelihood is finite nowhere.
    """
    if progress is not None:
        progress.stage("searching for modes")
    return Landscape(posterior, *screen(posterior, screened, seed), starts, progress)
