"""The likelihood of counts to which unresolved point sources contribute, as a function of one vector."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.gammaray.compound import arrange
from skyfold.gammaray.point_sources import PreparedPixels, log_likelihood, prepare
from skyfold.gammaray.source_counts import SourceCount, Support
from skyfold.likelihoods.likelihood import Likelihood
from skyfold.likelihoods.poisson import Counts, Poisson

#: Sizes of bright sources are drawn on so many points of ln S, over this range beyond what the counts reach.
_POINTS, _RANGE = 400, 1e4
#: Shares (see `Blur.share`), and by what factor they make the standard deviation of the counts of sources in a disk too
#: small, as docs/gammaray_calibration.md has it; the share below which a fit says so.
SHARES, FACTORS = (0.04, 0.15, 0.36, 0.61, 1.0), (2.1, 1.7, 1.3, 1.2, 1.0)
SHARED = 0.7
#: Pixels times photons up to which a thousand maps are drawn in seconds.
_CHEAP = 20_000


class Blur(eqx.Module):
    """How sources become counts of single pixels: PSF, range of source counts, treatment of exposure.

    Attributes
    ----------
    f, weights : (n_f,) distribution of the fraction of a source's counts that falls into a pixel, sum(f weights) = 1.
    s_range : lowest and highest mean counts of a source, or None for all.
    regions : number of regions of equal exposure, or None to interpolate.
    """

    f: np.ndarray
    weights: np.ndarray
    s_range: Support = eqx.field(static=True)
    regions: int | None = eqx.field(static=True)

    @property
    def share(self) -> float:
        """Part of a source's photons in the pixel of one of them, on average: sum(f^2 weights), 1 without a PSF."""
        return float(np.asarray(self.weights) @ np.asarray(self.f) ** 2)

    def prepared(self, counts: Any, exposure: Any, like: PreparedPixels | None = None) -> PreparedPixels:
        """Pixels prepared for the likelihood; on the host."""
        f, weights = np.asarray(self.f), np.asarray(self.weights)
        return prepare(counts, f, weights, self.s_range, exposure, regions=self.regions, like=like)


