"""Starts of many chains: points scattered about the modes, wider than the posterior, inside the prior's support."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skyfold.inference.frames.unit_or_normal import Laplace
from skyfold.inference.frames.whitened import Frame
from skyfold.inference.running import Progress
from skyfold.inference.search.landscape import Landscape, landscape
from skyfold.inference.search.scoring import linearise
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
    record : what the run keeps of the search (see `Landscape.record`).
    """

    frame: Frame
    u: np.ndarray
    density: np.ndarray
    gradient: np.ndarray
    record: dict[str, Any]


def scatter(posterior: Posterior, n: int, *, screened: int, starts: int, seed: int, progress: Progress) -> Starts:
    """Search for the modes and scatter `n` points about them, each mode by its Laplace mass.

    Parameters
    ----------
    screened, starts : prior draws screened and starts climbed.
    """
    land = landscape(posterior, screened=screened, starts=starts, seed=seed, progress=progress)
    frame = Frame.of(land.laplace)
    unit = land.laplace.coordinates.unit
    rng = np.random.default_rng([seed, 3])
    shares = (rng.random() + rng.permutation(n)) / n
    centre, t = about_modes(land.laplace, shares, _WIDER, rng)
    # a point past a bound goes to a random place between it and the centre
    inwards = rng.random(t.shape)
    outside = unit & ((t <= 0.0) | (t >= 1.0))
    t = np.where(outside, centre + inwards * (np.where(t <= 0.0, 0.0, 1.0) - centre), t)
    t = np.where(unit, np.clip(t, 1e-9, 1.0 - 1e-9), t)
    record = land.record()
    record["spent"] += 2 * n * (posterior.ndim + 1)
    return Starts(frame, *entered(land, frame, t), record)


def about_modes(
    laplace: Laplace, shares: np.ndarray, wider: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Modes chosen by their mass and points drawn about each, in the coordinates of the approximations, (n, ndim).

    Parameters
    ----------
    shares : (n,) numbers in the unit interval. Spread evenly, they give every mode of some mass its share, so that
        disagreement between modes is seen.
    wider : factor on the widths.
    """
    mass = np.exp(laplace.log_masses - laplace.log_masses.max())
    chosen = np.minimum(np.searchsorted(np.cumsum(mass) / mass.sum(), shares), len(mass) - 1)
    centre, roots = laplace.means[chosen], np.linalg.cholesky(laplace.covariance)[chosen]
    return centre, centre + wider * np.einsum("kij,kj->ki", roots, rng.standard_normal(centre.shape))


def entered(land: Landscape, frame: Frame, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions in a frame of points t (n, ndim), log density and its gradient there."""
    z = land.laplace.coordinates.to_latent(t)[0]
    return frame.enter(t, z, *linearise(land.posterior, z, land.starts))
