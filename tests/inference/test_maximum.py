"""MLE and MAP: exact on Gaussians, right at bounds, and the best of several maxima."""

from __future__ import annotations

import numpy as np
import pytest
from toys import Direct, Identity, direct, image, run, sky

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.inference.search.scoring import climb, climb_between
from skyfold.inference.search.screening import choose_starts, screen
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.poisson import Poisson


def test_map_of_a_gaussian_is_exact() -> None:
    posterior = direct([2.0, -1.0], [0.5, 2.0], sf.Normal(np.zeros(2), 1.0))
    draws = run(sf.MAP(), posterior)
    precision = 1 / np.array([0.5, 2.0]) ** 2
    np.testing.assert_allclose(draws.latent[0, 0], precision * [2.0, -1.0] / (precision + 1), rtol=1e-6)
    np.testing.assert_allclose(draws.diagnostics["metric"], np.diag(precision + 1), rtol=1e-10)
    assert draws.converged


def test_mle_of_poisson_counts_is_the_linear_solution() -> None:
    posterior = sf.Posterior((sky(), image()))
    draws = run(sf.MLE(), posterior)
    gradient = posterior.kernel.linearised(draws.latent[0, 0])[1]
    assert np.max(np.abs(gradient)) < 1e-3
    # at the maximum of a Poisson likelihood that is linear in its norms the expected counts add up to the data
    assert float(posterior.predict(draws.latent[0, 0])["image"].sum()) == pytest.approx(image().data.sum(), rel=1e-8)


def test_mle_reaches_an_exact_bound() -> None:
    posterior = direct([-0.3], [0.2], sf.Uniform(0.0, 1.0))
    draws = run(sf.MLE(), posterior)
    assert draws.converged
    assert float(posterior.values(draws.latent[0, 0])["vector.x"]) == pytest.approx(0.0, abs=1e-15)
    upper = run(sf.MLE(), direct([1.4], [0.2], sf.Uniform(0.0, 1.0)))
    assert float(posterior.values(upper.latent[0, 0])["vector.x"]) == pytest.approx(1.0, abs=1e-15)


def test_mle_ignores_the_prior_s_density() -> None:
    draws = run(sf.MLE(), direct([8.0], [0.1], sf.Normal(0.0, 1.0)))
    assert draws.latent[0, 0, 0] == pytest.approx(8.0, abs=1e-5)


def test_both_maxima_of_a_bimodal_likelihood_are_found() -> None:
    class Squared(Identity):
        def evaluate(self, grid):
            return Identity.evaluate(self, grid) ** 2

    posterior = sf.Posterior((Squared(x=sf.Normal(0.3, 2.0)), Direct(Gaussian([4.0], [0.1]), Annotation("d"))))
    points, density, _ = screen(posterior, 512, 0)
    modes = climb(posterior, choose_starts(points, density, 16))
    x = np.sort(np.ravel(posterior.values(modes.z)["vector.x"]))
    np.testing.assert_allclose(x, [-2.0, 2.0], atol=0.01)
    assert posterior.values(modes.z[0])["vector.x"] > 0


def test_a_likelihood_that_is_nowhere_finite_is_an_error() -> None:
    class Broken(Identity):
        def evaluate(self, grid):
            return Identity.evaluate(self, grid) * np.nan

    posterior = sf.Posterior((Broken(x=sf.Normal(0.0, 1.0)), Direct(Poisson([4.0]), Annotation("d"))))
    with pytest.raises(sf.SkyfoldError, match="finite"):
        run(sf.MLE(), posterior)


@pytest.mark.parametrize(
    ("prior", "value", "sigma"),
    [
        (sf.TruncatedNormal(5.0, 0.1, 0.0, 10.0), 3.0, 0.1),
        (sf.Gamma(100.0, 1.0), 3.0, 0.1),
        (sf.Beta(200.0, 200.0), 0.95, 0.001),
        (sf.Normal(5.0, 0.1), 3.0, 0.1),
        (sf.LogNormal(0.0, 0.1), 9.0, 0.1),
    ],
    ids=repr,
)
def test_the_likelihood_s_maximum_far_out_in_the_prior_is_reached(prior, value, sigma) -> None:
    marginal = direct([value], [sigma], prior).fit("mle").marginals[0]
    assert marginal.best == pytest.approx(value, abs=1e-3 * sigma)
    assert marginal.sd == pytest.approx(sigma, rel=1e-3)
    assert marginal.note == ""


