r"""Line-of-sight integrals of what is smooth along the way, made cheap.

A map of such an integral is a smooth function of one or two angles, so it is integrated at few angles (Chebyshev nodes)
by Gauss-Legendre quadrature and interpolated from them to the pixels: the logarithm of the integral is a Chebyshev
series in a variable of the angle. All of it is traced: the maps are differentiable in the parameters of the density,
and no table limits these.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

#: Distance of the Sun from the Galactic centre, kpc.
SUN = 8.224


@cache
def legendre(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights (n,) of Gauss-Legendre quadrature on 0 .. 1."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return 0.5 * (nodes + 1.0), 0.5 * weights


@cache
def _nodes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev nodes (n,) on -1 .. 1, and the matrix (n, n) from values there to coefficients."""
    angle = np.pi * (np.arange(n) + 0.5) / n
    matrix = 2.0 / n * np.cos(np.arange(n)[:, None] * angle)
    matrix[0] *= 0.5
    return np.cos(angle), matrix


def chebyshev(x: jax.Array, n: int) -> jax.Array:
    """First n Chebyshev polynomials (n, ...) at x, by doubling: ``T[m+j] = 2 T[m] T[j] - T[abs(m-j)]``."""
    basis = jnp.stack([jnp.ones_like(x), x])
    while basis.shape[0] < n:
        m = basis.shape[0] - 1
        basis = jnp.concatenate([basis, 2.0 * basis[m] * basis[1:] - basis[m - 1 :: -1][:m]])
    return basis[:n]


class Axis(eqx.Module):
    """Chebyshev nodes over the range that a variable takes in the pixels of a region.

    Attributes
    ----------
    nodes : (n,) values of the variable at the nodes.
    basis : (n, n_pix) Chebyshev polynomials at the pixels.
    """

    nodes: jax.Array
    basis: jax.Array

    def __init__(self, variable: jax.Array, n: int) -> None:
        low, high = jnp.min(variable), jnp.max(variable)
        # a region of one ring or one meridian has no range
        span = jnp.maximum(high - low, 1e-6)
        self.nodes = low + 0.5 * span * (_nodes(n)[0] + 1.0)
        self.basis = chebyshev(2.0 * (variable - low) / span - 1.0, n)

    def coefficients(self, values: jax.Array) -> jax.Array:
        """Coefficients (n, ...) of the series through values (n, ...) at the nodes."""
        return jnp.asarray(_nodes(self.nodes.shape[0])[1]) @ values


def interpolated(integral: Callable[..., jax.Array], *axes: Axis) -> jax.Array:
    """Positive function of one or two variables at the pixels, (n_pix,), from its values at the nodes.

    Parameters
    ----------
    integral : function of one array per axis, all of one shape.
    *axes : Axis
        One or two.
    """
    if len(axes) == 1:
        series = axes[0].coefficients(jnp.log(integral(axes[0].nodes)))
        return jnp.exp(series @ axes[0].basis)
    first, second = axes
    grid = jnp.meshgrid(first.nodes, second.nodes, indexing="ij")
    values = jnp.log(integral(*grid))
    series = second.coefficients(first.coefficients(values).T).T
    return jnp.exp(jnp.sum(first.basis * (series @ second.basis), axis=0))


def by_parameters(function: Callable[..., jax.Array], parameters: tuple[Any, ...], constants: Any) -> jax.Array:
    """Value of a function of a few scalars, with a derivative that costs one map per scalar.

    Changes of many latent coordinates then pass through a sum of as many maps as there are scalars, and not each
    through the quadrature.

    Parameters
    ----------
    function : ``function(constants, *parameters)`` gives an array.
    parameters : the scalars.
    constants : arrays that depend on no latent coordinate; no derivative passes through them.
    """
    call = jax.custom_jvp(function)

    def rule(given: tuple[Any, ...], changes: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
        (constants, *primals), tangents = given, changes[1:]
        free = [i for i, t in enumerate(tangents) if not isinstance(t, SymbolicZero)]

        def moved(*values: Any) -> jax.Array:
            own = list(primals)
            for i, value in zip(free, values, strict=True):
                own[i] = value
            return function(constants, *own)

        def along(unit: jax.Array) -> tuple[jax.Array, jax.Array]:
            return jax.jvp(moved, tuple(primals[i] for i in free), tuple(unit))

        value, slopes = jax.vmap(along, out_axes=(None, 0))(jnp.eye(len(free)))
        return value, sum(
            (tangents[i] * slope for i, slope in zip(free, slopes, strict=True)), start=jnp.zeros_like(value)
        )

    call.defjvp(rule, symbolic_zeros=True)
    return call(constants, *(jnp.asarray(p, dtype=float) for p in parameters))


def integrate(integrand: Callable[[jax.Array], jax.Array], low: Any, high: Any, n: int) -> jax.Array:
    """Integral of a function between arrays of limits by n-point Gauss-Legendre quadrature.

    Parameters
    ----------
    integrand : function of (..., n) abscissae that gives (..., n).
    low, high : (...) limits.
    """
    nodes, weights = legendre(n)
    span = jnp.asarray(high - low)
    x = jnp.asarray(low)[..., None] + span[..., None] * nodes
    return span * (integrand(x) @ jnp.asarray(weights))
