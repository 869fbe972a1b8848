"""``skyfold fit``: a job described in a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skyfold.cli import _options
from skyfold.errors import SkyfoldError

if TYPE_CHECKING:
    from skyfold.cli._job import Job, Source

_TOP = (
    "model", "energies", "abund", "xsect", "redshift", "seed", "method", "observation", "priors", "values", "output"
)  # fmt: skip
_OBSERVATION = ("spectrum", "response", "arf", "background", "name", "energies")
_OUTPUT = ("folder", "figures", "checkpoint")
#: Types of settings that are checked here; other settings are left to the method.
_PLAIN = {"bool", "int", "float", "str", "None"}


@click.command("fit")
@click.argument("config", metavar="CONFIG.toml", type=_options.FileName())
@_options.checkpoint
@_options.out()
def command(config: Path, checkpoint: Path | None, out: Path | None) -> int:
    """Fit what a TOML file describes.

    The file says the same things as the options of 'skyfold xray'; file names in it are relative to it.
    """
    job = read_job(config)
    return replace(job, folder=out or job.folder, checkpoint=checkpoint or job.checkpoint).run()[0]


def read_job(path: Path) -> Job:
    """Read a job from a TOML file.

    Raises
    ------
    SkyfoldError
        If the file is missing, not TOML, or says something unknown; the message names the file and the key.
    """
    from skyfold.cli._job import Job

    content = _load(path)
    at = _Place(path)
    at.known(content, _TOP)
    output = at.table(content, "output")
    at.known(output, _OUTPUT, "output")
    observations = content.get("observation", [])
    if not (isinstance(observations, list) and observations and all(isinstance(o, dict) for o in observations)):
        raise at.error("at least one [[observation]] table is needed, with spectrum = 'FILE'")
    common = at.ranges(content, "energies")
    priors = at.table(content, "priors")
    model = at.text(content, "model")
    if model is None:
        raise at.error("'model' is missing, as in model = 'tbabs*powerlaw'")
    tables = {"abundances": at.text(content, "abund"), "cross_sections": at.text(content, "xsect")}
    return Job(
        sources=tuple(_source(at, o, common) for o in observations),
        model=model,
        priors={name: at.prior(priors, name) for name in priors},
        values={name: at.number(v, f"values.{name}") for name, v in at.table(content, "values").items()},
        tables={k: v for k, v in tables.items() if v is not None},
        redshift=at.number(content["redshift"], "redshift") if "redshift" in content else None,
        method=_method(at, content.get("method", "auto")),
        seed=at.seed(content.get("seed", 0)),
        folder=at.file(output, "folder", "output"),
        figures=at.switch(output.get("figures", True), "output.figures"),
        checkpoint=at.file(output, "checkpoint", "output"),
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SkyfoldError(f"{path}: this is not TOML: {error}.") from None
    except UnicodeDecodeError:
        raise SkyfoldError(f"{path}: this is not text in UTF-8; a job is described in a TOML file.") from None
    except OSError as error:
        raise SkyfoldError(f"{path}: the file cannot be read ({error.strerror}).") from None


def _source(at: _Place, content: dict[str, Any], common: tuple[tuple[float, float], ...]) -> Source:
    from skyfold.cli._job import Source

    at.known(content, _OBSERVATION, "observation")
    spectrum = at.file(content, "spectrum", "observation")
    if spectrum is None:
        raise at.error("an [[observation]] has no 'spectrum'")

    def optional(key: str) -> str | Path | None:
        written = at.text(content, key, "observation")
        nothing = written is not None and written.strip().lower() == "none"
        return "none" if nothing else at.file(content, key, "observation")

    response = optional("response")
    if response == "none":
        raise at.error("'observation.response' is 'none', and the fit needs a response; name its file")
    return Source(
        spectrum=spectrum,
        response=response,
        arf=optional("arf"),
        background=optional("background"),
        name=at.text(content, "name", "observation"),
        energies=at.ranges(content, "energies", "observation") or common,
    )


def _method(at: _Place, content: Any) -> Any:
    """Turn a method's name, or a table with its name and settings, into a settings object."""
    from skyfold.inference import find

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


class _Place:
    """The file that is being read: fetches values of the right type, or says where they are wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def error(self, what: str) -> SkyfoldError:
        return SkyfoldError(f"{self.path}: {what}.")

    def known(self, content: Mapping[str, Any], keys: tuple[str, ...], table: str = "") -> None:
        from skyfold.component import unknown_name

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
        from skyfold.cli._prior import parse_prior

        return self.checked(f"priors.{name}", parse_prior, self.text(content, name, "priors") or "")

    def checked(self, what: str, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        """Call a function, whose complaints then name this file and the key."""
        try:
            return function(*arguments, **settings)
        except SkyfoldError as error:
            raise SkyfoldError(f"{self.path}: {what}: {error}") from None

    def number(self, value: Any, what: str) -> float:
        if type(value) not in (int, float) or value - value != 0:
            raise self.error(f"'{what}' must be a finite number, got {value!r}")
        return float(value)

    def seed(self, value: Any) -> int:
        if type(value) is not int or not 0 <= value <= _options.LARGEST_SEED:
            raise self.error(f"'seed' must be a whole number from 0 to {_options.LARGEST_SEED}, got {value!r}")
        return value

    def switch(self, value: Any, what: str) -> bool:
        if not isinstance(value, bool):
            raise self.error(f"'{what}' must be true or false, got {value!r}")
        return value

    def ranges(self, content: Mapping[str, Any], key: str, table: str = "") -> tuple[tuple[float, float], ...]:
        """Read ``[low, high]``, or a list of such pairs."""
        value = content.get(key, [])
        pairs = [value] if isinstance(value, list) and value and not isinstance(value[0], list) else value
        what = f"{table}.{key}" if table else key
        if not isinstance(pairs, list) or not all(isinstance(p, list) and len(p) == 2 for p in pairs):
            raise self.error(f"'{what}' must be [low, high] in keV, or a list of such pairs, got {value!r}")
        return tuple((self.number(low, what), self.number(high, what)) for low, high in pairs)