def test_a_half_normal_is_at_its_bound() -> None:
    marginal = direct([-1.0], [0.1], sf.HalfNormal(1.0)).fit("mle").marginals[0]
    assert marginal.best == pytest.approx(0.0, abs=1e-12)
    assert "lower bound" in marginal.note


def test_degenerate_parameters_are_named() -> None:
    class Sum(Identity):
        def evaluate(self, grid):
            return Identity.evaluate(self, grid).sum(keepdims=True)

    posterior = sf.Posterior((Sum(x=sf.Normal(np.zeros(2), 10.0)), Direct(Gaussian([4.0], [0.1]), Annotation("d"))))
    draws = run(sf.MLE(), posterior)
    assert any("do not tell vector.x apart" in m for m in draws.messages)


def test_a_parameter_that_the_data_see_in_steps_has_no_error_and_is_named() -> None:
    import jax.numpy as jnp

    class Steps(Identity):
        def evaluate(self, grid):
            height, place = Identity.evaluate(self, grid)
            return jnp.stack([height, jnp.floor(4.0 * place)])

    prior = sf.Uniform(np.array([0.0, 0.0]), np.array([9.0, 1.0]))
    posterior = sf.Posterior((Steps(x=prior), Direct(Gaussian([4.0, 2.0], [0.1, 0.1]), Annotation("d"))))
    result = posterior.fit("mle")
    assert result.marginals[0].sd == pytest.approx(0.1, rel=1e-3)
    assert np.isnan(result.marginals[1].sd)
    assert any("do not see vector.x at the best fit, or see it in steps" in m for m in result.draws.messages)


def test_a_part_of_the_prior_without_a_model_is_reported() -> None:
    class Half(Identity):
        def evaluate(self, grid):
            x = Identity.evaluate(self, grid)
            return x + 0.0 / (x < 0.5)

    posterior = sf.Posterior((Half(x=sf.Uniform(0.0, 1.0)), Direct(Gaussian([0.3], [0.1]), Annotation("d"))))
    with pytest.warns(sf.errors.NonFiniteModelWarning, match="not a number"):
        result = posterior.fit("auto")
    assert any("not a number" in m for m in result.draws.messages)


def test_negative_expected_counts_are_impossible() -> None:
    posterior = sf.Posterior((Identity(x=sf.Uniform(-2.0, -1.0)), Direct(Poisson([4.0]), Annotation("d"))))
    with pytest.raises(sf.SkyfoldError, match="negative expected"):
        run(sf.MLE(), posterior)


@pytest.mark.parametrize("seed", [-1, 1.5, "one", 2**64])
def test_bad_seeds_are_refused(seed) -> None:
    with pytest.raises(sf.SkyfoldError, match="seed"):
        direct([1.0], [0.1], sf.Normal(0.0, 1.0)).fit("mle", seed=seed)


BAD = [lambda: sf.MLE(starts=0), lambda: sf.Auto(max_evaluations=0), lambda: sf.NUTS(target_accept=7.0)]


@pytest.mark.parametrize("build", BAD)
def test_bad_settings_are_refused(build) -> None:
    with pytest.raises(sf.SkyfoldError):
        build()


