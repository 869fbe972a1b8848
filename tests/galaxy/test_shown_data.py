"""What figures and checks show of galaxies' data where something was integrated out."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from toy_results import chains
from toys import Direct, Identity

import skyfold as sf
from skyfold import galaxy
from skyfold.compiled.annotation import Annotation
from skyfold.galaxy.limited_mass import Fluxes, LimitedMarginal
from skyfold.likelihoods.gaussian import Gaussian

#: Light of one solar mass, and what is seen of 2e10 of them.
LIGHT, MASS = np.array([1.0, 2.0, 3.0, 2.5, 1.7]) * 1e-9, 2e10


class Bands(Direct):
    """Light of one solar mass, of a colour that is free."""

    def predict(self, model) -> jnp.ndarray:
        return jnp.asarray(LIGHT) * (1.0 + 0.1 * jnp.ravel(model.evaluate(None))[0] * jnp.arange(5.0))


@pytest.fixture(scope="module")
def marginal() -> sf.Result:
    data = LIGHT * MASS
    observation = galaxy.MassMarginal(Bands(Gaussian(data, 0.02 * data), Annotation("bands")))
    posterior = sf.Posterior((Identity(x=sf.Normal(np.zeros(1), np.ones(1))), observation))
    return sf.Result(posterior, chains(posterior))


def test_a_marginal_mass_is_shown_at_its_best(marginal) -> None:
    """Without it the figure showed one solar mass: a ratio of 2e10."""
    table = marginal.plot_data("spectrum")
    np.testing.assert_allclose(table["ratio"], 1.0, atol=0.05)
    assert np.all(np.abs(table["residual"]) < 3.0)
    # replicated data have a mass given the data, not one of its prior over eight decades
    np.testing.assert_allclose(table["predictive_q50"] / table["data"], 1.0, atol=0.05)
    assert np.all(table["predictive_q975"] / table["predictive_q025"] < 1.4)
    z = np.zeros((3, 1))
    np.testing.assert_allclose(marginal.posterior.predict(z)["bands"], np.tile(LIGHT * MASS, (3, 1)), rtol=1e-3)
    np.testing.assert_allclose(marginal.posterior.expected(z)["bands"], np.tile(LIGHT, (3, 1)))


def test_parts_of_a_marginal_mass_add_up(marginal) -> None:
    observation = marginal.posterior.pairs["bands"][1]
    whole = jnp.asarray(LIGHT)

    class Half:
        def evaluate(self, grid: object) -> jnp.ndarray:
            return jnp.array([0.0])

    part = np.asarray(observation.contribution(Half(), 3.0 * whole))
    np.testing.assert_allclose(3.0 * part, observation.mean(3.0 * whole))


def test_an_upper_limit_bounds_the_mass_that_is_shown() -> None:
    data, sigma = LIGHT * MASS, 0.3 * LIGHT * MASS
    limit = np.array([False, False, False, False, True])
    bands = galaxy.Photometry(
        [galaxy.Filter(f"f{i}", [4e3 + 500 * i, 4.1e3 + 500 * i, 4.2e3 + 500 * i], [0.0, 1.0, 0.0]) for i in range(5)],
        np.where(limit, np.nan, data),
        sigma,
    )
    strict = Fluxes.of(np.where(limit, 0.3 * data, data), np.where(limit, 1e-3 * sigma, sigma), limit)
    observation = LimitedMarginal(bands, sf.LogUniform(1e5, 1e13), strict)
    shown = np.asarray(observation.mean(jnp.asarray(LIGHT)))
    assert shown[4] < 0.301 * data[4]
    drawn = observation.draw_mass(np.random.default_rng(0), np.tile(LIGHT, (50, 1)))
    assert np.all(drawn * LIGHT[4] < 0.31 * data[4])


def test_nuisances_of_a_spectrum_are_shown_at_their_best() -> None:
    wave = np.linspace(5000.0, 6000.0, 200)
    tilt = 1.0 + 0.1 * np.linspace(-1.0, 1.0, 200)
    spectrum = galaxy.Spectroscopy(wave, 1e4 * tilt, np.full(200, 10.0), 2000.0, calibration=1, sigma_v=100.0)
    flat = jnp.full(200, 1e4)
    np.testing.assert_allclose(spectrum.mean(flat), 1e4 * tilt, rtol=1e-4)
    drawn = spectrum.replicate(np.random.default_rng(0), np.tile(np.asarray(flat), (400, 1)))
    np.testing.assert_allclose(drawn.mean(axis=0), 1e4 * tilt, rtol=1e-3)
    assert drawn.std(axis=0).mean() == pytest.approx(10.0, rel=0.05)
    plain = galaxy.Spectroscopy(wave, 1e4 * tilt, np.full(200, 10.0), 2000.0, sigma_v=100.0)
    assert plain.mean(flat) is flat


def test_degrees_of_freedom_count_data_that_are_there_and_a_mass_that_was_integrated_out(tmp_path) -> None:
    """Five bands, of which one is missing; one free parameter, and with a free mass two."""
    curves = [
        galaxy.Filter(f"f{i}", [4e3 + 900 * i, 4.5e3 + 900 * i, 5e3 + 900 * i], [0.0, 1.0, 0.0]) for i in range(5)
    ]
    ssp, dust = galaxy.synthetic_ssp(n_met=3, n_age=21, n_wave=200), galaxy.PowerLawDust(sf.Uniform(0.0, 2.0))
    model = galaxy.Galaxy(ssp, galaxy.ConstantSFH(0.0, 5.0), 0.0, dust, redshift=0.1)
    flux = 1e10 * np.asarray(
        galaxy.Photometry(curves, LIGHT, LIGHT).predict(model.with_values({"dust_powerlaw.Av": 1.0}))
    )
    bands = galaxy.Photometry(curves, np.where(np.arange(5) == 2, np.nan, flux), 0.05 * flux)
    marginal = sf.Posterior((model, galaxy.MassMarginal(bands))).fit("laplace", seed=0, progress=False)
    assert (marginal.statistic["n_data"], marginal.statistic["dof"]) == (4, 2)
    assert marginal.goodness.p_value > 0.01 and "(4 data)" in str(marginal)
    heavy = galaxy.Galaxy(ssp, galaxy.ConstantSFH(begin=5.0), 0.0, dust, redshift=0.1)
    free = sf.Posterior((heavy, bands)).fit("laplace", seed=0, progress=False)
    assert (free.statistic["n_data"], free.statistic["dof"]) == (4, 2)
    # a band that is missing is shown as nothing, not as a flux of zero
    for result in (marginal, free):
        table = result.plot_data("spectrum")
        for name in ("data", "residual", "ratio", "error_low"):
            assert np.isnan(table[name][2]) and np.all(np.isfinite(np.delete(table[name], 2)))
        assert np.all(np.isfinite(table["best"]))
        result.plot_spectrum()
    free.save(tmp_path / "fit.nc")
    assert sf.Result.load(tmp_path / "fit.nc").statistic == free.statistic
