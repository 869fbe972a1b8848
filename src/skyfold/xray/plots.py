"""Model: the spectrum as it arrives, without the instrument, with its components and bands."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.plots.display import BANDS, SHARES
from skyfold.plots.style import PARTS, VERMILION, context, log_axis, new_figure, say_converged, spanning_axis
from skyfold.results.contributions import find, term_paths
from skyfold.results.evaluation import apply
from skyfold.results.result import Result
from skyfold.results.tables import PlotTable
from skyfold.terms import select
from skyfold.xray.wider_grid import widened

#: Figures whose numbers can be had, and all that may be saved; see `skyfold.plots`.
FIGURES = {"model": "skyfold.xray.plots"}
SAVED = ("model",)
#: Symbols of parameters on axes.
SYMBOLS = {
    "PhoIndex": r"\Gamma",
    "nH": r"N_\mathrm{H}",
    "kT": r"kT",
    "Tin": r"T_\mathrm{in}",
    "Redshift": r"z",
    "redshift": r"z",
    "LineE": r"E_\mathrm{line}",
}

DEFAULTS: dict[str, Any] = {"observation": None, "absorbed": True, "low": None, "high": None}

#: Bins of the curve, and draws behind the bands.
_BINS, _DRAWS = 600, 511

_KINDS = {
    "E2F": (2, r"$E^2 N_E$ [keV cm$^{-2}$ s$^{-1}$]"),
    "EF": (1, r"$E N_E$ [keV cm$^{-2}$ s$^{-1}$ keV$^{-1}$]"),
    "photons": (0, r"$N_E$ [photons cm$^{-2}$ s$^{-1}$ keV$^{-1}$]"),
}


class Density(eqx.Module):
    """Photons/cm^2/s/keV of parts of a model, (n_parts, n_bins)."""

    edges: np.ndarray
    inside: tuple[int, int] = eqx.field(static=True)
    paths: tuple[Any, ...] = eqx.field(static=True)
    absorbed: bool = eqx.field(static=True)

    def __call__(self, model: Any) -> jax.Array:
        parts = [select(model, path, factors=self.absorbed).evaluate(self.edges) for path in self.paths]
        return (jnp.stack(parts) / jnp.diff(self.edges))[:, slice(*self.inside)]


def to_save(result: Result, truth: Any = None) -> dict[str, Any]:
    """Functions that draw what a result has: the model, where it was saved or there is an observation of energies."""
    pairs = {} if result._posterior is None else result._posterior.pairs
    known = "model" in result._tables or any(hasattr(o, "energies") for _, o in pairs.values())
    return {"model": result.plot_model} if known else {}


def table(result: Result, observation: str | None, absorbed: bool, low: float | None, high: float | None) -> PlotTable:
    """Compute the numbers behind the figure: energies, quantiles, best fit and components, photons/cm^2/s/keV."""
    posterior = result.posterior
    if observation is None:
        spectra = (name for name, (_, o) in posterior.pairs.items() if hasattr(o, "energies"))
        observation = next(spectra, next(iter(posterior.pairs)))
    name, _ = find(posterior, None, observation)
    seen = posterior.pairs[name][1]
    if not hasattr(seen, "energies"):
        raise SkyfoldError(f"'{name}' is not an observation of energies: its model has no spectrum to draw without it.")
    edges = np.geomspace(*_span(seen, low, high), _BINS + 1)
    paths = term_paths(posterior, name)
    latent = result.equal_weight_latent(1 if result.draws.is_point else _DRAWS)
    points = np.concatenate([result.best_latent[None], latent])
    wider, inside = widened(posterior.pairs[name][0], edges)
    curves = apply(
        posterior, points, Density(wider, (inside.start, inside.stop), (None, *paths.values()), absorbed), name
    )
    best, total = curves[0], curves[1:, 0]
    columns = {"x_low": edges[:-1], "x_high": edges[1:]}
    for key, values in zip(BANDS, np.quantile(total, list(BANDS.values()), axis=0), strict=True):
        columns[f"model_{key}"] = values
    columns["best"] = best[0]
    if len(paths) > 1:
        columns |= {f"component:{part}": values for part, values in zip(paths, best[1:], strict=True)}
    units = {k: "keV" if k in ("x_low", "x_high") else "ph / (cm2 s keV)" for k in columns}
    return PlotTable(columns, units, {"observation": name, "absorbed": absorbed})


def _span(observation: Any, low: float | None, high: float | None) -> tuple[float, float]:
    """Ends of the curve: those given, else those of the data inside the energies on which a model is evaluated."""
    energies = np.asarray(observation.energies)
    data = np.clip(getattr(observation, "edges", energies), energies.min(), energies.max())
    low, high = float(data.min() if low is None else low), float(data.max() if high is None else high)
    if not 0 < low < high < np.inf:
        raise SkyfoldError(f"A model is drawn between positive, finite, increasing energies, not {low:g} and {high:g}.")
    return low, high


def model(
    result: Result,
    *,
    kind: str = "E2F",
    observation: str | None = None,
    absorbed: bool | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """Draw the model without the instrument: best fit, components, 68% and 95% bands.

    Parameters
    ----------
    result : what to draw.
    kind : ``"E2F"`` (:math:`E^2 N_E`), ``"EF"`` or ``"photons"`` (:math:`N_E`, the photon flux density).
    observation : whose model, by default the first one's that has energies.
    absorbed : with the multiplicative components (True).
    low, high : ends in keV, by default those of the data.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    SkyfoldError
        If the observation has no energies, there is no such kind, or the ends are no range.
    """
    if kind not in _KINDS:
        raise SkyfoldError(f"kind is one of {', '.join(_KINDS)}, not {kind!r}.")
    data = result._table("model", observation=observation, absorbed=absorbed, low=low, high=high)
    power, label = _KINDS[kind]
    energy = np.sqrt(data["x_low"] * data["x_high"])
    scale = energy**power
    with context():
        figure = new_figure(6.0, 4.4)
        ax = figure.subplots()
        for lower, upper, share, alpha in SHARES:
            if not np.array_equal(data[f"model_{lower}"], data[f"model_{upper}"]):
                y1, y2 = data[f"model_{lower}"] * scale, data[f"model_{upper}"] * scale
                ax.fill_between(energy, y1, y2, color=VERMILION, alpha=alpha, lw=0, label=f"posterior {share}")
        ax.plot(energy, data["best"] * scale, color=VERMILION, label="best fit")
        parts = [c for c in data.columns if c.startswith("component:")]
        for part, (colour, style) in zip(parts, PARTS * (len(parts) // len(PARTS) + 1), strict=False):
            ax.plot(energy, data[part] * scale, color=colour, ls=style, lw=1.1, label=part.removeprefix("component:"))
        spanning_axis(ax.xaxis, float(data["x_low"][0]), float(data["x_high"][-1]))
        _scale(ax, data["best"] * scale, data["model_q975"] * scale)
        ax.set_xlabel("Energy [keV]")
        ax.set_ylabel(label if data.meta["absorbed"] else f"{label}, unabsorbed")
        figure.legend(loc="outside upper center", ncols=3)
        say_converged(figure, data.meta, ax)
    return figure


def _scale(ax: Any, best: np.ndarray, upper: np.ndarray) -> None:
    positive = best[best > 0]
    if positive.size == 0:
        return
    top = max(float(upper.max()), float(positive.max()))
    log_axis(ax.yaxis, max(float(positive.min()), top * 1e-6) / 5.0, top * 1.6)
