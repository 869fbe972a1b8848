"""Options that several commands share, and names of files that are not empty."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from skyfold.inference import METHODS
from skyfold.jobs.reading import LARGEST_SEED


class FileName(click.Path):
    """Name of a file or folder, as a `Path`; an empty one is refused.

    Parameters
    ----------
    needed : what the file holds, where ``none`` is no answer.
    """

    def __init__(self, needed: str = "") -> None:
        super().__init__(path_type=Path)
        self.needed = needed

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name = os.fspath(value).strip()
        if not name:
            self.fail("the name is empty.", param, ctx)
        if self.needed and name.lower() == "none":
            self.fail(f"'{name}' names no file, and the fit needs {self.needed}.", param, ctx)
        return super().convert(value, param, ctx)


class Seed(click.ParamType):
    """Whole number from 0 to `LARGEST_SEED`."""

    name = "seed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            number = int(value)
        except ValueError:
            self.fail(f"'{value}' is not a whole number.", param, ctx)
        if not 0 <= number <= LARGEST_SEED:
            self.fail(f"{value} is not a whole number from 0 to {LARGEST_SEED}.", param, ctx)
        return number


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def method(default: str | None = "auto") -> Decorator:
    """Name of the method; without a default it is None where it is not given, and a file may say it."""
    said = default is not None
    text = f"One of {', '.join(METHODS)}."
    return click.option("--method", metavar="NAME", default=default, show_default=said, help=text)


def seed(default: int | None = 0) -> Decorator:
    """Seed; without a default it is None where it is not given, and a file may say it."""
    said = default is not None
    text = "Of every random act."
    return click.option("--seed", metavar="N", type=Seed(), default=default, show_default=said, help=text)


def prior(example: str) -> Decorator:
    """Priors, ``NAME=DIST``."""
    return click.option("--prior", "-p", "priors", metavar="NAME=DIST", multiple=True, help=f"As in {example}.")


value: Decorator = click.option("--set", "-s", "values", metavar="NAME=VALUE", multiple=True, help="Fix a parameter.")
checkpoint: Decorator = click.option(
    "--checkpoint", metavar="FILE", type=FileName(), help="Keep the state of a long run there, and go on from it."
)
no_figures: Decorator = click.option("--no-figures", is_flag=True, help="Write no figures.")


def out(default: str | None = None) -> Decorator:
    """Folder for the results."""
    return click.option(
        "--out",
        "-o",
        metavar="DIR",
        type=FileName(),
        default=default,
        show_default=default is not None,
        help="Folder for the results.",
    )
