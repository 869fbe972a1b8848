"""Directives that list models and priors from the code itself: ``model-table`` and ``prior-table``."""

from __future__ import annotations

import inspect
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective


class PriorTable(SphinxDirective):
    """Table of the priors: how they are written and what they are."""

    def run(self) -> list[nodes.Node]:
        from skyfold import priors
        from skyfold.cli._prior import NAMES

        rows = []
        for name in NAMES:
            kind = getattr(priors, name)
            arguments = ", ".join(_shown(p) for p in inspect.signature(kind).parameters.values())
            rows.append((f"``{name}({arguments})``", inspect.getdoc(kind).split("\n\n")[0].replace("\n", " ")))
        return _table(self, ("prior", "meaning"), rows)


class ModelTable(SphinxDirective):
    """Table of the components of an X-ray model and their parameters."""

    def run(self) -> list[nodes.Node]:
        from skyfold.component import parameter_fields
        from skyfold.xray.models import REGISTRY

        found: list[nodes.Node] = []
        for kind in ("additive", "multiplicative"):
            rows = []
            for name, component in sorted(REGISTRY.items()):
                if component.kind != kind:
                    continue
                first = True
                for field, label, value in parameter_fields(component()):
                    link = f":py:class:`{name} <{component.__module__}.{component.__name__}>`" if first else ""
                    rows.append((link, f"``{field}``", label.unit or "–", f"``{value!r}``", label.description))
                    first = False
            found.append(nodes.rubric("", f"{kind.capitalize()} components"))
            found += _table(self, ("model", "parameter", "unit", "default", "meaning"), rows)
        return found


def _shown(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return parameter.name
    return f"{parameter.name}={parameter.default:g}"


def _table(directive: SphinxDirective, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[nodes.Node]:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (header, *rows):
        lines += [("   * - " if i == 0 else "     - ") + cell for i, cell in enumerate(row)]
    container = nodes.Element()
    directive.state.nested_parse(StringList(lines, directive.get_source_info()[0]), directive.content_offset, container)
    return container.children


def setup(app: Any) -> dict[str, bool]:
    """Add the directives."""
    app.add_directive("model-table", ModelTable)
    app.add_directive("prior-table", PriorTable)
    return {"parallel_read_safe": True}
