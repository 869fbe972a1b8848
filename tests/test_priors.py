"""Every prior is a true normal transport: its values follow SciPy's distribution function."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from scipy.special import ndtr

import skyfold as sf
from skyfold.priors import NumPyroPrior, numpyro_distribution

SCALARS = [
    (sf.Uniform(-1, 3), st.uniform(-1, 4)),
    (sf.LogUniform(1e-3, 1e2), st.loguniform(1e-3, 1e2)),
    (sf.Normal(2, 0.5), st.norm(2, 0.5)),
    (sf.LogNormal(0.3, 0.7), st.lognorm(0.7, scale=np.exp(0.3))),
    (sf.HalfNormal(2.0), st.halfnorm(scale=2.0)),
    (sf.TruncatedNormal(1.0, 2.0, 0.0, 3.0), st.truncnorm(-0.5, 1.0, 1.0, 2.0)),
    (sf.TruncatedNormal(0.0, 1.0, low=2.0), st.truncnorm(2.0, np.inf)),
    (sf.Beta(0.5, 2.0), st.beta(0.5, 2.0)),
    (sf.Gamma(0.7, 2.0), st.gamma(0.7, scale=0.5)),
    (sf.StudentT(3.0, 1.0, 2.0), st.t(3.0, 1.0, 2.0)),
]
Z = np.array([-6.0, -3.0, -1.0, 0.0, 0.5, 2.0, 5.0])


@pytest.mark.parametrize(
    ("prior", "scipy"), SCALARS, ids=lambda v: repr(v) if isinstance(v, sf.parameters.Prior) else ""
)
def test_transport_against_the_distribution_function(prior, scipy) -> None:
    x = np.array([prior.transport(jnp.asarray(z)) for z in Z])
    lower = Z < 0
    np.testing.assert_allclose(scipy.cdf(x[lower]), ndtr(Z[lower]), rtol=1e-8, atol=1e-15)
    np.testing.assert_allclose(scipy.sf(x[~lower]), ndtr(-Z[~lower]), rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize(
    ("prior", "scipy"), SCALARS, ids=lambda v: repr(v) if isinstance(v, sf.parameters.Prior) else ""
)
def test_derivative_is_that_of_the_density(prior, scipy) -> None:
    slope = np.array([jax.grad(lambda z: prior.transport(z))(z) for z in Z])
    x = np.array([prior.transport(jnp.asarray(z)) for z in Z])
    np.testing.assert_allclose(slope * scipy.pdf(x), st.norm.pdf(Z), rtol=1e-7)


@pytest.mark.parametrize(
    ("prior", "scipy"), SCALARS, ids=lambda v: repr(v) if isinstance(v, sf.parameters.Prior) else ""
)
def test_the_numpyro_distribution_is_the_same(prior, scipy) -> None:
    x = jnp.asarray(scipy.ppf([0.05, 0.3, 0.8]))
    np.testing.assert_allclose(numpyro_distribution(prior).log_prob(x), scipy.logpdf(x), rtol=1e-6, atol=1e-9)


def test_multivariate_normal() -> None:
    c = np.array([[2.0, 0.6], [0.6, 1.0]])
    prior = sf.MultivariateNormal([1.0, -1.0], c)
    z = np.random.default_rng(0).standard_normal((20000, 2))
    x = np.asarray(jax.vmap(prior.transport)(z))
    np.testing.assert_allclose(np.cov(x.T), c, atol=0.05)
    assert prior.shape == prior.latent_shape == (2,)


def test_dirichlet_has_the_right_moments_and_sums_to_one() -> None:
    alpha = np.array([1 / 3, 2.0, 5.0])
    prior = sf.Dirichlet(alpha)
    z = np.random.default_rng(0).standard_normal((20000, 2))
    x = np.asarray(jax.jit(jax.vmap(prior.transport))(z))
    np.testing.assert_allclose(x.sum(axis=1), 1.0, rtol=1e-12)
    exact = st.dirichlet(alpha)
    np.testing.assert_allclose(x.mean(axis=0), exact.mean(), atol=0.005)
    np.testing.assert_allclose(x.var(axis=0), exact.var(), rtol=0.05)
    for i in range(3):
        assert st.kstest(x[:, i], st.beta(alpha[i], alpha.sum() - alpha[i]).cdf).pvalue > 1e-3


def test_an_inexact_prior_carries_its_density() -> None:
    import numpyro.distributions as dist

    prior = NumPyroPrior(dist.Gumbel(1.0, 2.0))
    z = jnp.asarray(0.7)
    x = prior.transport(z)
    assert not prior.exact
    assert float(prior.correction(z) + st.norm.logpdf(0.7)) == pytest.approx(st.gumbel_r(1.0, 2.0).logpdf(float(x)))


@pytest.mark.parametrize(
    "build",
    [
        lambda: sf.Uniform(1, 0),
        lambda: sf.Uniform(0, np.inf),
        lambda: sf.LogUniform(0, 1),
        lambda: sf.LogUniform(2, 1),
        lambda: sf.Normal(0, -1),
        lambda: sf.HalfNormal(0),
        lambda: sf.TruncatedNormal(0, 1, 2, 1),
        lambda: sf.Beta(0, 1),
        lambda: sf.Gamma(-1, 1),
        lambda: sf.StudentT(0, 0, 1),
        lambda: sf.MultivariateNormal([0, 0], [[1, 2], [2, 1]]),
        lambda: sf.Dirichlet([1.0]),
        lambda: sf.Dirichlet([1.0, -1.0]),
        lambda: sf.Normal("a", 1),
    ],
)
def test_bad_arguments_are_refused(build) -> None:
    with pytest.raises(sf.SkyfoldError):
        build()
