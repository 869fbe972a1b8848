"""Fluxes of emission lines as data: luminosities by hand and from spectra, blends, units, errors, joint fits."""

from __future__ import annotations

import warnings

import astropy.units as u
import jax
import numpy as np
import pytest
from astropy.cosmology import Planck18
from grids import synthetic

import skyfold as sf
from skyfold.errors import SkyfoldError
from skyfold.galaxy.case_b import synthetic_case_b
from skyfold.galaxy.dust import PowerLawDust
from skyfold.galaxy.galaxy import Galaxy
from skyfold.galaxy.igm import Inoue2014
from skyfold.galaxy.line_fluxes import LineFluxes
from skyfold.galaxy.mass_marginal import MassMarginal
from skyfold.galaxy.metallicity import ConstantMetallicity
from skyfold.galaxy.nebular import Nebular
from skyfold.galaxy.photometry import Photometry
from skyfold.galaxy.sfh import ConstantSFH
from skyfold.galaxy.ssp import LIGHT, SSPWarning

LINES = ("H_alpha", "H_beta", "Pa_alpha")
NAMES = ["sdss_u0", "sdss_g0", "sdss_r0"]


def star_forming(log_mass=10.0, tau=0.5, redshift=0.1, **parts) -> Galaxy:
    ssp = synthetic()
    gas = Nebular(synthetic_case_b().on(ssp.ages, ssp.log_z), log_u=-2.5, escape=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SSPWarning)
        return Galaxy(
            ssp,
            ConstantSFH(log_mass=log_mass, begin=3.0),
            ConstantMetallicity(-0.3),
            PowerLawDust(tau),
            nebular=gas,
            redshift=redshift,
            **parts,
        )


def test_fluxes_are_those_of_recombination_behind_the_dust():
    model = star_forming()
    found = np.asarray(LineFluxes(LINES, np.ones(3), np.ones(3)).predict(model))
    distance = Planck18.luminosity_distance(0.1).to_value(u.cm)
    rate = np.sum(np.asarray(model.weights()) * np.asarray(model.ssp.ionising), axis=(0, 1))
    # older populations have no gas in this grid
    photons = 0.9 * rate[np.asarray(model.ssp.ages) <= 0.02].sum()
    # case B of Osterbrock & Ferland 2006: 4.768e-13 erg of H beta a photon, ratios 2.863 and 0.339
    luminosity = 4.768e-13 * photons * np.array([2.863, 1.0, 0.3386])
    dust = np.array([float(model.dust.transmission(np.array([w]))[0][0]) for w in (6564.61, 4862.68, 18756.1)])
    assert dust[1] < dust[0] < dust[2] < 1
    np.testing.assert_allclose(found, luminosity * dust / (4 * np.pi * distance**2) / 1e-17, rtol=3e-3)


def test_fluxes_are_those_under_the_lines_of_the_spectrum():
    model = star_forming()
    wave = np.asarray(model.ssp.wave)
    dark = Galaxy(model.ssp, model.sfh, model.metallicity, model.dust, redshift=0.1)
    gas = model.nebular
    rate = np.asarray(model.weights().sum(axis=0)) * np.asarray(model.ssp.ionising)
    left = np.asarray(model.dust.transmission(wave)[0])
    extra = np.asarray(model.evaluate() - dark.evaluate()) - np.asarray(gas.continuum(rate, wave)) * left
    red = (wave > 5800) & (wave < 7400)
    total = np.trapezoid((extra * LIGHT / wave**2)[red], wave[red])
    alone = np.asarray(model.line_luminosities())[gas.grid.line_names.index("H_alpha")]
    # the dust is that at the wavelengths of the grid, 1% apart
    assert total == pytest.approx(alone, rel=0.01)


def test_blends_units_sums_and_gas_on_the_way():
    model = star_forming()
    three = LineFluxes(LINES, np.ones(3), np.ones(3))
    alone = np.asarray(three.predict(model))
    blend = LineFluxes(
        [("H_alpha", "Pa_alpha"), "H_beta"], [2e-19, 1e-19] * u.W / u.m**2, [1e-20, 1e-20] * u.W / u.m**2
    )
    np.testing.assert_allclose(blend.predict(model), [alone[0] + alone[2], alone[1]])
    np.testing.assert_allclose(blend.data, [20.0, 10.0])
    np.testing.assert_allclose(LineFluxes(["H_beta"], [3e-16], [1e-17], unit="erg / (s cm2)").data, [30.0])
    dark = Galaxy(model.ssp, model.sfh, model.metallicity, model.dust, redshift=0.1)
    np.testing.assert_allclose(three.bound(model + dark).predict(model + dark), alone)
    np.testing.assert_allclose(three.predict(model + model), 2 * alone)
    np.testing.assert_allclose(three.predict(star_forming(igm=Inoue2014())), alone)
    assert repr(blend) == "lines: H_alpha + Pa_alpha, H_beta"


