"""NumPyro programs as posteriors, and posteriors as NumPyro programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy.stats as st
from jax.scipy.special import ndtr
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import log_density
from toys import Greybody, direct, image, photometry, sky

import skyfold as sf
from skyfold.checks.goodness import simulated_statistic
from skyfold.inference.density import batch_density
from skyfold.numpyro_bridge.distributions import HalfCauchy, prior_of

Y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
SIGMA = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
X = np.linspace(-1, 1, 12)


def schools(sigma: Any, y: Any = None) -> None:
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfNormal(5))
    with numpyro.plate("school", len(sigma)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("obs", dist.Normal(theta, sigma), obs=y)


def counts(x: Any, y: Any = None) -> None:
    a = numpyro.sample("a", dist.Normal(1, 1))
    b = numpyro.sample("b", dist.Uniform(-2, 2))
    numpyro.sample("counts", dist.Poisson(jnp.exp(a + b * x)), obs=y)


def noisy(x: Any, y: Any = None) -> None:
    """Unknown scatter, a factor, a mask, a scale and a truncation that depends on another site."""
    slope = numpyro.sample("slope", dist.StudentT(4.0, 0.0, 2.0))
    scatter = numpyro.sample("scatter", dist.TruncatedNormal(0.5, 0.5, low=0.1))
    top = numpyro.sample("top", dist.Uniform(0, 1.0 + scatter))
    numpyro.sample("all", dist.Normal(slope * x, scatter).to_event(1).mask(True), obs=y)
    with numpyro.handlers.scale(scale=0.5), numpyro.handlers.mask(mask=x > 0):
        numpyro.sample("half", dist.StudentT(5.0, slope * x + top, 1.0), obs=y)
    numpyro.factor("preference", -0.5 * (top - 0.3) ** 2 / 0.2**2)


def joint(y: Any = None) -> None:
    mean = numpyro.sample("mean", dist.MultivariateNormal(jnp.zeros(2), jnp.array([[1.0, 0.5], [0.5, 2.0]])))
    size = numpyro.sample("size", dist.Exponential(2.0))
    covariance = jnp.eye(2) * (0.2 + size) + 0.1
    numpyro.sample("vector", dist.MultivariateNormal(mean, covariance), obs=y)


def odd(x: Any, y: Any = None) -> None:
    """Distributions without an exact transport, one of which depends on the other."""
    width = numpyro.sample("width", dist.InverseGamma(3.0, 2.0))
    with numpyro.plate("two", 2):
        shape = numpyro.sample("shape", dist.Weibull(1.0 + width, 1.5))
    level = numpyro.sample("level", dist.Gamma(2.0, width))
    numpyro.sample("y", dist.Normal(level + shape[0] * x + shape[1] * x**2, 0.5), obs=y)


Y2 = np.random.default_rng(0).normal(0.8 * X, 0.4)
PROGRAMS: dict[str, tuple[Callable[..., None], tuple[Any, ...], Any]] = {
    "schools": (schools, (SIGMA,), Y),
    "counts": (counts, (X,), np.random.default_rng(1).poisson(np.exp(1.5 + 0.5 * X))),
    "noisy": (noisy, (X,), Y2),
    "joint": (joint, (), np.array([0.3, -0.2])),
    "odd": (odd, (X,), Y2),
}


def build(name: str) -> tuple[sf.Posterior, Callable[..., None], tuple[Any, ...], Any]:
    program, args, y = PROGRAMS[name]
    return sf.Posterior.from_numpyro(program, *args, y=y), program, args, y


def log_volume(posterior: sf.Posterior, z: Any) -> float:
    """Logarithm of |dx/dz|."""

    def flat(point: Any) -> Any:
        return jnp.concatenate([jnp.ravel(v) for v in posterior.kernel.values(point)])

    return float(np.linalg.slogdet(jax.jacobian(flat)(jnp.asarray(z)))[1])


def points(posterior: sf.Posterior, n: int = 3) -> np.ndarray:
    return 0.7 * np.random.default_rng(7).standard_normal((n, posterior.ndim))


@pytest.mark.parametrize("name", PROGRAMS)
def test_density_is_that_of_numpyro(name) -> None:
    posterior, program, args, y = build(name)
    for z in points(posterior):
        values = {k: np.asarray(v) for k, v in posterior.values(z).items()}
        theirs = float(log_density(program, args, {"y": y}, values)[0])
        assert float(posterior.log_density(z)) == pytest.approx(theirs + log_volume(posterior, z), rel=1e-10)
    total = sum(float(np.sum(v)) for v in posterior.pointwise(z).values()) if name != "joint" else None
    assert total is None or total == pytest.approx(float(posterior.log_likelihood(z)))


@pytest.mark.parametrize("name", PROGRAMS)
def test_linearised_is_consistent_and_safe(name) -> None:
    posterior = build(name)[0]
    kernel = posterior.kernel
    for z in points(posterior, 2):
        value, gradient, metric = (np.asarray(a) for a in jax.jit(type(kernel).linearised)(kernel, z))
        assert float(value) == pytest.approx(float(posterior.log_likelihood(z)))
        np.testing.assert_allclose(gradient, jax.grad(kernel.log_likelihood)(jnp.asarray(z)), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(metric, metric.T)
        assert np.linalg.eigvalsh(metric).min() > -1e-9 * np.abs(metric).max()


@pytest.mark.parametrize("name", PROGRAMS)
def test_structure_is_the_same_in_every_process(name) -> None:
    assert " at 0x" not in str(jax.tree.structure(build(name)[0].kernel))


def test_what_a_program_becomes() -> None:
    posterior = build("schools")[0]
    assert posterior.names == ("mu", "tau", "theta") and posterior.ndim == 10 and posterior.exact
    assert posterior.statistic_name == "chi2" and posterior.n_data == 8
    assert "Normal(Computed, Computed)" in str(posterior.table())
    np.testing.assert_allclose(posterior.predict(np.zeros(10))["obs"], 0.0)
    posterior = build("counts")[0]
    assert posterior.statistic_name == "C-stat"
    assert posterior.latent_bounds()[1].tolist() == [np.inf, 8.3]
    assert build("noisy")[0].statistic_name == "-2 ln L"
    assert [o.n_data for _, o in build("noisy")[0].pairs.values()] == [12, 12, 1]
    odd_one = build("odd")[0]
    assert not odd_one.exact
    assert "numpyro InverseGamma" in str(odd_one.table()) and "Gamma(2, Computed)" in str(odd_one.table())


def test_data_sets_of_one_shape_share_executables() -> None:
    def powers(x: Any, degree: int, y: Any = None) -> None:
        c = numpyro.sample("c", dist.Normal(0, 1).expand([degree]))
        numpyro.sample("y", dist.Normal(x[:, None] ** np.arange(degree) @ c, 0.5), obs=y)

    first, other, longer = (
        sf.Posterior.from_numpyro(powers, X + shift, degree, y=Y2 + shift)
        for shift, degree in ((0.0, 2), (0.3, 2), (0.0, 3))
    )
    batch_density(first.kernel, np.zeros((1, 4, 2)))
    before = batch_density.executables()
    batch_density(other.kernel, np.zeros((1, 4, 2)))
    assert batch_density.executables() == before
    assert float(other.log_likelihood(np.zeros(2))) != float(first.log_likelihood(np.zeros(2)))
    assert longer.ndim == 3 and np.isfinite(float(longer.log_likelihood(np.ones(3))))


@pytest.mark.parametrize(
    "distribution",
    [
        dist.Uniform(-1, 3),
        dist.LogUniform(0.1, 10),
        dist.Normal(2, 3),
        dist.LogNormal(0.3, 0.7),
        dist.HalfNormal(2),
        dist.HalfCauchy(3.0),
        dist.Cauchy(1.0, 2.0),
        dist.Beta(2.0, 0.7),
        dist.Gamma(2.0, 3.0),
        dist.Exponential(0.5),
        dist.StudentT(3.0, 1.0, 2.0),
        dist.TruncatedNormal(0.5, 1.0, low=0.0, high=2.0),
        dist.TruncatedNormal(0.5, 1.0, low=0.0),
        dist.TruncatedNormal(0.5, 1.0, high=2.0),
        dist.Normal(jnp.arange(3.0), 1.0).expand([2, 3]),
        dist.Normal(0.0, 1.0).expand([4]).to_event(1),
    ],
    ids=lambda d: type(d).__name__,
)
def test_distributions_become_exact_priors(distribution) -> None:
    prior = prior_of(distribution)
    assert prior.exact and prior.shape == distribution.shape()
    z = np.random.default_rng(3).uniform(-4, 4, prior.shape)
    base = distribution
    while isinstance(base, dist.Independent | dist.ExpandedDistribution):
        base = base.base_dist
    np.testing.assert_allclose(base.cdf(prior.transport(z)), ndtr(z), rtol=1e-6, atol=1e-9)


def test_half_cauchy_in_the_tails() -> None:
    prior = HalfCauchy(2.0)
    z = np.array([-8.0, -1.0, 0.0, 1.0, 8.0])
    exact = [*2 * np.tan(0.5 * np.pi * st.norm.cdf(z[:-1])), 2 / np.tan(0.5 * np.pi * st.norm.sf(8.0))]
    np.testing.assert_allclose(prior.transport(z), exact, rtol=1e-9)
    slopes = jax.vmap(jax.grad(prior.transport))(z)
    assert np.all(np.isfinite(slopes)) and np.all(slopes > 0)


def test_auto_agrees_with_numpyro_on_eight_schools() -> None:
    posterior = build("schools")[0]
    result = posterior.fit("auto")
    assert result.converged
    run = MCMC(NUTS(centred_out), num_warmup=500, num_samples=4000, progress_bar=False)
    run.run(jax.random.key(0))
    samples = run.get_samples()
    for m in result.marginals[:2]:
        theirs = np.asarray(samples[m.name])
        assert m.mean == pytest.approx(theirs.mean(), abs=0.12 * theirs.std())
        assert m.sd == pytest.approx(theirs.std(), rel=0.08)
    assert result.loo().khat["obs"].shape == (8,)
    assert 0.3 < result.goodness.p_value < 1
    total = result.derive(lambda m: m["mu"] + m["tau"])
    equal = result.equal_weight
    np.testing.assert_allclose(total.values, (equal["mu"] + equal["tau"]).ravel())


def centred_out() -> None:
    """Eight schools, non-centred, for NumPyro's own sampler."""
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfNormal(5))
    unit = numpyro.sample("unit", dist.Normal(0, 1).expand([8]))
    numpyro.sample("obs", dist.Normal(mu + tau * unit, SIGMA), obs=Y)


