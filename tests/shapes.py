"""Posteriors of known shape, and what is measured of draws: shared by the tests of methods."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from toys import Direct, Identity, direct

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.inference.running.checkpoint import Checkpoint
from skyfold.inference.running.progress import Progress
from skyfold.likelihoods.gaussian import Gaussian

SIGMA = np.array([0.5, 2.0, 0.05])
DATA = np.array([2.0, -1.0, 0.3])
MEAN, SD = DATA / (1 + SIGMA**2), SIGMA / np.sqrt(1 + SIGMA**2)
EVIDENCE = st.norm.logpdf(DATA, 0.0, np.sqrt(1 + SIGMA**2)).sum()


def run(method, posterior, seed=0, checkpoint=None):
    return method(posterior, seed, Progress(False), checkpoint or Checkpoint())


def moments(posterior, draws):
    weights = draws.weights().ravel()
    values = posterior.values(draws.latent.reshape(-1, posterior.ndim))
    means = {k: np.tensordot(weights, v, 1) for k, v in values.items()}
    sds = {k: np.sqrt(np.tensordot(weights, (np.asarray(v) - means[k]) ** 2, 1)) for k, v in values.items()}
    return means, sds


def piled_up_at_a_bound(method):
    """Draws of a parameter whose posterior is piled up at its lower bound, converged, and their exact distribution."""
    posterior = direct([-0.02], [0.05], sf.Uniform(0.0, 1.0))
    draws = run(method, posterior)
    assert draws.converged, draws.messages
    exact = st.truncnorm(0.02 / 0.05, 1.02 / 0.05, -0.02, 0.05)
    return np.asarray(posterior.values(draws.latent.reshape(-1, 1))["vector.x"]), exact


def agreeing_with_auto(method, posterior):
    """Draws of a method, converged, with the moments and the evidence of `auto`."""
    one, two = run(sf.Auto(), posterior), run(method, posterior)
    assert two.converged, two.messages
    (m1, s1), (m2, s2) = moments(posterior, one), moments(posterior, two)
    for name in posterior.names:
        assert m1[name] == pytest.approx(m2[name], abs=0.08 * s1[name])
        assert s1[name] == pytest.approx(s2[name], rel=0.05)
    assert two.log_evidence == pytest.approx(one.log_evidence, abs=4 * one.log_evidence_error + 0.01)
    return two


class Mixed(Identity):
    """Sum and difference of two parameters: with unequal errors a posterior with correlation."""

    name: ClassVar[str] = "mixed"

    def evaluate(self, grid):
        return jnp.stack([self.x[0] + self.x[1], self.x[0] - self.x[1]])


def correlated(rho: float) -> sf.Posterior:
    """Two parameters of unit posterior variance ratio and correlation `rho`."""
    # precision 1 + 2 (a + b) on the diagonal and 2 (a - b) off it; the difference is known better: rho > 0
    ratio = (1 + rho) / (1 - rho)  # of the precisions along x - y and x + y
    wide = 1.0
    a, b = wide / 2, ((1 + wide) * ratio - 1) / 2
    sigma = np.sqrt([1 / a, 1 / b])
    return sf.Posterior((Mixed(x=sf.Normal(np.zeros(2), 1.0)), Direct(Gaussian([0.5, 0.1], sigma), Annotation("d"))))


class Banana(Identity):
    name: ClassVar[str] = "banana"

    def evaluate(self, grid):
        return jnp.stack([self.x[1] - self.x[0] ** 2])


def banana() -> sf.Posterior:
    return sf.Posterior((Banana(x=sf.Normal(np.zeros(2), 1.0)), Direct(Gaussian([0.3], [0.25]), Annotation("d"))))


def banana_exact() -> tuple[np.ndarray, np.ndarray, float]:
    grid = np.linspace(-6, 6, 1201)
    x, y = np.meshgrid(grid, grid, indexing="ij")
    p = np.exp(st.norm.logpdf(x) + st.norm.logpdf(y) + st.norm.logpdf(0.3, y - x**2, 0.25)) * 0.01**2
    z = p.sum()
    mean = np.array([(p * x).sum(), (p * y).sum()]) / z
    sd = np.sqrt(np.array([(p * (x - mean[0]) ** 2).sum(), (p * (y - mean[1]) ** 2).sum()]) / z)
    return mean, sd, float(np.log(z))


class Squared(Identity):
    name: ClassVar[str] = "squared"

    def evaluate(self, grid):
        return jnp.atleast_1d(self.x) ** 2
