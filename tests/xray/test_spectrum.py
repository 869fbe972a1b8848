"""Spectra: reference statistics of real ones, noticing, backgrounds, what they show."""

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

from skyfold.errors import BackgroundNotFittedWarning, MissingFileWarning, ResponseWarning, SkyfoldError
from skyfold.likelihoods import Gaussian
from skyfold.posterior import Posterior
from skyfold.xray.models.absorption import PHabs
from skyfold.xray.models.powerlaws import PowerLaw
from skyfold.xray.ogip import read_arf, read_pha, read_rmf
from skyfold.xray.spectrum import Spectrum
from skyfold.xray.write import write_pha

quiet = pytest.mark.filterwarnings("ignore::skyfold.errors.SkyfoldWarning")


class Power:
    """Power law integrated over bins, in numpy: the reference values need nothing else."""

    def __init__(self, index: float, norm: float) -> None:
        self.index, self.norm = index, norm

    def evaluate(self, edges: Any) -> np.ndarray:
        edges, slope = np.asarray(edges), 1.0 - self.index
        return self.norm * (np.diff(np.log(edges)) if slope == 0 else np.diff(edges**slope) / slope)


class Flat:
    """One photon in every bin."""

    def evaluate(self, edges: Any) -> Any:
        return 0.0 * edges[1:] + 1.0


def cstat(spectrum: Spectrum, index: float, norm: float) -> float:
    return float(spectrum.statistic(spectrum.predict(Power(index, norm))))


@pytest.fixture
def small(tmp_path: Path) -> Spectrum:
    return Spectrum.read(write(tmp_path))


# -- real spectra ---------------------------------------------------------------------------------------------------


@quiet
def test_chandra_3c273(shared: Path, tmp_path: Path) -> None:
    """Area scaling and bad channels, ungrouped; printed to two digits after the point."""
    folder = shared / "data/xray/sherpa"
    pha = read_pha(folder / "3c273.pi")
    channel = pha.channels
    scaling = np.where((channel > 200) & (channel < 300), 0.1, 1.0)
    bad = np.isin(channel, [150, 151, 250, 251, 252])
    scaling[bad] = 0.0
    changed = replace(pha, area_scaling=scaling, quality=bad.astype(int), grouping=np.zeros(1024, int))
    path = write_pha(tmp_path / "changed.pi", changed)
    spectrum = Spectrum.read(path, folder / "3c273.rmf", folder / "3c273.arf")
    for (low, high), value in zip(((100, 152), (212, 295), (8, 772)), (62.31, 244.80, 1063.09), strict=True):
        noticed = spectrum.notice(low, high, channels=True)
        assert cstat(noticed, 1.0, 1e-4) == pytest.approx(value, abs=0.0051)


@quiet
def test_swift(shared: Path) -> None:
    """Channels from 0, lowest energy 0, packed response with a fixed-width matrix."""
    folder = shared / "data/xray/sherpa"
    spectrum = Spectrum.read(
        folder / "target_sr.pha", folder / "swxpc0to12s6_20130101v014.rmf", folder / "target_sr.arf"
    ).notice(29, 799, channels=True)
    assert spectrum.n_data == 771
    assert cstat(spectrum, 1.0, 3e-4) == pytest.approx(568.52, abs=0.0051)


@quiet
def test_asca_bad_channels_inside_a_group(shared: Path) -> None:
    """XSPEC: chi2 69.34 in 71 bins, Sherpa 65.0646 in 70: the good channel behind the bad ones is a bin of its own."""
    spectrum = Spectrum.read(shared / "data/xray/sherpa/s0_mar24_bin.pha").notice(0.5, 7.0)
    assert spectrum.n_data == 71
    np.testing.assert_array_equal(spectrum.channels[:2], [[17, 17], [18, 19]])
    assert spectrum.counts[0] == 17
    source = PHabs(nH=0.05, abundances="angr", cross_sections="vern") * PowerLaw(PhoIndex=1.7, norm=2.7e-4)
    expected = np.asarray(spectrum.predict(source))
    terms = (spectrum.counts - expected) ** 2 / spectrum.counts
    # the oxygen edge lies in the first common bin, where averaging the cross-section moves the model by 0.2 %
    assert terms.sum() == pytest.approx(69.34, abs=0.02)
    assert terms[1:].sum() == pytest.approx(65.0646, abs=5e-4)
    shown = expected * spectrum.rate_factor
    assert shown[1] == pytest.approx(7.78075e-3, rel=2e-3)
    assert shown[-1] == pytest.approx(5.45511e-4, rel=1e-5)


@quiet
def test_asca_from_channel_one(shared: Path) -> None:
    folder = shared / "data/xray/sherpa"
    spectrum = Spectrum.read(folder / "sis0.pha", folder / "sis0.rmf", folder / "sis0.arf")
    assert spectrum.channels[0, 0] == 1
    assert spectrum.n_data == 1024


