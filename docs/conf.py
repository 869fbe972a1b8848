"""How the documentation is built: ``python -m sphinx -W docs docs/_build``; needs no network."""

from __future__ import annotations

import re
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import skyfold
from skyfold.parameters import Prior

project = "skyfold"
author = "The skyfold developers"
copyright = f"2026, {author}"
version = release = skyfold.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "code_tables",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"skyfold {release}"
html_show_sourcelink = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": True, "ignore-module-all": True}
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False
suppress_warnings = ["ref.citation"]  # references that a docstring lists without a mark in its text


def _escape_shapes(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Keep the star of a shape such as ``(chains, *shape)`` from being read as emphasis."""
    lines[:] = [re.sub(r"(?<=[ (])\*(?=\w+[,)])", r"\\*", line) for line in lines]


def _default_priors(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Say of each parameter which prior it has by default: docstrings leave that to the field."""
    if what != "class" or not is_dataclass(obj):
        return
    declared = {label.name or f.name: f for f in fields(obj) if (label := f.metadata.get("parameter"))}
    defaults = {n: f.default for name, f in declared.items() for n in (name, f.name) if isinstance(f.default, Prior)}
    for i in reversed(range(len(lines))):
        names, colon, _ = lines[i].partition(" :")
        found = [repr(defaults[n]) for n in names.split(", ") if n in defaults]
        if colon and found:
            end = next((j for j in range(i + 1, len(lines)) if not lines[j].startswith(" ")), len(lines))
            lines.insert(end, f"    Default: {', '.join(found)}.")


def setup(app: Any) -> None:
    """Connect what works on docstrings."""
    app.connect("autodoc-process-docstring", _default_priors, priority=100)  # before numpydoc
    app.connect("autodoc-process-docstring", _escape_shapes, priority=900)
