"""Simulated skies: smooth counts, and sources one by one whose photons the PSF scatters one by one.

Nothing here shares an approximation of the likelihood: a source's photons fall into several pixels, which the
likelihood takes as independent, and no rho(f) is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.gammaray.healpix import centres, pixel_of, within
from skyfold.gammaray.maps import CountsMap
from skyfold.gammaray.pixels import Pixels
from skyfold.gammaray.population_checks import check_populations
from skyfold.gammaray.psf import Psf
from skyfold.gammaray.regions import directions
from skyfold.gammaray.source_counts import SourceCount
from skyfold.parameters import parameters_in

#: Points of ln S and of the angle from a source at which what is drawn is tabulated.
_SIZES, _ANGLES = 4000, 4000
#: Share of the photons that the PSF puts beyond the last of them.
_OUTSIDE = 1e-5
#: Sources are placed at random on a sphere so many times finer.
_FINER = 64
#: How far beyond the highest break (in ln S) sources are drawn.
_BEYOND = np.log(1e6)


@dataclass(frozen=True)
class Sources:
    """Sources of one population that were drawn, around the region too.

    Attributes
    ----------
    longitude, latitude : (n,) degrees, Galactic.
    pixel : (n,) pixel in ring order that holds each.
    size : (n,) S, mean counts at the mean exposure of the fitted pixels.
    expected : (n,) mean counts at the source's own exposure, wherever the PSF puts them.
    counts : (n,) photons drawn.
    """

    longitude: np.ndarray
    latitude: np.ndarray
    pixel: np.ndarray
    size: np.ndarray
    expected: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.size)


def simulate(
    model: Component,
    sky: CountsMap,
    psf: Psf | None = None,
    *,
    seed: int = 0,
    s_range: tuple[float, float] | None = None,
    margin: float = 5.0,
    faintest: float = 0.01,
) -> CountsMap:
    r"""Draw counts of a model without free parameters.

    Smooth emission is drawn pixel by pixel: its templates are taken as blurred already. Of a population of point
    sources, the number in each pixel is Poisson with mean :math:`T \int dN/dS\,dS`; a source has a uniform place in its
    pixel, :math:`\mathrm{Poisson}(S e)` photons where the relative exposure is e, and every photon a direction of its
    own from the PSF.

    Parameters
    ----------
    model : of numbers only.
    sky : its pixels, exposure and mask; its counts have no effect.
    psf : None puts every photon of a source into the source's pixel.
    seed : the same seed gives the same counts.
    s_range : lowest and highest mean counts of a source, the likelihood's support; None for all.
    margin : sources up to so many degrees outside the region send photons into it. Their exposure is that of the
        nearest pixel of the region.
    faintest : sources fainter than this many counts, which hardly ever send two photons, are drawn as smooth emission.

    Returns
    -------
    CountsMap
        The same map with the counts that were drawn.

    Raises
    ------
    SkyfoldError
        If a parameter is free, or there are point sources and several energy bins.
    """
    return simulate_with_sources(model, sky, psf, seed=seed, s_range=s_range, margin=margin, faintest=faintest)[0]


def simulate_with_sources(
    model: Component,
    sky: CountsMap,
    psf: Psf | None = None,
    *,
    seed: int = 0,
    s_range: tuple[float, float] | None = None,
    margin: float = 5.0,
    faintest: float = 0.01,
) -> tuple[CountsMap, tuple[Sources, ...]]:
    """Draw the counts that `simulate` draws, and return the sources too.

    Parameters
    ----------
    model, sky, psf, seed, s_range, margin, faintest : as for `simulate`.

    Returns
    -------
    sky : CountsMap
        The same map with the counts that were drawn.
    sources : tuple of Sources
        One per population, in the order of the model; those up to `margin` degrees outside the region, which may have
        sent photons into it, are among them, those fainter than `faintest` are not.

    Raises
    ------
    SkyfoldError
        As `simulate`.
    """
    counts, sources = Simulator.of(model, sky, psf, s_range=s_range, margin=margin, faintest=faintest).draw(seed)
    return sky.with_data(counts), sources


@dataclass(frozen=True)
class _Drawn:
    """A population as it is drawn.

    Attributes
    ----------
    template : (n_wide,) relative number of sources, on the scale of the region.
    log_s, cumulative : points of ln S, and the number of sources up to them in a pixel of unit template.
    faint : mean counts of those too faint to be drawn one by one, in a pixel of unit template.
    """

    template: np.ndarray
    log_s: np.ndarray
    cumulative: np.ndarray
    faint: float


@dataclass(frozen=True)
class Simulator:
    """Draws many skies of one model: what they have in common is worked out once.

    Attributes
    ----------
    sky : pixels, exposure and mask.
    mean : expected counts of smooth emission, (n_pix,) or (n_bins, n_pix).
    populations : point sources.
    wide, relative : pixels around the region too, and their exposure over the mean of the fitted ones.
    psf, s_range : as for `simulate`.
    """

    sky: CountsMap
    mean: np.ndarray
    populations: tuple[_Drawn, ...]
    wide: Pixels | None
    relative: np.ndarray
    psf: Psf | None
    s_range: tuple[float, float] | None

    @classmethod
    def of(
        cls,
        model: Component,
        sky: CountsMap,
        psf: Psf | None = None,
        *,
        s_range: tuple[float, float] | None = None,
        margin: float = 5.0,
        faintest: float = 0.01,
        around: tuple[Pixels, np.ndarray] | None = None,
    ) -> Simulator:
        """Work out what all skies of a model share.

        Parameters and errors are those of `simulate`; `around` is what `surroundings` found, for many models of a map.
        """
        free = sum(1 for _ in parameters_in(model))
        if free:
            raise SkyfoldError(
                f"simulate: {free} parameters of the model are free; fix them with with_values({{...}})."
            )
        check_populations(model)
        pixels = sky.pixels
        emission = model.evaluate(pixels)
        shape = (pixels.n_pix,) if sky.n_bins is None else (sky.n_bins, pixels.n_pix)
        mean = np.broadcast_to(np.asarray(emission.smooth), shape)
        if not emission.populations:
            return cls(sky, mean, (), None, np.ones(0), psf, s_range)
        if sky.n_bins not in (None, 1):
            raise SkyfoldError("simulate: point sources are drawn in a single energy bin; add the bins up.")
        wide, relative = surroundings(sky, 0.0 if psf is None else margin) if around is None else around
        others = model.evaluate(wide).populations
        place = np.searchsorted(wide.index, pixels.index)
        populations = []
        for own, other in zip(emission.populations, others, strict=True):
            # both are of mean 1 over their own pixels: bring the wide one to the scale of the region
            template = np.asarray(other.template) * float(
                np.sum(np.asarray(own.template)) / np.sum(np.asarray(other.template)[place])
            )
            populations.append(_tabulated(own.source_count, template, relative, s_range, faintest))
        return cls(sky, mean, tuple(populations), wide, relative, psf, s_range)

    def draw(self, seed: Any) -> tuple[np.ndarray, tuple[Sources, ...]]:
        """Counts of the fitted pixels (n_data,), and the sources; `seed` as for `numpy.random.default_rng`."""
        rng = np.random.default_rng(seed)
        pixels = self.sky.pixels
        counts = rng.poisson(self.mean).astype(np.float64)
        total, sources = np.zeros(12 * pixels.nside**2), []
        for population in self.populations:
            sources.append(self._sources(population, rng, total))
        counts += total[pixels.index]
        return np.ravel(counts[..., self.sky.kept]), tuple(sources)

    def _sources(self, drawn: _Drawn, rng: np.random.Generator, total: np.ndarray) -> Sources:
        """Sources of one population; their counts are added to `total` (12 nside^2,)."""
        pixels, relative, s_range = self.wide, self.relative, self.s_range
        assert pixels is not None
        cumulative = drawn.cumulative
        number = rng.poisson(cumulative[-1] * drawn.template)
        home = np.repeat(np.arange(pixels.n_pix), number)
        size = np.exp(np.interp(rng.uniform(0.0, cumulative[-1], home.size), cumulative, drawn.log_s))
        if s_range is not None:
            inside = (size * relative[home] >= s_range[0]) & (size * relative[home] <= s_range[1])
            home, size = home[inside], size[inside]
        expected = size * relative[home]
        photons = rng.poisson(expected)
        longitude, latitude = within(pixels.nside, pixels.index[home], _FINER, rng.integers(_FINER**2, size=home.size))
        index = np.asarray(pixels.index)[home]
        if self.psf is None:
            total += np.bincount(index, photons, minlength=total.size)
        else:
            total += scattered(longitude, latitude, photons, pixels.nside, self.psf, rng)
        if s_range is None:
            total[pixels.index] += rng.poisson(drawn.faint * drawn.template * relative)
        place = (np.degrees((longitude + np.pi) % (2.0 * np.pi) - np.pi), np.degrees(latitude))
        return Sources(*place, index, size, expected, photons)


def surroundings(sky: CountsMap, margin: float) -> tuple[Pixels, np.ndarray]:
    """Pixels up to `margin` degrees around the region too, and their exposure over the mean of the fitted ones."""
    from scipy.spatial import cKDTree

    pixels = sky.pixels
    everywhere = np.arange(12 * pixels.nside**2)
    longitude, latitude = centres(pixels.nside, everywhere)
    distance, nearest = cKDTree(np.asarray(pixels.direction).T).query(
        directions(longitude, latitude).T, distance_upper_bound=2.0 * np.sin(np.radians(margin) / 2.0) + 1e-9
    )
    near = np.flatnonzero(np.isfinite(distance))
    if pixels.exposure is None:
        return Pixels.of(pixels.nside, near), np.ones(len(near))
    exposure = np.ravel(np.asarray(pixels.exposure))
    own = exposure[nearest[near]]
    return Pixels.of(pixels.nside, near, own), own / exposure[sky.kept].mean()


def _tabulated(
    source_count: SourceCount,
    template: np.ndarray,
    relative: np.ndarray,
    s_range: tuple[float, float] | None,
    faintest: float,
) -> _Drawn:
    """Tabulate the number of sources by brightness."""
    low = np.log(faintest if s_range is None else s_range[0] / relative.max())
    kinks = np.asarray(source_count.kinks)
    high = (kinks.max() if kinks.size else 0.0) + _BEYOND if s_range is None else np.log(s_range[1] / relative.min())
    log_s = np.linspace(low, high, _SIZES)
    density = np.asarray(source_count.density(jnp.asarray(log_s)))
    steps = 0.5 * (density[1:] + density[:-1]) * np.diff(log_s)
    cumulative = np.concatenate([[0.0], np.cumsum(steps)])
    faint = 0.0 if s_range is not None else float(np.asarray(source_count.below(low, np.arange(1, 2)))[0])
    return _Drawn(template, log_s, cumulative, faint)


def scattered(
    longitude: np.ndarray, latitude: np.ndarray, photons: np.ndarray, nside: int, psf: Psf, rng: np.random.Generator
) -> np.ndarray:
    """Counts (12 nside^2,) of photons that the PSF scatters from sources in these directions (radians)."""
    longitude, latitude = np.repeat(longitude, photons), np.repeat(latitude, photons)
    angle = _angles(psf, rng, longitude.size)
    azimuth = rng.uniform(0.0, 2.0 * np.pi, longitude.size)
    # on the sphere: `angle` away from the source, towards `azimuth` from north
    sine = np.sin(latitude) * np.cos(angle) + np.cos(latitude) * np.sin(angle) * np.cos(azimuth)
    new = np.arcsin(np.clip(sine, -1.0, 1.0))
    turn = np.arctan2(np.sin(azimuth) * np.sin(angle) * np.cos(latitude), np.cos(angle) - np.sin(latitude) * sine)
    index = pixel_of(nside, longitude + turn, new)
    return np.bincount(index, minlength=12 * nside**2).astype(np.float64)


def _angles(psf: Psf, rng: np.random.Generator, n: int) -> np.ndarray:
    """Angles (n,) between photons and their sources, radians."""
    radii = psf.radius(_OUTSIDE) * np.linspace(0.0, 1.0, _ANGLES) ** 2
    inside = psf.containment(radii)
    return np.interp(rng.uniform(0.0, inside[-1], n), inside, radii)
