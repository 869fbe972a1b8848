"""Style: colours that everyone can tell apart, ticks that do not run into one another, files fit for print."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np

from skyfold.results.notation import plain

#: Palette of Okabe & Ito (2008), which colour-blind readers can tell apart.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)
#: Colours of observations and chains, and of components.
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
PARTS = ((GREEN, "--"), (PURPLE, "-."), (ORANGE, (0, (5, 1, 1, 1, 1, 1))), (SKY, ":"), (BLUE, "--"), (BLACK, "-."))

#: Endings of the files that a figure is saved as.
FORMATS = ("png", "pdf")

#: Settings of every figure.
SETTINGS: dict[str, Any] = {
    "font.size": 9.5,
    "axes.labelsize": 10,
    "axes.titlesize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.2,
    "mathtext.fontset": "dejavusans",
    "pdf.fonttype": 42,
}


def new_figure(width: float, height: float) -> Any:
    """Make an empty figure (inches); one that ``pyplot.show`` knows only where pyplot is in use already."""
    if "matplotlib.pyplot" in sys.modules:
        return sys.modules["matplotlib.pyplot"].figure(figsize=(width, height), layout="constrained")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def context() -> Any:
    """Context in which figures of this package are drawn."""
    import matplotlib

    return matplotlib.rc_context(cast("Any", SETTINGS))


def say_converged(figure: Any, meta: dict[str, Any], axes: Any = None) -> None:
    """Write over a figure (over its uppermost axes, where a legend stands above) that the fit has not converged."""
    if meta.get("converged", True):
        return
    reason = meta["messages"][0] if meta.get("messages") else "the method gives no reason"
    wide = max(int(figure.get_figwidth() * 11), 30)
    reason = reason if len(reason) <= wide else reason[: wide - 3] + "..."
    write = figure.suptitle if axes is None else axes.set_title
    write(f"NOT CONVERGED: do not use\n{plain(reason)}", color=VERMILION, fontweight="bold", fontsize=10)


def save(figure: Any, stem: str | Path, dpi: int = 300) -> list[Path]:
    """Write a figure as ``<stem>.png`` and ``<stem>.pdf``; return the two paths."""
    paths = [Path(f"{stem}.{ending}") for ending in FORMATS]
    with context():
        figure.savefig(paths[0], dpi=dpi)
        figure.savefig(paths[1], metadata={"CreationDate": None})
    return paths


def steps(low: np.ndarray, high: np.ndarray, *values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Corners of step functions over bins; the line breaks where bins do not touch.

    Parameters
    ----------
    low, high : (n,) edges of the bins, in order.
    *values : (n,) heights.

    Returns
    -------
    x, y, ... : (m,) arrays
    """
    apart = np.flatnonzero(np.abs(low[1:] - high[:-1]) > 1e-6 * np.abs(high[:-1])) + 1
    x = np.insert(np.stack([low, high], axis=1).ravel(), 2 * apart, high[apart - 1])
    return x, *(np.insert(np.repeat(v, 2).astype(float), 2 * apart, np.nan) for v in values)


def plain_axis(axis: Any, most: int, prune: str | None = None) -> None:
    """Give an axis (``ax.xaxis``) at most so many ticks, with labels that are complete by themselves."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    axis.set_major_locator(MaxNLocator(most, prune=prune))
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_scientific(False)
    axis.set_major_formatter(formatter)


def say_shown(figure: Any, shown: int, of: int) -> None:
    """Write into the corner of a figure how many of the parameters it shows, where it is not all."""
    if shown < of:
        figure.text(0.99, 0.99, f"the first {shown} of {of} parameters", ha="right", va="top", fontsize=9)


def log_axis(axis: Any, low: float, high: float) -> None:
    """Make an axis (``ax.xaxis``) logarithmic, with a few plain labels whatever its length."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

    ax, which = axis.axes, axis.axis_name
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    (ax.set_xlim if which == "x" else ax.set_ylim)(low, high)
    decades = math.log10(high / low)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    mantissas = (1,) if decades > 2.5 else (1, 3) if decades > 1.7 else (1, 2, 5) if decades > 0.5 else range(1, 10)
    every = max(1, math.ceil(decades / 7))
    ticks = [m * 10.0**p for p in powers if p % every == 0 for m in mantissas]
    ticks = [t for t in ticks if low * 0.999 <= t <= high * 1.001]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: log_label(value)))
    axis.set_minor_locator(LogLocator(subs=range(1, 10), numticks=200))
    axis.set_minor_formatter(NullFormatter())


def log_label(value: float) -> str:
    """Label of a tick of a logarithmic axis: plain near one, else a power of ten."""
    if value <= 0:
        return ""
    power = math.floor(math.log10(value) + 1e-9)
    mantissa = round(value / 10.0**power)
    if -2 <= power <= 3:
        return f"{value:g}"
    return rf"$10^{{{power}}}$" if mantissa == 1 else rf"${mantissa}\times10^{{{power}}}$"


def spanning_axis(axis: Any, low: float, high: float, logarithmic: bool = True) -> None:
    """Scale an axis between two values: where `logarithmic`, by ratios if it spans more than a factor of 2.5."""
    if logarithmic and low > 0 and high / low > 2.5:
        log_axis(axis, low, high)
    else:
        axis.axes.set_xlim(low, high)
