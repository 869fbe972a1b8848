"""Information: J' M J, what data tell of the latent coordinates, as a matrix and as products with vectors.

With J the derivative of the expected data and the rows w of `Observation.whitening`, the Fisher information is R' R
with the root R = w J. Parameters that an observation owns may act beside its expected data, as an uncertain width of
noise does: the scores of the data by these are further rows, so that the information has the sum of their squares
(Berndt, Hall, Hall & Hausman 1974, Ann. Econ. Soc. Meas. 3, 653). The information of the prior, one, is not in it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from skyfold.kernel import Kernel

#: Latent dimensions from which products with vectors are cheaper than matrices, and up to which matrices can be had.
LARGE, DENSE = 200, 2000

#: What JAX raises where a derivative does not exist.
_NO_DERIVATIVE = (TypeError, ValueError, NotImplementedError)


def whitened(kernel: Kernel, z: jax.Array) -> tuple[jax.Array, ...]:
    """Vectors whose derivative by z is the root R; their values say nothing."""
    return _at(kernel, z)[1]


def root(kernel: Kernel, z: jax.Array) -> Callable[[jax.Array], tuple[jax.Array, ...]]:
    """Root R at z (ndim,): a linear function of tangents (ndim,)."""
    return jax.linearize(partial(whitened, kernel), z)[1]


def mean_product(kernel: Kernel, points: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """Function that multiplies the mean information at points (n, ndim) with a vector (ndim,)."""
    push = jax.linearize(jax.vmap(partial(whitened, kernel)), points)[1]
    pull = jax.linear_transpose(push, points)
    return lambda v: jnp.mean(pull(push(jnp.broadcast_to(v, points.shape)))[0], axis=0)


def squared(push: Callable[[jax.Array], Any], z: jax.Array) -> tuple[Callable[..., jax.Array], Callable[..., Any]]:
    """Product of R' R with a vector (ndim,), and the transpose R', of a root R."""
    pull = jax.linear_transpose(push, z)
    return lambda v: pull(push(v))[0], lambda rows: pull(rows)[0]


def rows(kernel: Kernel, z: jax.Array) -> tuple[jax.Array, ...]:
    """Root R at z (ndim,) as arrays (ndim, n), one per observation and further ones of parameters of observations."""
    return jax.vmap(root(kernel, z))(jnp.eye(z.size))


def linearised(kernel: Kernel, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Log-likelihood, its gradient (ndim,) and the information (ndim, ndim), by one forward Jacobian."""

    def push(tangent: jax.Array) -> tuple[Any, Any]:
        return jax.jvp(partial(_at, kernel), (z,), (tangent,))

    (expected, _), (jacobian, white) = jax.vmap(push, out_axes=(None, 0))(jnp.eye(z.size, dtype=z.dtype))
    value, gradient = jnp.zeros(()), jnp.zeros(z.shape)
    for observation, m, j in zip(kernel.observations(z), expected, jacobian, strict=True):
        own, slope = jax.value_and_grad(observation.log_likelihood)(m)
        value, gradient = value + own, gradient + j @ slope
    for scores in white[len(expected) : len(expected) + kernel.owners]:
        gradient = gradient + jnp.sum(scores, axis=1)
    return value, gradient, sum((r @ r.T for r in white), start=jnp.zeros((z.size, z.size)))


def hessian_product(
    function: Callable[[jax.Array], jax.Array], z: jax.Array
) -> Callable[[jax.Array], jax.Array] | None:
    """Function that multiplies the Hessian at z with a vector; None where second derivatives do not exist.

    They count as missing, too, where a rule does not tell what depends on the tangent alone, so that every product
    would take a new gradient.
    """
    try:
        product = jax.linearize(jax.grad(function), z)[1]
    except _NO_DERIVATIVE:
        return None
    # a rule for reverse mode only is met when the product is compiled
    return None if "custom_lin" in str(jax.make_jaxpr(product)(z)) else product


def _at(kernel: Kernel, z: jax.Array) -> tuple[tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """Expected data, and what `whitened` says."""
    expected = kernel.expected(z)
    here, middle = jax.lax.stop_gradient((z, expected))
    pairs = zip(kernel.observations(here), middle, expected, strict=True)
    return expected, (*(o.whitening(m)(e) for o, m, e in pairs), *kernel.beside(z, middle))
