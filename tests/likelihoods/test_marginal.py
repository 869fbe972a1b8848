"""The background integrated out: sums in 50 digits, gradients, what neighbours tell, sparse backgrounds."""

from __future__ import annotations

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from skyfold.errors import SkyfoldError
from skyfold.likelihoods.marginal import MarginalBackground, told_by_neighbours
from skyfold.likelihoods.on_off import OnOff
from skyfold.likelihoods.poisson import Poisson


def prepared(cases: np.ndarray) -> MarginalBackground:
    """Likelihood of data with these counts, off counts, ratios, shapes and means, (n, 5)."""
    likelihood = MarginalBackground(*cases[:, :3].T, nodes=33)
    likelihood = eqx.tree_at(lambda x: (x.shape, x.neighbours), likelihood, (cases[:, 3], cases[:, 4]))
    return eqx.tree_at(lambda x: (x._nodes, x._weights), likelihood, likelihood._quadrature(33))


def in_digits(n: int, o: int, a: float, shape: float, mean: float, m: float) -> float:
    """Sum over how many of the counts are the background's."""
    with mpmath.workdps(50):
        r, rate, total = mpmath.mpf(shape) + o, 1 + mpmath.mpf(shape) / mpmath.mpf(mean), mpmath.mpf(0)
        for j in range(n + 1):
            source = (n - j) * mpmath.log(m) - m - mpmath.loggamma(n - j + 1)
            behind = mpmath.loggamma(r + j) - mpmath.loggamma(r) - mpmath.loggamma(j + 1)
            total += mpmath.exp(source + behind + r * mpmath.log(rate / (rate + a)) + j * mpmath.log(a / (rate + a)))
        return float(mpmath.log(total))


def by_quadrature(n: int, o: int, a: float, shape: float, mean: float, m: float) -> float:
    """The integral about its peak, for counts too many to be summed."""
    with mpmath.workdps(50):
        r, rate = mpmath.mpf(shape) + o, 1 + mpmath.mpf(shape) / mpmath.mpf(mean)
        a, m = mpmath.mpf(a), mpmath.mpf(m)

        def log_integrand(u: mpmath.mpf) -> mpmath.mpf:
            b = mpmath.exp(u)
            counts = n * mpmath.log(m + a * b) - m - a * b - mpmath.loggamma(n + 1)
            return counts + r * mpmath.log(rate) - mpmath.loggamma(r) + r * u - rate * b

        c = n * a - (rate + a) * m + r * a
        b = (c + mpmath.sqrt(c * c + 4 * (rate + a) * a * r * m)) / (2 * (rate + a) * a)
        peak, width = mpmath.log(b), 1 / mpmath.sqrt(r + n * (a * b / (m + a * b)) ** 2)
        top = log_integrand(peak)
        places = [peak + k * width for k in (-40, -12, -6, -3, 0, 3, 6, 12, 20)]
        return float(top + mpmath.log(mpmath.quad(lambda u: mpmath.exp(log_integrand(u) - top), places)))


def test_likelihood_in_fifty_digits() -> None:
    few = list(itertools.product((0, 1, 7, 65, 66, 300), (0, 1, 30), (0.05, 1.0), (0.5, 3000.0), (0.02, 3.0)))
    many = list(itertools.product((10_000, 1_000_000), (0, 30, 1_000_000), (0.05, 1.0), (20.0,), (3.0, 1e6)))
    cases = []
    for kind in (few, many):
        for n, o, a, shape, mean in kind:
            left = max(n - a * (shape + o) / (1.0 + shape / mean), 0.3)
            for m in (0.01, left, n + 3.0 * np.sqrt(n + 1.0)):
                cases.append((n, o, a, shape, mean, m))
    rng = np.random.default_rng(0)
    chosen = [cases[i] for i in rng.permutation(len(cases))[:150]]
    exact = [(in_digits if c[0] <= 300 else by_quadrature)(*c) for c in chosen]
    array = np.array(chosen, dtype=float)
    found = np.asarray(prepared(array[:, :5]).pointwise(jnp.asarray(array[:, 5])))
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-9)


