"""Mixtures of Student-t distributions inside compiled code: density, draws, weighted expectation-maximisation.

`skyfold.inference.importance.mixture` has those of one posterior, on the host. Here hundreds are drawn from and
refitted at once, between evaluations of the model and in the same executable, so all is traced.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from skyfold.inference.importance.mixture import log_peak

#: Degrees of freedom; twice a whole number, so that draws need no gamma variates.
DOF = 6
#: Weight of the last component, which is wide and never refitted, and least weight of any other.
WIDE, LEAST = 0.1, 0.01
#: Draws that a component's former scale matrix counts for.
_MEMORY = 40.0


class Mixture(NamedTuple):
    """Weights (k,), means (k, d) and lower Cholesky factors (k, d, d) of the scale matrices."""

    weights: Any
    means: Any
    roots: Any

    def components(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Log density (n, k) of each component with its weight, and squared distances (n, k), of points (n, d)."""
        k, d = self.means.shape
        eye = jnp.broadcast_to(jnp.eye(d), (k, d, d))
        inverse = jax.lax.linalg.triangular_solve(self.roots, eye, left_side=True, lower=True)
        white = z @ jnp.reshape(jnp.swapaxes(inverse, 0, 2).swapaxes(1, 2), (d, k * d))
        shift = jnp.einsum("kij,kj->ki", inverse, self.means)
        distance = jnp.sum((jnp.reshape(white, (-1, k, d)) - shift) ** 2, axis=-1)
        log_root = jnp.sum(jnp.log(jnp.diagonal(self.roots, axis1=1, axis2=2)), axis=1)
        logs = jnp.log(self.weights) + log_peak(d, DOF) - log_root - 0.5 * (DOF + d) * jnp.log1p(distance / DOF)
        return logs, distance

    def log_density(self, z: jax.Array) -> jax.Array:
        """Log density (n,) of points (n, d)."""
        return logsumexp(self.components(z)[0], axis=1)

    def draw(self, key: jax.Array, n: int) -> jax.Array:
        """Points (n, d), each component its share to within one."""
        d = self.means.shape[1]
        one, two, three = jax.random.split(key, 3)
        place = (jnp.arange(n) + jax.random.uniform(one)) / n
        which = jnp.minimum(jnp.searchsorted(jnp.cumsum(self.weights), place), len(self.weights) - 1)
        normal = jax.random.normal(two, (n, d))
        # a chi-squared variate of an even number of degrees of freedom is a sum of exponential ones
        chi2 = -2.0 * jnp.sum(jnp.log(jax.random.uniform(three, (n, DOF // 2), minval=1e-300)), axis=1)
        each = jnp.einsum("nij,nj->ni", self.roots[which], normal)
        return self.means[which] + each * jnp.sqrt(DOF / chi2)[:, None]

    def refitted(self, z: jax.Array, weights: jax.Array) -> Mixture:
        """One step of expectation-maximisation on weighted points (n, d); the wide component stays."""
        k, d = self.means.shape
        logs, distance = self.components(z)
        share = jnp.exp(logs - logsumexp(logs, axis=1, keepdims=True)) * weights[:, None]
        pull = share * (DOF + d) / (DOF + distance)
        mass = jnp.sum(share, axis=0)
        # how many draws that is: Kish's number, component by component
        count = mass**2 / jnp.maximum(jnp.sum(share**2, axis=0), 1e-300)
        trust = count / (count + _MEMORY)
        total = jnp.maximum(jnp.sum(pull, axis=0), 1e-300)
        mean = self.means + trust[:, None] * ((pull.T @ z) / total[:, None] - self.means)
        off = z[:, None, :] - mean
        scatter = (
            jnp.einsum("nk,nki,nkj->kij", pull, off, off, optimize=True) / jnp.maximum(mass, 1e-300)[:, None, None]
        )
        scale = self.roots @ jnp.swapaxes(self.roots, 1, 2)
        scale = scale + trust[:, None, None] * (scatter - scale) + 1e-8 * jnp.eye(d)
        own = jnp.maximum(mass[:-1] / jnp.maximum(jnp.sum(mass[:-1]), 1e-300), LEAST)
        found = Mixture(
            jnp.append((1.0 - WIDE) * own / jnp.sum(own), WIDE),
            mean.at[-1].set(self.means[-1]),
            jnp.linalg.cholesky(scale).at[-1].set(self.roots[-1]),
        )
        good = jnp.all(jnp.isfinite(found.roots)) & jnp.all(jnp.isfinite(found.means))
        return jax.tree.map(lambda new, old: jnp.where(good, new, old), found, self)
