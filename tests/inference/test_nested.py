"""Nested: exact evidence and moments within its errors, both modes, bounds, plateaus, honesty, going on."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.integrate
import scipy.stats as st
from toys import Direct, Identity, direct

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.inference.nested import Nested
from skyfold.inference.nested_sampling.finish import maxima
from skyfold.inference.nested_sampling.prior_volume import alive, insertion_pvalue, log_evidence, log_volumes
from skyfold.inference.running.checkpoint import Checkpoint
from skyfold.inference.running.progress import Progress
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.priors import NumPyroPrior

QUICK = Nested(live=200, batch=20, screen=256, starts=4)
DATA, SIGMA = np.array([2.0, -1.0, 0.3]), np.array([0.5, 2.0, 0.05])


def run(method, posterior, seed=0, **more):
    return method(posterior, seed, Progress(False), **more)


@pytest.fixture(scope="module")
def gaussian() -> sf.Posterior:
    return direct(list(DATA), list(SIGMA), sf.Normal(np.zeros(3), 1.0))


class Squared(Identity):
    name: ClassVar[str] = "squared"

    def evaluate(self, grid):
        return jnp.atleast_1d(self.x) ** 2


class Root(Identity):
    """Not a number for negative values, level above one."""

    name: ClassVar[str] = "root"

    def evaluate(self, grid):
        return jnp.minimum(jnp.sqrt(jnp.atleast_1d(self.x)), 1.0)


def two_modes(width: float = 0.2) -> sf.Posterior:
    return sf.Posterior((Squared(x=sf.Normal(0.0, 2.0)), Direct(Gaussian([4.0], [width]), Annotation("d"))))


def root(data: float, sigma: float) -> sf.Posterior:
    return sf.Posterior((Root(x=sf.Normal(0.0, 1.0)), Direct(Gaussian([data], [sigma]), Annotation("d"))))


def moments(draws, posterior):
    x = np.asarray(next(iter(posterior.values(draws.latent[0]).values()))).reshape(draws.latent.shape[1], -1)
    w = draws.weights()[0]
    mean = w @ x
    return mean, np.sqrt(w @ (x - mean) ** 2)


def test_a_gaussian_s_evidence_scatters_as_quoted(gaussian) -> None:
    exact = st.norm.logpdf(DATA, 0.0, np.sqrt(1 + SIGMA**2)).sum()
    mean, sd = DATA / (1 + SIGMA**2), SIGMA / np.sqrt(1 + SIGMA**2)
    pulls, shifts, widths = [], [], []
    for seed in range(16):
        draws = run(QUICK, gaussian, seed)
        assert draws.converged, draws.messages
        assert draws.log_evidence_error == pytest.approx(np.sqrt(draws.diagnostics["information"] / 200), rel=0.25)
        pulls.append((draws.log_evidence - exact) / draws.log_evidence_error)
        m, s = moments(draws, gaussian)
        shifts.append((m - mean) / sd)
        widths.append(s / sd)
    assert 5.8 < np.sum(np.square(pulls)) < 33  # 1% to 99.3% of chi-squared with 16 degrees of freedom
    assert abs(np.mean(pulls)) < 3 / 4
    np.testing.assert_allclose(np.mean(shifts, axis=0), 0.0, atol=0.05)
    np.testing.assert_allclose(np.mean(widths, axis=0), 1.0, atol=0.03)


def test_both_modes_are_kept() -> None:
    posterior = two_modes()
    exact, _ = scipy.integrate.quad(
        lambda x: st.norm.pdf(x, 0, 2) * st.norm.pdf(4.0, x * x, 0.2), -4, 4, points=[-2, 2]
    )
    draws = run(Nested(screen=256, starts=4), posterior)
    assert draws.converged, draws.messages
    x = np.asarray(posterior.values(draws.latent[0])["squared.x"])
    assert draws.weights()[0] @ (x > 0) == pytest.approx(0.5, abs=0.1)
    assert draws.log_evidence == pytest.approx(np.log(exact), abs=4 * draws.log_evidence_error)


def test_a_posterior_piled_up_at_a_bound() -> None:
    posterior = direct([-0.02], [0.05], sf.Uniform(0.0, 1.0))
    draws = run(QUICK, posterior)
    exact = st.truncnorm(0.02 / 0.05, 1.02 / 0.05, -0.02, 0.05)
    mean, sd = moments(draws, posterior)
    assert draws.converged, draws.messages
    assert mean[0] == pytest.approx(exact.mean(), abs=0.15 * exact.std())
    assert sd[0] == pytest.approx(exact.std(), rel=0.12)
    assert draws.log_evidence == pytest.approx(np.log(st.norm.sf(0.0, -0.02, 0.05)), abs=4 * draws.log_evidence_error)


@pytest.mark.parametrize("sigma", [100.0, 1e200], ids=["nearly", "exactly"])
def test_a_likelihood_that_says_nothing(sigma) -> None:
    """An exactly constant one is a plateau that no point lies above: the run ends at once, with draws of the prior."""
    posterior = direct([0.5], [sigma], sf.Uniform(0.0, 1.0))
    draws = run(Nested(screen=256, starts=4), posterior)
    mean, sd = moments(draws, posterior)
    assert draws.converged, draws.messages
    assert mean[0] == pytest.approx(0.5, abs=0.05)
    assert sd[0] == pytest.approx(1 / np.sqrt(12), rel=0.1)
    assert draws.log_evidence == pytest.approx(st.norm.logpdf(0.0, 0.0, sigma), abs=1e-3)


def test_plateaus_and_places_without_a_likelihood() -> None:
    """Half of the prior gives NaN; above x = 1 the likelihood is level, and highest."""
    posterior = root(2.0, 1.0)
    exact, _ = scipy.integrate.quad(lambda x: st.norm.pdf(x) * st.norm.pdf(2.0, min(x**0.5, 1), 1.0), 0, 9, points=[1])
    with pytest.warns(sf.errors.NonFiniteModelWarning):
        draws = run(Nested(screen=256, starts=4), posterior)
    assert draws.log_evidence == pytest.approx(np.log(exact), abs=4 * draws.log_evidence_error)
    assert 0.02 < draws.log_evidence_error < 0.1
    x = np.asarray(posterior.values(draws.latent[0])["root.x"])
    above = st.norm.sf(1.0) * st.norm.pdf(2.0, 1.0, 1.0) / exact
    assert draws.weights()[0] @ (x > 1) == pytest.approx(above, abs=0.08)


def test_a_likelihood_that_is_finite_nowhere_is_refused() -> None:
    posterior = sf.Posterior((Root(x=sf.Uniform(-2.0, -1.0)), Direct(Gaussian([1.0], [1.0]), Annotation("d"))))
    with (
        pytest.warns(sf.errors.NonFiniteModelWarning) as warned,
        pytest.raises(sf.SkyfoldError, match="finite at only 0 of"),
    ):
        run(QUICK, posterior)
    assert len(warned) == 1


def test_too_few_draws_are_said(gaussian) -> None:
    draws = run(Nested(live=40, batch=4, screen=256, starts=4), gaussian)
    assert not draws.converged
    assert any("effective draws" in m for m in draws.messages)


class Banana(Identity):
    name: ClassVar[str] = "banana"

    def evaluate(self, grid):
        x = jnp.asarray(self.x)
        return jnp.concatenate([10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]])


def test_points_that_hardly_moved_are_seen() -> None:
    """With one sweep new points are near copies of those they set out from, with five they are not."""
    banana = Banana(x=sf.Normal(np.zeros(4), 1.0))
    posterior = sf.Posterior((banana, Direct(Gaussian([0.0] * 6, [0.3] * 6), Annotation("d"))))
    short = run(Nested(live=200, batch=20, sweeps=1, screen=256, starts=4), posterior)
    assert not short.converged
    assert any("set out from" in m for m in short.messages)
    assert run(QUICK, posterior).converged


def test_a_missed_mode_is_seen() -> None:
    posterior = two_modes()
    rng = np.random.default_rng(0)
    z = 1.0 + 0.025 * rng.standard_normal((1000, 1))
    likelihood = np.asarray(posterior.log_likelihood(z))
    for points, seen in ((z, False), (np.concatenate([z, -z]), True)):
        values = np.resize(likelihood, len(points))
        found = maxima(posterior, points, values, np.zeros(len(points)), -3.0, points=256, starts=8, seed=0)
        assert bool(found.missed) != seen
        assert found.modes == 2
    assert abs(np.abs(found.best[0]) - 1.0) < 1e-6


class Interrupted(Checkpoint):
    """Ends the run after some saves, as a killed process would."""

    def __init__(self, path, saves: int, how: type[BaseException]) -> None:
        super().__init__(path, "same")
        self.saves, self.how = saves, how

    def save(self, **state) -> None:
        super().save(**state)
        self.saves -= 1
        if self.saves == 0:
            raise self.how


def test_an_interrupted_run_keeps_what_it_has(gaussian, tmp_path) -> None:
    draws = run(QUICK, gaussian, 3, checkpoint=Interrupted(tmp_path / "run.npz", 4, KeyboardInterrupt))
    assert not draws.converged
    assert any("interrupted" in m for m in draws.messages)


def test_what_it_cannot_do_is_refused(gaussian) -> None:
    inexact = direct([1.0], [1.0], NumPyroPrior(dist.Gumbel(1.0, 2.0)))
    with pytest.raises(sf.SkyfoldError, match="auto or nuts"):
        run(QUICK, inexact)
    wide = direct([0.0] * 15, [1.0] * 15, sf.Normal(np.zeros(15), 1.0))
    with pytest.raises(sf.SkyfoldError, match="span 15 dimensions"):
        run(Nested(live=20, batch=2), wide)
    for settings in ({"batch": 300}, {"live": 10, "batch": 1}, {"remainder": 2.0}, {"sweeps": 0}):
        with pytest.raises(sf.SkyfoldError, match="live points"):
            Nested(**settings)


# -- the accounts ----------------------------------------------------------------------------------------------------


def test_points_alive_are_counted_from_births_and_deaths() -> None:
    birth = np.array([-np.inf, -np.inf, -np.inf, 1.0, 2.0])  # 3 live points, two of which are replaced when they die
    death = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert alive(birth, death).tolist() == [3, 3, 3, 2, 1]
    # two that die together, at a plateau, and are both replaced above it
    assert alive(np.array([-np.inf, -np.inf, -np.inf, 1.0, 1.0]), np.array([1.0, 1.0, 2.0, 3.0, 4.0])).tolist() == [
        3,
        2,
        3,
        2,
        1,
    ]


def test_a_level_likelihood_s_evidence_is_exact() -> None:
    count = np.concatenate([np.full(1000, 50), np.arange(50, 0, -1)])
    assert np.exp(log_volumes(count)).sum() == pytest.approx(1.0, abs=1e-12)
    value, error, information = log_evidence(np.full(1050, -7.0), count)
    assert (value, error, information) == pytest.approx((-7.0, 0.0, 0.0), abs=1e-9)


def test_uneven_ranks_are_improbable() -> None:
    rng = np.random.default_rng(1)
    even = rng.random(5000)
    assert insertion_pvalue(even, 500) > 0.01
    assert insertion_pvalue(even**1.1, 500) < 1e-3
    stretch = even.copy()
    stretch[1000:1500] **= 2
    assert insertion_pvalue(stretch, 500) < 1e-3
    assert insertion_pvalue(np.empty(0), 500) == 1.0
