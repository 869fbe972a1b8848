"""Figures of counts maps: counts, model and residuals on the sky, components, shares of the flux, source counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from skyfold.gammaray.maps import CountsMap
from skyfold.gammaray.sky_image import Image
from skyfold.plots import save_all
from skyfold.plots.style import (
    BLACK,
    SERIES,
    VERMILION,
    context,
    log_axis,
    new_figure,
    say_converged,
)
from skyfold.results.result import Result

__all__ = ["components", "flux_fractions", "fractions", "maps", "save_all", "source_counts", "to_save"]

#: Figures whose numbers can be had, and all that may be saved besides corner and trace; see `skyfold.plots`.
FIGURES: dict[str, str] = {}
SAVED = ("sky", "sky_mollweide", "components", "flux_fractions", "source_counts")

#: Symbols of parameters on axes.
SYMBOLS: dict[str, str] = {}
#: Colours of brightness and of residuals; of what was not fitted.
_BRIGHT, _DIFFERENCE, _BLANK = "inferno", "RdBu_r", "0.82"
#: Draws behind histograms and bands.
_DRAWS = 500


def maps(result: Result, name: str | None = None, *, projection: str = "cartesian") -> Any:
    """Draw counts, best fit and the significance of the residuals, with their histogram against a normal one.

    Parameters
    ----------
    result : a fit of counts maps.
    name : observation, default the first counts map.
    projection : as for `skyfold.gammaray.sky_image.image_of`; ``"mollweide"`` for the whole sky.

    Returns
    -------
    matplotlib Figure
    """
    from skyfold.gammaray.mean_counts import counts_map, mean_counts
    from skyfold.gammaray.sky_image import image_of, significance

    name, sky = counts_map(result, name)
    image = image_of(sky.pixels, projection)
    total = np.sum([v[0] for v in mean_counts(result, result.best_latent[None], name).values()], axis=0)
    counts = np.asarray(sky.data)
    sigma = significance(_summed(sky, counts), _summed(sky, total))
    bright = _logarithmic(np.concatenate([_summed(sky, counts), _summed(sky, total)]))
    reach = 4.0 if np.nanmax(np.abs(sigma)) < 6 else 6.0
    panels = (
        ("counts", _summed(sky, counts), {"cmap": _BRIGHT, "norm": bright}, "counts/pixel"),
        ("best fit", _summed(sky, total), {"cmap": _BRIGHT, "norm": bright}, "counts/pixel"),
        ("residual", sigma, {"cmap": _DIFFERENCE, "vmin": -reach, "vmax": reach}, r"significance [$\sigma$]"),
    )
    with context():
        figure = new_figure(7.6 if image.whole else 8.2, 4.6 if image.whole else 6.4)
        figure.get_layout_engine().set(w_pad=0.1)
        grid = np.ravel(figure.subplots(2, 2))
        for axis, (title, values, scale, label) in zip(grid, panels, strict=False):
            _draw(figure, axis, image, values, title, label, **scale)
        _histogram(grid[3], sigma[np.isfinite(sigma)])
        _say(figure, result)
    return figure


def components(result: Result, name: str | None = None, *, projection: str = "cartesian") -> Any:
    """Draw the mean counts of every component at the best fit, each on its own scale.

    Parameters
    ----------
    result, name, projection : as for `maps`.

    Returns
    -------
    matplotlib Figure
    """
    from skyfold.gammaray.mean_counts import counts_map, mean_counts
    from skyfold.gammaray.sky_image import image_of

    name, sky = counts_map(result, name)
    image = image_of(sky.pixels, projection)
    parts = {k: _summed(sky, v[0]) for k, v in mean_counts(result, result.best_latent[None], name).items()}
    whole = float(np.nansum(list(parts.values())))
    columns = min(len(parts), 2 if image.whole or len(parts) == 4 else 3)
    rows = -(-len(parts) // columns)
    with context():
        figure = new_figure(3.8 * columns, (2.4 if image.whole else 3.1) * rows)
        figure.get_layout_engine().set(w_pad=0.1)
        axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
        for axis, (title, values) in zip(axes, parts.items(), strict=False):
            percent = 100 * np.nansum(values) / whole
            share = f"{percent:.1f}%" if percent >= 0.05 else "< 0.1%"
            _draw(
                figure,
                axis,
                image,
                values,
                f"{title}: {share} of the counts",
                "counts/pixel",
                cmap=_BRIGHT,
                vmin=0.0,
                vmax=_top(values),
            )
        for axis in axes[len(parts) :]:
            axis.set_axis_off()
        _say(figure, result)
    return figure


def flux_fractions(
    result: Result,
    name: str | None = None,
    *,
    draws: int = _DRAWS,
    truths: Mapping[str, float] | None = None,
) -> Any:
    """Draw the posterior of each component's share of the mean counts in the fitted pixels.

    Parameters
    ----------
    result : a fit of counts maps.
    name : observation, default the first counts map.
    draws : draws of the posterior behind the intervals.
    truths : shares to mark, by component.

    Returns
    -------
    matplotlib Figure
        One row per component: density of the posterior, median, 68% and 95% intervals.
    """
    shares = fractions(result, name, draws=draws)
    with context():
        figure = new_figure(5.4, 0.9 + 0.52 * len(shares))
        axis = figure.subplots()
        for row, (part, drawn) in enumerate(shares.items()):
            colour = SERIES[row % len(SERIES)]
            low2, low, middle, high, high2 = np.quantile(drawn, [0.025, 0.16, 0.5, 0.84, 0.975])
            if np.ptp(drawn) > 0:
                x, density = _density(drawn)
                axis.fill_between(x, row, row - 0.72 * density, color=colour, alpha=0.3, lw=0)
                axis.plot([low2, high2], [row, row], color=colour, lw=1.0)
                axis.plot([low, high], [row, row], color=colour, lw=3.0, solid_capstyle="butt")
            axis.plot(middle, row, "o", color=colour, ms=4.5, mec="white", mew=0.6, zorder=3)
            if truths and part in truths:
                axis.plot(truths[part], row, "|", color=BLACK, ms=13, mew=1.6, zorder=4)
        axis.set_yticks(range(len(shares)), list(shares))
        axis.set_ylim(len(shares) - 0.5, -1.0)
        axis.tick_params(axis="y", length=0)
        axis.set_xlim(left=0.0)
        axis.set_xlabel("share of the expected counts")
        if truths:
            axis.plot([], [], "|", color=BLACK, ms=11, mew=1.6, label="truth")
            axis.legend(loc="upper right")
        _say(figure, result)
    return figure


def fractions(result: Result, name: str | None = None, *, draws: int = _DRAWS) -> dict[str, np.ndarray]:
    """Return draws (n,) of each component's share of the mean counts in the fitted pixels, by component."""
    from skyfold.gammaray.mean_counts import mean_counts

    latent = result.equal_weight_latent(1 if result.draws.is_point else draws)
    totals = mean_counts(result, latent, name, total=True)
    whole = np.sum(list(totals.values()), axis=0)
    return {part: values / whole for part, values in totals.items()}


