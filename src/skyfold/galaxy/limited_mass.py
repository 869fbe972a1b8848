r"""Likelihood of a galaxy's fluxes with the mass integrated out, upper limits included.

With measured bands only the integral over the mass is that of `skyfold.galaxy.mass_marginal`. With upper limits the
integrand over the mass M,

.. math:: p(M)\, e^{-(M - c)^2 / 2 w^2} \prod_b \Phi\!\left(\frac{d_b - M f_b}{\sigma_b}\right),

is log-concave up to p(M). Its peak is found by Newton's method and the integral by Gauss-Legendre rules: about the
peak, from there down over the width that the measured bands leave, and over ln M below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr

from skyfold.galaxy.catalog_rows import Rows
from skyfold.galaxy.mass_marginal import Conditional, MassMarginal, conditional, log_evidence, support
from skyfold.galaxy.photometry import Photometry
from skyfold.galaxy.redshift_table import RedshiftTable
from skyfold.kernel import Kernel
from skyfold.parameters import Prior
from skyfold.posterior import Posterior

#: Widths on either side of a peak that are integrated over, nodes of the rules, and steps of Newton's method.
_WIDTHS, _RULES, _NEWTON = 9.0, (40, 32, 24), 12
#: Masses of the grid on which draws are made.
_NODES = 192


class Fluxes(eqx.Module):
    """Data of one galaxy.

    Attributes
    ----------
    data : (n,) flux densities, 0 where missing.
    sigma : (n,) errors, infinite where missing and where there is only a limit.
    norm : (n,) logarithms of the normal densities' factors.
    limit : (n,) upper limits, 0 where there is none, or None if no galaxy of the catalogue has any.
    inverse : (n,) one over the errors of the limits, 0 where there is none; or None.
    """

    data: Any
    sigma: Any
    norm: Any
    limit: Any = None
    inverse: Any = None

    @classmethod
    def of(cls, data: np.ndarray, sigma: np.ndarray, limit: np.ndarray, with_limits: bool = False) -> Fluxes:
        """Data (..., n) with infinite errors where missing, and where they are upper limits.

        `with_limits` keeps the arrays of limits also where there are none, for one executable in all of a catalogue.
        """
        measured = np.isfinite(sigma) & ~limit
        norm = np.where(measured, -np.log(np.where(measured, sigma, 1.0)) - 0.5 * np.log(2 * np.pi), 0.0)
        own = np.where(measured, data, 0.0), np.where(measured, sigma, np.inf), norm
        if not (with_limits or limit.any()):
            return cls(*own)
        return cls(*own, np.where(limit, data, 0.0), np.where(limit, 1.0 / np.where(limit, sigma, 1.0), 0.0))


def with_fluxes(kernel: Kernel, fluxes: Fluxes) -> Kernel:
    """Kernel of a posterior with one `MassMarginal`, for the measured bands of a galaxy."""

    def where(k: Kernel) -> tuple[Any, ...]:
        likelihood: Any = k.pairs[0][1].likelihood
        return likelihood.data, likelihood.sigma, likelihood.norm

    return eqx.tree_at(where, kernel, (fluxes.data, fluxes.sigma, fluxes.norm))


def log_marginal(prior: Prior, fluxes: Fluxes, expected: jax.Array) -> jax.Array:
    """Log-likelihood of one galaxy, for expected fluxes (n,) of one solar mass."""
    f = expected / fluxes.sigma
    precision = jnp.maximum(jnp.sum(f * f), 1e-250)
    cross = jnp.sum(f * (fluxes.data / fluxes.sigma))
    residual = (fluxes.data - expected * (cross / precision)) / fluxes.sigma
    at_best = jnp.sum(fluxes.norm) - 0.5 * jnp.sum(residual**2)
    c = conditional(prior, precision, cross)
    if fluxes.limit is None:
        return at_best + log_evidence(c)
    below, ends = _pieces(c, fluxes, expected)
    total = []
    for start, stop, n, in_log in (
        (ends[1], ends[2], _RULES[0], False),
        (ends[0], ends[1], _RULES[1], False),
        (c.low, ends[0], _RULES[2], True),
    ):
        if in_log and not c.inverse:
            continue
        x, weight = np.polynomial.legendre.leggauss(n)
        if in_log:
            half = 0.5 * (jnp.log(stop) - jnp.log(start))
            mass, factor = jnp.exp(jnp.log(start) + half * (1.0 + x)), half * weight
        else:
            half = 0.5 * (stop - start)
            mass = start + half * (1.0 + x)
            factor = half * weight / (mass if c.inverse else 1.0)
        logs = -0.5 * ((mass - c.centre) / c.width) ** 2 + below(mass)
        total.append(jnp.log(jnp.maximum(factor, 1e-300)) + logs)
    return at_best + c.log_factor + jax.scipy.special.logsumexp(jnp.concatenate(total))


def _pieces(c: Conditional, fluxes: Fluxes, expected: jax.Array) -> tuple[Callable[[jax.Array], jax.Array], list[Any]]:
    """Log-probability of all limits at masses (m,), and masses that divide the range: wide, about the peak, its top."""
    slope, level = expected * fluxes.inverse, fluxes.limit * fluxes.inverse
    there = fluxes.inverse > 0

    def below(mass: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(there, log_ndtr(level - mass[:, None] * slope), 0.0), axis=1)

    peak, curvature = _top(c, fluxes, expected)
    narrow = curvature**-0.5
    ends = [
        jnp.clip(edge, c.low, c.high)
        for edge in (peak - _WIDTHS * c.width, peak - _WIDTHS * narrow, peak + _WIDTHS * narrow)
    ]
    if c.inverse:
        ends[0] = jnp.minimum(jnp.maximum(ends[0], 0.02 * peak), ends[1])
    return below, ends


def _top(c: Conditional, fluxes: Fluxes, expected: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mass at which the density before any factor 1/M is greatest, and the curvature of its logarithm there."""
    slope, level = expected * fluxes.inverse, fluxes.limit * fluxes.inverse
    there = fluxes.inverse > 0
    peak = jnp.clip(c.centre, c.low, c.high)
    curvature = c.width**-2.0
    for _ in range(_NEWTON):
        x = level - peak * slope
        ratio = jnp.where(there, jnp.exp(-0.5 * x**2 - 0.5 * jnp.log(2 * jnp.pi) - log_ndtr(x)), 0.0)
        curvature = c.width**-2.0 + jnp.sum(slope**2 * ratio * (x + ratio))
        gradient = (c.centre - peak) * c.width**-2.0 - jnp.sum(slope * ratio)
        peak = jnp.clip(peak + gradient / curvature, c.low, c.high)
    return peak, curvature


