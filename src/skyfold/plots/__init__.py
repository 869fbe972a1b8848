"""Figures: each is drawn from a table of numbers, which can be had and kept on its own.

Nothing here touches a sampler, and matplotlib is imported when the first figure is drawn. Models and observations may
name a module of figures of their own, ``figures_module``. It has ``FIGURES``, the modules of those whose numbers can be
had, as here; ``SAVED``, names of all that it may save; and ``to_save(result, truth)``, functions that draw what a
result has. What such an observation holds is not drawn once more by ``spectrum``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skyfold.posterior import Posterior
from skyfold.results.result import Result
from skyfold.results.tables import PlotTable
from skyfold.wording import unknown_name

#: Module of each figure; it has the numbers (`table`) and the options that change them (`DEFAULTS`).
FIGURES = {
    "corner": "skyfold.plots.corner",
    "spectrum": "skyfold.plots.spectrum",
    "trace": "skyfold.plots.trace",
    "prior_predictive": "skyfold.plots.prior",
}

#: Figures that `save_all` writes, where a result has them, before those of models and observations.
SAVED = ("corner", "trace", "spectrum")


def module(figure: str) -> Any:
    """Module that draws a figure of this name.

    Raises
    ------
    SkyfoldError
        If there is no such figure.
    """
    if figure in FIGURES:
        return importlib.import_module(FIGURES[figure])
    known = dict(FIGURES)
    for more in own_modules(None):
        known |= more.FIGURES
    if figure not in known:
        raise unknown_name(figure, known, "figure")
    return importlib.import_module(known[figure])


def drawing(figure: str) -> Any:
    """Function that draws a figure: one of a result, or ``scan``, which is of a scan."""
    return getattr(importlib.import_module("skyfold.plots.scan") if figure == "scan" else module(figure), figure)


def own_modules(result: Result | None) -> list[Any]:
    """Modules of figures that the models and observations of a result name; all there are where these are not known."""
    posterior = None if result is None else result._posterior
    if posterior is None:
        from skyfold import FIGURE_MODULES

        return [importlib.import_module(name) for name in FIGURE_MODULES]
    both = [(getattr(m, "figures_module", None), o.figures_module) for m, o in posterior.pairs.values()]
    return [importlib.import_module(name) for name in dict.fromkeys(n for pair in both for n in pair if n)]


def defaults(figure: str) -> dict[str, Any]:
    """Return the options of a figure that change its numbers, with their defaults."""
    return dict(module(figure).DEFAULTS)


def compute(result: Result, figure: str, options: dict[str, Any]) -> PlotTable:
    """Compute the numbers behind a figure.

    Raises
    ------
    SkyfoldError
        If there is no such figure or option, or it needs the posterior and there is none.
    """
    drawn = module(figure)
    for name in options:
        if name not in drawn.DEFAULTS:
            raise unknown_name(name, drawn.DEFAULTS, f"option of the numbers of '{figure}'")
    table = drawn.table(result, **options)
    table.meta.update(
        figure=figure,
        options=options,
        method=result.method,
        converged=result.converged,
        messages=list(result.draws.messages),
    )
    return table


def prior_predictive(posterior: Posterior, **options: Any) -> Any:
    """Draw what the prior expects of the data; see `skyfold.plots.prior.prior_predictive`."""
    from skyfold.plots.prior import prior_predictive as draw

    return draw(posterior, **options)


def saved_names() -> list[str]:
    """Names of all files that `save_all` may write."""
    from skyfold.plots.style import FORMATS

    own = [figure for more in own_modules(None) for figure in more.SAVED]
    return [f"{figure}.{ending}" for figure in (*SAVED, *own) for ending in FORMATS]


def save_all(
    result: Result, directory: str | os.PathLike[str], *, truth: Mapping[str, float] | None = None
) -> list[Path]:
    """Write every figure that a result has, as png (300 dpi) and pdf.

    A point estimate has no marginals; those figures are left out.

    Parameters
    ----------
    result : what to draw.
    directory : where they go.
    truth : true values of parameters by name, which figures mark.

    Returns
    -------
    list of the files
    """
    from skyfold.plots.style import save

    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, Any] = {}
    if not result.draws.is_point:
        known = {name: value for name, value in (truth or {}).items() if name in result.description.entries}
        drawn = {"corner": lambda: result.plot_corner(truths=known), "trace": result.plot_trace}
    if result._posterior is None or not all(o.figures_module for _, o in result._posterior.pairs.values()):
        drawn["spectrum"] = result.plot_spectrum
    for more in own_modules(result):
        drawn |= more.to_save(result, truth)
    return [file for stem, draw in drawn.items() for file in save(draw(), folder / stem)]
