"""NUTS and auto: exact on Gaussians, in agreement on real shapes, honest where they fail."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats as st
from shapes import moments
from toys import PRECISION, Direct, Greybody, Squared, direct, image, photometry, run, sky

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.likelihoods.gaussian import Gaussian


def test_auto_s_evidence_is_exact_on_a_gaussian(gaussian) -> None:
    draws = run(sf.Auto(), gaussian)
    exact = st.norm.logpdf([2.0, -1.0, 0.3], 0.0, np.sqrt(1 + 1 / PRECISION)).sum()
    assert draws.log_evidence == pytest.approx(exact, abs=4 * draws.log_evidence_error)
    assert draws.log_evidence_error < 0.02


@pytest.mark.parametrize(
    "build", [lambda: (sky(), image()), lambda: (Greybody(), photometry())], ids=["image", "photometry"]
)
def test_nuts_and_auto_agree_on_other_domains(build) -> None:
    posterior = sf.Posterior(build())
    one, two = run(sf.Auto(), posterior), run(sf.NUTS(), posterior)
    assert one.converged and two.converged
    (m1, s1), (m2, s2) = moments(posterior, one), moments(posterior, two)
    for name in posterior.names:
        assert m1[name] == pytest.approx(m2[name], abs=0.12 * s1[name])
        assert s1[name] == pytest.approx(s2[name], rel=0.07)


@pytest.mark.parametrize("method", [sf.Auto(), sf.NUTS()], ids=lambda m: m.name)
def test_a_posterior_piled_up_at_a_bound(method) -> None:
    posterior = direct([-0.02], [0.05], sf.Uniform(0.0, 1.0))
    draws = run(method, posterior)
    exact = st.truncnorm(0.02 / 0.05, 1.02 / 0.05, -0.02, 0.05)
    means, sds = moments(posterior, draws)
    assert draws.converged, draws.messages
    assert means["vector.x"] == pytest.approx(exact.mean(), abs=0.08 * exact.std())
    assert sds["vector.x"] == pytest.approx(exact.std(), rel=0.06)


@pytest.mark.parametrize("method", [sf.Auto(), sf.NUTS()], ids=lambda m: m.name)
def test_a_posterior_that_is_its_prior(method) -> None:
    posterior = direct([0.5], [100.0], sf.Uniform(0.0, 1.0))
    means, sds = moments(posterior, run(method, posterior))
    assert means["vector.x"] == pytest.approx(0.5, abs=0.03)
    assert sds["vector.x"] == pytest.approx(1 / np.sqrt(12), rel=0.05)


def test_auto_keeps_both_modes() -> None:
    posterior = sf.Posterior((Squared(x=sf.Normal(0.0, 2.0)), Direct(Gaussian([4.0], [0.2]), Annotation("d"))))
    draws = run(sf.Auto(), posterior)
    assert draws.converged
    x = np.asarray(posterior.values(draws.latent[0])["squared.x"])
    assert draws.weights()[0] @ (x > 0) == pytest.approx(0.5, abs=0.03)


def test_auto_falls_back_to_nuts_and_says_so() -> None:
    posterior = direct(list(np.zeros(3)), [1.0] * 3, sf.Normal(np.zeros(3), 1.0))
    draws = run(sf.Auto(max_dimension=2), posterior)
    assert (draws.method, draws.sampler) == ("auto", "nuts")
    assert "too many" in draws.messages[0]
    assert draws.converged


def test_auto_tries_smc_where_importance_sampling_fails() -> None:
    posterior = direct(list(np.zeros(3)), [1.0] * 3, sf.Normal(np.zeros(3), 1.0))
    draws = run(sf.Auto(max_evaluations=1), posterior)
    assert (draws.method, draws.sampler) == ("auto", "smc")
    assert draws.converged and draws.messages[0].startswith("auto used SMC: ")
    assert draws.log_evidence == pytest.approx(-1.5 * np.log(4.0 * np.pi), abs=4.0 * draws.log_evidence_error)


def test_auto_starts_nothing_new_when_it_is_interrupted(monkeypatch) -> None:
    posterior = direct([0.0], [1.0], sf.Normal(0.0, 1.0))
    real = sf.SMC.__call__

    def stopped(self, *given):
        draws = real(self, *given)
        return replace(draws, converged=False, diagnostics={**draws.diagnostics, "interrupted": 1.0})

    monkeypatch.setattr(sf.SMC, "__call__", stopped)
    draws = run(sf.Auto(max_evaluations=1), posterior)
    assert draws.sampler == "smc" and not draws.converged


def test_chains_that_disagree_are_not_called_converged() -> None:
    posterior = sf.Posterior((Squared(x=sf.Normal(0.0, 2.0)), Direct(Gaussian([4.0], [0.01]), Annotation("d"))))
    draws = run(sf.NUTS(draws=200, max_draws=200, chains=8), posterior, seed=1)
    assert not draws.converged
    assert any("R-hat" in m for m in draws.messages)


def test_unknown_methods_are_named(gaussian) -> None:
    with pytest.raises(sf.SkyfoldError, match="Did you mean 'nuts'"):
        gaussian.fit("nutz")
    with pytest.raises(sf.SkyfoldError, match="method"):
        gaussian.fit(3)


def test_too_few_chains_are_refused() -> None:
    with pytest.raises(sf.SkyfoldError, match="2 chains"):
        sf.NUTS(chains=1)


@pytest.mark.parametrize("dimensions", [2, 4])
def test_auto_finds_every_mode_of_a_symmetric_posterior(dimensions) -> None:
    prior = sf.Uniform(np.full(dimensions, -5.0), 5.0)
    data = Direct(Gaussian([4.0] * dimensions, [0.2] * dimensions), Annotation("d"))
    draws = run(sf.Auto(), sf.Posterior((Squared(x=prior), data)), seed=dimensions)
    assert draws.converged
    assert draws.diagnostics["modes"] == 2**dimensions
    assert draws.log_evidence == pytest.approx(-2.99479 * dimensions, abs=4 * draws.log_evidence_error)
    assert draws.weights()[0] @ draws.latent[0] == pytest.approx(np.zeros(dimensions), abs=0.05)


def test_auto_says_when_modes_are_missing() -> None:
    prior = sf.Uniform(np.full(9, -5.0), 5.0)
    draws = run(sf.Auto(), sf.Posterior((Squared(x=prior), Direct(Gaussian([4.0] * 9, [0.2] * 9), Annotation("d")))))
    assert not draws.converged
    assert any("modes are missing" in m or "still finds a new" in m for m in draws.messages)


def test_auto_s_evidence_is_unbiased_in_many_dimensions() -> None:
    pulls = []
    for seed in range(6):
        data = np.random.default_rng(seed).normal(size=12)
        draws = run(sf.Auto(), direct(list(data), [0.5] * 12, sf.Normal(np.zeros(12), 1.0)), seed)
        exact = st.norm.logpdf(data, 0, np.sqrt(1.25)).sum()
        pulls.append((draws.log_evidence - exact) / draws.log_evidence_error)
    assert abs(np.mean(pulls)) < 3.0 / np.sqrt(6)


def test_chains_start_in_every_heavy_mode() -> None:
    """Two exchangeable halves: chains must not all sit in one of them and call it the posterior."""
    posterior = sf.Posterior((Squared(x=sf.Normal(0.0, 2.0)), Direct(Gaussian([4.0], [0.01]), Annotation("d"))))
    for seed in range(3):
        draws = run(sf.NUTS(draws=100, max_draws=100, warmup=200), posterior, seed)
        assert not draws.converged
