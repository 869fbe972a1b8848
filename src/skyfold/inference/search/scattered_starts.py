"""Starts of many chains: points scattered about the modes, wider than the posterior, inside the prior's support."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skyfold.inference.frames.unit_or_normal import Laplace
from skyfold.inference.frames.whitened import Frame
from skyfold.inference.search.modes import MOST_UNSEEN, best_of, search_modes
from skyfold.inference.search.scoring import climb, linearise, refine
from skyfold.inference.search.screening import screen

if TYPE_CHECKING:
    from skyfold.posterior import Posterior

#: How much wider than the Laplace approximation the starts are: R-hat needs chains that could disagree.
_WIDER = 1.5


@dataclass(frozen=True)
class Starts:
    """Where chains start.

    Attributes
    ----------
    frame : whitened coordinates u in which the chains move.
    u, density, gradient : (n, ndim), (n,), (n, ndim) starting points, log density in the frame and its gradient.
    best, mode : (ndim,) latent vectors of the maximum of the likelihood and of the highest mode of the posterior.
    modes : number of modes found.
    unseen : share of the starts of the search that found a mode of their own.
    evaluations : spent on the search.
    """

    frame: Frame
    u: np.ndarray
    density: np.ndarray
    gradient: np.ndarray
    best: np.ndarray
    mode: np.ndarray
    modes: int
    unseen: float
    evaluations: int


def scatter(posterior: Posterior, n: int, *, screened: int, starts: int, seed: int, progress: Any) -> Starts:
    """Search for the modes and scatter `n` points about them, each mode by its Laplace mass.

    Parameters
    ----------
    screened, starts : prior draws screened and starts climbed.
    """
    progress.stage("searching for modes")
    points, density, _ = screen(posterior, screened, seed)
    search = search_modes(posterior, points, density, starts)
    modes = search.modes
    best = refine(posterior, modes, starts)
    laplace = Laplace.at(posterior, modes)
    frame = Frame.of(laplace)
    coordinates = laplace.coordinates
    roots = np.linalg.cholesky(laplace.covariance)
    log_mass = modes.value + np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1) - coordinates.log_slope(modes.z)
    mass = np.exp(log_mass - log_mass.max())
    rng = np.random.default_rng([seed, 3])
    # every mode of some mass gets its share, so that disagreement between modes is seen
    shares = (rng.random() + rng.permutation(n)) / n
    chosen = np.minimum(np.searchsorted(np.cumsum(mass) / mass.sum(), shares), len(mass) - 1)
    centre = laplace.means[chosen]
    t = centre + _WIDER * np.einsum("kij,kj->ki", roots[chosen], rng.standard_normal(centre.shape))
    # a point past a bound goes to a random place between it and the centre
    inwards = rng.random(t.shape)
    outside = coordinates.unit & ((t <= 0.0) | (t >= 1.0))
    t = np.where(outside, centre + inwards * (np.where(t <= 0.0, 0.0, 1.0) - centre), t)
    t = np.where(coordinates.unit, np.clip(t, 1e-9, 1.0 - 1e-9), t)
    z = coordinates.to_latent(t)[0]
    pieces = [linearise(posterior, z[i : i + starts], starts) for i in range(0, n, starts)]
    value, gradient = (np.concatenate(p) for p in zip(*pieces, strict=True))
    return Starts(
        frame,
        *frame.enter(t, z, value, gradient),
        best=best.z[0],
        mode=modes.z[0],
        modes=len(modes.z),
        unseen=search.unseen,
        evaluations=search.evaluations + best.evaluations + 2 * n * (posterior.ndim + 1),
    )


def incomplete(modes: int, unseen: float) -> tuple[str, ...]:
    """What to tell a user if the search for modes was not complete."""
    if unseen <= MOST_UNSEEN:
        return ()
    return (f"{modes} modes were found and one in {1.0 / unseen:.0f} starts still finds a new one",)


def best_fit(posterior: Posterior, best: np.ndarray, z: np.ndarray, likelihood: np.ndarray, starts: int) -> np.ndarray:
    """Latent vector (ndim,) of the maximum of the likelihood, climbed to from the best draw where that is better."""
    known = climb(posterior, np.tile(best, (starts, 1)), with_prior=False)
    return best_of(posterior, known, z, likelihood, starts)
