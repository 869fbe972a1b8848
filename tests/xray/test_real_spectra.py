"""Real spectra: statistics that other programs give, and that every kind of file folds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain_models import Power

from skyfold.errors import SkyfoldError
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.xray.files.read import read_pha
from skyfold.xray.files.write import write_pha
from skyfold.xray.models.absorption import PHabs
from skyfold.xray.models.powerlaws import PowerLaw
from skyfold.xray.spectrum import Spectrum

quiet = pytest.mark.filterwarnings("ignore::skyfold.errors.SkyfoldWarning")


def cstat(spectrum: Spectrum, index: float, norm: float) -> float:
    return float(spectrum.statistic(spectrum.predict(Power(index, norm))))


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
    beside = read_pha(folder / "3c273_bg.pi")
    scaling = np.where((beside.channels > 150) & (beside.channels < 250), 1.4, 1.2)
    both = spectrum.with_background(replace(beside, area_scaling=scaling))
    for channels, c, w in (((100, 152), 62.31, 61.82), ((212, 295), 244.80, 242.89), ((8, 772), 1063.09, 1043.85)):
        assert cstat(spectrum.notice(channels, channels=True), 1.0, 1e-4) == pytest.approx(c, abs=0.0051)
        assert cstat(both.notice(channels, channels=True), 1.0, 1e-4) == pytest.approx(w, abs=0.0051)


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
