"""Grids of populations: the layout's traps, units, hashes, and the real PEGASE grid."""

from __future__ import annotations

import astropy.units as u
import h5py
import numpy as np
import pytest
from grids import arrays, pegase, synthetic

from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.galaxy.ssp import LIGHT, SSP, SSPWarning


def made(**changes):
    return SSP.from_arrays(**{**arrays(), **changes})


def test_round_trip_with_an_age_of_zero(tmp_path):
    ssp = made(lines=([6564.6], np.full((3, 5, 1), 0.1)))
    ssp.write(tmp_path / "grid.h5")
    again = SSP.read(tmp_path / "grid.h5")
    for field in ("wave", "ages", "log_z", "flux", "mass_remaining", "line_wave", "line_luminosity"):
        np.testing.assert_allclose(getattr(again, field), getattr(ssp, field), rtol=1e-12)
    assert again.ages[0] == 0.0
    assert again.name == "grid"


def test_what_is_written_is_read_with_its_conventions(tmp_path):
    ssp = made(solar_z=0.02, lsun=3.9e33)
    ssp.write(tmp_path / "grid.h5")
    again = SSP.read(tmp_path / "grid.h5")
    assert (again.solar_z, again.lsun) == (0.02, 3.9e33)
    assert SSP.read(tmp_path / "grid.h5", solar_z=0.0142, lsun=3.8e33).lsun == 3.8e33
    np.testing.assert_allclose(again.ionising, ssp.ionising, rtol=1e-12)
    assert again.content_hash() == ssp.content_hash()
    with h5py.File(tmp_path / "grid.h5", "a") as file:
        file.attrs["solar_z"] = -0.02
    with pytest.raises(FileFormatError, match=r"grid\.h5: the attribute 'solar_z' is -0.02"):
        SSP.read(tmp_path / "grid.h5")


def test_units_of_arrays_and_data_sets_are_converted_or_refused(tmp_path):
    wave = arrays()["wave"]
    assert made(wave=wave / 10.0 * u.nm).wave[0] == pytest.approx(wave[0])
    for wrong in ({"wave": wave * u.s}, {"flux": arrays()["flux"] * u.Jy}, {"ages": arrays()["ages"] * u.Myr}):
        with pytest.raises(SkyfoldError, match="must be in"):
            made(**wrong)
    with pytest.raises(FileFormatError, match="finite and not negative"):
        made(flux=np.ma.masked_less(arrays()["flux"] * np.arange(50.0), 1e-16))
    made().write(tmp_path / "grid.h5")
    with h5py.File(tmp_path / "grid.h5", "a") as file:
        file["ssp_wave"][...] = wave / 1e4
        file["ssp_wave"].attrs["unit"] = "um"
    np.testing.assert_allclose(SSP.read(tmp_path / "grid.h5").wave, wave)
    with h5py.File(tmp_path / "grid.h5", "a") as file:
        file["ssp_flux"].attrs["unit"] = "Lsun/Angstrom"
    with pytest.raises(FileFormatError, match="'ssp_flux' says that it is in 'Lsun/Angstrom'"):
        SSP.read(tmp_path / "grid.h5")


def test_the_solar_offset_is_explicit(tmp_path):
    made().write(tmp_path / "grid.h5")
    absolute = SSP.read(tmp_path / "grid.h5", solar_z=0.02)
    np.testing.assert_allclose(absolute.log_z_solar, np.array([-3.0, -2.0, -1.5]) - np.log10(0.02))
    with h5py.File(tmp_path / "grid.h5", "a") as file:
        file["ssp_lgmet"][...] = [-1.0, 0.0, 0.3]
    with pytest.raises(FileFormatError, match="relative to the Sun"):
        SSP.read(tmp_path / "grid.h5")
    relative = SSP.read(tmp_path / "grid.h5", metallicity="log10 Z/Zsun", solar_z=0.0142)
    np.testing.assert_allclose(relative.log_z_solar, [-1.0, 0.0, 0.3], atol=1e-12)