def source_counts(
    result: Result,
    name: str | None = None,
    *,
    truths: Mapping[str, Any] | None = None,
    sources: Mapping[str, Any] | None = None,
    draws: int = _DRAWS,
) -> Any:
    r"""Draw the source-count function of every population, :math:`S^2 dN/dS` per square degree.

    Parameters
    ----------
    result : a fit of a counts map with point sources.
    name : observation, default the first counts map.
    truths : true source-count functions (`skyfold.gammaray.source_counts.SourceCount`) by component.
    sources : mean counts S of the true sources in the region, (n,) by component; drawn as a histogram with the
        errors of their numbers.
    draws : draws of the posterior behind the bands.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    SkyfoldError
        If the model has no populations of point sources.
    """
    from skyfold.gammaray.mean_counts import counts_map
    from skyfold.gammaray.source_bands import bands

    name, sky = counts_map(result, name)
    found = bands(result, name, draws)
    area = _square_degrees(sky)
    low, high = np.inf, 0.0
    with context():
        figure = new_figure(5.2, 4.2)
        axis = figure.subplots()
        for row, (part, (s, quantiles)) in enumerate(found.items()):
            colour = SERIES[row % len(SERIES)]
            bottom2, bottom, middle, top, top2 = s * quantiles / area
            if not result.draws.is_point:
                axis.fill_between(s, bottom2, top2, color=colour, alpha=0.18, lw=0)
                axis.fill_between(s, bottom, top, color=colour, alpha=0.38, lw=0)
            axis.plot(s, middle, color=colour, label=part if len(found) > 1 else "posterior: median, 68%, 95%")
            high = max(high, float(top.max()))
            low = min(low, float(np.max(middle)))
            if truths and part in truths:
                true = s * np.asarray(truths[part].density(np.log(s))) / area
                axis.plot(s, true, color=BLACK if len(found) == 1 else colour, ls="--", lw=1.4, label=f"truth ({part})")
            if sources and part in sources:
                _drawn_sources(axis, np.asarray(sources[part]), area * sky.pixels.n_pix, colour)
        log_axis(axis.xaxis, float(s[0]), float(s[-1]))
        log_axis(axis.yaxis, low / 300.0, high * 5.0)
        _one_photon(axis)
        axis.set_xlabel("$S$ [counts]")
        axis.set_ylabel(r"$S^2\, dN/dS$ [counts deg$^{-2}$]")
        _flux_axis(axis, sky)
        axis.legend(loc="upper right")
        _say(figure, result)
    return figure


