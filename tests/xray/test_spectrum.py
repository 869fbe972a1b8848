"""Spectra: noticing, backgrounds, what they show."""

from __future__ import annotations

import gzip
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import astropy.units as u
import jax
import numpy as np
import pytest
from astropy.io import fits
from broken_files import edit, records, write
from plain_models import Flat, Power

from skyfold.errors import BackgroundNotFittedWarning, MissingFileWarning, ResponseWarning, SkyfoldError
from skyfold.posterior import Posterior
from skyfold.results.description import Description
from skyfold.xray.files.read import read_arf, read_pha, read_rmf
from skyfold.xray.files.write import write_pha
from skyfold.xray.models.absorption import PHabs
from skyfold.xray.models.powerlaws import PowerLaw
from skyfold.xray.models.thermal import Blackbody
from skyfold.xray.spectrum import Spectrum

quiet = pytest.mark.filterwarnings("ignore::skyfold.errors.SkyfoldWarning")


@pytest.fixture
def small(tmp_path: Path) -> Spectrum:
    return Spectrum.read(write(tmp_path))


# -- noticing -------------------------------------------------------------------------------------------------------


def test_notice_keeps_groups_wholly_inside(small: Spectrum) -> None:
    noticed = small.notice(1.0, 3.0)
    inside = (small.edges[:, 0] >= 1.0 - 1e-6) & (small.edges[:, 1] <= 3.0 + 1e-6)
    np.testing.assert_array_equal(noticed.counts, small.counts[inside])
    np.testing.assert_array_equal(noticed.edges, small.edges[inside])
    again = noticed.notice(1.0, 3.0)
    assert again.n_data == noticed.n_data
    np.testing.assert_array_equal(noticed.notice(0.1, 7).counts, noticed.counts)


def test_ignore_drops_groups_touched(small: Spectrum) -> None:
    left = small.ignore(1.0, 3.0)
    touched = (small.edges[:, 0] < 3.0 - 1e-6) & (small.edges[:, 1] > 1.0 + 1e-6)
    np.testing.assert_array_equal(left.counts, small.counts[~touched])
    np.testing.assert_array_equal(small.ignore((None, 1.0), (3.0, None)).counts, small.notice(1.0, 3.0).counts)


def test_several_ranges_and_units(small: Spectrum) -> None:
    both = small.notice((0.5, 1.5), (2.0, 4.0))
    apart = np.concatenate([small.notice(0.5, 1.5).counts, small.notice(2.0, 4.0).counts])
    np.testing.assert_array_equal(both.counts, apart)
    energies = small.notice(1000 * u.eV, 3 * u.keV)
    np.testing.assert_array_equal(energies.counts, small.notice(1.0, 3.0).counts)
    span = ([3.0, 1.0] * u.keV).to(u.AA, u.spectral())
    np.testing.assert_array_equal(small.notice(span).counts, energies.counts)
    np.testing.assert_array_equal(small.notice(span[0], span[1]).counts, energies.counts)
    assert small.notice(None, None).n_data == small.n_data


def test_channels(small: Spectrum) -> None:
    noticed = small.notice(10, 20, channels=True)
    assert noticed.channels.min() >= 10 and noticed.channels.max() <= 20
    first = small.channels[3]
    assert small.ignore(first[0], first[0], channels=True).n_data == small.n_data - 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((5, 2), "empty"),
        ((1,), "pair"),
        ((), "two ends"),
        ((np.nan, 2), "not a number"),
        (("a", 2), "not a number"),
        ((1 * u.s, 2 * u.s), "neither an energy nor a wavelength"),
        ((30, 40), "leaves no group"),
        ((1, 2, 3), "pair"),
    ],
)
def test_ranges_that_make_no_sense(arguments: tuple, words: str, small: Spectrum) -> None:
    with pytest.raises(SkyfoldError, match=words):
        small.notice(*arguments)


def test_noticing_keeps_changed_data(small: Spectrum) -> None:
    changed = small.with_data(small.counts + 5)
    np.testing.assert_array_equal(changed.notice(1, 3).counts, small.notice(1, 3).counts + 5)


# -- prediction -----------------------------------------------------------------------------------------------------


