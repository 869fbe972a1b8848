"""Scan: the statistic along one held parameter, or contours over two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.plots.style import BLACK, BLUE, VERMILION, context, new_figure, say_converged
from skyfold.results.notation import axis_label, scale_of

#: Rise of the statistic at 68, 90 and 99% for one parameter, and for two together.
LEVELS = {1: (1.0, 2.706, 6.635), 2: (2.296, 4.605, 9.210)}
_PROBABILITIES = {1.0: "68%", 2.706: "90%", 6.635: "99%", 2.296: "68%", 4.605: "90%", 9.21: "99%"}


def scan(result: Any, *, levels: Sequence[float] | None = None) -> Any:
    """Draw the rise of the statistic over its best value, and levels of confidence.

    Parameters
    ----------
    result : `skyfold.profiles.scan.ScanResult` over one or two parameters.
    levels : rises of the statistic to mark, by default those of 68, 90 and 99%.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    SkyfoldError
        If more than two parameters are held.
    """
    if len(result.names) > 2:
        raise SkyfoldError(f"A scan over {len(result.names)} parameters has no figure: hold one or two of them.")
    marked = sorted(levels) if levels is not None else list(LEVELS[len(result.names)])
    data = result.table()
    with context():
        figure = new_figure(4.6, 3.6)
        ax = figure.subplots()
        (_line if len(result.names) == 1 else _contours)(ax, data, marked)
        say_converged(figure, data.meta)
    return figure


def _line(ax: Any, data: Any, levels: list[float]) -> None:
    ((name, values),) = data.meta["grid"].items()
    order = np.argsort(values)
    power = scale_of(min(values), max(values))
    x, rise = np.array(values)[order] / 10.0**power, data["delta"][order]
    ax.plot(x, rise, color=BLUE, marker=".", ms=4)
    shown = np.max(rise[np.isfinite(rise)], initial=0.0)
    top = min(max(shown, 1e-3), 3.0 * levels[-1]) if levels else max(shown, 1e-3)
    for level in levels:
        if level <= 1.1 * top:
            ax.axhline(level, color=BLACK, lw=0.7, ls=":")
            ax.annotate(_PROBABILITIES.get(level, f"{level:g}"), (0.99, level), xycoords=ax.get_yaxis_transform(),
                        ha="right", va="bottom", fontsize=8)  # fmt: skip
    best = data.meta["best"][name] / 10.0**power
    if x[0] <= best <= x[-1]:
        ax.axvline(best, color=VERMILION, lw=0.8, ls="--")
    ax.set_ylim(-0.03 * top, 1.1 * top)
    ax.set_xlim(x[0], x[-1]) if len(x) > 1 else None
    ax.set_xlabel(axis_label(name, data.units.get(name, ""), power, lines=False))
    ax.set_ylabel(rf"$\Delta$ {data.meta['statistic_name']}")


def _contours(ax: Any, data: Any, levels: list[float]) -> None:
    (first, a), (second, b) = data.meta["grid"].items()
    i, j = np.argsort(a), np.argsort(b)
    rise = data["delta"].reshape(len(a), len(b))[np.ix_(i, j)]
    powers = [scale_of(min(v), max(v)) for v in (a, b)]
    x, y = (np.sort(v) / 10.0**p for v, p in zip((a, b), powers, strict=True))
    if len(x) < 2 or len(y) < 2:
        raise SkyfoldError("Contours need at least two values of each parameter.")
    top = 2.0 * levels[-1] if levels else float(np.max(rise[np.isfinite(rise)]))
    shade = ax.pcolormesh(x, y, np.clip(rise, 0.0, top).T, cmap="Blues_r", vmin=0.0, vmax=top, shading="nearest")
    shade.set_rasterized(True)
    ax.figure.colorbar(shade, ax=ax, label=rf"$\Delta$ {data.meta['statistic_name']}", pad=0.02)
    inside = [level for level in levels if np.min(rise) < level < np.max(rise)]
    if inside:
        lines = ax.contour(x, y, np.minimum(rise, 10.0 * top).T, levels=inside, colors=BLACK, linewidths=1.0)
        ax.clabel(lines, fmt={level: _PROBABILITIES.get(level, f"{level:g}") for level in inside}, fontsize=8)
    here = [data.meta["best"][n] / 10.0**p for n, p in zip((first, second), powers, strict=True)]
    if x[0] <= here[0] <= x[-1] and y[0] <= here[1] <= y[-1]:
        ax.plot(*here, marker="+", color=VERMILION, ms=9, mew=1.4, ls="")
    ax.set_xlabel(axis_label(first, data.units.get(first, ""), powers[0], lines=False))
    ax.set_ylabel(axis_label(second, data.units.get(second, ""), powers[1], lines=False))
