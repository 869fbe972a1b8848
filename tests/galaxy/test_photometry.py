"""Galaxy and photometry: colours, masses, projections, data of every kind."""

from __future__ import annotations

import warnings

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from grids import pegase, synthetic

import skyfold as sf
from skyfold.errors import FileFormatError, SkyfoldError, SkyfoldWarning
from skyfold.galaxy.dust import CharlotFall, ModifiedBlackBody
from skyfold.galaxy.filters import Filter
from skyfold.galaxy.galaxy import Galaxy
from skyfold.galaxy.igm import Inoue2014
from skyfold.galaxy.metallicity import EvolvingMetallicity
from skyfold.galaxy.photometry import Photometry, magnitudes
from skyfold.galaxy.sfh import Burst, DelayedTau, DoublePowerLaw, LogNormalSFH
from skyfold.galaxy.spectroscopy import Spectroscopy
from skyfold.galaxy.ssp import SSPWarning
from skyfold.inference.frames.flat_coordinates import rows
from skyfold.likelihoods.gaussian import Gaussian

pytest.importorskip("sedpy")
NAMES = ["sdss_u0", "sdss_g0", "sdss_r0", "sdss_i0", "sdss_z0"]
TRUTH = {
    "dpl.log_peak_sfr": 1.0,
    "dpl.tau": 3.0,
    "dpl.alpha": 2.0,
    "dpl.beta": 2.0,
    "metallicity.logzsol": -0.3,
    "charlot_fall.tau_bc": 0.8,
    "charlot_fall.tau_diff": 0.4,
}


def seven(ssp, redshift=0.1, **parts) -> Galaxy:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SSPWarning)
        return Galaxy(
            ssp,
            sfh=DoublePowerLaw(),
            metallicity=sf.Uniform(-2.0, 0.2),
            dust=CharlotFall(tau_bc=sf.Uniform(0, 2), tau_diff=sf.Uniform(0, 1.5)),
            redshift=redshift,
            **parts,
        )


def observed(ssp, **settings) -> tuple[Galaxy, Photometry]:
    model = seven(ssp)
    flux = 3631e9 * 10 ** (-0.4 * magnitudes(model.with_values(TRUTH), NAMES))
    return model, Photometry(NAMES, flux, 0.05 * flux, **settings)


@pytest.mark.parametrize(("z", "colour"), [(0.02, 0.855), (0.013, 0.807)])
def test_colours_and_masses_of_an_old_population(shared, z, colour):
    ssp = pegase(shared)
    model = Galaxy(ssp, Burst(10.0, 10.0), np.log10(z / 0.02), redshift=0.0, distance=1e-5, age=13.8)
    g, r = magnitudes(model, ["sdss_g0", "sdss_r0"])
    assert abs(g - r - colour) < 5e-4
    node = int(np.argmin(np.abs(ssp.ages - 10.0)))
    np.testing.assert_allclose(float(model.formed_mass()), 1e10, rtol=1e-12)
    x = np.log10(z)
    left = np.interp(x, ssp.log_z, ssp.mass_remaining[:, node]) * 1e10
    light = np.interp(x, ssp.log_z, ssp.bolometric()[:, node]) * 1e10
    np.testing.assert_allclose(float(model.surviving_mass()), left, rtol=1e-6)
    np.testing.assert_allclose(float(model.bolometric_luminosity()), light, rtol=1e-6)


@pytest.mark.parametrize("projected", [True, False])
def test_bound_photometry_is_that_of_the_whole_spectrum(projected):
    model, obs = observed(synthetic(), projected=projected)
    fixed = model.with_values(TRUTH)
    ready = obs.bound(fixed)
    np.testing.assert_allclose(np.asarray(ready.predict(fixed)), obs.data, rtol=5e-4 if projected else 1e-9)
    np.testing.assert_allclose(np.asarray(obs.predict(fixed)), obs.data, rtol=2e-5)
    assert ("projected" in repr(ready)) == projected
    assert ready.bound(fixed) is ready


def test_the_bound_on_the_projection_holds():
    model, obs = observed(synthetic())
    _, exact = observed(synthetic(), projected=False)
    error = obs.bound(model).annotation.value.error
    assert 0 < error < 5e-4
    posteriors = [sf.Posterior((model, o)) for o in (obs, exact)]
    z = posteriors[0].draw_prior(200, seed=4)
    near, true = (np.asarray(next(iter(p.predict(z).values()))) for p in posteriors)
    assert np.abs(near / true - 1).max() < 1.5 * error


