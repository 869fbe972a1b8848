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


def apply(
    posterior: Posterior, latent: np.ndarray, function: Any, observation: str, integrated: np.ndarray | None = None
) -> np.ndarray:
    """Apply a function to one observation's model at every draw.

    Parameters
    ----------
    posterior : where the model stands.
    latent : (n, ndim) latent vectors.
    function : pure JAX function of the model, whose parameters are numbers. The arrays of one that is an Equinox module
        are traced, so calls which differ in them only share one executable.
    observation : name of the observation.
    integrated : (n, ...) draws of what the observation integrates out of the model, which are put back.

    Returns
    -------
    (n, ...) array
    """
    number = list(posterior.pairs).index(observation)
    more = () if integrated is None else (integrated,)
    return in_chunks(lambda *points: _apply(posterior.kernel, function, number, points), latent, *more)


@eqx.filter_jit
def _apply(kernel: Kernel, function: Any, number: int, points: tuple[Any, ...]) -> Any:
    def one(point: tuple[Any, ...]) -> Any:
        model, observation = resolve(kernel, number, point[0])
        return function(observation.restored(model, point[1]) if len(point) > 1 else model)

    return jax.lax.map(one, points, batch_size=32)
