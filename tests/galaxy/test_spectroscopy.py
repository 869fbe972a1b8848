"""Spectra: redshift, broadening, nuisances integrated out, bad input."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import astropy.units as u
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from grids import synthetic
from scipy.stats import norm

import skyfold as sf
from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.galaxy.broadening import FWHM, LIGHT_KMS
from skyfold.galaxy.galaxy import Galaxy
from skyfold.galaxy.igm import Inoue2014
from skyfold.galaxy.sfh import DelayedTau
from skyfold.galaxy.spectroscopy import Spectroscopy
from skyfold.galaxy.ssp import SSPWarning
from skyfold.parameters import Value, parameter

LINES = ((4000.0, 3.0, 200.0), (4500.0, -0.5, 300.0), (5000.0, 2.0, 150.0))
WAVE = np.linspace(4200.0, 5700.0, 600)
RESOLUTION = 1500.0 + 0.2 * WAVE
NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)


class Bumps(Component):
    """Normal lines on a flat continuum, in ln(wavelength): their broadening is known."""

    name: ClassVar[str] = "bumps"
    redshift: Value = parameter(0.1)
    scale: Value = parameter(1.0)
    igm: Any = None

    def dimming(self):
        return jnp.asarray(1.0)

    def evaluate(self, grid):
        return self.scale * bumps(grid, 0.0, jnp)


def bumps(rest, sigma, np=np):
    x = np.log(rest)
    total = 1.0 + 0.0 * x
    for line, height, width in LINES:
        wide = np.sqrt(width**2 + sigma**2)
        total = total + height * width / wide * np.exp(-0.5 * ((x - np.log(line)) / (wide / LIGHT_KMS)) ** 2)
    return total


def instrument(wave, factor=1.0):
    """Standard deviation in km/s."""
    return LIGHT_KMS / FWHM / (1500.0 + 0.2 * wave) / factor


def in_pixels(of, wave=WAVE):
    """Means over ln(wavelength) of a function of wavelength in pixels of equal width."""
    half = 0.5 * (wave[1] - wave[0])
    middle, half = 0.5 * np.log((wave + half) * (wave - half)), 0.5 * np.log((wave + half) / (wave - half))
    return sum(0.5 * w * of(np.exp(middle + half * x)) for x, w in zip(NODES, WEIGHTS, strict=True))


def between_edges(sigma):
    """Means of the bumps in the pixels, where `sigma` (km/s) gives what blurs all that lies below an edge."""
    half = 0.5 * (WAVE[1] - WAVE[0])

    def below(edge):
        x = total = np.log(edge / 1.1)
        for line, height, width in LINES:
            wide = np.hypot(width, sigma(edge)) / LIGHT_KMS
            total = total + height * width / LIGHT_KMS * np.sqrt(2 * np.pi) * norm.cdf((x - np.log(line)) / wide)
        return total

    return (below(WAVE + half) - below(WAVE - half)) / np.log((WAVE + half) / (WAVE - half))


def seen(o):
    """What is expected of bumps at redshift 0.1."""
    return jax.jit(lambda m: o.predict(m))(Bumps(redshift=0.1))


def spectrum(flux=None, sigma=0.05, **settings):
    flux = np.ones_like(WAVE) if flux is None else flux
    return Spectroscopy(WAVE, flux, np.broadcast_to(sigma, WAVE.shape), RESOLUTION, **settings)


@pytest.mark.parametrize("sigma_v", [0.0, 50.0, 200.0, 500.0])
def test_dispersion_and_resolution_add_in_quadrature(sigma_v):
    predicted = seen(spectrum(sigma_v=sigma_v))
    expected = between_edges(lambda w: np.hypot(instrument(w), sigma_v))
    np.testing.assert_allclose(predicted, expected, atol=1e-5)


@pytest.mark.parametrize(("fwhm", "sigma_v", "factor"), [(2.5, 150.0, 1.0), (1.0, 30.0, 3.0)])
def test_templates_resolution_is_taken_off(fwhm, sigma_v, factor):
    o = Spectroscopy(WAVE, WAVE, WAVE, factor * RESOLUTION, sigma_v=sigma_v, template_fwhm=fwhm)

    def total(wave):
        template = fwhm / (wave / 1.1) / FWHM * LIGHT_KMS
        return np.sqrt(instrument(wave, factor) ** 2 + sigma_v**2 - template**2)

    np.testing.assert_allclose(seen(o), between_edges(total), atol=2e-5)
    table = Spectroscopy(
        WAVE, WAVE, WAVE, factor * RESOLUTION, sigma_v=sigma_v, template_fwhm=([1e3, 1e4], [fwhm, fwhm])
    )
    np.testing.assert_allclose(seen(table), between_edges(total), atol=2e-5)


@pytest.mark.parametrize("width", [0.5, 5.0, 20.0])
def test_a_pixel_holds_the_mean_of_what_falls_on_it(width):
    wave = np.arange(4200.0, 5700.0, width)
    o = Spectroscopy(wave, wave, wave, 3000.0, sigma_v=100.0)
    expected = in_pixels(lambda w: bumps(w / 1.1, np.hypot(LIGHT_KMS / 3000.0 / FWHM, 100.0)), wave)
    np.testing.assert_allclose(seen(o), expected, atol=2e-5)
    # what is measured on the pixels has their width in it
    total = np.hypot(1.0 / 3000.0 / FWHM, width / wave / np.sqrt(12.0))
    within = Spectroscopy(wave, wave, wave, 1.0 / FWHM / total, sigma_v=100.0, pixels_within=True)
    np.testing.assert_allclose(seen(within), expected, atol=2e-5)


def test_a_pixel_beside_a_gap_is_as_wide_as_on_its_other_side():
    there = np.abs(WAVE - 5000.0) > 30.0
    o = Spectroscopy(WAVE[there], WAVE[there], WAVE[there], RESOLUTION[there], sigma_v=100.0)
    np.testing.assert_allclose(o.high - o.low, WAVE[1] - WAVE[0], rtol=1e-9)
    whole = seen(spectrum(sigma_v=100.0))
    np.testing.assert_allclose(seen(o), whole[there], atol=1e-5)


def test_templates_coarser_than_everything_stay_as_they_are():
    o = spectrum(sigma_v=10.0, template_fwhm=20.0)
    np.testing.assert_allclose(seen(o), in_pixels(lambda w: bumps(w / 1.1, 0.0)), atol=0.05)


def test_slopes_match_differences():
    o = spectrum(sigma_v=1.0, template_fwhm=1.0)

    @jax.jit
    def f(z, sigma_v):
        return eqx.tree_at(lambda o: o.sigma_v, o, sigma_v).predict(Bumps(redshift=z))[::40].sum()

    a, b = jax.grad(f, (0, 1))(0.1, 120.0)
    assert float(a) == pytest.approx(float(f(0.1 + 1e-7, 120.0) - f(0.1 - 1e-7, 120.0)) / 2e-7, rel=1e-4)
    assert float(b) == pytest.approx(float(f(0.1, 120.001) - f(0.1, 119.999)) / 2e-3, rel=1e-4)


def test_gas_on_the_way_absorbs():
    wave = np.linspace(4000.0, 5200.0, 300)
    o = Spectroscopy(wave, wave, wave, 1000.0, sigma_v=0.0)
    seen = np.asarray(o.predict(Bumps(redshift=3.0, igm=Inoue2014())) / o.predict(Bumps(redshift=3.0)))
    clear = (np.abs(wave - 4862.68) > 100) & (np.abs(wave - 4102.88) > 60)
    np.testing.assert_allclose(seen[clear], np.asarray(Inoue2014().transmission(wave, 3.0))[clear], rtol=0.02)


def test_sum_of_galaxies_is_the_sum_of_their_spectra():
    o = spectrum(sigma_v=100.0)
    a, b = Bumps(redshift=0.1), Bumps(redshift=0.12, scale=0.5)
    np.testing.assert_allclose(o.predict(a + b), o.predict(a) + o.predict(b), rtol=1e-12)


# -- nuisances -------------------------------------------------------------------------------------------------------


def _with_nuisances(flux):
    return spectrum(
        flux,
        sigma_v=100.0,
        calibration=3,
        calibration_sd=[0.1, 0.2, 0.05, 0.03],
        lines=[4861.3, 5006.8],
        line_sd=1e-20,
        redshift=0.1,
    )


def test_nuisances_are_integrated_out_exactly():
    rng = np.random.default_rng(0)
    o = _with_nuisances(bumps(WAVE / 1.1, 130.0) + 0.05 * rng.standard_normal(WAVE.size))
    m = o.predict(Bumps(redshift=0.1))
    columns = np.asarray(o.nuisance_columns(m))
    assert columns.shape == (WAVE.size, 6) and np.all(np.abs(columns).max(axis=0) > 1e-9)
    covariance = np.diag(np.full(WAVE.size, 0.05**2)) + columns @ columns.T
    residual = np.asarray(o.data) - np.asarray(m)
    chi2 = residual @ np.linalg.solve(covariance, residual)
    expected = -0.5 * (chi2 + np.linalg.slogdet(covariance)[1] + WAVE.size * np.log(2 * np.pi))
    assert float(o.log_likelihood(m)) == pytest.approx(expected, rel=1e-11)
    assert float(o.statistic(m)) == pytest.approx(chi2, rel=1e-10)
    inverse = np.linalg.inv(covariance)
    np.testing.assert_allclose(o.fisher(m), np.diag(inverse), rtol=1e-9)
    slopes = rng.standard_normal((3, WAVE.size))
    np.testing.assert_allclose(o.information(m, jnp.asarray(slopes)), slopes @ inverse @ slopes.T, rtol=1e-9)
    across = np.asarray(jax.jacfwd(lambda e: o.displacement(m, e))(m)) @ slopes.T
    np.testing.assert_allclose(across.T @ across, slopes @ inverse @ slopes.T, rtol=1e-9)
    np.testing.assert_allclose(jax.vmap(o.whitening(m))(jnp.asarray(slopes)), across.T, rtol=1e-9, atol=1e-12)
    assert not o.independent
    with pytest.raises(SkyfoldError, match="no datum"):
        o.pointwise(m)


def test_nuisances_come_back():
    rng = np.random.default_rng(1)
    clean = _with_nuisances(None)
    m = np.asarray(clean.predict(Bumps(redshift=0.1)))
    coefficients = np.array([0.05, -0.1, 0.03, 0.0])
    centre = 5006.8 * 1.1
    width = np.hypot(100.0, instrument(centre)) / LIGHT_KMS * centre
    flux = 3e-21  # erg/s/cm^2
    profile = flux * in_pixels(lambda w: np.exp(-0.5 * ((w - centre) / width) ** 2) / (width * np.sqrt(2 * np.pi)))
    line = (profile * u.Unit("erg/s/cm2/AA")).to_value(u.nJy, u.spectral_density(WAVE * u.AA))
    data = m * (1 + clean.basis @ coefficients) + line
    sigma = 1e-3
    o = _with_nuisances(data + sigma * rng.standard_normal(WAVE.size))
    o = eqx.tree_at(lambda o: o.likelihood, o, type(o.likelihood)(o.data, np.full(WAVE.size, sigma)))
    mean, covariance = o.conditional(m)
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(mean - [*coefficients, 0.0, flux]) < 4 * sd)
    assert sd[5] < 0.5 * 1e-20


def test_drawn_data_have_the_marginal_covariance():
    o = _with_nuisances(None)
    m = np.asarray(o.predict(Bumps(redshift=0.1)))
    drawn = o.sample(np.random.default_rng(0), np.tile(m, (400, 1)))
    values = jax.vmap(lambda d: eqx.tree_at(lambda o: o.likelihood.data, o, d).statistic(jnp.asarray(m)))(drawn)
    assert np.mean(values) == pytest.approx(WAVE.size, rel=0.02)


def test_without_nuisances_data_are_independent_and_outliers_may_be_expected():
    o = spectrum(sigma_v=100.0)
    m = o.predict(Bumps(redshift=0.1))
    assert o.independent and float(o.log_likelihood(m)) == pytest.approx(float(o.pointwise(m).sum()))
    robust = spectrum(sigma_v=100.0, dof=3.0)
    assert robust.independent and float(robust.log_likelihood(m + 10.0)) > float(o.log_likelihood(m + 10.0))


# -- fits and input --------------------------------------------------------------------------------------------------


def test_fit_finds_redshift_and_dispersion():
    rng = np.random.default_rng(3)
    flux = in_pixels(lambda w: bumps(w / 1.1, np.hypot(instrument(w), 180.0))) + 0.05 * rng.standard_normal(WAVE.size)
    z = sf.Parameter(sf.Uniform(0.099, 0.101), name="z")
    o = spectrum(flux, sigma_v=sf.Uniform(20, 500), calibration=2, lines=[4861.3], line_sd=1e-20, redshift=z)
    posterior = sf.Posterior((Bumps(redshift=z), o))
    assert posterior.names == ("z", "spectrum.sigma_v")
    result = posterior.fit("laplace", progress=False)
    values = {k: v.ravel() for k, v in result.equal_weight.items()}
    assert abs(values["z"].mean() - 0.1) < 4 * values["z"].std() < 4e-4
    assert abs(values["spectrum.sigma_v"].mean() - 180.0) < 4 * values["spectrum.sigma_v"].std() < 80.0


def test_masked_and_bad_pixels_are_left_out():
    mask = WAVE > 4500
    flux = np.where(mask, 1.0, np.nan)
    whole, masked = spectrum(flux, sigma_v=100.0), spectrum(sigma_v=100.0, mask=mask)
    assert whole.n_data == masked.n_data == mask.sum()
    everything = spectrum(sigma_v=100.0).predict(Bumps(redshift=0.1))
    np.testing.assert_allclose(masked.predict(Bumps(redshift=0.1)), everything[mask], rtol=1e-4)
    with pytest.raises(SkyfoldError, match="pixel 0 is marked"):
        spectrum(flux, mask=np.ones_like(mask))


def test_quantities_are_converted():
    flux = np.full(WAVE.size, 2e-17) * u.Unit("erg/s/cm2/AA")
    o = Spectroscopy(WAVE / 10 * u.nm, flux, 0.1 * flux, 2000.0)
    np.testing.assert_allclose(o.data, flux.to_value(u.nJy, u.spectral_density(WAVE * u.AA)), rtol=1e-12)
    with pytest.raises(SkyfoldError, match="no flux density"):
        Spectroscopy(WAVE, WAVE * u.s, WAVE, 2000.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dof": 3.0, "calibration": 2}, "normal noise only"),
        ({"calibration": 2, "calibration_sd": [0.1, 0.1]}, "calibration_sd"),
        ({"lines": [5000.0], "line_sd": -1.0}, "positive"),
        ({"template_fwhm": ([2.0, 1.0], [1.0, 1.0])}, "template_fwhm"),
        ({"mask": np.ones(3, dtype=bool)}, "mask"),
        ({"mask": np.zeros(WAVE.size, dtype=bool)}, "0 of"),
    ],
)
def test_bad_input_is_refused(changes, message):
    with pytest.raises(SkyfoldError, match=message):
        spectrum(**changes)


def test_models_that_are_no_galaxies_are_refused():
    class Flat(Component):
        name: ClassVar[str] = "flat"

    with pytest.raises(SkyfoldError, match="sees galaxies"):
        spectrum(sigma_v=1.0).predict(Flat())


def test_a_grid_that_cannot_be_as_sharp_as_its_templates_are_said_to_be_is_warned_of():
    model = Galaxy(synthetic(), DelayedTau(10.0, 1.0, 5.0), 0.0, redshift=0.1)
    with pytest.warns(SSPWarning, match=r"wavelengths of synthetic are 66\.8 Angstrom apart .* said to be 0 wide"):
        spectrum(sigma_v=100.0).bound(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spectrum(sigma_v=100.0, template_fwhm=200.0).bound(model)
