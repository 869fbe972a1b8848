r"""Stein: whether draws stop short of where the posterior goes on.

Of draws of a smooth density p that falls off on all sides, with means :math:`\bar z_i` and standard deviations
:math:`\sigma_i`,

.. math:: \sigma_i\,E[\partial_i \ln p] = 0, \qquad E[(\bar z_i - z_i)\,\partial_i \ln p] = 1

for every coordinate (Stein 1972, Proc. Sixth Berkeley Symp. 2, 583; Gorham & Mackey 2015, NIPS 28). Draws that end
where p does not, such as those which never entered a narrow neck, break them by the density at the end times its
distance, however well independent groups of draws agree with each other.
"""

from __future__ import annotations

import jax
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.inference.frames.unit_or_normal import coordinate_names
from skyfold.kernel import Kernel
from skyfold.posterior import Posterior

#: Departures from 0 and from 1 that are reported, if they are so many standard errors.
_WORST, _ERRORS = (0.1, 0.2), 5.0
#: Points per inner block, and blocks per call of the executable.
_BLOCK, _BLOCKS = 64, 16


def departures(posterior: Posterior, latent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Departures from the two identities, and their standard errors.

    Parameters
    ----------
    latent : (groups, n, ndim) draws that count alike, independent between groups.

    Returns
    -------
    departure, error : (2, ndim) each
        The error is the larger of that of the groups' scatter and that of as many independent draws.
    """
    groups, n, ndim = latent.shape
    flat = latent.reshape(-1, ndim)
    size = _BLOCK * _BLOCKS
    padded = flat[np.arange(-(-len(flat) // size) * size) % len(flat)].reshape(-1, _BLOCKS, _BLOCK, ndim)
    slope = np.concatenate([np.asarray(_slopes(posterior.kernel, z)).reshape(-1, ndim) for z in padded])[: len(flat)]
    # a point without a derivative says nothing
    slope = np.where(np.isfinite(slope), slope, 0.0)
    offset = flat - flat.mean(axis=0)
    each = np.stack([slope * flat.std(axis=0), -offset * slope - 1.0]).reshape(2, groups, n, ndim)
    scatter = each.mean(axis=2).std(axis=1, ddof=1) / np.sqrt(groups) if groups > 1 else 0.0
    return each.mean(axis=(1, 2)), np.maximum(scatter, each.std(axis=(1, 2)) / np.sqrt(groups * n))


def complaint(posterior: Posterior, departure: np.ndarray, error: np.ndarray) -> tuple[str, ...]:
    """Message on the worst departure, if there is one to report."""
    excess = np.where(np.abs(departure) > _ERRORS * error, np.abs(departure) / np.array(_WORST)[:, None], 0.0)
    if not excess.max() > 1.0:
        return ()
    kind, k = np.unravel_index(int(np.argmax(excess)), excess.shape)
    found, wanted = departure[kind, k] + kind, ("0", "1")[kind]
    return (
        f"the draws of {coordinate_names(posterior)[k]} stop where the posterior goes on: Stein's identity gives "
        f"{found:.2f} +- {error[kind, k]:.2f} instead of {wanted}; use more particles or walkers, or another method",
    )


@jit
def _slopes(kernel: Kernel, z: jax.Array) -> jax.Array:
    """Gradients of the log density at latent vectors (blocks, n, ndim)."""
    return jax.lax.map(jax.vmap(jax.grad(kernel.log_density)), z)
