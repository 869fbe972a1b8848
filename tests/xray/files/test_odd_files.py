"""Files that are odd but whole: each is read as it is meant, or refused with the place; never a silent wrong number."""

from __future__ import annotations

import bz2
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from broken_files import PowerLaw, edit, records, write

from skyfold.errors import FileFormatError, MissingFileWarning, ResponseWarning, SkyfoldWarning
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.poisson import Poisson
from skyfold.xray.files.column_units import conversion
from skyfold.xray.files.read import read_arf, read_pha, read_rmf
from skyfold.xray.files.write import write_arf, write_pha, write_rmf
from skyfold.xray.simulate import ccd_response
from skyfold.xray.spectrum import Spectrum


def counts(folder: Path, **files: Any) -> float:
    response = Spectrum.read(folder / "good.pha", **files).response
    return float(response.fold(PowerLaw().evaluate(response.edges)).sum())


def scale(name: str, unit: str, *columns: str, factor: float = 1.0) -> Callable[[Path], None]:
    """Write columns of a file in another unit."""

    def change(file: fits.HDUList) -> None:
        for hdu in file[1:]:
            for column in hdu.columns.names:
                if column in columns:
                    hdu.columns.change_unit(column, unit)
                    if factor != 1.0:
                        hdu.data[column] *= factor

    return lambda folder: edit(folder / name, change)


UNITS = [
    ("good.arf", "m2", 1e-4, "SPECRESP"),
    ("good.arf", "m2 s h-1", 0.36, "SPECRESP"),
    ("good.arf", "CM^2", 1.0, "SPECRESP"),
    ("good.arf", "TeV", 1e-9, "ENERG_LO", "ENERG_HI"),
    ("good.rmf", "MEV", 1e-3, "ENERG_LO", "ENERG_HI"),
    ("good.rmf", "erg", 1.602176634e-9, "ENERG_LO", "ENERG_HI"),
    ("good.rmf", "eV", 1e3, "E_MIN", "E_MAX"),
    ("good.pha", "counts", 1.0, "COUNTS"),
]


@pytest.mark.parametrize(("name", "unit", "factor", "columns"), [(n, u, f, c) for n, u, f, *c in UNITS])
def test_units_of_columns_are_converted(
    name: str, unit: str, factor: float, columns: list[str], tmp_path: Path
) -> None:
    write(tmp_path)
    right = counts(tmp_path)
    scale(name, unit, *columns, factor=factor)(tmp_path)
    assert counts(tmp_path) == pytest.approx(right, rel=1e-6)
    np.testing.assert_allclose(read_pha(tmp_path / "good.pha").counts, records()[0].counts)


@pytest.mark.parametrize(
    ("name", "column", "unit"),
    [
        ("good.arf", "SPECRESP", "keV"),
        ("good.arf", "ENERG_HI", "cm"),
        ("good.arf", "ENERG_LO", "furlong"),
        ("good.rmf", "E_MIN", "Angstrom"),
        ("good.rmf", "ENERG_LO", "channel"),
        ("good.pha", "COUNTS", "1/s"),
    ],
)
def test_other_units_are_refused(name: str, column: str, unit: str, tmp_path: Path) -> None:
    write(tmp_path)
    scale(name, unit, column)(tmp_path)
    with pytest.raises(FileFormatError, match=f"{name}: HDU .*, column {column}: the unit '{unit}' is not"):
        counts(tmp_path)


def test_unit_of_the_matrix_and_of_words() -> None:
    assert conversion("cm**2 counts/photon", "cm2") == 1.0
    assert conversion("counts/s", "1/s") == conversion("count /s", "1/s") == conversion("none", "1/s") == 1.0
    assert conversion("%", "") == pytest.approx(0.01)
    assert conversion("counts", "1/s") is None


def test_exposure_in_hours(tmp_path: Path) -> None:
    path = write(tmp_path)
    edit(path, lambda file: file[1].header.set("EXPOSURE", 0.5, "[h] live time"))
    assert read_pha(path).exposure == 1800.0
    edit(path, lambda file: file[1].header.set("EXPOSURE", 0.5, "[keV] live time"))
    with pytest.raises(FileFormatError, match="EXPOSURE is no time"):
        read_pha(path)
    edit(path, lambda file: file[1].header.set("EXPOSURE", 0.5, "[live] time"))
    assert read_pha(path).exposure == 0.5


