"""Likelihoods: how probable data are for given expected data, datum by datum.

A likelihood holds the data. What it computes is traced by JAX, except `sample`, which draws on the host with NumPy
(a Poisson sampler compiled by XLA costs more than a second, and drawing is never on a hot path).
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError

#: Smallest expected count that a logarithm sees; a datum there is as good as impossible, yet finite.
_FLOOR = 1e-300


class Likelihood(eqx.Module):
    """Base of the likelihoods whose data are conditionally independent."""

    data: eqx.AbstractVar[Any]
    statistic_name: eqx.AbstractClassVar[str]

    def pointwise(self, expected: jax.Array) -> jax.Array:
        """Log-likelihood of each datum, normalisation included."""
        raise NotImplementedError

    def fisher(self, expected: jax.Array) -> jax.Array:
        """Fisher information of each expected datum: the diagonal of the metric in data space."""
        raise NotImplementedError

    def statistic(self, expected: jax.Array) -> jax.Array:
        """Goodness-of-fit statistic as the field prints it."""
        raise NotImplementedError

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        """Draw data; `expected` may have leading batch axes."""
        raise NotImplementedError

    def with_data(self, data: Any) -> Self:
        """Same likelihood for other data of the same shape."""
        raise NotImplementedError


class Poisson(Likelihood):
    r"""Poisson counts.

    .. math:: \ln L = \sum_i d_i \ln m_i - m_i - \ln d_i!

    The statistic is C-stat as XSPEC prints it, :math:`C = 2 \sum_i m_i - d_i + d_i \ln (d_i/m_i)` (Cash 1979, ApJ 228,
    939; XSPEC manual, appendix B). 32-bit floats lose about 1e-7 of every m_i: safe up to some 1e6 counts in all.

    Parameters
    ----------
    data : (n,) array
        Counts, not negative; fractions (rate times exposure) are accepted.
    """

    statistic_name: ClassVar[str] = "C-stat"
    data: np.ndarray
    saturated: np.ndarray
    """Log-likelihood of each datum at m = d."""

    def __init__(self, data: Any) -> None:
        from scipy.special import gammaln, xlogy

        data = np.asarray(data, dtype=np.float64)
        if not np.all(np.isfinite(data) & (data >= 0)):
            raise SkyfoldError("Poisson counts must be finite and not negative.")
        self.data = data
        self.saturated = xlogy(data, data) - data - gammaln(data + 1.0)

    def _deviance(self, expected: jax.Array) -> jax.Array:
        model = jnp.maximum(expected, 0.0)
        some = self.data > 0
        ratio = jnp.maximum(model, _FLOOR) / jnp.where(some, self.data, 1.0)
        return model - self.data - jnp.where(some, self.data * jnp.log(ratio), 0.0)

    def pointwise(self, expected: jax.Array) -> jax.Array:
        return jnp.asarray(self.saturated) - self._deviance(expected)

    def fisher(self, expected: jax.Array) -> jax.Array:
        return 1.0 / jnp.maximum(expected, 1e-30)

    def statistic(self, expected: jax.Array) -> jax.Array:
        return 2.0 * jnp.sum(self._deviance(expected), axis=-1)

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        return rng.poisson(np.maximum(expected, 0.0)).astype(np.float64)

    def with_data(self, data: Any) -> Self:
        return type(self)(data)


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

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        return rng.normal(expected, self.sigma)

    def with_data(self, data: Any) -> Self:
        return type(self)(data, self.sigma)
