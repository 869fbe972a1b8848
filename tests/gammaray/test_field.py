"""Gaussian-process factor on the sphere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skyfold.errors import SkyfoldError
from skyfold.gammaray.field import GaussianField
from skyfold.gammaray.pixels import Pixels
from skyfold.parameters import substitute

pytest.importorskip("astropy_healpix")

NSIDE = 32


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    whole = Pixels.of(NSIDE, np.arange(12 * NSIDE**2))
    return whole.take(whole.direction[0] > np.cos(np.radians(25.0)))


def resolved(field: GaussianField, xi: np.ndarray, amplitude: float, length: float) -> GaussianField:
    values = iter([xi, amplitude, length])
    return substitute(field, lambda _: next(values))


def test_correlation_is_materns(pixels: Pixels) -> None:
    field = GaussianField.on(pixels, 8)
    n = field.nodes.shape[0]
    length = 20.0
    draws = jax.vmap(lambda xi: jnp.log(resolved(field, xi, 1.0, length).evaluate(pixels)))(jnp.eye(n))
    covariance = np.asarray(draws.T @ draws)
    index = np.linspace(0, pixels.n_pix - 1, 40).astype(int)
    n1 = pixels.direction.T[index]
    x = np.sqrt(5) * np.linalg.norm(n1[:, None] - n1[None], axis=-1) / np.radians(length)
    exact = (1 + x + x**2 / 3) * np.exp(-x)
    # bilinear interpolation between pixels of 7 degrees lowers the variance between them by up to some 10%
    assert np.abs(covariance[np.ix_(index, index)] - exact).max() < 0.12


def test_finer_nodes_come_closer(pixels: Pixels) -> None:
    error = {}
    for nside in (8, 16):
        field = GaussianField.on(pixels, nside)
        draws = jax.vmap(lambda xi, f=field: jnp.log(resolved(f, xi, 1.0, 20.0).evaluate(pixels)))(
            jnp.eye(field.nodes.shape[0])
        )
        error[nside] = np.abs(np.sum(np.asarray(draws) ** 2, axis=0) - 1.0).max()
    assert error[16] < 0.4 * error[8]


def test_gradient(pixels: Pixels) -> None:
    field = GaussianField.on(pixels, 8)
    rng = np.random.default_rng(1)
    xi, weights = rng.standard_normal(field.nodes.shape[0]), rng.standard_normal(pixels.n_pix)

    @jax.jit
    def total(length: float, amplitude: float) -> jax.Array:
        return jnp.sum(weights * resolved(field, xi, amplitude, length).evaluate(pixels))

    for length in (7.4, 20.0, 59.0):
        slope = [float(s) for s in jax.grad(total, (0, 1))(length, 0.3)]
        step = 1e-4
        longer = float(total(length + step, 0.3) - total(length - step, 0.3)) / (2 * step)
        stronger = float(total(length, 0.3 + step) - total(length, 0.3 - step)) / (2 * step)
        assert slope == pytest.approx([longer, stronger], rel=1e-5)


def test_other_region_is_refused(pixels: Pixels) -> None:
    field = GaussianField.on(pixels, 8)
    with pytest.raises(SkyfoldError, match="region that is fitted"):
        resolved(field, np.zeros(field.nodes.shape[0]), 0.1, 20.0).evaluate(pixels.take(np.arange(5)))
    with pytest.raises(SkyfoldError, match="finer than the map"):
        GaussianField.on(pixels, 64)
