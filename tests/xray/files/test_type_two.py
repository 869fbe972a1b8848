"""Type II PHA files: several spectra in one table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from broken_files import write

from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.xray.files.read import background_of_row, count_spectra, read_pha
from skyfold.xray.spectrum import Spectrum

N = 80


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three spectra of 80 channels, with exposure, response and sides of its own in each row, beside a type I set."""
    write(tmp_path)
    rng = np.random.default_rng(1)
    columns = [
        fits.Column("SPEC_NUM", "I", array=[1, 2, 3]),
        fits.Column("EXPOSURE", "D", unit="s", array=[100.0, 200.0, 300.0]),
        fits.Column("RESPFILE", "20A", array=["good.rmf"] * 3),
        fits.Column("ANCRFILE", "20A", array=["good.arf"] * 3),
        fits.Column("CHANNEL", f"{N}I", array=np.tile(np.arange(N), (3, 1))),
        fits.Column("COUNTS", f"{N}J", array=rng.poisson(5.0, (3, N))),
        fits.Column("QUALITY", "I", array=[0, 0, 0]),
        fits.Column("BACKGROUND_UP", f"{N}I", array=rng.poisson(3.0, (3, N))),
        fits.Column("BACKGROUND_DOWN", f"{N}I", array=rng.poisson(3.0, (3, N))),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    keys = {"HDUCLASS": "OGIP", "HDUCLAS1": "SPECTRUM", "HDUCLAS2": "TOTAL", "HDUCLAS4": "TYPE:II", "DETCHANS": N}
    keys |= {"AREASCAL": 1.0, "BACKSCAL": 1.0, "BACKSCUP": 4.0, "BACKSCDN": 2.0, "POISSERR": True, "BACKFILE": "none"}
    table.header.update(keys)
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "two.pha")
    return tmp_path


def test_a_row_reads_like_a_file(folder: Path) -> None:
    path = folder / "two.pha"
    counts = fits.getdata(path, 1)["COUNTS"]
    assert count_spectra(path) == 3 and count_spectra(folder / "good.pha") == 1
    for row in (1, 2, 3):
        pha = read_pha(path, row)
        np.testing.assert_array_equal(pha.counts, counts[row - 1])
        assert pha.exposure == 100.0 * row and pha.poisson and pha.response_file == "good.rmf"
        np.testing.assert_array_equal(read_pha(f"{path}{{{row}}}").counts, pha.counts)
    spectrum = Spectrum.read(path, row=2)
    assert spectrum.name == "two_2" and spectrum.exposure == 200.0
    both = fits.getdata(path, 1)
    up_and_down = (both["BACKGROUND_UP"] + both["BACKGROUND_DOWN"])[1]
    np.testing.assert_allclose(spectrum.background_counts, up_and_down / 6.0)
    assert spectrum.likelihood.statistic_name == "W-stat"
    assert Spectrum.read(path, row=2, background="none").background is None


def test_all_rows(folder: Path) -> None:
    path = folder / "two.pha"
    whole = Spectrum.read_all(path)
    assert [s.name for s in whole] == ["two_1", "two_2", "two_3"]
    some = Spectrum.read_all(path, response=[folder / "good.rmf"] * 2, rows=(3, 1))
    assert [s.exposure for s in some] == [300.0, 100.0]
    with pytest.raises(SkyfoldError, match="lists 1 files for 3 spectra"):
        Spectrum.read_all(path, arf=[folder / "good.arf"])
    assert len(Spectrum.read_all(folder / "good.pha")) == 1


def test_which_row_must_be_said(folder: Path) -> None:
    path = folder / "two.pha"
    with pytest.raises(FileFormatError, match=r"3 spectra.*row=N.*1 \(SPEC_NUM 1, \d+ counts\); 2 "):
        read_pha(path)
    for wrong in (0, 4):
        with pytest.raises(FileFormatError, match=f"it has no row {wrong}"):
            read_pha(path, wrong)
    with pytest.raises(FileFormatError, match="row 2 names no single PHA spectrum: the file holds one"):
        read_pha(folder / "good.pha", 2)
    with pytest.raises(FileFormatError, match=r"the selector \{2\} names no single"):
        read_pha(f"{folder / 'good.pha'}{{2}}")
    with fits.open(path, mode="update") as file:
        file[1].data["COUNTS"][1, 4] = -3
    with pytest.raises(FileFormatError, match=r"two\.pha: HDU SPECTRUM, column COUNTS, row 2: element 5: .* negative"):
        read_pha(path, 2)
    assert read_pha(path, 1).counts.sum() > 0


def test_a_row_is_the_spectrum_that_was_split_off(shared: Path) -> None:
    folder = shared / "data/xray/sherpa"
    for name, row in (("heg_-1", 3), ("heg_1", 4), ("meg_-1", 9), ("meg_1", 10)):
        pha = read_pha(folder / "3c120_pha2.gz", row)
        other = read_pha(folder / f"3c120_{name}.pha.gz")
        np.testing.assert_array_equal(pha.counts, other.counts)
        np.testing.assert_array_equal(pha.channels, other.channels)
        behind = background_of_row(folder / "3c120_pha2.gz", row)
        assert behind is not None and behind.counts.sum() > 0
        np.testing.assert_allclose(behind.back_scaling, 8.0376568, rtol=1e-6)