def draw_mass(prior: Prior, fluxes: Fluxes, expected: jax.Array, u: jax.Array) -> jax.Array:
    """Mass (m,) of draws with expected fluxes (m, n) per solar mass, by inversion at `u` (m,) on a grid of masses."""

    def one(flux: jax.Array, level: jax.Array) -> jax.Array:
        f = flux / fluxes.sigma
        precision = jnp.maximum(jnp.sum(f * f), 1e-250)
        c = conditional(prior, precision, jnp.sum(f * (fluxes.data / fluxes.sigma)))

        def grid(start: jax.Array, stop: jax.Array) -> jax.Array:
            """Masses evenly spaced at the top and, where the density has a factor 1/M, in ln M below."""
            if not c.inverse:
                return jnp.linspace(start, stop, _NODES)
            middle = jnp.maximum(start, 0.05 * stop)
            below = jnp.exp(jnp.linspace(jnp.log(start), jnp.log(middle), _NODES // 3, endpoint=False))
            return jnp.concatenate([below, jnp.linspace(middle, stop, _NODES - _NODES // 3)])

        # logarithms of densities over M, or over ln M where there is a factor 1/M
        start, stop = (c.width * end for end in support(c.centre / c.width, c.low / c.width, c.high / c.width))
        if fluxes.limit is None:
            mass = grid(start, stop)
            logs = -0.5 * ((mass - c.centre) / c.width) ** 2
        else:
            below, (wide, near, top) = _pieces(c, fluxes, flux)
            top = jnp.minimum(top, stop)
            n = _NODES // 3
            tail = jnp.exp(jnp.linspace(jnp.log(c.low), jnp.log(wide), n, endpoint=False)) if c.inverse else wide[None]
            mass = jnp.concatenate([tail, jnp.linspace(wide, near, n, endpoint=False), jnp.linspace(near, top, n)])
            logs = -0.5 * ((mass - c.centre) / c.width) ** 2 + below(mass)
        density = jnp.exp(logs - jnp.max(logs))
        place = jnp.log(mass) if c.inverse else mass
        total = jnp.cumsum(0.5 * (density[1:] + density[:-1]) * jnp.diff(place))
        drawn = jnp.interp(level * total[-1], jnp.append(0.0, total), place)
        return jnp.exp(drawn) if c.inverse else drawn

    return jax.vmap(one)(expected, u)


class LimitedMarginal(MassMarginal):
    """`MassMarginal` of measured bands that also takes upper limits into its integral over the mass."""

    fluxes: Fluxes

    def __init__(self, photometry: Photometry, prior: Prior, fluxes: Fluxes) -> None:
        super().__init__(photometry, prior=prior)
        self.fluxes = fluxes

    def log_likelihood(self, expected: jax.Array) -> jax.Array:
        return log_marginal(self.prior, self.fluxes, expected)

    def best_mass(self, expected: Any) -> jax.Array:
        """Most probable M before any factor 1/M, limits included; `expected` (..., n) of one solar mass."""

        def top(own: jax.Array) -> jax.Array:
            return _top(self._conditional(own), self.fluxes, own)[0]

        return jnp.vectorize(top, signature="(n)->()")(jnp.asarray(expected))

    def draw_mass(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        expected = np.atleast_2d(expected)
        u = rng.random(len(expected))
        return np.asarray(draw_mass(self.prior, self.fluxes, jnp.asarray(expected), jnp.asarray(u)))


def single_posterior(model: Any, filters: Any, mass: Prior, table: RedshiftTable | None, row: Rows) -> Posterior:
    """Posterior of one galaxy, the mass integrated out."""
    measured = np.isfinite(row.sigma[0]) & ~row.limit[0]
    photometry = Photometry(
        filters,
        row.data[0],
        np.where(measured, row.sigma[0], np.nan),
        missing=~measured,
        projected="auto" if table is None else table,
    )
    if not row.limit.any():
        return Posterior((model, MassMarginal(photometry, prior=mass)))
    fluxes = Fluxes.of(row.data[0], row.sigma[0], row.limit[0])
    return Posterior((model, LimitedMarginal(photometry, mass, fluxes)))
