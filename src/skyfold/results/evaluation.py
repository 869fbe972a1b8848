"""Evaluation: models with every parameter at its value, for one draw or for many."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import numpy as np

from skyfold.kernel import Kernel
from skyfold.parameters import substitute
from skyfold.posterior import Posterior
from skyfold.results.predictive import in_chunks


def resolve(kernel: Kernel, number: int, z: Any) -> tuple[Any, Any]:
    """Model and observation of one pair with every parameter at its value; traced."""
    values = kernel.values(z)
    return substitute(kernel.pairs[number], lambda node: values[node.index])


def apply(posterior: Posterior, latent: np.ndarray, function: Any, observation: str) -> np.ndarray:
    """Apply a function to one observation's model at every draw.

    Parameters
    ----------
    posterior : where the model stands.
    latent : (n, ndim) latent vectors.
    function : pure JAX function of the model, whose parameters are numbers. The arrays of one that is an Equinox module
        are traced, so calls which differ in them only share one executable.
    observation : name of the observation.

    Returns
    -------
    (n, ...) array
    """
    number = list(posterior.pairs).index(observation)
    return in_chunks(lambda z: _apply(posterior.kernel, function, number, z), latent)


@eqx.filter_jit
def _apply(kernel: Kernel, function: Any, number: int, z: Any) -> Any:
    def one(point: Any) -> Any:
        return function(resolve(kernel, number, point)[0])

    return jax.lax.map(one, z, batch_size=32)
