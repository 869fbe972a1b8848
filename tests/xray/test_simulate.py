"""Simulated responses and spectra, and the files they are written to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from broken_files import PowerLaw, records

import skyfold
from skyfold.errors import SkyfoldError
from skyfold.xray.files.read import read_arf, read_pha, read_rmf
from skyfold.xray.files.write import write_arf, write_pha, write_rmf
from skyfold.xray.models.absorption import TBabs
from skyfold.xray.models.powerlaws import PowerLaw as FittedPowerLaw
from skyfold.xray.models.thermal import BlackbodyRad
from skyfold.xray.simulate import ccd_area, ccd_fwhm, ccd_response, expected_counts, fakeit
from skyfold.xray.spectrum import Spectrum


def test_lines_have_the_width_of_silicon() -> None:
    assert ccd_fwhm(5.9) == pytest.approx(0.130, abs=0.005)
    rmf, _ = ccd_response(channel_width=0.005, n_channels=2400)
    middle = 0.5 * (rmf.edges[1:] + rmf.edges[:-1])
    line = rmf.dense()[:, np.argmin(np.abs(middle - 5.9))]
    assert line.sum() == pytest.approx(1.0, abs=1e-3)
    above = np.flatnonzero(line > 0.5 * line.max())
    assert len(above) * 0.005 == pytest.approx(ccd_fwhm(5.9), abs=0.01)


def test_escape_and_tail_move_photons_down() -> None:
    plain, _ = ccd_response()
    rmf, _ = ccd_response(escape=0.03, tail=0.05)
    middle = 0.5 * (rmf.edges[1:] + rmf.edges[:-1])
    energy = int(np.argmin(np.abs(middle - 6.0)))
    line, sharp = rmf.dense()[:, energy], plain.dense()[:, energy]
    assert line.sum() == pytest.approx(1.0, abs=1e-3)
    assert line.max() == pytest.approx(0.92 * sharp.max(), rel=0.01)
    escape = line[200:226].sum()  # 4.0 to 4.52 keV
    assert escape == pytest.approx(0.03 + 0.05 * 0.52 / 6.0, rel=0.05)
    assert sharp[200:226].sum() < 1e-5


def test_area_has_its_edges() -> None:
    for edge in (0.284, 0.543, 1.56, 1.839, 2.22):
        assert ccd_area(edge + 1e-6) < 0.97 * ccd_area(edge - 1e-6)
    grid = ccd_area(np.linspace(0.2, 12, 500))
    assert np.all(grid > 0) and 800 < grid.max() < 1000


def test_counts_repeat_and_follow_the_model() -> None:
    _, rmf, arf = records()
    one, again = (fakeit(PowerLaw(), rmf, arf, 5e4, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.source.counts, again.source.counts)
    assert np.any(one.source.counts != fakeit(PowerLaw(), rmf, arf, 5e4, seed=4).source.counts)
    np.testing.assert_allclose(one.expected, expected_counts(PowerLaw(), rmf, arf, 5e4))
    pull = (one.source.counts - one.expected)[one.expected > 20] / np.sqrt(one.expected[one.expected > 20])
    assert abs(pull.mean()) < 4 / np.sqrt(len(pull)) and 0.6 < pull.std() < 1.4


def test_expected_counts_are_those_of_the_spectrum() -> None:
    pha, rmf, arf = records()
    spectrum = Spectrum.assemble(pha, rmf, arf)
    expected = spectrum.files.groups.sum(expected_counts(PowerLaw(), rmf, arf, pha.exposure))
    np.testing.assert_allclose(spectrum.predict(PowerLaw()), expected, rtol=1e-10)


@pytest.mark.filterwarnings("ignore::skyfold.errors.BackgroundNotFittedWarning")
def test_background_and_grouping() -> None:
    _, rmf, arf = records()
    fake = fakeit(PowerLaw(), rmf, arf, 2e4, background=1e-3, background_ratio=8.0, min_counts=20, seed=1)
    spectrum = Spectrum.assemble(fake.source, rmf, arf, fake.background)
    assert spectrum.counts.min() >= 20
    assert fake.background.counts.sum() == pytest.approx(80 * 20 * 8, rel=0.05)
    assert spectrum.background_counts.sum() == pytest.approx(20 * (fake.source.quality == 0).sum(), rel=0.1)


def test_written_files_read_back(tmp_path: Path) -> None:
    rmf, arf = ccd_response(
        energies=(0.3, 6), energy_step=0.05, channel_width=0.05, n_channels=150, escape=0.02, tail=0.01, first_channel=1
    )
    fake = fakeit(PowerLaw(), rmf, arf, 1e3, min_counts=5)
    again = read_rmf(write_rmf(tmp_path / "a.rmf", rmf))
    np.testing.assert_array_equal(again.dense(), rmf.dense())
    np.testing.assert_array_equal(again.edges, rmf.edges)
    np.testing.assert_array_equal(again.bounds, rmf.bounds)
    assert again.first_channel == 1
    np.testing.assert_array_equal(read_arf(write_arf(tmp_path / "a.arf", arf)).area, arf.area)
    back = read_pha(write_pha(tmp_path / "a.pha", fake.source))
    np.testing.assert_array_equal(back.counts, fake.source.counts)
    np.testing.assert_array_equal(back.grouping, fake.source.grouping)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.arf", "a.pha", "a.rmf"]


def test_existing_files_are_kept(tmp_path: Path) -> None:
    pha = records()[0]
    path = write_pha(tmp_path / "a.pha", pha)
    before = path.read_bytes()
    with pytest.raises(SkyfoldError, match="exists already"):
        write_pha(path, pha)
    with pytest.raises(SkyfoldError, match="does not exist"):
        write_pha(tmp_path / "no" / "a.pha", pha)
    write_pha(path, pha, overwrite=True)
    assert path.read_bytes() == before


def test_settings_that_make_no_sense() -> None:
    _, rmf, arf = records()
    for wrong in ({"exposure": 0.0}, {"background": -1.0}, {"background_ratio": 0.0}):
        with pytest.raises(SkyfoldError):
            fakeit(PowerLaw(), rmf, arf, **{"exposure": 1.0, **wrong})
    with pytest.raises(SkyfoldError):
        ccd_response(energies=(0.0, 3.0))

    class Broken:
        def evaluate(self, edges: np.ndarray) -> np.ndarray:
            return np.full(len(edges) - 1, np.nan)

    with pytest.raises(SkyfoldError, match="finite"):
        fakeit(Broken(), rmf, arf, 1e3)


@pytest.mark.filterwarnings("ignore::skyfold.errors.BackgroundNotFittedWarning")
def test_demo_agrees_with_its_truth() -> None:
    folder = Path(skyfold.__file__).parent / "data/demo"
    truth = json.loads((folder / "truth.json").read_text())
    spectrum = Spectrum.read(folder / "demo.pha")
    assert spectrum.files.pha.counts.sum() == truth["counts"]
    assert sum(p.stat().st_size for p in folder.iterdir()) < 400_000
    noticed = spectrum.notice(*truth["notice"])
    assert noticed.counts.min() >= 20
    assert noticed.background_counts.sum() < 0.005 * noticed.counts.sum()
    source = (TBabs() * (FittedPowerLaw() + BlackbodyRad())).with_values(truth["parameters"])
    statistic = float(noticed.statistic(noticed.predict(source)))
    # the statistic at the truth has mean n and standard deviation sqrt(2 n) for groups of many counts
    assert abs(statistic - noticed.n_data) < 3 * np.sqrt(2 * noticed.n_data)
