"""Pathfinder: exact on Gaussians, right at bounds and with two modes, honest where normals do not do."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from toys import MEAN, PRECISION, SD, Direct, Identity, Squared, direct, image, run, sky

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.inference.pathfinder import Pathfinder
from skyfold.likelihoods.gaussian import Gaussian


@pytest.mark.parametrize("whitened", [True, False])
def test_exact_on_a_gaussian(gaussian, whitened) -> None:
    draws = run(Pathfinder(whitened=whitened), gaussian)
    assert draws.converged, draws.messages
    weights = draws.weights()[0]
    mean = weights @ draws.latent[0]
    np.testing.assert_allclose((mean - MEAN) / SD, 0.0, atol=0.04)
    np.testing.assert_allclose(np.sqrt(weights @ (draws.latent[0] - mean) ** 2) / SD, 1.0, atol=0.03)
    exact = st.norm.logpdf([2.0, -1.0, 0.3], 0.0, np.sqrt(1 + 1 / PRECISION)).sum()
    assert draws.log_evidence == pytest.approx(exact, abs=max(4 * draws.log_evidence_error, 1e-3))
    assert draws.log_evidence_error < 0.01


def test_counts_agree_with_auto() -> None:
    posterior = sf.Posterior((sky(), image()))
    one, two = run(Pathfinder(), posterior), run(sf.Auto(), posterior)
    assert one.converged, one.messages
    assert one.log_evidence == pytest.approx(two.log_evidence, abs=0.03)
    for name, x in posterior.values(one.latent[0]).items():
        y, w = np.asarray(posterior.values(two.latent[0])[name]), two.weights()[0]
        sd = np.sqrt(w @ (y - w @ y) ** 2)
        assert one.weights()[0] @ np.asarray(x) == pytest.approx(w @ y, abs=0.08 * sd)


def test_a_bound() -> None:
    posterior = direct([-0.02], [0.05], sf.Uniform(0.0, 1.0))
    draws = run(Pathfinder(), posterior)
    exact = st.truncnorm(0.02 / 0.05, 1.02 / 0.05, -0.02, 0.05)
    x = np.asarray(posterior.values(draws.latent[0])["vector.x"])
    assert draws.converged, draws.messages
    assert draws.weights()[0] @ x == pytest.approx(exact.mean(), abs=0.08 * exact.std())
    assert draws.log_evidence == pytest.approx(st.norm.logsf(0.4), abs=max(4 * draws.log_evidence_error, 0.01))


@pytest.mark.parametrize("whitened", [True, False])
def test_paths_from_several_starts_find_both_modes(whitened) -> None:
    posterior = sf.Posterior((Squared(x=sf.Normal(0.0, 2.0)), Direct(Gaussian([4.0], [0.2]), Annotation("d"))))
    draws = run(Pathfinder(whitened=whitened), posterior)
    assert draws.converged, draws.messages
    x = np.asarray(posterior.values(draws.latent[0])["squared.x"])
    assert draws.weights()[0] @ (x > 0) == pytest.approx(0.5, abs=0.04)


class Ring(Identity):
    """The radius of a vector: its posterior is a thin shell, which no few normals cover."""

    name: ClassVar[str] = "ring"

    def evaluate(self, grid):
        return jnp.atleast_1d(jnp.sqrt(jnp.sum(self.x**2) + 1e-12))


def test_a_thin_shell_is_not_called_converged() -> None:
    posterior = sf.Posterior(
        (Ring(x=sf.Normal(np.zeros(4), 1.0)), Direct(Gaussian([2.0], [0.005]), Annotation("shell")))
    )
    draws = run(Pathfinder(paths=4), posterior)
    assert not draws.converged
    assert any("k-hat" in m or "effective" in m or "modes are missing" in m for m in draws.messages)


def test_many_dimensions_in_latent_coordinates() -> None:
    rng = np.random.default_rng(0)
    sigma = np.geomspace(0.2, 2.0, 30)
    data = rng.standard_normal(30) * np.sqrt(1 + sigma**2)
    posterior = direct(data, sigma, sf.Normal(np.zeros(30), 1.0))
    draws = run(Pathfinder(whitened=False, history=30, max_steps=100), posterior)
    assert draws.converged, draws.messages
    exact = st.norm.logpdf(data, 0.0, np.sqrt(1 + sigma**2)).sum()
    assert draws.log_evidence == pytest.approx(exact, abs=max(5 * draws.log_evidence_error, 0.02))


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(sf.SkyfoldError, match="above 0"):
        Pathfinder(paths=0)
    with pytest.raises(sf.SkyfoldError, match="100 draws"):
        Pathfinder(draws=10)