def test_exposure_in_the_primary_header(tmp_path: Path) -> None:
    path = write(tmp_path)

    def move(file: fits.HDUList) -> None:
        for key in ("EXPOSURE", "RESPFILE"):
            file[0].header[key] = file[1].header.pop(key)

    edit(path, move)
    assert read_pha(path).exposure == 2e3
    assert Spectrum.read(path).files.rmf.path == tmp_path / "good.rmf"


def test_missing_numbers_are_no_numbers(tmp_path: Path) -> None:
    path = write(tmp_path)

    def null(file: fits.HDUList) -> None:
        file[1].header["TNULL2"] = 777
        file[1].data["COUNTS"][12] = 777

    edit(path, null)
    with pytest.raises(FileFormatError, match="COUNTS, row 13: the value nan is not a finite number"):
        read_pha(path)


def both(folder: Path, behind: str = "BKG") -> Path:
    """One file with source and background, which names itself as background."""
    path = write(folder)
    pha = records()[0]
    edit(path, lambda file: file[1].header.__setitem__("BACKFILE", "good.pha"))
    if behind:
        back = replace(pha, counts=np.full(80, 3.0), back_scaling=np.full(80, 12.6))
        write_pha(folder / "back.pha", back)
        with fits.open(folder / "back.pha") as other:
            table = other[1].copy()
        table.header.update(HDUCLAS2=behind, EXTVER=2)
        edit(path, lambda file: file.append(table))
    return path


@pytest.mark.filterwarnings("ignore::skyfold.errors.BackgroundNotFittedWarning")
@pytest.mark.parametrize("first", [False, True])
def test_background_in_the_file_of_the_source(first: bool, tmp_path: Path) -> None:
    path = both(tmp_path)
    if first:
        edit(path, lambda file: file.insert(1, file.pop(2)))
    spectrum = Spectrum.read(path)
    np.testing.assert_array_equal(spectrum.files.pha.counts, records()[0].counts)
    assert spectrum.background is not None and spectrum.background.counts.sum() == 240
    assert spectrum.background_counts.sum() == pytest.approx(3 / 12.6 * 80, rel=0.1)


def test_a_spectrum_is_never_its_own_background(tmp_path: Path) -> None:
    with pytest.warns(MissingFileWarning, match="names the spectrum itself"):
        assert Spectrum.read(both(tmp_path, "")).background is None
    with pytest.raises(FileFormatError, match="no background other than the source itself"):
        Spectrum.read(tmp_path / "good.pha", background=tmp_path / "good.pha")


def test_several_spectra_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="2 extensions hold a PHA spectrum"):
        read_pha(both(tmp_path, "TOTAL"))
    assert read_pha(f"{tmp_path / 'good.pha'}[SPECTRUM,2]").counts.sum() == 240


def test_selectors(tmp_path: Path) -> None:
    path = write(tmp_path)
    for selector in ("{1}", "[1]", "[SPECTRUM]", " [spectrum]"):
        assert Spectrum.read(f"{path}{selector}").files.pha.path == path
    edit(path, lambda file: file[1].header.__setitem__("RESPFILE", "good.rmf{1}"))
    assert Spectrum.read(path).files.rmf.path == tmp_path / "good.rmf"
    for selector in ("{2}", "[2]", "[EVENTS]"):
        with pytest.raises(FileFormatError, match="names no single PHA spectrum"):
            Spectrum.read(f"{path}{selector}")
    edit(path, lambda file: file[1].header.__setitem__("RESPFILE", "good.rmf{2}"))
    with pytest.raises(FileFormatError, match="names no single redistribution matrix"):
        Spectrum.read(path)


def test_bzip2(tmp_path: Path) -> None:
    path = write(tmp_path)
    right = counts(tmp_path)
    for name in ("good.rmf", "good.arf"):
        (tmp_path / f"{name}.bz2").write_bytes(bz2.compress((tmp_path / name).read_bytes()))
        (tmp_path / name).unlink()
    assert counts(tmp_path) == right
    (tmp_path / "good.pha.bz2").write_bytes(bz2.compress(path.read_bytes())[:-300])
    with pytest.raises(FileFormatError, match="good.pha.bz2"):
        read_pha(tmp_path / "good.pha.bz2")


