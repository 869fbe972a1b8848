"""Importance sampling: exact evidence and moments on Gaussians, k-hat against ArviZ, honest refusal."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as st
from scipy.special import ndtr

from skyfold.inference.frames.unit_or_normal import Coordinates
from skyfold.inference.frames.whitened import Bend
from skyfold.inference.importance.mixture import Mixture
from skyfold.inference.importance.psis import kish, log_evidence, normalised, pareto_k, pareto_smoothed
from skyfold.inference.importance.sample import WeightedSample, refit, split
from skyfold.inference.search.quasirandom import normal_points, student_points, uniform_points

LATENT = Coordinates(np.zeros(2, dtype=bool))


def test_mixture_density_against_scipy() -> None:
    root = np.linalg.cholesky(np.array([[2.0, 0.5], [0.5, 1.0]]))
    mixture = Mixture(np.array([0.3, 0.7]), np.array([[0.0, 1.0], [2.0, 0.0]]), np.stack([root, 0.5 * root]), LATENT)
    z = np.random.default_rng(0).normal(size=(5, 2))
    exact = 0.3 * st.multivariate_t([0, 1], root @ root.T, 8).pdf(z) + 0.7 * st.multivariate_t(
        [2, 0], 0.25 * root @ root.T, 8
    ).pdf(z)
    np.testing.assert_allclose(np.exp(mixture.log_density(z)), exact, rtol=1e-10)


@pytest.mark.parametrize("ndim", [2, 80])
def test_a_mixture_of_normals_against_scipy(ndim) -> None:
    """In many dimensions no inverses of the roots are kept."""
    rng = np.random.default_rng(1)
    roots = np.tril(0.05 * rng.normal(size=(2, ndim, ndim))) + np.eye(ndim)
    means, latent = rng.normal(size=(2, ndim)), Coordinates(np.zeros(ndim, dtype=bool))
    mixture = Mixture(np.array([0.25, 0.75]), means, roots, latent, pairs=0)
    z = mixture.draw(4000, rng)
    each = [st.multivariate_normal(m, r @ r.T).logpdf(z) for m, r in zip(means, roots, strict=True)]
    exact = np.logaddexp(np.log(0.25) + each[0], np.log(0.75) + each[1])
    np.testing.assert_allclose(mixture.log_density(z), exact, atol=1e-9)
    share, pull = mixture.shares(z)
    np.testing.assert_allclose(share.sum(axis=0), 1.0)
    assert share[0].mean() == pytest.approx(0.25, abs=1e-3 if ndim > 2 else 0.03)
    assert mixture.defended(0.2, 2.0).weights.sum() == pytest.approx(1.0)


def test_draws_follow_the_density_in_a_unit_interval() -> None:
    mixture = Mixture(
        np.ones(1), np.array([[0.1, 0.0]]), np.array([np.diag([0.05, 1.0])]), Coordinates(np.array([True, False]))
    )
    rng = np.random.default_rng(1)
    sample = WeightedSample(2)
    for _ in range(4):
        z = mixture.draw(2000, rng)
        likelihood = st.norm.logpdf(ndtr(z[:, 0]), 0.1, 0.05)
        sample.add(z, likelihood + st.norm.logpdf(z).sum(axis=1), likelihood, mixture, 2000)
    log_evidence, error = sample.log_evidence()
    assert log_evidence == pytest.approx(np.log(st.norm.cdf(2.0)), abs=4 * error)
    assert error < 0.01
    assert sample.weights() @ ndtr(sample.z[:, 0]) == pytest.approx(st.truncnorm(-2, 18, 0.1, 0.05).mean(), rel=0.01)


def test_adaptation_finds_a_displaced_skewed_target() -> None:
    def density(z):
        return st.skewnorm.logpdf(z[:, 0], 5, 1.0, 0.5) + st.norm.logpdf(z[:, 1], -2 + 0.5 * z[:, 0], 0.2)

    rng = np.random.default_rng(2)
    mixture, sample = Mixture(np.ones(1), np.zeros((1, 2)), np.eye(2)[None], LATENT), WeightedSample(2)
    for number in range(10):
        proposal = mixture.defended(0.15, 2.0)
        z = proposal.draw(1000, rng)
        sample.add(z, density(z), density(z), proposal, 1000)
        mixture = refit(split(mixture, sample) if number in (1, 3) else mixture, sample)
    assert sample.effective() > 0.4 * len(sample)
    assert sample.pareto_k() < 0.5
    log_evidence, error = sample.log_evidence()
    assert log_evidence == pytest.approx(0.0, abs=4 * error)
    mean = sample.weights() @ sample.z
    exact = st.skewnorm(5, 1.0, 0.5).mean()
    np.testing.assert_allclose(mean, [exact, -2 + 0.5 * exact], atol=0.02)


@pytest.mark.parametrize("tail", [0.2, 0.5, 1.0])
def test_pareto_k_against_arviz(tail) -> None:
    import arviz as az

    log_weights = np.log(st.genpareto(tail).rvs(4000, random_state=3) + 0.1)
    assert pareto_k(log_weights) == pytest.approx(float(az.psislw(log_weights)[1]), abs=0.02)


@pytest.mark.parametrize("tail", [0.2, 0.5])
def test_pareto_smoothing_against_arviz(tail) -> None:
    """Both replace the largest weights by quantiles of a fitted tail; their estimates of its scale differ."""
    import arviz as az

    log_weights = np.log(st.genpareto(tail).rvs(4000, random_state=3) + 0.1)
    exact = normalised(np.asarray(az.psislw(log_weights)[0]))
    np.testing.assert_allclose(np.sort(normalised(pareto_smoothed(log_weights))), np.sort(exact), rtol=0.1)


def test_effective_draws_and_the_evidence_of_weights() -> None:
    weights = np.array([1.0, 1.0, 2.0, 0.0])
    assert kish(weights) == pytest.approx(16.0 / 6.0)
    with np.errstate(divide="ignore"):
        value, error = log_evidence(np.log(weights), 8)
    assert value == pytest.approx(np.log(0.5))
    scatter = np.array([*weights, 0, 0, 0, 0]) / 0.5
    assert error == pytest.approx(scatter.std() / np.sqrt(8))


def test_pareto_k_refuses_weights_that_sit_on_few_draws() -> None:
    assert pareto_k(np.array([0.0] + [-np.inf] * 999)) == np.inf


def test_quasirandom_points_fill_the_cube_evenly() -> None:
    points = uniform_points(4096, 4, np.random.default_rng(0))
    assert st.qmc.discrepancy(points) < 0.1 * st.qmc.discrepancy(np.random.default_rng(0).random((4096, 4)))
    assert np.all((points > 0) & (points < 1))
    z = normal_points(4096, 3, np.random.default_rng(1))
    np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=0.02)


def test_student_points_have_the_right_tails() -> None:
    t = student_points(20000, 2, 4, np.random.default_rng(0))
    assert st.kstest(t[:, 0], st.t(8).cdf).statistic < 0.01


def test_bent_coordinates_invert_and_carry_their_density() -> None:
    bend = Bend(np.array([True, False]), np.array([0.02, 1.0]))
    for v in ([-0.3, 1.0], [0.0, 0.0], [0.4, -2.0], [0.99, 0.1], [1.2, 0.1]):
        z, log_density = bend.latent(np.array(v))
        t = np.array([[ndtr(float(z[0])), float(z[1])]])
        back = bend.inverse(t)
        log_slope, derivative = bend.log_slope(np.array([v]))
        if v[0] <= 1.0:  # beyond, 1 - t is below what a double can hold
            np.testing.assert_allclose(back[0], v, atol=1e-6)
        assert float(log_density) == pytest.approx(log_slope[0, 0] + st.norm.logpdf(v[1]), rel=1e-10)
        step = 1e-6
        change = bend.log_slope(np.array([v]) + step)[0] - bend.log_slope(np.array([v]) - step)[0]
        np.testing.assert_allclose(derivative[0], change[0] / (2 * step), rtol=1e-5, atol=1e-6)


def test_states_enter_the_frame_with_their_own_density_and_gradient() -> None:
    import jax
    from toys import direct

    import skyfold as sf
    from skyfold.inference.frames.unit_or_normal import Laplace
    from skyfold.inference.frames.whitened import Frame, log_density
    from skyfold.inference.search.scoring import climb, linearise

    posterior = direct([0.1, 0.4], [0.05, 0.6], sf.Uniform(np.zeros(2), 1.0))
    modes = climb(posterior, np.zeros((4, 2)))
    laplace = Laplace.at(posterior, *modes.parts)
    assert laplace.coordinates.unit.tolist() == [True, False]
    frame = Frame.of(laplace)
    t = np.array([[0.03, 0.2], [0.2, -1.0]])
    z = laplace.coordinates.to_latent(t)[0]
    u, value, gradient = frame.enter(t, z, *linearise(posterior, z, 4))
    exact = jax.vmap(
        jax.value_and_grad(lambda one: log_density(posterior.kernel, frame.bend, frame.mean + frame.root @ one))
    )
    for got, wanted in zip((value, gradient), exact(u), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-8, atol=1e-8)


def test_a_population_walks_out_of_a_corner_and_is_fitted() -> None:
    from toys import direct

    import skyfold as sf
    from skyfold.inference.density import evaluate
    from skyfold.inference.importance.short_chains import fitted, spread

    posterior = direct([0.0, 0.0], [1.0, 1.0], sf.Normal(np.zeros(2), 1.0))
    rng = np.random.default_rng(4)
    # proposals that see a corner only: the posterior has standard deviations of 0.71
    narrow = Mixture(np.ones(1), np.array([[0.6, -0.6]]), 0.1 * np.eye(2)[None], LATENT)
    sample = WeightedSample(2)
    z = narrow.draw(1024, rng)
    sample.add(z, *evaluate(posterior, z), narrow, 1024)
    population = spread(posterior, sample, np.empty((0, 2)), None, rng)
    for _ in range(3):
        population = spread(posterior, sample, np.empty((0, 2)), population, rng)
    np.testing.assert_allclose(population.density, evaluate(posterior, population.z)[0], rtol=1e-10)
    mixture, sample = fitted(population.members, LATENT, rng), WeightedSample(2)
    z = mixture.draw(4096, rng)
    sample.add(z, *evaluate(posterior, z), mixture, 4096)
    assert sample.effective() > 0.3 * len(sample)
    log_evidence, error = sample.log_evidence()
    assert log_evidence == pytest.approx(-np.log(4 * np.pi), abs=4 * error)
    assert error < 0.05


def test_a_population_that_is_one_point_is_fitted() -> None:
    from skyfold.inference.importance.short_chains import fitted

    mixture = fitted(np.full((4096, 2), 0.3), LATENT, np.random.default_rng(1))
    assert np.all(np.isfinite(mixture.weights)) and np.all(np.isfinite(mixture.means)) and len(mixture.weights) > 1


def test_rounds_of_one_mixture_weigh_as_one_round() -> None:
    mixture = Mixture(np.ones(1), np.zeros((1, 2)), np.eye(2)[None], LATENT)
    other = mixture.defended(0.15, 2.0)
    z = np.random.default_rng(5).normal(size=(3, 50, 2))
    one, two = WeightedSample(2), WeightedSample(2)
    for sample, pieces in ((one, [(z[1], 50), (z[2], 50)]), (two, [(np.concatenate([z[1], z[2]]), 100)])):
        sample.add(z[0], np.zeros(50), np.zeros(50), other, 50)
        for piece, n in pieces:
            sample.add(piece, np.zeros(n), np.zeros(n), mixture, n)
    np.testing.assert_allclose(one.log_weights, two.log_weights, rtol=1e-12)
    exact = -np.log(np.exp(other.log_density(z[0])) / 3 + np.exp(mixture.log_density(z[0])) * 2 / 3)
    np.testing.assert_allclose(one.log_weights[:50], exact, rtol=1e-10)
