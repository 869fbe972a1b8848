"""Starts of many chains: points scattered about the modes, wider than the posterior, inside the prior's support."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skyfold.inference.frames.whitened import Frame
from skyfold.inference.search.landscape import landscape
from skyfold.inference.search.scoring import linearise

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
    record : what the run keeps of the search (see `Landscape.record`).
    """

    frame: Frame
    u: np.ndarray
    density: np.ndarray
    gradient: np.ndarray
    record: dict[str, Any]


def scatter(posterior: Posterior, n: int, *, screened: int, starts: int, seed: int, progress: Any) -> Starts:
    """Search for the modes and scatter `n` points about them, each mode by its Laplace mass.

    Parameters
    ----------
    screened, starts : prior draws screened and starts climbed.
    """
    land = landscape(posterior, screened=screened, starts=starts, seed=seed, progress=progress)
    laplace = land.laplace
    frame = Frame.of(laplace)
    coordinates = laplace.coordinates
    roots = np.linalg.cholesky(laplace.covariance)
    mass = np.exp(laplace.log_masses - laplace.log_masses.max())
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
    record = land.record()
    record["spent"] += 2 * n * (posterior.ndim + 1)
    return Starts(frame, *frame.enter(t, z, value, gradient), record)
