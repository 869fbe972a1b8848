"""MGVI and geoVI: exact on Gaussians, good on real shapes, honest where the metric does not tell the posterior's."""

from __future__ import annotations

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
from skyfold.inference.frames.flat_coordinates import blocks, lift, solved, standard
from skyfold.inference.mgvi import MGVI, GeoVI
from skyfold.inference.running.checkpoint import Checkpoint
from skyfold.likelihoods.gaussian import Gaussian

BOTH = pytest.mark.parametrize("kind", [MGVI, GeoVI], ids=["mgvi", "geovi"])


@pytest.fixture(scope="module")
def gaussian() -> sf.Posterior:
    return direct(list(DATA), list(SIGMA), sf.Normal(np.zeros(3), 1.0))


@BOTH
def test_a_gaussian_is_met_exactly(gaussian, kind) -> None:
    for correction in ("none", "psis"):
        draws = run(kind(correction=correction), gaussian)
        assert draws.converged, draws.messages
        means, sds = moments(gaussian, draws)
        np.testing.assert_allclose((means["vector.x"] - MEAN) / SD, 0.0, atol=0.02)
        np.testing.assert_allclose(sds["vector.x"] / SD, 1.0, atol=0.02)
    assert draws.diagnostics["elbo"] == pytest.approx(EVIDENCE, abs=1e-6)
    assert draws.diagnostics["efficiency"] > 0.999
    assert draws.log_evidence == pytest.approx(EVIDENCE, abs=4 * draws.log_evidence_error)


@BOTH
def test_correlations_are_those_of_the_metric(kind) -> None:
    draws = run(kind(correction="none"), correlated(0.95))
    assert draws.converged, draws.messages
    assert np.corrcoef(draws.latent[0].T)[0, 1] == pytest.approx(0.95, abs=0.005)


@BOTH
@pytest.mark.parametrize(
    "build", [lambda: (sky(), image()), lambda: (Greybody(), photometry())], ids=["image", "photometry"]
)
def test_agreement_with_auto(build, kind) -> None:
    agreeing_with_auto(kind(), sf.Posterior(build()))


@BOTH
def test_a_posterior_piled_up_at_a_bound_is_flagged_or_corrected(kind) -> None:
    posterior = direct([-0.02], [0.05], sf.Uniform(0.0, 1.0))
    exact = st.truncnorm(0.02 / 0.05, 1.02 / 0.05, -0.02, 0.05)
    bare, weighted, chains = (run(kind(correction=c), posterior) for c in ("none", "psis", "mcmc"))
    assert not bare.converged and "sd of vector.x" in bare.messages[0]
    for draws in (weighted, chains):
        means, sds = moments(posterior, draws)
        assert draws.converged, draws.messages
        assert means["vector.x"] == pytest.approx(exact.mean(), abs=0.08 * exact.std())
        assert sds["vector.x"] == pytest.approx(exact.std(), rel=0.06)


def test_a_banana_breaks_mgvi_which_says_so() -> None:
    for correction in ("none", "psis"):
        draws = run(MGVI(correction=correction), banana())
        assert not draws.converged and draws.messages
    assert draws.diagnostics["khat"] > 0.7 and draws.log_evidence is None


def test_geovi_bends_with_a_banana() -> None:
    mean, sd, evidence = banana_exact()
    posterior = banana()
    draws = run(GeoVI(), posterior)
    assert draws.converged, draws.messages
    means, sds = moments(posterior, draws)
    np.testing.assert_allclose((means["banana.x"] - mean) / sd, 0.0, atol=0.06)
    np.testing.assert_allclose(sds["banana.x"] / sd, 1.0, atol=0.06)
    assert draws.log_evidence == pytest.approx(evidence, abs=0.04)
    assert draws.diagnostics["efficiency"] > 0.5


def test_the_coordinates_of_counts_are_twice_their_root() -> None:
    kernel = sf.Posterior((sky(), image())).kernel
    rng = np.random.default_rng(0)
    centre, z = rng.normal(0.3, 0.2, (2, 2))
    (found,) = lift(kernel, centre, z)
    (a,), (b,) = kernel.expected(centre), kernel.expected(z)
    np.testing.assert_allclose(found, 2 * (np.sqrt(b) - np.sqrt(a)), rtol=1e-6)


