r"""Bands: from a galaxy to flux densities, in ways that differ in what is done beforehand.

`Curves` works for any galaxy and any redshift: weights of the spectrum's nodes follow from the filters inside the
trace. `Seen` holds these weights for a redshift that is fixed, `Cropped` has the populations cut to the wavelengths
under the filters as well, and `Table` has them contracted with the filters. What dust sends out and the lines of gas
have weights of their own, so that no step of the populations' wavelengths blurs them. Dust varies inside a
filter, so there its transmission is written as a polynomial through k wavelengths of each band,

.. math:: \int W_b L\, T\, d\lambda \approx \sum_k T(\lambda_{bk}) \int W_b L\, \ell_{bk}\, d\lambda,

and what that leaves out is bounded beforehand: the light of a galaxy is a sum of populations with positive weights, so
its relative error is at most the largest of any population.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.galaxy.filters import Filter, in_logarithm
from skyfold.galaxy.nebular import Nebular
from skyfold.galaxy.ssp import LIGHT
from skyfold.parameters import Parameter, substitute

#: Nodes in ln(wavelength) of the running integrals of a curve.
_STEPS = 512
#: Observed wavelength in Angstrom below which dust does not shine, and steps in ln(wavelength) of its light above.
_DUST, _DUST_STEP = 1e4, 0.01


class Seen(eqx.Module):
    """Weights of every piece of a galaxy's light: nJy for 1 Lsun/Hz, or for 1 Lsun of a line or of dust.

    Attributes
    ----------
    smooth : (n_band, n_wave) of the wavelengths of the populations.
    lines : (n_band, n_line) of the gas's lines; None without.
    dust : (n_band, n) of what dust sends out; None without.
    wave : (n,) rest wavelengths at which that is evaluated, Angstrom.
    """

    smooth: Any
    lines: Any = None
    dust: Any = None
    wave: Any = None

    def fold(self, model: Any) -> jax.Array:
        """Flux densities of a galaxy, nJy, (n_band,)."""
        light = model.light()
        total = jnp.asarray(self.smooth) @ light.smooth
        if self.lines is not None:
            total = total + jnp.asarray(self.lines) @ light.lines
        if self.dust is not None:
            total = total + light.absorbed * (jnp.asarray(self.dust) @ model.emission.emission(jnp.asarray(self.wave)))
        return total


class Curves(eqx.Module):
    """Filters as running integrals on equal steps in ln(wavelength), for redshifts that are not known beforehand.

    Attributes
    ----------
    start, step : (n_band,) first ln(wavelength) and step.
    shift, plain : (n_band, n) integrals of T/lambda and of T over wavelength up to each node.
    height : (n_band, n) T at the nodes, normalised as the integrals are.
    dust : (n_band, n_dust) weights of a spectrum that is linear between the wavelengths `dust_wave`: steps of a
        hundredth, where any band lies in the infrared. They are the same at every redshift.
    dust_wave : (n_dust,) observed wavelengths, Angstrom.
    """

    start: Any
    step: Any
    shift: Any
    plain: Any
    height: Any
    dust: Any
    dust_wave: Any

    @classmethod
    def of(cls, filters: Sequence[Filter]) -> Curves:
        """Integrate the curves of `filters`, exactly at the nodes."""
        rows: list[tuple[Any, ...]] = []
        for f in filters:
            x = np.linspace(np.log(f.wave[0]), np.log(f.wave[-1]), _STEPS)
            grid = np.union1d(f.wave, np.exp(x)[1:-1])
            t = np.interp(grid, f.wave, f.transmission)
            ratios = in_logarithm(grid, t)
            flat = 0.5 * (t[1:] + t[:-1]) * np.diff(grid)
            both = (np.interp(np.exp(x), grid, np.append(0.0, np.cumsum(y)) / f.norm) for y in (ratios, flat))
            rows.append((x[0], x[1] - x[0], *both, np.interp(np.exp(x), f.wave, f.transmission) / f.norm))
        longest = max(f.wave[-1] for f in filters)
        wave = _DUST * np.exp(_DUST_STEP * np.arange(np.ceil(np.log(max(longest / _DUST, 1.0)) / _DUST_STEP) + 1))
        dust = np.stack([f.weights(wave) if f.wave[-1] > _DUST else np.zeros(len(wave)) for f in filters])
        used = np.any(dust > 0, axis=0)
        start, step, shift, plain, height = (np.array(column) for column in zip(*rows, strict=True))
        return cls(start, step, shift, plain, height, dust[:, used], wave[used])

    def weights(self, wave: jax.Array) -> jax.Array:
        """Weights (n_band, n_wave) of a spectrum that is linear between the observed wavelengths `wave`, Angstrom."""
        x = (jnp.log(wave) - self.start[:, None]) / self.step[:, None]
        last = self.shift.shape[1] - 2
        i = jnp.clip(jnp.floor(x).astype(int), 0, last)
        u = jnp.clip(x - i, 0.0, 1.0)
        band = jnp.arange(self.shift.shape[0])[:, None]
        # cubic through values and slopes; the slope in ln(wavelength) of one is T, of the other T lambda
        edge = jnp.exp(self.start[:, None] + self.step[:, None] * i)
        height = jnp.asarray(self.height)
        low, high = height[band, i] * self.step[:, None], height[band, i + 1] * self.step[:, None]

        def running(table: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
            a, b = table[band, i], table[band, i + 1]
            return a + u * (left + u * (3.0 * (b - a) - 2.0 * left - right + u * (left + right - 2.0 * (b - a))))

        shift = running(jnp.asarray(self.shift), low, high)
        plain = running(jnp.asarray(self.plain), low * edge, high * edge * jnp.exp(self.step[:, None]))
        part = jnp.diff(shift, axis=1)
        upper = (jnp.diff(plain, axis=1) - wave[:-1] * part) / jnp.diff(wave)
        zero = jnp.zeros((part.shape[0], 1))
        return jnp.concatenate([part - upper, zero], axis=1) + jnp.concatenate([zero, upper], axis=1)

    def through(self, wave: jax.Array) -> jax.Array:
        """Transmissions (n_band, n) at observed wavelengths (n,), Angstrom, over their integrals in ln(wavelength)."""
        x = (jnp.log(wave) - self.start[:, None]) / self.step[:, None]
        i = jnp.clip(jnp.floor(x).astype(int), 0, self.height.shape[1] - 2)
        band = jnp.arange(self.height.shape[0])[:, None]
        low, high = jnp.asarray(self.height)[band, i], jnp.asarray(self.height)[band, i + 1]
        inside = (x >= 0.0) & (x <= self.height.shape[1] - 1.0)
        return jnp.where(inside, low + jnp.clip(x - i, 0.0, 1.0) * (high - low), 0.0)

    def seen(self, model: Any, smooth: Any = None) -> Seen:
        """Weights of the pieces of a galaxy's light at its redshift; those of the `smooth` ones may be known."""
        dimming, stretch = model.dimming(), 1.0 + model.redshift

        def arriving(wave: jax.Array) -> Any:
            return 1.0 if model.igm is None else model.igm.transmission(wave, model.redshift)

        if smooth is None:
            wave = jnp.asarray(model.ssp.wave) * stretch
            smooth = dimming * self.weights(wave) * arriving(wave)
        lines = dust = rest = None
        if isinstance(model.nebular, Nebular):
            at = jnp.asarray(model.nebular.grid.line_wave)
            lines = dimming * self.through(at * stretch) * arriving(at * stretch) * at / LIGHT
        # dust that shines where no band sees it costs nothing
        if model.emission is not None and self.dust.shape[1]:
            dust, rest = dimming * self.dust, self.dust_wave / stretch
        return Seen(smooth, lines, dust, rest)


