"""Figures of counts maps: counts, model and residuals on the sky, components, shares of the flux."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.gammaray.healpix import pixel_of
from skyfold.gammaray.likelihood import CompoundPoisson
from skyfold.gammaray.maps import CountsMap
from skyfold.plots.style import SERIES, context, new_figure, say_converged

if TYPE_CHECKING:
    from skyfold.results.result import Result

#: Pixels of an image along its longer side.
_SIZE = 400
PROJECTIONS = ("cartesian", "gnomonic", "mollweide")


def mean_counts(sky: CountsMap, expected: Any) -> np.ndarray:
    """Mean counts of every fitted pixel, (n_data,), point sources included.

    Parameters
    ----------
    sky : CountsMap
    expected : what ``sky.predict`` gives.
    """
    if isinstance(sky.likelihood, CompoundPoisson) and np.size(expected) != sky.n_data:
        return np.asarray(sky.likelihood.mean(jnp.asarray(expected))).sum(axis=0)
    return np.asarray(expected)


def image(sky: CountsMap, values: np.ndarray, projection: str = "cartesian") -> tuple[np.ndarray, tuple[float, ...]]:
    """Image (rows, columns) of values on the region's pixels (n_pix,), and its extent; NaN outside.

    Parameters
    ----------
    sky : the pixels.
    values : (n_pix,)
    projection : ``"cartesian"`` (degrees of longitude and latitude), ``"gnomonic"`` (tangent plane at the Galactic
        centre, degrees; the region must lie within 80 degrees of it) or ``"mollweide"`` (the whole sky). Longitude
        grows to the left.

    Raises
    ------
    SkyfoldError
        If there is no such projection, or the region is too large for it.
    """
    pixels = sky.pixels
    if projection not in PROJECTIONS:
        raise SkyfoldError(f"A projection is one of {', '.join(PROJECTIONS)}, not {projection!r}.")
    full = np.full(12 * pixels.nside**2, np.nan)
    full[pixels.index] = values
    if projection == "mollweide":
        x, y = np.meshgrid(np.linspace(2.0, -2.0, _SIZE), np.linspace(-1.0, 1.0, _SIZE // 2))
        theta = np.arcsin(y)
        latitude = np.arcsin(np.clip((2.0 * theta + np.sin(2.0 * theta)) / np.pi, -1.0, 1.0))
        longitude = 0.5 * np.pi * x / np.maximum(np.cos(theta), 1e-9)
        extent = (2.0, -2.0, -1.0, 1.0)
        visible = x**2 / 4.0 + y**2 <= 1.0
    else:
        if projection == "gnomonic":
            if np.min(pixels.direction[0]) < np.cos(np.radians(80.0)):
                raise SkyfoldError("A gnomonic image holds less than half of the sky; use 'mollweide' or 'cartesian'.")
            across, up = np.degrees(pixels.direction[1:] / pixels.direction[0])
        else:
            across, up = np.degrees(pixels.longitude), np.degrees(pixels.latitude)
        margin = np.degrees(0.5 / pixels.nside)
        left, right = across.max() + margin, across.min() - margin
        low, high = up.min() - margin, up.max() + margin
        extent = (left, right, low, high)
        x, y = np.meshgrid(np.linspace(left, right, _SIZE), np.linspace(low, high, _SIZE))
        x, y = np.radians(x), np.radians(y)
        longitude, latitude = (
            (np.arctan(x), np.arctan(y * np.cos(np.arctan(x)))) if projection == "gnomonic" else (x, y)
        )
        visible = np.ones(x.shape, dtype=bool)
    shown = np.full(x.shape, np.nan)
    shown[visible] = full[pixel_of(pixels.nside, longitude[visible], latitude[visible])]
    return shown, extent


def significance(counts: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Signed root of the Poisson deviance of each pixel; with point sources in the model it is wider than normal."""
    from scipy.special import xlogy

    deviance = 2.0 * (mean - counts + xlogy(counts, counts / np.maximum(mean, 1e-300)))
    return np.sign(counts - mean) * np.sqrt(np.maximum(deviance, 0.0))


