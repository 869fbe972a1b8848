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
#: Expected counts below zero by no more than this are zero.
_ROUNDING = 1e-8

#: Expected count from which the moments of C-stat are expanded.
_MANY_COUNTS = 1000.0


class Likelihood(eqx.Module):
    """Base of the likelihoods.

    The class attribute ``independent`` says whether the data are conditionally independent given the model, ``cheap``
    whether hundreds of replicated data sets can be drawn and compared while a user waits for a table.
    """

    independent: ClassVar[bool] = True
    cheap: ClassVar[bool] = True
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

    def expected_statistic(self, expected: np.ndarray) -> tuple[float, float]:
        """Mean and standard deviation of the statistic of data drawn from `expected` (n,); on the host."""
        raise SkyfoldError(
            f"The expectation of {self.statistic_name} is not known in closed form; use simulated_statistic instead."
        )

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
        deviance = model - self.data - jnp.where(some, self.data * jnp.log(ratio), 0.0)
        # no Poisson variable has a negative mean; what rounding leaves below zero counts as zero
        return jnp.where(expected < -_ROUNDING, jnp.inf, deviance)

    def pointwise(self, expected: jax.Array) -> jax.Array:
        return jnp.asarray(self.saturated) - self._deviance(expected)

    def fisher(self, expected: jax.Array) -> jax.Array:
        return 1.0 / jnp.maximum(expected, 1e-30)

    def statistic(self, expected: jax.Array) -> jax.Array:
        return 2.0 * jnp.sum(self._deviance(expected), axis=-1)

    def expected_statistic(self, expected: np.ndarray) -> tuple[float, float]:
        r"""Mean and standard deviation of C-stat (Kaastra 2017, A&A 605, A51).

        .. math:: C_e = \sum_i \sum_k P_k(m_i) D_k(m_i), \quad
            C_v = \sum_i \sum_k P_k(m_i) D_k(m_i)^2 - C_{e,i}^2, \quad D_k(m) = 2 (m - k + k \ln(k/m))

        The sums over the Poisson probabilities :math:`P_k` are done; above 1000 counts their expansion in 1/m is used.
        """
        mean, variance = expected_cash(np.asarray(expected, dtype=np.float64))
        return float(mean.sum()), float(np.sqrt(variance.sum()))

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        return rng.poisson(np.maximum(expected, 0.0)).astype(np.float64)

    def with_data(self, data: Any) -> Self:
        return type(self)(data)


def expected_cash(expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the C-stat of each datum, (n,) each, for expected counts (n,)."""
    from scipy.special import gammaln, xlogy

    m = np.maximum(np.ravel(expected), 0.0)
    # mean and variance of 2 (m - k + k ln(k/m)) over Poisson k, expanded in 1/m
    safe = np.maximum(m, _MANY_COUNTS)
    mean = 1.0 + 1.0 / (6.0 * safe) + 1.0 / (6.0 * safe**2)
    variance = 2.0 + 2.0 / (3.0 * safe) + 4.0 / (3.0 * safe**2)
    few = np.flatnonzero(m < _MANY_COUNTS)
    for block in np.array_split(few[np.argsort(m[few])], max(1, len(few) // 64)):
        if not len(block):
            continue
        own = m[block][:, None]
        width = 12.0 * np.sqrt(own.max()) + 30.0
        k = np.arange(max(0.0, np.floor(own.min() - width)), np.ceil(own.max() + width))
        p = np.exp(xlogy(k, own) - own - gammaln(k + 1.0))
        deviance = 2.0 * (own - k + xlogy(k, k) - xlogy(k, np.maximum(own, _FLOOR)))
        mean[block] = np.sum(p * deviance, axis=1)
        variance[block] = np.sum(p * deviance**2, axis=1) - mean[block] ** 2
    return mean.reshape(np.shape(expected)), np.maximum(variance, 0.0).reshape(np.shape(expected))


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