class Cropped(eqx.Module):
    """Populations cut to the wavelengths under the filters, for light of stars behind dust.

    Attributes
    ----------
    weights : (n_band, n) nJy for one Lsun/Hz at each wavelength.
    wave : (n,) rest wavelengths, Angstrom.
    flux : (n_met * n_age, n) populations, Lsun/Hz/Msun.
    age : age of the Universe, Gyr.
    """

    weights: Any
    wave: Any
    flux: Any
    age: Any

    def fold(self, model: Any) -> jax.Array:
        """Flux densities of a galaxy, nJy, (n_band,)."""
        light = jnp.reshape(model.weights(self.age), (2, -1)) @ jnp.asarray(self.flux)
        if model.dust is not None:
            light = light * jnp.stack(model.dust.transmission(self.wave))
        return jnp.asarray(self.weights) @ light.sum(axis=0)


class Table(eqx.Module):
    """Populations contracted with the filters.

    Attributes
    ----------
    light : (n_met * n_age, n_band * k) nJy for a mass of 1 Msun in one population.
    nodes : (n_band * k,) rest wavelengths at which the dust is evaluated, Angstrom.
    age : age of the Universe, Gyr.
    n_band : number of bands.
    """

    light: Any
    nodes: Any
    age: Any
    n_band: int = eqx.field(static=True)

    def fold(self, model: Any) -> jax.Array:
        """Flux densities of a galaxy, nJy, (n_band,)."""
        pieces = jnp.reshape(model.weights(self.age), (2, -1)) @ jnp.asarray(self.light)
        if model.dust is not None:
            pieces = pieces * jnp.stack(model.dust.transmission(self.nodes))
        return pieces.reshape(2, self.n_band, -1).sum(axis=(0, 2))


