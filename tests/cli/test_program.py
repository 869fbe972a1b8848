"""How the program ends, and its small commands."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest
from invocation import FIXED, MODEL, Run

import skyfold
from skyfold.cli import main
from skyfold.cli.demo import compare
from skyfold.data import demo_truth
from skyfold.errors import SkyfoldError
from skyfold.inference import METHODS, find
from skyfold.jobs.folder import written_whole
from skyfold.jobs.job import Job


def test_help_and_version(run: Callable[..., Run]) -> None:
    found = run("--help")
    assert found.code == 0
    assert all(command in found.out for command in ("xray", "fit", "models", "demo", "doctor"))
    assert run("--version").out == f"skyfold {skyfold.__version__}\n"
    for command in ("xray", "fit", "models", "demo", "doctor"):
        assert run(command, "--help").code == 0


def test_models(run: Callable[..., Run]) -> None:
    assert "powerlaw" in run("models").out
    found = run("models", "bbodyrad")
    assert found.code == 0
    assert all(word in found.out for word in ("kT", "keV", "Uniform", "norm"))
    assert ":math:" not in found.out + run("models").out


def test_doctor(run: Callable[..., Run]) -> None:
    found = run("doctor")
    assert found.code in (0, 1)
    assert all(word in found.out for word in ("Python", "jax", "64-bit floats", "devices", "compile and run"))


@pytest.mark.parametrize("error", [RuntimeError("deep\ninside"), MemoryError("much")])
def test_inner_error(error: Exception, demo: Path, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Job, *_: object) -> None:
        raise error

    monkeypatch.setattr(Job, "run", fail)
    found = run("xray", demo, "-m", "powerlaw")
    assert found.code == 70
    assert type(error).__name__ in found.err
    assert found.err.count("\n") == 1
    monkeypatch.setenv("SKYFOLD_DEBUG", "1")
    with pytest.raises(type(error)):
        main(["xray", str(demo), "-m", "powerlaw"])


def test_interrupt(demo: Path, tmp_path: Path, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    from skyfold.posterior import Posterior

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Posterior, "fit", fail)
    found = run("xray", demo, "-m", "powerlaw", "--out", tmp_path / "out")
    assert found.code == 130
    assert "interrupted" in found.err
    assert list(tmp_path.iterdir()) == []


def test_interrupted_draws_are_kept(
    demo: Path, tmp_path: Path, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    from skyfold.posterior import Posterior
    from skyfold.results.result import Result

    fit = Posterior.fit

    def interrupted(*arguments: object, **options: object) -> Result:
        result = fit(*arguments, **options)
        result.draws.diagnostics["interrupted"] = 1.0
        return result

    monkeypatch.setattr(Posterior, "fit", interrupted)
    free = ("-p", "powerlaw.norm=LogUniform(1e-6, 1e-2)")
    options = ("-m", MODEL, *FIXED[:4], *free, *FIXED[6:], "--method", "mle", "--no-figures")
    found = run("xray", demo, *options, "--out", tmp_path / "out")
    assert found.code == 130
    assert (tmp_path / "out" / "posterior.nc").is_file()


def test_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with pytest.raises(RuntimeError), written_whole(out) as folder:
        (folder / "half").write_text("")
        raise RuntimeError
    assert list((tmp_path / "deep").iterdir()) == []
    with written_whole(out) as folder:
        (folder / "whole").write_text("1")
    with written_whole(out) as folder:
        (folder / "whole").write_text("2")
        (folder / "more").write_text("3")
    assert {p.name: p.read_text() for p in out.iterdir()} == {"whole": "2", "more": "3"}
    with pytest.raises(SkyfoldError, match="is a file"), written_whole(out / "whole" / "below"):
        pass
    with written_whole(out, own=("whole", "never")) as folder:
        (folder / "more").write_text("4")
    assert {p.name: p.read_text() for p in out.iterdir()} == {"more": "4"}


def test_methods_are_listed_everywhere(run: Callable[..., Run]) -> None:
    for command in ("xray", "demo"):
        text = run(command, "--help").out
        assert f"One of {', '.join(METHODS)}." in " ".join(text.split())
    for name in METHODS:  # the table of docs/methods.md is made of these
        method = find(name)
        assert method.name == name
        assert inspect.getdoc(type(method))


def test_32_bits_are_said(demo: Path, tmp_path: Path, run: Callable[..., Run]) -> None:
    try:
        jax.config.update("jax_enable_x64", False)
        found = run("xray", demo, "-m", MODEL, *FIXED, "--out", tmp_path)
    finally:
        jax.config.update("jax_enable_x64", True)
    assert found.code == 0
    assert "warning: JAX computes with 32-bit floats" in found.err
    assert "32-bit" in json.loads((tmp_path / "summary.json").read_text())["warnings"][0]
    assert "32-bit" not in run("xray", demo, "-m", MODEL, *FIXED).err


def test_a_figure_that_fails_costs_no_result(
    demo: Path, tmp_path: Path, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    from skyfold.results.result import Result

    def fail(*_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr(Result, "save_figures", fail)
    free = ("-p", "powerlaw.norm=LogUniform(1e-6, 1e-2)")
    found = run("xray", demo, "-m", MODEL, *FIXED[:4], *free, *FIXED[6:], "--method", "mle", "-o", tmp_path / "out")
    assert found.code == 70
    assert "no ink" in found.err and "results are written" in found.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["posterior.nc", "summary.json"]


def test_demo(tmp_path: Path, run: Callable[..., Run]) -> None:
    found = run("demo", "--no-figures", "--out", tmp_path / "out")
    assert found.code == 0, found.err
    assert "5 true values lie inside their 90% interval" in found.out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    for name, value in demo_truth()["parameters"].items():
        numbers = summary["parameters"][name]
        assert abs(numbers["mean"] - value) < 4 * numbers["sd"]


def test_compare() -> None:
    marginals = [SimpleNamespace(name="a", q05=1.0, q95=2.0), SimpleNamespace(name="b", q05=1.0, q95=2.0)]
    text = compare(SimpleNamespace(marginals=marginals), {"a": 1.5, "b": 3.0})
    assert "1 of 2 true values" in text
    assert [line.split()[-1] for line in text.splitlines()[3:5]] == ["yes", "no"]
