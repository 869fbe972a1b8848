"""Reading a TOML file that describes a job, with every complaint naming file and key."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from skyfold.errors import SkyfoldError
from skyfold.inference import find
from skyfold.jobs.prior_text import parse_prior

#: Largest seed: that of a signed 64-bit integer, which every random generator takes.
LARGEST_SEED = 2**63 - 1
#: Keys of the table [output].
OUTPUT = ("folder", "figures", "checkpoint")
#: Types of settings that are checked here; other settings are left to the method.
_PLAIN = {"bool", "int", "float", "str", "None"}


def load(path: Path) -> dict[str, Any]:
    """Content of a TOML file.

    Raises
    ------
    SkyfoldError
        If it is missing, no text, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SkyfoldError(f"{path}: this is not TOML: {error}.") from None
    except UnicodeDecodeError:
        raise SkyfoldError(f"{path}: this is not text in UTF-8; a job is described in a TOML file.") from None
    except OSError as error:
        raise SkyfoldError(f"{path}: the file cannot be read ({error.strerror}).") from None


def job_settings(at: Place, content: Mapping[str, Any]) -> dict[str, Any]:
    """Read what every job has: ``method``, ``seed`` and the table ``[output]``."""
    output = at.table(content, "output")
    at.known(output, OUTPUT, "output")
    return {
        "method": _method(at, content.get("method", "auto")),
        "seed": at.seed(content.get("seed", 0)),
        "folder": at.file(output, "folder", "output"),
        "figures": at.switch(output.get("figures", True), "output.figures"),
        "checkpoint": at.file(output, "checkpoint", "output"),
    }


def _method(at: Place, content: Any) -> Any:
    """Turn a method's name, or a table with its name and settings, into a settings object."""
    if isinstance(content, str):
        return at.checked("method", find, content)
    if not (isinstance(content, dict) and isinstance(content.get("name"), str)):
        raise at.error("'method' is a name, as in method = 'nuts', or a table with name = 'nuts' and its settings")
    settings = {k: v for k, v in content.items() if k != "name"}
    method = at.checked("method.name", find, content["name"])
    # as written in the class: "int", "float", "int | None"
    kinds = {f.name: [kind.strip() for kind in str(f.type).split("|")] for f in fields(method)}
    at.known(settings, tuple(kinds), "method")
    for key, value in settings.items():
        given = {type(value).__name__, "float" if type(value) is int else ""}
        if not given & set(kinds[key]) and set(kinds[key]) <= _PLAIN:
            wanted = " or ".join(kind for kind in kinds[key] if kind != "None")
            raise at.error(f"'method.{key}' must be of type {wanted}, got {value!r}")
    return at.checked("[method]", replace, method, **settings)


class Place:
    """The file that is being read: fetches values of the right type, or says where they are wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def error(self, what: str) -> SkyfoldError:
        return SkyfoldError(f"{self.path}: {what}.")

    def known(self, content: Mapping[str, Any], keys: tuple[str, ...], table: str = "") -> None:
        from skyfold.wording import unknown_name

        for key in content:
            if key not in keys:
                where = f"[{table}]: " if table else ""
                raise SkyfoldError(f"{self.path}: {where}{unknown_name(key, keys, 'key')}")

    def table(self, content: Mapping[str, Any], key: str) -> dict[str, Any]:
        value = content.get(key, {})
        if not isinstance(value, dict):
            raise self.error(f"'{key}' must be a table, [{key}]")
        return value

    def text(self, content: Mapping[str, Any], key: str, table: str = "") -> str | None:
        value = content.get(key)
        if value is not None and not isinstance(value, str):
            raise self.error(f"'{f'{table}.' if table else ''}{key}' must be text in quotes, got {value!r}")
        return value

    def file(self, content: Mapping[str, Any], key: str, table: str) -> Path | None:
        """Read the name of a file, relative to the file that names it."""
        name = self.text(content, key, table)
        if name is not None and not name.strip():
            raise self.error(f"'{table}.{key}' is empty; leave it out, or give a name")
        return None if name is None else self.path.parent / name

    def prior(self, content: Mapping[str, Any], name: str) -> Any:
        """Read a prior."""
        return self.checked(f"priors.{name}", parse_prior, self.text(content, name, "priors") or "")

    def checked(self, what: str, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        """Call a function, whose complaints then name this file and the key."""
        try:
            return function(*arguments, **settings)
        except SkyfoldError as error:
            raise SkyfoldError(f"{self.path}: {what}: {error}") from None
        except EOFError as error:
            named = next((f"{a}: " for a in arguments if isinstance(a, Path)), "")
            raise SkyfoldError(f"{self.path}: {what}: {named}the file is empty or cut off ({error}).") from None

    def number(self, value: Any, what: str) -> float:
        if type(value) not in (int, float) or value - value != 0:
            raise self.error(f"'{what}' must be a finite number, got {value!r}")
        return float(value)

    def seed(self, value: Any) -> int:
        if type(value) is not int or not 0 <= value <= LARGEST_SEED:
            raise self.error(f"'seed' must be a whole number from 0 to {LARGEST_SEED}, got {value!r}")
        return value

    def switch(self, value: Any, what: str) -> bool:
        if not isinstance(value, bool):
            raise self.error(f"'{what}' must be true or false, got {value!r}")
        return value

    def whole(self, value: Any, what: str) -> int:
        if type(value) is not int:
            raise self.error(f"'{what}' must be a whole number, got {value!r}")
        return value

    def value(self, value: Any, what: str, shared: Mapping[str, Any] | None = None) -> Any:
        """Read a prior (text), a shared parameter (its name), a number, or a list of numbers."""
        if isinstance(value, str):
            if value.strip() in (shared or {}):
                return (shared or {})[value.strip()]
            return self.checked(what, parse_prior, value)
        if isinstance(value, list) and value:
            return [self.number(v, what) for v in value]
        if type(value) not in (int, float):
            raise self.error(f"'{what}' must be a prior in quotes or a number, got {value!r}")
        return self.number(value, what)

    def files(self, content: Mapping[str, Any], key: str, table: str) -> list[Path]:
        """Read the name of a file, or a list of names, relative to the file that names them."""
        given = content.get(key, [])
        names = given if isinstance(given, list) else [given]
        found = [self.file({key: name}, key, table) for name in names]
        return [path for path in found if path is not None]
