"""Linear nuisances of Gaussian data, integrated out.

Data d = m + A c + noise with normal c of mean 0 are normal about m with the covariance N + A S A'. With whitened
residual r and columns B = A sqrt(S) / sigma, the Cholesky factor K of 1 + B'B, and y = K^-1 B'r,

    ln L = -(r'r - y'y) / 2 - ln det K - sum ln sigma - n/2 ln 2 pi.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve, solve_triangular


def log_likelihood(residual: jax.Array, columns: jax.Array) -> jax.Array:
    """Log-likelihood up to the term of sigma and 2 pi, for r (n,) and B (n, k)."""
    factor = _factor(columns)
    taken = solve_triangular(factor, columns.T @ residual, lower=True)
    return -0.5 * (residual @ residual - taken @ taken) - jnp.sum(jnp.log(jnp.diagonal(factor)))


def deviance(residual: jax.Array, columns: jax.Array) -> jax.Array:
    """Chi-squared with the full covariance, for r (n,) and B (n, k)."""
    taken = solve_triangular(_factor(columns), columns.T @ residual, lower=True)
    return residual @ residual - taken @ taken


def whitened(vector: jax.Array, columns: jax.Array) -> jax.Array:
    """Vector (n,) times the symmetric root of the inverse of 1 + B B', for B (n, k)."""
    values, vectors = jnp.linalg.eigh(columns.T @ columns)
    square = jnp.maximum(values, 1e-30)
    taken = vectors * (-jnp.expm1(-0.5 * jnp.log1p(square)) / square)
    return vector - columns @ (taken @ (vectors.T @ (columns.T @ vector)))


def remaining(columns: jax.Array) -> jax.Array:
    """Diagonal of the inverse covariance times sigma^2, (n,)."""
    taken = solve_triangular(_factor(columns), columns.T, lower=True)
    return 1.0 - jnp.sum(taken**2, axis=0)


def conditional(residual: jax.Array, columns: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean (k,) and covariance (k, k) of the nuisances in units of their prior's deviations, given the data."""
    factor = (_factor(columns), True)
    return cho_solve(factor, columns.T @ residual), cho_solve(factor, jnp.eye(columns.shape[1]))


def _factor(columns: jax.Array) -> jax.Array:
    return jnp.linalg.cholesky(jnp.eye(columns.shape[1]) + columns.T @ columns)