def test_evidence_of_a_program_is_exact() -> None:
    def mean(y: Any) -> None:
        m = numpyro.sample("m", dist.Normal(0, 2))
        numpyro.sample("y", dist.Normal(m, 0.5), obs=y)

    y = np.array([0.3, 1.0, 0.4])
    result = sf.Posterior.from_numpyro(mean, y).fit("auto")
    exact = st.multivariate_normal(np.zeros(3), 0.25 * np.eye(3) + 4.0).logpdf(y)
    assert result.draws.log_evidence == pytest.approx(exact, abs=4 * result.draws.log_evidence_error)


def test_nuts_on_a_program_with_inexact_priors() -> None:
    posterior, program, args, y = build("odd")
    drawn = posterior.values(posterior.draw_prior(4000, seed=1))
    theirs = numpyro.infer.Predictive(program, num_samples=4000)(jax.random.key(2), *args)
    for name in ("width", "shape", "level"):
        a, b = (np.log(np.asarray(d[name])).reshape(4000, -1)[:, 0] for d in (drawn, theirs))
        assert st.ks_2samp(a, b).pvalue > 1e-3
    result = posterior.fit("auto")
    assert result.converged, result.draws.messages
    run = MCMC(NUTS(program), num_warmup=500, num_samples=3000, progress_bar=False)
    run.run(jax.random.key(0), *args, y=y)
    for name, values in run.get_samples().items():
        ours = result.equal_weight[name].reshape(-1, *values.shape[1:])
        np.testing.assert_allclose(ours.mean(0), values.mean(0), atol=0.15 * float(np.max(values.std(0))))