def maps(result: Result, name: str | None = None, *, projection: str = "cartesian") -> Any:
    """Draw counts, best fit, residual significance, and the mean counts of every component.

    Parameters
    ----------
    result : a fit of counts maps.
    name : observation, default the first.
    projection : as for `image`.

    Returns
    -------
    matplotlib Figure
    """
    sky, parts = _parts(result, name, result.best_latent)
    total = np.sum(list(parts.values()), axis=0)
    counts = np.asarray(sky.data)
    panels = {"counts": counts, "best fit": total, "residual [$\\sigma$]": significance(counts, total), **parts}
    columns = 3
    rows = -(-len(panels) // columns)
    high = float(np.percentile(counts, 99.5))
    with context():
        figure = new_figure(3.1 * columns, 2.7 * rows)
        axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
        for axis, (title, values) in zip(axes, panels.items(), strict=False):
            # bins of energy are shown together
            region = sky.on_region(values).reshape(-1, sky.pixels.n_pix).sum(axis=0)
            shown, extent = image(sky, region, projection)
            scale: dict[str, Any] = {"cmap": "viridis"}
            if title.startswith("residual"):
                scale = {"vmin": -4, "vmax": 4, "cmap": "RdBu_r"}
            if title in ("counts", "best fit"):
                scale |= {"vmin": 0, "vmax": max(high, 1.0)}
            drawn = axis.imshow(shown, extent=extent, origin="lower", interpolation="nearest", **scale)
            figure.colorbar(drawn, ax=axis, shrink=0.8)
            axis.set_title(title)
            if projection == "mollweide":
                axis.set_axis_off()
            else:
                axis.set_xlabel("$l$ [deg]" if projection == "cartesian" else "$x$ [deg]")
                axis.set_ylabel("$b$ [deg]" if projection == "cartesian" else "$y$ [deg]")
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        say_converged(figure, {"converged": result.converged, "messages": result.draws.messages})
    return figure


def flux_fractions(result: Result, name: str | None = None, *, draws: int = 300) -> Any:
    """Draw the posterior of each component's share of the mean counts in the fitted pixels.

    Parameters
    ----------
    result : a fit of counts maps.
    name : observation, default the first.
    draws : draws of the posterior behind the histograms.

    Returns
    -------
    matplotlib Figure
    """
    shares: dict[str, list[float]] = {}
    for latent in result.equal_weight_latent(draws):
        _, parts = _parts(result, name, latent)
        whole = sum(v.sum() for v in parts.values())
        for part, values in parts.items():
            shares.setdefault(part, []).append(float(values.sum() / whole))
    with context():
        figure = new_figure(5.0, 3.4)
        axis = figure.subplots()
        for number, (part, drawn) in enumerate(shares.items()):
            colour = SERIES[number % len(SERIES)]
            axis.hist(drawn, bins=30, density=True, histtype="step", color=colour, lw=1.4, label=part)
        axis.set_xlabel("share of the expected counts")
        axis.set_ylabel("posterior density")
        axis.legend()
        say_converged(figure, {"converged": result.converged, "messages": result.draws.messages})
    return figure


def _parts(result: Result, name: str | None, latent: np.ndarray) -> tuple[CountsMap, dict[str, np.ndarray]]:
    """Counts map, and the mean counts (n_data,) of every component at one latent vector."""
    from skyfold.results.contributions import folded

    posterior = result.posterior
    name = next(iter(posterior.pairs)) if name is None else name
    sky = posterior.pairs[name][1] if name in posterior.pairs else None
    if not isinstance(sky, CountsMap):
        raise SkyfoldError(f"'{name}' is no counts map of this result; there are {', '.join(posterior.pairs)}.")
    parts = {}
    for part, expected in folded(posterior, latent, name).items():
        own = np.asarray(expected)
        model = _bound(sky, posterior, name, part) if own.size != sky.n_data else sky
        parts[part] = mean_counts(model, own)
    return sky, parts


def _bound(sky: CountsMap, posterior: Any, name: str, part: str) -> CountsMap:
    from skyfold.results.contributions import select, term_paths

    return sky.bound(select(posterior.pairs[name][0], term_paths(posterior, name)[part]))
