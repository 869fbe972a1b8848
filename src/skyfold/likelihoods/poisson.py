"""Poisson counts."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.likelihoods.likelihood import Likelihood

#: Smallest expected count that a logarithm sees; a datum there is as good as impossible, yet finite.
_FLOOR = 1e-300
#: Expected counts below zero by no more than this are zero.
_ROUNDING = 1e-8

#: Probability below and above the central 68%.
_TAIL = 0.15865525393145707

#: Expected count from which the moments of C-stat are expanded.
_MANY_COUNTS = 1000.0


class Counts(Likelihood):
    """Base of likelihoods of counts: how counts and their errors are shown."""

    residual_kind: ClassVar[str] = "deviance"
    data: np.ndarray

    @property
    def variance(self) -> np.ndarray:
        return np.asarray(self.data)

    def errors(self, data: np.ndarray, joined: Any) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper error: central 68% of a Poisson mean (Garwood 1936, Biometrika 28, 437)."""
        from scipy.special import gammaincinv

        lower = np.where(data > 0, gammaincinv(np.maximum(data, 1e-9), _TAIL), 0.0)
        return data - lower, gammaincinv(data + 1.0, 1.0 - _TAIL) - data

    def residual(self, data: np.ndarray, expected: np.ndarray, joined: Any) -> np.ndarray:
        """Signed root of the deviance of counts."""
        from scipy.special import xlogy

        m = np.maximum(expected, _FLOOR)
        deviance = 2.0 * np.maximum(m - data + xlogy(data, data / m), 0.0)
        return np.sign(data - m) * np.sqrt(deviance)


class Poisson(Counts):
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
        """Half of what each datum adds to the statistic, (n,)."""
        return half_deviance(self.data, expected)

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


class Cash(Poisson):
    r"""Poisson counts under the statistic as Cash wrote it, :math:`2 \sum_i m_i - d_i \ln m_i`, without a constant."""

    statistic_name: ClassVar[str] = "Cash"

    def statistic(self, expected: jax.Array) -> jax.Array:
        some = self.data > 0
        logs = jnp.where(some, self.data * jnp.log(jnp.where(some, jnp.maximum(expected, _FLOOR), 1.0)), 0.0)
        return 2.0 * jnp.sum(jnp.where(expected < -_ROUNDING, jnp.inf, jnp.maximum(expected, 0.0) - logs), axis=-1)

    def expected_statistic(self, expected: np.ndarray) -> tuple[float, float]:
        raise SkyfoldError("The expectation of Cash's statistic is not known in closed form; use C-stat.")


def half_deviance(counts: Any, expected: jax.Array) -> jax.Array:
    """Log-likelihood that counts lack to the most they can have; infinite for expected counts below zero.

    No Poisson variable has a negative mean; what rounding leaves below zero counts as zero.
    """
    some = counts > 0
    model = jnp.maximum(expected, 0.0)
    ratio = jnp.maximum(model, _FLOOR) / jnp.where(some, counts, 1.0)
    deviance = model - counts - jnp.where(some, counts * jnp.log(ratio), 0.0)
    return jnp.where(expected < -_ROUNDING, jnp.inf, deviance)


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