def test_a_projection_that_cannot_be_is_not_made():
    model = seven(synthetic())
    flux = np.ones(5)
    assert "exact" in repr(Photometry(NAMES, flux, flux, tolerance=1e-9).bound(model))
    with pytest.raises(SkyfoldError, match="more than the tolerance"):
        Photometry(NAMES, flux, flux, tolerance=1e-9, projected=True).bound(model)
    unlimited = seven(synthetic(), redshift=sf.TruncatedNormal(0.5, 0.2, 0.05, np.inf))
    with pytest.raises(SkyfoldError, match="needs limits"):
        Photometry(NAMES, flux, flux, projected=True).bound(unlimited)


def test_free_redshift_agrees_with_fixed_and_has_a_gradient():
    model = seven(synthetic(), redshift=sf.Uniform(0.01, 3.0)).with_values(TRUTH)
    obs = Photometry(NAMES, np.ones(5), np.ones(5))
    for z in (0.05, 0.7, 2.5):
        fixed = model.with_values({"galaxy.redshift": z})
        expected = 3631e9 * 10 ** (-0.4 * magnitudes(fixed, NAMES))
        np.testing.assert_allclose(np.asarray(obs.predict(fixed)), expected, rtol=2e-5)
    posterior = sf.Posterior((model, obs))
    slope = jax.grad(lambda x: jnp.log(posterior.kernel.expected(x)[0]).sum())
    z = np.array([0.2])
    up, down = (np.log(np.asarray(posterior.kernel.expected(z + s)[0])).sum() for s in (1e-5, -1e-5))
    np.testing.assert_allclose(np.asarray(slope(jnp.asarray(z)))[0], (up - down) / 2e-5, rtol=2e-3)


def test_gas_on_the_way_is_folded_in():
    model = seven(synthetic(), redshift=3.5, igm=Inoue2014()).with_values(TRUTH)
    obs = Photometry(NAMES[:3], np.ones(3), np.ones(3))
    prepared = obs.bound(model)
    bare = seven(synthetic(), redshift=3.5).with_values(TRUTH)
    lost = np.asarray(prepared.predict(model)) / np.asarray(obs.predict(bare))
    assert lost[0] < 0.2 and 0.3 < lost[1] < 0.8 and lost[2] > 0.9
    # below the Lyman limit the coarse grid of these populations is not enough to compare
    found = -2.5 * np.log10(np.asarray(prepared.predict(model)) / 3631e9)
    np.testing.assert_allclose(found[1:], magnitudes(model, NAMES[1:3]), atol=0.01)


def test_energy_that_dust_takes_comes_out_again():
    model = seven(synthetic(), emission=ModifiedBlackBody(35.0, 1.8)).with_values(TRUTH)
    bare = seven(synthetic()).with_values(TRUTH)
    naked = Galaxy(synthetic(), bare.sfh, bare.metallicity, redshift=0.1)
    np.testing.assert_allclose(float(model.bolometric_luminosity()), float(naked.bolometric_luminosity()), rtol=5e-3)
    assert float(bare.bolometric_luminosity()) < 0.8 * float(naked.bolometric_luminosity())
    obs = Photometry(["wise_w4"], [1.0], [1.0])
    prepared = obs.bound(model)
    assert "all wavelengths" in repr(prepared)
    np.testing.assert_allclose(np.asarray(prepared.predict(model)), np.asarray(obs.predict(model)), rtol=1e-4)


def test_gas_that_stars_ionise_shines():
    from skyfold.galaxy.case_b import synthetic_case_b
    from skyfold.galaxy.nebular import Nebular

    ssp = synthetic()
    gas = Nebular(synthetic_case_b().on(ssp.ages, ssp.log_z), log_u=-2.5)
    bare = Galaxy(ssp, DelayedTau(10.0, 5.0, 1.0), 0.0, redshift=0.1)
    model = Galaxy(ssp, bare.sfh, 0.0, nebular=gas, redshift=0.1)
    more = np.asarray(model.evaluate() - bare.evaluate())
    assert np.all(more[ssp.wave < 900] <= 0) and np.all(more[(ssp.wave > 920) & (ssp.wave < 1e4)] >= 0)
    flux = np.ones(5)
    obs = Photometry(NAMES, flux, flux)
    np.testing.assert_allclose(np.asarray(obs.bound(model).predict(model)), np.asarray(obs.predict(model)), rtol=2e-5)


