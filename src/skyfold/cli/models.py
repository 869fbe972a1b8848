"""``skyfold models``: the components, their parameters, units and default priors."""

from __future__ import annotations

import re

import click


@click.command("models")
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the components, or show one: parameters, units, default priors, formula, reference."""
    from skyfold.xray.models import component_description, component_list

    click.echo(_plain(component_list() if name is None else component_description(name)))


def _plain(text: str) -> str:
    """Take the marks of reStructuredText out of a text."""
    text = re.sub(r":[a-z]+:`([^`]*)`", r"\1", text)
    return re.sub(r"\.\. math::\n*", "", text).replace("``", "'").replace("`", "'")
