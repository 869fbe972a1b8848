"""Pages of the documentation that a reader follows from top to bottom use only what they have said before."""

from __future__ import annotations

import ast
import builtins
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLLOWED = ("README.md", "docs/quickstart.md", "docs/tutorial.md")


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", FOLLOWED)
def test_a_page_defines_every_name_that_its_code_uses(page: str) -> None:
    known = set(dir(builtins))
    for block in blocks(ROOT / page):
        nodes = list(ast.walk(ast.parse(block)))
        known |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        known |= {n.arg for n in nodes if isinstance(n, ast.arg)}
        known |= {
            (alias.asname or alias.name).partition(".")[0]
            for n in nodes
            if isinstance(n, ast.Import | ast.ImportFrom)
            for alias in n.names
        }
        used = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        assert used <= known, f"{page} uses {sorted(used - known)} before it says what they are"


def test_a_page_shows_default_priors_from_the_source_and_not_by_hand() -> None:
    shown = [p.name for p in (ROOT / "docs").glob("*.md") for b in blocks(p) if re.search(r": Value = parameter\(", b)]
    assert not shown


def test_what_builds_the_documentation_is_all_installed_with_it() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert "skyfold[flows]" in extras["docs"]
