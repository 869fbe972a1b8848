"""``skyfold gammaray``: fit maps of gamma-ray counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from skyfold.cli import options
from skyfold.jobs.prior_text import parse_number, parse_pairs, parse_prior


@click.command("gammaray")
@click.argument("config", metavar="CONFIG.toml", type=options.FileName())
@options.prior("iso.norm=Uniform(0,5)")
@options.value
@options.method(None)
@options.seed(None)
@options.checkpoint
@options.no_figures
@options.out()
def command(
    config: Path,
    priors: tuple[str, ...],
    values: tuple[str, ...],
    method: str | None,
    seed: int | None,
    checkpoint: Path | None,
    no_figures: bool,
    out: Path | None,
) -> int:
    """Fit a HEALPix map of counts with templates and unresolved point sources.

    A TOML file names counts, exposure, masks, region, PSF, components and priors; file names in it are relative to it.
    Options go before what the file says.
    """
    from skyfold.gammaray.job import SkyJob

    job = SkyJob.read(config)
    given: dict[str, Any] = {"method": method, "seed": seed, "checkpoint": checkpoint, "folder": out}
    job = replace(
        job,
        priors=parse_pairs(priors, "--prior", lambda text, _: parse_prior(text)),
        values=parse_pairs(values, "--set", parse_number),
        figures=job.figures and not no_figures,
        **{key: value for key, value in given.items() if value is not None},
    )
    return job.run(click.echo)[0]