def gaussian(net: bool = True, **changes: Any) -> Any:
    pha = records()[0]
    return replace(pha, stat_err=3 * np.sqrt(pha.counts + 1), poisson=False, net=net, **changes)


def test_systematic_errors(tmp_path: Path) -> None:
    pha = gaussian(sys_err=np.full(80, 0.1))
    spectrum = Spectrum.read(write(tmp_path, pha=pha))
    assert isinstance(spectrum.likelihood, Gaussian)
    variance = spectrum.files.groups.sum(pha.stat_err**2 + (0.1 * pha.counts) ** 2)
    np.testing.assert_allclose(spectrum.likelihood.sigma, np.sqrt(variance), rtol=1e-6)


def test_systematic_errors_of_poisson_counts_are_said(tmp_path: Path) -> None:
    pha = replace(records()[0], sys_err=np.full(80, 0.03))
    with pytest.warns(SkyfoldWarning, match=r"SYS_ERR \(up to 0.03 of the data\) is unused"):
        assert isinstance(Spectrum.read(write(tmp_path, pha=pha)).likelihood, Poisson)


@pytest.mark.parametrize("value", [-0.1, np.nan])
def test_systematic_errors_below_zero(value: float, tmp_path: Path) -> None:
    wrong = np.full(80, 0.1)
    wrong[12] = value
    with pytest.raises(FileFormatError, match="column SYS_ERR, row 13"):
        read_pha(write(tmp_path, pha=gaussian(sys_err=wrong)))


@pytest.mark.parametrize(
    ("net", "poisserr", "errors", "poisson"),
    [
        (True, True, lambda c: 3 * np.sqrt(c + 1), False),
        (False, False, lambda c: 3 * np.sqrt(c + 1), False),
        (False, False, lambda c: np.sqrt(c), True),
        (False, False, lambda c: 1 + np.sqrt(c + 0.75), True),
        (False, True, lambda c: 3 * np.sqrt(c + 1), True),
        (False, None, lambda c: np.sqrt(c), True),
    ],
)
def test_which_statistic(net: bool, poisserr: bool | None, errors: Any, poisson: bool, tmp_path: Path) -> None:
    pha = records()[0]
    path = write(tmp_path, pha=replace(pha, stat_err=errors(pha.counts), net=net, poisson=bool(poisserr)))
    if poisserr is None:
        edit(path, lambda file: file[1].header.remove("POISSERR"))
    assert read_pha(path).poisson is poisson


def test_fractions_of_counts_with_errors_are_normal(tmp_path: Path) -> None:
    pha = records()[0]
    part = replace(pha, counts=pha.counts + 0.25, stat_err=np.sqrt(pha.counts + 0.25), poisson=False)
    assert not read_pha(write(tmp_path, pha=part)).poisson


def test_net_counts_without_errors_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    edit(path, lambda file: file[1].header.__setitem__("HDUCLAS2", "NET"))
    with pytest.raises(FileFormatError, match="STAT_ERR"):
        Spectrum.read(path)


def test_negative_counts_with_errors(tmp_path: Path) -> None:
    pha = gaussian(net=False, counts=records()[0].counts - 2.0)
    assert Spectrum.read(write(tmp_path, pha=pha)).counts.min() < 0


def test_scalar_columns_are_one_spectrum(tmp_path: Path) -> None:
    path = write(tmp_path)
    edit(path, lambda file: file[1].header.__setitem__("HDUCLAS4", "TYPE:II"))
    np.testing.assert_array_equal(read_pha(path).counts, records()[0].counts)


@pytest.mark.parametrize("n_channels", [32767, 32768, 40000])
def test_many_channels_are_written_and_read(n_channels: int, tmp_path: Path) -> None:
    for first in (0, 1):
        rmf, _ = ccd_response(n_channels=n_channels, channel_width=0.0003, energy_step=1.0, first_channel=first)
        again = read_rmf(write_rmf(tmp_path / f"{first}.rmf", rmf))
        np.testing.assert_array_equal(again.channel_index, rmf.channel_index)
        np.testing.assert_allclose(again.bounds, rmf.bounds, rtol=1e-6)
        assert again.first_channel == first


