"""Figures: each is drawn from a table of numbers, which can be had and kept on its own.

Nothing here touches a sampler, and matplotlib is imported when the first figure is drawn.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skyfold.wording import unknown_name

if TYPE_CHECKING:
    from skyfold.posterior import Posterior
    from skyfold.results.result import Result
    from skyfold.results.tables import PlotTable

#: Module of each figure; it has the numbers (`table`) and the options that change them (`DEFAULTS`).
FIGURES = {
    "corner": "skyfold.plots.corner",
    "spectrum": "skyfold.plots.spectrum",
    "model": "skyfold.xray.plots",
    "trace": "skyfold.plots.trace",
    "prior_predictive": "skyfold.plots.prior",
}

#: Figures that `save_all` writes, where a result has them.
SAVED = ("corner", "trace", "spectrum", "model")


def _module(figure: str) -> Any:
    if figure not in FIGURES:
        raise unknown_name(figure, FIGURES, "figure")
    return importlib.import_module(FIGURES[figure])


def defaults(figure: str) -> dict[str, Any]:
    """Return the options of a figure that change its numbers, with their defaults."""
    return dict(_module(figure).DEFAULTS)


def compute(result: Result, figure: str, options: dict[str, Any]) -> PlotTable:
    """Compute the numbers behind a figure.

    Raises
    ------
    SkyfoldError
        If there is no such figure or option, or it needs the posterior and there is none.
    """
    module = _module(figure)
    for name in options:
        if name not in module.DEFAULTS:
            raise unknown_name(name, module.DEFAULTS, f"option of the numbers of '{figure}'")
    table = module.table(result, **options)
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

    return [f"{figure}.{ending}" for figure in SAVED for ending in FORMATS]


def save_all(result: Result, directory: str | os.PathLike[str]) -> list[Path]:
    """Write every figure that a result has, as png (300 dpi) and pdf.

    A point estimate has no marginals, and only spectra have a model without the instrument: those figures are left out.

    Returns
    -------
    list of the files
    """
    from skyfold.plots.style import save
    from skyfold.xray.plots import has_model

    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    absent = {"corner", "trace"} if result.draws.is_point else set()
    absent |= set() if has_model(result) else {"model"}
    files: list[Path] = []
    for name in SAVED:
        if name not in absent:
            files += save(getattr(result, f"plot_{name}")(), folder / name)
    return files