def test_evolving_metallicity_and_sums_of_histories():
    both = DelayedTau(10.0, 1.0, 9.0) + Burst(8.0, 0.05)
    model = Galaxy(synthetic(), both, EvolvingMetallicity(-1.5, 0.0), redshift=0.1)
    w = np.asarray(model.weights())
    np.testing.assert_allclose(w.sum(), 1.01e10, rtol=1e-9)
    assert float(model.surviving_mass()) < 0.9 * float(model.formed_mass())
    assert 1e50 < float(model.ionising_rate()) < 1e56


def test_units_of_data_agree():
    nano = np.array([1e4, 2e4, 3e4, 4e4, 5e4])
    error = 0.1 * nano
    plain = Photometry(NAMES, nano, error)
    pivots = np.array([f.pivot for f in plain.filters])
    mags = -2.5 * np.log10(nano / 3631e9)
    per_angstrom = 2.99792458e18 / pivots**2 * 1e-32
    for other in (
        Photometry(NAMES, nano / 3631e9, error / 3631e9, "maggies"),
        Photometry(NAMES, nano / 1e9, error / 1e9, "Jy"),
        Photometry(NAMES, nano * 1e-32, error * 1e-32, "erg/s/cm2/Hz"),
        Photometry(NAMES, nano * per_angstrom, error * per_angstrom, "erg/s/cm2/Angstrom"),
        Photometry(NAMES, mags, 0.1 / 0.4 / np.log(10) * np.ones(5), "AB"),
        Photometry(NAMES, nano / 1e3 * u.uJy, error / 1e3 * u.uJy),
    ):
        np.testing.assert_allclose(other.data, nano, rtol=1e-9)
        np.testing.assert_allclose(other.likelihood.sigma, error, rtol=1e-9)
    assert type(plain.likelihood) is Gaussian
    with pytest.raises(SkyfoldError, match="unit 'furlong'"):
        Photometry(NAMES, nano, error, "furlong")


def test_missing_bands_limits_and_outliers():
    flux, error = np.array([np.nan, 2.0, 3.0, 4.0, 5.0]), np.array([1.0, 0.5, 0.5, 0.5, 0.5])
    obs = Photometry(NAMES, flux, error, upper_limits=[0, 0, 0, 0, 1], missing=[0, 1, 0, 0, 0])
    expected = jnp.array([9.0, 9.0, 2.8, 4.3, 4.0])
    terms = np.asarray(obs.pointwise(expected))
    np.testing.assert_allclose(terms[:2], 0.0)
    np.testing.assert_allclose(terms[2:4], st.norm.logpdf([3.0, 4.0], [2.8, 4.3], 0.5))
    np.testing.assert_allclose(terms[4], st.norm.logcdf(2.0))
    fisher = np.asarray(obs.fisher(expected))
    p = st.norm.cdf(2.0)
    np.testing.assert_allclose(fisher, [0, 0, 4, 4, 4 * st.norm.pdf(2.0) ** 2 / (p * (1 - p))])
    drawn = obs.sample(np.random.default_rng(0), np.broadcast_to(np.asarray(expected), (20000, 5)))
    np.testing.assert_allclose(drawn[:, 2:4].std(axis=0), 0.5, rtol=0.03)
    assert np.all(np.isfinite(drawn)) and np.all(drawn[:, 4] == 5.0)
    again = obs.with_data(drawn[0])
    assert again.data[0] == 0.0
    robust = Photometry(NAMES, np.arange(1.0, 6.0), np.full(5, 0.5), outliers=3.0)
    np.testing.assert_allclose(
        np.asarray(robust.pointwise(expected)), st.t.logpdf(np.arange(1.0, 6.0), 3.0, np.asarray(expected), 0.5)
    )


def test_bands_that_say_nothing_leave_the_metric_whole():
    model, obs = observed(synthetic())
    missing, limits = np.arange(5) == 2, np.arange(5) == 0
    bands = Photometry(NAMES, obs.data, 0.05 * obs.data, missing=missing, upper_limits=limits)
    kernel = sf.Posterior((model, bands)).kernel
    centre = jnp.full(7, 0.1)
    (found,) = rows(kernel, centre)
    (expected,), jacobian = kernel.expected(centre), jax.jacfwd(lambda z: kernel.expected(z)[0])(centre)
    information = kernel.observations(centre)[0].fisher(expected)
    assert information[2] == 0
    np.testing.assert_allclose(found, (jnp.sqrt(information)[:, None] * jacobian).T, rtol=1e-9, atol=1e-12)