def contract(cropped: Cropped, k: int) -> tuple[Table, np.ndarray]:
    """Contract populations with the weights of bands, with `k` nodes of dust in each.

    Returns
    -------
    table : Table
    polynomials : (n_band, k, n_wave) the Lagrange polynomials that stand for the dust inside each band.
    """
    matrix, wave = cropped.weights, cropped.wave
    nodes, polynomials = np.empty((len(matrix), k)), np.empty((len(matrix), k, len(wave)))
    x = np.log(wave)
    for b, row in enumerate(matrix):
        used = x[row > 0]
        centre, half = 0.5 * (used[-1] + used[0]), max(0.5 * (used[-1] - used[0]), 1e-6)
        # zeros of the Chebyshev polynomial over the band
        at = centre - half * np.cos(np.pi * (np.arange(k) + 0.5) / k)
        nodes[b] = np.exp(at)
        for j in range(k):
            others = np.delete(at, j)
            polynomials[b, j] = np.prod((x[:, None] - others) / (at[j] - others), axis=1)
    projected = (matrix[:, None, :] * polynomials).reshape(-1, len(wave))
    light = np.ascontiguousarray(cropped.flux @ projected.T)
    return Table(light, nodes.ravel(), cropped.age, len(matrix)), polynomials


def contraction_error(cropped: Cropped, polynomials: np.ndarray, left: np.ndarray, at_nodes: np.ndarray) -> float:
    """Largest relative error of any population in any band.

    Parameters
    ----------
    cropped : populations and weights.
    polynomials : (n_band, k, n) as of `contract`.
    left : (n_dust, n) transmissions of dust that the prior allows.
    at_nodes : (n_dust, n_band * k) the same at the nodes.
    """
    worst = 0.0
    for b, row in enumerate(cropped.weights):
        used = np.flatnonzero(row)
        light = cropped.flux[:, used] * row[used]
        k = polynomials.shape[1]
        near = at_nodes[:, b * k : (b + 1) * k] @ polynomials[b][:, used]
        exact = left[:, used] @ light.T
        approximate = near @ light.T
        shines = exact > 1e-6 * exact.max(axis=1, keepdims=True)
        worst = max(worst, float(np.max(np.abs(approximate - exact)[shines] / exact[shines])))
    return worst


def drawn(part: Any, n: int) -> list[Any]:
    """Copies (n) of a component with its parameters drawn from their priors, half of them at the priors' edges."""
    rng = np.random.default_rng(0)

    def draw(node: Any, values: dict[int, Any], scale: float) -> Any:
        if not isinstance(node, Parameter):
            raise SkyfoldError("A galaxy's dust holds something else than parameters and numbers.")
        if node.token not in values:
            prior = substitute(node.prior, partial(draw, values=values, scale=scale))
            z = rng.standard_normal(prior.latent_shape)
            values[node.token] = prior.transport(jnp.asarray(scale * np.sign(z) if scale else z))
        return values[node.token]

    scales = [3.0 if i % 2 else 0.0 for i in range(n)]
    return [substitute(part, partial(draw, values={}, scale=s)) for s in scales]
