"""SMC: exact moments and evidence, both modes, bounds, honest flags."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from toys import Direct, Greybody, Identity, direct, photometry

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.inference.chains import particle_moves
from skyfold.inference.frames.unit_or_normal import Coordinates
from skyfold.inference.importance.mixture import Mixture
from skyfold.inference.running.checkpoint import Checkpoint
from skyfold.inference.running.progress import Progress
from skyfold.inference.smc import SMC
from skyfold.likelihoods.gaussian import Gaussian

QUICK = SMC(particles=256, populations=4, rounds=1, max_rounds=1)
PRECISION = 1 / np.array([0.5, 2.0, 0.05]) ** 2
MEAN, SD = PRECISION * [2.0, -1.0, 0.3] / (PRECISION + 1), 1 / np.sqrt(PRECISION + 1)
EVIDENCE = st.norm.logpdf([2.0, -1.0, 0.3], 0.0, np.sqrt(1 + 1 / PRECISION)).sum()


def run(method, posterior, seed=0, checkpoint=None):
    return method(posterior, seed, Progress(False), checkpoint or Checkpoint())


@pytest.fixture(scope="module")
def gaussian() -> sf.Posterior:
    return direct([2.0, -1.0, 0.3], [0.5, 2.0, 0.05], sf.Normal(np.zeros(3), 1.0))


class Squared(Identity):
    name: ClassVar[str] = "squared"

    def evaluate(self, grid):
        return jnp.atleast_1d(self.x) ** 2


def squared(sigma: float) -> sf.Posterior:
    return sf.Posterior((Squared(x=sf.Normal(0.0, 2.0)), Direct(Gaussian([4.0], [sigma]), Annotation("d"))))


def test_the_evidence_is_exact_within_its_errors(gaussian) -> None:
    pulls = []
    for seed in range(5):
        draws = run(SMC(), gaussian, seed)
        assert draws.log_evidence_error < 0.06
        pulls.append((draws.log_evidence - EVIDENCE) / draws.log_evidence_error)
    assert np.max(np.abs(pulls)) < 3.0
    assert abs(np.mean(pulls)) < 1.5


@pytest.mark.parametrize("sigma", [0.2, 0.01])
def test_both_modes_and_their_evidence(sigma) -> None:
    posterior = squared(sigma)
    draws = run(SMC(), posterior, 1)
    assert draws.converged, draws.messages
    x = np.asarray(posterior.values(draws.latent.reshape(-1, 1))["squared.x"])
    assert np.mean(x > 0) == pytest.approx(0.5, abs=0.05)
    grid = np.linspace(-10, 10, 2_000_001)
    exact = np.trapezoid(st.norm.pdf(grid, 0, 2) * st.norm.pdf(4, grid**2, sigma), grid)
    assert draws.log_evidence == pytest.approx(np.log(exact), abs=3 * draws.log_evidence_error)
    assert draws.diagnostics["modes"] == 2


def test_a_posterior_piled_up_at_a_bound() -> None:
    posterior = direct([-0.02], [0.05], sf.Uniform(0.0, 1.0))
    draws = run(SMC(), posterior)
    exact = st.truncnorm(0.02 / 0.05, 1.02 / 0.05, -0.02, 0.05)
    x = np.asarray(posterior.values(draws.latent.reshape(-1, 1))["vector.x"])
    assert draws.converged, draws.messages
    assert x.mean() == pytest.approx(exact.mean(), abs=0.06 * exact.std())
    assert x.std() == pytest.approx(exact.std(), rel=0.06)
    mass = st.norm.cdf(1.0, -0.02, 0.05) - st.norm.cdf(0.0, -0.02, 0.05)
    assert draws.log_evidence == pytest.approx(np.log(mass), abs=3 * draws.log_evidence_error)


def test_a_posterior_that_is_its_prior_is_one_step() -> None:
    draws = run(QUICK, direct([0.5], [100.0], sf.Uniform(0.0, 1.0)))
    assert draws.log_evidence == pytest.approx(st.norm.logpdf(0.0, 0.0, 100.0), abs=1e-4)
    assert draws.diagnostics["temperatures"] == 1


def test_it_agrees_with_auto_on_another_domain() -> None:
    posterior = sf.Posterior((Greybody(), photometry()))
    one, two = run(SMC(), posterior), run(sf.Auto(), posterior)
    assert one.converged, one.messages
    z, w = two.latent.reshape(-1, 2), two.weights().ravel()
    mean = w @ z
    sd = np.sqrt(w @ (z - mean) ** 2)
    np.testing.assert_allclose((one.latent.reshape(-1, 2).mean(axis=0) - mean) / sd, 0.0, atol=0.08)
    np.testing.assert_allclose(one.latent.reshape(-1, 2).std(axis=0) / sd, 1.0, atol=0.06)
    assert one.log_evidence == pytest.approx(two.log_evidence, abs=3 * one.log_evidence_error)


def test_the_effective_sample_size_is_not_overstated(gaussian) -> None:
    """Means of populations scatter as the effective sample size says."""
    draws = run(SMC(populations=32, particles=128, rounds=1), gaussian, 3)
    scatter = draws.latent.mean(axis=1).var(axis=0, ddof=1) / SD**2
    assert np.all(scatter < 2.0 * 32 / draws.diagnostics["ess"])


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (SMC(max_steps=2, correlation=0.001, rounds=1, max_rounds=1), "did not decorrelate"),
        (SMC(max_temperatures=2, rounds=1, max_rounds=1), "effective particles"),
        (SMC(particles=32, populations=4, rounds=1, max_rounds=1), "effective sample size"),
    ],
    ids=["steps", "temperatures", "particles"],
)
def test_stopped_too_early_it_says_so(method, reason) -> None:
    posterior = direct([2.0, -1.0, 0.3], [0.5, 2.0, 0.005], sf.Normal(np.zeros(3), 1.0))
    draws = run(method, posterior)
    assert not draws.converged
    assert any(reason in m for m in draws.messages), draws.messages


def test_populations_in_different_modes_are_not_called_converged(monkeypatch) -> None:
    """Without moves between the modes, and too few particles to keep both, the populations disagree."""
    monkeypatch.setattr(
        particle_moves, "INDEPENDENT", 0.0
    )  # seen when `_move` is traced: no other test has these shapes
    posterior = sf.Posterior((Squared(x=sf.Normal(0.0, 2.0)), Direct(Gaussian([4.0], [1e-5]), Annotation("modes"))))
    draws = run(SMC(particles=32, populations=8, rounds=8, max_rounds=8), posterior)
    assert not draws.converged
    assert any("R-hat" in m for m in draws.messages), draws.messages


def test_moves_leave_their_target_alone(gaussian) -> None:
    """From exact draws of the posterior, moves about a wrong mixture lead to exact draws."""
    rng = np.random.default_rng(5)
    z = MEAN + SD * rng.standard_normal((8192, 3))
    likelihood = np.asarray(gaussian.log_likelihood(z))
    import jax

    wrong = Mixture(
        np.array([0.7, 0.3]),
        np.array([MEAN + SD, MEAN - 2 * SD]),
        np.stack([np.diag(SD), np.diag(1.5 * SD)]),
        Coordinates(np.zeros(3, bool)),
    )
    moved = particle_moves.move(
        gaussian.kernel, z, likelihood, wrong, power=1.0, scale=0.8, steps=5, key=jax.random.key(1)
    )
    assert 0.1 < moved.local < 0.9 and 0.1 < moved.independent < 0.9
    assert particle_moves.correlation(wrong, z, moved.z) < 0.8
    np.testing.assert_allclose((moved.z.mean(axis=0) - MEAN) / SD, 0.0, atol=0.05)
    np.testing.assert_allclose(moved.z.std(axis=0) / SD, 1.0, atol=0.03)
    np.testing.assert_allclose(moved.likelihood, np.asarray(gaussian.log_likelihood(moved.z)), rtol=1e-9)


def test_settings_that_cannot_be_judged_are_refused() -> None:
    with pytest.raises(sf.SkyfoldError, match="4 populations"):
        SMC(populations=2)
    with pytest.raises(sf.SkyfoldError, match="between 0 and 1"):
        SMC(keep=1.0)


class Broken(Identity):
    name: ClassVar[str] = "broken"

    def evaluate(self, grid):
        return jnp.atleast_1d(self.x) * jnp.nan


def test_a_likelihood_that_is_nowhere_finite_is_an_error() -> None:
    posterior = sf.Posterior((Broken(x=sf.Normal(0.0, 2.0)), Direct(Gaussian([4.0], [1.0]), Annotation("d"))))
    with (
        pytest.warns(sf.errors.NonFiniteModelWarning),
        pytest.raises(sf.SkyfoldError, match="finite at too few"),
    ):
        run(QUICK, posterior)
