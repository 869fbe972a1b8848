"""Posterior: densities, predictions and metric of the latent vector; sharing, hierarchy, compilation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from toys import Greybody, direct, image, photometry, sky

import skyfold as sf
from skyfold.inference.maximum import batch_density, evaluate
from skyfold.parameters import Parameter


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
