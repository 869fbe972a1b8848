"""Laplace: exact where the posterior is normal, cut at bounds, and honest where it is far from normal."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from toys import MEAN, PRECISION, SD, Direct, Greybody, Identity, Squared, direct, photometry, run

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.inference.laplace import Laplace
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.poisson import Poisson


@pytest.mark.parametrize("hessian", [False, True])
def test_exact_on_a_gaussian(gaussian, hessian) -> None:
    draws = run(Laplace(hessian=hessian), gaussian)
    assert draws.converged, draws.messages
    assert draws.log_weights is None and draws.latent.shape == (1, 4000, 3)
    np.testing.assert_allclose((draws.latent[0].mean(axis=0) - MEAN) / SD, 0.0, atol=0.02)
    np.testing.assert_allclose(draws.latent[0].std(axis=0) / SD, 1.0, atol=0.02)
    exact = st.norm.logpdf([2.0, -1.0, 0.3], 0.0, np.sqrt(1 + 1 / PRECISION)).sum()
    assert draws.log_evidence == pytest.approx(exact, abs=1e-9)
    assert draws.diagnostics["efficiency"] == pytest.approx(1.0, abs=1e-9)


def test_a_narrow_posterior_in_a_uniform_prior_is_exact() -> None:
    posterior = direct([3.0], [0.4], sf.Uniform(0.0, 10.0))
    draws = run(Laplace(), posterior)
    assert draws.converged
    x = np.asarray(posterior.values(draws.latent[0])["vector.x"])
    assert x.mean() == pytest.approx(3.0, abs=0.01)
    assert x.std() == pytest.approx(0.4, rel=0.02)
    assert draws.log_evidence == pytest.approx(np.log(0.1), abs=1e-6)


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("data", [-0.02, 0.03, -0.1, -0.4])
def test_a_bound_cuts_the_normal(data, corrected) -> None:
    posterior = direct([data], [0.05], sf.Uniform(0.0, 1.0))
    draws = run(Laplace(corrected=corrected), posterior)
    x, weights = np.asarray(posterior.values(draws.latent[0])["vector.x"]), draws.weights()[0]
    exact = st.truncnorm(-data / 0.05, (1 - data) / 0.05, data, 0.05)
    assert np.all((x >= 0) & (x <= 1))
    if not corrected and data < -0.3:
        # eight standard deviations outside: the approximation cannot be centred there
        assert not draws.converged and "not normal" in draws.messages[0]
        return
    assert draws.converged, draws.messages
    assert weights @ x == pytest.approx(exact.mean(), abs=0.05 * exact.std())
    mass = st.norm.logcdf(-(0.0 - data) / 0.05)
    assert draws.log_evidence == pytest.approx(mass, abs=0.05)


def test_both_modes_count() -> None:
    posterior = sf.Posterior((Squared(x=sf.Normal(0.3, 2.0)), Direct(Gaussian([4.0], [0.2]), Annotation("d"))))
    draws = run(Laplace(), posterior)
    assert draws.converged, draws.messages
    x = np.asarray(posterior.values(draws.latent[0])["squared.x"])
    share = st.norm.pdf(2.0, 0.3, 2.0) / (st.norm.pdf(2.0, 0.3, 2.0) + st.norm.pdf(-2.0, 0.3, 2.0))
    assert np.mean(x > 0) == pytest.approx(share, abs=0.02)


class Power(Identity):
    """A power of the parameter: the further from 1, the less normal."""

    name: ClassVar[str] = "power"
    order: float = 3.0

    def evaluate(self, grid):
        return jnp.atleast_1d(self.x) ** self.order


def test_far_from_normal_is_said() -> None:
    posterior = sf.Posterior(
        (Power(x=sf.Normal(0.0, 1.0), order=4.0), Direct(Gaussian([0.0], [1e-4]), Annotation("d")))
    )
    draws = run(Laplace(), posterior)
    assert not draws.converged
    assert "normal" in draws.messages[0]
    assert max(draws.diagnostics["mean_offset"], draws.diagnostics["sd_offset"]) > 0.2


def test_corrected_draws_have_the_true_moments_and_evidence() -> None:
    """Few counts: the posterior of the rate is a gamma distribution, skewed."""
    posterior = sf.Posterior((Identity(x=sf.Gamma(2.0, 0.5)), Direct(Poisson([2.0]), Annotation("d"))))
    exact = st.gamma(4.0, scale=1 / 1.5)
    evidence = st.nbinom.logpmf(2, 2.0, 0.5 / 1.5)
    draws = run(Laplace(corrected=True), posterior)
    assert draws.converged, draws.messages
    x, weights = np.asarray(posterior.values(draws.latent[0])["vector.x"]), draws.weights()[0]
    assert weights @ x == pytest.approx(exact.mean(), abs=0.05 * exact.std())
    assert draws.log_evidence == pytest.approx(evidence, abs=max(4 * draws.log_evidence_error, 0.01))
    assert draws.log_evidence_error < 0.05


def test_the_hessian_differs_from_the_metric_where_it_should() -> None:
    """For Poisson counts the Fisher metric is that of the expected data, the Hessian that of the observed ones."""
    posterior = sf.Posterior((Identity(x=sf.Uniform(0.0, 100.0)), Direct(Poisson([9.0]), Annotation("d"))))
    draws = run(Laplace(hessian=True), posterior)
    x = np.asarray(posterior.values(draws.latent[0])["vector.x"])
    # prior flat: mode at the counts, second derivative counts / mode^2
    assert x.mean() == pytest.approx(9.0, abs=0.05)
    assert x.std() == pytest.approx(3.0, rel=0.02)
    power = sf.Posterior((Power(x=sf.Uniform(0.5, 5.0)), Direct(Gaussian([8.0], [2.0]), Annotation("d"))))
    fisher, exact = (run(Laplace(hessian=h, corrected=True), power) for h in (False, True))
    assert fisher.log_evidence == pytest.approx(exact.log_evidence, abs=0.03)


def test_agrees_with_auto_on_another_domain() -> None:
    posterior = sf.Posterior((Greybody(), photometry()))
    one, two = run(Laplace(corrected=True), posterior), run(sf.Auto(), posterior)
    assert one.converged, one.messages
    for name, x in posterior.values(one.latent[0]).items():
        y = np.asarray(posterior.values(two.latent[0])[name])
        mean, sd = two.weights()[0] @ y, np.sqrt(two.weights()[0] @ y**2 - (two.weights()[0] @ y) ** 2)
        assert one.weights()[0] @ np.asarray(x) == pytest.approx(mean, abs=0.08 * sd)
    assert one.log_evidence == pytest.approx(two.log_evidence, abs=0.03)


def test_other_numpyro_priors_are_taken() -> None:
    import numpyro.distributions as dist

    posterior = direct([1.0], [0.3], dist.Laplace(0.0, 1.0))
    draws = run(Laplace(corrected=True), posterior)
    assert draws.converged, draws.messages
    x = np.linspace(-3, 5, 20001)
    density = st.norm.pdf(x, 1.0, 0.3) * st.laplace.pdf(x)
    assert draws.log_evidence == pytest.approx(np.log(np.trapezoid(density, x)), abs=0.02)


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(sf.SkyfoldError, match="100 draws"):
        Laplace(draws=10)


def test_several_bounds_at_once() -> None:
    posterior = direct([-0.02] * 4, [0.05] * 4, sf.Uniform(np.zeros(4), 1.0))
    draws = run(Laplace(), posterior)
    assert draws.converged, draws.messages
    assert draws.log_evidence == pytest.approx(4 * st.norm.logsf(0.4), abs=0.06)