def test_ulx4(shared: Path) -> None:
    folder = shared / "data/xray/ngc7793_ulx4"
    with pytest.warns(BackgroundNotFittedWarning, match="PNbackground_spectrum.fits"):
        everything = Spectrum.read(folder / "PN_spectrum_grp20.fits")
    spectrum = everything.notice(0.5, 8.0)
    assert spectrum.n_data == 102
    assert spectrum.counts.sum() == 10091
    assert spectrum.notice(0.5, 8.0).n_data == 102
    either = everything.ignore((None, 0.5), (8.0, None))
    np.testing.assert_array_equal(either.channels, spectrum.channels)
    np.testing.assert_allclose(either.response.matrix, spectrum.response.matrix)
    assert spectrum.response.matrix.shape == (102, len(spectrum.energies) - 1)
    assert "102 groups" in repr(spectrum) and "10091 counts" in repr(spectrum)


def test_exosat(shared: Path) -> None:
    """Net rates with errors: Gaussian; bins as the XSPEC walkthrough counts them."""
    folder = shared / "data/xray/exosat_s54405"
    spectrum = Spectrum.read(folder / "s54405.pha", response=folder / "s54405.rsp")
    assert isinstance(spectrum.likelihood, Gaussian)
    assert spectrum.n_data == 85
    below = spectrum.ignore(15.0, None)
    assert below.n_data == 45
    everything = replace(spectrum.files.pha, quality=np.zeros(125, int))
    assert everything.counts.sum() / everything.exposure == pytest.approx(3.783, abs=5e-4)
    error = np.sqrt(np.sum(everything.stat_err**2)) / everything.exposure
    assert error == pytest.approx(0.1367, abs=5e-5)
    whole = Spectrum.assemble(everything, spectrum.files.rmf)
    assert whole.n_data == 125

    def source(nh: float, index: float, norm: float) -> Any:
        return PHabs(nH=nh, abundances="angr", cross_sections="bcmc") * PowerLaw(PhoIndex=index, norm=norm)

    def chi2(one: Spectrum, model: Any) -> float:
        return float(one.statistic(one.predict(model)))

    # XSPEC's absorption is taken at other points of the wide bins: 2e-4
    assert chi2(whole, source(1, 1, 1)) == pytest.approx(4.864244e8, rel=3e-4)
    expected, weight = np.asarray(whole.predict(source(1, 1, 1))), whole.likelihood.sigma**-2
    norm = float(np.sum(expected * whole.data * weight) / np.sum(expected**2 * weight))
    for one, value in ((whole, 852.19), (spectrum, 799.74), (below, 721.56)):
        assert chi2(one, source(1, 1, norm)) == pytest.approx(value, rel=3e-4)
    assert chi2(below, source(0.537846, 2.23646, 1.3032e-2)) == pytest.approx(43.802, abs=5e-3)


@quiet
@pytest.mark.parametrize(
    ("name", "rmf", "arf"),
    [
        ("pi2278.fits", "rmf2278.fits", "arf2278.fits"),
        ("pi2286.fits", "rmf2286.fits", "arf2286.fits"),
        ("source.pi", "source.rmf", "source.arf"),
        ("back.pi", "back.rmf", "back.arf"),
        ("source1.pi", "source.rmf", "source.arf"),
        ("source_bin10.pi", "source.rmf", "source.arf"),
        ("obs1.pi", None, None),
        ("obs2.pi", None, None),
        ("3c273.pi", None, None),
    ],
)
def test_real_spectra_fold(name: str, rmf: str | None, arf: str | None, shared: Path) -> None:
    folder = shared / "data/xray/sherpa"
    spectrum = Spectrum.read(folder / name, rmf and folder / rmf, arf and folder / arf).notice(0.5, 7.0)
    expected = np.asarray(spectrum.predict(Power(1.7, 1e-4)))
    assert np.all(expected > 0) and np.all(np.isfinite(expected))
    assert spectrum.edges.min() >= 0.5 - 1e-5 and spectrum.edges.max() <= 7.0 + 1e-5


def test_gratings_name_their_missing_response(shared: Path) -> None:
    with pytest.raises(SkyfoldError, match="RESPFILE names '3c120_heg_1.rmf'"):
        Spectrum.read(shared / "data/xray/sherpa/3c120_heg_1.pha.gz")


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
    assert all(isinstance(leaf, np.ndarray) and leaf.dtype == np.float64 for leaf in jax.tree.leaves(one))


# -- files ----------------------------------------------------------------------------------------------------------


def test_background_is_scaled_and_not_fitted(tmp_path: Path) -> None:
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
    with pytest.warns(BackgroundNotFittedWarning, match=r"back\.pha is shown but NOT fitted"):
        spectrum = Spectrum.read(path)
    sizes = np.diff(spectrum.channels, axis=1)[:, 0] + 1
    np.testing.assert_allclose(spectrum.background_counts, sizes * 8.0 / (2 * 2 * 5))
    np.testing.assert_allclose(spectrum.background_variance, sizes * 8.0 / (2 * 2 * 5) ** 2)
    assert spectrum.background.counts.sum() == 640
    assert len(spectrum.notice(1, 3).background_counts) == spectrum.notice(1, 3).n_data
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Spectrum.read(path, background="none").background_counts is None


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
