"""Spectrum: data with the model folded through the instrument, its components, and the residuals."""

from __future__ import annotations

from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.parameters import parameters_in
from skyfold.plots.display import SHARES, display_table, labels, logarithmic, residual_kind
from skyfold.plots.style import (
    BLACK,
    PARTS,
    SERIES,
    VERMILION,
    context,
    log_axis,
    new_figure,
    say_converged,
    spanning_axis,
    steps,
)
from skyfold.results.result import Result
from skyfold.results.tables import PlotTable, stack

DEFAULTS: dict[str, Any] = {"min_significance": 3.0, "max_bins": 50}

_BACKGROUND = "background"
_UNUSED = "background (not fitted)"
_RESIDUALS = {
    "deviance": "deviance\nresidual [$\\sigma$]",
    "pearson": "(data $-$ model)\n/ error",
    "mixed": "residual [$\\sigma$]",
}
_KINDS = {"predictive": "posterior predictive", "model": "model", "none": ""}

#: Draws behind the bands.
_DRAWS = 1023


def table(result: Result, min_significance: float, max_bins: int) -> PlotTable:
    """Compute the numbers behind the figure; columns as in `skyfold.plots.display.display_table`."""
    from skyfold.results.contributions import folded
    from skyfold.results.predictive import drawn_data, means, predict

    posterior = result.posterior
    latent = result.equal_weight_latent(1 if result.draws.is_point else _DRAWS)
    points = np.concatenate([result.best_latent[None], latent])
    expected = predict(posterior, points)
    seen = means(posterior, points, expected)
    tables = []
    for name, (_, observation) in posterior.pairs.items():
        replicated = np.repeat(expected[name][1:], _DRAWS if result.draws.is_point else 1, axis=0)
        rng = np.random.default_rng([result.draws.seed, 30])
        if any(True for _ in parameters_in(observation)):
            observation = posterior.resolved(result.best_latent)[name][1]
        tables.append(
            display_table(
                name,
                observation,
                seen[name][1:],
                seen[name][0],
                components=folded(posterior, result.best_latent, name),
                drawn=drawn_data(observation.replicate, rng, replicated) if observation.likelihood.cheap else None,
                min_significance=min_significance,
                max_bins=max_bins,
            )
        )
    observations = [o for _, o in posterior.pairs.values()]
    meta = {
        "observations": list(posterior.pairs),
        "labels": labels(observations),
        "residual": residual_kind(observations),
        "unused": [name for name, (_, o) in posterior.pairs.items() if o.background_unused],
    }
    return stack(tables, meta)


def spectrum(
    result: Result,
    *,
    bands: str = "predictive",
    components: bool = True,
    background: bool = True,
    min_significance: float | None = None,
    max_bins: int | None = None,
) -> Any:
    """Draw data with error bars, model with 68% and 95% bands, residuals and ratio.

    Error bars of counts are central 68% intervals of a Poisson mean. The line is the best fit.

    Parameters
    ----------
    result : what to draw.
    bands : ``"predictive"``, of replicated data with their noise; ``"model"``, of the expected data alone; ``"none"``.
    components : draw the additive components (of a single observation).
    background : draw the background.
    min_significance, max_bins : join data for display until each bin has this significance, at most so many (3, 50).

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    SkyfoldError
        If there is no such kind of bands, or the result was loaded without its posterior and without these numbers.
    """
    if bands not in _KINDS:
        raise SkyfoldError(f"bands is one of {', '.join(_KINDS)}, not {bands!r}.")
    data = result._table("spectrum", min_significance=min_significance, max_bins=max_bins)
    names = data.meta["observations"]
    with context():
        figure = new_figure(6.6, 6.2)
        top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(3.2, 1.0, 1.0))
        figure.get_layout_engine().set(hspace=0.0, h_pad=0.02)
        for number, name in enumerate(names):
            part = data.where(data["observation"] == name)
            colour = BLACK if len(names) == 1 else SERIES[number % len(SERIES)]
            _draw_data(top, part, name, colour)
            _draw_model(top, part, colour if len(names) > 1 else VERMILION, bands, single=len(names) == 1)
            if background and "background" in part and np.any(part["background"] > 0):
                x, y = steps(part["x_low"], part["x_high"], part["background"])
                shade = "0.45" if len(names) == 1 else colour
                top.plot(
                    x,
                    y,
                    color=shade,
                    ls=":",
                    lw=1.0,
                    label=_UNUSED if name in data.meta.get("unused", names) else _BACKGROUND,
                )
            if components and len(names) == 1:
                _draw_components(top, part)
            _draw_residuals(middle, bottom, part, colour)
        _finish(figure, (top, middle, bottom), data, bands)
        say_converged(figure, data.meta, top)
    return figure


def _draw_data(ax: Any, part: PlotTable, name: str, colour: str) -> None:
    centre, half = _centres(part)
    errors = np.stack([part["error_low"], part["error_high"]])
    style = {"fmt": "none", "ecolor": colour, "elinewidth": 0.8, "zorder": 3}
    ax.errorbar(centre, part["data"], np.nan_to_num(errors), half, label=name, **style)


