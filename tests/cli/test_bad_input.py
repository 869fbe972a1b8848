"""Bad input ends in exit code 2, one paragraph on standard error, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from broken_files import CASES, Case
from invocation import FIXED, MODEL, Run

POWERLAW = ("--model", "powerlaw", "--set", "powerlaw.PhoIndex=2", "--set", "powerlaw.norm=1e-3")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_broken_files(case: Case, tmp_path: Path, run: Callable[..., Run]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = case.build(folder)
    energies = () if case.notice is None else ("--energies", *case.notice)
    found = run("xray", path, *POWERLAW, *energies, "--out", tmp_path / "out")
    assert found.code == 2
    for word in case.words:
        assert word in found.error
    assert sorted(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "tbabs*(powerlw+bbodyrad)"), ("powerlw", "powerlaw")),
        (("--model", "tbabs*(powerlaw"), ("tbabs*(powerlaw",)),
        (("--model", ""), ()),
        (("--model", "tbabs*powerlaw*bbodyrad"), ("tbabs*powerlaw", "bbodyrad")),
        (("--model", "tbabs"), ("tbabs", "additive")),
        (("--model", "__import__('os')"), ()),
        (("--model", "powerlaw", "--prior", "powerlaw.norm=Uniform(1,0)"), ("low must lie below high",)),
        (("--model", "powerlaw", "--prior", "powerlaw.norm=uniform(0,1)"), ("Did you mean 'Uniform'",)),
        (("--model", "powerlaw", "--prior", "powerlaw.norm=Uniform(0,1"), ("is not a prior",)),
        (("--model", "powerlaw", "--prior", "powerlaw.norm"), ("NAME=DIST",)),
        (("--model", "powerlaw", "--prior", "powerlaw.PhoIdx=Uniform(0,1)"), ("powerlaw.PhoIndex",)),
        (("--model", "powerlaw", "--prior", "powerlaw_2.norm=Uniform(0,1)"), ("powerlaw_2.norm",)),
        (("--model", "powerlaw", "--prior", "powerlaw.norm=Dirichlet([1,1])"), ("powerlaw.norm", "one number")),
        (("--model", "powerlaw", "--set", "powerlaw.Norm=1"), ("powerlaw.norm",)),
        (("--model", "powerlaw", "--set", "powerlaw.norm=many"), ("many", "not a number")),
        (("--model", "powerlaw", "--set", "powerlaw.norm=nan"), ("not finite",)),
        (("--model", "powerlaw", "--set", "powerlaw.norm=1", "--set", "powerlaw.norm=2"), ("twice",)),
        (
            ("--model", "powerlaw", "--set", "powerlaw.norm=1", "--prior", "powerlaw.norm=Uniform(0,1)"),
            ("both a prior and a value",),
        ),
        ((*POWERLAW, "--energies", "8", "0.5"), ("empty", "below")),
        ((*POWERLAW, "--energies", "50", "80"), ("leaves no group", "keV")),
        ((*POWERLAW, "--energies", "0.5", "nan"), ("not a number",)),
        ((*POWERLAW, "--energies", "low", "high"), ("low", "float")),
        ((*POWERLAW, "--method", "ntus"), ("ntus", "nuts")),
        ((*POWERLAW, "--redshift", "0.1"), ("Redshift",)),
        (("--model", "ztbabs*powerlaw", "-z", "0.1", "-s", "ztbabs.Redshift=0.5"), ("ztbabs.Redshift", "0.1", "value")),
        (
            ("--model", "ztbabs*powerlaw", "-z", "0.1", "-p", "ztbabs.Redshift=Uniform(0,1)"),
            ("ztbabs.Redshift", "0.1", "prior"),
        ),
        ((*POWERLAW, "--seed", "-1"), ("-1", "from 0 to")),
        ((*POWERLAW, "--seed", "one"), ("one", "whole number")),
        ((*POWERLAW, "--seed", "1.5"), ("1.5", "whole number")),
        ((*POWERLAW, "--seed", "9" * 23), ("9" * 23, str(2**63 - 1))),
        ((*POWERLAW, "--colour", "red"), ("--colour",)),
        ((*POWERLAW, "--response", "nothing.rmf"), ("nothing.rmf", "no such file")),
        ((*POWERLAW, "--response", "none"), ("--response", "needs a response")),
        ((*POWERLAW, "--response", ""), ("--response", "empty")),
        ((*POWERLAW, "--arf", " "), ("--arf", "empty")),
        ((*POWERLAW, "--background", ""), ("--background", "empty")),
        ((*POWERLAW, "--checkpoint", ""), ("--checkpoint", "empty")),
        ((*POWERLAW, "--checkpoint", "."), ("folder",)),
        ((*POWERLAW, "--checkpoint", "/proc/x/run.npz"), ("/proc/x", "cannot be written")),
        ((*POWERLAW, "--arf", "nothing.arf"), ("nothing.arf", "no such file")),
        ((*POWERLAW, "--background", "nothing.pha"), ("nothing.pha", "no such file")),
        (("--model", MODEL, *FIXED, "--abund", "wlim"), ("wlim", "wilm")),
        (("--model", "phabs*powerlaw", "--xsect", "verm"), ("verm", "vern")),
        ((), ("--model",)),
    ],
)
def test_bad_options(
    arguments: tuple[str, ...], words: tuple[str, ...], demo: Path, tmp_path: Path, run: Callable[..., Run]
) -> None:
    found = run("xray", demo, *arguments, "--out", tmp_path / "out")
    assert found.code == 2
    for word in words:
        assert word in found.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--model", "powerlaw", "--set", "powerlaw.PhoIndex=-500", "--set", "powerlaw.norm=1"),
        ("--model", "powerlaw", "--set", "powerlaw.PhoIndex=2", "--set", "powerlaw.norm=-1"),
        ("--model", f"tbabs*{POWERLAW[1]}", *POWERLAW[2:], "--set", "tbabs.nH=-5000"),
        ("--model", f"ztbabs*{POWERLAW[1]}", *POWERLAW[2:], "--set", "ztbabs.nH=1", "--redshift", "-1"),
    ],
)
def test_values_outside_of_limits_are_refused_by_name(
    arguments: tuple[str, ...], demo: Path, tmp_path: Path, run: Callable[..., Run]
) -> None:
    found = run("xray", demo, *arguments, "--out", tmp_path / "out")
    assert found.code == 2 and found.out == ""
    values = [a.split("=") for a in arguments if "=" in a] + ([["ztbabs.Redshift", "-1"]] if "-1" in arguments else [])
    wrong = next(name for name, value in values if value in ("-500", "-1", "-5000"))
    assert f"the limits of '{wrong}'" in found.error and "give a value inside" in found.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "words"), [("", "empty"), (" ", "empty"), (".", "folder"), ("/", "folder")])
def test_spectrum_without_a_name(name: str, words: str, run: Callable[..., Run]) -> None:
    found = run("xray", name, *POWERLAW)
    assert found.code == 2
    assert words in found.error


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
def test_folder_that_cannot_be_made(demo: Path, tmp_path: Path, run: Callable[..., Run]) -> None:
    for folder, words in (("", "empty"), ("/proc/x", "/proc/x"), (tmp_path / ("x" * 300), "xxx")):
        found = run("xray", demo, *POWERLAW, "--out", folder)
        assert found.code == 2 and found.out == ""
        assert words in found.error
        assert "background" not in found.err  # the spectrum was not even read
    assert list(tmp_path.iterdir()) == []


def test_output_is_a_file(demo: Path, tmp_path: Path, run: Callable[..., Run]) -> None:
    file = tmp_path / "out"
    file.write_text("mine")
    for folder in (file, file / "below"):
        found = run("xray", demo, *POWERLAW, "--out", folder)
        assert found.code == 2
        assert str(file) in found.error
    assert file.read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == [file]


def test_overrides_go_with_one_spectrum(demo: Path, run: Callable[..., Run]) -> None:
    found = run("xray", demo, demo, *POWERLAW, "--arf", "none")
    assert found.code == 2
    assert "single spectrum" in found.error


def test_usage(run: Callable[..., Run]) -> None:
    assert run("xray").code == 2
    assert "No such command" in run("xary").error
    assert "powerlaw" in run("models", "powerlw").error


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model = ", ("not TOML",)),
        ("", ("[[observation]]",)),
        ("model = 'powerlaw'\nobservation = 3", ("[[observation]]",)),
        ("[[observation]]\nspectrum = 'demo.pha'", ("'model' is missing",)),
        ("model = 3\n[[observation]]\nspectrum = 'demo.pha'", ("'model' must be text",)),
        ("modell = 'powerlaw'\n[[observation]]\nspectrum = 'demo.pha'", ("modell", "model")),
        ("model = 'powerlaw'\n[[observation]]\nname = 'demo'", ("no 'spectrum'",)),
        ("model = 'powerlaw'\n[[observation]]\nspectrum = 'demo.pha'\nrmf = 'a'", ("rmf", "observation")),
        ("model = 'powerlaw'\n[[observation]]\nspectrum = 'nothing.pha'", ("nothing.pha",)),
        ("model = 'powerlaw'\nenergies = [1]\n[[observation]]\nspectrum = 'demo.pha'", ("[low, high]",)),
        ("model = 'powerlaw'\nenergies = 'all'\n[[observation]]\nspectrum = 'demo.pha'", ("[low, high]",)),
        ("model = 'powerlaw'\nseed = 1.5\n[[observation]]\nspectrum = 'demo.pha'", ("seed",)),
        ("model = 'powerlaw'\nredshift = 'far'\n[[observation]]\nspectrum = 'demo.pha'", ("redshift",)),
        ("model = 'powerlaw'\nmethod = 'ntus'\n[[observation]]\nspectrum = 'demo.pha'", ("nuts",)),
        ("model = 'powerlaw'\nmethod = 3\n[[observation]]\nspectrum = 'demo.pha'", ("'method'",)),
        ("model = 'powerlaw'\n[method]\nname = 'nuts'\nchain = 2\n[[observation]]\nspectrum = 'demo.pha'", ("chains",)),
        ("model = 'powerlaw'\n[method]\nname = 'nuts'\nchains = '2'\n[[observation]]\nspectrum = 'demo.pha'", ("int",)),
        (
            "model = 'powerlaw'\n[method]\nname = 'nuts'\nchains = 1\n[[observation]]\nspectrum = 'demo.pha'",
            ("chains",),
        ),
        ("model = 'powerlaw'\n[[observation]]\nspectrum = 'demo.pha'\n[priors]\n'powerlaw.norm' = 1", ("in quotes",)),
        ("model = 'powerlaw'\n[[observation]]\nspectrum = 'demo.pha'\n[values]\n'powerlaw.norm' = 'a'", ("number",)),
        ("model = 'powerlaw'\n[[observation]]\nspectrum = 'demo.pha'\n[output]\nfigures = 'no'", ("true or false",)),
        ("model = 'powerlaw'\n[[observation]]\nspectrum = ''", ("observation.spectrum", "empty")),
        ("model = 'powerlaw'\n[[observation]]\nspectrum = 'a'\nresponse = 'none'", ("observation.response", "'none'")),
        ("model = 'powerlaw'\n[[observation]]\nspectrum = 'a'\narf = ''", ("observation.arf", "empty")),
        ("model = 'powerlaw'\n[[observation]]\nspectrum = 'a'\n[output]\nfolder = ''", ("output.folder", "empty")),
        ("model = 'powerlaw'\n[[observation]]\nspectrum = 'a'\n[output]\ncheckpoint = 3", ("output.checkpoint",)),
        ("model = 'powerlaw'\n[[observation]]\nspectrum = 'a'\n[priors]\nx = ''", ("priors.x", "is not a prior")),
        ("model = 'powerlaw'\n[[observation]]\nspectrum = 'a'\n[priors]\nx = 'Uniform(2, 1)'", ("priors.x", "low")),
        ("model = 'powerlaw'\nredshift = true\n[[observation]]\nspectrum = 'a'", ("'redshift'", "number")),
        ("model = 'powerlaw'\nseed = 99999999999999999999999\n[[observation]]\nspectrum = 'a'", ("'seed'",)),
        (
            "model = 'powerlaw'\n[method]\nname = 'mle'\nstarts = 0\n[[observation]]\nspectrum = 'a'",
            ("[method]", "starts"),
        ),
        (
            "model = 'powerlaw'\n[method]\nname = 'nuts'\ntarget_accept = 7.0\n[[observation]]\nspectrum = 'a'",
            ("[method]", "target_accept"),
        ),
        ("model = 'powerlaw'\n[method]\nname = 'ntus'\n[[observation]]\nspectrum = 'a'", ("method.name", "nuts")),
        ("model = 'powerlaw'\npriors = 3\n[[observation]]\nspectrum = 'demo.pha'", ("[priors]",)),
    ],
)
def test_bad_job(text: str, words: tuple[str, ...], tmp_path: Path, run: Callable[..., Run]) -> None:
    job = tmp_path / "job.toml"
    job.write_text(text)
    found = run("fit", job, "--out", tmp_path / "out")
    assert found.code == 2
    for word in (str(tmp_path), *words):
        assert word in found.error
    assert list(tmp_path.iterdir()) == [job]


def test_job_is_no_text(tmp_path: Path, run: Callable[..., Run]) -> None:
    assert "cannot be read" in run("fit", tmp_path / "nothing.toml").error
    assert "cannot be read" in run("fit", tmp_path).error
    (tmp_path / "job.toml").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in run("fit", tmp_path / "job.toml").error
