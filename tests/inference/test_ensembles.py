"""Ensembles of walkers: exact moments, bounds, both modes, honest flags, thinned runs that go on."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shapes import piled_up_at_a_bound
from toys import Direct, Squared, run

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.inference import ensembles
from skyfold.inference.chains.ensemble_moves import Metropolis, Slice
from skyfold.inference.convergence.walker_history import integrated_time, judge
from skyfold.inference.ensembles import AIES, ESS
from skyfold.inference.running.checkpoint import Checkpoint
from skyfold.likelihoods.gaussian import Gaussian

METHODS = pytest.mark.parametrize("method", [AIES(), ESS()], ids=lambda m: m.name)


@METHODS
def test_a_posterior_piled_up_at_a_bound(method) -> None:
    x, exact = piled_up_at_a_bound(method)
    assert x.mean() == pytest.approx(exact.mean(), abs=0.06 * exact.std())
    assert x.std() == pytest.approx(exact.std(), rel=0.05)


def test_walkers_jump_between_modes() -> None:
    posterior = sf.Posterior((Squared(x=sf.Normal(0.0, 2.0)), Direct(Gaussian([4.0], [0.2]), Annotation("d"))))
    draws = run(AIES(), posterior)
    x = np.asarray(posterior.values(draws.latent.reshape(-1, 1))["squared.x"])
    assert draws.converged, draws.messages
    assert np.mean(x > 0) == pytest.approx(0.5, abs=0.04)


def test_walkers_stuck_in_modes_are_not_called_converged() -> None:
    """Slices do not find the other mode, and the effective sample size knows."""
    posterior = sf.Posterior((Squared(x=sf.Normal(0.0, 2.0)), Direct(Gaussian([4.0], [1e-4]), Annotation("d"))))
    draws = run(ESS(max_steps=400), posterior)
    assert not draws.converged
    assert draws.messages


class Stopping(Checkpoint):
    """Stands for a run that is killed after so many saves."""

    def __init__(self, path, saves: int) -> None:
        super().__init__(path, "ensemble")
        self.saves = saves

    def save(self, **state) -> None:
        super().save(**state)
        self.saves -= 1
        if self.saves == 0:
            raise RuntimeError("killed")


@METHODS
def test_a_killed_run_resumes_to_the_same_draws(gaussian, tmp_path, method, monkeypatch) -> None:
    monkeypatch.setattr(ensembles, "KEPT", 120)  # thinned on the way
    whole = run(method, gaussian, 4)
    for saves in (2, 7):
        path = tmp_path / f"{saves}.npz"
        with pytest.raises(RuntimeError, match="killed"):
            run(method, gaussian, 4, Stopping(path, saves))
        resumed = run(method, gaussian, 4, Checkpoint(path, "ensemble"))
        np.testing.assert_array_equal(resumed.latent, whole.latent)
        assert resumed.evaluations == whole.evaluations
        assert resumed.diagnostics == whole.diagnostics


@pytest.mark.parametrize("move", [Metropolis(), Slice()], ids=["metropolis", "slice"])
def test_moves_leave_their_target_alone(move) -> None:
    """From exact draws of a curved density, moves against exact draws lead to exact draws."""
    rng = np.random.default_rng(3)

    def density(u):
        return -0.5 * u[0] ** 2 - 0.5 * ((u[1] - 0.5 * u[0] ** 2) / 0.3) ** 2

    @jax.jit
    def sweep(key, u):
        value = jax.vmap(density)(u)
        for i in range(6):
            half = u[(i % 2) :: 2], value[(i % 2) :: 2], u[(i + 1) % 2 :: 2]
            new, found, *_ = move(jax.random.fold_in(key, i), *half, density, jnp.asarray(0.6))
            u, value = u.at[(i % 2) :: 2].set(new), value.at[(i % 2) :: 2].set(found)
        return u, value

    ends = []
    for k in range(40):
        first = rng.standard_normal((400, 2))
        first[:, 1] = 0.5 * first[:, 0] ** 2 + 0.3 * first[:, 1]
        u, value = sweep(jax.random.key(k), first)
        np.testing.assert_allclose(value, jax.vmap(density)(u), rtol=1e-12)
        assert np.mean(np.any(np.asarray(u) != first, axis=1)) > 0.35
        ends.append(u)
    x, y = np.concatenate(ends).T
    error = 3.5 / np.sqrt(len(x))
    assert abs(x.mean()) < error
    assert x.var() == pytest.approx(1.0, abs=1.5 * error)
    r = (y - 0.5 * x**2) / 0.3
    assert abs(r.mean()) < error
    assert r.var() == pytest.approx(1.0, abs=1.5 * error)


def test_the_autocorrelation_time_of_autoregressive_walkers() -> None:
    """(1 + a) / (1 - a) for x' = a x + noise."""
    rng = np.random.default_rng(1)
    a, n = 0.9, 4000
    x = np.empty((n, 2, 20, 1))
    x[0] = rng.standard_normal(x[0].shape)
    for i in range(1, n):
        x[i] = a * x[i - 1] + np.sqrt(1 - a**2) * rng.standard_normal(x[0].shape)
    assert integrated_time(x) == pytest.approx(19.0, rel=0.06)
    assert judge(x)[1]["ess"] == pytest.approx(n * 40 / 19.0, rel=0.1)
    assert integrated_time(np.zeros((100, 2, 4, 1))) == np.inf


def test_groups_that_disagree_or_drift_are_seen() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((500, 4, 8, 1))
    assert judge(x)[1]["rhat"] < 1.01
    apart, drift, stuck = x.copy(), x.copy(), x.copy()
    apart[:, 1] += 0.5
    drift[250:] += 0.5
    stuck[:, :, ::2] += 3.0
    assert judge(apart)[1]["rhat"] > 1.01
    assert judge(drift)[1]["rhat"] > 1.01
    assert judge(stuck)[1]["ess"] < 100


def test_settings_that_cannot_be_judged_are_refused() -> None:
    with pytest.raises(sf.SkyfoldError, match="2 ensembles"):
        AIES(ensembles=1)
    with pytest.raises(sf.SkyfoldError, match="even number of walkers"):
        ESS(walkers=7)
