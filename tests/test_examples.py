"""The examples run, and say what they promise."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.mark.filterwarnings("ignore::skyfold.errors.SkyfoldWarning")
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_example(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    runpy.run_path(str(path), run_name="__main__")
    shown = capsys.readouterr().out
    assert "powerlaw.PhoIndex" in shown
    assert "NOT CONVERGED" not in shown


def test_job_can_be_read() -> None:
    from skyfold.xray.job import read_job

    job = read_job(EXAMPLES / "job.toml")
    assert job.method.name == "nuts"
    assert job.sources[0].spectrum.is_file()
