"""Posterior: densities, predictions and metric of the latent vector; sharing, hierarchy, compilation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from toys import Greybody, Identity, direct, image, photometry, sky

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.component import Component
from skyfold.inference.density import batch_density, evaluate
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.observation import Observation
from skyfold.parameters import Parameter, Value, parameter
from skyfold.priors import LogUniform, Normal


@pytest.fixture(scope="module")
def bands() -> sf.Posterior:
    return sf.Posterior((Greybody(), photometry()))


def test_density_is_prior_plus_likelihood(bands) -> None:
    z = np.array([0.3, -0.4])
    values = bands.values(z)
    observation = photometry()
    amplitude, temperature = float(values["greybody.amplitude"]), float(values["greybody.temperature"])
    assert amplitude == pytest.approx(10 * st.norm.cdf(0.3))
    assert temperature == pytest.approx(4.6)
    model = Greybody(amplitude, temperature)
    expected = np.asarray(observation.predict(model))
    likelihood = st.norm.logpdf(observation.data, expected, 0.1).sum()
    assert float(bands.log_likelihood(z)) == pytest.approx(likelihood, rel=1e-12)
    assert float(bands.log_density(z)) == pytest.approx(likelihood + st.norm.logpdf(z).sum(), rel=1e-12)
    np.testing.assert_allclose(bands.predict(z)["bands"], expected)
    np.testing.assert_allclose(bands.statistics(z)["bands"], np.sum(((observation.data - expected) / 0.1) ** 2))


def test_batches_agree_with_single_points(bands) -> None:
    z = np.random.default_rng(0).standard_normal((3, 2, 2))
    np.testing.assert_allclose(bands.log_density(z)[1, 1], bands.log_density(z[1, 1]), rtol=1e-13)
    assert bands.predict(z)["bands"].shape == (3, 2, 7)


def test_first_use_inside_a_trace_keeps_no_tracer() -> None:
    posterior = sf.Posterior((Greybody(), photometry()))
    inside = jax.jit(posterior.log_likelihood)(jnp.zeros(posterior.ndim))
    assert all(not isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(posterior.kernel))
    assert posterior.log_likelihood(jnp.zeros(posterior.ndim)) == pytest.approx(float(inside), rel=1e-12)


def test_metric_is_the_fisher_information(bands) -> None:
    z = np.array([0.3, -0.4])
    jacobian = jax.jacfwd(lambda x: bands.kernel.expected(x)[0])(jnp.asarray(z))
    np.testing.assert_allclose(bands.metric(z), jacobian.T @ jacobian / 0.01 + np.eye(2), rtol=1e-10)


def test_gradient_against_finite_differences() -> None:
    posterior = sf.Posterior((sky(), image()))
    z, h = np.array([0.4, 0.1]), 1e-5
    gradient = jax.grad(posterior.kernel.log_density)(jnp.asarray(z))
    for i, e in enumerate(np.eye(2)):
        slope = (posterior.log_density(z + h * e) - posterior.log_density(z - h * e)) / (2 * h)
        assert float(gradient[i]) == pytest.approx(float(slope), rel=1e-6)


def test_joint_posterior_shares_parameters_across_domains() -> None:
    n = Parameter(sf.LogUniform(0.1, 10), name="n")
    joint = sf.Posterior(
        {"one": (Greybody(amplitude=n), photometry()), "two": (Greybody(amplitude=2 * n), photometry(3))}
    )
    assert joint.names == ("n", "greybody.temperature", "greybody_2.temperature")
    models = joint.resolved(np.zeros(3))
    assert float(models["two"][0].amplitude) == pytest.approx(2 * float(models["one"][0].amplitude))


def test_an_observation_may_own_parameters() -> None:
    joint = sf.Posterior((Greybody(), photometry(offset=sf.Normal(0, 0.1))))
    assert joint.names[-1] == "bands.offset"
    moved = joint.predict(np.array([0.0, 0.0, 1.0]))["bands"] - joint.predict(np.zeros(3))["bands"]
    np.testing.assert_allclose(moved, 0.1)


def test_hierarchical_priors_are_non_centred() -> None:
    centre = Parameter(sf.Normal(0, 1), name="centre")
    posterior = sf.Posterior((Greybody(temperature=sf.Normal(centre, 0.1)), photometry()))
    values = posterior.values(np.array([0.0, 2.0, 1.0]))
    assert float(values["greybody.temperature"]) == pytest.approx(1.0 + 0.2)


def test_inexact_priors_enter_the_density() -> None:
    import numpyro.distributions as dist

    posterior = direct([1.0], [0.5], dist.Gumbel(0.0, 1.0))
    assert not posterior.exact
    z = jnp.asarray([0.3])
    x = float(posterior.values(z)["vector.x"])
    assert float(posterior.log_prior(z)) == pytest.approx(st.gumbel_r.logpdf(x))


def test_data_sets_of_one_shape_share_one_executable() -> None:
    before = batch_density.executables()
    for seed, high in ((1, 10.0), (2, 20.0), (3, 30.0)):
        model = Greybody(amplitude=sf.Uniform(0, high), temperature=Parameter(sf.Normal(5, seed), name=f"t{seed}"))
        evaluate(sf.Posterior({f"set {seed}": (model, photometry(seed))}), np.zeros((4, 2)))
    assert batch_density.executables() <= before + 1


def test_sharing_is_part_of_what_is_compiled() -> None:
    t = Parameter(sf.Normal(5, 1))
    z = np.array([0.1, 0.2, 0.3, 0.4])
    apart = sf.Posterior((Greybody() + Greybody(), photometry()))
    shared = sf.Posterior((Greybody(temperature=t) + Greybody(temperature=t), photometry()))
    assert apart.ndim == 4
    assert shared.ndim == 3
    assert np.isfinite(float(apart.log_density(z)) + float(shared.log_density(z[:3])))


def test_latent_bounds_follow_the_support() -> None:
    posterior = sf.Posterior((Greybody(), photometry()))
    low, high = posterior.latent_bounds()
    assert np.isfinite(low[0]) and np.isfinite(high[0]) and np.isinf(low[1]) and np.isinf(high[1])


def test_prior_draws_repeat() -> None:
    posterior = sf.Posterior((Greybody(), photometry()))
    np.testing.assert_array_equal(posterior.draw_prior(5, seed=3), posterior.draw_prior(5, seed=3))


@pytest.mark.parametrize("pairs", [(), (3,), ((1, 2),), ((Greybody(), 2),)])
def test_what_is_no_pair_is_refused(pairs) -> None:
    with pytest.raises(sf.SkyfoldError):
        sf.Posterior(*pairs)


def test_nothing_free_has_a_statistic_but_no_fit() -> None:
    posterior = sf.Posterior((Greybody(4.0, 5.5), photometry()))
    assert posterior.ndim == 0
    assert 0 < float(posterior.statistics(np.zeros(0))["bands"]) < 30
    with pytest.raises(sf.SkyfoldError, match="Nothing is free"):
        posterior.fit()


def test_own_parameters_of_the_likelihood_have_gradient_and_metric() -> None:
    class Noisy(Observation):
        floor: Value = parameter(LogUniform(0.01, 1.0))

        def predict(self, model: Component) -> jax.Array:
            return jnp.broadcast_to(model.evaluate(None), (400,))

        def pointwise(self, expected: jax.Array) -> jax.Array:
            sigma = jnp.hypot(jnp.asarray(self.likelihood.sigma), self.floor)
            return -0.5 * ((self.likelihood.data - expected) / sigma) ** 2 - jnp.log(sigma)

        def fisher(self, expected: jax.Array) -> jax.Array:
            return 1.0 / (jnp.asarray(self.likelihood.sigma) ** 2 + self.floor**2)

    rng = np.random.default_rng(3)
    data = 1.0 + 0.3 * rng.standard_normal(400)
    noisy = Noisy(Gaussian(data, np.full(400, 0.1)), Annotation("noisy"))
    posterior = sf.Posterior((Identity(x=Normal(0.0, 2.0)), noisy))
    z = np.array([0.4, 0.3])
    _, gradient, metric = posterior.kernel.linearised(jnp.asarray(z))
    assert np.asarray(gradient) == pytest.approx(np.asarray(jax.grad(posterior.kernel.log_likelihood)(z)), rel=1e-10)
    assert np.all(np.linalg.eigvalsh(np.asarray(metric)) > 1.0)
    best = posterior.fit("mle", progress=False)
    assert best.converged
    slope = jax.grad(posterior.kernel.log_likelihood)(jnp.asarray(best.best_latent))
    assert np.abs(np.asarray(slope)).max() < 1e-3
    assert 0.2 < float(best.best["noisy.floor"]) < 0.35