def test_galaxies_with_other_bands_missing_share_one_executable():
    from skyfold.compiled.jit import jit

    shared_function = jit(lambda o, m: o.log_likelihood(m))
    for gap in range(3):
        flux = np.arange(1.0, 6.0)
        flux[gap] = np.nan
        shared_function(jax.tree.map(jnp.asarray, Photometry(NAMES, flux, np.ones(5))), jnp.ones(5))
    assert shared_function.executables() == 1


def test_the_floor_is_added_in_quadrature():
    obs = Photometry(NAMES, np.full(5, 100.0), np.full(5, 3.0), floor=0.04)
    np.testing.assert_allclose(obs.likelihood.sigma, 5.0)


def test_tables_are_read(tmp_path):
    from astropy.table import MaskedColumn, Table

    table = Table()
    for i, n in enumerate(NAMES):
        table[n] = MaskedColumn([1.0 + i, 2.0 + i], mask=[i == 2, False], unit="uJy")
        table[f"{n}_err"] = MaskedColumn([0.1, 0.2], unit="uJy")
    table.write(tmp_path / "table.ecsv")
    obs = Photometry.read(tmp_path / "table.ecsv", NAMES)
    np.testing.assert_allclose(obs.data, [1e3, 2e3, 0.0, 4e3, 5e3])
    assert np.isinf(obs.likelihood.sigma[2])
    np.testing.assert_allclose(Photometry.read(tmp_path / "table.ecsv", NAMES, row=1).likelihood.sigma, 200.0)
    with pytest.raises(FileFormatError, match="no column"):
        Photometry.read(tmp_path / "table.ecsv", NAMES, flux="{}_flux")
    with pytest.raises(FileFormatError, match="no row 7"):
        Photometry.read(tmp_path / "table.ecsv", NAMES, row=7)


def test_bad_input_is_refused():
    flux = np.ones(5)
    with pytest.raises(SkyfoldError, match="one entry each"):
        Photometry(NAMES, flux[:4], flux)
    with pytest.raises(SkyfoldError, match="every band is missing"):
        Photometry(NAMES, flux * np.nan, flux)
    with pytest.raises(SkyfoldError, match="errors must be positive"):
        Photometry(NAMES, flux, 0 * flux)
    with pytest.raises(SkyfoldError, match="are free; fix them"):
        magnitudes(seven(synthetic()), NAMES)
    with pytest.raises(SkyfoldError, match="give distance="):
        Galaxy(synthetic(), Burst(), redshift=0.0)
    with pytest.raises(SkyfoldError, match="must be a star-formation history"):
        Galaxy(synthetic(), 3.0, redshift=0.1)
    with pytest.raises(SkyfoldError, match="reaches beyond"):
        model = Galaxy(synthetic().cropped(np.arange(320) < 120), Burst(10.0, 1.0), 0.0, redshift=0.1)
        magnitudes(model, ["wise_w4"])
    with pytest.warns(SSPWarning, match="its edge holds"):
        Galaxy(synthetic(), Burst(), sf.Uniform(-4.0, 0.0), redshift=0.1)


def test_density_has_the_right_gradient_and_is_finite_over_the_prior():
    model, obs = observed(synthetic())
    posterior = sf.Posterior((model, obs))
    value = posterior.kernel.log_density
    gradient = jax.jit(jax.grad(value))
    z = 0.5 * np.ones(7)
    # the density is known to some 2e-8, so that smaller steps would be noisy
    step = 1e-3 * np.eye(7)
    one, two = (np.array([float(value(z + k * s)) - float(value(z - k * s)) for s in step]) for k in (1, 2))
    fd = (8.0 * one - two) / 12e-3
    np.testing.assert_allclose(np.asarray(gradient(z)), fd, rtol=1e-4, atol=1e-4)
    for point in (8.0 * np.ones(7), -8.0 * np.ones(7), np.array([3.0, -8, 8, -8, 8, 0, 0])):
        assert np.all(np.isfinite(np.asarray(gradient(point))))