def test_gradients_are_finite_and_those_of_differences() -> None:
    cases = np.array(list(itertools.product((0, 3, 90, 1e6), (0, 40), (0.3,), (2.0, 500.0), (0.1, 30.0))), dtype=float)
    likelihood = prepared(cases)
    gradient = jax.grad(lambda m: jnp.sum(likelihood.pointwise(m)))
    for m in (np.zeros(len(cases)), np.full(len(cases), 1e-12), cases[:, 0] + 0.5):
        assert np.all(np.isfinite(gradient(m))) and np.all(np.isfinite(likelihood.fisher(m)))
    m = cases[:, 0] + 0.5
    step = 1e-4 * np.sqrt(m)
    slope = (likelihood.pointwise(m + step) - likelihood.pointwise(m - step)) / (2 * step)
    np.testing.assert_allclose(gradient(m), slope, rtol=1e-4, atol=1e-5)
    assert np.all(np.isneginf(likelihood.pointwise(-np.ones(len(m)))))
    assert np.all(likelihood.mean(m) >= m)


def test_a_background_that_is_known_is_added() -> None:
    """Where the neighbours know it well the likelihood is that of counts of source and background."""
    n = np.array([0.0, 4.0, 30.0, 200.0])
    m = np.array([1.0, 3.0, 20.0, 150.0])
    cases = np.stack([n, np.full(4, 40.0), np.full(4, 0.5), np.full(4, 1e9), np.full(4, 40.0)], axis=1)
    np.testing.assert_allclose(prepared(cases).pointwise(m), Poisson(n).pointwise(m + 20.0), atol=1e-5)


def test_neighbours_tell_a_smooth_background_and_know_when_it_is_not() -> None:
    rng = np.random.default_rng(4)
    smooth = 2.0 * (1.0 + np.sin(np.arange(1_000) / 200.0) ** 2)
    mean, shape = told_by_neighbours(rng.poisson(smooth).astype(float))
    assert np.sqrt(np.mean((mean / smooth - 1.0) ** 2)) < 0.25 and shape > 3.0
    rough = np.where(np.arange(1_000) % 7 == 0, 20.0, 0.2)
    assert told_by_neighbours(rng.poisson(rough).astype(float))[1] < 1.0
    mean, shape = told_by_neighbours(np.zeros(10))
    assert np.all(mean > 0) and np.isfinite(shape)


def test_empty_data_invent_no_counts() -> None:
    """Five hundred data, 60 counts of background, 20 of a source: W-stat gives 1 to 5 counts of it, the truth is 20."""
    rng = np.random.default_rng(8)
    found = {OnOff: [], MarginalBackground: []}
    share = np.full(500, 1 / 500)
    for _ in range(30):
        on, off = rng.poisson(20 * share + 0.5 * 60 * share), rng.poisson(60 * share)
        for kind, values in found.items():
            likelihood = kind(on.astype(float), off.astype(float), 0.5)
            grid = np.linspace(0.0, 60.0, 121)
            total = np.asarray(jax.vmap(lambda s, like=likelihood: jnp.sum(like.pointwise(s * share)))(grid))
            weight = np.exp(total - total.max())
            values.append((np.sum(weight * grid) / weight.sum(), np.sum(weight[grid <= 20.0]) / weight.sum()))
    means, ranks = np.array(found[MarginalBackground]).T
    assert abs(np.mean(means) - 20.0) < 3.0 * np.std(means) / np.sqrt(30)
    assert np.mean(np.abs(ranks - 0.5) < 0.475) >= 0.86
    # what the other does, and why it says so in the docs
    assert np.mean(np.array(found[OnOff])[:, 0]) < 10.0


def test_drawn_data_and_shapes() -> None:
    likelihood = MarginalBackground(np.full(400, 3.0), np.full(400, 2.0), 0.5)
    expected = np.full((50, 400), 2.0)
    drawn = likelihood.sample(np.random.default_rng(1), expected)
    assert drawn.shape == (50, 400, 2)
    np.testing.assert_allclose(drawn.mean(axis=(0, 1)), [3.0, 2.0], rtol=0.05)
    other = likelihood.with_data(drawn[0])
    np.testing.assert_array_equal(other.data, drawn[0, :, 0])
    same = likelihood.with_data(likelihood.data)
    assert float(same.statistic(expected[0])) == pytest.approx(float(likelihood.statistic(expected[0])), rel=1e-12)
    cut = likelihood.take(np.arange(10))
    np.testing.assert_allclose(cut.pointwise(expected[0, :10]), likelihood.pointwise(expected[0])[:10])
    with pytest.raises(SkyfoldError, match="above zero"):
        MarginalBackground([1.0], [1.0], 0.0)
