"""What ``docs/api/public.md`` lists is there: names, arguments, options and keys."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

import click
import pytest

import skyfold
from skyfold import galaxy, gammaray, xray
from skyfold.cli import main
from skyfold.data import demo_spectrum
from skyfold.xray.job import read_job

ROOT = Path(__file__).resolve().parents[1]


def sections() -> dict[str, list[list[list[str]]]]:
    """Rows of the tables by heading; of each cell, what stands in backticks."""
    found: dict[str, list[list[list[str]]]] = {}
    for line in (ROOT / "docs/api/public.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            rows = found.setdefault(line[3:], [])
        elif line.startswith("| `") or line.startswith("| top"):
            rows.append([re.findall("`([^`]+)`", cell) or [cell.strip()] for cell in line.strip("|").split(" | ")])
    return found


PAGE = sections()
#: Full names, with their arguments where the page gives any.
NAMES = [f"{heading.strip('`')}.{row[0][0]}" for heading, rows in PAGE.items() if heading[0] == "`" for row in rows]
NAMES += [row[0][0] for row in PAGE["Names in deeper modules"]]


def resolved(name: str) -> Any:
    """Object of a dotted name: the longest module of it, then attributes."""
    pieces = name.split(".")
    for n in range(len(pieces), 0, -1):
        try:
            found = importlib.import_module(".".join(pieces[:n]))
        except ModuleNotFoundError:
            continue
        for piece in pieces[n:]:
            found = inspect.getattr_static(found, piece, None) or getattr(found, piece)
        return found
    raise AssertionError(name)


@pytest.mark.parametrize("name", NAMES)
def test_names_and_arguments(name: str) -> None:
    path, _, arguments = name.rstrip(")").partition("(")
    found = resolved(path)
    if not arguments:
        return
    given = inspect.signature(getattr(found, "__func__", found)).parameters
    for argument in arguments.split(", "):
        known = given[argument.rstrip("=")]
        assert known.kind is not known.POSITIONAL_ONLY
        assert not argument.endswith("=") or known.default is not known.empty


def test_every_exported_name_is_listed() -> None:
    listed = {name.partition("(")[0] for name in NAMES}
    for module in (skyfold, xray, xray.models, gammaray, galaxy):
        assert {f"{module.__name__}.{name}" for name in module.__all__} <= listed


def test_commands_and_options() -> None:
    context = click.Context(main)
    for row in PAGE["Command line"]:
        command: click.Command = main
        for word in row[0][0].split()[1:]:
            assert isinstance(command, click.Group)
            command = command.get_command(context, word)
            assert command is not None, row
        options = {option for p in command.params for option in p.opts}
        assert options >= set(filter(None, row[1])), row


def keys(heading: str) -> dict[str, list[str]]:
    return {row[0][0]: row[1] for row in PAGE[heading]}


def test_keys_of_a_fit_of_spectra(tmp_path: Path) -> None:
    listed = keys("Keys of `skyfold fit`")
    values = {
        "model": "'powerlaw'", "energies": "[0.5, 8]", "abund": "'wilm'", "xsect": "'vern'", "redshift": "0.1",
        "seed": "3", "method": "'mle'", "spectrum": "'a.pha'", "response": "'a.rmf'", "arf": "'none'", "name": "'a'",
        "background": "'none'", "folder": "'out'", "figures": "false", "checkpoint": "'run.npz'",
    }  # fmt: skip
    lines = [f"{key} = {values[key]}" for key in listed["top"] if key in values]
    for table, inner in (("[[observation]]", listed["[[observation]]"]), ("[output]", listed["[output]"])):
        lines += [table, *(f"{key} = {values[key]}" for key in inner)]
    lines += ["[priors]", '"powerlaw.PhoIndex" = "Uniform(0, 4)"', "[values]", '"powerlaw.norm" = 1e-3']
    (tmp_path / "job.toml").write_text("\n".join(lines))
    job = read_job(tmp_path / "job.toml")
    assert (job.model, job.seed, job.figures, job.redshift) == ("powerlaw", 3, False, 0.1)
    assert (job.folder, job.checkpoint) == (tmp_path / "out", tmp_path / "run.npz")
    assert job.sources[0].response == tmp_path / "a.rmf"
    assert job.sources[0].energies == ((0.5, 8.0),)


def test_keys_of_a_fit_of_the_sky() -> None:
    files = ("gammaray/job.py", "gammaray/job_model.py", "jobs/reading.py")
    trees = [ast.parse((ROOT / "src/skyfold" / file).read_text(encoding="utf-8")) for file in files]
    known = {n.value for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    for table, inner in keys("Keys of `skyfold gammaray`").items():
        assert set(inner) <= known, table


def test_keys_of_the_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("powerlaw.PhoIndex", "powerlaw.norm")
    arguments = [demo_spectrum(), "-m", "powerlaw", "-e", "2", "8", "--method", "mle", "--no-figures", "-o", tmp_path]
    with pytest.raises(SystemExit):
        main(["xray", *map(str, arguments)])
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (tmp_path / "posterior.nc").is_file()
    for name in names:
        for row in PAGE["Keys of `summary.json`"]:
            found = summary
            for key in row[0][0].split("."):
                found = found[name if key == "NAME" else key]
    for key, kind in (("best", float), ("sd", float), ("mean", type(None)), ("ess", type(None))):
        assert isinstance(summary["parameters"][names[0]][key], kind)
    assert isinstance(summary["statistic"]["value"], float)
    assert isinstance(summary["converged"], bool)
    assert summary["seconds"]["total"] > 0


def test_what_scripts_read_of_a_spectrum() -> None:
    spectrum = xray.Spectrum.read(demo_spectrum()).notice(0.5, 8.0)
    assert spectrum.n_data == spectrum.counts.size
    assert spectrum.background.counts.ndim == 1
    model = xray.model("tbabs*powerlaw", abundances="wilm", cross_sections="vern")
    light = model.with_values({"tbabs.nH": 0.1, "powerlaw.PhoIndex": 2.0, "powerlaw.norm": 1e-3})
    assert light.photon_flux([1.0, 2.0, 3.0]).shape == (2,)
    assert xray.models.TBabs(0.1).factor([1.0, 2.0]).shape == (1,)
    assert "tbabs.nH" in model.with_priors({"tbabs.nH": skyfold.Uniform(0, 1)}).free_parameters
