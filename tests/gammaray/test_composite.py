"""Widths corrected for pixels that share sources."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import skyfold as sf
from skyfold import gammaray as g
from skyfold.errors import SkyfoldError
from skyfold.inference.running import Draws
from skyfold.results.result import Result

pytest.importorskip("astropy_healpix")
from skyfold.gammaray.composite import _adjusted, _Group, adjustment  # noqa: E402

NSIDE = 16
N = 12 * NSIDE**2


def test_map_of_known_information_is_that_of_the_formulas() -> None:
    rng = np.random.default_rng(1)
    roots = rng.normal(size=(2, 3, 3))
    h, j = (20.0 * r @ r.T + 5.0 * np.eye(3) for r in roots)
    # scores of exactly this covariance
    scores = np.sqrt(3.0) * np.linalg.cholesky(j).T
    centre = np.array([0.5, -1.0, 0.2])
    found = _adjusted(centre, h, [_Group(h, scores), _Group(h, -scores)])
    inverse = np.linalg.inv(h + np.eye(3))
    np.testing.assert_allclose(found.covariance, inverse @ (j + np.eye(3)) @ inverse, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found(centre[None]), [centre])
    # a weak prior: the sandwich
    strong = _adjusted(centre, 1e6 * h, [_Group(1e6 * h, 1e3 * scores)])
    np.testing.assert_allclose(strong.covariance, np.linalg.solve(h, np.linalg.solve(h, j).T) / 1e6, rtol=1e-4)
    # draws of the posterior get this covariance
    draws = rng.multivariate_normal(centre, inverse, size=200_000)
    np.testing.assert_allclose(np.cov(found(draws).T), found.covariance, rtol=0.05, atol=2e-4)


def test_independent_pixels_and_directions_without_data_stay_as_they_are() -> None:
    h = np.diag([50.0, 4.0, 0.0])
    scores = np.sqrt(3.0) * np.diag(np.sqrt([50.0, 4.0, 0.0]))
    np.testing.assert_allclose(_adjusted(np.ones(3), h, [_Group(h, scores)]).matrix, np.eye(3), atol=1e-12)


@cache
def crowded(degrees: float) -> tuple[Any, Any]:
    """Posterior of bright sources in a disk, and its PSF."""
    psf = g.King(np.radians(degrees), 2.5) if degrees else None
    sky = g.CountsMap.read(np.zeros(N), name="sky").within(g.Disc(35))
    f, weights = g.fraction_distribution(psf, NSIDE, sky.pixels.index, cache=False)[:2] if psf else ([1.0], [1.0])
    sources = g.PointSources(
        g.Disk(0.5, 3.0, exposure=False), sf.Uniform(1, 8), 4.0, 1.2, -2.0, sf.Uniform(5, 40), 0.5, name="ps"
    )
    model = g.Isotropic(sf.Uniform(1, 10), exposure=False) + sources
    truth = {"iso.norm": 3.0, "ps.Sps": 5.0, "ps.Sb1": 20.0}
    sky = g.simulate(model.with_values(truth), sky, psf, seed=2)
    return sf.Posterior((model, sky.with_point_sources(f, weights))), psf


@pytest.mark.parametrize(("degrees", "low", "high"), [(0.0, 0.8, 1.2), (1.6, 1.4, 2.6)])
def test_sources_that_shine_into_several_pixels_widen_intervals(degrees: float, low: float, high: float) -> None:
    posterior, psf = crowded(degrees)
    found = adjustment(posterior, np.zeros(3), psf, skies=100, seed=1, margin=15.0)
    # counts of sources; the error of a standard deviation of 100 skies is 7%
    assert low < found.widening[1] < high
    assert np.all(np.abs(found.bias) < 5.0)


def result(posterior: Any, draws: int) -> Result:
    """Result of so many normal draws, as a fit makes it."""
    z = 0.15 * np.random.default_rng(3).standard_normal((1, draws, 3))
    notes = next(iter(posterior.pairs.values()))[1].notes
    return Result(posterior, Draws("laplace", z, np.zeros((1, draws)), True, messages=notes, log_evidence=1.0))


def test_a_result_is_corrected_and_says_so() -> None:
    posterior, psf = crowded(1.6)
    before = result(posterior, 200)
    assert any("count as independent" in m for m in before.draws.messages)
    after = g.godambe(before, psf, skies=60, margin=15.0)
    widths = [np.std(r.samples["ps.Sps"]) for r in (before, after)]
    assert 1.2 < widths[1] / widths[0] < 3.0
    assert "widths corrected" in after.draws.messages[-1] and len(after.draws.messages) == 1
    assert np.all(np.isfinite(after.draws.log_likelihood)) and after.draws.log_evidence is None
    found = adjustment(posterior, before.draws.latent[0].mean(axis=0), psf, skies=60, margin=15.0)
    np.testing.assert_allclose(after.draws.latent, found(before.draws.latent))


def test_what_cannot_be_corrected_is_refused() -> None:
    posterior, psf = crowded(1.6)
    with pytest.raises(SkyfoldError, match="no widths to correct"):
        g.godambe(result(posterior, 1), psf)
    with pytest.raises(SkyfoldError, match="at least 30"):
        g.godambe(result(posterior, 50), psf, skies=20)
    smooth = sf.Posterior((g.Isotropic(sf.Uniform(0, 5), exposure=False), g.CountsMap.read(np.ones(N))))
    assert smooth.pairs["counts"][1].notes == ()
    with pytest.raises(SkyfoldError, match="populations of point sources"):
        adjustment(smooth, np.zeros(1), psf)