def test_prediction_is_the_plain_fold(small: Spectrum, tmp_path: Path) -> None:
    files = small.files
    flux = Power(1.8, 1e-3).evaluate(files.rmf.edges)
    channels = files.pha.exposure * files.pha.area_scaling * (files.rmf.dense() @ (files.arf.area * flux))
    np.testing.assert_allclose(small.predict(Power(1.8, 1e-3)), files.groups.sum(channels), rtol=1e-10)
    noticed = small.notice(1, 3)
    np.testing.assert_allclose(noticed.predict(Power(1.8, 1e-3)), noticed.files.groups.sum(channels), rtol=1e-10)


def test_channel_numbering_of_file_and_response_may_differ(tmp_path: Path) -> None:
    pha, rmf, arf = records()
    shifted = replace(pha, channels=pha.channels + 1, first_channel=1)
    one, other = Spectrum.assemble(pha, rmf, arf), Spectrum.assemble(shifted, rmf, arf)
    np.testing.assert_array_equal(one.response.matrix, other.response.matrix)
    np.testing.assert_array_equal(one.edges, other.edges)
    np.testing.assert_array_equal(one.channels + 1, other.channels)


def test_part_of_the_channels_is_numbered_as_in_the_response() -> None:
    pha, rmf, arf = records()
    names = ("channels", "counts", "area_scaling", "back_scaling", "quality", "grouping", "sys_err")
    part = {name: getattr(pha, name)[20:60] for name in names}
    one, whole = Spectrum.assemble(replace(pha, first_channel=None, **part), rmf, arf), Spectrum.assemble(pha, rmf, arf)
    shared_groups = np.isin(one.channels[:, 0], whole.channels[:, 0])
    np.testing.assert_allclose(one.edges[shared_groups][1], whole.edges[whole.channels[:, 0] == one.channels[1, 0]][0])


def test_spectra_of_one_shape_share_their_structure(tmp_path: Path) -> None:
    pha, rmf, arf = records()
    one = Spectrum.assemble(pha, rmf, arf, name="one")
    other = Spectrum.assemble(replace(pha, counts=pha.counts + 1), rmf, arf, name="other")
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert all(isinstance(leaf, np.ndarray) and leaf.dtype == np.float64 for leaf in jax.tree.leaves(one.bound(None)))


# -- files ----------------------------------------------------------------------------------------------------------


def test_background_is_scaled(tmp_path: Path) -> None:
    pha, _, _ = records()
    path = write(tmp_path, pha=replace(pha, background_file="back.pha"))
    behind = replace(
        pha,
        counts=np.full(80, 8.0),
        exposure=4e3,
        area_scaling=np.full(80, 2.0),
        back_scaling=np.full(80, 5.0),
        grouping=np.zeros(80, int),
        quality=np.zeros(80, int),
    )
    write_pha(tmp_path / "back.pha", behind)
    spectrum = Spectrum.read(path)
    with pytest.warns(BackgroundNotFittedWarning, match=r"back\.pha is shown but NOT fitted under Cash"):
        Posterior((PowerLaw(), spectrum.with_statistic("cash")))
    sizes = np.diff(spectrum.channels, axis=1)[:, 0] + 1
    np.testing.assert_allclose(spectrum.background_counts, sizes * 8.0 / (2 * 2 * 5))
    np.testing.assert_allclose(spectrum.background_variance, sizes * 8.0 / (2 * 2 * 5) ** 2)
    assert spectrum.background.counts.sum() == 640
    assert len(spectrum.notice(1, 3).background_counts) == spectrum.notice(1, 3).n_data
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Spectrum.read(path, background="none").background_counts is None


