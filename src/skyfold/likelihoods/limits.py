"""Normal data of which some are limits from above and some are missing; outliers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr

from skyfold.errors import SkyfoldError
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.likelihood import Likelihood


class Limited(Likelihood):
    r"""Data of which some are upper limits and some are missing; normal, or Student's t against outliers.

    With :math:`z = (d - m)/\sigma` a measured datum has the log density of a normal or Student variable at z, an upper
    limit d has

    .. math:: \ln L = \ln \Phi(z),

    the probability that noise of standard deviation sigma left the source below it (Sawicki 2012, PASP 124, 1208), and
    a missing datum, whose sigma is infinite, says nothing. 32-bit floats are safe.

    The statistic is :math:`\sum z^2` of the measured data, minus :math:`2 \ln \Phi` of the limits; with `dof` it is no
    chi-squared.

    Attributes
    ----------
    data, sigma : (n,) arrays; infinite sigma where the datum is missing.
    limit : (n,) 1 for upper limits, else 0; None if there are none.
    dof : degrees of freedom of Student's t, None for normal noise.
    norm : (n,) logarithm of the density's normalisation.
    """

    statistic_name: ClassVar[str] = "chi2"
    data: Any
    sigma: Any
    limit: Any
    dof: Any
    norm: Any
    robust: bool = eqx.field(static=True)

    def __init__(self, data: Any, sigma: Any, limit: Any = None, dof: float | None = None) -> None:
        from scipy.special import gammaln

        self.data, self.sigma = np.asarray(data, dtype=np.float64), np.asarray(sigma, dtype=np.float64)
        self.limit = None if limit is None or not np.any(limit) else np.asarray(limit, dtype=np.float64)
        self.dof, self.robust = (None, False) if dof is None else (float(dof), True)
        density = -0.5 * np.log(2 * np.pi)
        if dof is not None:
            density = gammaln(0.5 * (dof + 1)) - gammaln(0.5 * dof) - 0.5 * np.log(dof * np.pi)
        measured = np.isfinite(self.sigma) & (True if self.limit is None else self.limit == 0)
        self.norm = np.where(measured, density - np.log(self.sigma), 0.0)

    @property
    def n_measured(self) -> int:
        return int(np.isfinite(self.sigma).sum())

    def _parts(self, expected: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Residuals of measured data (zero elsewhere), and log-probabilities of limits (zero elsewhere)."""
        z = (self.data - expected) / self.sigma
        if self.limit is None:
            return z, None
        is_limit = jnp.asarray(self.limit) > 0
        return jnp.where(is_limit, 0.0, z), jnp.where(is_limit, log_ndtr(jnp.where(is_limit, z, 0.0)), 0.0)

    def pointwise(self, expected: jax.Array) -> jax.Array:
        z, below = self._parts(expected)
        core = -0.5 * (self.dof + 1.0) * jnp.log1p(z**2 / self.dof) if self.robust else -0.5 * z**2
        return self.norm + core if below is None else self.norm + core + below

    def fisher(self, expected: jax.Array) -> jax.Array:
        each = (self.dof + 1.0) / (self.dof + 3.0) if self.robust else 1.0
        measured = jnp.broadcast_to(each / jnp.asarray(self.sigma) ** 2, jnp.shape(expected))
        if self.limit is None:
            return measured
        # a limit tells one of two things: phi^2 / (Phi (1 - Phi))
        z = jnp.clip((self.data - expected) / self.sigma, -30.0, 30.0)
        log_density = -0.5 * z**2 - 0.5 * jnp.log(2 * jnp.pi)
        binary = jnp.exp(2.0 * log_density - log_ndtr(z) - log_ndtr(-z)) / jnp.asarray(self.sigma) ** 2
        return jnp.where(jnp.asarray(self.limit) > 0, binary, measured)

    def statistic(self, expected: jax.Array) -> jax.Array:
        z, below = self._parts(expected)
        total = jnp.sum(z**2, axis=-1)
        return total if below is None else total - 2.0 * jnp.sum(below, axis=-1)

    def expected_statistic(self, expected: np.ndarray) -> tuple[float, float]:
        if self.robust or self.limit is not None:
            return super().expected_statistic(expected)
        return float(self.n_measured), float(np.sqrt(2.0 * self.n_measured))

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        """Draw data; a limit stays the limit that it is, and a missing datum has no noise and counts for nothing."""
        noise = rng.standard_t(self.dof, np.shape(expected)) if self.robust else rng.standard_normal(np.shape(expected))
        drawn = expected + np.where(np.isfinite(self.sigma), self.sigma, 0.0) * noise
        return drawn if self.limit is None else np.where(self.limit > 0, self.data, drawn)

    def with_data(self, data: Any) -> Self:
        data = np.where(np.isfinite(self.sigma), np.asarray(data, dtype=np.float64), 0.0)
        return eqx.tree_at(lambda x: x.data, self, data)

    @property
    def normal(self) -> bool:
        return type(self).pointwise is Limited.pointwise and not self.robust and self.limit is None

    @property
    def variance(self) -> np.ndarray:
        return np.square(self.sigma)

    def residual(self, data: np.ndarray, expected: np.ndarray, joined: Any) -> np.ndarray:
        found = super().residual(data, expected, joined)
        if self.limit is None:
            return found
        # below its limit a source is where it may be
        told = (data - expected) * np.sqrt(np.asarray(self.fisher(jnp.asarray(expected))))
        return np.where(self.limit > 0, told, found)


