"""Summary: weighted quantiles, effective sample sizes, and what is said of a marginal."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.stats as st
from toy_results import chains, weighted
from toys import direct

import skyfold as sf
from skyfold.results.summary import LIMIT_RATIO, bound_ratios, kish, quantiles, returns_prior, standard_errors


def test_quantiles_of_equal_weights_are_those_of_numpy() -> None:
    x = np.random.default_rng(0).normal(size=(501, 2))
    q = [0.05, 0.5, 0.84]
    np.testing.assert_allclose(quantiles(x, np.ones(501), q), np.quantile(x, q, axis=0, method="hazen"), rtol=1e-12)


def test_quantiles_of_weighted_draws() -> None:
    x = np.random.default_rng(1).uniform(-8, 8, 40_000)
    found = quantiles(x, np.exp(-0.5 * x**2), [0.05, 0.5, 0.95])
    np.testing.assert_allclose(found, st.norm.ppf([0.05, 0.5, 0.95]), atol=0.04)
    # a draw of weight three counts as three draws of weight one, up to the step between draws
    whole = np.sort(np.random.default_rng(2).normal(size=900))
    assert quantiles(whole[1::3], np.full(300, 3.0), 0.3) == pytest.approx(np.quantile(whole, 0.3), abs=0.02)


def test_kish() -> None:
    assert kish(np.ones(7)) == pytest.approx(7)
    assert kish(np.array([1.0, 0.0, 0.0])) == pytest.approx(1)
    assert kish(np.array([2.0, 1.0])) == pytest.approx(9 / 5)


def test_returns_prior() -> None:
    z = np.random.default_rng(3).normal(size=4000)
    ones = np.ones(4000)
    assert returns_prior(z, ones)
    assert not returns_prior(z + 0.3, ones)
    assert not returns_prior(0.85 * z, ones)
    wide = 1.5 * z
    assert returns_prior(wide, np.exp(-0.5 * wide**2 * (1 - 1 / 1.5**2)))


@pytest.mark.parametrize(("sigmas", "limit"), [(-2.0, True), (0.0, True), (1.0, True), (2.6, False), (5.0, False)])
@pytest.mark.parametrize("side", [0, 1])
def test_limits_by_the_distance_of_the_peak_from_the_bound(sigmas: float, limit: bool, side: int) -> None:
    # a normal likelihood in the prior's quantile u, cut at the bound
    sigma = 0.02
    u = st.truncnorm.rvs(-sigmas, np.inf, loc=sigmas * sigma, scale=sigma, size=4000, random_state=4)
    z = st.norm.ppf(u) * (1 if side == 0 else -1)
    ratios = bound_ratios(z, np.ones(4000))
    assert (ratios[side] > LIMIT_RATIO) == limit
    assert ratios[1 - side] < 0.05


def test_limit_ratio_is_that_of_a_peak_at_1_645_sigma() -> None:
    u = st.truncnorm.ppf((np.arange(200_000) + 0.5) / 200_000, -1.645, np.inf, loc=0.01645, scale=0.01)
    assert bound_ratios(st.norm.ppf(u), np.ones(200_000))[0] == pytest.approx(LIMIT_RATIO, abs=0.01)


def test_marginals_of_a_known_posterior() -> None:
    posterior = direct([1.0, -2.0], [0.5, 1.0], sf.Normal(np.zeros(2), np.array([1.0, 2.0])))
    variance = 1 / (1 / np.array([1.0, 4.0]) + 1 / np.array([0.25, 1.0]))
    mean = variance * np.array([1.0 / 0.25, -2.0])
    for draws in (weighted(posterior, n=20_000), chains(posterior, n=2000)):
        found = sf.Result(posterior, draws).marginals
        assert [m.name for m in found] == ["vector.x[0]", "vector.x[1]"]
        for m, centre, sd in zip(found, mean, np.sqrt(variance), strict=True):
            assert m.mean == pytest.approx(centre, abs=0.05 * sd)
            assert m.sd == pytest.approx(sd, rel=0.04)
            assert m.q95 - m.q05 == pytest.approx(2 * 1.645 * sd, rel=0.05)
            assert m.note == "" and m.limit == ""
        if draws.log_weights is None:
            assert all(m.rhat == pytest.approx(1, abs=0.01) and 6000 < m.ess < 11_000 for m in found)
        else:
            assert all(np.isnan(m.rhat) and 12_000 < m.ess <= 20_000 for m in found)


def test_notes() -> None:
    # the first entry is unconstrained, the second an upper limit, the third measured
    prior = sf.Uniform(np.zeros(3), np.full(3, 10.0))
    posterior = direct([5.0, -0.1, 5.0], [1e4, 0.4, 0.5], prior)
    rng = np.random.default_rng(0)
    u = np.stack(
        [
            rng.random(4000),
            st.truncnorm.rvs(0.25, np.inf, loc=-0.1, scale=0.4, size=4000, random_state=1) / 10,
            rng.normal(0.5, 0.05, 4000),
        ],
        axis=-1,
    )
    latent = st.norm.ppf(u).reshape(4, 1000, 3)
    draws = sf.Draws("exact", latent, np.zeros((4, 1000)), converged=True)
    first, second, third = sf.Result(posterior, draws).marginals
    assert first.note == "returns its prior"
    assert second.limit == "upper" and "upper limit" in second.note
    assert third.note == third.limit == ""
    text = str(sf.Result(posterior, draws))
    assert f"< {second.q95:.2f}" in text and "returns its prior" in text


def test_standard_errors_push_the_metric_forward() -> None:
    metric = np.array([[4.0, 1.0], [1.0, 9.0]])
    jacobian = np.array([[2.0, 0.0], [1.0, 3.0]])
    expected = np.sqrt(np.diag(jacobian @ np.linalg.inv(metric) @ jacobian.T))
    np.testing.assert_allclose(standard_errors(metric, jacobian, np.zeros(2, dtype=bool)), expected)
    # a coordinate at its bound is known exactly, and takes no part
    held = standard_errors(metric, np.array([[0.0, 0.0], [0.0, 3.0]]), np.array([True, False]))
    assert np.isnan(held[0]) and held[1] == pytest.approx(3 / 3)


def test_a_curvature_that_is_not_positive_gives_no_error() -> None:
    nowhere, eye = np.zeros(3, dtype=bool), np.eye(3)
    # the data do not see the second coordinate, and the others keep their errors
    blind = standard_errors(np.diag([4.0, 0.0, 9.0]), eye, nowhere)
    np.testing.assert_allclose(blind, [1 / 2, np.nan, 1 / 3])
    np.testing.assert_allclose(standard_errors(np.diag([4.0, -1.0, 9.0]), eye, nowhere), blind)
    np.testing.assert_allclose(standard_errors(np.diag([4.0, np.nan, 9.0]), eye, nowhere)[[0, 2]], blind[[0, 2]])
    # nor a saddle, or two coordinates that are seen as one, beside a third that is seen well
    for off in (1.0, 2.0):
        metric = np.array([[1.0, off, 0.0], [off, 1.0, 0.0], [0.0, 0.0, 9.0]])
        np.testing.assert_allclose(standard_errors(metric, eye, nowhere), [np.nan, np.nan, 1 / 3])


def test_weighted_results_import_no_arviz() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "import skyfold.results.result\n"
        "assert not {'scipy', 'matplotlib', 'astropy', 'netCDF4'} & set(sys.modules) - before\n"
        "from toys import direct; from toy_results import weighted; import skyfold as sf\n"
        "p = direct([1.0], [0.5], sf.Normal(0, 1)); r = sf.Result(p, weighted(p, n=500))\n"
        "print(r); r.to_dict(); r.plot_corner()\n"
        "assert not {'arviz', 'pandas', 'xarray'} & set(sys.modules), set(sys.modules)\n"
    ).replace(
        "import skyfold.results.result\n",
        "import skyfold.component; before = set(sys.modules)\nimport skyfold.results.result\n",
    )
    root = __file__.rsplit("/tests/", 1)[0]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
