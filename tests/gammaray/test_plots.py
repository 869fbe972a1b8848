"""Figures of counts maps, and the numbers behind them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import skyfold as sf
from skyfold.errors import SkyfoldError
from skyfold.gammaray import plots
from skyfold.gammaray.maps import CountsMap
from skyfold.gammaray.mean_counts import counts_map, mean_counts
from skyfold.gammaray.nfw import NFWSquared
from skyfold.gammaray.point_sources import PointSources
from skyfold.gammaray.regions import Disc
from skyfold.gammaray.sky_image import image_of, significance
from skyfold.gammaray.source_bands import bands, populations
from skyfold.gammaray.templates import Isotropic, Template
from skyfold.inference.running.draws import Draws
from skyfold.plots import style
from skyfold.results.result import Result

pytest.importorskip("astropy_healpix")

N = 12 * 16**2


def drawn(posterior: sf.Posterior, n: int = 1, converged: bool = True) -> Result:
    """Result as a method would give it: n draws near the origin, without the work of a fit."""
    latent = np.random.default_rng(4).normal(0.0, 0.3, (1, n, posterior.ndim))
    likelihood = np.asarray(posterior.log_likelihood(latent))
    messages = () if converged else ("not yet",)
    return Result(posterior, Draws("test", latent, likelihood, converged, messages=messages, best=latent[0, 0]))


@pytest.fixture(scope="module")
def smooth() -> Result:
    """Two templates and a mask; a point."""
    counts = np.random.default_rng(1).poisson(3.0, N).astype(float)
    sky = CountsMap.read(counts, name="toy").within(Disc(40)).masked(Disc(5))
    model = Isotropic(sf.Uniform(0, 5), exposure=False) + NFWSquared(1.0, sf.Uniform(0, 5), exposure=False)
    return drawn(sf.Posterior((model, sky)))


@pytest.fixture(scope="module")
def crowded() -> Result:
    """A template and a population, with exposure; many draws."""
    rng = np.random.default_rng(2)
    exposure = 1e11 * np.linspace(0.8, 1.2, N)
    sky = CountsMap.read(rng.poisson(3.0, N).astype(float), exposure, name="toy").within(Disc(20))
    sources = PointSources(Isotropic(name="shape"), sf.Uniform(0.1, 3), 4.0, 1.5, -2.0, 10.0, 0.5, name="ps")
    model = Template(np.ones(N), sf.Uniform(0, 5), name="glow") + sources
    return drawn(sf.Posterior((model, sky.with_point_sources([0.6, 0.2], [1.0, 2.0]))), 200)


def test_maps(smooth: Result) -> None:
    for projection in ("cartesian", "gnomonic", "mollweide"):
        figure = plots.maps(smooth, projection=projection)
        titles = [a.get_title() for a in figure.axes if a.get_title()]
        assert titles[:3] == ["counts", "best fit", "residual"] and titles[3].startswith("mean ")
        figure = plots.components(smooth, projection=projection)
        assert [a.get_title().split(":")[0] for a in figure.axes if a.get_title()] == ["iso", "nfw"]
    with pytest.raises(SkyfoldError, match="other"):
        plots.maps(smooth, "other")


def test_images() -> None:
    pixels = counts_map_of_everything().pixels
    with pytest.raises(SkyfoldError, match="projection"):
        image_of(pixels, "conic")
    with pytest.raises(SkyfoldError, match="less than half"):
        image_of(pixels, "gnomonic")
    whole = image_of(pixels, "mollweide").show(np.degrees(pixels.latitude))
    assert np.isnan(whole[0, 0])
    assert whole[2, whole.shape[1] // 2] < -80 and whole[-3, whole.shape[1] // 2] > 80
    region = counts_map_of_everything().within(Disc(20)).masked(Disc(3))
    for projection in ("cartesian", "gnomonic"):
        image = image_of(region.pixels, projection)
        values = np.where(np.isnan(region.counts), np.nan, np.degrees(region.pixels.longitude))
        shown = image.show(values)
        rows, columns = shown.shape
        row = shown[rows // 4]
        seen = row[np.isfinite(row)]
        assert seen[0] > seen[-1]  # longitude grows to the left
        assert np.isnan(shown[rows // 2, columns // 2])
        assert image.extent[0] > 19 and image.extent[1] < -19


def counts_map_of_everything() -> CountsMap:
    return CountsMap.read(np.ones(N))


def test_significance() -> None:
    np.testing.assert_allclose(significance([4.0, 0.0, 9.0], [4.0, 2.0, 4.0]), [0.0, -2.0, 2.1440], atol=1e-4)
    counts = np.random.default_rng(1).poisson(30.0, 20000)
    found = significance(counts, np.full(counts.size, 30.0))
    assert abs(found.std() - 1.0) < 0.02 and abs(found.mean()) < 0.06


def test_mean_counts(smooth: Result, crowded: Result) -> None:
    latent = np.array([[0.3, -0.2], [0.1, 0.4]])
    for result in (smooth, crowded):
        parts = mean_counts(result, latent)
        totals = mean_counts(result, latent, total=True)
        for name, values in parts.items():
            np.testing.assert_allclose(values.sum(axis=1), totals[name], rtol=1e-10)
        name, sky = counts_map(result)
        for row, z in enumerate(latent):
            expected = np.asarray(result.posterior.predict(z)[name])
            if result is crowded:
                whole = result.posterior.expected(z)[name]
                np.testing.assert_allclose(np.asarray(sky.likelihood.mean(whole)).sum(axis=0), expected, rtol=1e-12)
            np.testing.assert_allclose(sum(v[row] for v in parts.values()), expected, rtol=1e-10)
    # with exposure, sources at the mean exposure of the fitted pixels send Sps counts a pixel
    values = crowded.posterior.values(latent)
    exposure = np.ravel(sky.pixels.exposure)
    np.testing.assert_allclose(
        parts["ps"], np.asarray(values["ps.Sps"])[:, None] * exposure / exposure.mean(), rtol=1e-3
    )


def test_fractions(smooth: Result, crowded: Result) -> None:
    for result in (smooth, crowded):
        shares = plots.fractions(result)
        assert sum(float(v[0]) for v in shares.values()) == pytest.approx(1.0)
        figure = plots.flux_fractions(result, truths={next(iter(shares)): 0.5})
        assert figure.axes[0].get_xlabel() == "share of the expected counts"


def test_source_counts(smooth: Result, crowded: Result) -> None:
    assert list(populations(crowded)) == ["ps"] and not populations(smooth)
    with pytest.raises(SkyfoldError, match="no populations"):
        plots.source_counts(smooth)
    s, quantiles = bands(crowded)["ps"]
    assert quantiles.shape == (5, s.size)
    # the integral of S dN/dS over S is Sps; sources outside of the range of the figure send little
    flux = np.trapezoid(quantiles[2], s)
    assert flux == pytest.approx(float(np.median(crowded.samples["ps.Sps"])), rel=0.02)
    truth = PointSources(Isotropic(), 1.0, 4.0, 1.5, -2.0, 10.0, 0.5).source_count()
    sizes = np.exp(np.random.default_rng(3).normal(2.0, 0.5, 200))
    figure = plots.source_counts(crowded, truths={"ps": truth}, sources={"ps": sizes})
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert "truth (ps)" in labels and "true sources" in labels


@pytest.mark.slow
def test_everything_is_written(
    smooth: Result, crowded: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "save", partial(style.save, dpi=30))
    for name, result, others in (("smooth", smooth, set()), ("crowded", crowded, {"corner", "trace", "source_counts"})):
        folder = tmp_path / name
        files = plots.save_all(result, folder, truth={"ps.Sps": 1.0, "elsewhere.norm": 3.0})
        assert {p.stem for p in folder.iterdir()} == {"sky", "sky_mollweide", "components", "flux_fractions"} | others
        assert sorted(files) == sorted(folder.iterdir())


def test_not_converged_is_said(smooth: Result) -> None:
    result = drawn(smooth.posterior, converged=False)
    for figure in (plots.maps(result), plots.components(result), plots.flux_fractions(result)):
        assert "NOT CONVERGED" in figure.get_suptitle()