@pytest.mark.filterwarnings("ignore::skyfold.errors.BackgroundNotFittedWarning")
def test_a_background_that_is_fitted_beside_is_not_called_unfitted(tmp_path: Path) -> None:
    pha, _, _ = records()
    path = write(tmp_path, pha=replace(pha, background_file="back.pha"))
    write_pha(tmp_path / "back.pha", replace(pha, counts=np.full(80, 8.0)))
    source, behind = Spectrum.read(path).with_statistic("cash"), Spectrum.read(tmp_path / "back.pha", name="behind")
    back, light = PowerLaw(), Blackbody()
    for posterior, unfitted in (
        (Posterior((light, source)), True),
        (Posterior((light + back, source), (back, behind)), False),
    ):
        assert Description.of(posterior).observations[0].background is unfitted
        assert (posterior.pairs["good"][1].background_counts is not None) is unfitted
    # what W-stat would count twice is Poisson by itself
    beside = Posterior((light + back, Spectrum.read(path)), (back, behind)).pairs["good"][1]
    assert beside.likelihood.statistic_name == "C-stat" and beside.background_counts is None
    assert not Description.of(Posterior((light, Spectrum.read(path)))).observations[0].background


def test_missing_background_is_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path, pha=replace(records()[0], background_file="gone.pha"))
    with pytest.warns(MissingFileWarning, match=r"BACKFILE names 'gone.pha'"):
        assert Spectrum.read(path).background is None


def test_response_without_area_warns(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.warns(ResponseWarning, match="without an effective area"):
        Spectrum.read(path, arf="none")


def test_explicit_files_and_names(tmp_path: Path, small: Spectrum) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "good.rmf").rename(other / "Moved.RMF")
    spectrum = Spectrum.read(tmp_path / "good.pha", response=other / "moved.rmf", name="mine")
    assert spectrum.name == "mine" and small.name == "good"
    np.testing.assert_array_equal(spectrum.response.matrix, small.response.matrix)
    records_given = Spectrum.read(
        tmp_path / "good.pha", response=read_rmf(other / "Moved.RMF"), arf=read_arf(tmp_path / "good.arf")
    )
    np.testing.assert_array_equal(records_given.response.matrix, small.response.matrix)


def test_area_scaling_column_scales_the_prediction(tmp_path: Path, small: Spectrum) -> None:
    half = replace(records()[0], area_scaling=np.where(np.arange(80) < 15, 0.5, 1.0))
    (tmp_path / "half").mkdir()
    spectrum = Spectrum.read(write(tmp_path / "half", pha=half))
    ratio = np.asarray(spectrum.predict(Power(2, 1e-3)) / small.predict(Power(2, 1e-3)))
    np.testing.assert_allclose(ratio, np.where(small.channels[:, 1] < 15, 0.5, 1.0), rtol=1e-9)


@pytest.mark.parametrize("rate", [False, True])
def test_exposure_of_each_channel(rate: bool, tmp_path: Path, small: Spectrum) -> None:
    """A column EXPOSURE weighs each channel by its own exposure, as AREASCAL would."""
    exposures = np.where(np.arange(80) < 15, 1e3, 2e3)
    (tmp_path / "own").mkdir()
    path = write(tmp_path / "own", pha=replace(records()[0], exposure=exposures))
    if rate:
        edit(path, _as_rates)
    pha = read_pha(path)
    np.testing.assert_array_equal(pha.exposure, exposures)
    np.testing.assert_allclose(pha.counts, records()[0].counts, rtol=1e-12)
    spectrum = Spectrum.read(path)
    ratio = np.asarray(spectrum.predict(Power(2, 1e-3)) / small.predict(Power(2, 1e-3)))
    few = small.channels[:, 1] < 15
    np.testing.assert_allclose(ratio, np.where(few, 0.5, 1.0), rtol=1e-9)
    np.testing.assert_allclose(spectrum.rate_factor[few], 2 * small.rate_factor[few])
    np.testing.assert_allclose(spectrum.rate_factor[~few], small.rate_factor[~few])
    assert spectrum.exposure == 2e3 and "2000 s" in repr(spectrum) and "2000 s" in repr(pha)
    assert spectrum.notice(1, 3).rate_factor.shape == (spectrum.notice(1, 3).n_data,)


def _as_rates(file: Any) -> None:
    file[1].columns.change_name("COUNTS", "RATE")
    table = file[1].data
    rates = table["RATE"] / table["EXPOSURE"]
    columns = [c for c in file[1].columns if c.name != "RATE"] + [fits.Column("RATE", "D", array=rates)]
    file[1] = fits.BinTableHDU.from_columns(columns, header=_header_without_columns(file[1]), name="SPECTRUM")


