from __future__ import annotations

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from exact import recursion
from scipy.stats import poisson

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.gammaray.compound import arrange, log_probability


def exact(layout, x, mu, templates, total):
    counts = np.zeros(mu.size)
    counts[:] = layout.counts[layout.place]
    result = []
    for p in range(mu.size):
        d = int(counts[p])
        rates = [mp.mpf(0)] + [
            mp.fsum(mp.mpf(t[p]) * mp.mpf(row[j]) for t, row in zip(templates, x, strict=True)) for j in range(d)
        ]
        if d:
            rates[1] += mp.mpf(mu[p])
        lost = mp.mpf(mu[p]) + mp.fsum(mp.mpf(t[p]) * mp.mpf(v) for t, v in zip(templates, total, strict=True))
        result.append(float(recursion(rates) - lost))
    return np.array(result)


def problem(counts, n=2, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    counts = np.asarray(counts, dtype=float)
    layout = arrange(counts)
    x = scale * np.arange(1.0, layout.highest + 1) ** -np.linspace(1.5, 2.5, n)[:, None]
    return layout, x, rng.uniform(0.3, 1.0, counts.size) * (counts + 1), rng.uniform(0.2, 3, (n, counts.size))


evaluate = jit(log_probability)


def test_every_small_count_is_exact_wherever_it_stands():
    counts = np.random.default_rng(1).permutation(np.repeat(np.arange(70), 3))
    layout, x, mu, templates = problem(counts)
    total = 1.1 * x.sum(axis=1)
    value = evaluate(layout, x, mu, templates, total)
    assert np.abs(value - exact(layout, x, mu, templates, total)).max() < 1e-11


@pytest.mark.parametrize("counts", [[171, 250, 3], [2000, 0, 5]])
def test_thousands_of_counts_are_exact(counts):
    layout, x, mu, templates = problem(counts, scale=5.0)
    total = x.sum(axis=1)
    value = evaluate(layout, x, mu, templates, total)
    with mp.workdps(30):
        expected = exact(layout, x, mu, templates, total)
    assert np.abs(value / expected - 1).max() < 1e-11


def test_many_expected_counts_do_not_overflow():
    layout = arrange([0.0, 3.0, 100.0, 2500.0])
    mu = np.array([5000.0, 1e5, 2e4, 3000.0])
    nothing = np.zeros((0, 4)), np.zeros(0)
    value = evaluate(layout, np.zeros((0, layout.highest)), mu, *nothing)
    assert np.allclose(value, poisson.logpmf([0, 3, 100, 2500], mu), rtol=1e-12)


def test_probabilities_sum_to_one():
    counts = np.arange(400.0)
    layout = arrange(counts)
    x = 0.5 * 0.8 ** np.arange(1, layout.highest + 1)[None]
    value = evaluate(layout, x, np.full(400, 20.0), np.full((1, 400), 2.0), np.array([0.5 * 0.8 / 0.2]))
    assert abs(np.exp(value).sum() - 1) < 1e-12


def test_derivatives_are_those_of_finite_differences_in_both_modes():
    counts = np.array([0, 1, 2, 17, 40, 40, 5, 180])
    layout, x, mu, templates = problem(counts, scale=0.5)
    total = x.sum(axis=1)

    def value(step, directions):
        moved = (a + step * d for a, d in zip((x, mu, templates, total), directions, strict=True))
        return log_probability(layout, *moved)

    rng = np.random.default_rng(3)
    directions = tuple(rng.normal(size=np.shape(a)) * a for a in (x, mu, templates, total))
    forward = jit(lambda d: jax.jvp(lambda s: value(s, d), (0.0,), (1.0,))[1])(directions)
    compiled = jit(value)
    coarse, fine = ((compiled(h, directions) - compiled(-h, directions)) / (2 * h) for h in (2e-3, 1e-3))
    assert np.allclose(forward, (4 * fine - coarse) / 3, rtol=1e-8, atol=1e-8)
    weights = rng.normal(size=counts.size)
    back = jit(jax.grad(lambda a: jnp.sum(weights * log_probability(layout, *a))))((x, mu, templates, total))
    assert np.isclose(sum(np.sum(g * d) for g, d in zip(back, directions, strict=True)), weights @ forward, rtol=1e-11)


def test_gradient_by_rates_is_a_ratio_of_probabilities():
    layout, x, mu, templates = problem([30.0], n=1)
    total = x.sum(axis=1)
    slope = jit(jax.grad(lambda x: jnp.sum(log_probability(layout, x, mu, templates, total))))(x)[0]
    lower = [30 - j for j in range(1, 31)]
    others = arrange(np.array([*lower, 30.0]))
    same = evaluate(others, x[:, : others.highest], np.full(31, mu[0]), np.full((1, 31), templates[0, 0]), total)
    assert np.allclose(slope[:30], templates[0, 0] * np.exp(same[:-1] - same[-1]), rtol=1e-11)
    assert np.all(slope[30:] == 0)


def test_batches_give_what_single_calls_give():
    layout, x, mu, templates = problem(np.arange(50), scale=0.5)
    total = x.sum(axis=1)
    factors = np.array([0.5, 1.0, 3.0])
    many = jit(jax.vmap(lambda s: log_probability(layout, s * x, mu, templates, s * total)))(factors)
    for row, factor in zip(many, factors, strict=True):
        assert np.allclose(row, evaluate(layout, factor * x, mu, templates, factor * total), rtol=1e-12)


def test_other_draws_of_the_data_share_the_shape():
    rng = np.random.default_rng(0)
    mean = rng.gamma(3.0, 7.0, 5000)
    first = arrange(rng.poisson(mean))
    for _ in range(5):
        counts = rng.poisson(mean)
        other = arrange(counts, like=first)
        assert other.shape == first.shape
        assert np.array_equal(other.counts[other.place], counts)
    assert arrange(50 * mean.round(), like=first).shape != first.shape


@pytest.mark.parametrize("counts", [[1.5, 2], [-1, 2], [np.nan, 1], [[1, 2]], []])
def test_what_is_no_count_is_refused(counts):
    with pytest.raises(SkyfoldError, match="[Cc]ounts must be"):
        arrange(np.array(counts))
