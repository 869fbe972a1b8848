"""Calibration: distribution functions of the ranks with their simultaneous band, and the coverage of intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from skyfold.checks.calibration import Calibration
from skyfold.plots.style import BLACK, SERIES, VERMILION, context, new_figure
from skyfold.results.notation import plain

#: Most quantities that the legend names.
_NAMED = 12
_STYLES = ("-", "--", ":", "-.")
_LEVELS = np.linspace(0.01, 0.99, 99)


def calibration(found: Mapping[str, Calibration]) -> Any:
    """Draw, for each calibration, how far the distribution of the ranks and the coverage are from what they should be.

    Left: distribution function of the ranks minus that of uniform ones, with the band that holds all of them at once.
    A line like an S (up, then down) is over-confidence, one that bends to one side a bias. Right: coverage of central
    credible intervals minus their level, with the binomial error of one level (1 and 2 standard deviations).

    Parameters
    ----------
    found : calibrations by title; each takes a row.

    Returns
    -------
    matplotlib Figure
    """
    from skyfold.checks.calibration.findings import SIMULTANEOUS
    from skyfold.checks.calibration.uniformity import fractions, points

    with context():
        figure = new_figure(7.4, 2.5 * len(found) + 0.6)
        axes = figure.subplots(len(found), 2, squeeze=False, sharex="col", sharey="col")
        for (title, one), (left, right) in zip(found.items(), axes, strict=True):
            _title(left, right, title, one)
            if not one.n:
                continue
            z = points(one.n)
            low, high = one.band
            left.fill_between(z, low - z, high - z, color="0.85", lw=0, step=None)
            error = np.sqrt(_LEVELS * (1.0 - _LEVELS) / one.n)
            for width, shade in ((2.0, "0.88"), (1.0, "0.76")):
                right.fill_between(_LEVELS, -width * error, width * error, color=shade, lw=0)
            coverage = one.coverage(_LEVELS)
            for number, name in enumerate(one.quantities):
                look = {
                    "color": SERIES[number % len(SERIES)] if number < _NAMED else "0.5",
                    "ls": _STYLES[(number // len(SERIES)) % len(_STYLES)] if number < _NAMED else "-",
                    "lw": 1.1 if number < _NAMED else 0.4,
                }
                label = plain(name) if number < _NAMED else None
                left.plot(z, fractions(one.ranks[:, number]) - z, label=label, **look)
                right.plot(_LEVELS, coverage[number] - _LEVELS, **look)
            for ax in (left, right):
                ax.axhline(0.0, color=BLACK, lw=0.6)
                ax.set_xlim(0.0, 1.0)
            left.set_ylabel("ECDF - uniform")
            right.set_ylabel("coverage - level")
        axes[-1, 0].set_xlabel(f"rank of the truth; band: {100 * SIMULTANEOUS:.0f}% for all at once")
        axes[-1, 1].set_xlabel("level of the credible interval")
        handles, labels = next((h for h in (ax.get_legend_handles_labels() for ax in axes[:, 0]) if h[0]), ([], []))
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4) or 1)
    return figure


def _title(left: Any, right: Any, title: str, one: Calibration) -> None:
    outside = [n for n, good in zip(one.quantities, one.inside, strict=True) if not good] if one.n else []
    counted = " counted too" if one.flagged_too else ""
    failed = f", {len(one.flagged)} not converged{counted}" if one.flagged else ""
    left.set_title(f"{plain(title)}: {one.n} fits{failed}", loc="left")
    if outside:
        shown = ", ".join(outside[:2]) + (" ..." if len(outside) > 2 else "")
        right.set_title(f"outside the band: {plain(shown)}", loc="left", color=VERMILION)
