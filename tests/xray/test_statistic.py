"""Statistics, backgrounds and groups of real spectra against Sherpa, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from broken_files import records, write
from plain_models import Power

import skyfold as sf
from skyfold.errors import SkyfoldError
from skyfold.posterior import Posterior
from skyfold.xray.files.write import write_pha
from skyfold.xray.models.absorption import PHabs
from skyfold.xray.models.powerlaws import PowerLaw
from skyfold.xray.spectrum import Spectrum

NAMES = {
    "cash": "cash",
    "cstat": "cstat",
    "wstat": "wstat",
    "chi2gehrels": "chi2-gehrels",
    "chi2datavar": "chi2-data",
    "chi2xspecvar": "chi2-xspec",
    "chi2constvar": "chi2-const",
    "chi2modvar": "chi2-model",
}


@pytest.mark.parametrize("number", range(6))
def test_statistics_are_sherpa_s(number: int, shared: Path) -> None:
    """The last two cases, of source_bin10.pi, name a response that is not among the files."""
    case = json.loads((shared / "reference/sherpa_statistics.json").read_text())["cases"][number]
    folder = shared / "data/xray/sherpa"
    whole = Spectrum.read(folder / case["file"])
    spectrum = (whole if case["grouped"] else whole.group("none")).notice(tuple(case["channels"]), channels=True)
    assert spectrum.n_data == case["n_bins"] and spectrum.counts.sum() == case["counts"]
    for values in case["values"]:
        expected = spectrum.predict(Power(values["PhoIndex"], values["norm"]))
        for key, value in values["statistics"].items():
            name, _, subtracted = key.partition("/")
            seen = spectrum.with_background(None) if name == "cstat" else spectrum
            found = seen.with_statistic(NAMES[name], subtract=bool(subtracted)).statistic(expected)
            # cash crosses zero
            assert float(found) == pytest.approx(value, rel=1e-6, abs=1e-6 * spectrum.counts.sum()), key


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Spectrum of 80 channels with a background that is 5 times as large and seen twice as long."""
    pha, _, _ = records()
    counts = np.random.default_rng(3).poisson(2.0, 80).astype(float)
    other = replace(
        pha, counts=counts, exposure=2 * pha.exposure, back_scaling=5 * pha.back_scaling, grouping=np.zeros(80, int)
    )
    write_pha(tmp_path / "back.pha", other)
    return write(tmp_path, pha=replace(pha, background_file="back.pha"))


def test_nothing_said_is_w_stat(pair: Path) -> None:
    spectrum = Spectrum.read(pair)
    assert spectrum.likelihood.statistic_name == "W-stat" and not spectrum.background_unused
    np.testing.assert_allclose(spectrum.likelihood.ratio, 0.1)
    assert spectrum.with_background(None).likelihood.statistic_name == "C-stat"
    assert spectrum.with_background("none").with_background(spectrum.background).likelihood.statistic_name == "W-stat"
    kept = spectrum.with_statistic("chi2-data", subtract=True).notice(1, 5)
    np.testing.assert_allclose(kept.data, spectrum.notice(1, 5).counts - spectrum.notice(1, 5).background_counts)
    assert kept.notice(1, 3).with_background(None).likelihood.statistic_name == "chi2"
    # the order of choosing and noticing is no matter, though these variances depend on all data
    for name in ("chi2-const", "chi2-xspec"):
        one = spectrum.with_statistic(name).notice(1, 5).likelihood
        np.testing.assert_array_equal(one.sigma, spectrum.notice(1, 5).with_statistic(name).likelihood.sigma)


def test_a_background_may_be_integrated_out(pair: Path) -> None:
    spectrum = Spectrum.read(pair).with_statistic("marginal")
    assert spectrum.likelihood.statistic_name == "marginal" and not spectrum.background_unused
    assert spectrum.with_background(None).likelihood.statistic_name == "C-stat"
    result = Posterior((PowerLaw(), spectrum.notice(1, 5))).fit("laplace", seed=1, progress=False)
    assert 0.0 < result.goodness.p_value < 1.0 and np.isfinite(result.statistic["value"])


def test_a_background_with_errors_gives_pg_stat(pair: Path) -> None:
    spectrum = Spectrum.read(pair)
    rate = replace(spectrum.background, poisson=False, stat_err=np.full(80, 3.0))
    seen = spectrum.with_background(rate)
    assert seen.likelihood.statistic_name == "PG-stat"
    sizes = np.diff(seen.channels, axis=1)[:, 0] + 1
    np.testing.assert_allclose(seen.likelihood.sigma, 0.1 * 3.0 * np.sqrt(sizes))
    with pytest.raises(SkyfoldError, match="'wstat' is for a background of counts"):
        seen.with_statistic("wstat")


