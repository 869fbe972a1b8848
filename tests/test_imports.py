"""The check of the directions of imports, on small trees that break one rule each, and on skyfold."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "check_imports.py"


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_imports", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tree(folder: Path, files: dict[str, str]) -> Path:
    """A package ``skyfold`` of the files given, with an empty ``__init__`` in every folder."""
    for name, text in files.items():
        path = folder / "skyfold" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for parent in path.relative_to(folder).parents[:-1]:
            (folder / parent / "__init__.py").touch()
        path.write_text(text)
    return folder


GOOD = {
    "__init__.py": "from skyfold.posterior import Posterior\n_HOMES = {'Spectrum': 'skyfold.xray.spectrum'}\n",
    "errors.py": "",
    "posterior.py": "import skyfold.errors\n\n\ndef fit():\n    from skyfold.inference import run\n    return run\n",
    "inference/__init__.py": "from skyfold import posterior\nMETHODS = {'nuts': 'skyfold.inference.nuts'}\n",
    "inference/nuts.py": "from ..posterior import fit\nfrom .running import draws\n",
    "inference/running/draws.py": "",
    "xray/spectrum.py": "'''Counts over energy, keV.'''\nfrom skyfold.posterior import fit\n",
    "cli/main.py": "from skyfold.xray.spectrum import fit\n",
}


def test_a_good_tree_passes(check: ModuleType, tmp_path: Path) -> None:
    assert check.problems(tree(tmp_path, GOOD)) == []


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("posterior.py", "import skyfold.plots", "imports skyfold.plots: imports never go up"),
        ("errors.py", "from skyfold import posterior", "imports skyfold.posterior: imports never go up"),
        ("errors.py", "from .posterior import fit", "imports skyfold.posterior: imports never go up"),
        ("errors.py", "def f():\n    from skyfold.posterior import fit", "errors.py:2: imports skyfold.posterior"),
        ("errors.py", "if TYPE_CHECKING:\n    from skyfold.posterior import fit", "imports never go up"),
        ("errors.py", "TABLE = {'fit': 'skyfold.posterior'}", "imports never go up"),
        ("inference/running/draws.py", "from skyfold.inference import nuts", "imports never go up"),
        ("inference/nuts.py", "import skyfold.xray.spectrum", "imports never go up"),
        ("xray/spectrum.py", "from skyfold.galaxy.filters import Filter", "domains never import each other"),
        ("xray/spectrum.py", "import skyfold.cli.main", "imports never go up"),
        ("oddments.py", "import skyfold.errors", "no floor"),
    ],
)
def test_an_import_upwards_is_refused(check: ModuleType, tmp_path: Path, file: str, text: str, message: str) -> None:
    beside = {"plots/__init__.py": "", "galaxy/filters.py": "Filter = None\n"}
    found = check.problems(tree(tmp_path, GOOD | beside | {file: text + "\n"}))
    assert any(message in line for line in found), found


def test_a_circle_is_refused(check: ModuleType, tmp_path: Path) -> None:
    ring = {
        "xray/files/read.py": "from skyfold.xray.models import lines\n",
        "xray/models/lines.py": "from skyfold.xray.units import KEV\n",
        "xray/units.py": "KEV = 1.0\n\n\ndef read():\n    from skyfold.xray.files import read\n",
    }
    found = check.problems(tree(tmp_path, GOOD | ring))
    assert found == ["these import each other: skyfold.xray.units, xray.files, xray.models"]
    (tmp_path / "skyfold/xray/units.py").write_text("KEV = 1.0\n")
    assert check.problems(tmp_path) == []


@pytest.mark.parametrize("word", ["keV", "PhoIndex", "nH", "redshift", "HEALPix", "nside", "RMF", "ARF", "Photometry"])
@pytest.mark.parametrize("text", ["'''Axis in {}.'''\n", "x = 1  # {}\n", "_{}_low = 1.0\n"])
def test_a_word_of_a_domain_is_refused(check: ModuleType, tmp_path: Path, word: str, text: str) -> None:
    found = check.problems(tree(tmp_path, GOOD | {"posterior.py": text.format(word)}))
    assert found == [f"skyfold/posterior.py:1: '{word}' is a word of a domain"]


def test_words_of_statistics_and_parts_of_words_are_none(check: ModuleType, tmp_path: Path) -> None:
    text = "'''Source, background, counts, spectrum, response; keVin has no nHill.'''\n"
    assert check.problems(tree(tmp_path, GOOD | {"posterior.py": text})) == []


def test_a_heap_of_methods_is_refused(check: ModuleType, tmp_path: Path) -> None:
    heap = {f"inference/method_{i}.py": "" for i in range(check.MOST_ENTRIES)}
    (found,) = check.problems(tree(tmp_path, GOOD | heap))
    assert "inference/ has 30 entries" in found


def test_skyfold_itself(check: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main() == 0, capsys.readouterr().out
