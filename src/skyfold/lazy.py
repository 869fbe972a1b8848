"""Names that a package imports when they are first asked for; its stub ``__init__.pyi`` lists them, as imports."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from importlib.resources import files
from typing import Any


def homes(package: str) -> dict[str, str]:
    """Where each public name of a package lives; a module that is public itself lives in the package."""
    stub = ast.parse(files(package).joinpath("__init__.pyi").read_text(encoding="utf-8"))
    lines = [node for node in stub.body if isinstance(node, ast.ImportFrom) and node.module]
    return {alias.name: str(node.module) for node in lines for alias in node.names}


def listed(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package."""
    known = homes(package)

    def get(name: str) -> Any:
        if name not in known:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        if known[name] == package:
            return importlib.import_module(f"{package}.{name}")
        return getattr(importlib.import_module(known[name]), name)

    def names() -> list[str]:
        return sorted([*vars(importlib.import_module(package)), *known])

    return get, names, list(known)