def test_a_background_without_exposure_in_a_group_is_refused_where_it_is_fitted(pair: Path) -> None:
    spectrum = Spectrum.read(pair)
    area = np.where(np.arange(80) < 10, 0.0, 1.0)
    blind = spectrum.with_background(replace(spectrum.background, area_scaling=area)).group("none")
    with pytest.raises(SkyfoldError, match="says nothing of"):
        Posterior((PowerLaw(), blind))
    first = int(blind.channels[0, 0])
    Posterior((PowerLaw(), blind.ignore((first, first + 9), channels=True)))


def test_groups_of_noticed_channels(pair: Path) -> None:
    spectrum = Spectrum.read(pair)
    single = spectrum.group("none")
    assert np.all(single.channels[:, 0] == single.channels[:, 1])
    np.testing.assert_array_equal(single.group("file").channels, spectrum.channels)
    noticed = single.ignore((20, 30), channels=True)
    ten = noticed.group("min:10")
    assert ten.counts.min() >= 10 and ten.counts.sum() == noticed.counts.sum()
    assert not np.any((ten.channels[:, 0] <= 30) & (ten.channels[:, 1] >= 20))
    np.testing.assert_allclose(ten.predict(Power(2.0, 1e-3)).sum(), noticed.predict(Power(2.0, 1e-3)).sum())
    assert np.all(np.diff(noticed.group("width:3").channels, axis=1)[:-1] >= 2)
    net = noticed.group("snr:2")
    assert np.all((net.counts - net.background_counts) >= 2 * np.sqrt(net.counts + net.background_variance))
    off = noticed.group("constmin:7")
    assert off.likelihood.off.min() >= 7
    for how, problem in (
        ("best", "no grouping"),
        ("min", "no grouping"),
        ("min:-1", "above zero"),
        ("none:3", "no gr"),
    ):
        with pytest.raises(SkyfoldError, match=problem):
            spectrum.group(how)
    with pytest.raises(SkyfoldError, match="needs a background"):
        spectrum.with_background(None).group("constmin:5")


def test_what_is_refused(pair: Path) -> None:
    spectrum = Spectrum.read(pair)
    with pytest.raises(SkyfoldError, match="There is no statistic"):
        spectrum.with_statistic("best")
    with pytest.raises(SkyfoldError, match="needs a chi-squared"):
        spectrum.with_statistic("wstat", subtract=True)
    with pytest.raises(SkyfoldError, match="needs a background"):
        spectrum.with_background(None).with_statistic("pgstat")
    replaced = spectrum.with_data(np.ones(spectrum.n_data))
    with pytest.raises(SkyfoldError, match="other data than its files"):
        replaced.with_statistic("cash")
    net = replace(spectrum.files.pha, poisson=False, stat_err=np.ones(80))
    rate = Spectrum.assemble(net, spectrum.files.rmf, spectrum.files.arf)
    with pytest.raises(SkyfoldError, match="use 'chi2-file'"):
        rate.with_statistic("cstat")


def test_best_fits_are_sherpa_s(shared: Path) -> None:
    """3C 273 in the file's groups, 0.5 to 7 keV: without background, and with it under W-stat."""
    case = json.loads((shared / "reference/sherpa_statistics.json").read_text())["cases"][2]
    spectrum = Spectrum.read(shared / "data/xray/sherpa" / case["file"]).notice(tuple(case["channels"]), channels=True)
    source = PowerLaw(PhoIndex=sf.Uniform(-3, 9), norm=sf.LogUniform(1e-8, 1e-1))
    for fit in case["fits"]:
        seen = spectrum if fit["statistic"] == "wstat" else spectrum.with_background(None)
        result = Posterior((source, seen)).fit("mle", progress=False)
        assert result.statistic["value"] == pytest.approx(fit["statistic_value"], rel=1e-9)
        assert result.best["powerlaw.PhoIndex"] == pytest.approx(fit["PhoIndex"], abs=1e-6)
        assert result.best["powerlaw.norm"] == pytest.approx(fit["norm"], rel=1e-6)


def test_a_subtracted_background_of_reference(shared: Path) -> None:
    """Printed: chi2 37.9079 for 42 dof, PhoIndex 2.15852, norm 2.2484e-4; its absorption is that of bin centres."""
    spectrum = Spectrum.read(shared / "data/xray/sherpa/3c273.pi").ignore((6.6, None))
    seen = spectrum.with_statistic("chi2-gehrels", subtract=True)
    source = PHabs(nH=0.07, abundances="angr", cross_sections="bcmc") * PowerLaw(
        PhoIndex=sf.Uniform(-3, 9), norm=sf.LogUniform(1e-8, 1e-1)
    )
    result = Posterior((source, seen)).fit("mle", progress=False)
    assert result.statistic["dof"] == 42
    assert result.statistic["value"] == pytest.approx(37.9079, abs=0.003)
    assert result.best["powerlaw.PhoIndex"] == pytest.approx(2.15852, abs=1e-3)
    assert result.best["powerlaw.norm"] == pytest.approx(2.2484e-4, rel=1e-3)
