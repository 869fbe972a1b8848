"""``skyfold fit``: a job described in a TOML file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from skyfold.cli import options


@click.command("fit")
@click.argument("config", metavar="CONFIG.toml", type=options.FileName())
@options.checkpoint
@options.out()
def command(config: Path, checkpoint: Path | None, out: Path | None) -> int:
    """Fit what a TOML file describes.

    The file says the same things as the options of 'skyfold xray'; file names in it are relative to it.
    """
    from skyfold.xray.job import read_job

    job = read_job(config)
    return replace(job, folder=out or job.folder, checkpoint=checkpoint or job.checkpoint).run(click.echo)[0]
