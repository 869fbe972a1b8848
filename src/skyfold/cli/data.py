"""``skyfold data``: public data by name."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from skyfold.cli import options


@click.group("data")
def command() -> None:
    """List and fetch public data: maps of the gamma-ray sky, stellar populations."""


@command.command("list")
def list_command() -> None:
    """List the data sets: what they are, where they are, licence, reference, and which are here."""
    from skyfold.data.fetch import data_folder
    from skyfold.data.registry import DATA_SETS

    for name, entry in DATA_SETS.items():
        place = data_folder() / name
        here = all((place / file.name).is_file() for file in entry.files)
        size = "size not known" if entry.size is None else f"{entry.size / 1e6:.1f} MB"
        known = all(file.sha256 for file in entry.files)
        count = f"{len(entry.files)} file{'s' if len(entry.files) > 1 else ''}"
        lines = [
            ("", entry.title),
            ("files", f"{count}, {size}, {'checksums known' if known else 'checksums taken from the first download'}"),
            ("source", entry.source),
            ("licence", entry.licence),
            ("cite", entry.reference),
            ("here", str(place) if here else "no"),
        ]
        click.echo("\n".join([name, *(f"  {what + ':' if what else '':<9}{text}".rstrip() for what, text in lines)]))


@command.command("fetch")
@click.argument("name")
@click.option("--to", metavar="DIR", type=options.FileName(), help="Folder for the files instead of the user's cache.")
def fetch_command(name: str, to: Path | None) -> None:
    """Download a data set, unless it is here; print its folder."""
    from skyfold.data.fetch import fetch, find
    from skyfold.jobs.folder import check_folder

    entry = find(name)
    if to is not None:
        check_folder(to, "data")
    found = fetch(name, to, progress=sys.stderr.isatty())
    click.echo(f"source: {entry.source}\nlicence: {entry.licence}\ncite: {entry.reference}", err=True)
    if found.pinned:
        click.echo(
            f"note: of {len(found.pinned)} of the files no published checksum is known: they are taken as they are, "
            "and later downloads are held against them",
            err=True,
        )
    click.echo(str(found.folder))
