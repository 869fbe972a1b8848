"""Spectra of composite populations against dsps (Hearin et al. 2023) on the same grid.

dsps gives the mass of a whole bin of age and metallicity to the population at its middle; here populations are linear
between nodes. On a grid that has been made finer by that very interpolation the two rules come to the same.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from grids import pegase

from skyfold.galaxy.galaxy import Galaxy
from skyfold.galaxy.metallicity import LogNormalMetallicity
from skyfold.galaxy.sfh import ConstantSFH, DelayedTau, DoublePowerLawMass
from skyfold.galaxy.ssp import SSPWarning

dsps = pytest.importorskip("dsps", reason="dsps is not installed")
AGE, LOG_Z, SCATTER = 12.0, -0.3, 0.2
HISTORIES = [
    ConstantSFH(log_mass=10.0, begin=9.0),
    DelayedTau(log_mass=10.0, tau=2.0, begin=8.0),
    DoublePowerLawMass(log_mass=10.0, tau=5.0, alpha=2.0, beta=3.0),
]


def theirs(history, solar_z, log_z, ages, flux) -> np.ndarray:
    t = np.geomspace(0.01, AGE, 20_000)
    t[-1] = AGE
    formed, _ = history.formed(jnp.asarray(t), AGE)
    rate = np.gradient(np.asarray(formed), t) / 1e9
    found = dsps.calc_rest_sed_sfh_table_lognormal_mdf(
        t, rate, LOG_Z + np.log10(solar_z), SCATTER, log_z, np.log10(ages), flux, AGE
    )
    return np.asarray(found.rest_sed)


@pytest.mark.parametrize("history", HISTORIES, ids=lambda h: type(h).__name__)
def test_spectra_agree_with_dsps(shared: Path, history) -> None:
    ssp = pegase(shared)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SSPWarning)
        model = Galaxy(ssp, history, LogNormalMetallicity(logzsol=LOG_Z, scatter=SCATTER), redshift=0.1, age=AGE)
    wave, ages, log_z = (np.asarray(a) for a in (ssp.wave, ssp.ages, ssp.log_z))
    seen = np.flatnonzero((wave > 912) & (wave < 2e4))[::4]
    ours, flux = np.asarray(model.evaluate())[seen], np.asarray(ssp.flux)[:, :, seen]
    # the grid as it is: what the wider bins of dsps make of it
    old = ages > 0
    optical = wave[seen] > 3000
    coarse = np.abs(theirs(history, ssp.solar_z, log_z, ages[old], flux[:, old]) / ours - 1)
    assert np.mean(coarse[optical]) < 0.01 and np.max(coarse[optical]) < 0.03
    # the same populations on a finer grid
    fine_ages, fine_z = np.geomspace(3e-5, 13.0, 1500), np.linspace(log_z[0], log_z[-1], 57)
    at = np.apply_along_axis(lambda f: np.interp(fine_ages, ages, f), 1, flux)
    at = np.apply_along_axis(lambda f: np.interp(fine_z, log_z, f), 0, at)
    fine = np.abs(theirs(history, ssp.solar_z, fine_z, fine_ages, at) / ours - 1)
    assert np.max(fine) < 0.01
