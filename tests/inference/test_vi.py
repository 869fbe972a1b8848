"""VI: exact on Gaussians, honest about what a family cannot follow, and right once corrected."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest
import scipy.stats as st
from shapes import (
    DATA,
    EVIDENCE,
    MEAN,
    SD,
    SIGMA,
    Squared,
    agreeing_with_auto,
    banana,
    banana_exact,
    correlated,
    moments,
    run,
)
from toys import Direct, Greybody, direct, image, photometry, sky

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.inference.running.checkpoint import Checkpoint
from skyfold.inference.vi import VI
from skyfold.likelihoods.gaussian import Gaussian


@pytest.fixture(scope="module")
def gaussian() -> sf.Posterior:
    return direct(list(DATA), list(SIGMA), sf.Normal(np.zeros(3), 1.0))


@pytest.mark.parametrize("family", ["meanfield", "fullrank", "lowrank"])
def test_a_gaussian_is_met_exactly(gaussian, family) -> None:
    draws = run(VI(family=family), gaussian)
    assert draws.converged, draws.messages
    for found in (draws, run(VI(family=family, correction="none"), gaussian)):
        means, sds = moments(gaussian, found)
        # 4096 quasi-random draws of the exact posterior, or the pool's 5500 effective ones
        np.testing.assert_allclose((means["vector.x"] - MEAN) / SD, 0.0, atol=0.02)
        np.testing.assert_allclose(sds["vector.x"] / SD, 1.0, atol=0.02)
    assert draws.diagnostics["elbo"] == pytest.approx(EVIDENCE, abs=1e-6)
    assert draws.log_evidence == pytest.approx(EVIDENCE, abs=4 * draws.log_evidence_error)
    assert draws.log_evidence_error < 0.01
    assert draws.diagnostics["efficiency"] > 0.999


@pytest.mark.parametrize("family", ["fullrank", "lowrank"])
def test_correlations_are_followed(family) -> None:
    draws = run(VI(family=family, rank=1, correction="none"), correlated(0.95))
    assert draws.converged, draws.messages
    assert np.corrcoef(draws.latent[0].T)[0, 1] == pytest.approx(0.95, abs=0.005)
    assert draws.diagnostics["efficiency"] > 0.99


def test_mean_field_is_over_confident_and_says_so() -> None:
    """The sd of mean field is sqrt(1 - rho^2) of the true one, and the weights have k = rho."""
    posterior = correlated(0.95)
    draws = run(VI(family="meanfield", correction="none"), posterior)
    assert not draws.converged
    assert any("k-hat" in m and "over-confident" in m for m in draws.messages)
    assert "sd of mixed.x" in draws.messages[0] and "tail" in draws.messages[0]
    truth = run(VI(correction="none"), posterior)
    ratio = draws.latent[0].std(axis=0) / truth.latent[0].std(axis=0)
    np.testing.assert_allclose(ratio, np.sqrt(1 - 0.95**2), rtol=0.03)


def test_chains_correct_mean_field() -> None:
    posterior = correlated(0.95)
    draws = run(VI(family="meanfield", correction="mcmc"), posterior)
    assert draws.converged, draws.messages
    assert any("k-hat" in m for m in draws.messages)
    means, sds = moments(posterior, draws)
    right, width = moments(posterior, run(VI(), posterior))
    np.testing.assert_allclose(sds["mixed.x"] / width["mixed.x"], 1.0, atol=0.06)
    np.testing.assert_allclose((means["mixed.x"] - right["mixed.x"]) / width["mixed.x"], 0.0, atol=0.08)


def test_weights_correct_a_mild_mean_field_and_uncorrected_draws_say_so() -> None:
    posterior = correlated(0.5)
    bare, weighted = (run(VI(family="meanfield", correction=c), posterior) for c in ("none", "psis"))
    assert bare.diagnostics["khat"] < 0.7
    assert not bare.converged and any("sd of mixed.x" in m for m in bare.messages)
    assert weighted.converged, weighted.messages
    right, width = moments(posterior, run(VI(), posterior))
    means, sds = moments(posterior, weighted)
    np.testing.assert_allclose(sds["mixed.x"] / width["mixed.x"], 1.0, atol=0.05)
    np.testing.assert_allclose((means["mixed.x"] - right["mixed.x"]) / width["mixed.x"], 0.0, atol=0.05)


@pytest.mark.parametrize(
    "build", [lambda: (sky(), image()), lambda: (Greybody(), photometry())], ids=["image", "photometry"]
)
def test_agreement_with_auto(build) -> None:
    two = agreeing_with_auto(VI(), sf.Posterior(build()))
    # both are means over draws
    noise = np.hypot(two.diagnostics["elbo_error"], two.log_evidence_error)
    assert two.diagnostics["elbo"] < two.log_evidence + 2.0 * noise


@pytest.mark.parametrize("correction", ["none", "psis", "mcmc"])
def test_a_posterior_piled_up_at_a_bound_is_right_or_flagged(correction) -> None:
    posterior = direct([-0.02], [0.05], sf.Uniform(0.0, 1.0))
    draws = run(VI(correction=correction), posterior)
    exact = st.truncnorm(0.02 / 0.05, 1.02 / 0.05, -0.02, 0.05)
    means, sds = moments(posterior, draws)
    right = abs(means["vector.x"] - exact.mean()) < 0.1 * exact.std() and abs(sds["vector.x"] / exact.std() - 1) < 0.1
    assert right or not draws.converged
    assert draws.converged or draws.messages
    if correction == "mcmc":
        assert right and draws.converged, draws.messages


def test_a_normal_guide_on_a_banana_is_flagged() -> None:
    draws = run(VI(correction="none"), banana())
    assert not draws.converged
    assert draws.messages


def test_a_flow_follows_a_banana() -> None:
    pytest.importorskip("flowjax")
    mean, sd, evidence = banana_exact()
    posterior = banana()
    draws = run(VI(family="flow"), posterior)
    assert draws.converged, draws.messages
    means, sds = moments(posterior, draws)
    # the far ends of the banana, which the flow reaches last, come from few scouts
    np.testing.assert_allclose((means["banana.x"] - mean) / sd, 0.0, atol=0.06)
    np.testing.assert_allclose(sds["banana.x"] / sd, 1.0, atol=0.07)
    assert draws.log_evidence == pytest.approx(evidence, abs=0.03)
    assert draws.diagnostics["efficiency"] > 0.8


@pytest.mark.parametrize("flow", ["coupling", "autoregressive"])
@pytest.mark.parametrize("ndim", [1, 3])
def test_flows_start_as_the_laplace_approximation(flow, ndim) -> None:
    pytest.importorskip("flowjax")
    from skyfold.inference.variational.flows import first_flow

    guide = first_flow(VI(family="flow", flow=flow, layers=2, width=8), ndim)
    e = np.random.default_rng(0).normal(size=ndim)
    y, log_det = guide.forward(e)
    np.testing.assert_allclose(np.sort(y), np.sort(e), atol=1e-9)
    assert float(log_det) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("flow", ["coupling", "autoregressive"])
def test_flows_invert_and_know_their_density(flow) -> None:
    pytest.importorskip("flowjax")
    from skyfold.inference.variational.flows import first_flow

    rng = np.random.default_rng(0)
    guide = first_flow(VI(family="flow", flow=flow, layers=2, width=8), 3)
    guide = jax.tree.map(lambda a: a + 0.3 * rng.normal(size=np.shape(a)), guide)
    for e in 2.0 * rng.normal(size=(5, 3)):
        y, log_det = guide.forward(e)
        slope = jax.jacfwd(lambda e: guide.forward(e)[0])(e)
        assert float(log_det) == pytest.approx(np.linalg.slogdet(slope)[1], abs=1e-8)
        back, same = guide.inverse(y)
        np.testing.assert_allclose(back, e, atol=1e-7)
        assert float(same) == pytest.approx(float(log_det), abs=1e-6)


def test_a_flow_goes_on_from_its_checkpoint(gaussian, tmp_path) -> None:
    pytest.importorskip("flowjax")
    path = tmp_path / "run.npz"
    short, long = (VI(family="flow", layers=2, width=8, steps=n, patience=100) for n in (100, 200))
    run(short, gaussian, 5, Checkpoint(path, "x"))
    resumed = run(long, gaussian, 5, Checkpoint(path, "x"))
    np.testing.assert_array_equal(resumed.latent, run(long, gaussian, 5).latent)


def test_an_autoregressive_flow_runs(gaussian) -> None:
    pytest.importorskip("flowjax")
    draws = run(VI(family="flow", flow="autoregressive", layers=2, width=8), gaussian)
    assert draws.converged, draws.messages
    assert draws.log_evidence == pytest.approx(EVIDENCE, abs=4 * draws.log_evidence_error)


def test_a_flow_without_flowjax_is_a_clear_error(gaussian, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "flowjax", None)
    with pytest.raises(sf.SkyfoldError, match=r"skyfold\[flows\]"):
        run(VI(family="flow"), gaussian)


def test_modes_that_are_not_covered_are_reported() -> None:
    posterior = sf.Posterior((Squared(x=sf.Normal(0.0, 2.0)), Direct(Gaussian([4.0], [0.2]), Annotation("d"))))
    draws = run(VI(), posterior)
    assert not draws.converged
    assert "a mode with some 50% of the posterior" in draws.messages[0]
    assert draws.log_evidence is None


def test_chains_that_stop_go_on_from_their_checkpoint(gaussian, tmp_path) -> None:
    method = VI(correction="mcmc")
    whole = run(method, gaussian, 7)

    class Stop(Exception):
        pass

    class Interrupted(Checkpoint):
        left = 0

        def save(self, **state):
            super().save(**state)
            self.left -= 1
            if self.left == 0:
                raise Stop

    for saves in (2, 14):
        kept = Interrupted(tmp_path / f"{saves}.npz", "x")
        kept.left = saves
        try:
            run(method, gaussian, 7, kept)
        except Stop:
            assert kept.path.exists()
        resumed = run(method, gaussian, 7, Checkpoint(kept.path, "x"))
        np.testing.assert_array_equal(resumed.latent, whole.latent)
        assert resumed.diagnostics["elbo"] == whole.diagnostics["elbo"]


@pytest.mark.parametrize(
    "wrong", [{"family": "x"}, {"correction": "x"}, {"draws": 100}, {"particles": 3}, {"schedule": "x"}, {"flow": "x"}]
)
def test_wrong_settings_are_refused(wrong) -> None:
    with pytest.raises(sf.SkyfoldError):
        VI(**wrong)