def test_units_are_stated_and_converted():
    ssp = made()
    assert ssp.units["flux"] == "Lsun/Hz/Msun"
    wave = arrays()["wave"]
    per_angstrom = made(flux=arrays()["flux"] * LIGHT / wave**2, flux_unit="Lsun/Angstrom")
    np.testing.assert_allclose(per_angstrom.flux, ssp.flux)
    fsps = made(ages=np.log10([1e6, 1e7, 1e8, 1e9, 1e10]), age="log10 yr")
    np.testing.assert_allclose(fsps.ages, [1e-3, 1e-2, 0.1, 1.0, 10.0])
    bagpipes = made(metallicities=[0.1, 0.5, 1.0], metallicity="Z/Zsun", solar_z=0.02)
    np.testing.assert_allclose(10**bagpipes.log_z, [0.002, 0.01, 0.02])
    with pytest.raises(SkyfoldError, match="one of"):
        made(age="Myr")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"flux": np.ones((5, 3, 50))}, "axes must be"),
        ({"flux": np.where(np.arange(50) == 7, np.nan, np.ones((3, 5, 50)))}, "finite and not negative"),
        ({"flux": -np.ones((3, 5, 50))}, "finite and not negative"),
        ({"wave": np.geomspace(0.01, 10.0, 50)}, "micrometres"),
        ({"wave": np.geomspace(1e5, 100.0, 50)}, "strictly increasing"),
        ({"ages": np.array([6.0, 7.0, 8.0, 9.0, 2000.0])}, "other units"),
        ({"ages": np.array([0.0, 1.0, 1.0, 2.0, 3.0])}, "strictly increasing"),
        ({"mass_remaining": np.full((3, 5), 2.0)}, "fraction 0 to 1"),
        ({"mass_remaining": np.ones((5, 3))}, "fraction 0 to 1"),
        ({"lines": ([6564.6], np.ones((2, 5, 1)))}, "does not fit"),
    ],
)
def test_what_cannot_be_is_refused(changes, complaint):
    with pytest.raises(FileFormatError, match=complaint):
        made(**changes)


def test_implausible_light_is_complained_of():
    with pytest.warns(SSPWarning, match="probably not Lsun/Hz"):
        made(flux=arrays()["flux"] * 1e6)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileFormatError, match="no such file"):
        SSP.read(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(FileFormatError, match="not an HDF5"):
        SSP.read(tmp_path / "text.h5")
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["ssp_wave"] = np.arange(3.0)
    with pytest.raises(FileFormatError, match="'ssp_lgmet' is missing"):
        SSP.read(tmp_path / "part.h5")


def test_the_hash_sees_numbers_and_conventions():
    one = made()
    assert one.content_hash() == made(name="other").content_hash()
    assert one.content_hash() != made(solar_z=0.02).content_hash()
    assert one.content_hash() != made(flux=arrays()["flux"] * 1.000001).content_hash()


def test_synthetic_populations_are_plausible_and_say_what_they_are():
    ssp = synthetic()
    assert ssp.name == "synthetic"
    light = ssp.bolometric()
    assert np.all(np.diff(light, axis=1) < 0.05 * light[:, :-1])
    assert 0.3 < light[3, np.argmin(np.abs(ssp.ages - 1.0))] < 3.0
    assert np.all(np.diff(ssp.mass_remaining, axis=1) <= 0)
    assert 1e46 < ssp.ionising[3, 0] < 1e47


def test_pegase(shared):
    ssp = pegase(shared)
    assert ssp.flux.shape == (8, 68, 1221)
    assert ssp.mass_remaining[5, 0] == 1.0
    light = ssp.bolometric()
    # the fuel of stars: light of young populations falls as some t^-0.8, and about 1 Lsun/Msun is left at 1 Gyr
    assert 700 < light[5, 0] < 1300
    assert 0.8 < light[5, np.argmin(np.abs(ssp.ages - 1.0))] < 1.6
    assert 10**46.4 < ssp.ionising[5, 0] < 10**46.9
