"""Goodness of fit: simulated statistics against their known distributions, expected statistics against Monte Carlo."""

from __future__ import annotations

from typing import ClassVar

import jax
import numpy as np
import pytest
import scipy.stats as st
from toy_results import TRUTH, chains, source, toy_spectrum
from toys import Greybody, image, photometry, sky

import skyfold as sf
from skyfold.checks import goodness
from skyfold.checks.goodness import expected_statistic, simulated_statistic
from skyfold.compiled.annotation import Annotation
from skyfold.component import Component
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.poisson import Poisson, expected_cash
from skyfold.observation import Observation
from skyfold.parameters import Value, parameter

N = 30


class Line(Component):
    name: ClassVar[str] = "line"
    mean: Value = parameter(sf.Normal(0.0, 20.0))
    slope: Value = parameter(sf.Normal(0.0, 20.0))

    def evaluate(self, grid: jax.Array) -> jax.Array:
        return self.mean + self.slope * grid


class Points(Observation):
    x: np.ndarray

    def predict(self, model: Component) -> jax.Array:
        return model.evaluate(self.x)


def line(seed: int = 0, bend: float = 0.0) -> sf.Posterior:
    x = np.linspace(-1, 1, N)
    data = 1.0 + 0.5 * x + bend * x**2 + np.random.default_rng(seed).normal(0, 0.7, N)
    return sf.Posterior((Line(), Points(Gaussian(data, np.full(N, 0.7)), Annotation("points"), x)))


def test_statistics_of_refitted_lines_are_chi_squared() -> None:
    posterior = line()
    found = simulated_statistic(posterior, 500, seed=3)
    assert found.failed == 0 and found.refitted and found.name == "chi2"
    assert st.kstest(found.simulated, st.chi2(N - 2).cdf).pvalue > 1e-3
    # the fit of each data set is least squares
    z = found.latent[:3]
    assert np.all(np.std(found.latent, axis=0) > 0) and z.shape == (3, 2)
    x = np.linspace(-1, 1, N)
    design = np.stack([np.ones(N), x], axis=1)
    residual = (
        posterior.pairs["points"][1].data - design @ np.linalg.lstsq(design, posterior.pairs["points"][1].data)[0]
    )
    assert found.observed == pytest.approx(np.sum((residual / 0.7) ** 2), abs=1e-6)
    assert found.p_value == pytest.approx(st.chi2(N - 2).sf(found.observed), abs=0.08)
    assert found.percentile == pytest.approx(100 * (1 - found.p_value))
    assert "500 simulated data sets, each fitted again" in repr(found)


def test_without_refit_they_have_the_parameters_dof_more() -> None:
    found = simulated_statistic(line(), 500, refit=False)
    assert st.kstest(found.simulated, st.chi2(N).cdf).pvalue > 1e-3
    assert not found.refitted and found.failed == 0


def test_a_poor_fit_is_found() -> None:
    found = simulated_statistic(line(bend=3.0), 200)
    assert found.percentile == 100.0 and found.p_value == 0.0
    assert found.observed > 60


def test_it_repeats_and_data_sets_share_one_executable() -> None:
    one = simulated_statistic(line(0), 100, seed=5)
    executables = goodness._climbed.executables()
    again, other = (simulated_statistic(line(seed), 100, seed=5) for seed in (0, 1))
    np.testing.assert_array_equal(one.simulated, again.simulated)
    assert one.observed != other.observed
    assert goodness._climbed.executables() == executables


def test_parameters_from_the_posterior() -> None:
    posterior = line()
    result = sf.Result(posterior, chains(posterior, n=100))
    found = simulated_statistic(result, 300, parameters="posterior")
    assert st.kstest(found.simulated, st.chi2(N - 2).cdf).pvalue > 1e-3
    # draws of the parameters scatter, and so do the fits, by more than noise alone
    alone = simulated_statistic(result, 300)
    assert np.std(found.latent[:, 0]) == pytest.approx(np.sqrt(2) * np.std(alone.latent[:, 0]), rel=0.2)
    with pytest.raises(sf.SkyfoldError, match="no posterior"):
        simulated_statistic(posterior, 10, parameters="posterior")
    with pytest.raises(sf.SkyfoldError, match="'best' or 'posterior'"):
        simulated_statistic(result, 10, parameters="prior")


def test_a_spectrum_of_counts() -> None:
    posterior = sf.Posterior((source(), toy_spectrum()))
    result = sf.Result(posterior, chains(posterior, TRUTH, n=100))
    found = simulated_statistic(result, 150)
    assert found.name == "C-stat" and found.failed == 0
    expected = expected_statistic(result)
    assert found.simulated.mean() == pytest.approx(expected.expected - 4, abs=4 * expected.sd / np.sqrt(150))
    assert found.simulated.std() == pytest.approx(expected.sd, rel=0.2)
    assert 1 < found.percentile < 99 and abs(expected.deviation) < 3


