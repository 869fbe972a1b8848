r"""Straight: coordinates in which the metric of a posterior is nearly flat, after Frank, Leike & Ensslin (2021).

With x(m) the coordinates of data space in which the Fisher information is one (2 sqrt(m) for counts), m(z) the expected
data and a bar for values at a centre,

.. math:: G(z) = z - \bar z + \bar J^T [x(m(z)) - x(\bar m)],\qquad \bar J = \partial x/\partial z|_{\bar z},

is a priori and near the centre normal with covariance :math:`\bar M = 1 + \bar J^T \bar J`, the metric. MGVI takes
:math:`G = \bar M (z - \bar z)` instead. x is what `Observation.displacement` says.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from skyfold.compiled.jit import jit
from skyfold.information import rows
from skyfold.kernel import Kernel

#: Newton steps for one draw at most, and the residual (in standard deviations) at which it is done.
_STEPS, _SOLVED = 30, 1e-7
#: Points per inner block.
_BLOCK = 64


def lift(kernel: Kernel, centre: jax.Array, z: jax.Array) -> tuple[jax.Array, ...]:
    """Differences x(m(z)) - x(m(centre)) of every observation."""
    ends = zip(kernel.observations(centre), kernel.expected(centre), kernel.expected(z), strict=True)
    return tuple(observation.displacement(start, end) for observation, start, end in ends)


def lifted(kernel: Kernel, centre: jax.Array, push: Callable[..., Any], z: jax.Array) -> tuple[jax.Array, ...]:
    """What `lift` says, and of parameters that act beside the expected data the way along the root of the metric."""
    bent = lift(kernel, centre, z)
    return (*bent, *push(z - centre)[len(bent) :])


def _straight(kernel: Kernel, centre: jax.Array, j: tuple[jax.Array, ...], z: jax.Array, bent: bool) -> jax.Array:
    def push(v: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(a.T @ v for a in j)

    x = lifted(kernel, centre, push, z) if bent else push(z - centre)
    return z - centre + sum((a @ b for a, b in zip(j, x, strict=True)), start=jnp.zeros(z.size))


@partial(jit, static_argnames="bent")
def standard(
    kernel: Kernel, centre: jax.Array, root: jax.Array, z: jax.Array, *, bent: bool
) -> tuple[jax.Array, jax.Array]:
    """Coordinates e = root^-1 G(z) of latent vectors (blocks, n, ndim), standard normal in q, and log de/dz.

    The logarithm is -inf where G turns back on itself.
    """
    j = rows(kernel, centre)

    def one(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        def image(z: jax.Array) -> jax.Array:
            return _straight(kernel, centre, j, z, bent)

        value, slope = _with_slope(image, z)
        sign, log_det = jnp.linalg.slogdet(slope)
        log_det = jnp.where(sign > 0, log_det, -jnp.inf) - jnp.sum(jnp.log(jnp.diagonal(root)))
        return solve_triangular(root, value, lower=True), log_det

    return jax.lax.map(jax.vmap(one), z)


@jit
def solved(kernel: Kernel, centre: jax.Array, root: jax.Array, e: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Latent vectors z with root^-1 G(z) = e for standard coordinates (blocks, n, ndim), by damped Newton steps.

    Second is how many steps each block took (blocks,); in one, every point is evaluated with all its tangents.
    """
    j = rows(kernel, centre)

    def block(e: jax.Array) -> tuple[jax.Array, jax.Array]:
        def residual(z: jax.Array, e: jax.Array) -> jax.Array:
            return solve_triangular(root, _straight(kernel, centre, j, z, True), lower=True) - e

        def step(state: Any) -> Any:
            count, z, best, size, trial, change = state
            value, slope = jax.vmap(lambda z, e: _with_slope(partial(residual, e=e), z))(trial, e)
            norm = jnp.sum(value**2, axis=-1)
            down = norm < best
            newton = jnp.linalg.solve(slope, value[..., None])[..., 0]
            z, best = jnp.where(down[:, None], trial, z), jnp.where(down, norm, best)
            change, size = jnp.where(down[:, None], newton, change), jnp.where(down, 1.0, 0.4 * size)
            return count + 1, z, best, size, z - size[:, None] * change, change

        def unfinished(state: Any) -> jax.Array:
            count, _, best, size, *_ = state
            return (count < _STEPS) & jnp.any((best > _SOLVED**2) & (size > 1e-4))

        first = centre + jax.vmap(lambda e: solve_triangular(root, e, lower=True, trans=1))(e)
        far = jnp.full(len(e), jnp.inf)
        state = (0, first, far, jnp.ones(len(e)), first, jnp.zeros_like(first))
        count, z, *_ = jax.lax.while_loop(unfinished, step, state)
        return z, jnp.asarray(count)

    return jax.lax.map(block, e)


def _with_slope(function: Any, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Value (ndim,) and Jacobian (ndim, ndim) of a function of latent vectors, by one batch of tangents."""
    value, columns = jax.vmap(lambda t: jax.jvp(function, (z,), (t,)), out_axes=(None, 1))(jnp.eye(z.size))
    return value, columns


def blocks(points: np.ndarray) -> np.ndarray:
    """Points (n, ndim) as (blocks, 64, ndim), the last filled up with its first."""
    n = -(-len(points) // _BLOCK) * _BLOCK
    return points[np.arange(n) % len(points)].reshape(-1, _BLOCK, points.shape[1])


@jit
def sampled(kernel: Kernel, points: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean log density over latent vectors (n, ndim), its gradient and the mean metric."""

    def one(z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        value, gradient, metric = kernel.linearised(z)
        prior, slope = jax.value_and_grad(kernel.log_prior)(z)
        return value + prior, gradient + slope, metric + jnp.eye(z.size)

    value, gradient, metric = jax.vmap(one)(points)
    return jnp.mean(value), jnp.mean(gradient, axis=0), jnp.mean(metric, axis=0)
