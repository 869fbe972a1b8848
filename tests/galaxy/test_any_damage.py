"""Readers of galaxies, every column damaged in every way: right, or refused by file, column and row."""

from __future__ import annotations

import tempfile
from pathlib import Path

import astropy.units as u
import h5py
import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from grids import arrays

from skyfold.errors import SkyfoldError
from skyfold.galaxy.catalog_rows import read_rows
from skyfold.galaxy.filters import Filter
from skyfold.galaxy.photometry import Photometry
from skyfold.galaxy.spectroscopy import Spectroscopy
from skyfold.galaxy.ssp import SSP

hypothesis = pytest.importorskip("hypothesis")
given, st = hypothesis.given, pytest.importorskip("hypothesis.strategies")
quick = hypothesis.settings(max_examples=80, deadline=None, derandomize=True)

BANDS = tuple(Filter(n, [w, w + 1, w + 500, w + 501], [0.0, 1.0, 1.0, 0.0]) for n, w in (("g", 4000.0), ("r", 6000.0)))
ROWS, PIXELS = 3, 8
VALUES = {"g": 10.0, "g_err": 1.0, "r": 20.0, "r_err": 2.0}
UNITS = [
    "nJy",
    "uJy",
    "mJy",
    "Jy",
    "erg / (s Hz cm2)",
    "W / (m2 Hz)",
    "mag(AB)",
    "AB",
    "mag",
    "s",
    "keV",
    "furlong",
    None,
]
NUMBERS = [np.nan, np.inf, -np.inf, -1.0]


@quick
@given(st.sampled_from(sorted(VALUES)), st.sampled_from(UNITS))
def test_units_of_tables(column, unit):
    table = Table({name: np.full(ROWS, value) for name, value in VALUES.items()})
    for name in VALUES:
        table[name].unit = unit if name == column else "uJy"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.ecsv"
        table.write(path)
        try:
            rows, one = read_rows(path, BANDS), Photometry.read(path, BANDS)
        except SkyfoldError as refusal:
            assert "table.ecsv" in str(refusal) and f"'{column}'" in str(refusal)
            if unit not in ("mag(AB)", "AB"):  # one column alone in magnitudes
                with pytest.raises((ValueError, u.UnitConversionError)):
                    u.Unit("" if unit is None else unit).to("uJy")
            return
    exact = {name: v * u.Unit(unit if name == column else "uJy").to("nJy") for name, v in VALUES.items()}
    for found in (rows.data[0], one.data):
        np.testing.assert_allclose(found, [exact["g"], exact["r"]])
    for found in (rows.sigma[0], one.likelihood.sigma):
        np.testing.assert_allclose(found, [exact["g_err"], exact["r_err"]])


@quick
@given(
    st.sampled_from(sorted(VALUES)), st.integers(0, ROWS - 1), st.sampled_from([*NUMBERS, "mask", "n/a", "x", "short"])
)
def test_entries_of_tables(column, row, damage):
    columns = {name: np.full(ROWS, value) for name, value in VALUES.items()}
    if damage == "mask":
        columns[column] = MaskedColumn(columns[column], mask=np.arange(ROWS) == row)
    elif damage == "short":
        columns[column] = columns[column][:-1]
    else:
        values = columns[column].astype(object)
        values[row] = damage
        columns[column] = values.astype(str if isinstance(damage, str) else float)
    if damage == "short":
        with pytest.raises(SkyfoldError, match="makes no table"):
            read_rows(columns, BANDS)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.ecsv"
        Table(columns).write(path)
        rows = read_rows(path, BANDS)
        try:
            one = Photometry.read(path, BANDS, row)
        except SkyfoldError as refusal:
            one = None
            assert rows.problems[row] and column.removesuffix("_err") in str(refusal)
    band, others = "gr".index(column[0]), np.arange(ROWS) != row
    np.testing.assert_array_equal(rows.data[others], np.tile([10.0, 20.0], (ROWS - 1, 1)))
    np.testing.assert_array_equal(rows.sigma[others], np.tile([1.0, 2.0], (ROWS - 1, 1)))
    assert not any(rows.problems[others])
    bad = damage == "x" or damage == -1.0 and column.endswith("_err")
    assert bool(rows.problems[row]) == bad == (one is None)
    if bad:
        assert rows.problems[row].startswith(f"row {row}: ") and f"'{column}'" in rows.problems[row]
    elif damage == -1.0:
        assert rows.data[row, band] == one.data[band] == -1.0
    else:
        assert np.isinf(rows.sigma[row, band]) and np.isinf(one.likelihood.sigma[band])
        assert np.isfinite(rows.sigma[row, 1 - band]) and np.isfinite(one.likelihood.sigma[1 - band])