def test_limits_and_missing_lines_are_those_of_bands():
    limited = LineFluxes(LINES, [30.0, np.nan, 5.0], [1.0, 1.0, 2.0], upper_limits=[False, False, True])
    value = np.asarray(limited.pointwise(np.array([30.0, 1e9, 5.0])))
    np.testing.assert_allclose(value, [-0.5 * np.log(2 * np.pi), 0.0, np.log(0.5)], atol=1e-12)


def test_bad_input_is_refused():
    with pytest.raises(SkyfoldError, match="has 3 lines; flux, error"):
        LineFluxes(LINES, np.ones(2), np.ones(2))
    with pytest.raises(SkyfoldError, match="the error in H_beta is -1"):
        LineFluxes(LINES, np.ones(3), [1.0, -1.0, 1.0])
    with pytest.raises(SkyfoldError, match="every line is missing"):
        LineFluxes(["H_beta"], [np.nan], [1.0])
    with pytest.raises(SkyfoldError, match="no flux in a unit"):
        LineFluxes(["H_beta"], [1.0], [1.0], unit="furlong")
    with pytest.raises(SkyfoldError, match="no flux in a unit"):
        LineFluxes(["H_beta"], [1.0] * u.Jy, [1.0] * u.Jy)
    with pytest.raises(SkyfoldError, match="no line 'OIII_5008'; its grid has H_alpha"):
        LineFluxes(["OIII_5008"], [1.0], [1.0]).bound(star_forming())
    model = star_forming()
    dark = Galaxy(model.ssp, model.sfh, model.metallicity, model.dust, redshift=0.1)
    with pytest.raises(SkyfoldError, match="give the galaxy nebular="):
        sf.Posterior((dark, LineFluxes(["H_beta"], [1.0], [1.0])))
    with pytest.raises(SkyfoldError, match="without gas there are no lines"):
        dark.line_luminosities()
    with pytest.raises(SkyfoldError, match="has a unit and the other none"):
        LineFluxes(["H_beta"], [1.0] * u.W / u.m**2, [1.0])
    with pytest.raises(SkyfoldError, match="each once"):
        LineFluxes([("H_beta", "H_beta")], [1.0], [1.0])
    with pytest.raises(SkyfoldError, match="bound to another model"):
        LineFluxes("H_beta", [1.0], [1.0]).bound(model).predict(model + dark)
    assert np.isinf(
        LineFluxes(["H_alpha", "H_beta"], np.ma.array([1.0, 1.0], mask=[True, False]), [1, 1]).likelihood.sigma[0]
    )
    with pytest.raises(SkyfoldError, match="LineFluxes sees galaxies"):
        LineFluxes(["H_beta"], [1.0], [1.0]).predict(3.0)


def test_lines_and_bands_are_fitted_together():
    pytest.importorskip("sedpy")
    truth = star_forming()
    empty = Photometry(NAMES, np.ones(3), np.ones(3))
    bands = np.asarray(empty.predict(truth))
    fluxes = np.asarray(LineFluxes(LINES, np.ones(3), np.ones(3)).predict(truth))
    lines = LineFluxes(LINES, fluxes, 0.02 * fluxes)
    photometry = Photometry(NAMES, bands, 0.05 * bands)
    model = star_forming(sf.Uniform(9.0, 11.0), sf.Uniform(0.0, 2.0))
    posterior = sf.Posterior((model, photometry), (model, lines))
    z = np.array([0.1, -0.3])
    gradient = np.asarray(jax.grad(posterior.log_likelihood)(z))
    step = 1e-5 * np.eye(2)
    ends = np.asarray(posterior.log_likelihood(np.concatenate([z + step, z - step])))
    np.testing.assert_allclose(gradient, (ends[:2] - ends[2:]) / 2e-5, rtol=1e-6)
    result = posterior.fit(seed=1, progress=False)
    assert result.converged
    tau = result.equal_weight[posterior.names[1]]
    # the ratio of H alpha to Pa alpha says how much dust there is
    assert abs(tau.mean() - 0.5) < 3 * tau.std() < 0.2
    one = star_forming(0.0, sf.Uniform(0.0, 2.0))
    alone = sf.Posterior((one, MassMarginal(photometry, lines, prior=sf.LogUniform(1e9, 1e11)))).fit(
        seed=1, progress=False
    )
    assert alone.converged
    again = alone.equal_weight[alone.posterior.names[0]]
    assert abs(again.mean() - tau.mean()) < 0.15 * tau.std()
