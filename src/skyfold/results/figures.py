"""Figures of a result: what it can draw, and the numbers behind each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from skyfold.results.tables import PlotTable


class Figures:
    """What a result draws; the part of `skyfold.results.result.Result` that goes to `skyfold.plots`."""

    def plot_data(self: Any, figure: str, **options: Any) -> Any:
        """Return the numbers behind a figure as an astropy Table; ``table.write("spectrum.ecsv")`` keeps them.

        Parameters
        ----------
        figure : ``"corner"``, ``"spectrum"``, ``"model"``, ``"trace"`` or ``"prior_predictive"``.
        **options : those of the figure that change its numbers, such as ``min_significance``.
        """
        return self._table(figure, **options).to_astropy()

    def _table(self: Any, figure: str, **options: Any) -> PlotTable:
        """Numbers behind a figure: those known from before if the options are the same, else computed."""
        from skyfold.plots import compute, defaults

        given = {key: value for key, value in options.items() if value is not None}
        full = {**defaults(figure), **given}
        known = self._tables.get(figure)
        if known is not None and (known.meta["options"] == full or (self._posterior is None and not given)):
            return known
        self._tables[figure] = compute(self, figure, full)
        return self._tables[figure]

    def plot_corner(self: Any, **options: Any) -> Any:
        """Draw one- and two-dimensional marginals; options as in `skyfold.plots.corner.corner`."""
        return draw("corner", self, **options)

    def plot_spectrum(self: Any, **options: Any) -> Any:
        """Draw data, model and residuals; options as in `skyfold.plots.spectrum.spectrum`."""
        return draw("spectrum", self, **options)

    def plot_model(self: Any, **options: Any) -> Any:
        """Draw the model without the instrument; options as in the function ``model`` of the domain's ``plots``."""
        return draw("model", self, **options)

    def plot_trace(self: Any, **options: Any) -> Any:
        """Draw marginals and draws one after another; options as in `skyfold.plots.trace.trace`."""
        return draw("trace", self, **options)

    def plot_prior_predictive(self: Any, **options: Any) -> Any:
        """Draw what the prior expects of the data; options as in `skyfold.plots.prior.prior_predictive`."""
        return draw("prior_predictive", self.posterior, **options)

    def save_figures(self: Any, directory: str | os.PathLike[str]) -> list[Path]:
        """Write every figure that this result has, as png (300 dpi) and pdf; return the files."""
        from skyfold.plots import save_all

        return save_all(self, directory)


def draw(figure: str, shown: Any, **options: Any) -> Any:
    """Draw a figure: the one way from what is computed to `skyfold.plots`."""
    from skyfold.plots import drawing

    return drawing(figure)(shown, **options)