def test_the_coordinates_are_solved_and_their_density_is_right() -> None:
    posterior = sf.Posterior((Greybody(), photometry()))
    centre = run(sf.MAP(), posterior).latent[0, 0]
    root = np.linalg.cholesky(np.asarray(posterior.metric(centre)))
    e = np.random.default_rng(1).normal(size=(100, 2))
    z, steps = solved(posterior.kernel, centre, root, blocks(e))
    assert np.all(np.asarray(steps) >= 1)
    back, log_det = standard(posterior.kernel, centre, root, z, bent=True)
    np.testing.assert_allclose(back, blocks(e), atol=1e-6)

    def image_of(z: jax.Array) -> jax.Array:
        return standard(posterior.kernel, centre, root, z[None, None], bent=True)[0][0, 0]

    slope = jax.jacfwd(image_of)(z[0, 5])
    assert float(log_det[0, 5]) == pytest.approx(np.linalg.slogdet(slope)[1], abs=1e-9)


@BOTH
def test_the_seed_repeats_and_a_stopped_run_goes_on(kind, tmp_path) -> None:
    posterior = sf.Posterior((Greybody(), photometry()))
    method = kind(tolerance=1e-9)
    whole, again = (run(method, posterior, 7) for _ in range(2))
    np.testing.assert_array_equal(whole.latent, again.latent)

    class Stop(Exception):
        pass

    class Interrupted(Checkpoint):
        def save(self, **state):
            super().save(**state)
            raise Stop

    path = tmp_path / "run.npz"
    with pytest.raises(Stop):
        run(method, posterior, 7, Interrupted(path, "x"))
    resumed = run(method, posterior, 7, Checkpoint(path, "x"))
    np.testing.assert_array_equal(resumed.latent, whole.latent)
    assert resumed.diagnostics["rounds"] == whole.diagnostics["rounds"] > 1


@BOTH
def test_many_dimensions_by_conjugate_gradients(kind) -> None:
    n = 60
    data, sigma = np.linspace(-1, 1, n), np.linspace(0.1, 3, n)
    posterior = direct(list(data), list(sigma), sf.Normal(np.zeros(n), 1.0))
    draws = run(kind(dense=10, correction="none"), posterior)
    assert draws.converged, draws.messages
    means, sds = moments(posterior, draws)
    sd = sigma / np.sqrt(1 + sigma**2)
    np.testing.assert_allclose((means["vector.x"] - data / (1 + sigma**2)) / sd, 0.0, atol=0.01)  # antithetic
    np.testing.assert_allclose(sds["vector.x"] / sd, 1.0, atol=0.06)
    np.testing.assert_allclose(draws.diagnostics["stein"], 1.0, atol=0.12)


@BOTH
def test_conjugate_gradients_and_matrices_agree_on_counts(kind) -> None:
    posterior = sf.Posterior((sky(), image()))
    dense, large = (run(kind(dense=d, correction="none"), posterior) for d in (300, 1))
    assert large.converged, large.messages
    (m1, s1), (m2, s2) = moments(posterior, dense), moments(posterior, large)
    for name in posterior.names:
        assert m1[name] == pytest.approx(m2[name], abs=0.05 * s1[name])
        assert s1[name] == pytest.approx(s2[name], rel=0.05)


def test_stein_s_identity_tells_of_a_wrong_width() -> None:
    posterior = direct([-0.02], [0.05], sf.Uniform(0.0, 1.0))
    draws = run(GeoVI(dense=0, correction="none"), posterior)
    assert not draws.converged
    assert any("Stein" in m for m in draws.messages)


def test_many_dimensions_have_no_chains() -> None:
    with pytest.raises(sf.SkyfoldError, match="NUTS"):
        run(MGVI(dense=0, correction="mcmc"), direct([0.5], [1.0], sf.Normal(0.0, 1.0)))


@BOTH
def test_modes_that_are_not_covered_are_reported(kind) -> None:
    posterior = sf.Posterior((Squared(x=sf.Normal(0.0, 2.0)), Direct(Gaussian([4.0], [0.2]), Annotation("d"))))
    draws = run(kind(), posterior)
    assert not draws.converged and draws.log_evidence is None
    assert "a mode with some 50% of the posterior" in draws.messages[0]


def test_too_few_rounds_are_reported() -> None:
    draws = run(MGVI(rounds=1, tolerance=1e-12), sf.Posterior((Greybody(), photometry())))
    assert not draws.converged and "still moves" in draws.messages[0]


@BOTH
@pytest.mark.parametrize("wrong", [{"correction": "x"}, {"draws": 100}, {"pairs": 0}])
def test_wrong_settings_are_refused(kind, wrong) -> None:
    with pytest.raises(sf.SkyfoldError):
        kind(**wrong)
