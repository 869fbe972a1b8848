"""Corner: marginals of every parameter and of every pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.inference.importance.psis import kish
from skyfold.plots.style import BLUE, VERMILION, context, new_figure, plain_axis, say_converged, say_shown
from skyfold.results.notation import axis_label, scale_of, with_errors
from skyfold.results.result import Result
from skyfold.results.summary import QUANTILES, quantiles
from skyfold.results.tables import PlotTable
from skyfold.wording import unknown_name

DEFAULTS: dict[str, Any] = {}

#: Most parameters that one figure shows unless they are chosen.
MOST = 12

_LEVELS = (0.95, 0.68)
#: Width in bins of the Gaussian that smooths pairs.
_SMOOTHING = 2.0


def table(result: Result) -> PlotTable:
    """Return weighted draws: one column per scalar entry of each parameter, and ``weight``."""
    if result.draws.is_point:
        raise SkyfoldError(
            f"'{result.method}' gives a single point, which has no marginals; fit with another method to draw them."
        )
    weights = result.weights.ravel()
    kept = weights > 0
    columns: dict[str, np.ndarray] = {}
    units: dict[str, str] = {}
    logarithmic: list[str] = []
    for p in result.description.parameters:
        values = result.samples[p.name].reshape(weights.size, -1)
        for i, entry in enumerate(p.entries):
            columns[entry] = values[kept, i]
            units[entry] = p.unit
            if p.logarithmic and np.all(values[kept, i] > 0):
                logarithmic.append(entry)
    columns["weight"] = weights[kept]
    limits = {m.name: m.limit for m in result.marginals if m.limit}
    return PlotTable(columns, units, {"logarithmic": logarithmic, "limits": limits})


def corner(
    result: Result, *, parameters: Sequence[str] | None = None, truths: Mapping[str, float] | None = None
) -> Any:
    """Draw marginals with median and 68% interval, and pairs with regions of 68% and 95% of the draws.

    Parameters
    ----------
    result : what to draw.
    parameters : names of the parameters to show, by default all (the first 12).
    truths : values to mark, by name.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    SkyfoldError
        If there is no such parameter, or the result is a single point.
    """
    data = result._table("corner")
    names = _chosen(data, parameters)
    for name in truths or {}:
        if name not in data:
            raise unknown_name(name, [c for c in data.columns if c != "weight"], "parameter")
    weights = data["weight"]
    axes_of = {name: _Axis(name, data, truths or {}) for name in names}
    with context():
        n = len(names)
        size = float(np.clip(1.75 * n + 0.6, 3.4, 17.0))
        figure = new_figure(size, size)
        figure.get_layout_engine().set(w_pad=0.015, h_pad=0.015, wspace=0.015, hspace=0.015)
        grid = figure.subplots(n, n, squeeze=False)
        for i, row in enumerate(names):
            for j, column in enumerate(names):
                ax = grid[i, j]
                if j > i:
                    ax.remove()
                    continue
                if i == j:
                    _draw_one(ax, axes_of[row], weights)
                else:
                    _draw_pair(ax, axes_of[column], axes_of[row], weights)
                _label(ax, axes_of[column], axes_of[row], bottom=i == n - 1, left=j == 0 and i > 0)
        figure.align_labels()
        say_shown(figure, n, len(data.columns) - 1 if parameters is None else n)
        say_converged(figure, data.meta)
    return figure


class _Axis:
    """One parameter as an axis: its values in the scale that is drawn, limits and label."""

    def __init__(self, name: str, data: PlotTable, truths: Mapping[str, float]) -> None:
        values, weights = data[name], data["weight"]
        low, high = quantiles(values, weights, [0.01, 0.99])
        self.limit = data.meta.get("limits", {}).get(name, "")
        self.logarithm = name in data.meta["logarithmic"] and low > 0 and high / low > 30
        exponent = 0 if self.logarithm else scale_of(low, high)
        self.values = np.log10(values) if self.logarithm else values / 10.0**exponent
        truth = truths.get(name)
        self.truth = None if truth is None else float(np.log10(truth) if self.logarithm else truth / 10.0**exponent)
        self.label = axis_label(name, data.units.get(name, ""), exponent, logarithm=self.logarithm)
        low, high = quantiles(self.values, weights, [0.001, 0.999])
        if self.truth is not None and np.isfinite(self.truth):
            low, high = min(low, self.truth), max(high, self.truth)
        pad = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
        # what the draws themselves do not pass is a bound, and is not passed by the axis either
        self.limits = (max(low - pad, float(self.values.min())), min(high + pad, float(self.values.max())))
        if self.truth is not None and np.isfinite(self.truth):
            self.limits = (min(self.limits[0], self.truth - pad), max(self.limits[1], self.truth + pad))
        if not self.limits[0] < self.limits[1]:
            self.limits = (low - pad, high + pad)
        self.quantiles = dict(zip(QUANTILES, quantiles(self.values, weights, list(QUANTILES.values())), strict=True))
        self.title = self._title({k: float(10.0**q if self.logarithm else q) for k, q in self.quantiles.items()})

    def _title(self, q: dict[str, float]) -> str:
        """What the table says: median and errors, or the limit; never of a logarithm."""
        exponent = scale_of(q["q16"], q["q84"]) if self.logarithm else 0
        low, middle, high, above, below = (q[k] / 10.0**exponent for k in ("q16", "median", "q84", "q95", "q05"))
        value, errors = with_errors(middle, high - middle, middle - low)
        if self.limit:
            end, sign = (above, "<") if self.limit == "upper" else (below, ">")
            text = f"{sign} {with_errors(end, high - low, high - low)[0]}"
        elif errors != "-" and "e" not in value:
            plus, minus = errors.split()
            text = f"{value}^{{{plus}}}_{{{minus}}}"
        else:
            text = value
        return f"${text}$" if not exponent else rf"${text}\times10^{{{exponent}}}$"


def _chosen(data: PlotTable, parameters: Sequence[str] | None) -> list[str]:
    known = [c for c in data.columns if c != "weight"]
    if parameters is None:
        return known[:MOST]
    found: list[str] = []
    for name in parameters:
        entries = [k for k in known if k == name or k.startswith(f"{name}[")]
        if not entries:
            raise unknown_name(name, known, "parameter")
        found += entries
    return found


def _draw_one(ax: Any, axis: _Axis, weights: np.ndarray) -> None:
    height, edges = np.histogram(axis.values, bins=_bins(weights, 5.5), range=axis.limits, weights=weights)
    ax.stairs(height, edges, color=BLUE, lw=1.2)
    ax.stairs(height, edges, color=BLUE, alpha=0.15, fill=True)
    for key, style in (("q16", "--"), ("median", "-"), ("q84", "--")):
        ax.axvline(axis.quantiles[key], color="0.25", lw=0.9, ls=style)
    if axis.truth is not None:
        ax.axvline(axis.truth, color=VERMILION, lw=1.2)
    ax.set_ylim(0, height.max() * 1.08)
    ax.set_title(axis.title, pad=4)


def _draw_pair(ax: Any, x: _Axis, y: _Axis, weights: np.ndarray) -> None:
    from scipy.ndimage import gaussian_filter

    bins = _bins(weights, 8.0)
    height, x_edges, y_edges = np.histogram2d(
        x.values, y.values, bins=bins, range=(x.limits, y.limits), weights=weights
    )
    smooth = gaussian_filter(height, _SMOOTHING, mode="reflect")
    levels = _heights(smooth)
    centres = [0.5 * (e[1:] + e[:-1]) for e in (x_edges, y_edges)]
    # centres of the outermost bins move to the edge, so that a region at a bound reaches it
    for c, e in zip(centres, (x_edges, y_edges), strict=True):
        c[0], c[-1] = e[0], e[-1]
    if len(levels) == 2:
        ax.contourf(*centres, smooth.T, levels=[*levels, smooth.max() * 1.001], colors=["#A9CCE3", "#4A90C2"])
        ax.contour(*centres, smooth.T, levels=levels, colors=[BLUE], linewidths=0.8)
    if x.truth is not None:
        ax.axvline(x.truth, color=VERMILION, lw=1.0)
    if y.truth is not None:
        ax.axhline(y.truth, color=VERMILION, lw=1.0)


def _bins(weights: np.ndarray, factor: float) -> int:
    """Choose the number of bins: fewer where draws are few, so that a contour shows the posterior, not the draws."""
    return int(np.clip(factor * kish(weights) ** 0.2, 12, 44))


def _heights(density: np.ndarray) -> list[float]:
    """Heights above which lie 95% and 68% of the mass, increasing; none where the draws are too few to tell."""
    ordered = np.sort(density.ravel())[::-1]
    mass = np.cumsum(ordered)
    if not mass[-1] > 0:
        return []
    levels = [float(ordered[np.searchsorted(mass, share * mass[-1])]) for share in _LEVELS]
    return levels if 0 < levels[0] < levels[1] < ordered[0] else []


def _label(ax: Any, x: _Axis, y: _Axis, *, bottom: bool, left: bool) -> None:
    diagonal = x is y
    ax.set_xlim(x.limits)
    if not diagonal:
        ax.set_ylim(y.limits)
    for axis, shown in ((ax.xaxis, bottom), (ax.yaxis, left)):
        plain_axis(axis, 3, prune="both")
        axis.set_tick_params(labelbottom=shown, labelleft=shown)
    if diagonal:
        ax.yaxis.set_ticks([])
    if bottom:
        ax.set_xlabel(x.label)
        ax.tick_params(axis="x", labelrotation=45)
    if left:
        ax.set_ylabel(y.label)
