"""W-stat, PG-stat and chi-squared of counts: formulas in 50 digits, special cases, gradients, data drawn."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from skyfold.errors import SkyfoldError
from skyfold.likelihoods import Gaussian, Poisson
from skyfold.likelihoods.on_off import OnOff, PoissonGauss, local_mean
from skyfold.likelihoods.weighted_counts import WEIGHTS, WeightedCounts

COUNTS = (0, 1, 7, 300, 1_000_000)


def xlogx(x: mpmath.mpf) -> mpmath.mpf:
    return x * mpmath.log(x) if x > 0 else mpmath.mpf(0)


def w_in_digits(n: int, o: int, a: float, m: float) -> mpmath.mpf:
    """XSPEC's W-stat of a bin, appendix B of its manual, with t_s = a and t_b = 1."""
    with mpmath.workdps(50):
        n, o, ts, tb = mpmath.mpf(n), mpmath.mpf(o), mpmath.mpf(a), mpmath.mpf(1)
        m = mpmath.mpf(m) / ts
        both = ts + tb
        if n == 0:
            w = ts * m - o * mpmath.log(tb / both)
        elif o == 0:
            few = m < n / both
            w = -tb * m - n * mpmath.log(ts / both) if few else ts * m + n * (mpmath.log(n) - mpmath.log(ts * m) - 1)
        else:
            d = mpmath.sqrt((both * m - n - o) ** 2 + 4 * both * o * m)
            f = (n + o - both * m + d) / (2 * both)
            w = ts * m + both * f - n * mpmath.log(ts * m + ts * f) - o * mpmath.log(tb * f)
            w -= n * (1 - mpmath.log(n)) + o * (1 - mpmath.log(o))
        return 2 * w


def pg_in_digits(n: int, b: float, s: float, m: float) -> mpmath.mpf:
    """XSPEC's PG-stat of a bin."""
    with mpmath.workdps(50):
        n, b, s, m = (mpmath.mpf(x) for x in (n, b, s, m))
        if n == 0:
            return 2 * (m + b - s**2 / 2)
        f = (b - s**2 - m + mpmath.sqrt((m + s**2 - b) ** 2 - 4 * (m * s**2 - n * s**2 - b * m))) / 2
        return 2 * (m + f - n * mpmath.log(m + f) + (b - f) ** 2 / (2 * s**2) - n + xlogx(n))


def test_w_stat_in_fifty_digits() -> None:
    cases = [c for c in itertools.product(COUNTS, COUNTS, (0.01, 0.5, 3.0), (1e-3, 0.7, 40.0, 2e6))]
    n, o, a, m = np.array(cases, float).T
    found = 2.0 * np.asarray(OnOff(n, o, a)._deviance(m))
    exact = np.array([float(w_in_digits(*c)) for c in cases])
    np.testing.assert_allclose(found, exact, rtol=1e-10, atol=1e-7)
    assert float(OnOff(n, o, a).statistic(m)) == pytest.approx(exact.sum(), rel=1e-12)


def test_pg_stat_in_fifty_digits() -> None:
    cases = [c for c in itertools.product(COUNTS, (0.0, 0.4, 30.0), (0.1, 2.0, 50.0), (1e-3, 0.7, 40.0, 2e6))]
    n, b, s, m = np.array(cases, float).T
    exact = np.array([float(pg_in_digits(*c)) for c in cases])
    np.testing.assert_allclose(2.0 * np.asarray(PoissonGauss(n, b, s)._deviance(m)), exact, rtol=1e-9, atol=1e-6)


def test_without_error_the_background_is_added() -> None:
    n, b, m = np.array([0.0, 3.0, 9.0]), np.array([1.0, 2.0, 0.0]), np.array([0.5, 4.0, 8.0])
    np.testing.assert_allclose(PoissonGauss(n, b, 0.0).pointwise(m), Poisson(n).pointwise(m + b), rtol=1e-12)


@pytest.mark.parametrize("kind", ["on_off", "gauss"])
def test_gradients_are_finite_and_those_of_differences(kind: str) -> None:
    cases = np.array(list(itertools.product((0, 1, 40), (0, 1, 40), (0.0, 1e-9, 0.5, 80.0))), float)
    n, o, m = cases.T
    likelihood = OnOff(n, o, 0.5) if kind == "on_off" else PoissonGauss(n, o, np.sqrt(o))
    gradient = np.asarray(jax.grad(lambda x: jnp.sum(likelihood.pointwise(x)))(m))
    # without source and background a datum that has counts is impossible
    possible = (m > 0) | (o > 0) | (kind == "on_off")
    assert np.all(np.isfinite(gradient[possible]))
    inside = m > 0.1
    step = 1e-5
    slope = (likelihood.pointwise(m + step) - likelihood.pointwise(m - step)) / (2 * step)
    np.testing.assert_allclose(gradient[inside], np.asarray(slope)[inside], rtol=1e-5, atol=1e-6)
    assert np.all(np.isfinite(likelihood.fisher(m)))
    assert np.all(np.isneginf(likelihood.pointwise(-np.ones(len(m)))))