def test_a_galaxy_has_one_redshift_and_a_distance_that_is_a_number():
    ssp, sfh = synthetic(), DelayedTau(10.0, 1.0, 5.0)
    assert Galaxy(ssp, sfh, redshift=0.0, distance=1e4 * u.kpc, age=1e10 * u.yr).age == pytest.approx(10.0)
    for wrong in (
        {"distance": sf.Uniform(1.0, 2.0)},
        {"distance": [1.0, 2.0]},
        {"age": sf.Uniform(1, 2)},
        {"age": -1.0},
    ):
        with pytest.raises(SkyfoldError, match="no positive number of"):
            Galaxy(ssp, sfh, redshift=0.1, **wrong)
    with pytest.raises(SkyfoldError, match="must be in 'Mpc'"):
        Galaxy(ssp, sfh, redshift=0.1, distance=1.0 * u.s)
    for array in ([0.1, 0.2], sf.Uniform(np.array([0.1, 0.2]), 1.0)):
        with pytest.raises(SkyfoldError, match="the redshift is an array"):
            Galaxy(ssp, sfh, redshift=array)
    with pytest.raises(SkyfoldError, match="absolute=True"):
        Galaxy(ssp, sfh, redshift=0.0, distance=1e-5)


def boxes(*starts):
    return [Filter(f"b{w:.0f}", [w, w + 1.0, w + 900.0, w + 901.0], [0.0, 1.0, 1.0, 0.0]) for w in starts]


def test_absolute_magnitudes_are_of_stars_as_old_as_they_are_seen():
    """A history at redshift 1, through the filter moved along with the light, less the distance modulus."""
    sfh, z = LogNormalSFH(log_mass=10.0, peak=3.0, fwhm=3.0), 1.0
    model = Galaxy(synthetic(), sfh, 0.0, redshift=z)
    moved = [Filter("moved", 2.0 * f.wave, f.transmission) for f in boxes(5000.0)]
    modulus = 5.0 * np.log10(6791.8125 * 1e5)  # Planck 2018, in units of ten parsecs
    found = magnitudes(model, boxes(5000.0), absolute=True)
    assert found == pytest.approx(magnitudes(model, moved) - modulus + 2.5 * np.log10(1.0 + z), abs=2e-3)
    older = magnitudes(Galaxy(synthetic(), sfh, 0.0, redshift=0.0, distance=10.0), boxes(5000.0)) - 30.0
    assert older - found > 1.0


def test_magnitudes_are_derived_from_draws():
    model = Galaxy(synthetic(), DelayedTau(tau=1.0, begin=5.0), 0.0, redshift=0.1)
    truth = model.with_values({"delayed.log_mass": 10.0})
    bands = boxes(4000.0, 6000.0)
    flux = np.asarray(Photometry(bands, np.ones(2), np.ones(2)).predict(truth))
    result = sf.Posterior((model, Photometry(bands, flux, 1e-3 * flux))).fit("mle", progress=False)
    for absolute in (False, True):
        derived = result.derive(lambda g, own=absolute: magnitudes(g, bands, absolute=own), name="m").values
        np.testing.assert_allclose(derived[0], magnitudes(truth, bands, absolute=absolute), atol=1e-4)
    with pytest.warns(SkyfoldWarning, match="'m' is no number for 1 of 1 draws"):
        result.derive(lambda g: magnitudes(g, boxes(5e7)), name="m")


def test_absorption_on_the_way_is_not_left_out_in_silence():
    sfh, bands = DelayedTau(10.0, 1.0, 0.5), boxes(6000.0, 7000.0, 9500.0)
    with pytest.warns(SkyfoldWarning, match=r"at redshift 6 hydrogen on the way takes up to \d.*give igm="):
        bare = magnitudes(Galaxy(synthetic(), sfh, 0.0, redshift=6.0), bands)
    absorbed = magnitudes(Galaxy(synthetic(), sfh, 0.0, redshift=6.0, igm=Inoue2014()), bands)
    assert absorbed[0] - bare[0] > 3.0 and absorbed[2] == pytest.approx(bare[2], abs=1e-9)
    flux = np.ones(3)
    with pytest.warns(SkyfoldWarning, match="'photometry': the galaxy has igm=None, and at redshift 6"):
        sf.Posterior((Galaxy(synthetic(), sfh, 0.0, redshift=sf.Uniform(1.0, 6.0)), Photometry(bands, flux, flux)))
    wave = np.linspace(8000.0, 9000.0, 50)
    with pytest.warns(SkyfoldWarning, match="'spectrum': the galaxy has igm=None"):
        spectrum = Spectroscopy(wave, np.ones(50), np.ones(50), 1000.0, sigma_v=100.0)
        sf.Posterior((Galaxy(synthetic(), DelayedTau(), 0.0, redshift=6.0), spectrum))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        magnitudes(Galaxy(synthetic(), sfh, 0.0, redshift=1.0), boxes(4000.0))