def test_point_estimates_and_files(tmp_path: Path) -> None:
    posterior, _, (x,), y = build("counts")
    result = posterior.fit("mle")
    assert result.converged
    a, b = (float(result.best[k]) for k in "ab")
    residual = y - np.exp(a + b * x)  # the score equations of Poisson regression
    assert abs(residual.sum()) < 1e-3 and abs((residual * x).sum()) < 1e-3
    noisy_fit = build("noisy")[0].fit("map")
    assert noisy_fit.converged
    loaded = sf.Result.load(result.save(tmp_path / "fit.nc"), posterior=posterior)
    assert loaded.best["a"] == result.best["a"] and str(loaded) == str(result)


def test_simulated_statistics_of_a_program() -> None:
    found = simulated_statistic(build("counts")[0], 100)
    assert found.name == "C-stat" and found.failed == 0
    assert 1 < found.percentile < 99
    assert found.simulated.mean() == pytest.approx(10, abs=2.5)


def test_replicates_of_general_sites() -> None:
    posterior = build("noisy")[0]
    z = points(posterior, 50)
    expected = posterior.expected(z)
    rng = np.random.default_rng(0)
    for name, (_, observation) in posterior.pairs.items():
        data = observation.sample(rng, np.asarray(expected[name]))
        assert data.shape == (50, observation.n_data)
        other = observation.with_data(data[0])
        assert np.isfinite(float(other.statistic(expected[name][0])))
    result = posterior.fit("auto")
    assert 0 < result.goodness.p_value <= 1


# -- what is refused -------------------------------------------------------------------------------------------------


def _discrete() -> None:
    k = numpyro.sample("k", dist.Poisson(3.0))
    numpyro.sample("y", dist.Normal(k, 1.0), obs=jnp.zeros(2))