def test_expected_data_hold_the_background() -> None:
    likelihood = OnOff([10.0, 0.0], [40.0, 0.0], 0.25)
    np.testing.assert_allclose(likelihood.mean(jnp.zeros(2)), [10.0, 0.0])
    # no source: both regions together tell the rate
    np.testing.assert_allclose(OnOff([20.0], [40.0], 0.25).mean(jnp.zeros(1)), 60.0 * 0.25 / 1.25)


@pytest.mark.parametrize("likelihood", [OnOff([5.0, 90.0], [40.0, 20.0], 0.25), PoissonGauss([5.0, 90.0], 8.0, 2.0)])
def test_drawn_data_have_the_width_that_the_information_says(likelihood: OnOff | PoissonGauss) -> None:
    expected = np.full((20_000, 2), 70.0)
    drawn = likelihood.sample(np.random.default_rng(1), expected)
    assert drawn.shape == (20_000, 2, 2)
    beside = 0.25 if isinstance(likelihood, OnOff) else 1.0
    net = drawn[..., 0] - beside * drawn[..., 1]
    np.testing.assert_allclose(net.mean(axis=0), 70.0, rtol=0.01)
    other = likelihood.with_data(drawn[0])
    np.testing.assert_array_equal(other.data, drawn[0, :, 0])
    assert float(other.statistic(expected[0])) != float(likelihood.statistic(expected[0]))
    np.testing.assert_array_equal(likelihood.with_data([1.0, 2.0]).data, [1.0, 2.0])
    if isinstance(likelihood, OnOff):
        np.testing.assert_allclose(net.var(axis=0), 70.0 + np.array([10.0, 5.0]) * 1.25, rtol=0.05)


def test_sparse_backgrounds_are_drawn_at_the_rate_of_their_neighbours() -> None:
    rng = np.random.default_rng(5)
    rate = 0.02 * (1.0 + np.arange(2_000) / 1_000)
    found = local_mean(rng.poisson(rate).astype(float), 16)
    assert found.min() > 0 and np.sqrt(np.mean((found / rate - 1.0) ** 2)) < 0.35
    assert found.sum() == pytest.approx(rate.sum(), rel=0.3)
    np.testing.assert_array_equal(local_mean(np.array([20.0, 90.0, 17.0]), 16), [20.0, 90.0, 17.0])
    np.testing.assert_array_equal(local_mean(np.zeros(3), 16), np.zeros(3))
    # a good fit of sparse counts looks like one
    on, off = rng.poisson(0.1 + rate * 0.5).astype(float), rng.poisson(rate).astype(float)
    likelihood, expected = OnOff(on, off, 0.5), np.full(2_000, 0.1)
    drawn = likelihood.sample(rng, np.tile(expected, (200, 1)))
    simulated = np.array([float(likelihood.with_data(d).statistic(expected)) for d in drawn])
    assert abs(float(likelihood.statistic(expected)) - simulated.mean()) < 4.0 * simulated.std()


@pytest.mark.parametrize("weight", WEIGHTS)
def test_weights_of_counts(weight: str) -> None:
    on, off, ratio = np.array([0.0, 4.0, 9.0]), np.array([0.0, 2.0, 0.0]), 0.5
    likelihood = WeightedCounts(on, weight, off, ratio)
    expected = np.array([0.5, 2.0, 10.0])
    beside = (1 + np.sqrt(off + 0.75)) ** 2
    variance = {
        "data": [1.0, 4.5, 9.0],
        "least": [4.5, 4.5, 9.0],
        "gehrels": (1 + np.sqrt(on + 0.75)) ** 2 + 0.25 * beside,
        "const": [4.5, 4.5, 4.5],
        "model": [1.0, 2.0, 10.0],
    }[weight]
    chi2 = np.sum((on - ratio * off - expected) ** 2 / np.array(variance))
    assert float(likelihood.statistic(expected)) == pytest.approx(chi2, rel=1e-12)
    gradient = jax.grad(lambda m: jnp.sum(likelihood.pointwise(m)))(expected)
    assert np.all(np.isfinite(gradient)) and np.all(np.isfinite(likelihood.fisher(expected)))
    if weight != "model":
        assert float(jnp.sum(Gaussian(likelihood.data, likelihood.sigma).pointwise(expected))) == pytest.approx(
            float(jnp.sum(likelihood.pointwise(expected)))
        )
    # what depends on the other data follows when some are taken
    again = WeightedCounts(on[1:], weight, off[1:], ratio)
    assert float(likelihood.take(np.array([1, 2])).statistic(expected[1:])) == float(again.statistic(expected[1:]))
    drawn = likelihood.sample(np.random.default_rng(2), np.tile(expected, (4, 1)))
    one = likelihood.with_data(drawn[0])
    np.testing.assert_allclose(one.data, drawn[0, :, 0])
    assert float(likelihood.with_data(likelihood.data).statistic(expected)) == pytest.approx(chi2, rel=1e-12)


def test_refused() -> None:
    with pytest.raises(SkyfoldError, match="above zero"):
        OnOff([1.0], [1.0], 0.0)
    with pytest.raises(SkyfoldError, match="not negative"):
        OnOff([1.0], [-1.0], 1.0)
    with pytest.raises(SkyfoldError, match="errors"):
        PoissonGauss([1.0], 1.0, np.nan)
    with pytest.raises(SkyfoldError, match="weight is one of"):
        WeightedCounts([1.0], "best")
