"""Display: data of an observation beside what draws expect of them, in the bins of a figure."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.poisson import Poisson
from skyfold.observation import Observation
from skyfold.results.predictive import replicate
from skyfold.results.tables import PlotTable

#: Quantiles of the bands: 68% and 95%.
BANDS = {"q025": 0.025, "q16": 0.15865525393145707, "q50": 0.5, "q84": 0.8413447460685429, "q975": 0.975}
#: The bands from the outer to the inner: keys of their ends, what they hold, and how dark they are drawn.
SHARES = (("q025", "q975", "95%", 0.18), ("q16", "q84", "68%", 0.32))


def display_table(
    name: str,
    observation: Observation,
    expected: np.ndarray,
    best: np.ndarray | None = None,
    *,
    components: dict[str, np.ndarray] | None = None,
    seed: int | None = None,
    min_significance: float = 0.0,
    max_bins: int = 1,
) -> PlotTable:
    """Put data and expected data into display bins.

    An observation may tell where its data lie, ``edges`` (n_data, 2) in keV, how counts become counts/s/keV,
    ``rate_factor`` (n_data,), what background lies under them, ``background_counts`` (n_data,), and how to join data
    for display, ``rebin(min_significance, max_bins)``. One that does not is shown by the number of each datum.

    Parameters
    ----------
    name, observation : what was observed.
    expected : (n_draws, n_data) expected data of equally weighted draws.
    best : (n_data,) expected data at the best fit; without it there are no residuals.
    components : expected data of additive components at the best fit, by name.
    seed : seed of replicated data for predictive bands; None, or data that cannot be drawn: no such bands.
    min_significance, max_bins : join data until each bin has this significance, at most so many.

    Returns
    -------
    PlotTable
        ``x_low``, ``x_high``, ``data``, ``error_low``, ``error_high``; ``model_q16`` and so on: bands of the expected
        data; ``predictive_q16`` and so on: bands of replicated data; ``best``, ``residual`` (deviance residuals of
        counts, else (data - model) / error), ``ratio`` with errors; ``background``; ``component:NAME``.
    """
    n = observation.n_data
    edges = getattr(observation, "edges", None)
    has_edges = edges is not None and np.shape(edges) == (n, 2)
    spans = np.asarray(edges, dtype=float) if has_edges else np.arange(n)[:, None] + np.array([0.5, 1.5])
    order, starts = _bins(observation, spans, min_significance, max_bins) if has_edges else (np.arange(n), np.arange(n))

    def joined(values: Any) -> np.ndarray:
        return np.add.reduceat(np.asarray(values, dtype=float)[..., order], starts, axis=-1)

    rate = getattr(observation, "rate_factor", None) if has_edges else None
    factor = np.ones(len(starts)) if rate is None else 1.0 / joined(1.0 / np.asarray(rate, dtype=float))
    data = joined(observation.data)
    low, high = _errors(observation, data, joined)
    columns: dict[str, np.ndarray] = {
        "observation": np.full(len(starts), name),
        "x_low": np.minimum.reduceat(spans[order, 0], starts),
        "x_high": np.maximum.reduceat(spans[order, 1], starts),
        "data": data * factor,
        "error_low": low * factor,
        "error_high": high * factor,
    }
    for key, values in zip(BANDS, np.nanquantile(joined(expected), list(BANDS.values()), axis=0), strict=True):
        columns[f"model_{key}"] = values * factor
    drawn = None if seed is None else replicate(observation, np.random.default_rng([seed, 30]), expected)
    if drawn is not None:
        for key, values in zip(BANDS, np.quantile(joined(drawn), list(BANDS.values()), axis=0), strict=True):
            columns[f"predictive_{key}"] = values * factor
    if best is not None:
        m = joined(best)
        columns["best"] = m * factor
        columns["residual"] = _residual(observation, data, m, joined)
        safe = np.where(m != 0, m, np.nan)
        columns["ratio"] = data / safe
        columns["ratio_low"], columns["ratio_high"] = low / np.abs(safe), high / np.abs(safe)
    background = getattr(observation, "background_counts", None)
    if background is not None:
        columns["background"] = joined(background) * factor
    for part, values in (components or {}).items():
        columns[f"component:{part}"] = joined(values) * factor
    return PlotTable(columns, _units(columns, has_edges, rate is not None), {})


def labels(tables: list[PlotTable]) -> dict[str, str]:
    """Axis labels that fit all tables, and whether x is an energy."""
    energies = all(t.units.get("x_low") == "keV" for t in tables)
    rates = all(t.units.get("data") for t in tables)
    y = "counts s$^{-1}$ keV$^{-1}$" if rates else "counts per bin" if energies else "data"
    return {"x": "Energy [keV]" if energies else "datum", "y": y}


def _bins(
    observation: Observation, spans: np.ndarray, min_significance: float, max_bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Order of the data by energy, and where in that order each display bin begins; bins never bridge a gap."""
    order = np.argsort(spans[:, 0], kind="stable")
    if max_bins <= 1 or min_significance <= 0 or not hasattr(observation, "rebin"):
        return order, np.arange(len(order))
    number = np.asarray(observation.rebin(min_significance, max_bins))[order]
    gap = np.abs(spans[order][1:, 0] - spans[order][:-1, 1]) > 1e-3 * np.abs(spans[order][:-1, 1])
    begins = np.concatenate([[True], (np.diff(number) != 0) | gap])
    return order, np.flatnonzero(begins)


def _errors(observation: Observation, data: np.ndarray, joined: Any) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper error: central 68% of a Poisson mean (Garwood 1936, Biometrika 28, 437), or the sigma."""
    likelihood = observation.likelihood
    if isinstance(likelihood, Poisson):
        from scipy.special import gammaincinv

        tail = 0.15865525393145707
        lower = np.where(data > 0, gammaincinv(np.maximum(data, 1e-9), tail), 0.0)
        return data - lower, gammaincinv(data + 1.0, 1.0 - tail) - data
    sigma = getattr(likelihood, "sigma", None)
    if sigma is None:
        return np.full(len(data), np.nan), np.full(len(data), np.nan)
    error = np.sqrt(joined(np.square(sigma)))
    return error, error


def _residual(observation: Observation, data: np.ndarray, model: np.ndarray, joined: Any) -> np.ndarray:
    likelihood = observation.likelihood
    if isinstance(likelihood, Poisson):
        from scipy.special import xlogy

        m = np.maximum(model, 1e-300)
        deviance = 2.0 * np.maximum(m - data + xlogy(data, data / m), 0.0)
        return np.sign(data - m) * np.sqrt(deviance)
    if isinstance(likelihood, Gaussian):
        return (data - model) / np.sqrt(joined(np.square(likelihood.sigma)))
    if len(data) != observation.n_data:
        return np.full(len(data), np.nan)
    return (data - model) * np.sqrt(np.asarray(observation.fisher(jnp.asarray(model))))


def residual_kind(observations: list[Observation]) -> str:
    """Kind of the residuals: ``"deviance"`` (counts), ``"pearson"`` ((data - model) / error) or ``"mixed"``."""
    poisson = [isinstance(o.likelihood, Poisson) for o in observations]
    return "deviance" if all(poisson) else "mixed" if any(poisson) else "pearson"


def _units(columns: dict[str, np.ndarray], has_edges: bool, rates: bool) -> dict[str, str]:
    plain = {"observation", "residual", "ratio", "ratio_low", "ratio_high", "x_low", "x_high"}
    units = {name: "ct / (s keV)" for name in columns if rates and name not in plain}
    if has_edges:
        units |= {"x_low": "keV", "x_high": "keV"}
    return units
