"""Screening: the density at many points at once, and which of them are good starts."""

from __future__ import annotations

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.inference.density import evaluate
from skyfold.inference.search.quasirandom import normal_points
from skyfold.posterior import Posterior


def screen(posterior: Posterior, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quasi-random prior draws (n, ndim) with their log density and log-likelihood.

    Raises
    ------
    SkyfoldError
        If the likelihood is finite nowhere.
    """
    points = normal_points(n, posterior.ndim, np.random.default_rng([seed, 1]))
    density, likelihood = evaluate(posterior, points)
    if not np.any(np.isfinite(density)):
        raise SkyfoldError(
            f"The likelihood is not finite at any of {n} draws of the prior: the model gives NaN, infinite or negative "
            "expected data. Check the priors' ranges against the data that are fitted."
        )
    return points, density, likelihood


def choose_starts(points: np.ndarray, density: np.ndarray, n: int) -> np.ndarray:
    """Pick `n` starts: half the best by density, half spread out among the better quarter."""
    order = np.argsort(-density)
    order = order[np.isfinite(density[order])]
    best = list(order[: n // 2])
    pool = order[: max(n, len(order) // 4)]
    distance = np.min(((points[pool][:, None] - points[best][None]) ** 2).sum(-1), axis=1)
    while len(best) < n and len(pool):
        farthest = int(np.argmax(distance))
        best.append(pool[farthest])
        distance = np.minimum(distance, ((points[pool] - points[pool[farthest]]) ** 2).sum(-1))
    return points[np.resize(best, n)]
