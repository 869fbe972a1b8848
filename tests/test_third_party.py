"""What a third party writes, each in one piece of code and nothing else: the walk of `docs/architecture.md`, tried."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from operators import Shift
from toys import MEAN, Direct, Identity, direct

import skyfold as sf
from skyfold import data, xray
from skyfold.compiled.annotation import Annotation
from skyfold.component import Component
from skyfold.inference.running.draws import Draws
from skyfold.likelihoods import Likelihood, Poisson
from skyfold.observation import Observation
from skyfold.parameters import Value, parameter
from skyfold.xray.models import COMPONENTS, Additive, PowerLaw, TBabs
from skyfold.xray.models.catalogue import component_list, register

QUICK = sf.MLE(screen=64, starts=2)


@pytest.fixture
def registry() -> Iterator[None]:
    before = dict(COMPONENTS)
    yield
    COMPONENTS.clear()
    COMPONENTS.update(before)


def test_a_component(registry: None) -> None:
    @register
    class Wien(Additive):
        """Wien spectrum."""

        name: ClassVar[str] = "wien"
        kT: Value = parameter(sf.Uniform(0.1, 5), unit="keV")
        norm: Value = parameter(sf.LogUniform(1e-6, 1))

        def evaluate(self, edges: jax.Array) -> jax.Array:
            above = self.kT * jnp.exp(-edges / self.kT) * (edges**2 + 2 * edges * self.kT + 2 * self.kT**2)
            return self.norm * (above[:-1] - above[1:])

    assert repr(xray.model("tbabs*(powerlaw + wien)")) == "tbabs*(powerlaw + wien)"
    assert "Wien spectrum" in component_list()


def test_an_operator(registry: None) -> None:
    register(Shift)
    model = xray.model("tbabs*shift(powerlaw)")
    assert "shift.z" in model.parameters and model.kind == "additive"


class OverBackground(Observation):
    """Counts of a spectrum over a background that has a model of its own."""

    spectrum: xray.Spectrum
    background: Component

    def bound(self, model: Any) -> Self:
        import dataclasses

        return dataclasses.replace(self, spectrum=self.spectrum.bound(model))

    def predict(self, model: Any) -> jax.Array:
        return self.spectrum.predict(model) + self.spectrum.predict(self.background)


def test_an_observation_with_a_background_of_its_own() -> None:
    spectrum = xray.Spectrum.read(data.demo_spectrum()).notice(0.5, 8.0)
    behind = PowerLaw(0.5, sf.LogUniform(1e-6, 1e-2))
    seen = OverBackground(Poisson(spectrum.counts), Annotation("both"), spectrum, behind)
    posterior = sf.Posterior((TBabs(0.1) * PowerLaw(sf.Uniform(1, 3), sf.LogUniform(1e-6, 1e-2)), seen))
    assert posterior.names == ("powerlaw.PhoIndex", "powerlaw.norm", "powerlaw_2.norm")
    result = posterior.fit(QUICK, seed=1, progress=False)
    assert result.converged and posterior.predict(result.best_latent)["both"].shape == (spectrum.n_data,)


class Laplacian(Likelihood):
    """Data with errors of two exponentials."""

    statistic_name: ClassVar[str] = "absolute deviation"
    data: np.ndarray
    scale: np.ndarray

    def pointwise(self, expected: jax.Array) -> jax.Array:
        return -jnp.abs(self.data - expected) / self.scale - jnp.log(2.0 * self.scale)

    def fisher(self, expected: jax.Array) -> jax.Array:
        return jnp.broadcast_to(1.0 / jnp.asarray(self.scale) ** 2, jnp.shape(expected))

    def statistic(self, expected: jax.Array) -> jax.Array:
        return jnp.sum(jnp.abs(self.data - expected) / self.scale, axis=-1)

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        return rng.laplace(expected, self.scale)

    def with_data(self, data: Any) -> Self:
        return type(self)(np.asarray(data, dtype=float), self.scale)


def test_a_likelihood() -> None:
    law = Laplacian(np.array([1.0, 3.0, 4.0]), np.full(3, 0.5))
    posterior = sf.Posterior((Identity(x=sf.Normal(np.zeros(3), 10.0)), Direct(law, Annotation("own"))))
    best = posterior.log_density(np.array([0.1, 0.3, 0.4]))
    assert best > posterior.log_density(np.array([0.1, 0.3, 0.5]))
    assert type(law.take(np.array([0, 2]))) is Laplacian and law.take(np.array([0, 2])).data.tolist() == [1.0, 4.0]
    assert "absolute deviation" in str(posterior.fit(QUICK, seed=0, progress=False))


@dataclass(frozen=True)
class Rejection:
    """Prior draws, accepted by their likelihood."""

    name: ClassVar[str] = "rejection"
    tries: int = 200_000

    def __call__(self, posterior: sf.Posterior, seed: int, progress: Any, checkpoint: Any = None) -> Draws:
        rng = np.random.default_rng(seed)
        z = posterior.draw_prior(self.tries, seed)
        likelihood = np.asarray(posterior.log_likelihood(z))
        kept = np.log(rng.random(self.tries)) < likelihood - likelihood.max()
        return Draws(self.name, z[None, kept], likelihood[None, kept], converged=bool(kept.sum() > 400), seed=seed)


def test_a_method() -> None:
    posterior = direct([2.0, -1.0], [0.5, 2.0], sf.Normal(np.zeros(2), 1.0))
    result = posterior.fit(Rejection(), seed=3, progress=False)
    assert result.converged and "rejection" in str(result)
    np.testing.assert_allclose(result.samples["vector.x"].reshape(-1, 2).mean(axis=0), MEAN[:2], atol=0.05)
