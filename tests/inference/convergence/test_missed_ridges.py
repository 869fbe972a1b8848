"""What chains cannot tell of themselves: that all of them missed the same part of the posterior."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import skyfold as sf
from skyfold.inference.convergence.missed_ridges import unvisited

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

from problems import banana, spectrum


@pytest.fixture(scope="module")
def explored() -> tuple[sf.Posterior, np.ndarray, np.ndarray]:
    """A spectrum that a black body alone fits nearly as well; mode and draws, the far tail of the power law's too."""
    posterior = spectrum().posterior
    draws = posterior.fit("auto", seed=1).draws
    rng = np.random.default_rng(0)
    z = draws.latent[0][rng.choice(draws.latent.shape[1], 20_000, p=draws.weights()[0])]
    return posterior, draws.mode, z


def test_draws_that_hold_everything_lack_nothing(explored: tuple[sf.Posterior, np.ndarray, np.ndarray]) -> None:
    posterior, mode, z = explored
    assert unvisited(posterior, mode, z, 16, 1)[0] == ()


def test_a_tail_that_was_cut_off_is_missed(explored: tuple[sf.Posterior, np.ndarray, np.ndarray]) -> None:
    posterior, mode, z = explored
    k = [p.name for p in posterior.parameters].index("powerlaw.norm")
    cut = z[z[:, k] > z[:, k].mean() - 4.0 * np.median(np.abs(z[:, k] - np.median(z[:, k])))]
    assert 0.0 < 1.0 - len(cut) / len(z) < 0.03
    messages, evaluations = unvisited(posterior, mode, cut, 16, 1)
    assert len(messages) == 1 and "a ridge far out in powerlaw.norm" in messages[0]
    assert evaluations < 20_000


def test_nothing_is_said_where_no_normal_fits() -> None:
    problem = banana()
    rng = np.random.default_rng(3)
    z = rng.standard_normal((4000, problem.posterior.ndim))
    z[:, 1] = z[:, 0] ** 2
    assert unvisited(problem.posterior, np.zeros(problem.posterior.ndim), z, 16, 1)[0] == ()
