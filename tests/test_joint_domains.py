"""Observations of different domains in one posterior: an X-ray spectrum and photometry that share a redshift."""

from __future__ import annotations

import numpy as np
import pytest

import skyfold as sf
from skyfold import galaxy, xray
from skyfold.parameters import Parameter
from skyfold.xray.models import PowerLaw, ZTBabs
from skyfold.xray.simulate import ccd_response, fakeit

pytest.importorskip("sedpy")
NAMES = ["sdss_u0", "sdss_g0", "sdss_r0", "sdss_i0", "sdss_z0", "twomass_J"]
TRUTH = {
    "redshift": 0.6,
    "ztbabs.nH": 3.0,
    "powerlaw.PhoIndex": 1.8,
    "powerlaw.norm": 1e-3,
    "delayed.log_mass": 11.0,
    "delayed.tau": 1.0,
    "calzetti.Av": 0.5,
}


def _parts(z, nh, index, norm, mass, tau, av):
    """X-ray source behind its host's gas, and the host's stars behind its dust."""
    host = galaxy.Galaxy(
        galaxy.synthetic_ssp(n_met=3, n_age=25, n_wave=200),
        galaxy.DelayedTau(mass, tau, 5.0),
        0.0,
        galaxy.Calzetti(av),
        redshift=z,
    )
    return ZTBabs(nH=nh, Redshift=z) * PowerLaw(PhoIndex=index, norm=norm), host


def test_spectrum_and_photometry_share_a_redshift() -> None:
    source, host = _parts(*TRUTH.values())
    rmf, arf = ccd_response(energies=(0.3, 9.0), energy_step=0.05, channel_width=0.1, n_channels=90)
    counts = fakeit(source, rmf, arf, 5e4, min_counts=20, seed=2).source
    spectrum = xray.Spectrum.assemble(counts, rmf, arf, name="X-rays").notice(0.5, 8.0)
    z = Parameter(sf.Uniform(0.1, 1.5), name="redshift")
    absorbed, stars = _parts(
        z,
        sf.Uniform(0.0, 10.0),
        sf.Uniform(1.0, 3.0),
        sf.LogUniform(1e-5, 1e-1),
        sf.Uniform(9.0, 13.0),
        sf.Uniform(0.3, 5.0),
        sf.Uniform(0.0, 3.0),
    )
    flux = 3631e9 * 10 ** (-0.4 * galaxy.magnitudes(host, NAMES))
    noisy = flux * (1.0 + 0.05 * np.random.default_rng(5).standard_normal(len(NAMES)))
    photometry = galaxy.Photometry(NAMES, noisy, 0.05 * flux)
    posterior = sf.Posterior((absorbed, spectrum), (stars, photometry))
    assert posterior.names.count("redshift") == 1 and posterior.ndim == len(TRUTH)
    # both observations answer to the shared redshift
    points = posterior.draw_prior(2, seed=1)
    shared = next(p.latent for p in posterior.parameters if p.name == "redshift")
    rest = np.setdiff1d(np.arange(posterior.ndim), np.arange(posterior.ndim)[shared])
    points[1, rest] = points[0, rest]
    before, after = (posterior.predict(p) for p in points)
    assert all(np.any(np.abs(np.asarray(after[n]) / np.asarray(before[n]) - 1) > 1e-3) for n in before)
    result = posterior.fit("auto", seed=3, progress=False)
    assert result.draws.converged, result.draws.messages
    for name, truth in TRUTH.items():
        draws = np.ravel(result.equal_weight[name])
        assert abs(np.mean(draws) - truth) < 4.0 * np.std(draws), name
    redshift = np.ravel(result.equal_weight["redshift"])
    assert np.std(redshift) < 0.15