def _header_without_columns(hdu: Any) -> fits.Header:
    cards = [c for c in hdu.header.cards if c.keyword[:5] not in ("TTYPE", "TFORM", "TUNIT", "TLMIN", "TLMAX")]
    return fits.Header(cards)


def test_one_exposure_in_a_column_is_one_exposure(tmp_path: Path) -> None:
    path = write(tmp_path)

    def change(file: Any) -> None:
        columns = [*file[1].columns, fits.Column("EXPOSURE", "D", array=np.full(80, 2e3))]
        header = _header_without_columns(file[1])
        del header["EXPOSURE"]
        file[1] = fits.BinTableHDU.from_columns(columns, header=header, name="SPECTRUM")

    edit(path, change)
    assert read_pha(path).exposure == 2e3


def test_groups_without_response_are_named(tmp_path: Path) -> None:
    pha, rmf, arf = records()
    dark = replace(arf, area=np.where(arf.edges[:-1] < 1.2, 0.0, arf.area))
    spectrum = Spectrum.assemble(pha, rmf, dark)
    with pytest.warns(ResponseWarning, match=r"groups hold \d+ counts .* zero, at 0-1 keV.*notice") as seen:
        Posterior((PowerLaw(), spectrum))
    assert len(seen) == 1
    with pytest.warns(ResponseWarning, match="response is zero"):
        spectrum.notice(0.3, 8).check()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spectrum.notice(2.0, 8.0).check()
        Spectrum.assemble(replace(pha, counts=np.where(rmf.bounds[:, 1] < 2, 0.0, pha.counts)), rmf, dark).check()


def test_a_factor_predicts_nothing(small: Spectrum) -> None:
    with pytest.raises(SkyfoldError, match="'phabs' is multiplicative"):
        small.predict(PHabs(nH=0.1))


def test_other_data_must_fit(small: Spectrum) -> None:
    for data in (small.counts[1:], np.append(small.counts, 1.0), 3.0, small.counts[:, None]):
        with pytest.raises(SkyfoldError, match=f"'good' has {small.n_data} noticed groups"):
            small.with_data(data)


@pytest.mark.parametrize("name", ["", " ", ".", "/"])
def test_spectrum_without_a_name(name: str) -> None:
    with pytest.raises(SkyfoldError, match="empty|folder"):
        Spectrum.read(name)


@pytest.mark.parametrize("response", ["", "none"])
def test_response_without_a_name(response: str, tmp_path: Path) -> None:
    with pytest.raises(SkyfoldError, match=f"response = '{response}' names no file.*good.rmf"):
        Spectrum.read(write(tmp_path), response=response)


# -- display --------------------------------------------------------------------------------------------------------


def test_what_plots_need(small: Spectrum) -> None:
    assert small.edges.shape == small.channels.shape == (small.n_data, 2)
    np.testing.assert_allclose(
        small.edges[:, 1] - small.edges[:, 0], 0.1 * (np.diff(small.channels)[:, 0] + 1), rtol=1e-5
    )
    np.testing.assert_allclose(small.rate_factor, 1 / (2e3 * (small.edges[:, 1] - small.edges[:, 0])))
    bins = small.rebin(10.0, 5)
    assert bins.shape == (small.n_data,) and bins[0] == 0 and set(np.diff(bins)) <= {0, 1}
    assert np.bincount(bins).max() <= 5
    jax.make_jaxpr(lambda spectrum: repr(spectrum) and spectrum.predict(Flat()))(small)
    for word in ("good.pha", f"{small.n_data} groups", "counts", "keV", "2000 s"):
        assert word in repr(small)


def test_headers_may_be_in_any_case(tmp_path: Path) -> None:
    path = write(tmp_path)
    edit(path, lambda file: file[1].header.__setitem__("RESPFILE", "GOOD.RMF.GZ"))
    edit(path, lambda file: file[1].header.__setitem__("ANCRFILE", "/somewhere/else/Good.arf"))
    assert Spectrum.read(path).n_data > 5
    path.with_name("good.pha.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert Spectrum.read(path).name == "good"