def test_one_element_in_every_channel_of_many(tmp_path: Path) -> None:
    rmf, _ = ccd_response(n_channels=32768, channel_width=0.0003, energies=(0.5, 1.5), energy_step=1.0)
    every = np.arange(32768)
    full = replace(rmf, energy_index=0 * every, channel_index=every, values=np.full(32768, 1.0))
    assert len(read_rmf(write_rmf(tmp_path / "full.rmf", full)).values) == 32768


def test_numbers_beyond_the_columns_are_written(tmp_path: Path) -> None:
    pha = records()[0]
    quality, many = pha.quality.copy(), pha.counts.copy()
    quality[3], many[4] = 70000, 3e9
    again = read_pha(write(tmp_path, pha=replace(pha, quality=quality, counts=many)))
    assert again.quality[3] == 70000 and again.counts[4] == 3e9


def test_narrow_energy_bins_are_written(tmp_path: Path) -> None:
    arf = records()[2]
    fine = replace(arf, edges=10.0 + 1e-7 * np.arange(len(arf.edges)))
    np.testing.assert_allclose(read_arf(write_arf(tmp_path / "fine.arf", fine)).edges, fine.edges, rtol=1e-12)


def test_energy_bins_that_rounding_made_empty(tmp_path: Path) -> None:
    write(tmp_path)
    right = counts(tmp_path)

    def close(file: fits.HDUList) -> None:
        for row in (30, 31):
            file[1].data["ENERG_HI"][row] = file[1].data["ENERG_LO"][30]
        file[1].data["ENERG_LO"][31] = file[1].data["ENERG_LO"][32] = file[1].data["ENERG_LO"][30]

    for name in ("good.rmf", "good.arf"):
        edit(tmp_path / name, close)
    edges = read_rmf(tmp_path / "good.rmf").edges
    assert np.all(np.diff(edges) > 0)
    assert counts(tmp_path) == pytest.approx(right, rel=2e-3)

    def turn(file: fits.HDUList) -> None:
        file[1] = fits.BinTableHDU(file[1].data[::-1].copy(), header=file[1].header)

    edit(tmp_path / "good.arf", turn)
    np.testing.assert_array_equal(read_arf(tmp_path / "good.arf").edges, edges)


def test_small_negative_elements_are_kept_and_said(tmp_path: Path) -> None:
    rmf = records()[1]
    values = rmf.values.copy()
    values[100] = -1e-5
    with pytest.warns(ResponseWarning, match="1 elements are negative, the lowest -1e-05"):
        spectrum = Spectrum.read(write(tmp_path, rmf=replace(rmf, values=values)))
    matrix = spectrum.files.rmf.dense()
    assert matrix.min() == pytest.approx(-1e-5)
    area = records()[2].area[rmf.energy_index[100]]
    group = spectrum.files.groups.of_channel[rmf.channel_index[100]]
    column = np.searchsorted(spectrum.energies, rmf.edges[rmf.energy_index[100]] + 1e-4) - 1
    positive = np.maximum(matrix, 0)[spectrum.files.groups.of_channel == group, rmf.energy_index[100]].sum()
    assert spectrum.response.matrix[group, column] == pytest.approx((positive - 1e-5) * area * 2e3)


def test_large_negative_elements_of_a_distributed_response_are_kept_and_said(tmp_path: Path) -> None:
    """Some missions' matrices hold elements such as -0.26 beside a row of 1."""
    rmf = records()[1]
    values = rmf.values.copy()
    values[100] = -0.26
    with pytest.warns(ResponseWarning, match="1 elements are negative, the lowest -0.26, and take up to 0.34 of what"):
        again = read_rmf(write_rmf(tmp_path / "a.rmf", replace(rmf, values=values)))
    assert again.dense().min() == pytest.approx(-0.26)


