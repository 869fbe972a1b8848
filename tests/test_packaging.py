"""What is installed, declared and documented is what is there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

import skyfold

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "skyfold"


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_one_version(project: dict) -> None:
    assert project["version"] == skyfold.__version__
    assert f"version: {skyfold.__version__}" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{skyfold.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    "name",
    [
        *(f"data/demo/{name}" for name in ("demo.pha", "demo.rmf", "demo.arf", "demo_bkg.pha", "truth.json")),
        *(f"data/sky/{name}" for name in ("counts.npy", "counts_sources.npy", "exposure.fits.gz", "sky.toml")),
        *(f"data/sky/{name}" for name in ("template_ics.npy", "template_pib.npy", "sources.toml", "truth.json")),
        "xray/models/absorption_tables.npz",
        "py.typed",
    ],
)
def test_package_data(name: str) -> None:
    assert files("skyfold").joinpath(name).is_file()


def test_dependencies_are_those_that_are_imported(project: dict) -> None:
    declared = {re.match(r"[A-Za-z0-9_-]+", d).group().lower() for d in project["dependencies"]}
    imported = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            imported |= {name.split(".")[0].lower() for name in names}
    third_party = imported - {name.lower() for name in sys.stdlib_module_names} - {"skyfold"}
    optional = {
        re.match(r"[A-Za-z0-9_-]+", d).group().lower().replace("-", "_")
        for extra in project["optional-dependencies"].values()
        for d in extra
    }
    optional |= {"nautilus", "sedpy"}  # of nautilus-sampler and astro-sedpy
    assert declared == third_party - (optional - declared)


def test_every_dependency_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    listed = [line for line in text.splitlines() if re.match(r'    "[A-Za-z0-9-]+[><=]', line)]
    assert len(listed) > 10
    assert [line for line in listed if "  # " not in line] == []


def test_import_loads_nothing_heavy() -> None:
    program = (
        "import sys, skyfold, skyfold.xray, skyfold.cli\n"
        "heavy = 'astropy matplotlib arviz numpyro blackjax netCDF4 pandas xarray rich scipy.stats'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_public_names_exist() -> None:
    from skyfold import xray

    for module in (skyfold, xray):
        for name in module.__all__:
            assert getattr(module, name) is not None
            assert name in dir(module)
        with pytest.raises(AttributeError):
            module.nothing_of_this_name  # noqa: B018


def test_readme_and_checks_run_the_same_commands() -> None:
    readme, checks = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    assert 'python -m pip install ".[test]" && pytest' in readme
    assert "python -m pip install . && skyfold demo" in readme
    assert '".[test]"' in checks
    assert "skyfold demo" in checks
