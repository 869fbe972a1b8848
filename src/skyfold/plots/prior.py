"""Prior predictive: what the priors expect of the data before they are seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from skyfold.plots.display import display_table, labels, logarithmic
from skyfold.plots.style import BLACK, BLUE, SERIES, context, log_axis, new_figure, spanning_axis, steps
from skyfold.posterior import Posterior
from skyfold.results.result import Result
from skyfold.results.tables import PlotTable, stack

DEFAULTS: dict[str, Any] = {"n": 1000, "seed": 0, "min_significance": 3.0, "max_bins": 50}


def table(
    result: Result | None,
    n: int,
    seed: int,
    min_significance: float,
    max_bins: int,
    *,
    posterior: Posterior | None = None,
) -> PlotTable:
    """Compute the numbers behind the figure; columns as in `skyfold.plots.display.display_table`."""
    from skyfold.results.predictive import in_chunks

    posterior = posterior or result.posterior  # type: ignore[union-attr]
    means = in_chunks(posterior.predict, posterior.draw_prior(n, seed))
    tables = []
    bad = 0
    for name, (_, observation) in posterior.pairs.items():
        finite = np.all(np.isfinite(means[name]), axis=1)
        bad += int(np.sum(~finite))
        draws = means[name][finite] if finite.any() else np.zeros((1, observation.n_data))
        tables.append(display_table(name, observation, draws, min_significance=min_significance, max_bins=max_bins))
    named = labels([o for _, o in posterior.pairs.values()])
    return stack(tables, {"observations": list(posterior.pairs), "labels": named, "not_finite": bad})


def prior_predictive(
    posterior: Posterior,
    *,
    n: int = 1000,
    seed: int = 0,
    min_significance: float = 3.0,
    max_bins: int = 50,
) -> Any:
    """Draw the data and the bands, 68% and 95%, in which the prior expects them.

    Parameters
    ----------
    posterior : model, priors and data; nothing is fitted.
    n : number of draws of the prior.
    seed : their seed.
    min_significance, max_bins : join data for display until each bin has this significance, at most so many.

    Returns
    -------
    matplotlib Figure
    """
    data = table(None, n, seed, min_significance, max_bins, posterior=posterior)
    names = data.meta["observations"]
    with context():
        figure = new_figure(6.4, 4.4)
        ax = figure.subplots()
        for number, name in enumerate(names):
            part = data.where(data["observation"] == name)
            colour = BLUE if len(names) == 1 else SERIES[number % len(SERIES)]
            for low, high, share, alpha in (("q025", "q975", "95%", 0.15), ("q16", "q84", "68%", 0.3)):
                x, y1, y2 = steps(part["x_low"], part["x_high"], part[f"model_{low}"], part[f"model_{high}"])
                label = f"prior {share}" if len(names) == 1 else None
                ax.fill_between(x, y1, y2, color=colour, alpha=alpha, lw=0, label=label)
            x, y = steps(part["x_low"], part["x_high"], part["model_q50"])
            ax.plot(x, y, color=colour, ls="--", label="prior median" if len(names) == 1 else None)
            middle = 0.5 * (part["x_low"] + part["x_high"])
            half = 0.5 * (part["x_high"] - part["x_low"])
            errors = np.nan_to_num(np.stack([part["error_low"], part["error_high"]]))
            dark = BLACK if len(names) == 1 else colour
            ax.errorbar(middle, part["data"], errors, half, fmt="none", ecolor=dark, elinewidth=0.8, label=name)
        _scale(ax, data)
        ax.set_xlabel(data.meta["labels"]["x"])
        ax.set_ylabel(data.meta["labels"]["y"])
        if data.meta["not_finite"]:
            ax.set_title(f"{data.meta['not_finite']} draws of the prior give no finite data")
        figure.legend(loc="outside upper center", ncols=4)
    return figure


def _scale(ax: Any, data: PlotTable) -> None:
    low, high = float(np.min(data["x_low"])), float(np.max(data["x_high"]))
    spanning_axis(ax.xaxis, low, high, logarithmic(data))
    seen = data["data"][data["data"] > 0]
    bands = np.concatenate([data["model_q025"], data["model_q975"]])
    if seen.size and np.all(data["data"] >= 0) and np.all(bands >= 0):
        top = max(float(data["model_q975"].max()), float(seen.max()))
        bottom = min(float(np.quantile(data["model_q16"], 0.1)), float(seen.min()))
        if top / max(bottom, 1e-300) > 10:
            log_axis(ax.yaxis, max(bottom / 2, float(seen.min()) * 1e-4), min(top * 2, float(seen.max()) * 1e6))
