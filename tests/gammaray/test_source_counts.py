from __future__ import annotations

import jax
import mpmath as mp
import numpy as np
import pytest
from exact import moment

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.gammaray.moments import tabulate
from skyfold.gammaray.source_counts import BrokenPowerLaw, LogNormalCounts

#: A King-like distribution of fractions, sum(f w) = 1.
F = np.array([0.002, 0.03, 0.2, 0.45, 0.7])
W = np.array([60.0, 4.0, 1.0, 0.6, 0.0])
W[-1] = (1 - F @ W) / F[-1]

moments = jit(lambda table, theta: table.moments(BrokenPowerLaw.from_theta(theta, table.support)))


def prior_draws(n, seed=0):
    rng = np.random.default_rng(seed)
    for i in range(n):
        n1, n2, n3 = rng.uniform(2.1, 8), rng.uniform(0.5, 2), rng.uniform(-8, -1)
        sb1, lam = rng.uniform(5, 40), rng.uniform(0.1, 0.95)
        if i % 3 == 2:  # three breaks
            yield [0.01, n1, n2, rng.uniform(-1, 1), n3, sb1, lam * sb1, 0.5 * lam * sb1]
        else:
            yield [0.01, n1, n2, n3, sb1, lam * sb1]


@pytest.mark.parametrize("s_range", [None, (0.1, 100.0)])
@pytest.mark.parametrize("psf", ["none", "king"])
def test_moments_agree_with_incomplete_gamma_functions_over_the_prior(psf, s_range):
    f, w = (np.ones(1), np.ones(1)) if psf == "none" else (F, W)
    table = tabulate(127, f, w, s_range)
    for theta in prior_draws(6):
        v, x = moments(table, np.array(theta))
        chosen = [1, 2, 5, 20, 60, 103]
        with mp.workdps(40):
            expected = [float(moment(theta, m, f, w, s_range)) for m in chosen]
            total = float(moment(theta, -1, f, w, s_range))
        assert np.allclose(np.asarray(x)[np.array(chosen) - 1], expected, rtol=1e-11, atol=1e-30)
        assert np.isclose(v, total, rtol=1e-12)


@pytest.mark.parametrize(
    "theta",
    [
        [0.1, 2.05, 1.95, 12.0],  # flux falls and rises slowly at both ends
        [0.1, 8.0, 0.5, -8.0, 5.0, 0.5],
        [0.1, 3.0, 1.5, -2.0, 20.0, 19.9],  # both breaks in one panel
        [0.1, 3.0, 1.5, 0.01],  # a break below the first panel of bright maps
        [0.1, 3.0, 1.5, 1.5, 1.0, 3000.0, 200.0, 0.3],
        [0.1, 3.0, 1.0, -2.0, 20.0, 5.0],  # logarithmic integrals
    ],
)
def test_corners(theta):
    table = tabulate(127, F, W)
    v, x = moments(table, np.array(theta))
    with mp.workdps(60):
        shifted = [t + 1e-14 if t == 1.0 else t for t in theta]  # the reference divides by 1 - n
        expected = [float(moment(theta, m, F, W)) for m in (1, 3, 30, 120)]
        total = float(moment(shifted, -1, F, W))
    assert np.allclose(np.asarray(x)[[0, 2, 29, 119]], expected, rtol=1e-10)
    assert np.isclose(v, total, rtol=1e-10)


def test_derivatives_of_the_moments():
    table = tabulate(63, F, W)
    theta = np.array([0.01, 4.0, 1.5, -4.0, 12.0, 6.0])
    slope = jit(jax.jacfwd(lambda t: table.moments(BrokenPowerLaw.from_theta(t))[1]))(theta)
    back = jit(jax.jacrev(lambda t: table.moments(BrokenPowerLaw.from_theta(t))[1]))(theta)
    assert np.allclose(slope, back, rtol=1e-10, atol=1e-16)
    with mp.workdps(50):
        for m in (1, 10, 60):
            for i in range(theta.size):
                exact = mp.diff(lambda t, m=m, i=i: moment([*theta[:i], t, *theta[i + 1 :]], m, F, W), theta[i])
                assert np.isclose(slope[m - 1, i], float(exact), rtol=1e-9, atol=1e-18)


