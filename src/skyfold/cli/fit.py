"""``skyfold fit``: a job described in a TOML file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skyfold.cli import _options
from skyfold.cli._toml import Place, job_settings, load

if TYPE_CHECKING:
    from skyfold.cli._spectra import Source, SpectraJob

_TOP = (
    "model", "energies", "abund", "xsect", "redshift", "seed", "method", "observation", "priors", "values", "output"
)  # fmt: skip
_OBSERVATION = ("spectrum", "response", "arf", "background", "name", "energies")


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


def read_job(path: Path) -> SpectraJob:
    """Read a job from a TOML file.

    Raises
    ------
    SkyfoldError
        If the file is missing, not TOML, or says something unknown; the message names the file and the key.
    """
    from skyfold.cli._spectra import SpectraJob

    content = load(path)
    at = Place(path)
    at.known(content, _TOP)
    settings = job_settings(at, content)
    observations = content.get("observation", [])
    if not (isinstance(observations, list) and observations and all(isinstance(o, dict) for o in observations)):
        raise at.error("at least one [[observation]] table is needed, with spectrum = 'FILE'")
    common = at.ranges(content, "energies")
    priors = at.table(content, "priors")
    model = at.text(content, "model")
    if model is None:
        raise at.error("'model' is missing, as in model = 'tbabs*powerlaw'")
    tables = {"abundances": at.text(content, "abund"), "cross_sections": at.text(content, "xsect")}
    return SpectraJob(
        sources=tuple(_source(at, o, common) for o in observations),
        model=model,
        priors={name: at.prior(priors, name) for name in priors},
        values={name: at.number(v, f"values.{name}") for name, v in at.table(content, "values").items()},
        tables={k: v for k, v in tables.items() if v is not None},
        redshift=at.number(content["redshift"], "redshift") if "redshift" in content else None,
        **settings,
    )


def _source(at: Place, content: dict[str, Any], common: tuple[tuple[float, float], ...]) -> Source:
    from skyfold.cli._spectra import Source

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
