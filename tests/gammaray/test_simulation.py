"""Simulated skies against the distributions that they are drawn from."""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import pytest

from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.gammaray.emission import Emission, Population
from skyfold.gammaray.healpix import pixel_of, within
from skyfold.gammaray.maps import CountsMap
from skyfold.gammaray.pixels import Pixels
from skyfold.gammaray.point_sources import point_source_log_likelihood
from skyfold.gammaray.psf import King
from skyfold.gammaray.regions import Band, Disc
from skyfold.gammaray.source_counts import BrokenPowerLaw
from skyfold.gammaray.templates import Isotropic

pytest.importorskip("astropy_healpix")
from skyfold.gammaray.simulation import scattered, simulate, simulate_with_sources  # noqa: E402

NSIDE = 64
THETA = [0.05, 4.0, 1.2, -2.0, 15.0, 7.0]


class Everywhere(Component):
    """Sources everywhere alike."""

    name: ClassVar[str] = "everywhere"
    source_count: Any

    def evaluate(self, pixels: Any) -> Emission:
        return Emission(jnp.zeros(pixels.n_pix), (Population(jnp.ones(pixels.n_pix), self.source_count),))


@pytest.fixture(scope="module")
def sky() -> CountsMap:
    whole = CountsMap.read(np.zeros(12 * NSIDE**2), exposure=np.full(12 * NSIDE**2, 1e11))
    return whole.within(Disc(25.0) & ~Band(2.0))


@pytest.mark.parametrize("s_range", [None, (0.1, 100.0)])
def test_counts_of_single_pixels(sky: CountsMap, s_range: Any) -> None:
    model = Isotropic(2.0) + Everywhere(BrokenPowerLaw.from_theta(THETA))
    seen = np.concatenate([np.asarray(simulate(model, sky, seed=i, s_range=s_range).data) for i in range(4)])
    most = 40
    k = np.arange(most, dtype=float)
    one = np.ones(most)
    p = np.exp(np.asarray(point_source_log_likelihood(k, 2.0 * one, one[None], [THETA], [1.0], [1.0], s_range)))
    observed = np.bincount(seen.astype(int), minlength=most)[:most]
    expected = p * seen.size
    good = expected > 10
    chi2 = np.sum((observed[good] - expected[good]) ** 2 / expected[good])
    assert good.sum() > 15
    assert abs(chi2 - good.sum()) < 4.5 * np.sqrt(2 * good.sum())


def test_exposure_scales_sources() -> None:
    n = 12 * NSIDE**2
    exposure = np.where(np.arange(n) % 2, 1.5e11, 0.5e11)
    whole = CountsMap.read(np.zeros(n), exposure=exposure).within(Disc(25.0))
    model = Isotropic(1e-9) + Everywhere(BrokenPowerLaw.from_theta(THETA))
    flux = float(BrokenPowerLaw.from_theta(THETA).flux())
    drawn = np.mean([np.asarray(simulate(model, whole, seed=i).data) for i in range(20)], axis=0)
    odd = np.asarray(whole.pixels.index) % 2 == 1
    mean = exposure[np.asarray(whole.pixels.index)].mean()
    assert drawn[odd].mean() == pytest.approx(flux * 1.5e11 / mean, rel=0.03)
    assert drawn[~odd].mean() == pytest.approx(flux * 0.5e11 / mean, rel=0.03)


def test_seed_and_free_parameters(sky: CountsMap) -> None:
    import skyfold as sf

    model = Isotropic(2.0)
    first, again = (simulate(model, sky, seed=3).data for _ in range(2))
    assert np.array_equal(first, again)
    with pytest.raises(SkyfoldError, match="1 parameters of the model are free"):
        simulate(Isotropic(sf.Uniform(0, 1)), sky)


