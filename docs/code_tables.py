"""Directives that list models, priors, methods, public names and modules from the code itself."""

from __future__ import annotations

import fnmatch
import inspect
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective


class PriorTable(SphinxDirective):
    """Table of the priors: how they are written and what they are."""

    def run(self) -> list[nodes.Node]:
        from skyfold import priors
        from skyfold.jobs.prior_text import NAMES

        rows = []
        for name in NAMES:
            kind = getattr(priors, name)
            arguments = ", ".join(_shown(p) for p in inspect.signature(kind).parameters.values())
            rows.append((f"``{name}({arguments})``", inspect.getdoc(kind).split("\n\n")[0].replace("\n", " ")))
        return _table(self, ("prior", "meaning"), rows)


class MethodTable(SphinxDirective):
    """Table of the methods that ``posterior.fit`` knows by name, and their settings."""

    def run(self) -> list[nodes.Node]:
        from skyfold.inference import METHODS, find

        rows = []
        for name, (module, kind) in METHODS.items():
            summary = inspect.getdoc(type(find(name))).split("\n\n")[0].replace("\n", " ")
            rows.append((f"``{name}``", f":py:class:`{kind} <{module}.{kind}>`", summary))
        return _table(self, ("name", "settings", "what it is"), rows)


class ModelTable(SphinxDirective):
    """Table of the components of an X-ray model and their parameters."""

    def run(self) -> list[nodes.Node]:
        from skyfold.xray.models.catalogue import COMPONENTS, component_kind, component_parameters

        rows_of: dict[str, list[tuple[str, ...]]] = {}
        for name, component in COMPONENTS.items():
            link = f":py:class:`{name} <{component.__module__}.{component.__name__}>`"
            for p in component_parameters(component):
                row = (link, f"``{p.name}``", p.unit or "–", f"``{p.shown}``", p.description)
                rows_of.setdefault(component_kind(component), []).append(row)
                link = ""
        found: list[nodes.Node] = []
        for kind, rows in rows_of.items():
            found.append(nodes.rubric("", f"{kind.capitalize()} components"))
            found += _table(self, ("model", "parameter", "unit", "default", "meaning"), rows)
        return found


class PublicNames(SphinxDirective):
    """Table of the package's public names and their homes."""

    def run(self) -> list[nodes.Node]:
        import skyfold
        from skyfold.lazy import homes

        rows = []
        for name, home in sorted(homes("skyfold").items()):
            if home == "skyfold":
                continue
            role = "class" if inspect.isclass(getattr(skyfold, name)) else "func"
            rows.append((f"``sf.{name}``", f":py:{role}:`{home}.{name}`"))
        return _table(self, ("name", "described as"), rows)


class Modules(SphinxDirective):
    """Reference of every public module whose name fits one of the patterns, in their order."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = {"without": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        import skyfold

        root = Path(skyfold.__file__).parent
        paths = sorted(root.rglob("*.py"))
        names = [".".join(("skyfold", *p.relative_to(root).with_suffix("").parts)) for p in paths]
        public = [n.removesuffix(".__init__") for n in names if "._" not in n.removesuffix(".__init__")]
        without = self.options.get("without", "").split()
        fitting = [n for pattern in self.arguments[0].split() for n in fnmatch.filter(public, pattern)]
        chosen = [n for n in dict.fromkeys(fitting) if not any(fnmatch.fnmatch(n, pattern) for pattern in without)]
        return _parsed(
            self, [line for name in chosen for line in (f".. rubric:: {name}", "", f".. automodule:: {name}", "")]
        )


def _shown(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return parameter.name
    return f"{parameter.name}={parameter.default:g}"


def _table(directive: SphinxDirective, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[nodes.Node]:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (header, *rows):
        lines += [("   * - " if i == 0 else "     - ") + cell for i, cell in enumerate(row)]
    return _parsed(directive, lines)


def _parsed(directive: SphinxDirective, lines: list[str]) -> list[nodes.Node]:
    container = nodes.Element()
    directive.state.nested_parse(StringList(lines, directive.get_source_info()[0]), directive.content_offset, container)
    return container.children


def setup(app: Any) -> dict[str, bool]:
    """Add the directives."""
    app.add_directive("modules", Modules)
    app.add_directive("method-table", MethodTable)
    app.add_directive("model-table", ModelTable)
    app.add_directive("prior-table", PriorTable)
    app.add_directive("public-names", PublicNames)
    return {"parallel_read_safe": True}
