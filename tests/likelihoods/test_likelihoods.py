"""Likelihoods against SciPy."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import scipy.stats as st

import skyfold as sf
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.poisson import Poisson


def test_poisson_against_scipy() -> None:
    counts, expected = np.array([0.0, 1.0, 7.0, 1000.0]), np.array([0.3, 2.0, 5.0, 990.0])
    likelihood = Poisson(counts)
    np.testing.assert_allclose(likelihood.pointwise(expected), st.poisson.logpmf(counts, expected), rtol=1e-12)
    c = 2 * np.sum(expected - counts + np.where(counts > 0, counts * np.log(np.maximum(counts, 1) / expected), 0))
    assert float(likelihood.statistic(expected)) == pytest.approx(c)


def test_poisson_is_finite_and_has_finite_gradient_where_nothing_is_expected() -> None:
    likelihood = Poisson(np.array([0.0, 3.0]))
    value, gradient = jax.value_and_grad(lambda m: likelihood.pointwise(m).sum())(np.zeros(2))
    assert np.isfinite(value) and value < -1000
    assert np.all(np.isfinite(gradient))


def test_gaussian_against_scipy() -> None:
    likelihood = Gaussian(np.array([1.0, 2.0]), np.array([0.1, 0.5]))
    np.testing.assert_allclose(
        likelihood.pointwise(np.array([1.1, 1.0])), st.norm.logpdf([1, 2], [1.1, 1.0], [0.1, 0.5])
    )
    assert float(likelihood.statistic(np.array([1.1, 1.0]))) == pytest.approx(5.0)


def test_samples_have_the_right_mean_and_keep_batch_axes() -> None:
    rng = np.random.default_rng(0)
    expected = np.broadcast_to(np.array([0.0, 5.0]), (2000, 2))
    drawn = Poisson(np.zeros(2)).sample(rng, expected)
    assert drawn.shape == (2000, 2)
    assert drawn[:, 0].max() == 0
    assert drawn[:, 1].mean() == pytest.approx(5.0, abs=0.2)


@pytest.mark.parametrize("build", [lambda: Poisson([-1.0]), lambda: Poisson([np.nan]), lambda: Gaussian([1.0], [0.0])])
def test_bad_data_are_refused(build) -> None:
    with pytest.raises(sf.SkyfoldError):
        build()
