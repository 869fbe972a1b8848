"""Likelihoods against SciPy."""

from __future__ import annotations

from typing import ClassVar

import jax
import numpy as np
import pytest
import scipy.stats as st

import skyfold as sf
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.likelihood import Likelihood
from skyfold.likelihoods.limits import Limited
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


def summed(values):
    """Join data two by two."""
    return np.add.reduceat(np.asarray(values, dtype=float), [0, 2])


class Weighted(Poisson):
    """Counts of which each has a weight of its own."""

    weight: np.ndarray

    def __init__(self, data, weight) -> None:
        super().__init__(data)
        self.weight = np.asarray(weight, dtype=float)

    def pointwise(self, expected):
        return self.weight * super().pointwise(expected)


def test_some_of_the_data_keep_their_kind_and_all_that_belongs_to_them() -> None:
    """A likelihood was built anew of its data alone: a subclass silently became plain Poisson."""
    places = np.array([3, 0])
    kept = Weighted([1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.4]).take(places)
    assert type(kept) is Weighted
    np.testing.assert_array_equal(kept.data, [4.0, 1.0])
    np.testing.assert_allclose(kept.pointwise(np.ones(2)), [0.4, 0.1] * st.poisson.logpmf([4, 1], 1.0), rtol=1e-12)
    limits = Limited([1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.4], [0, 0, 0, 1], dof=3.0).take(places)
    np.testing.assert_array_equal(limits.limit, [1.0, 0.0])
    assert limits.dof == 3.0 and limits.robust
    np.testing.assert_array_equal(Gaussian([1.0, 2.0, 3.0], 0.5).take([1]).sigma, [0.5])


def test_errors_and_residuals_of_counts() -> None:
    counts = Poisson([3.0, 4.0, 0.0, 0.0])
    joined = summed(counts.data)
    low, high = counts.errors(joined, summed)
    assert st.poisson.sf(6, joined[0] - low[0]) == pytest.approx(st.norm.sf(1.0), rel=1e-6)
    assert st.poisson.cdf(7, joined[0] + high[0]) == pytest.approx(st.norm.sf(1.0), rel=1e-6)
    assert low[1] == 0.0 and high[1] == pytest.approx(-np.log(st.norm.sf(1.0)), rel=1e-6)
    found = counts.residual(joined, np.array([5.0, 2.0]), summed)
    assert found[0] == pytest.approx(np.sqrt(2 * (5 - 7 + 7 * np.log(7 / 5))))
    assert found[1] == pytest.approx(-2.0) and counts.residual_kind == "deviance"


def test_errors_and_residuals_of_normal_data() -> None:
    normal = Gaussian([1.0, 2.0, 3.0, 4.0], [0.3, 0.4, 0.6, 0.8])
    np.testing.assert_allclose(normal.errors(summed(normal.data), summed)[0], [0.5, 1.0])
    np.testing.assert_allclose(normal.residual(summed(normal.data), np.array([4.0, 5.0]), summed), [-2.0, 2.0])
    assert normal.normal and normal.residual_kind == "pearson"


def test_errors_and_residuals_of_limits_and_of_what_is_missing() -> None:
    limited = Limited([5.0, 9.0, 0.0], [1.0, 1.0, np.inf], [0, 1, 0])
    low, high = limited.errors(np.asarray(limited.data), lambda v: np.asarray(v, dtype=float))
    np.testing.assert_array_equal(low, [1.0, 1.0, np.nan])
    np.testing.assert_array_equal(low, high)
    found = limited.residual(limited.data, np.array([4.0, 2.0, 3.0]), lambda v: np.asarray(v, dtype=float))
    # far below its limit a datum deviates from nothing, and one that is missing never does
    assert found[0] == pytest.approx(1.0) and abs(found[1]) < 0.01 and found[2] == 0.0
    assert not limited.normal and Limited([1.0], [np.inf]).normal and not Limited([1.0], [1.0], dof=3.0).normal


def test_a_likelihood_of_ones_own_has_errors_by_its_information() -> None:
    class Wide(Gaussian):
        def pointwise(self, expected):
            return 0.25 * super().pointwise(expected)

    class Plain(Likelihood):
        statistic_name: ClassVar[str] = "-2 ln L"
        data: np.ndarray

        def fisher(self, expected):
            return jax.numpy.full(expected.shape, 4.0)

    own = Plain(np.ones(3))
    np.testing.assert_allclose(own.errors(own.data, np.asarray)[0], 0.5)
    np.testing.assert_allclose(own.residual(own.data, np.zeros(3), np.asarray), 2.0)
    # what is no longer normal does not pass for it
    assert not own.normal and not Wide([1.0], [1.0]).normal