def _draw_model(ax: Any, part: PlotTable, colour: str, bands: str, *, single: bool) -> None:
    for low, high, share, alpha in SHARES:
        if f"{bands}_{low}" in part:
            x, y1, y2 = steps(part["x_low"], part["x_high"], part[f"{bands}_{low}"], part[f"{bands}_{high}"])
            label = f"{_KINDS[bands]} {share}" if single else None
            ax.fill_between(x, y1, y2, color=colour, alpha=alpha, lw=0, label=label, zorder=1)
    x, y = steps(part["x_low"], part["x_high"], part["best"])
    ax.plot(x, y, color=colour, lw=1.3, label="best fit" if single else None, zorder=4)


def _proxies(bands: str) -> dict[str, Any]:
    """Entries of the legend that hold for every observation, whatever its colour."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    found: dict[str, Any] = {"best fit": Line2D([], [], color="0.3", lw=1.3)}
    for _, _, share, alpha in SHARES if bands != "none" else ():
        found[f"{_KINDS[bands]} {share}"] = Patch(facecolor="0.3", alpha=alpha, lw=0)
    return found


def _draw_components(ax: Any, part: PlotTable) -> None:
    found = [n for n in part.columns if n.startswith("component:") and np.any(np.isfinite(part[n]))]
    for name, (colour, style) in zip(found, PARTS * (len(found) // len(PARTS) + 1), strict=False):
        x, y = steps(part["x_low"], part["x_high"], part[name])
        ax.plot(x, y, color=colour, ls=style, lw=1.1, label=name.removeprefix("component:"), zorder=2)


def _draw_residuals(middle: Any, bottom: Any, part: PlotTable, colour: str) -> None:
    centre, half = _centres(part)
    ones = np.ones(len(centre))
    middle.errorbar(centre, part["residual"], ones, half, fmt="none", ecolor=colour, elinewidth=0.8)
    errors = np.nan_to_num(np.stack([part["ratio_low"], part["ratio_high"]]))
    bottom.errorbar(centre, part["ratio"], errors, half, fmt="none", ecolor=colour, elinewidth=0.8)


def _finish(figure: Any, axes: tuple[Any, Any, Any], data: PlotTable, bands: str) -> None:
    from matplotlib.ticker import MaxNLocator

    top, middle, bottom = axes
    low, high = float(np.min(data["x_low"])), float(np.max(data["x_high"]))
    spanning_axis(bottom.xaxis, low, high, logarithmic(data))
    _scale_counts(top, data)
    residual = float(np.nanmax(np.abs(data["residual"]), initial=1.0)) + 1.0
    middle.set_ylim(-1.1 * max(residual, 3.0), 1.1 * max(residual, 3.0))
    above, below = (data["ratio"] + data["ratio_high"], data["ratio"] - data["ratio_low"])
    inside = np.nan_to_num(np.concatenate([above, below]), nan=1.0, posinf=1.0, neginf=1.0)
    reach = np.clip(1.1 * np.max(np.abs(inside - 1.0)), 0.2, 3.0)
    bottom.set_ylim(max(1.0 - reach, -0.1) if np.nanmin(data["ratio"], initial=0.0) >= 0 else 1.0 - reach, 1.0 + reach)
    for ax, level in ((middle, 0.0), (bottom, 1.0)):
        ax.axhline(level, color="0.4", lw=0.8, zorder=0)
        ax.yaxis.set_major_locator(MaxNLocator(4, prune="both"))
    top.set_ylabel(data.meta["labels"]["y"])
    middle.set_ylabel(_RESIDUALS[data.meta["residual"]])
    bottom.set_ylabel("data / model")
    bottom.set_xlabel(data.meta["labels"]["x"])
    for ax in (top, middle):
        ax.tick_params(labelbottom=False, which="both")
    floor = top.get_ylim()[0]
    seen = [
        line
        for line in top.get_lines()
        if line.get_label() not in (_BACKGROUND, _UNUSED) or np.any(line.get_ydata() > floor)
    ]
    for line in set(top.get_lines()) - set(seen):
        line.set_label("_below the axis")
    handles, names = top.get_legend_handles_labels()
    if len(data.meta["observations"]) > 1:
        more = _proxies(bands)
        handles, names = handles + list(more.values()), names + list(more)
    # data first, then best fit, bands, components
    first = [*data.meta["observations"], "best fit"]
    found = dict(zip(names, handles, strict=True))
    unique = {n: found[n] for n in [*(f for f in first if f in found), *(n for n in found if n not in first)]}
    figure.legend(unique.values(), unique.keys(), loc="outside upper center", ncols=min(3, len(unique)))
    figure.align_ylabels(axes)


def _scale_counts(ax: Any, data: PlotTable) -> None:
    there = np.isfinite(data["data"])
    values, above = (data["data"][there], (data["data"] + np.nan_to_num(data["error_high"]))[there])
    positive = values[values > 0]
    spans = positive.size > 0 and np.all(values >= 0) and above.max() / positive.min() > 10
    if not spans:
        return
    best = data["best"][data["best"] > 0]
    floor = max(min(positive.min(), best.min() if best.size else np.inf), above.max() * 1e-7)
    log_axis(ax.yaxis, floor / 3.0, above.max() * 2.0)


def _centres(part: PlotTable) -> tuple[np.ndarray, np.ndarray]:
    low, high = part["x_low"], part["x_high"]
    middle = np.sqrt(low * high) if np.all(low > 0) and logarithmic(part) else 0.5 * (low + high)
    return middle, np.stack([middle - low, high - middle])
