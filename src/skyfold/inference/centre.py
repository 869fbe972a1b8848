"""Centre: where the mass of a posterior of many dimensions lies, which is not where its density is highest.

In a model with a free amplitude over hundreds of excitations the joint maximum is degenerate: the amplitude grows
without end while the excitations vanish. A normal with the inverse metric as its covariance, moved to where its
divergence to the posterior is least (MGVI), feels the volume and stays where the mass is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.inference.conjugate import applied, descend, divergence, offsets
from skyfold.inference.lbfgs import DENSE, dense_metric
from skyfold.inference.maximum import Modes
from skyfold.inference.screening import evaluate

if TYPE_CHECKING:
    from skyfold.posterior import Posterior

#: Antithetic pairs of samples, rounds and Newton steps in each at most.
_PAIRS, _ROUNDS, _STEPS = 16, 10, 10
#: Root mean square move of the mean, in sds, after which it is good enough to start from.
_STILL = 0.01


def centre(posterior: Posterior, start: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
    """Mean (ndim,) of the metric Gaussian that was moved from a start (ndim,), and the derivatives that it took.

    Raises
    ------
    SkyfoldError
        If the likelihood is not finite at the start.
    """
    mean, spent = start, 0
    if not np.isfinite(float(divergence(posterior.kernel, start[None])[0])):
        raise SkyfoldError("The likelihood is not finite in the middle of the prior, where the search begins.")
    for _ in range(_ROUNDS):
        around, _, drawing = offsets(posterior, mean, _PAIRS, np.random.default_rng([seed, 23]))
        new, steps = descend(posterior, mean, around, _STEPS, _STILL)
        moved = new - mean
        length = float(moved @ np.asarray(applied(posterior.kernel, mean, moved)))
        mean, spent = new, spent + drawing + steps
        if length < _STILL**2 * len(mean):
            break
    return mean, spent


def central(posterior: Posterior, points: np.ndarray, density: np.ndarray) -> Modes:
    """Return the centre in the place of a mode, with the dense metric there.

    Parameters
    ----------
    points, density : screened prior draws (n, ndim) and their log density: the best one is the start if the likelihood
        is not finite in the middle of the prior.

    Raises
    ------
    SkyfoldError
        If there are more than 2,000 dimensions: whoever asks needs the metric as a matrix.
    """
    if posterior.ndim > DENSE:
        raise SkyfoldError(
            f"This method needs a metric of {posterior.ndim} x {posterior.ndim} numbers; beyond {DENSE} latent "
            "dimensions use sf.MGVI(), sf.GeoVI() or sf.Pathfinder(), which do without."
        )
    middle = np.zeros(posterior.ndim)
    possible = np.isfinite(float(divergence(posterior.kernel, middle[None])[0]))
    z, spent = centre(posterior, middle if possible else points[int(np.argmax(density))], 0)
    value, gradient = (np.asarray(a) for a in divergence(posterior.kernel, z[None]))
    metric = dense_metric(posterior, z)
    return Modes(
        z[None],
        value[None],
        evaluate(posterior, z[None])[1],
        gradient,
        metric[None],
        np.ones(1, dtype=bool),
        spent + 2 * len(metric),
        np.full(1, 2),
    )
