"""Metallicity: how the stars of a galaxy share the metallicities of a grid of populations."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr

from skyfold.component import Component
from skyfold.parameters import Value, parameter
from skyfold.priors import Uniform


def hat(x: Any, nodes: jax.Array) -> jax.Array:
    """Weights (..., n) of linear interpolation at `x` (...) between `nodes` (n,); the ends hold beyond them."""
    x = jnp.clip(jnp.asarray(x, dtype=float)[..., None], nodes[0], nodes[-1])
    step = jnp.diff(nodes)
    rise = jnp.clip((x - nodes[:-1]) / step, 0.0, 1.0)
    one = jnp.ones((*rise.shape[:-1], 1))
    return jnp.concatenate([one, rise], axis=-1) - jnp.concatenate([rise, 0.0 * one], axis=-1)


class Metallicity(Component):
    """Base of the distributions of metallicity.

    `weights` divides the stars of every age among the nodes of a grid, linearly in log10 Z.
    """

    #: Parameters that are values of log10(Z/Zsun).
    levels: ClassVar[tuple[str, ...]] = ("logzsol",)

    def weights(self, log_z: jax.Array, formed: jax.Array) -> jax.Array:
        """Share of each node of metallicity.

        Parameters
        ----------
        log_z : (n_met,) log10(Z/Zsun) of the nodes.
        formed : (n_age,) share of the galaxy's stars that had formed when the stars of this age did, 0 to 1.

        Returns
        -------
        (n_met, 1) or (n_met, n_age) array, whose columns add up to 1.
        """
        raise NotImplementedError

    def evaluate(self, grid: tuple[Any, Any]) -> jax.Array:
        """`weights` for `grid` = (log_z, formed)."""
        return self.weights(*grid)


class ConstantMetallicity(Metallicity):
    """The same metallicity for all stars.

    Parameters
    ----------
    logzsol : log10(Z/Zsun); beyond the grid its edge holds.
    """

    name: ClassVar[str] = "metallicity"
    logzsol: Value = parameter(Uniform(-2.0, 0.2), unit="dex", description="log10(Z/Zsun)")

    def weights(self, log_z: jax.Array, formed: jax.Array) -> jax.Array:
        return hat(self.logzsol, log_z)[:, None]


class LogNormalMetallicity(Metallicity):
    r"""A normal distribution of log10 Z, the same at all ages.

    .. math:: w_j = \int \Lambda_j(x)\, \mathcal{N}(x;\, \mathrm{logzsol}, \sigma)\, dx

    The integral over the hat functions of the grid is exact; what lies beyond the grid counts to its edge.

    Parameters
    ----------
    logzsol : mean of log10(Z/Zsun).
    scatter : its standard deviation, dex, positive.
    """

    name: ClassVar[str] = "metallicity"
    logzsol: Value = parameter(Uniform(-2.0, 0.2), unit="dex", description="mean log10(Z/Zsun)")
    scatter: Value = parameter(Uniform(0.05, 0.5), unit="dex", description="scatter of log10(Z/Zsun)")

    def weights(self, log_z: jax.Array, formed: jax.Array) -> jax.Array:
        # G(x), the integral of the cumulative distribution; a rise over a cell has the mean slope 1 - difference of G
        u = (log_z - self.logzsol) / self.scatter
        density = jnp.exp(-0.5 * u**2) / jnp.sqrt(2.0 * jnp.pi)
        integral = self.scatter * (u * ndtr(u) + density)
        rise = 1.0 - jnp.diff(integral) / jnp.diff(log_z)
        one = jnp.ones(1)
        return (jnp.concatenate([one, rise]) - jnp.concatenate([rise, 0.0 * one]))[:, None]


class EvolvingMetallicity(Metallicity):
    r"""Metals that build up with the stars.

    .. math:: Z(t) = Z_i + (Z_f - Z_i)\, \frac{M(<t)}{M(<T)}

    Parameters
    ----------
    initial : log10(Z/Zsun) of the first stars.
    logzsol : log10(Z/Zsun) of the last ones.

    References
    ----------
    Robotham et al. 2020, MNRAS 495, 905; Bellstedt et al. 2020, MNRAS 498, 5581.
    """

    name: ClassVar[str] = "metallicity"
    levels: ClassVar[tuple[str, ...]] = ("initial", "logzsol")
    initial: Value = parameter(-2.0, unit="dex", description="log10(Z/Zsun) of the first stars")
    logzsol: Value = parameter(Uniform(-2.0, 0.2), unit="dex", description="log10(Z/Zsun) of the last stars")

    def weights(self, log_z: jax.Array, formed: jax.Array) -> jax.Array:
        first, last = 10.0**self.initial, 10.0**self.logzsol
        return hat(jnp.log10(first + (last - first) * formed), log_z).T
