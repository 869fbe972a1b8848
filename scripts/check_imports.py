"""Check which way imports go.

The core knows no domain, domains know the core and not each other, and nobody knows the command line. Every module is
read with `ast`, imports inside functions and under ``TYPE_CHECKING`` included; nothing of skyfold is imported. Exits 1
and lists the imports that break a rule.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
DOMAINS = {"xray", "gammaray", "galaxy"}
#: Parts that are neither core nor domain.
OUTSIDE = {"cli", "data", "surrogate"}


def part(module: str) -> str:
    """First name below ``skyfold``; empty for the package itself."""
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 else ""


def imported(path: Path, module: str) -> Iterator[tuple[int, str]]:
    """Line and name of every skyfold module that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [base])])
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "skyfold" else [base]
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "skyfold")


def problem(importer: str, target: str) -> str | None:
    """Return the rule that an import from one part of another breaks, None where it may."""
    if importer in ("", target):  # the package's own __init__ only lists the public names
        return None
    if target == "cli":
        return "nobody imports the command line"
    if importer == "cli":
        return None
    if importer in DOMAINS:
        return "domains never import each other" if target in DOMAINS else None
    if importer not in OUTSIDE and target in DOMAINS | OUTSIDE:
        return "the core imports no domain and no data"
    if importer == "plots" and target == "inference":
        return "plots never import a method"
    return None


def main() -> int:
    """Check every module; return the exit code."""
    broken = []
    files = sorted((SOURCE / "skyfold").rglob("*.py"))
    for path in files:
        pieces = list(path.relative_to(SOURCE).with_suffix("").parts)
        module = ".".join(pieces[:-1] if pieces[-1] == "__init__" else pieces)
        for line, target in imported(path, module):
            rule = problem(part(module), part(target))
            if rule:
                broken.append(f"{path.relative_to(SOURCE.parent)}:{line}: imports {target}: {rule}")
    print("\n".join(broken) or f"{len(files)} modules: imports go the right way")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