@quick
@given(
    st.sampled_from(["wave", "flux", "sigma", "resolution"]),
    st.integers(0, PIXELS - 1),
    st.sampled_from([*NUMBERS, "mask", "short", *(("unit", x) for x in ("nm", "um", "uJy", "s", "eV", "mag(AB)", ""))]),
)
def test_columns_of_spectra(column, pixel, damage):
    wave = np.linspace(4000.0, 4100.0, PIXELS)
    columns = {"wave": wave, "flux": np.full(PIXELS, 5.0), "sigma": np.ones(PIXELS), "resolution": np.full(PIXELS, 1e3)}
    exact = {name: values.copy() for name, values in columns.items()}
    known = {"wave": u.AA, "flux": u.nJy, "sigma": u.nJy, "resolution": u.one}
    used, hit = np.ones(PIXELS, bool), np.arange(PIXELS) == pixel
    if damage == "mask":
        columns[column], used = np.ma.array(columns[column], mask=hit), ~hit
    elif damage == "short":
        columns[column] = columns[column][:-1]
    elif isinstance(damage, tuple):
        columns = {name: values * known[name] for name, values in columns.items()}
        columns[column] = columns[column].value * u.Unit(damage[1])
    else:
        columns[column][pixel] = damage
        used = used if damage == -1.0 and column == "flux" else ~hit
        exact[column] = columns[column].copy()
    try:
        found = Spectroscopy(**columns, sigma_v=100.0)
    except SkyfoldError as refusal:
        told = {"mask": f"pixel {pixel}", "short": "shape"}.get(damage if isinstance(damage, str) else "")
        told = told or (damage[1] if isinstance(damage, tuple) else f"pixel {pixel}")
        assert told in str(refusal) or "Angstrom" in str(refusal)
        assert column in ("wave", "resolution") or damage == "short" or isinstance(damage, tuple)
        return
    assert damage != "short"
    if isinstance(damage, tuple):
        own = u.Unit(damage[1])
        exact[column] = own.to(known[column], exact[column], equivalencies=u.spectral())
    np.testing.assert_allclose(found.wave, exact["wave"][used])
    np.testing.assert_allclose(found.data, exact["flux"][used])
    np.testing.assert_allclose(found.likelihood.sigma, exact["sigma"][used])


CURVE = [(5000.0, 0.0), (5200.0, 0.8), (5400.0, 1.0), (5600.0, 0.9), (5800.0, 0.0)]


@quick
@given(
    st.sampled_from([0, 1]),
    st.integers(0, len(CURVE) - 1),
    st.sampled_from([*NUMBERS, "x", "", "gone", ("# wave [nm]", 10.0), ("# unit: micron", 1e4), ("# wave [s]", None)]),
)
def test_files_of_curves(column, row, damage):
    cells = [[repr(x) for x in pair] for pair in CURVE]
    exact, heading = list(CURVE), "# a curve"
    if isinstance(damage, tuple):
        heading, factor = damage
        exact = [(w * (factor or 1.0), t) for w, t in CURVE]
    elif damage == "gone":
        del cells[row], exact[row]
    else:
        cells[row][column] = str(damage)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "curve.dat"
        path.write_text("\n".join([heading, *(" ".join(pair) for pair in cells)]))
        try:
            found = Filter.load(path)
        except SkyfoldError as refusal:
            assert "curve.dat" in str(refusal)
            assert f"line {row + 2}" in str(refusal) or damage == -1.0
            return
    if isinstance(damage, tuple) or damage == "gone":
        other = Filter("curve", *np.array(exact).T)
        np.testing.assert_allclose(found.wave, other.wave)
        np.testing.assert_allclose(found.transmission, other.transmission)
    else:
        raise AssertionError(f"{damage!r} was read as {found.wave}, {found.transmission}")


SETS = [
    "ssp_wave",
    "ssp_flux",
    "ssp_lgmet",
    "ssp_lg_age_gyr",
    "ssp_mass_remaining",
    "ssp_emline_wave",
    "ssp_emline_luminosity",
]


@quick
@given(
    st.sampled_from([*SETS, "solar_z", "lsun_erg_s"]),
    st.sampled_from([*NUMBERS, -1e9, "text", "short", "gone", *(("unit", x) for x in ("um", "nm", "Jy", "Gyr", "yr"))]),
)
def test_grids_of_populations(name, damage):
    whole = SSP.from_arrays(**arrays(), lines=([6564.6, 4862.7], np.full((3, 5, 2), 0.1)), solar_z=0.02)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid.h5"
        whole.write(path)
        with h5py.File(path, "a") as file:
            if name in file.attrs:
                value = damage if isinstance(damage, float) else "many"
                del file.attrs[name]
                if damage != "gone":
                    file.attrs[name] = value
            elif damage == "gone":
                del file[name]
            elif damage == "text":
                shape = np.shape(file[name])
                del file[name]
                file[name] = np.full(shape, b"many")
            elif damage == "short":
                values = file[name][...]
                del file[name]
                file[name] = values[..., :-1]
            elif isinstance(damage, tuple):
                file[name].attrs["unit"] = damage[1]
            else:
                values = file[name][...]
                values.ravel()[values.size // 2] = damage
                file[name][...] = values
        try:
            found = SSP.read(path)
        except SkyfoldError as refusal:
            assert "grid.h5" in str(refusal)
            return
    if isinstance(damage, tuple):
        assert name in ("ssp_wave", "ssp_emline_wave")
        factor = {"um": 1e4, "nm": 10.0}.get(damage[1], 1.0)
        np.testing.assert_allclose(found.wave, whole.wave * (factor if name == "ssp_wave" else 1.0))
    elif damage == "gone":
        assert name in ("solar_z", "lsun_erg_s", "ssp_mass_remaining", "ssp_emline_wave", "ssp_emline_luminosity")
        assert found.solar_z == (0.0142 if name == "solar_z" else 0.02)
    elif name == "ssp_lg_age_gyr" and damage == -1.0:
        np.testing.assert_allclose(found.ages, whole.ages)
    else:
        raise AssertionError(f"{damage!r} of {name} went through")
