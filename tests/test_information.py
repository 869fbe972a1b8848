"""The information: its root, its products and its matrix agree with one another and with each observation's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from toys import Direct, Greybody, Identity, image, photometry, sky

import skyfold as sf
from skyfold import galaxy
from skyfold.compiled.annotation import Annotation
from skyfold.component import Component
from skyfold.inference.search.large import dense_metric
from skyfold.information import hessian_product, mean_product, root, rows, squared
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.limits import Limited
from skyfold.observation import Observation
from skyfold.parameters import Value, parameter


class Noisy(Observation):
    """Normal data whose noise has a free floor."""

    floor: Value = parameter(sf.LogUniform(0.01, 1.0))

    def predict(self, model: Component) -> jax.Array:
        return model.evaluate(None)

    def _sigma(self) -> jax.Array:
        return jnp.hypot(jnp.asarray(self.likelihood.sigma), self.floor)

    def pointwise(self, expected: jax.Array) -> jax.Array:
        return -0.5 * ((self.likelihood.data - expected) / self._sigma()) ** 2 - jnp.log(self._sigma())

    def fisher(self, expected: jax.Array) -> jax.Array:
        return self._sigma() ** -2.0


def marginal(prior: Any, n: int = 6) -> sf.Posterior:
    data = 5.0 + np.random.default_rng(0).standard_normal(n)
    direct = Direct(Gaussian(data, np.full(n, 0.5)), Annotation("d"))
    return sf.Posterior((Identity(x=sf.Normal(np.full(n, 1.0), 0.2)), galaxy.MassMarginal(direct, prior=prior)))


def compound() -> sf.Posterior:
    from skyfold import gammaray as g

    counts = np.random.default_rng(0).poisson(2.0, 12 * 8**2).astype(float)
    one = np.ones(1)
    seen = g.CountsMap.read(counts).within(g.Disc(40)).with_point_sources(one, one, s_range=(0.1, 100.0))
    shape = g.Isotropic(name="shape", exposure=False)
    sources = g.PointSources(shape, sf.Uniform(0.01, 1), 4.0, 1.5, -2.0, 10.0, 0.5, s_range=(0.1, 100.0), name="ps")
    return sf.Posterior((g.Isotropic(sf.LogUniform(0.1, 10), exposure=False) + sources, seen))


def spectrum() -> sf.Posterior:
    ssp = galaxy.synthetic_ssp()
    model = galaxy.Galaxy(ssp, galaxy.DelayedTau(log_mass=0.0), dust=galaxy.Calzetti(), redshift=0.1)
    wave = np.linspace(4500, 7000, 60)

    def seen(flux: np.ndarray) -> sf.Posterior:
        line = {"lines": [5007.0], "line_sd": float(np.max(flux))}
        return sf.Posterior((model, galaxy.Spectroscopy(wave, flux, 0.1 * flux, 2000.0, calibration=2, **line)))

    # data of the model's own size: what the calibration takes up is not all that the model says
    (flux,) = seen(np.full(60, 1e-6)).expected(np.zeros(5)).values()
    return seen(np.asarray(flux))


def program() -> sf.Posterior:
    x = np.linspace(-1, 1, 12)

    def model(y: Any, n: Any) -> None:
        slope = numpyro.sample("slope", dist.Normal(0, 1))
        scatter = numpyro.sample("scatter", dist.HalfNormal(1.0))
        numpyro.sample("y", dist.Normal(slope * x, scatter), obs=y)
        numpyro.sample("known", dist.Normal(slope * x, 0.3), obs=y)
        numpyro.sample("n", dist.Poisson(jnp.exp(1.0 + slope * x)), obs=n)

    return sf.Posterior.from_numpyro(model, 0.5 * x, np.arange(12) % 5)


KINDS: dict[str, Callable[[], sf.Posterior]] = {
    "poisson": lambda: sf.Posterior((sky(), image())),
    "gaussian with an own offset": lambda: sf.Posterior((Greybody(), photometry(offset=sf.Normal(0, 0.1)))),
    "noise with a free floor": lambda: sf.Posterior(
        (Identity(x=sf.Normal(0, 2)), Noisy(Gaussian(np.arange(6.0) / 3, np.full(6, 0.1)), Annotation("noisy")))
    ),
    "limits": lambda: sf.Posterior(
        (
            Identity(x=sf.Normal(np.zeros(4), 1.0)),
            Direct(Limited(np.ones(4), [0.5, 0.4, np.inf, 0.3], [0, 1, 0, 1]), Annotation("limits")),
        )
    ),
    "marginal": lambda: marginal(sf.LogUniform(0.1, 100.0)),
    "marginal, known mass": lambda: marginal(sf.Normal(5.0, 0.5)),
    "compound": compound,
    "spectrum": spectrum,
    "numpyro": program,
}


@pytest.mark.parametrize("kind", KINDS)
def test_matrix_products_and_observations_agree(kind: str) -> None:
    posterior = KINDS[kind]()
    kernel, n = posterior.kernel, posterior.ndim
    z = jnp.asarray(0.3 * np.random.default_rng(1).standard_normal(n))

    @jax.jit
    def all_routes(kernel: Any, z: jax.Array) -> Any:
        expected, jacobian = kernel.expected(z), jax.vmap(lambda t: jax.jvp(kernel.expected, (z,), (t,))[1])(jnp.eye(n))
        seen = kernel.observations(z)
        own = [o.information(m, j) for o, m, j in zip(seen, expected, jacobian, strict=True)]
        white = [jax.vmap(o.whitening(m))(j) for o, m, j in zip(seen, expected, jacobian, strict=True)]
        product = jax.vmap(squared(root(kernel, z), z)[0])(jnp.eye(n))
        mean = mean_product(kernel, jnp.stack([z, z]))
        return own, white, kernel.linearised(z), product, jax.vmap(mean)(jnp.eye(n)), rows(kernel, z)

    own, white, (value, gradient, matrix), product, mean, pieces = all_routes(kernel, z)
    tolerance = {"rtol": 1e-8, "atol": 1e-9 * float(np.abs(matrix).max())}
    for information, row in zip(own, white, strict=True):
        np.testing.assert_allclose(row @ row.T, information, **tolerance)
    np.testing.assert_allclose(product, matrix, **tolerance)
    np.testing.assert_allclose(mean, matrix, **tolerance)
    np.testing.assert_allclose(sum(np.asarray(r) @ np.asarray(r).T for r in pieces), matrix, **tolerance)
    np.testing.assert_allclose(dense_metric(posterior, z) - np.eye(n), matrix, **tolerance)
    beside = matrix - sum(own)
    assert np.linalg.eigvalsh(beside).min() > -1e-8 * np.abs(matrix).max()
    if kind not in ("noise with a free floor", "numpyro"):
        np.testing.assert_allclose(beside, 0.0, atol=tolerance["atol"])
    assert float(value) == pytest.approx(float(posterior.log_likelihood(z)), rel=1e-10)
    np.testing.assert_allclose(gradient, jax.grad(kernel.log_likelihood)(z), rtol=1e-7, atol=1e-7)


def test_a_marginalised_mass_is_unknown_in_many_dimensions_too() -> None:
    posterior = marginal(sf.LogUniform(0.1, 100.0), 210)
    z = 0.1 * np.random.default_rng(0).standard_normal(210)
    large, small = dense_metric(posterior, z), np.asarray(posterior.metric(z))
    np.testing.assert_allclose(large, small, rtol=1e-9, atol=1e-9)
    # along the model's own scale only the prior knows
    assert np.linalg.eigvalsh(large)[0] == pytest.approx(1.0, abs=1e-6)


def test_hessian_products_where_second_derivatives_exist_and_where_not() -> None:
    @jax.custom_batching.custom_vmap
    def squares(x: jax.Array) -> jax.Array:
        return x**2

    squares.def_vmap(lambda size, batched, x: (x**2, batched[0]))

    @jax.custom_jvp
    def opaque(x: jax.Array) -> jax.Array:
        return jnp.sum(x**3)

    opaque.defjvp(lambda primals, tangents: (opaque(*primals), 3.0 * squares(primals[0]) @ tangents[0]))

    z, v = jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0])
    product = hessian_product(lambda x: jnp.sum(x**3), z)
    assert product is not None
    np.testing.assert_allclose(product(v), 6.0 * z * v)
    assert hessian_product(opaque, z) is None

    @jax.custom_vjp
    def square(x: jax.Array) -> jax.Array:
        return x**2

    square.defvjp(lambda x: (square(x), x), lambda x, g: (2.0 * g * x,))

    @jax.custom_vjp
    def cube(x: jax.Array) -> jax.Array:
        return jnp.sum(x**3)

    # the way back has a rule for reverse mode only
    cube.defvjp(lambda x: (cube(x), x), lambda x, g: (3.0 * g * square(x),))
    assert hessian_product(cube, z) is None