def checked_likelihood(
    name: str,
    what: str,
    labels: Sequence[str],
    data: np.ndarray,
    sigma: np.ndarray,
    missing: Any,
    upper_limits: Any,
    floor: float,
    outliers: float | None,
) -> Likelihood:
    """Likelihood of data (n,) in one unit, normal where that is enough.

    Parameters
    ----------
    name, what, labels : of the observation, of what a datum is ("band" or "line"), and of each datum; for messages.
    data, sigma : (n,) NaN where missing.
    missing, upper_limits : (n,) booleans or None. Where `missing` is given, all false included, the likelihood is
        `Limited`.
    floor : fraction of the data that is added to the errors in quadrature, but for limits.
    outliers : degrees of freedom of Student's t, or None.

    Raises
    ------
    SkyfoldError
        If shapes differ, errors are not positive, nothing is left, or a setting makes no sense.
    """
    n = len(labels)
    limit = _flags(name, "upper_limits", upper_limits, n)
    absent = _flags(name, "missing", missing, n)
    if not (data.shape == sigma.shape == limit.shape == absent.shape == (n,)):
        raise SkyfoldError(
            f"'{name}' has {n} {what}s; flux, error, missing and upper_limits must have one entry each, and have the "
            f"shapes {data.shape}, {sigma.shape}, {absent.shape} and {limit.shape}."
        )
    absent = absent | ~np.isfinite(data) | ~np.isfinite(sigma)
    if absent.all():
        raise SkyfoldError(f"'{name}': every {what} is missing; there is nothing to fit.")
    bad = ~absent & ~(sigma > 0)
    if bad.any():
        raise SkyfoldError(
            f"'{name}': the error in {labels[int(np.argmax(bad))]} is {sigma[bad][0]:g}; errors must be "
            f"positive. Mark the {what} as missing, or give its error."
        )
    if not 0 <= floor < np.inf:
        raise SkyfoldError(f"'{name}': floor = {floor!r}; it is a fraction of the data, 0 or more.")
    if outliers is not None and not 0 < outliers < np.inf:
        raise SkyfoldError(
            f"'{name}': outliers = {outliers!r}; it is the degrees of freedom of Student's t, such as 3."
        )
    sigma = np.where(limit, sigma, np.hypot(sigma, floor * np.abs(data)))
    if missing is None and not absent.any() and not limit.any() and outliers is None:
        return Gaussian(data, sigma)
    return Limited(np.where(absent, 0.0, data), np.where(absent, np.inf, sigma), limit & ~absent, outliers)


def _flags(name: str, what: str, given: Any, n: int) -> np.ndarray:
    """Booleans (n,) of what users give: true and false, 1 and 0; all false for None."""
    if given is None:
        return np.zeros(n, dtype=bool)
    flags = np.ma.asarray(given)
    if flags.dtype.kind not in "biuf" or np.ma.is_masked(flags) or not np.all((flags == 0) | (flags == 1)):
        raise SkyfoldError(f"'{name}': {what} holds True or False (1 or 0) for each datum, nothing else: {given!r}.")
    return np.asarray(flags, dtype=bool)