def _subsampled() -> None:
    m = numpyro.sample("m", dist.Normal(0, 1))
    with numpyro.plate("n", 10, subsample_size=3):
        numpyro.sample("y", dist.Normal(m, 1.0), obs=jnp.zeros(3))


def _blind() -> None:
    numpyro.sample("m", dist.Normal(0, 1))


def _fixed() -> None:
    numpyro.sample("y", dist.Normal(0, 1), obs=jnp.zeros(2))


def _guide() -> None:
    m = numpyro.param("m", 1.0)
    numpyro.sample("y", dist.Normal(m, 1), obs=jnp.zeros(2))


def _branching() -> None:
    m = numpyro.sample("m", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(m if m > 0 else -m, 1), obs=jnp.zeros(2))


def _moving() -> None:
    m = numpyro.sample("m", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(0, 1), obs=m + jnp.zeros(2))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (_discrete, "'k' .Poisson. is discrete"),
        (_subsampled, "'n' takes a random subsample"),
        (_blind, "observes nothing"),
        (_fixed, "nothing is free"),
        (_guide, "param statement"),
        (_branching, "decides something in Python"),
        (_moving, "depends on latent sites"),
    ],
)
def test_what_cannot_be_a_posterior(program, message) -> None:
    with pytest.raises(sf.SkyfoldError, match=message):
        sf.Posterior.from_numpyro(program)


def test_a_program_that_looks_at_its_arguments() -> None:
    def program(group: Any, y: Any) -> None:
        n = int(group.max()) + 1
        m = numpyro.sample("m", dist.Normal(0, 1).expand([n]))
        numpyro.sample("y", dist.Normal(m[group], 1.0), obs=y)

    posterior = sf.Posterior.from_numpyro(program, np.array([0, 1, 1, 2]), np.arange(4.0))
    assert posterior.ndim == 3
    expected = st.norm.logpdf(np.arange(4.0)).sum()
    assert float(posterior.log_likelihood(np.zeros(3))) == pytest.approx(expected)


def test_a_vector_is_one_datum() -> None:
    with pytest.raises(sf.SkyfoldError, match="'vector' are not conditionally independent"):
        build("joint")[0].pointwise(np.zeros(3))


# -- the other way ---------------------------------------------------------------------------------------------------


def hierarchy() -> sf.Posterior:
    centre = sf.Parameter(sf.Normal(0.0, 2.0), name="centre")
    width = sf.Parameter(sf.LogNormal(0.0, 0.5), name="width")
    return direct([0.5, 1.5, -0.4], [0.3, 0.4, 0.5], sf.Normal(centre + np.zeros(3), width))


OURS: dict[str, Callable[[], sf.Posterior]] = {
    "image and bands": lambda: sf.Posterior((sky(), image(n=30)), (Greybody(), photometry(offset=sf.Normal(0, 0.1)))),
    "hierarchy": hierarchy,
    "beta": lambda: direct([0.4], [0.2], sf.Beta(2.0, 3.0)),
}


@pytest.mark.parametrize("name", OURS)
def test_numpyro_model_has_our_density(name) -> None:
    posterior = OURS[name]()
    program = posterior.numpyro_model()
    for z in points(posterior):
        values = {k: np.asarray(v) for k, v in posterior.values(z).items()}
        theirs, trace = log_density(program, (), {}, values)
        assert float(posterior.log_density(z)) == pytest.approx(float(theirs) + log_volume(posterior, z), rel=1e-10)
    assert {s for s in trace if not trace[s]["is_observed"]} == set(posterior.names)
    assert {s for s in trace if trace[s]["is_observed"]} == set(posterior.pairs)
    # and back again
    again = sf.Posterior.from_numpyro(program)
    assert set(again.names) == set(posterior.names) and again.exact
    with pytest.raises(sf.SkyfoldError, match="factors only"):
        simulated_statistic(again, 3)


def test_numpyro_s_sampler_on_our_posterior_agrees_with_auto() -> None:
    posterior = hierarchy()
    result = posterior.fit("auto")
    run = MCMC(
        NUTS(posterior.numpyro_model(), target_accept_prob=0.95), num_warmup=500, num_samples=4000, progress_bar=False
    )
    run.run(jax.random.key(1))
    for name, values in run.get_samples().items():
        values = np.asarray(values).reshape(4000, -1)
        ours = result.equal_weight[name].reshape(-1, values.shape[1])
        np.testing.assert_allclose((ours.mean(0) - values.mean(0)) / values.std(0), 0.0, atol=0.15)
        np.testing.assert_allclose(ours.std(0) / values.std(0), 1.0, atol=0.12)


def test_numpyro_model_of_a_program_is_the_program() -> None:
    posterior = build("counts")[0]
    assert float(log_density(posterior.numpyro_model(), (), {}, {"a": 1.0, "b": 0.0})[0]) < 0
