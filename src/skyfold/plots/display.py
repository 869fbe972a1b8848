"""Display: data of an observation beside what draws expect of them, in the bins of a figure."""

from __future__ import annotations

from typing import Any

import numpy as np

from skyfold.observation import Observation
from skyfold.results.tables import PlotTable

#: Quantiles of the bands: 68% and 95%.
BANDS = {"q025": 0.025, "q16": 0.15865525393145707, "q50": 0.5, "q84": 0.8413447460685429, "q975": 0.975}
#: The bands from the outer to the inner: keys of their ends, what they hold, and how dark they are drawn.
SHARES = (("q025", "q975", "95%", 0.18), ("q16", "q84", "68%", 0.32))


def display_table(
    name: str,
    observation: Observation,
    means: np.ndarray,
    best: np.ndarray | None = None,
    *,
    components: dict[str, np.ndarray] | None = None,
    drawn: np.ndarray | None = None,
    min_significance: float = 0.0,
    max_bins: int = 1,
) -> PlotTable:
    """Put data and expected data into display bins, along the observation's `axis`.

    Parameters
    ----------
    name, observation : what was observed.
    means : (n_draws, n_data) expected data of equally weighted draws.
    best : (n_data,) expected data at the best fit; without it there are no residuals.
    components : expected data of additive components at the best fit, by name.
    drawn : (n_draws, n_data) replicated data, or (n_draws, n_data, k) with what goes with each datum; None: no
        predictive bands.
    min_significance, max_bins : join data until each bin has this significance, at most so many.

    Returns
    -------
    PlotTable
        ``x_low``, ``x_high``, ``data``, ``error_low``, ``error_high``, NaN where no datum is; ``model_q16`` and so on:
        bands of the expected data; ``predictive_q16`` and so on: bands of replicated data; ``best``, ``residual``
        (deviance residuals of counts, else (data - model) / error), ``ratio`` with errors; ``background``;
        ``component:NAME``.
    """
    axis, likelihood = observation.axis, observation.likelihood
    spans = np.stack([axis.low, axis.high], axis=1)
    order, starts = _bins(observation, spans, min_significance, max_bins)

    def joined(values: Any) -> np.ndarray:
        return np.add.reduceat(np.asarray(values, dtype=float)[..., order], starts, axis=-1)

    factor = 1.0 if axis.factor is None else 1.0 / joined(1.0 / np.asarray(axis.factor, dtype=float))
    data = joined(observation.data)
    low, high = likelihood.errors(data, joined)
    missing = np.isnan(low) & np.isnan(high)
    data = np.where(missing, np.nan, data)
    if drawn is not None and drawn.ndim == 3:
        drawn = drawn[..., 0]
    shown: dict[str, np.ndarray] = {"data": data, "error_low": low, "error_high": high}
    for kind, values in (("model", means), ("predictive", drawn)):
        if values is not None:
            bands = np.nanquantile(joined(values), list(BANDS.values()), axis=0)
            shown |= {f"{kind}_{key}": band for key, band in zip(BANDS, bands, strict=True)}
    others: dict[str, np.ndarray] = {}
    if best is not None:
        m = shown["best"] = joined(best)
        safe = np.where(m != 0, m, np.nan)
        others["residual"] = np.where(missing, np.nan, likelihood.residual(data, m, joined))
        others["ratio"] = data / safe
        others["ratio_low"], others["ratio_high"] = low / np.abs(safe), high / np.abs(safe)
    background = observation.background_counts
    if background is not None:
        shown["background"] = joined(background)
    shown |= {f"component:{part}": joined(values) for part, values in (components or {}).items()}
    columns = {
        "observation": np.full(len(starts), name),
        "x_low": np.minimum.reduceat(spans[order, 0], starts),
        "x_high": np.maximum.reduceat(spans[order, 1], starts),
        **{key: values * factor for key, values in shown.items()},
        **others,
    }
    units = {"x_low": axis.unit, "x_high": axis.unit, **dict.fromkeys(shown, axis.data_unit)}
    return PlotTable(columns, {key: unit for key, unit in units.items() if unit}, {})


def labels(observations: list[Observation]) -> dict[str, Any]:
    """What is written along the axes of a figure of all observations, and whether ratios count along x."""
    axes = [o.axis for o in observations]
    x, y = ({getattr(a, key) for a in axes} for key in ("label", "data_label"))
    return {
        "x": x.pop() if len(x) == 1 else "datum",
        "y": y.pop() if len(y) == 1 else "data",
        "logarithmic": all(a.logarithmic for a in axes),
    }


def logarithmic(table: PlotTable) -> bool:
    """Whether ratios count along x; tables that earlier versions saved say so by having a unit there."""
    return bool(table.meta["labels"].get("logarithmic", table.units.get("x_low")))


def _bins(
    observation: Observation, spans: np.ndarray, min_significance: float, max_bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Order of the data along the axis, and where in it each display bin begins; bins never bridge a gap."""
    order = np.argsort(spans[:, 0], kind="stable")
    if max_bins <= 1 or min_significance <= 0:
        return order, np.arange(len(order))
    number = np.asarray(observation.rebin(min_significance, max_bins))[order]
    gap = np.abs(spans[order][1:, 0] - spans[order][:-1, 1]) > 1e-3 * np.abs(spans[order][:-1, 1])
    begins = np.concatenate([[True], (np.diff(number) != 0) | gap])
    return order, np.flatnonzero(begins)


def residual_kind(observations: list[Observation]) -> str:
    """Kind of the residuals: ``"deviance"`` (counts), ``"pearson"`` ((data - model) / error) or ``"mixed"``."""
    kinds = {o.likelihood.residual_kind for o in observations}
    return kinds.pop() if len(kinds) == 1 else "mixed"