@pytest.mark.parametrize("seed", [3, 4])
def test_mle_reaches_what_many_climbs_reach(seed) -> None:
    """Two lines of unknown place on a spectrum of counts: a likelihood with many maxima."""
    grid = np.linspace(0.0, 1.0, 60)

    class Lines(Identity):
        def evaluate(self, grid_):
            place, height = Identity.evaluate(self, grid_)[:2], 10.0 ** Identity.evaluate(self, grid_)[2:]
            return 3.0 + sum(height[i] * _bump((grid - place[i]) / 0.02) for i in range(2))

    low, high = np.array([0.0, 0.0, -1.0, -1.0]), np.array([1.0, 1.0, 2.5, 2.5])
    rng = np.random.default_rng(seed)
    expected = 3.0 + 20.0 * np.exp(-0.5 * ((grid - 0.3) / 0.02) ** 2) + 9.0 * np.exp(-0.5 * ((grid - 0.7) / 0.02) ** 2)
    likelihood = Poisson(rng.poisson(expected))
    posterior = sf.Posterior((Lines(x=sf.Uniform(low, high)), Direct(likelihood, Annotation("d"))))
    reached = run(sf.MLE(), posterior, seed).log_likelihood[0, 0]
    starts = rng.standard_normal((8, 32, 4))
    best = max(climb(posterior, s, with_prior=False, patience=200).value[0] for s in starts)
    assert reached > best - 0.05


@pytest.mark.parametrize("method", [sf.MLE(), sf.MAP()], ids=["mle", "map"])
def test_one_maximum_that_all_climbs_find_takes_few_evaluations(method) -> None:
    """Two parameters on 60,000 channels."""
    energy = np.linspace(0.3, 9.0, 60000)

    class Power(Identity):
        def evaluate(self, grid):
            index, norm = Identity.evaluate(self, grid)
            return 10.0**norm * energy**-index

    truth = 3.0 * energy**-1.7
    likelihood = Poisson(np.random.default_rng(1).poisson(truth))
    prior = sf.Uniform(np.array([-1.0, -8.0]), np.array([5.0, 2.0]))
    posterior = sf.Posterior((Power(x=prior), Direct(likelihood, Annotation("d"))))
    for seed in range(3):
        draws = run(method, posterior, seed)
        assert draws.evaluations < 500
        assert draws.converged and draws.diagnostics["modes"] == 1
        index, norm = np.asarray(posterior.values(draws.best)["vector.x"])
        assert index == pytest.approx(1.7, abs=0.02) and norm == pytest.approx(np.log10(3.0), abs=0.02)


def test_climbs_that_arrive_make_room_and_come_to_the_same_maxima() -> None:
    posterior = sf.Posterior((sky(), image()))
    starts = np.random.default_rng(3).standard_normal((8, posterior.ndim))
    low, high = posterior.latent_bounds()
    together = climb_between(posterior, starts, low, high, with_prior=False)
    by_two = climb_between(posterior, starts, low, high, with_prior=False, lanes=2)
    np.testing.assert_allclose(by_two.value, together.value, atol=1e-7)
    np.testing.assert_allclose(by_two.z, together.z, atol=1e-4)
    assert by_two.evaluations <= together.evaluations
    few = climb_between(posterior, starts[:3], low, high, with_prior=False, lanes=2, size=8)
    np.testing.assert_allclose(few.value, by_two.value[:3], atol=1e-7)
    assert few.evaluations < by_two.evaluations and len(few.z) == 3


def _bump(x):
    import jax.numpy as jnp

    return jnp.exp(-0.5 * x**2)


def test_spectra_of_the_count_of_local_minima(tmp_path) -> None:
    import importlib.util
    from pathlib import Path

    script = Path(__file__).parents[2] / "benchmarks" / "local_minima.py"
    if not script.exists():
        pytest.skip("the benchmarks are not beside the tests")
    spec = importlib.util.spec_from_file_location("local_minima", script)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.STARTS = 64
    base = benchmark.posterior()
    for number in (2, 49):
        row = benchmark.compare(base, number)
        assert row["mle"] > max(row["reference"], row["from_truth"]) - 0.05
    path = tmp_path / "mle.csv"
    benchmark.run(path, 1, lambda base, number: row | {"number": number})
    benchmark.run(path, 2, lambda base, number: row | {"number": number})
    assert [r["number"] for r in benchmark.rows(path)] == [0, 1]
    assert benchmark.summary(benchmark.rows(path), [])["mle"]["failed"] == 0
