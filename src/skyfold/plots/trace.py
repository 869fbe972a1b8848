"""Trace: draws one after another, beside their marginals."""

from __future__ import annotations

from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.plots.style import SERIES, VERMILION, context, new_figure, plain_axis, say_converged, say_shown
from skyfold.results.notation import axis_label, scale_of
from skyfold.results.result import Result
from skyfold.results.summary import quantiles
from skyfold.results.tables import PlotTable

DEFAULTS: dict[str, Any] = {}

#: Most parameters that one figure shows.
MOST = 20

#: Most points of one line.
_POINTS = 2000


def table(result: Result) -> PlotTable:
    """Return draws in order: ``chain``, ``draw``, ``weight`` and one column per scalar entry of each parameter."""
    if result.draws.is_point:
        raise SkyfoldError(
            f"'{result.method}' gives a single point, which has no trace; fit with another method to draw one."
        )
    chains, n = result.weights.shape
    columns = {
        "chain": np.repeat(np.arange(chains), n),
        "draw": np.tile(np.arange(n), chains),
        "weight": result.weights.ravel(),
    }
    units: dict[str, str] = {}
    for p in result.description.parameters:
        values = result.samples[p.name].reshape(chains * n, -1)
        for i, entry in enumerate(p.entries):
            columns[entry], units[entry] = values[:, i], p.unit
    return PlotTable(columns, units, {"weighted": result.draws.log_weights is not None})


def trace(result: Result) -> Any:
    """Draw, for each parameter, the marginal and the draws of each chain in order.

    Weighted draws have no order that means anything; for them the right panels show how median and 68% interval settle
    as draws are added.

    Parameters
    ----------
    result : what to draw; the first 20 parameters are shown.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    SkyfoldError
        If the result is a single point.
    """
    data = result._table("trace")
    names = [c for c in data.columns if c not in ("chain", "draw", "weight")]
    shown = names[:MOST]
    with context():
        figure = new_figure(7.4, max(1.15 * len(shown) + 0.8, 2.4))
        axes = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(1.0, 2.2))
        for name, (left, right) in zip(shown, axes, strict=True):
            _row(left, right, name, data)
        for ax in axes[:-1, 1]:
            ax.tick_params(labelbottom=False)
        axes[-1, 1].set_xlabel("number of draws" if data.meta["weighted"] else "draw")
        axes[-1, 0].set_xlabel("value")
        if data.meta["weighted"]:
            axes[0, 1].set_title("median and 16-84% of the first draws", fontsize=9)
        say_shown(figure, len(shown), len(names))
        figure.align_labels()
        say_converged(figure, data.meta)
    return figure


def _row(left: Any, right: Any, name: str, data: PlotTable) -> None:
    low, high = quantiles(data[name], data["weight"], [0.001, 0.999])
    exponent = scale_of(low, high)
    values = data[name] / 10.0**exponent
    low, high = low / 10.0**exponent, high / 10.0**exponent
    pad = 0.06 * (high - low) or 0.5
    limits = (low - pad, high + pad)
    weighted = data.meta["weighted"]
    for chain in np.unique(data["chain"]):
        mine = data["chain"] == chain
        colour = SERIES[int(chain) % len(SERIES)]
        height, edges = np.histogram(values[mine], bins=40, range=limits, weights=data["weight"][mine], density=True)
        left.stairs(height, edges, color=colour, lw=1.0)
        if not weighted:
            every = max(int(mine.sum()) // _POINTS, 1)
            right.plot(data["draw"][mine][::every], values[mine][::every], color=colour, lw=0.4, alpha=0.8)
    if weighted:
        _settle(right, values, data["weight"])
    left.set_ylabel(axis_label(name, data.units.get(name, ""), exponent), rotation=0, ha="right", va="center")
    left.set_yticks([])
    left.set_xlim(limits)
    if not weighted:
        right.set_ylim(limits)
        right.set_xlim(0, data["draw"].max() + 1)
    for axis in (left.xaxis, right.yaxis):
        plain_axis(axis, 4)


def _settle(ax: Any, values: np.ndarray, weights: np.ndarray) -> None:
    kept = weights > 0
    values, weights = values[kept], weights[kept]
    numbers = np.unique(np.geomspace(min(20, len(values)), len(values), 60).astype(int))
    probabilities = [0.15865525393145707, 0.5, 0.8413447460685429]
    low, middle, high = np.stack([quantiles(values[:n], weights[:n], probabilities) for n in numbers], axis=1)
    ax.fill_between(numbers, low, high, color=SERIES[0], alpha=0.25, lw=0)
    ax.plot(numbers, middle, color=SERIES[0])
    ax.axhline(middle[-1], color=VERMILION, lw=0.8, ls="--")
    ax.set_xscale("log")
    ax.set_xlim(numbers[0], numbers[-1])
