"""Screening: the density at many points at once, and which of them are good starts."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from skyfold.compilation import jit
from skyfold.errors import NonFiniteModelWarning, SkyfoldError
from skyfold.inference.quasirandom import normal_points
from skyfold.kernel import Kernel

if TYPE_CHECKING:
    from skyfold.posterior import Posterior


@jit
def batch_density(kernel: Kernel, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Log density and log-likelihood of latent vectors (n, ndim); the executable every batch method shares."""

    def one(point: jax.Array) -> tuple[jax.Array, jax.Array]:
        value = kernel.log_likelihood(point)
        return value + kernel.log_prior(point), value

    return jax.lax.map(jax.vmap(one), z)


#: Latent vectors per call of `evaluate`, and per inner block that stays in the processor's cache.
CHUNK, BLOCK = 1024, 64


def evaluate(posterior: Posterior, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log density and log-likelihood of latent vectors (n, ndim), in calls of one fixed shape.

    A density that is not finite becomes -inf; where it is not a number, a `NonFiniteModelWarning` says so.
    """
    density, likelihood = np.empty(len(z)), np.empty(len(z))
    for start in range(0, len(z), CHUNK):
        piece = z[start : start + CHUNK]
        padded = np.zeros((CHUNK, z.shape[1]))
        padded[: len(piece)] = piece
        d, ell = batch_density(posterior.kernel, padded.reshape(CHUNK // BLOCK, BLOCK, -1))
        density[start : start + CHUNK] = np.ravel(d)[: len(piece)]
        likelihood[start : start + CHUNK] = np.ravel(ell)[: len(piece)]
    undefined = np.flatnonzero(np.isnan(density))
    if len(undefined):
        values = {n: _shown(np.asarray(v)) for n, v in posterior.values(z[undefined[0]]).items()}
        warnings.warn(
            f"the model is not a number at {len(undefined)} of {len(z)} points, such as {values}; that part of the "
            "prior counts as impossible: restrict the prior or mend the model",
            NonFiniteModelWarning,
            stacklevel=2,
        )
    bad = ~np.isfinite(density)
    density[bad], likelihood[bad] = -np.inf, -np.inf
    return density, likelihood


def _shown(value: np.ndarray) -> Any:
    """Return a value as a message shows it: long arrays by their first entries."""
    return value.tolist() if value.size <= 8 else f"{value.ravel()[:3].tolist()} and {value.size - 3} more"


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
