"""Populations seen through bands at every redshift: the error that is promised, and what cannot be had."""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import skyfold as sf
from skyfold.errors import SkyfoldError
from skyfold.galaxy.dust import CharlotFall, ModifiedBlackBody
from skyfold.galaxy.galaxy import Galaxy
from skyfold.galaxy.igm import Inoue2014
from skyfold.galaxy.metallicity import LogNormalMetallicity
from skyfold.galaxy.photometry import Photometry
from skyfold.galaxy.redshift_table import RedshiftTable
from skyfold.galaxy.sfh import DoublePowerLawMass
from skyfold.galaxy.synthetic import synthetic_ssp

pytest.importorskip("sedpy")
NAMES = ["sdss_u0", "sdss_g0", "sdss_i0", "twomass_J"]


@lru_cache
def small():
    return synthetic_ssp(n_met=4, n_age=21, n_wave=240)


def model(metallicity=None, redshift=None, **parts) -> Galaxy:
    return Galaxy(
        small(),
        DoublePowerLawMass(log_mass=10.0),
        sf.Uniform(-1.5, 0.2) if metallicity is None else metallicity,
        parts.pop("dust", CharlotFall(tau_bc=sf.Uniform(0, 2), tau_diff=sf.Uniform(0, 1.5))),
        redshift=sf.Uniform(0.1, 1.0) if redshift is None else redshift,
        **parts,
    )


@pytest.mark.parametrize("kind", ["constant", "scattered", "gas", "no dust"])
def test_fluxes_are_those_of_the_spectrum_within_the_promised_error(kind):
    one = {
        "constant": lambda: model(),
        "scattered": lambda: model(LogNormalMetallicity(sf.Uniform(-1.5, 0.2), 0.2)),
        "gas": lambda: model(igm=Inoue2014(), redshift=sf.Uniform(1.5, 3.0)),
        "no dust": lambda: model(dust=None),
    }[kind]()
    table = RedshiftTable.of(one, NAMES, tolerance=5e-3)
    assert 0 < table.error < 5e-3
    near, exact = (sf.Posterior((one, Photometry(NAMES, np.ones(4), np.ones(4), projected=p))) for p in (table, False))
    z = near.draw_prior(60, seed=2)
    a, b = (np.asarray(next(iter(p.predict(z).values()))) for p in (near, exact))
    allowed = table.error * np.maximum(b, 0.01 * b.max(axis=1, keepdims=True))
    assert np.all(np.abs(a - b) < 1.5 * allowed + 1e-5 * b)
    assert "redshifts" in repr(next(iter(near.pairs.values()))[1])


def test_slope_matches_differences():
    one = model()
    table = RedshiftTable.of(one, NAMES, tolerance=5e-3)
    kernel = sf.Posterior((one, Photometry(NAMES, np.ones(4), np.ones(4), projected=table))).kernel

    def total(z):
        return jnp.log(kernel.expected(z)[0]).sum()

    z = np.array([0.31, 0.2, -0.4, 0.1, 0.3, -0.2, 0.5])
    slope = np.asarray(jax.grad(total)(jnp.asarray(z)))
    steps = 1e-3 * np.eye(7)
    # the table's 32-bit floats leave differences some 1e-4
    fd = [(float(total(jnp.asarray(z + s))) - float(total(jnp.asarray(z - s)))) / 2e-3 for s in steps]
    np.testing.assert_allclose(slope, fd, rtol=2e-3, atol=2e-3)


def test_what_cannot_be_had_is_refused():
    with pytest.raises(SkyfoldError, match="needs limits"):
        RedshiftTable.of(model(redshift=sf.TruncatedNormal(0.5, 0.2, 0.05, np.inf)), NAMES)
    with pytest.raises(SkyfoldError, match="send light out"):
        RedshiftTable.of(model(emission=ModifiedBlackBody()), NAMES)
    with pytest.raises(SkyfoldError, match="free parameters"):
        RedshiftTable.of(model(igm=Inoue2014(scale=sf.Uniform(0, 2))), NAMES)
    with pytest.raises(SkyfoldError, match="Allow a larger tolerance"):
        RedshiftTable.of(model(), NAMES[:1], tolerance=1e-9)
    table = RedshiftTable.of(model(dust=None), NAMES[:1], tolerance=5e-3)
    with pytest.raises(SkyfoldError, match="the prior reaches beyond"):
        sf.Posterior(
            (model(dust=None, redshift=sf.Uniform(0.1, 2.0)), Photometry(NAMES[:1], [1.0], [1.0], projected=table))
        )
    with pytest.raises(SkyfoldError, match="has 1 bands, not 4"):
        Photometry(NAMES, np.ones(4), np.ones(4), projected=table)
