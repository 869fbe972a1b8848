"""``skyfold fit``: a job described in a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skyfold.errors import SkyfoldError

if TYPE_CHECKING:
    from skyfold.cli._job import Job, Source

_TOP = (
    "model", "energies", "abund", "xsect", "redshift", "seed", "method", "observation", "priors", "values", "output"
)  # fmt: skip
_OBSERVATION = ("spectrum", "response", "arf", "background", "name", "energies")
_OUTPUT = ("folder", "figures")


@click.command("fit")
@click.argument("config", metavar="CONFIG.toml", type=click.Path(path_type=Path))
@click.option("--out", "-o", metavar="DIR", type=click.Path(path_type=Path), help="Folder for the results.")
def command(config: Path, out: Path | None) -> int:
    """Fit what a TOML file describes.

    The file says the same things as the options of 'skyfold xray'; file names in it are relative to it.
    """
    job = read_job(config)
    return (job if out is None else replace(job, folder=out)).run()[0]


def read_job(path: Path) -> Job:
    """Read a job from a TOML file.

    Raises
    ------
    SkyfoldError
        If the file is missing, not TOML, or says something unknown.
    """
    from skyfold.cli._job import Job
    from skyfold.cli._prior import parse_prior

    content = _load(path)
    at = _Place(path)
    at.known(content, _TOP)
    output = at.table(content, "output")
    at.known(output, _OUTPUT, "output")
    folder = at.text(output, "folder", "output")
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
        priors={name: parse_prior(at.text(priors, name, "priors") or "") for name in priors},
        values={name: at.number(v, f"values.{name}") for name, v in at.table(content, "values").items()},
        tables={k: v for k, v in tables.items() if v is not None},
        redshift=at.number(content["redshift"], "redshift") if "redshift" in content else None,
        method=_method(at, content.get("method", "auto")),
        seed=at.seed(content.get("seed", 0)),
        folder=None if folder is None else path.parent / folder,
        figures=at.switch(output.get("figures", True), "output.figures"),
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
    spectrum = at.text(content, "spectrum", "observation")
    if spectrum is None:
        raise at.error("an [[observation]] has no 'spectrum'")

    def file(key: str) -> str | Path | None:
        name = at.text(content, key, "observation")
        return name if name is None or name.lower() == "none" else at.path.parent / name

    return Source(
        spectrum=at.path.parent / spectrum,
        response=file("response"),
        arf=file("arf"),
        background=file("background"),
        name=at.text(content, "name", "observation"),
        energies=at.ranges(content, "energies", "observation") or common,
    )


def _method(at: _Place, content: Any) -> Any:
    """Turn a method's name, or a table with its name and settings, into a settings object."""
    from skyfold.inference import find

    if isinstance(content, str):
        return find(content)
    if not (isinstance(content, dict) and isinstance(content.get("name"), str)):
        raise at.error("'method' is a name, as in method = 'nuts', or a table with name = 'nuts' and its settings")
    settings = {k: v for k, v in content.items() if k != "name"}
    method = find(content["name"])
    defaults = {f.name: getattr(method, f.name) for f in fields(method)}
    at.known(settings, tuple(defaults), "method")
    for key, value in settings.items():
        wanted = type(defaults[key])
        fits = type(value) is wanted or (wanted is float and type(value) is int)
        if not fits:
            raise at.error(f"'method.{key}' must be of type {wanted.__name__}, got {value!r}")
    return replace(method, **settings)


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

    def number(self, value: Any, what: str) -> float:
        if type(value) not in (int, float) or value - value != 0:
            raise self.error(f"'{what}' must be a finite number, got {value!r}")
        return float(value)

    def seed(self, value: Any) -> int:
        if type(value) is not int or value < 0:
            raise self.error(f"'seed' must be a whole number, not negative, got {value!r}")
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
