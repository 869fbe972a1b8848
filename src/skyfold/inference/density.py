"""Density of many latent vectors at once: the executable that every batch method shares."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.errors import NonFiniteModelWarning
from skyfold.kernel import Kernel
from skyfold.posterior import Posterior

#: Latent vectors per call of `evaluate`, and per inner block that stays in the processor's cache.
CHUNK, BLOCK = 1024, 64


@jit
def batch_density(kernel: Kernel, z: jax.Array, wanted: int | None = None) -> tuple[jax.Array, jax.Array]:
    """Log density and log-likelihood of blocks of latent vectors (n, block, ndim), or of the first blocks alone.

    The executable that every batch method shares.
    """

    @jax.vmap
    def block(point: jax.Array) -> tuple[jax.Array, jax.Array]:
        value = kernel.log_likelihood(point)
        return value + kernel.log_prior(point), value

    def add(i: int, found: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        density, likelihood = (old.at[i].set(new) for old, new in zip(found, block(z[i]), strict=True))
        return density, likelihood

    nothing = jnp.full(z.shape[:2], -jnp.inf)
    return jax.lax.fori_loop(0, len(z) if wanted is None else wanted, add, (nothing, nothing))


def evaluate(posterior: Posterior, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log density and log-likelihood of latent vectors (n, ndim), in calls of one fixed shape.

    A density that is not finite becomes -inf; where it is not a number, a `NonFiniteModelWarning` says so.
    """
    density, likelihood = np.empty(len(z)), np.empty(len(z))
    for start in range(0, len(z), CHUNK):
        piece = z[start : start + CHUNK]
        padded = np.zeros((CHUNK, z.shape[1]))
        padded[: len(piece)] = piece
        blocks = padded.reshape(CHUNK // BLOCK, BLOCK, -1)
        d, ell = batch_density(posterior.kernel, blocks, -(-len(piece) // BLOCK))
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