def test_several_observations() -> None:
    posterior = sf.Posterior((sky(n=60), image(n=60)), (Greybody(), photometry()))
    found = simulated_statistic(posterior, 120)
    assert set(found.observations) == {"image", "bands"}
    assert found.observed == pytest.approx(sum(o for o, _ in found.observations.values()))
    np.testing.assert_allclose(found.simulated, sum(s for _, s in found.observations.values()))
    assert found.observations["bands"][1].mean() == pytest.approx(5, abs=4 * np.sqrt(10 / 120))
    result = posterior.fit("mle")
    assert found.observed == pytest.approx(result.statistic["value"], abs=1e-3)
    quick = expected_statistic(result)
    assert quick.observations["bands"][1:] == (7.0, pytest.approx(np.sqrt(14.0)))
    assert quick.expected == pytest.approx(sum(e for _, e, _ in quick.observations.values()))
    assert "expected" in repr(quick) and "sd)" in repr(quick)


# -- expected C-stat -------------------------------------------------------------------------------------------------


def test_expected_cash_against_simulated_counts() -> None:
    m = np.array([0.01, 0.3, 1.0, 4.0, 30.0, 2000.0])
    mean, variance = expected_cash(m)
    counts = np.random.default_rng(0).poisson(m, (200_000, m.size)).astype(float)
    deviance = np.asarray(
        jax.vmap(lambda d, e: 2 * (e - d + jax.scipy.special.xlogy(d, d / e)))(counts, np.tile(m, (200_000, 1)))
    )
    np.testing.assert_allclose(deviance.mean(0), mean, atol=5 * np.max(np.sqrt(variance / 200_000)))
    np.testing.assert_allclose(deviance.var(0), variance, rtol=0.05)


def test_expected_cash_against_the_published_fits() -> None:
    """Kaastra 2017, A&A 605, A51, equations 8 to 12 and 13 to 22 at some of their intervals."""
    mean, variance = expected_cash(np.array([0.4, 1.5, 4.0, 8.0, 15.0]))
    log4 = np.log(4.0)
    np.testing.assert_allclose(
        mean,
        [
            -0.25 * 0.4**3 + 1.38 * 0.4**2 - 0.8 * np.log(0.4),
            -0.00335 * 1.5**5 + 0.04259 * 1.5**4 - 0.27331 * 1.5**3 + 1.381 * 1.5**2 - 3.0 * np.log(1.5),
            1.019275 + 0.1345 * 4.0 ** (0.461 - 0.9 * log4),
            1.00624 + 0.604 / 8.0**1.68,
            1 + 0.1649 / 15 + 0.226 / 15**2,
        ],
        rtol=3e-4,
    )
    np.testing.assert_allclose(
        variance,
        [
            -3.7 * 0.4**3 + 7.328 * 0.4**2 - 3.6926 * 0.4 + 1.20641,
            0.1125 * 1.5**4 - 0.641 * 1.5**3 + 0.859 * 1.5**2 + 1.0914 * 1.5 - 0.05748,
            2.12336 + 0.012202 * 4.0 ** (5.717 - 2.6 * log4),
            2.05159 + 0.331 * 8.0 ** (1.343 - np.log(8.0)),
            12 / 15**3 + 0.79 / 15**2 + 0.6747 / 15 + 2,
        ],
        rtol=3e-4,
    )


def test_expected_cash_is_smooth_and_finite() -> None:
    mean, variance = expected_cash(np.array([0.0, 1e-300, 1e-12, 999.999, 1000.001, 1e8]))
    assert np.all(np.isfinite(mean)) and np.all(np.isfinite(variance)) and np.all(variance >= 0)
    assert mean[0] == 0 and mean[3] == pytest.approx(mean[4], rel=1e-8)
    assert variance[3] == pytest.approx(variance[4], rel=1e-6)
    total, sd = Poisson(np.zeros(2)).expected_statistic(np.array([4.0, 30.0]))
    assert total == pytest.approx(expected_cash(np.array([4.0, 30.0]))[0].sum()) and sd > 0


def test_statistics_without_a_known_expectation_say_so() -> None:
    class Robust(Gaussian):
        expected_statistic = Poisson.__mro__[1].expected_statistic

    with pytest.raises(sf.SkyfoldError, match="simulated_statistic instead"):
        Robust([0.0], [1.0]).expected_statistic(np.zeros(1))
