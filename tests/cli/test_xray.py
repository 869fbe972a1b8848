"""``skyfold xray`` and ``skyfold fit``: what is fitted, printed and written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken_files import records, write
from invocation import FIXED, MODEL, Run

from skyfold.errors import SkyfoldError
from skyfold.naming import parameter_names
from skyfold.parameters import Parameter
from skyfold.posterior import Posterior
from skyfold.priors import LogNormal, Uniform
from skyfold.xray.files.records import Arf
from skyfold.xray.joint_models import build_models

#: Leaves three parameters of the demo's model free.
THREE_FREE = (
    *(
        "-p",
        "tbabs.nH=Uniform(0,1)",
        "-p",
        "powerlaw.PhoIndex=Uniform(0,5)",
        "-p",
        "powerlaw.norm=LogUniform(1e-6,1e-2)",
    ),
    *FIXED[6:],
)
NUMBERS = {"best", "median", "mean", "sd", "q05", "q16", "q84", "q95", "ess", "rhat"}


def check_summary(summary: dict[str, Any]) -> None:
    """Check the keys and types that the documentation promises."""
    statistic = summary["statistic"]
    assert isinstance(statistic["name"], str)
    assert isinstance(statistic["value"], float)
    assert isinstance(statistic["n_data"], int)
    assert isinstance(statistic["dof"], int)
    for numbers in summary["parameters"].values():
        assert set(numbers) >= NUMBERS
        assert all(numbers[key] is None or isinstance(numbers[key], float) for key in NUMBERS)
    assert isinstance(summary["method"], str)
    assert isinstance(summary["converged"], bool)
    assert isinstance(summary["evaluations"], int)
    assert isinstance(summary["seed"], int)
    assert summary["log_evidence"] is None or isinstance(summary["log_evidence"], float)
    assert set(summary["seconds"]) == {"import", "load", "compile", "sample", "total"}
    assert summary["seconds"]["total"] >= summary["seconds"]["load"] > 0
    assert {"skyfold", "python", "jax", "numpy"} <= set(summary["versions"])


def test_nothing_free_reports_the_statistic(demo: Path, tmp_path: Path, run: Callable[..., Run]) -> None:
    found = run("xray", demo, "-m", MODEL, *FIXED, "-e", 0.5, 8, "--out", tmp_path / "out")
    assert found.code == 0
    name, value, *rest = found.out.splitlines()[0].split()
    assert name == "W-stat"
    without = run("xray", demo, "-m", MODEL, *FIXED, "-e", 0.5, 8, "--background", "none")
    assert without.out.startswith("C-stat")
    assert rest[0] == "for"
    assert rest[2] == "data"
    assert 0.6 * int(rest[1]) < float(value) < 1.5 * int(rest[1])  # at the truth: about one per datum
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["summary.json"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    check_summary(summary)
    assert summary["parameters"] == {}
    assert summary["statistic"]["dof"] == int(rest[1])


def test_statistic_of_reference(shared: Path, run: Callable[..., Run]) -> None:
    """Swift XRT, C-stat of other programs: 568.52 for the 771 channels 29 to 799 counted from zero."""
    folder = shared / "data" / "xray" / "sherpa"
    fixed = ("-m", "powerlaw", "-s", "powerlaw.PhoIndex=1", "-s", "powerlaw.norm=3e-4")
    files = (folder / "target_sr.pha", "--response", folder / "swxpc0to12s6_20130101v014.rmf.gz")
    found = run("xray", *files, "--arf", folder / "target_sr.arf", *fixed, "-e", 0.29, 8.0)
    assert found.out.strip() == "C-stat 568.52 for 771 data"


def test_statistics_groups_and_channels_of_reference(shared: Path, run: Callable[..., Run]) -> None:
    """Chandra 3C 273: numbers of Sherpa 4.19, channels 36 to 479 one by one and in the file's groups."""
    path = shared / "data" / "xray" / "sherpa" / "3c273.pi"
    fixed = (path, "-m", "powerlaw", "-s", "powerlaw.PhoIndex=1", "-s", "powerlaw.norm=1e-4")
    single = (*fixed, "--channels", 36, 479, "--group", "none")
    assert run("xray", *single).out.strip() == "W-stat 730.08 for 444 data"
    assert run("xray", *single, "--background", "none").out.strip() == "C-stat 725.91 for 444 data"
    assert run("xray", *single, "--statistic", "cash").out.strip() == "Cash 577.39 for 444 data"
    subtracted = ("--statistic", "chi2-gehrels", "--subtract")
    assert run("xray", *single, *subtracted).out.strip() == "chi2 166.30 for 444 data"
    grouped = (*fixed, "--channels", 40, 450, "--statistic", "chi2-data")
    assert run("xray", *grouped).out.strip() == "chi2 381.79 for 40 data"
    assert "there is no statistic" in run("xray", *fixed, "--statistic", "best").err.lower()
    assert "needs a chi-squared" in run("xray", *fixed, "--subtract", "--statistic", "wstat").err


