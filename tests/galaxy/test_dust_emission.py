"""What dust sends out through bands and in spectra: energy, and wavelengths of its own. The same of lines of gas."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from grids import synthetic

import skyfold as sf
from skyfold.galaxy.case_b import synthetic_case_b
from skyfold.galaxy.dust import Calzetti, Casey2012, Dale2014, ModifiedBlackBody
from skyfold.galaxy.filters import Filter
from skyfold.galaxy.galaxy import Galaxy
from skyfold.galaxy.nebular import Nebular
from skyfold.galaxy.photometry import Photometry, magnitudes
from skyfold.galaxy.sfh import DelayedTau
from skyfold.galaxy.spectroscopy import Spectroscopy
from skyfold.galaxy.ssp import LIGHT, energy_weights


def box(name: str, low: float, high: float) -> Filter:
    """Band between two wavelengths in micrometres whose sides take a twentieth of it."""
    side = 0.05 * (high - low)
    return Filter(name, 1e4 * np.array([low, low + side, high - side, high]), np.array([0.0, 1.0, 1.0, 0.0]))


#: Where no wavelength of the populations lies, or few: F1130W, W3, MIPS 24 and 160, and one of stars.
BANDS = [
    box("F1130W", 10.95, 11.67),
    box("W3", 7.4, 17.3),
    box("MIPS24", 20.5, 27.5),
    box("MIPS160", 130.0, 180.0),
    box("r", 0.55, 0.7),
]


def features() -> Dale2014:
    """A table with features as narrow as those of aromatic molecules, at steps of 1%, as published ones have."""
    wave = np.geomspace(1e4, 1e7, 691)
    micron = wave / 1e4
    spectrum = np.exp(-0.5 * (np.log(micron / 100.0) / 0.6) ** 2)
    for centre, width in ((6.22, 0.03), (7.6, 0.044), (8.61, 0.039), (11.3, 0.032), (12.7, 0.04)):
        spectrum = spectrum + 0.02 * width**2 / ((micron / centre - centre / micron) ** 2 + width**2)
    return Dale2014(wave, np.array([1.0, 2.0]), np.stack([spectrum, spectrum]), alpha=1.5)


EMISSIONS = {
    "black body": ModifiedBlackBody(60.0, 1.6),
    "casey": Casey2012(T=35.0, beta=1.6, alpha=2.0),
    "features": features(),
}


def dusty(redshift, emission, **parts) -> Galaxy:
    return Galaxy(
        synthetic(),
        DelayedTau(10.0, 2.0, 8.0),
        0.0,
        dust=Calzetti(Av=2.0),
        emission=emission,
        redshift=redshift,
        **parts,
    )


def seen(obs, model: Galaxy) -> np.ndarray:
    return np.asarray(jax.jit(lambda m: obs.predict(m))(model))


received = jax.jit(lambda m, rest: m.dimming() * m.evaluate(rest))
lines = jax.jit(lambda m: m.line_fluxes(m.light()))
energy = jax.jit(lambda m: m.bolometric_luminosity())


def integrated(model: Galaxy, band: Filter) -> float:
    """Flux density through a band of a spectrum on many wavelengths, nJy."""
    wave = np.geomspace(band.wave[0], band.wave[-1], 40001)
    through = np.interp(wave, band.wave, band.transmission) / wave
    light = np.asarray(received(model, wave / (1.0 + float(model.redshift))))
    return float(np.trapezoid(light * through, wave) / np.trapezoid(through, wave))


@pytest.mark.parametrize("name", EMISSIONS)
@pytest.mark.parametrize("redshift", [0.03, 1.0])
def test_bands_are_those_of_the_spectrum_at_full_resolution(name, redshift):
    model = dusty(redshift, EMISSIONS[name])
    right = np.array([integrated(model, band) for band in BANDS])
    found = 3631e9 * 10 ** (-0.4 * magnitudes(model, BANDS))
    np.testing.assert_allclose(found, right, rtol=5e-3)
    obs = Photometry(BANDS, np.ones(5), np.ones(5))
    np.testing.assert_allclose(seen(obs.bound(model), model), found, rtol=1e-9)
    np.testing.assert_allclose(seen(obs, model), found, rtol=1e-4)


def test_a_free_redshift_sees_the_same_light_of_dust():
    obs = Photometry(BANDS, np.ones(5), np.ones(5))
    kernel = sf.Posterior((dusty(sf.Uniform(0.5, 1.5), EMISSIONS["casey"]), obs)).kernel
    found = np.asarray(kernel.expected(jnp.zeros(1))[0])
    np.testing.assert_allclose(found, [integrated(dusty(1.0, EMISSIONS["casey"]), b) for b in BANDS], rtol=5e-3)


@pytest.mark.parametrize("name", EMISSIONS)
def test_all_energy_that_dust_takes_comes_out_again(name):
    gas = Nebular(synthetic_case_b().on(synthetic().ages, synthetic().log_z), log_u=-2.5)
    for parts in ({}, {"nebular": gas}):
        model, bare = dusty(0.1, EMISSIONS[name], **parts), dusty(0.1, None, **parts)
        naked = Galaxy(model.ssp, model.sfh, model.metallicity, redshift=0.1, **parts)
        assert float(energy(bare)) < 0.7 * float(energy(naked))
        total = float(energy(model))
        assert total == pytest.approx(float(energy(naked)), rel=1e-12)
        # and it is there when the spectrum is integrated, beyond the last wavelength of stars as well
        fine = np.union1d(np.geomspace(91.0, 1e8, 60001), np.asarray(model.ssp.wave))
        sent = np.asarray(received(model, fine) - received(bare, fine)) / float(model.dimming())
        taken = float(energy(naked) - energy(bare))
        assert sent @ energy_weights(fine) == pytest.approx(taken, rel=1e-3)


def test_energy_weights_are_exact_for_spectra_that_are_linear_in_wavelength():
    wave = np.array([1000.0, 1500.0, 1501.0, 9000.0])
    flux = np.array([2.0, 1.0, 3.0, 0.5])
    fine = np.union1d(np.geomspace(1000.0, 9000.0, 400001), wave)
    right = -np.trapezoid(np.interp(fine, wave, flux), LIGHT / fine)
    assert flux @ energy_weights(wave) == pytest.approx(right, rel=1e-8)
    np.testing.assert_allclose(energy_weights(jnp.asarray(wave)), energy_weights(wave), rtol=1e-10)


def test_bands_without_dust_are_as_quick_as_before():
    optical = Photometry([BANDS[4]], [1.0], [1.0])
    assert optical.curves.dust.shape == (1, 0)
    model = dusty(0.03, EMISSIONS["casey"])
    assert "all wavelengths" not in repr(optical.bound(model))
    np.testing.assert_allclose(seen(optical.bound(model), model), integrated(model, BANDS[4]), rtol=1e-3)


# -- lines -----------------------------------------------------------------------------------------------------------


def shining(redshift: float, factor: float = 1.0) -> Galaxy:
    ssp = synthetic()
    grid = synthetic_case_b().on(ssp.ages, ssp.log_z)
    arrays = {k: v for k, v in vars(grid).items() if k != "annotation"}
    arrays["line_luminosity"] = factor * arrays["line_luminosity"]
    gas = Nebular(type(grid).from_arrays(grid.line_names, **arrays), log_u=-2.5, sigma=100.0)
    return Galaxy(ssp, DelayedTau(10.0, 5.0, 1.0), 0.0, dust=Calzetti(Av=1.0), nebular=gas, redshift=redshift)


def test_lines_keep_width_place_and_flux_where_the_populations_are_coarse():
    wave = np.arange(7100.0, 7350.0, 0.25)
    obs = Spectroscopy(wave, wave, wave, 5000.0, sigma_v=300.0, template_fwhm=2.0)
    line = seen(obs, shining(0.1)) - seen(obs, shining(0.1, 0.0))
    speed = (wave / (6564.61 * 1.1) - 1.0) * 299792.458
    per_angstrom = line / wave**2
    centre = np.sum(speed * per_angstrom) / np.sum(per_angstrom)
    width = np.sqrt(np.sum((speed - centre) ** 2 * per_angstrom) / np.sum(per_angstrom))
    assert abs(centre) < 0.5
    # the gas's and the instrument's, not the stars' or the templates'; a pixel's own is 3 km/s
    assert width == pytest.approx(np.hypot(100.0, 299792.458 / 5000.0 / 2.35482), rel=2e-3)
    model = shining(0.1)
    flux = np.trapezoid(per_angstrom, wave) * 1e-32 * LIGHT
    assert flux == pytest.approx(float(lines(model)[0]), rel=1e-6)


def test_lines_through_bands_are_where_they_are():
    edge = 6564.61 * 1.1
    for low, high, share in ((edge - 300.0, edge - 20.0, 0.0), (edge - 300.0, edge + 20.0, 1.0)):
        band = Filter("narrow", np.array([low - 1, low, high, high + 1]), np.array([0.0, 1.0, 1.0, 0.0]))
        obs = Photometry([band], [1.0], [1.0])
        model, dark = shining(0.1), shining(0.1, 0.0)
        for line in (seen(obs, model) - seen(obs, dark), seen(obs.bound(model), model) - seen(obs.bound(dark), dark)):
            flux = float(lines(model)[0])
            expected = flux * edge / LIGHT / band.norm / 1e-32
            assert line[0] == pytest.approx(share * expected, rel=3e-3, abs=1e-6 * expected)