@pytest.mark.filterwarnings("ignore::skyfold.errors.SkyfoldWarning")
def test_systematic_errors_of_rates(shared: Path) -> None:
    """Variance stat^2 + (0.1 data)^2 of a power law, index 1.7 and norm 0.01: 63.25 without, 49.80 with."""
    spectrum = Spectrum.read(shared / "cases" / "xray" / "bat.pha")
    response = spectrum.response.melted()
    slope = -0.7
    light = 0.01 * np.diff(response.edges**slope) / slope
    expected = response.matrix @ light
    plain = spectrum.files.groups.sum(spectrum.files.pha.stat_err**2)
    assert np.sum((spectrum.counts - expected) ** 2 / plain) == pytest.approx(63.25, abs=0.01)
    assert np.sum((spectrum.counts - expected) ** 2 / spectrum.likelihood.variance) == pytest.approx(49.80, abs=0.01)


@pytest.mark.parametrize(("said", "label"), [(None, 0), (1, 0), (0, 1)])
def test_channels_are_counted_as_the_energies_say(said: int | None, label: int, tmp_path: Path) -> None:
    """F_CHAN begins at 1 without TLMIN and EBOUNDS at 0; or TLMIN is off by one."""
    edges = np.arange(21) * 0.2 + 0.5
    first = 1 if said is None else label
    number = first + np.arange(20)
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("ENERG_LO", "D", array=edges[:-1]),
            fits.Column("ENERG_HI", "D", array=edges[1:]),
            fits.Column("N_GRP", "I", array=np.ones(20) if said is not None else number < 20),
            fits.Column("F_CHAN", "I", array=number),
            fits.Column("N_CHAN", "I", array=np.ones(20)),
            fits.Column("MATRIX", "D", array=np.ones(20)),
        ],
        name="MATRIX",
    )
    if said is not None:
        table.header["TLMIN4"] = said
    bounds = fits.BinTableHDU.from_columns(
        [
            fits.Column("CHANNEL", "I", array=label + np.arange(20)),
            fits.Column("E_MIN", "D", array=edges[:-1]),
            fits.Column("E_MAX", "D", array=edges[1:]),
        ],
        name="EBOUNDS",
    )
    fits.HDUList([fits.PrimaryHDU(), table, bounds]).writeto(tmp_path / "a.rmf")
    with pytest.warns(ResponseWarning, match=f"column F_CHAN: .*counted from {first}"):
        rmf = read_rmf(tmp_path / "a.rmf")
    np.testing.assert_array_equal(rmf.channel_index, rmf.energy_index)
    assert rmf.first_channel == label


@pytest.mark.parametrize("garbage", [0, 7])
def test_channel_numbers_that_make_no_sense(garbage: int, tmp_path: Path) -> None:
    write(tmp_path)
    right = counts(tmp_path)
    edit(tmp_path / "good.rmf", lambda file: file[2].data["CHANNEL"].__setitem__(slice(None), garbage))
    with pytest.warns(ResponseWarning, match="EBOUNDS, column CHANNEL: the numbers make no sense"):
        assert counts(tmp_path) == right
    edit(tmp_path / "good.rmf", lambda file: file[2].header.__setitem__("DETCHANS", 81))
    with pytest.raises(FileFormatError, match="EBOUNDS, column CHANNEL"):
        counts(tmp_path)


def test_the_lowest_edge_alone_may_differ(tmp_path: Path) -> None:
    write(tmp_path)
    right = counts(tmp_path)
    edit(tmp_path / "good.arf", lambda file: file[1].data["ENERG_LO"].__setitem__(0, 0.0))
    with pytest.warns(ResponseWarning, match="begins at 0.00035 keV, the response .* at 0.3 keV"):
        assert counts(tmp_path) == right


def test_errors_are_checked_where_they_are_fitted(tmp_path: Path) -> None:
    plain = {"grouping": np.zeros(80, int), "quality": np.zeros(80, int)}
    (tmp_path / "whole").mkdir()
    whole = Spectrum.read(write(tmp_path / "whole", pha=gaussian(**plain))).notice(0.5, 5.5)
    pha = gaussian(**plain)
    pha.stat_err[60:] = 0.0
    with pytest.warns(SkyfoldWarning, match="errors of .* groups are not positive"):
        spectrum = Spectrum.read(write(tmp_path, pha=pha))
    with pytest.raises(FileFormatError, match="STAT_ERR: the error of the group that begins at channel 60"):
        spectrum.check()
    part = spectrum.notice(0.5, 5.5)
    part.check()
    np.testing.assert_array_equal(part.likelihood.sigma, whole.likelihood.sigma)


