"""Normal data."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.likelihoods.likelihood import Likelihood


class Gaussian(Likelihood):
    r"""Normal data of known standard deviation; the statistic is chi-squared. 32-bit floats are safe.

    Parameters
    ----------
    data, sigma : (n,) arrays
    """

    statistic_name: ClassVar[str] = "chi2"
    data: np.ndarray
    sigma: np.ndarray

    def __init__(self, data: Any, sigma: Any) -> None:
        data, sigma = np.asarray(data, dtype=np.float64), np.asarray(sigma, dtype=np.float64)
        if not np.all(np.isfinite(data)) or not np.all(np.isfinite(sigma) & (sigma > 0)):
            raise SkyfoldError("Gaussian data need finite values and positive standard deviations.")
        self.data, self.sigma = np.broadcast_arrays(data, sigma)

    def pointwise(self, expected: jax.Array) -> jax.Array:
        residual = (self.data - expected) / self.sigma
        return -0.5 * residual**2 - jnp.log(self.sigma) - 0.5 * jnp.log(2 * jnp.pi)

    def fisher(self, expected: jax.Array) -> jax.Array:
        return jnp.broadcast_to(1.0 / jnp.asarray(self.sigma) ** 2, jnp.shape(expected))

    def statistic(self, expected: jax.Array) -> jax.Array:
        return jnp.sum(((self.data - expected) / self.sigma) ** 2, axis=-1)

    def expected_statistic(self, expected: np.ndarray) -> tuple[float, float]:
        n = int(np.size(self.data))
        return float(n), float(np.sqrt(2.0 * n))

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        return rng.normal(expected, self.sigma)

    def with_data(self, data: Any) -> Self:
        return type(self)(data, self.sigma)

    @property
    def normal(self) -> bool:
        return type(self).pointwise is Gaussian.pointwise

    @property
    def variance(self) -> np.ndarray:
        return np.square(self.sigma)