@pytest.mark.parametrize("s_range", [None, (0.1, 100.0)])
@pytest.mark.parametrize(
    "theta", [[0.2, 3.0, 1.5, -2.0, 20.0, 8.0], [0.2, 2.5, 1.9, 60.0], [0.2, 4.0, 2.0, 0.0, 9.0, 2.0]]
)
def test_flux_is_the_integral(theta, s_range):
    source_count = BrokenPowerLaw.from_theta(theta)
    low, high = (-300.0, 80.0) if s_range is None else np.log(s_range)
    breaks = np.sort(np.log(theta[len(theta) // 2 + 1 :]))
    edges = np.clip([low, *breaks, high], low, high)
    density = jit(lambda u: source_count.density(u))
    t, w = np.polynomial.legendre.leggauss(1500)
    total = 0.0
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        u = 0.5 * (a + b) + 0.5 * (b - a) * t
        total += 0.5 * (b - a) * w @ np.asarray(density(u) * np.exp(u))
    assert np.isclose(source_count.flux(s_range), total, rtol=1e-9)


def test_exposure_scales_flux_and_breaks():
    source_count = BrokenPowerLaw.from_theta([0.2, 3.0, 1.5, -2.0, 20.0, 8.0])
    longer = source_count.at_exposure(1.3)
    assert np.isclose(longer.flux(), 1.3 * source_count.flux(), rtol=1e-13)
    assert np.allclose(longer.breaks, 1.3 * source_count.breaks)
    assert np.isclose(source_count.at_exposure(1.3, amplitude=False).flux(), 1.3**2 * source_count.flux(), rtol=1e-13)


@pytest.mark.parametrize("s_range", [None, (0.1, 100.0)])
def test_log_normal_moments(s_range):
    table = tabulate(63, F, W, s_range)
    source_count = LogNormalCounts(0.3, np.log(6.0), 0.5)
    v, x = jit(lambda s: table.moments(s))(source_count)
    low, high = (np.log(6.0) - 8, np.log(6.0) + 8) if s_range is None else np.log(s_range)
    t, w = np.polynomial.legendre.leggauss(2000)
    u = 0.5 * (low + high) + 0.5 * (high - low) * t
    weight = 0.5 * (high - low) * w * 0.3 / 0.5 / np.sqrt(2 * np.pi) * np.exp(-0.5 * ((u - np.log(6.0)) / 0.5) ** 2)
    from scipy.stats import poisson

    for m in (1, 4, 30, 60):
        expected = sum(b * (weight @ poisson.pmf(m, a * np.exp(u))) for a, b in zip(F, W, strict=True))
        assert np.isclose(x[m - 1], expected, rtol=1e-11)
    assert np.isclose(v, sum(b * (weight @ -np.expm1(-a * np.exp(u))) for a, b in zip(F, W, strict=True)), rtol=1e-11)
    assert np.isclose(source_count.flux(s_range), weight @ np.exp(u), rtol=1e-10)


def test_wrong_numbers_are_refused():
    with pytest.raises(SkyfoldError, match="4, 6, 8"):
        BrokenPowerLaw.from_theta([1.0, 2.0, 3.0])
    with pytest.raises(SkyfoldError, match="it is one for every PSF"):
        tabulate(10, [0.5], [1.0])
    with pytest.raises(SkyfoldError, match="range of S"):
        tabulate(10, [1.0], [1.0], (3.0, 1.0))
    with pytest.raises(SkyfoldError, match="lie in"):
        tabulate(10, [1.5], [1 / 1.5])