class CompoundPoisson(Counts):
    r"""Counts of smooth emission and of populations of unresolved point sources, pixel by pixel.

    What it calls expected data is one vector: the smooth counts :math:`\mu` (n,), the template of each population (n,),
    then the numbers of their source-count functions. Pixels count as independent, although the PSF lets a source
    contribute to several: an approximation that all such analyses share. The statistic is -2 ln L.

    Attributes
    ----------
    data : (n,) counts.
    prepared : what depends on counts, PSF and exposure alone.
    blur, exposure : what `prepared` is made of.
    structure, shapes : how the numbers at the end of the vector become source-count functions.
    """

    statistic_name: ClassVar[str] = "-2 ln L"
    prepared: PreparedPixels
    blur: Blur
    exposure: np.ndarray | None
    structure: Any = eqx.field(static=True)
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)

    @property
    def cheap(self) -> bool:  # type: ignore[override]
        """Whether the map is small: the numbers of sources of 1, 2, ... photons are drawn for every pixel."""
        return self.prepared.layout.highest * np.shape(self.data)[0] <= _CHEAP

    def unpacked(self, expected: jax.Array) -> tuple[jax.Array, jax.Array, tuple[SourceCount, ...]]:
        """Smooth counts (n,), templates (n_populations, n), and source-count functions."""
        n, sizes = np.shape(self.data)[0], [int(np.prod(s)) for s in self.shapes]
        populations = len(self.structure.children())
        start = n * (1 + populations)
        if np.shape(expected) != (start + sum(sizes),):
            raise SkyfoldError(
                f"This map was prepared for {populations} populations of point sources, {start + sum(sizes)} numbers, "
                f"and the model gives {np.shape(expected)[0]}; bind the map to this model: sky.bound(model)."
            )
        leaves = []
        for shape, size in zip(self.shapes, sizes, strict=True):
            leaves.append(jnp.reshape(expected[start : start + size], shape))
            start += size
        maps = jnp.reshape(expected[: n * (1 + populations)], (-1, n))
        return maps[0], maps[1:], jax.tree.unflatten(self.structure, leaves)

    def pointwise(self, expected: jax.Array) -> jax.Array:
        return log_likelihood(self.prepared, *self.unpacked(expected))

    def scores(self, expected: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Derivatives of the log-likelihood of each pixel.

        Returns
        -------
        own : (1 + n_populations, n), with respect to the pixel's own smooth counts and templates.
        common : (n_numbers, n), with respect to the numbers of the source-count functions.
        """
        n, total = np.shape(self.data)[0], expected.size
        maps = 1 + len(self.structure.children())
        # a pixel sees its own entry of each map only: one step along all of them tells each pixel's derivative
        directions = np.zeros((maps + total - n * maps, total))
        for number in range(maps):
            directions[number, n * number : n * (number + 1)] = 1.0
        directions[maps:, n * maps :] = np.eye(total - n * maps)

        def along(direction: jax.Array) -> jax.Array:
            return jax.jvp(self.pointwise, (expected,), (direction,))[1]

        scores = jax.vmap(along)(jnp.asarray(directions))
        return scores[:maps], scores[maps:]

    def fisher(self, expected: jax.Array) -> jax.Array:
        """Squared scores of the observed counts, with respect to each entry of the vector.

        They estimate the diagonal of the Fisher information, whose mean over data they have at the true model.
        """
        own, common = self.scores(expected)
        return jnp.concatenate([jnp.ravel(own**2), jnp.sum(common**2, axis=1)])

    def statistic(self, expected: jax.Array) -> jax.Array:
        return -2.0 * jnp.sum(self.pointwise(expected))

    def mean(self, expected: jax.Array) -> jax.Array:
        """Mean counts of each component of the sum, (1 + n_populations, n): smooth emission, then each population."""
        mu, templates, source_counts = self.unpacked(expected)
        return jnp.stack([mu, *(self.mean_of(*own) for own in zip(templates, source_counts, strict=True))])

    def mean_of(self, template: jax.Array, source_count: SourceCount) -> jax.Array:
        """Mean counts (n,) of a population with a template (n,)."""
        prepared = self.prepared
        if prepared.shares is None:
            return template * source_count.flux(prepared.support)

        def at(exposure: jax.Array) -> jax.Array:
            return source_count.at_exposure(exposure, prepared.scale_amplitude).flux(prepared.support)

        return template * (jax.vmap(at)(jnp.asarray(prepared.exposures)) @ prepared.shares)

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        """Draw counts, pixel by pixel independently; leading batch axes are kept.

        Sources that send up to as many photons as the layout has room for are drawn exactly; the few brighter ones with
        the mean exposure's distribution of sizes.
        """
        expected = np.asarray(expected, dtype=np.float64)
        flat = expected.reshape(-1, expected.shape[-1])
        drawn = np.stack([self._draw(rng, row) for row in flat])
        return drawn.reshape(*expected.shape[:-1], -1)

    def _draw(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        rates, bright, density = (np.maximum(np.asarray(a), 0.0) for a in _rates(self, jnp.asarray(expected), self._s))
        counts = rng.poisson(rates) @ np.arange(1.0, rates.shape[1] + 1.0)
        most = rates.shape[1]
        f, weights = np.asarray(self.blur.f), np.asarray(self.blur.weights)
        from scipy.stats import poisson

        below = poisson.cdf(most, np.exp(self._s)[:, None] * f)
        for rate, own in zip(bright, density, strict=True):
            share = (own[:, None] * weights * (1.0 - below)).ravel()
            pixel = np.repeat(np.arange(rate.size), rng.poisson(rate))
            if not pixel.size or not share.sum() > 0:
                continue
            chosen = rng.choice(share.size, pixel.size, p=share / share.sum())
            cut = below.ravel()[chosen]
            u = cut + (1.0 - cut) * rng.random(pixel.size)
            mean = (np.exp(self._s)[:, None] * f).ravel()[chosen]
            photons = np.maximum(poisson.ppf(np.minimum(u, 1.0 - 1e-16), mean), most + 1)
            np.add.at(counts, pixel, photons)
        return counts

    @property
    def _s(self) -> np.ndarray:
        """Points of ln S at which sources are brighter than the layout has room for."""
        f, support = np.asarray(self.blur.f), self.prepared.support
        low, high = 0.1 * self.prepared.layout.highest / f.max(), _RANGE * self.prepared.layout.highest / f.min()
        if support is not None:
            high = support[1]
            low = min(low, 0.5 * high)
        return np.linspace(np.log(low), np.log(high), _POINTS)

    def with_data(self, data: Any) -> Self:
        data, own = np.asarray(data, dtype=np.float64), self.prepared
        layout = arrange(data, own.layout)
        # what depends on PSF and exposure alone stays the very same where the counts fit into it
        fits = layout.shape == own.layout.shape
        prepared = replace(own, layout=layout) if fits else self.blur.prepared(data, self.exposure, own)
        return eqx.tree_at(lambda o: (o.data, o.prepared), self, (data, prepared))

    def take(self, groups: Any) -> Any:
        """Poisson likelihood of some of the counts; a map of these is made ready for sources anew."""
        return Poisson(self.data[groups])


@jit
def _rates(own: CompoundPoisson, expected: jax.Array, log_s: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rates of sources of 1, 2, ... photons (n, m), of brighter ones (n_populations, n), and dN/dlnS (., n_points)."""
    mu, templates, source_counts = own.unpacked(expected)
    prepared = own.prepared
    rates = jnp.zeros((mu.size, prepared.layout.highest)).at[:, 0].add(mu)
    bright, density = [], []
    for template, source_count in zip(templates, source_counts, strict=True):

        def at(e: jax.Array, s: SourceCount = source_count) -> tuple[jax.Array, jax.Array]:
            v, x = prepared.table.moments(s.at_exposure(e, prepared.scale_amplitude))
            return v, x

        v, x = jax.vmap(at)(jnp.asarray(prepared.exposures))
        shares = jnp.ones((1, mu.size)) if prepared.shares is None else jnp.asarray(prepared.shares)
        rates = rates + template[:, None] * (shares.T @ x)
        bright.append(template * ((v - jnp.sum(x, axis=1)) @ shares))
        density.append(source_count.density(jnp.asarray(log_s)))
    return rates, jnp.stack(bright), jnp.stack(density)


def compound(counts: Any, populations: Any, blur: Blur, exposure: Any, like: Likelihood) -> CompoundPoisson:
    """Likelihood of counts for models with populations of this structure.

    Parameters
    ----------
    counts : (n,) counts.
    populations : tuple of `Population`, whose leaves have shapes.
    blur : PSF and its like.
    exposure : (n,) or None.
    like : the likelihood so far, which is kept where it serves.
    """
    leaves, structure = jax.tree.flatten(tuple(p.source_count for p in populations))
    shapes = tuple(np.shape(x) for x in leaves)
    if isinstance(like, CompoundPoisson) and (like.structure, like.shapes) == (structure, shapes):
        return like
    counts = np.asarray(counts)
    return CompoundPoisson(counts, blur.prepared(counts, exposure), blur, exposure, structure, shapes)
