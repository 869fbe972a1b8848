"""Grids of populations that several tests share."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from skyfold.galaxy.ssp import SSP
from skyfold.galaxy.synthetic import synthetic_ssp


@lru_cache
def synthetic() -> SSP:
    return synthetic_ssp()


def pegase(shared) -> SSP:
    import pytest

    path = shared / "data" / "galaxy" / "pegase_kroupa01_dsps.h5"
    if not path.is_file():
        pytest.skip("the PEGASE grid is not in the folder of shared data")
    return SSP.read(path, solar_z=0.02)


def arrays() -> dict[str, np.ndarray]:
    """A grid small enough to be broken in every way."""
    wave = np.geomspace(100.0, 1e5, 50)
    ages = np.array([0.0, 0.01, 0.1, 1.0, 10.0])
    flux = np.full((3, 5, 50), 3e-16)
    return {
        "wave": wave,
        "ages": ages,
        "metallicities": np.array([-3.0, -2.0, -1.5]),
        "flux": flux,
        "mass_remaining": np.full((3, 5), 0.7),
    }