def test_several_spectra_without_anything_free(demo: Path, run: Callable[..., Run]) -> None:
    one = run("xray", demo, "-m", MODEL, *FIXED).out.split()
    two = run("xray", demo, demo, "-m", f"constant*{MODEL}", *FIXED, "-s", "constant_2.factor=1").out.splitlines()
    assert float(two[-1].split()[1]) == pytest.approx(2 * float(one[1]), abs=0.01)
    assert len(two) == 3


def test_point_fit_writes_everything(demo: Path, tmp_path: Path, run: Callable[..., Run]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    (out / "summary.json").write_text("replaced")
    found = run("xray", demo, "-m", MODEL, *THREE_FREE, "-e", 0.5, 8, "--method", "mle", "--no-figures", "--out", out)
    assert found.code == 0, found.err
    assert "powerlaw.PhoIndex" in found.out
    assert sorted(p.name for p in out.iterdir()) == ["mine.txt", "posterior.nc", "summary.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    summary = json.loads((out / "summary.json").read_text())
    check_summary(summary)
    assert list(summary["parameters"]) == ["tbabs.nH", "powerlaw.PhoIndex", "powerlaw.norm"]
    for name, truth in (("tbabs.nH", 0.1), ("powerlaw.PhoIndex", 2.0), ("powerlaw.norm", 3e-4)):
        numbers = summary["parameters"][name]
        assert abs(numbers["best"] - truth) < 5 * numbers["sd"] < truth
    assert summary["statistic"]["dof"] == summary["statistic"]["n_data"] - 3


def test_job_file_says_the_same(demo: Path, tmp_path: Path, run: Callable[..., Run]) -> None:
    options = run("xray", demo, "-m", MODEL, *THREE_FREE, "-e", 0.5, 8, "--method", "mle")
    job = tmp_path / "job.toml"
    job.write_text(
        f"""
        model = "{MODEL}"
        energies = [0.5, 8.0]
        [method]
        name = "mle"
        [[observation]]
        spectrum = "{demo}"
        [priors]
        "tbabs.nH" = "Uniform(0, 1)"
        "powerlaw.PhoIndex" = "Uniform(0, 5)"
        "powerlaw.norm" = "LogUniform(1e-6, 1e-2)"
        [values]
        "bbodyrad.kT" = 0.75
        "bbodyrad.norm" = 0.2
        [output]
        folder = "out"
        figures = false
        """
    )
    found = run("fit", job)
    assert found.code == 0, found.err
    assert found.out.replace(f"written to {tmp_path / 'out'}\n", "") == options.out
    assert (tmp_path / "out" / "posterior.nc").is_file()


def test_not_converged_ends_with_1(demo: Path, tmp_path: Path, run: Callable[..., Run]) -> None:
    job = tmp_path / "job.toml"
    job.write_text(
        f"""
        model = "{MODEL}"
        energies = [0.5, 8.0]
        [method]
        name = "mle"
        max_steps = 1
        [[observation]]
        spectrum = "{demo}"
        [output]
        folder = "out"
        figures = false
        """
    )
    found = run("fit", job)
    assert found.code == 1
    assert "NOT CONVERGED" in found.out
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["converged"] is False


def test_what_is_stale_is_taken_away(demo: Path, tmp_path: Path, run: Callable[..., Run]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("posterior.nc", "corner.png", "mine.png"):
        (out / name).write_text("old")
    assert run("xray", demo, "-m", MODEL, *FIXED, "--out", out).code == 0
    assert sorted(p.name for p in out.iterdir()) == ["mine.png", "summary.json"]


def test_absurd_counts_lose_no_fit(demo: Path, tmp_path: Path, run: Callable[..., Run]) -> None:
    """No data can be drawn of 1e25 expected counts and more; the spectrum reaches down to 0 keV."""
    options = ("--prior", "powerlaw.PhoIndex=Uniform(8,10)", "--set", "powerlaw.norm=1e24", "--method", "mle")
    found = run("xray", demo, "-m", "powerlaw", *options, "--out", tmp_path / "out")
    assert found.code in (0, 1), found.err
    assert "posterior predictive check: none" in found.out
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert {"posterior.nc", "summary.json", "spectrum.png", "model.pdf"} <= names
    goodness = json.loads((tmp_path / "out" / "summary.json").read_text())["goodness"]
    assert goodness["p_value"] is None and goodness["replicates"] == 0
    assert "no data can be drawn for 'demo'" in goodness["note"]


@pytest.mark.parametrize("where", ["option", "file", "both"])
def test_checkpoint_is_handed_on(
    where: str, demo: Path, tmp_path: Path, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def fit(*_: object, **options: object) -> None:
        seen.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Posterior, "fit", fit)
    own, other = tmp_path / "run.npz", tmp_path / "other.npz"
    if where == "option":
        found = run("xray", demo, "-m", "powerlaw", "--checkpoint", own)
    else:
        job = tmp_path / "job.toml"
        job.write_text(
            f"model = 'powerlaw'\n[[observation]]\nspectrum = '{demo}'\n[output]\n"
            f"checkpoint = '{own.name if where == 'file' else other.name}'"
        )
        found = run("fit", job, *(("--checkpoint", own) if where == "both" else ()))
    assert found.code == 130
    assert seen["checkpoint"] == own


def test_blind_groups_are_complained_of_where_they_are_noticed(tmp_path: Path, run: Callable[..., Run]) -> None:
    arf = records()[2]
    path = write(tmp_path, arf=Arf(None, arf.edges, np.where(arf.edges[:-1] < 1.2, 0.0, arf.area)))
    fixed = ("-m", "powerlaw", "-s", "powerlaw.PhoIndex=2", "-s", "powerlaw.norm=1e-3")
    assert "response is zero" in run("xray", path, *fixed).err
    assert "response is zero" in run("xray", path, *fixed, "-e", 0.5, 8).err
    assert run("xray", path, *fixed, "-e", 2, 8).err == ""


# -- several spectra -------------------------------------------------------------------------------------------------


def test_leading_constant_belongs_to_each_spectrum() -> None:
    models = build_models("constant*tbabs*powerlaw", 3, {"constant_3.factor": LogNormal(0, 0.1)}, {"tbabs.nH": 0.2})
    named = parameter_names(models)
    free = [name for name, entry in named.items() if isinstance(entry.value, Parameter)]
    assert free == ["powerlaw.PhoIndex", "powerlaw.norm", "constant_2.factor", "constant_3.factor"]
    assert named["constant.factor"].value == 1.0
    assert repr(named["constant_3.factor"].value.prior) == "LogNormal(0, 0.1)"
    assert named["tbabs.nH"].value == 0.2


def test_first_constant_may_be_free() -> None:
    named = parameter_names(build_models("constant*powerlaw", 2, {"constant.factor": Uniform(0.5, 2)}, {}))
    assert isinstance(named["constant.factor"].value, Parameter)
    assert isinstance(named["constant_2.factor"].value, Parameter)


def test_constants_inside_count_first() -> None:
    models = build_models("constant*(powerlaw+constant*bbodyrad)", 2, {}, {"constant_3.factor": 1.5})
    named = parameter_names(models)
    assert isinstance(named["constant_2.factor"].value, Parameter)  # shared, inside
    factors = [model.parts[0].value for model in models]
    assert factors == [1.0, 1.5]


def test_without_a_constant_everything_is_shared() -> None:
    models = build_models("tbabs*powerlaw", 2, {}, {})
    assert list(parameter_names(models)) == ["tbabs.nH", "powerlaw.PhoIndex", "powerlaw.norm"]
    with pytest.raises(SkyfoldError, match="constant_2.factor"):
        build_models("tbabs*powerlaw", 2, {"constant_2.factor": Uniform(0, 1)}, {})


def test_redshift_sets_every_redshift() -> None:
    (model,) = build_models("ztbabs*(zgauss+zgauss)", 1, {}, {}, redshift=0.3)
    named = parameter_names([model])
    assert [named[f"{c}.Redshift"].value for c in ("ztbabs", "zgauss", "zgauss_2")] == [0.3, 0.3, 0.3]
    for given in ({"zgauss_2.Redshift": Uniform(0, 1)}, {}), ({}, {"zgauss_2.Redshift": 0.5}):
        with pytest.raises(SkyfoldError, match=r"zgauss_2\.Redshift.*give one of them"):
            build_models("ztbabs*(zgauss+zgauss)", 1, *given, redshift=0.3)


def test_default_priors_stay() -> None:
    (model,) = build_models("powerlaw", 1, {}, {})
    assert np.all([isinstance(v, Parameter) for v in model.parameters.values()])


@pytest.mark.parametrize("given", [("--set", "tbabs.nH=-0.1"), ("--prior", "tbabs.nH=Uniform(-1,1)")], ids=str)
def test_values_and_priors_outside_the_hard_limits_are_refused(
    given: tuple[str, str], demo: Path, tmp_path: Path, run: Callable[..., Run]
) -> None:
    found = run("xray", demo, "-m", "tbabs*powerlaw", *given, "--method", "mle", "--out", tmp_path / "out")
    assert found.code == 2 and "the limits of 'tbabs.nH' (hydrogen column) are 0 and 1e+06" in found.err