@pytest.mark.parametrize("value", [np.nan, -1.0, np.inf])
def test_areas_are_checked_where_they_are_fitted(value: float, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = Spectrum.read(write(tmp_path / "whole")).notice(0.5, 5.0)
    arf = records()[2]
    area = arf.area.copy()
    area[-3] = value
    spectrum = Spectrum.read(write(tmp_path, arf=replace(arf, area=area)))
    with pytest.raises(FileFormatError, match=f"good.arf: column SPECRESP, row {len(area) - 2} .* the area {value:g}"):
        spectrum.check()
    part = spectrum.notice(0.5, 5.0)
    part.check()
    np.testing.assert_array_equal(part.response.matrix, whole.response.matrix)


def test_areas_below_zero_by_rounding(tmp_path: Path) -> None:
    arf = records()[2]
    area = arf.area.copy()
    area[20] = -1e-12
    Spectrum.read(write(tmp_path, arf=replace(arf, area=area))).check()


@pytest.mark.parametrize("which", ["good.pha", "back.pha"])
def test_background_that_cannot_be_scaled(which: str, tmp_path: Path) -> None:
    pha = replace(records()[0], background_file="back.pha")
    nothing = {"back_scaling": np.zeros(80)}
    write(tmp_path, pha=replace(pha, **(nothing if which == "good.pha" else {})))
    write_pha(tmp_path / "back.pha", replace(pha, **(nothing if which == "back.pha" else {})))
    with pytest.raises(FileFormatError, match=f"{which}: BACKSCAL = 0 at channel"):
        Spectrum.read(tmp_path / "good.pha")


def test_background_without_exposure(tmp_path: Path) -> None:
    pha = replace(records()[0], background_file="back.pha")
    write(tmp_path, pha=pha)
    write_pha(tmp_path / "back.pha", replace(pha, exposure=0.0))
    with pytest.raises(FileFormatError, match="back.pha: .*EXPOSURE = 0 s"):
        Spectrum.read(tmp_path / "good.pha")


@pytest.mark.filterwarnings("ignore::skyfold.errors.SkyfoldWarning")
def test_small_inputs_that_failed(shared: Path) -> None:
    """Inputs with known right values: units, one matrix of several, systematic errors, counting of channels."""
    folder = shared / "cases"
    if not folder.is_dir():
        pytest.skip("the folder of small inputs that failed is not there")

    def total(name: str, **files: Any) -> np.ndarray:
        response = Spectrum.read(folder / name, **files).response
        return np.asarray(response.fold(PowerLaw().evaluate(response.edges)))

    xray, reports = folder / "xray", folder / "from_reports"
    np.testing.assert_allclose(total("xray/a.pha", arf=xray / "m2.arf"), total("xray/a.pha"), rtol=1e-12)
    assert total("from_reports/tev_m2/obs.fits")[0] == pytest.approx(1e-3 * 1000 * 2e4 * (1 / 2e9 - 1 / 3e9))
    assert total("from_reports/no_tlmin/s.pha")[10] == pytest.approx(1e-3 * 10 * (1 / 2.5 - 1 / 2.7))
    for name, files in (("a.pha", {"response": xray / "multi.rmf"}), ("sel.pha", {})):
        with pytest.raises(FileFormatError, match="redistribution matrix"):
            Spectrum.read(xray / name, **files)
    bat = Spectrum.read(xray / "bat.pha")
    pha = bat.files.pha
    np.testing.assert_allclose(bat.likelihood.sigma**2, pha.stat_err**2 + (0.1 * pha.counts) ** 2)
    for path in (xray / "perr.pha", reports / "statistic/net_poisserr_true.pha"):
        assert isinstance(Spectrum.read(path).likelihood, Gaussian)
    assert Spectrum.read(reports / "statistic/rate_zero_error_tail.pha").notice(0.5, 3.6).n_data == 15
    for behind in ("b0.pha", "bexp.pha"):
        with pytest.raises(FileFormatError, match=behind):
            Spectrum.read(xray / "a.pha", background=xray / behind)
