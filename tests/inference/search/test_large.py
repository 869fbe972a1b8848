"""L-BFGS: the maxima of large problems, against linear algebra and Fisher scoring."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import pytest
from toys import Direct, Identity, direct, image, sky

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.component import Component
from skyfold.inference.search.large import ascend
from skyfold.inference.search.scoring import climb
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.poisson import Poisson
from skyfold.parameters import Value, parameter


def test_a_thousand_dimensions_of_a_gaussian_are_exact() -> None:
    rng = np.random.default_rng(1)
    n = 1000
    sigma = np.geomspace(1e-3, 10.0, n)
    data = rng.standard_normal(n)
    posterior = direct(data, sigma, sf.Normal(np.zeros(n), 1.0))
    modes = ascend(posterior, rng.standard_normal((2, n)))
    assert len(modes.z) == 1 and modes.converged[0]
    exact = data / (1 + sigma**2)
    np.testing.assert_allclose((modes.z[0] - exact) * np.sqrt(1 + 1 / sigma**2), 0.0, atol=1e-3)
    np.testing.assert_allclose(np.diagonal(modes.metric[0]), 1 + 1 / sigma**2, rtol=1e-9)
    best = ascend(posterior, modes.z, with_prior=False)
    np.testing.assert_allclose((best.z[0] - data) / sigma, 0.0, atol=1e-2)
    assert best.converged[0]


class Mixed(Identity):
    """A matrix times the parameters."""

    name: ClassVar[str] = "mixed"
    matrix: np.ndarray = None

    def evaluate(self, grid):
        return jnp.asarray(self.matrix) @ self.x


def test_correlated_dimensions() -> None:
    rng = np.random.default_rng(2)
    n = 300
    matrix = np.cumsum(rng.standard_normal((n, n)), axis=0) / np.sqrt(n)
    data = rng.standard_normal(n)
    posterior = sf.Posterior(
        (Mixed(x=sf.Normal(np.zeros(n), 1.0), matrix=matrix), Direct(Gaussian(data, np.full(n, 0.1)), Annotation("m")))
    )
    modes = ascend(posterior, np.zeros((1, n)))
    exact = np.linalg.solve(matrix.T @ matrix + 0.01 * np.eye(n), matrix.T @ data)
    assert modes.converged[0]
    np.testing.assert_allclose(modes.metric[0], 100 * matrix.T @ matrix + np.eye(n), rtol=1e-8, atol=1e-8)
    difference = modes.z[0] - exact
    assert difference @ modes.metric[0] @ difference < 1e-5


class Field(Component):
    """Logarithm of the brightness: a smooth random field."""

    name: ClassVar[str] = "field"
    root: np.ndarray
    z: Value = parameter()

    def evaluate(self, grid):
        return 20.0 * jnp.exp(jnp.asarray(self.root) @ self.z)


def field(n: int = 500) -> tuple[sf.Posterior, np.ndarray]:
    rng = np.random.default_rng(3)
    x = np.arange(n) / 20.0
    covariance = 0.5 * np.exp(-0.5 * (x[:, None] - x) ** 2) + 1e-3 * np.eye(n)
    root = np.linalg.cholesky(covariance)
    truth = rng.standard_normal(n)
    counts = rng.poisson(20.0 * np.exp(root @ truth))
    model = Field(root=root, z=sf.Normal(np.zeros(n), 1.0))
    return sf.Posterior((model, Direct(Poisson(counts), Annotation("counts")))), root


def test_a_poisson_field() -> None:
    posterior, _ = field()
    modes = ascend(posterior, np.random.default_rng(0).standard_normal((6, 500)))
    assert len(modes.z) == 1 and modes.converged[0]
    gradient = np.asarray(posterior.kernel.linearised(modes.z[0])[1]) - modes.z[0]
    step = np.linalg.solve(modes.metric[0], gradient)
    assert step @ gradient < 1e-6
    # Fisher scoring with dense metrics comes to the same point
    dense = climb(posterior, modes.z + 0.01)
    assert modes.value[0] == pytest.approx(dense.value[0], abs=1e-5)
    np.testing.assert_allclose(modes.z[0], dense.z[0], atol=1e-3)


def test_bounds_are_reached() -> None:
    n = 250
    data = np.where(np.arange(n) % 2, -0.3, 0.4)
    posterior = direct(data, np.full(n, 0.1), sf.Uniform(np.zeros(n), 1.0))
    best = ascend(posterior, np.zeros((1, n)), with_prior=False)
    x = np.asarray(posterior.values(best.z[0])["vector.x"])
    np.testing.assert_allclose(x, np.maximum(data, 0.0), atol=1e-4)
    assert best.converged[0]


def test_the_same_as_fisher_scoring_on_a_small_problem() -> None:
    posterior = sf.Posterior((sky(), image()))
    for with_prior in (True, False):
        one = ascend(posterior, np.zeros((1, 2)), with_prior=with_prior)
        two = climb(posterior, np.zeros((1, 2)), with_prior=with_prior)
        assert one.converged[0]
        assert one.value[0] == pytest.approx(two.value[0], abs=1e-7)
        np.testing.assert_allclose(one.z[0], two.z[0], atol=1e-5)
        np.testing.assert_allclose(one.metric[0], two.metric[0], rtol=1e-4)


def test_nothing_finite_is_an_error() -> None:
    class Broken(Identity):
        def evaluate(self, grid):
            return Identity.evaluate(self, grid) * np.nan

    posterior = sf.Posterior((Broken(x=sf.Normal(0.0, 1.0)), Direct(Poisson([4.0]), Annotation("d"))))
    with pytest.raises(sf.SkyfoldError, match="finite"):
        ascend(posterior, np.zeros((1, 1)))
