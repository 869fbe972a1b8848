"""Centre: where the mass of a posterior of many dimensions lies."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
from toys import Direct, Identity, direct

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.inference.running.progress import Progress
from skyfold.inference.search.large import ascend
from skyfold.inference.search.mass_centre import central, centre
from skyfold.inference.search.modes import search_modes
from skyfold.inference.search.screening import screen
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.poisson import Poisson
from skyfold.parameters import Value, parameter


class Rough(Component):
    """Counts whose logarithm has a free scatter."""

    name: ClassVar[str] = "rough"
    xi: Value = parameter()
    amplitude: Value = parameter()

    def evaluate(self, grid):
        return 20.0 * jnp.exp(self.amplitude * self.xi)


@pytest.fixture(scope="module")
def rough() -> sf.Posterior:
    rng = np.random.default_rng(4)
    n = 250
    counts = rng.poisson(20.0 * np.exp(0.4 * rng.standard_normal(n)))
    model = Rough(xi=sf.Normal(np.zeros(n), 1.0), amplitude=sf.LogNormal(-1.0, 0.5))
    return sf.Posterior((model, Direct(Poisson(counts), Annotation("counts"))))


def amplitude(posterior: sf.Posterior, z: np.ndarray) -> float:
    return float(posterior.values(z)["rough.amplitude"])


def test_the_centre_is_where_the_mass_is_and_the_joint_maximum_is_not(rough) -> None:
    z, spent = centre(rough, np.zeros(rough.ndim), 1)
    # scatter of the logarithm of the counts, the Poisson noise taken off; 250 bins tell it to some 5%
    assert amplitude(rough, z) == pytest.approx(0.4, rel=0.2)
    assert spent > 0
    modes = ascend(rough, np.zeros((1, rough.ndim)))
    assert modes.converged[0]
    assert amplitude(rough, modes.z[0]) > 1.0


def test_the_search_of_large_posteriors_gives_the_centre(rough) -> None:
    points, density, _ = screen(rough, 64, 1)
    search = search_modes(rough, points, density, 4)
    assert search.complete and len(search.modes.z) == 1
    assert amplitude(rough, search.modes.z[0]) == pytest.approx(0.4, rel=0.2)
    z = search.modes.z[0]
    # a nearly normal posterior has its density at the centre
    assert search.modes.value[0] == pytest.approx(float(rough.kernel.log_density(z)), abs=3.0)
    np.testing.assert_allclose(search.modes.metric[0], np.asarray(rough.kernel.metric(z)), rtol=1e-8, atol=1e-8)


def test_a_linear_model_has_its_mean_at_the_centre() -> None:
    n = 220
    data, sigma = np.linspace(-2.0, 2.0, n), np.geomspace(0.05, 5.0, n)
    z, _ = centre(direct(data, sigma, sf.Normal(np.zeros(n), 1.0)), np.zeros(n), 3)
    exact = data / (1.0 + sigma**2)
    assert np.max(np.abs(z - exact) * np.sqrt(1.0 + sigma**-2.0)) < 1e-3


def test_chains_start_from_the_mass(rough) -> None:
    draws = sf.NUTS(warmup=200, draws=200, max_draws=200, chains=2)(rough, 1, Progress(False))
    found = np.exp(-1.0 + 0.5 * draws.latent[..., -1])
    assert np.mean(found) == pytest.approx(0.4, rel=0.15)


class Folded(Identity):
    """The first parameter is seen squared."""

    name: ClassVar[str] = "folded"

    def evaluate(self, grid):
        return jnp.concatenate([self.x[:1] ** 2, self.x[1:]])


def test_several_centres_are_found_and_draws_of_one_are_not_called_converged() -> None:
    n = 210
    data = np.concatenate([[1.5], np.zeros(n - 1)])
    model = Folded(x=sf.Normal(np.zeros(n), 1.0))
    posterior = sf.Posterior((model, Direct(Gaussian(data, np.full(n, 0.3)), Annotation("folded"))))
    points, density, _ = screen(posterior, 256, 1)
    modes = central(posterior, points, density)
    # the start in the middle of the prior stays on the saddle
    np.testing.assert_allclose(np.abs(modes.z[:2, 0]), np.sqrt(1.5), atol=0.1)
    assert np.sum(np.sign(modes.z[:2, 0])) == 0
    masses = modes.value - 0.5 * np.linalg.slogdet(modes.metric)[1]
    assert masses[0] - masses[1] < 0.5
    assert np.all(masses[2:] < masses[0] - 2.0)
    for method in (sf.MGVI(dense=100), sf.GeoVI(dense=100)):
        draws = method(posterior, 1, Progress(False))
        assert not draws.converged
        assert any("centres of comparable mass" in m for m in draws.messages)


def test_what_cannot_be_started_is_refused() -> None:
    class Broken(Identity):
        def evaluate(self, grid):
            return self.x * jnp.nan

    n = 210
    posterior = sf.Posterior(
        (Broken(x=sf.Normal(np.zeros(n), 1.0)), Direct(Gaussian(np.zeros(n), np.ones(n)), Annotation("nan")))
    )
    with pytest.raises(SkyfoldError, match="not finite where the search"):
        centre(posterior, np.zeros(n), 1)
    large = direct(np.zeros(2100), np.ones(2100), sf.Normal(np.zeros(2100), 1.0))
    with pytest.raises(SkyfoldError, match="use sf.MGVI"):
        central(large, np.zeros((1, 2100)), np.zeros(1))