def to_save(result: Result, truth: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Functions that draw what a result has: of the first counts map `SAVED`, without sources no ``source_counts``."""
    from skyfold.gammaray.source_bands import populations

    if result._posterior is None:
        return {}
    drawn = {
        "sky": lambda: maps(result),
        "sky_mollweide": lambda: maps(result, projection="mollweide"),
        "components": lambda: components(result),
        "flux_fractions": lambda: flux_fractions(result),
    }
    if populations(result):
        drawn["source_counts"] = lambda: source_counts(result, truths=_true_counts(result, truth or {}))
    return drawn


# -- pieces ----------------------------------------------------------------------------------------------------------


def _true_counts(result: Result, truth: Mapping[str, float]) -> dict[str, Any]:
    """True source-count functions of the populations all of whose parameters are known."""
    from skyfold.gammaray.mean_counts import counts_map
    from skyfold.gammaray.source_bands import populations
    from skyfold.terms import select

    model = result.posterior.pairs[counts_map(result)[0]][0]
    found = {}
    for part, path in populations(result).items():
        population: Any = select(model, path, factors=False)
        own = {name: value for name, value in truth.items() if name in population.parameters}
        fixed = population.with_values(own)
        if not any(name.startswith(f"{part}.") for name in fixed.free_parameters):
            found[part] = fixed.source_count()
    return found


def _summed(sky: CountsMap, values: np.ndarray) -> np.ndarray:
    """Values on the region (n_pix,), bins of energy added up; NaN where nothing is fitted."""
    return sky.on_region(values).reshape(-1, sky.pixels.n_pix).sum(axis=0)


def _draw(figure: Any, axis: Any, image: Image, values: np.ndarray, title: str, label: str, **scale: Any) -> None:
    shown = np.ma.masked_invalid(image.show(values))
    axis.set_facecolor("white" if image.whole else _BLANK)
    drawn = axis.imshow(shown, extent=image.extent, origin="lower", interpolation="nearest", aspect="equal", **scale)
    # of the map's own height: constrained layout does not know that the map keeps its shape
    bar = axis.inset_axes((0.1, -0.09, 0.8, 0.06) if image.whole else (1.03, 0.0, 0.05, 1.0))
    figure.colorbar(drawn, cax=bar, orientation="horizontal" if image.whole else "vertical", label=label)
    if getattr(scale.get("norm"), "vmin", 0) and "norm" in scale:
        log_axis(bar.xaxis if image.whole else bar.yaxis, scale["norm"].vmin, scale["norm"].vmax)
    axis.set_title(title)
    if image.whole:
        from matplotlib.patches import Ellipse

        axis.add_patch(Ellipse((0, 0), 4, 2, facecolor=_BLANK, edgecolor="none", zorder=-1))
        axis.add_patch(Ellipse((0, 0), 4, 2, facecolor="none", edgecolor="0.3", lw=0.8))
        axis.set_axis_off()
        return
    axis.tick_params(direction="out", top=False, right=False)
    gnomonic = image.projection == "gnomonic"
    axis.set_xlabel("$x$ [deg]" if gnomonic else "$l$ [deg]")
    axis.set_ylabel("$y$ [deg]" if gnomonic else "$b$ [deg]")


def _histogram(axis: Any, sigma: np.ndarray) -> None:
    reach = max(4.5, float(np.max(np.abs(sigma))) + 0.5)
    edges = np.arange(-reach, reach + 0.5, 0.5)
    axis.hist(sigma, edges, density=True, histtype="stepfilled", color="0.75", label="pixels")
    x = np.linspace(-reach, reach, 300)
    axis.plot(x, np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi), color=VERMILION, label="normal")
    axis.set_xlabel(r"significance [$\sigma$]")
    axis.set_ylabel("density of pixels")
    axis.set_ylim(0, 1.35 * axis.get_ylim()[1])
    axis.set_title(f"mean {sigma.mean():.2f}, s.d. {sigma.std():.2f}")
    axis.legend(loc="upper right")


def _logarithmic(values: np.ndarray) -> Any:
    """Logarithmic scale of counts; linear where they hardly differ."""
    from matplotlib.colors import LogNorm, Normalize

    good = values[np.isfinite(values)]
    top = _top(good)
    bottom = max(float(np.percentile(good, 2)), 0.7)
    return LogNorm(bottom, top, clip=True) if top > 5 * bottom else Normalize(0, top)


def _top(values: np.ndarray) -> float:
    top = float(np.nanpercentile(values, 99.7))
    return top if top > 0 else 1.0


def _density(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed histogram, of height one."""
    low, high = drawn.min(), drawn.max()
    x = np.linspace(low - 0.15 * (high - low), high + 0.15 * (high - low), 200)
    width = 0.9 * drawn.std() * drawn.size**-0.2
    density = np.exp(-0.5 * ((x[:, None] - drawn) / width) ** 2).sum(axis=1)
    density[x < 0] = 0.0
    return x, density / density.max()


def _square_degrees(sky: CountsMap) -> float:
    """Solid angle of a pixel."""
    return float(np.degrees(np.degrees(4.0 * np.pi / (12.0 * sky.pixels.nside**2))))


def _drawn_sources(axis: Any, sources: np.ndarray, area: float, colour: str) -> None:
    edges = np.geomspace(max(sources.min(), 0.1), sources.max() * 1.001, 13)
    number = np.histogram(sources, edges)[0]
    middle = np.sqrt(edges[1:] * edges[:-1])
    scale = middle**2 / np.diff(edges) / area
    seen = number > 0
    axis.errorbar(
        middle[seen],
        (number * scale)[seen],
        (np.sqrt(number) * scale)[seen],
        [(middle - edges[:-1])[seen], (edges[1:] - middle)[seen]],
        fmt="none",
        ecolor=colour,
        elinewidth=1.0,
        label="true sources",
    )


def _one_photon(axis: Any) -> None:
    axis.axvline(1.0, color="0.5", lw=0.8, ls=":")
    axis.text(1.05, 0.97, "1 photon", transform=axis.get_xaxis_transform(), color="0.4", va="top", fontsize=8)


def _flux_axis(axis: Any, sky: CountsMap) -> None:
    """Axis of the flux above, where the exposure is known."""
    if sky.pixels.exposure is None:
        return
    mean = float(np.mean(np.ravel(np.asarray(sky.pixels.exposure))[sky.kept]))
    axis.tick_params(top=False, which="both")
    above = axis.secondary_xaxis("top", functions=(lambda s: s / mean, lambda flux: flux * mean))
    above.set_xlabel(r"$F$ [cm$^{-2}$ s$^{-1}$] at the mean exposure")


def _say(figure: Any, result: Result) -> None:
    say_converged(figure, {"converged": result.converged, "messages": result.draws.messages})
