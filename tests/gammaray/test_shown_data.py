"""What the core's figures, tables and checks show of counts maps with point sources."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import skyfold as sf
from skyfold import gammaray as g
from skyfold.plots import style
from skyfold.results.predictive import drawn_data

RANGE = (0.1, 100.0)


def fit(smooth: object, share: object) -> sf.Result:
    counts = np.random.default_rng(0).poisson(2.0, 12 * 16**2).astype(float)
    sky = g.CountsMap.read(counts).within(g.Disc(30)).with_point_sources(np.ones(1), np.ones(1), s_range=RANGE)
    shape = g.Isotropic(name="shape", exposure=False)
    ps = g.PointSources(shape, share, 4.0, 1.5, -2.0, 10.0, 0.5, s_range=RANGE, name="ps")
    return sf.Posterior((g.Isotropic(smooth, exposure=False) + ps, sky)).fit("mle", seed=1, progress=False)


@pytest.fixture(scope="module")
def crowded() -> sf.Result:
    return fit(sf.LogUniform(0.1, 10), sf.Uniform(0.01, 1))


def test_a_prediction_is_one_number_for_each_datum(crowded) -> None:
    """It was the vector of the likelihood: 410 numbers for 202 data."""
    z = np.array([[0.3, -0.2], [0.1, 0.4], [0.0, 0.0]])
    found = np.asarray(crowded.posterior.predict(z)["counts"])
    assert found.shape == (3, crowded.posterior.n_data) == (3, 202)
    assert crowded.posterior.expected(z)["counts"].shape == (3, 410)
    values = crowded.posterior.values(z)
    total = np.asarray(values["iso.norm"]) + np.asarray(values["ps.Sps"])
    np.testing.assert_allclose(found, np.broadcast_to(total[:, None], found.shape), rtol=1e-6)


def test_spectrum_of_point_sources(crowded) -> None:
    """It ended in a ValueError."""
    table = crowded.plot_data("spectrum")
    expected = np.asarray(crowded.posterior.predict(crowded.best_latent)["counts"])
    np.testing.assert_allclose(table["best"], expected)
    np.testing.assert_allclose(table["component:iso"] + table["component:ps"], table["best"])
    assert np.all(np.isfinite(table["residual"])) and abs(np.mean(table["residual"])) < 0.3
    # a map of 202 pixels is replicated in seconds
    assert np.all(np.isfinite(table["predictive_q50"])) and 0 <= crowded.goodness.p_value <= 1
    figure = crowded.plot_spectrum()
    assert figure.axes[-1].get_xlabel() == "fitted pixel" and figure.axes[0].get_ylabel() == "counts/pixel"


def test_a_result_draws_its_maps(crowded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`save_figures` drew a map by the numbers of its pixels, and failed where it had point sources."""
    monkeypatch.setattr(style, "save", partial(style.save, dpi=30))
    files = crowded.save_figures(tmp_path)
    assert {f.stem for f in files} == {"sky", "sky_mollweide", "components", "flux_fractions", "source_counts"}


def test_prior_predictive_counts_point_sources() -> None:
    """The figure showed the smooth counts alone, 0.001 instead of 0.951 a pixel."""
    table = fit(0.001, sf.Uniform(0.9, 1.0)).plot_data("prior_predictive", n=200)
    assert np.mean(table["model_q50"]) == pytest.approx(0.951, abs=0.01)


def test_too_many_sources_to_draw_for_are_no_data(crowded) -> None:
    observation = crowded.posterior.pairs["counts"][1]
    expected = np.full((1, 410), 1e50)
    assert drawn_data(observation.sample, np.random.default_rng(0), expected) is None
