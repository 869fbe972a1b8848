"""Guides: families of distributions that variational inference fits, as invertible maps of standard normal draws.

Every guide starts as the identity. It lives in coordinates y in which the Laplace approximation is standard normal
(``fullrank``, ``flow``) or has the sds of its conditionals (``meanfield``, ``lowrank``): v = mean + root y, v being the
bent coordinates of `skyfold.inference.frames.whitened`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

#: Families by the name that `VI` takes.
FAMILIES = ("meanfield", "fullrank", "lowrank", "flow")


class Guide(eqx.Module):
    """An invertible map of base draws e (ndim,), standard normal, to y (ndim,)."""

    #: Whether `inverse` costs about as much as `forward`.
    two_way: ClassVar[bool] = True

    def forward(self, e: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return y and the logarithm of dy/de."""
        raise NotImplementedError

    def inverse(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return e and the logarithm of dy/de."""
        raise NotImplementedError

    def log_density(self, y: jax.Array) -> jax.Array:
        """Log density in y."""
        e, log_det = self.inverse(y)
        return log_normal(e) - log_det


def log_normal(e: jax.Array) -> jax.Array:
    """Log density of independent standard normal coordinates (ndim,)."""
    return -0.5 * jnp.sum(e**2) - 0.5 * e.size * jnp.log(2.0 * jnp.pi)


class MeanField(Guide):
    """Independent normal coordinates: y = shift + exp(log_scale) e."""

    shift: Any
    log_scale: Any

    @classmethod
    def identity(cls, ndim: int) -> MeanField:
        return cls(np.zeros(ndim), np.zeros(ndim))

    def forward(self, e: jax.Array) -> tuple[jax.Array, jax.Array]:
        return self.shift + jnp.exp(self.log_scale) * e, jnp.sum(self.log_scale)

    def inverse(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        return (y - self.shift) * jnp.exp(-self.log_scale), jnp.sum(self.log_scale)


class FullRank(Guide):
    """Any normal distribution: y = shift + L e, L lower triangular with a diagonal exp(log_scale)."""

    shift: Any
    log_scale: Any
    lower: Any

    @classmethod
    def identity(cls, ndim: int) -> FullRank:
        return cls(np.zeros(ndim), np.zeros(ndim), np.zeros((ndim, ndim)))

    @property
    def root(self) -> jax.Array:
        """The lower triangular matrix L."""
        return jnp.tril(self.lower, -1) + jnp.diag(jnp.exp(self.log_scale))

    def forward(self, e: jax.Array) -> tuple[jax.Array, jax.Array]:
        return self.shift + self.root @ e, jnp.sum(self.log_scale)

    def inverse(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        return solve_triangular(self.root, y - self.shift, lower=True), jnp.sum(self.log_scale)


class LowRank(Guide):
    r"""A normal distribution with few strong correlations.

    .. math:: y = s + D (1 + W W^T) e

    with a diagonal :math:`D` and :math:`W` of shape (ndim, rank): the covariance is :math:`D (1 + W W^T)^2 D`.
    """

    shift: Any
    log_scale: Any
    factor: Any

    @classmethod
    def of(cls, covariance: np.ndarray, rank: int) -> LowRank:
        """Guide whose strongest correlations are those of a covariance whose inverse has a unit diagonal."""
        ndim = len(covariance)
        values, vectors = np.linalg.eigh(covariance)
        stretch = np.sqrt(np.maximum(np.sqrt(values[-rank:]) - 1.0, 1e-4))
        return cls(np.zeros(ndim), np.zeros(ndim), vectors[:, -rank:] * stretch)

    def _inner(self) -> jax.Array:
        return jnp.eye(self.factor.shape[1]) + self.factor.T @ self.factor

    def _log_det(self) -> jax.Array:
        return jnp.sum(self.log_scale) + jnp.linalg.slogdet(self._inner())[1]

    def forward(self, e: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = self.shift + jnp.exp(self.log_scale) * (e + self.factor @ (self.factor.T @ e))
        return y, self._log_det()

    def inverse(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = (y - self.shift) * jnp.exp(-self.log_scale)
        return x - self.factor @ jnp.linalg.solve(self._inner(), self.factor.T @ x), self._log_det()