def test_photons_follow_the_psf(sky: CountsMap) -> None:
    psf = King(np.radians(0.8), 3.0)
    whole = Pixels.of(NSIDE, np.arange(12 * NSIDE**2))
    home = int(np.argmax(whole.direction.T @ np.array([np.cos(0.5), 0.0, np.sin(0.5)])))
    photons = 200_000
    rng = np.random.default_rng(5)
    places = within(NSIDE, np.full(1000, home), 64, rng.integers(64**2, size=1000))
    counts = scattered(*places, np.full(1000, 200), NSIDE, psf, rng)
    assert counts.sum() == photons
    angle = np.arccos(np.clip(whole.direction[:, home] @ whole.direction, -1, 1))
    # pixels of 0.9 degrees blur the radii, so they are compared well outside of one
    for radius in (3.0, 5.0, 8.0):
        inside = counts[angle < np.radians(radius)].sum() / photons
        assert inside == pytest.approx(float(psf.containment(np.radians(radius))), abs=0.015)
    mean = (whole.direction * counts).sum(axis=1) / photons
    assert np.linalg.norm(mean / np.linalg.norm(mean) - whole.direction[:, home]) < np.radians(0.1)


def test_sources_outside_the_region_send_photons_into_it(sky: CountsMap) -> None:
    model = Isotropic(1e-9) + Everywhere(BrokenPowerLaw.from_theta(THETA))
    flux = float(BrokenPowerLaw.from_theta(THETA).flux())
    drawn = np.concatenate(
        [np.asarray(simulate(model, sky, King(np.radians(1.0), 3.0), seed=i).data) for i in range(4)]
    )
    assert drawn.mean() == pytest.approx(flux, rel=0.03)


def test_sources_are_those_that_sent_the_photons(sky: CountsMap) -> None:
    bright = BrokenPowerLaw.from_theta([0.02, 4.0, 1.2, -2.0, 60.0, 30.0])
    model = Isotropic(1e-9) + Everywhere(BrokenPowerLaw.from_theta(THETA)) + Everywhere(bright)
    s_range = (0.1, 200.0)
    drawn, sources = simulate_with_sources(model, sky, seed=2, s_range=s_range)
    assert np.array_equal(drawn.data, simulate(model, sky, seed=2, s_range=s_range).data)
    assert len(sources) == 2
    total = np.zeros(12 * NSIDE**2)
    for population in sources:
        assert len(population) == population.latitude.size > 100
        # without a PSF every photon lies in the pixel of its source
        place = pixel_of(NSIDE, np.radians(population.longitude), np.radians(population.latitude))
        assert np.array_equal(place, population.pixel)
        np.add.at(total, population.pixel, population.counts)
        assert population.expected == pytest.approx(population.size)
        assert np.all((population.expected >= s_range[0]) & (population.expected <= s_range[1]))
    assert np.array_equal(total[np.asarray(sky.pixels.index)], np.asarray(drawn.data))


def test_number_and_sizes_of_sources(sky: CountsMap) -> None:
    source_count = BrokenPowerLaw.from_theta(THETA)
    s_range = (1.0, 100.0)
    model = Isotropic(1e-9) + Everywhere(source_count)
    drawn, (sources,) = simulate_with_sources(model, sky, King(np.radians(0.5), 3.0), seed=4, s_range=s_range)
    log_s = np.linspace(*np.log(s_range), 20_001)
    density = np.asarray(source_count.density(jnp.asarray(log_s)))
    number = np.trapezoid(density, log_s)
    inside = np.isin(sources.pixel, np.asarray(sky.pixels.index))
    expected = number * sky.pixels.n_pix
    assert abs(inside.sum() - expected) < 4.5 * np.sqrt(expected)
    # places outside the region, from where the PSF brings photons in
    assert 0 < np.sum(~inside) < len(sources)
    below = np.trapezoid(np.where(log_s < np.log(10.0), density, 0.0), log_s) / number
    share = np.mean(sources.size < 10.0)
    assert share == pytest.approx(below, abs=4.5 * np.sqrt(below * (1 - below) / len(sources)))
    assert abs(sources.counts.sum() - sources.expected.sum()) < 4.5 * np.sqrt(sources.expected.sum())
