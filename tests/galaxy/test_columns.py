"""Numbers at the border: every column by its own unit, masks kept, sentinels and words told from fluxes."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from astropy.utils.masked import Masked

from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.galaxy.catalog_rows import read_rows
from skyfold.galaxy.filters import Filter
from skyfold.galaxy.line_fluxes import LineFluxes
from skyfold.galaxy.photometry import Photometry
from skyfold.galaxy.sfh import Continuity, Tabulated
from skyfold.galaxy.spectroscopy import Spectroscopy

BANDS = tuple(Filter(n, [w, w + 1, w + 500, w + 501], [0.0, 1.0, 1.0, 0.0]) for n, w in (("g", 4000.0), ("r", 6000.0)))
WAVE = np.linspace(4000.0, 5000.0, 20)


def seen(*arguments, **settings):
    o = Photometry(BANDS, *arguments, **settings)
    return [float(x) for x in (*o.data, *o.likelihood.sigma)]


ONES = np.ones(20)


def spectrum(wave=WAVE, flux=ONES, sigma=ONES, **settings):
    return Spectroscopy(wave, flux, sigma, settings.pop("resolution", 1000.0), sigma_v=100.0, **settings)


def test_flux_and_error_are_converted_each_by_its_own_unit():
    assert seen([1.0, 2.0] * u.uJy, [100.0, 200.0] * u.nJy) == pytest.approx([1e3, 2e3, 100.0, 200.0])
    assert seen([1 * u.uJy, 2 * u.nJy], [0.1, 0.1] * u.uJy) == pytest.approx([1e3, 2.0, 100.0, 100.0])
    o = spectrum(flux=np.ones(20) * u.uJy, sigma=np.ones(20) * u.nJy)
    assert (o.data[0], o.likelihood.sigma[0]) == pytest.approx((1e3, 1.0))
    table = Table({"g": [1.0] * u.uJy, "g_err": [100.0] * u.nJy, "r": [1e-3] * u.mJy, "r_err": [0.1] * u.uJy})
    rows = read_rows(table, BANDS)
    np.testing.assert_allclose([rows.data[0], rows.sigma[0]], [[1e3, 1e3], [100.0, 100.0]])
    lines = LineFluxes(["a"], [1.0] * u.Unit("1e-20 W / m2"), [1.0] * u.Unit("1e-17 erg / (s cm2)"))
    assert (lines.data[0], lines.likelihood.sigma[0]) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize(
    ("flux", "error", "unit", "complaint"),
    [
        ([1.0, 2.0] * u.uJy, [1.0, 2.0], None, "error none"),
        ([1.0, 2.0], [1.0, 2.0] * u.uJy, None, "flux none"),
        ([1.0, 2.0] * u.uJy, [1.0, 2.0] * u.uJy, "nJy", "is in 'uJy', and unit='nJy'"),
        ([1.0, 2.0] * u.s, [1.0, 2.0] * u.s, None, "no flux density"),
        ([20.0, 21.0], [0.1, 0.1], "mag", "no flux density"),
        ([20.0, 21.0] * u.ABmag, [1.0, 1.0] * u.uJy, None, "give magnitudes"),
        ([20.0, 21.0] * u.STmag, [1.0, 1.0] * u.mag, None, "no flux density"),
    ],
)
def test_units_that_are_none_or_contradict_are_refused(flux, error, unit, complaint):
    with pytest.raises(SkyfoldError, match=complaint):
        Photometry(BANDS, flux, error, unit)


def test_magnitudes_of_astropy_are_those_of_the_unit_ab():
    exact = seen([20.0, 21.0], [0.1, 0.2], "AB")
    assert exact[0] == pytest.approx(36310.0) and exact[2] == pytest.approx(3344.27, abs=0.01)
    for unit in ("mag(AB)", "ABmag"):
        assert seen([20.0, 21.0], [0.1, 0.2], unit) == exact
    assert seen([20.0, 21.0] * u.ABmag, [0.1, 0.2] * u.mag) == exact
    columns = {"g": [20.0] * u.ABmag, "g_err": [0.1] * u.mag, "r": [21.0], "r_err": [0.2]}
    rows = read_rows(Table(columns), BANDS, unit="AB")
    assert [*rows.data[0], *rows.sigma[0]] == pytest.approx(exact)


def test_masks_are_missing_data_whatever_carries_them():
    mask = np.array([False, True])
    for flux in (
        np.ma.array([1.0, 2.0], mask=mask),
        MaskedColumn([1.0, 2.0], mask=mask),
        [1.0, None],
        ["1.0", "n/a"],
        [1.0, np.inf],
    ):
        assert seen(flux, [1.0, 1.0]) == [1.0, 0.0, 1.0, np.inf]
    assert seen([1.0, 2.0], np.ma.array([1.0, 2.0], mask=mask)) == [1.0, 0.0, 1.0, np.inf]
    assert seen(Masked([1.0, 2.0] * u.nJy, mask=mask), [1.0, 1.0] * u.nJy) == [1.0, 0.0, 1.0, np.inf]
    hidden = np.arange(20) == 3
    assert spectrum(flux=np.ma.array(np.ones(20), mask=hidden)).n_data == 19
    assert spectrum(sigma=np.ma.array(np.ones(20), mask=hidden)).n_data == 19
    assert spectrum(mask=np.ma.array(np.ones(20, bool), mask=hidden)).n_data == 19
    with pytest.raises(SkyfoldError, match="pixel 3"):
        spectrum(wave=np.ma.array(WAVE, mask=hidden))
    with pytest.raises(SkyfoldError, match="in pixel 3 it is nan"):
        spectrum(resolution=np.ma.array(np.full(20, 1e3), mask=hidden))
    with pytest.raises(SkyfoldError, match="finite transmissions"):
        Filter("f", np.ma.array(WAVE, mask=hidden), np.ones(20))
    with pytest.raises(SkyfoldError, match="True or False"):
        seen([1.0, 2.0], [1.0, 1.0], upper_limits=np.ma.array([0, 1], mask=mask))


def test_numbers_that_stand_for_nothing_are_missing():
    for absent in (99.0, -99.0, 999.0, -999.0):
        assert seen([absent, 20.0], [absent, 0.1], "AB")[::2] == [0.0, np.inf]
    assert seen([25.0, 20.0], [99.0, 0.1], "AB")[::2] == [0.0, np.inf]
    assert seen([-99.0, 20.0], [-99.0, 0.1])[::2] == [0.0, np.inf]
    assert seen([-999.0, 20.0], [0.1, 0.1])[::2] == [0.0, np.inf]
    # noise may make these
    assert seen([-99.0, 99.0], [50.0, 99.0]) == [-99.0, 99.0, 50.0, 99.0]


def test_words_that_are_no_numbers_are_named():
    with pytest.raises(SkyfoldError, match="in r the flux is 'bright'"):
        Photometry(BANDS, ["1.0", "bright"], [1.0, 1.0])


def test_wavelengths_in_other_units_are_converted_or_refused():
    box = Filter("box", [500.0, 600.0] * u.nm, [1.0, 1.0])
    assert box.wave[0] == pytest.approx(5000.0)
    assert float(spectrum(wave=WAVE / 1e4 * u.um).wave[0]) == pytest.approx(4000.0)
    for wrong in (WAVE / 1e4, WAVE / 10.0):
        with pytest.raises(SkyfoldError, match="micrometres or nanometres"):
            spectrum(wave=wrong)
        with pytest.raises(SkyfoldError, match="micrometres or nanometres"):
            Filter("f", wrong, np.ones(20))
    with pytest.raises(SkyfoldError, match="is in 's'"):
        Filter("f", WAVE * u.s, np.ones(20))


def test_whatever_has_a_unit_is_converted_or_refused():
    times, rates = np.array([1.0, 5.0, 9.0]), np.array([1.0, 2.0, 3.0])
    table = Tabulated(times * 1e3 * u.Myr, rates * 1e9 * u.Msun / u.Gyr)
    np.testing.assert_allclose([table.times, table.rates], [times, rates])
    np.testing.assert_allclose(Continuity(edges=np.array([0.0, 100.0, 1e3]) * u.Myr).edges, [0.0, 0.1, 1.0])
    settings = {"template_fwhm": 0.25 * u.nm, "lines": [500.7] * u.nm, "line_sd": 1e-18 * u.W / u.m**2}
    o = spectrum(**settings)
    assert (o.template[1][0], o.lines[0], o.line_sd[0]) == pytest.approx((2.5, 5007.0, 1e-15))
    pair = (np.array([0.3, 0.6]) * u.um, np.array([2.0, 3.0]))
    np.testing.assert_allclose(spectrum(template_fwhm=pair).template, [[3000.0, 6000.0], [2.0, 3.0]])
    for wrong in (
        lambda: Tabulated(times * u.m, rates),
        lambda: Continuity(edges=times * u.m),
        lambda: spectrum(lines=[5007.0] * u.s),
        lambda: spectrum(template_fwhm=2.5 * u.s),
    ):
        with pytest.raises(SkyfoldError, match="and must be in"):
            wrong()
    for number in (np.nan, -1.0, (times, rates[:2])):
        with pytest.raises(SkyfoldError, match="template_fwhm is a number"):
            spectrum(template_fwhm=number)
    with pytest.raises(SkyfoldError, match="Tabulated needs"):
        Tabulated([1.0, np.nan, 3.0], rates)


@pytest.mark.parametrize(
    ("heading", "factor"),
    [("# wavelength [nm]", 10), ("# nm", 10), ("wave_um,transmission", 1e4), ("# lambda (micron)", 1e4)]
    + [("# Wavelength(Angstrom) T", 1), ("# units: nanometers", 10), ("# MIPS 24 um band", 1), ("", 1)],
)
def test_files_of_curves_say_their_unit_in_the_heading(tmp_path, heading, factor):
    path = tmp_path / "mine.csv"
    rows = [f"{w / factor!r},{t}" for w, t in ((5000.0, 0.0), (5500.0, 1.0), (6000.0, 0.0))]
    path.write_text("\n".join([heading, *rows]))
    np.testing.assert_allclose(Filter.load(path).wave, [5000.0, 5500.0, 6000.0])


def test_files_of_curves_are_refused_by_line(tmp_path):
    path = tmp_path / "mine.dat"
    for line in ("5500 nan", "5500 x", "5500", "inf 1"):
        path.write_text(f"# a curve\n5000 0\n{line}\n6000 0\n")
        with pytest.raises(FileFormatError, match=r"mine\.dat: line 3"):
            Filter.load(path)
    path.write_text("500 0\n550 1\n600 0\n")
    with pytest.raises(FileFormatError, match=r"mine\.dat: .*nanometres"):
        Filter.load(path)
    path.write_text("5000 -1\n5500 1\n6000 0\n")
    with pytest.raises(FileFormatError, match=r"at 5000 Angstrom is -1"):
        Filter.load(path)


def test_tables_of_any_kind_are_read_and_their_bad_rows_named(tmp_path):
    pandas = pytest.importorskip("pandas")
    columns = {"id": [7, 9, 8], "g": ["1.0", "n/a", "x"], "g_err": [1.0, 1, 1], "r": [1.0, 2, 3], "r_err": [1.0, 1, 1]}
    Table(columns).write(tmp_path / "t.csv")
    for table in (columns, Table(columns), pandas.DataFrame(columns), tmp_path / "t.csv"):
        rows = read_rows(table, BANDS)
        assert rows.ids.tolist() == [7, 9, 8] and rows.ids.dtype.kind == "i"
        assert np.isinf(rows.sigma[1, 0]) and np.isfinite(rows.sigma[1, 1])
        assert list(rows.problems[:2]) == ["", ""]
        assert rows.problems[2] == "row 2: column 'g' is 'x', which is no number"
        assert np.all(np.isinf(rows.sigma[2]))
    limits = columns | {"g_lim": ["True", "", "False"], "r_lim": [0, 1, 2]}
    rows = read_rows(limits, BANDS, limit="{}_lim")
    assert rows.limit.tolist() == [[True, False], [False, False], [False, False]]
    assert rows.problems[1] == "row 1: it has no measured band"
    with pytest.raises(FileFormatError, match="makes no table"):
        read_rows(3.0, BANDS)


def test_names_of_rows_are_kept_as_they_are():
    columns = {"g": [1.0, 2.0], "g_err": [1.0, 1.0], "r": [1.0, 2.0], "r_err": [1.0, 1.0]}
    assert read_rows(columns, BANDS).ids.tolist() == [0, 1]
    assert read_rows(columns | {"name": np.array([b"a", b"b"])}, BANDS, ids="name").ids.tolist() == ["a", "b"]
    with pytest.raises(FileFormatError, match="row 1 has no name"):
        read_rows(columns | {"id": np.ma.array([1, 2], mask=[0, 1])}, BANDS)
    with pytest.raises(FileFormatError, match="no column 'name'"):
        read_rows(columns, BANDS, ids="name")
