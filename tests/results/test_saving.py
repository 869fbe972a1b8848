"""Saving where nothing can be written: an error that names the file that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import direct

import skyfold as sf


@pytest.fixture(scope="module")
def result() -> sf.Result:
    return direct([1.0], [0.5], sf.Normal(0, 1)).fit("mle")


def test_to_a_folder(result: sf.Result, tmp_path: Path) -> None:
    with pytest.raises(sf.SkyfoldError, match=f"{tmp_path}: this is a folder"):
        result.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_to_a_folder_that_is_not_there(result: sf.Result, tmp_path: Path) -> None:
    with pytest.raises(sf.SkyfoldError, match=f"{tmp_path / 'no' / 'fit.nc'}: there is no folder"):
        result.save(tmp_path / "no" / "fit.nc")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_where_no_file_can_be_made(result: sf.Result) -> None:
    with pytest.raises(sf.SkyfoldError, match=r"^/proc/fit\.nc: the file cannot be written") as error:
        result.save("/proc/fit.nc")
    assert ".part" not in str(error.value)
