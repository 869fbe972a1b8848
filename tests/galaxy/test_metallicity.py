"""Metallicity: how populations are shared among the nodes of a grid."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skyfold.galaxy.metallicity import ConstantMetallicity, EvolvingMetallicity, LogNormalMetallicity

NODES = np.array([-1.2, -0.5, -0.2, 0.0, 0.3])
FORMED = np.linspace(0.0, 1.0, 6)


@pytest.mark.parametrize("value", [-3.0, -1.2, -0.3, 0.0, 0.1, 2.0])
def test_a_constant_metallicity_is_interpolated(value):
    w = np.asarray(ConstantMetallicity(value).weights(jnp.asarray(NODES), FORMED))[:, 0]
    np.testing.assert_allclose(w.sum(), 1.0)
    np.testing.assert_allclose(w @ NODES, np.clip(value, -1.2, 0.3))
    assert np.count_nonzero(w > 1e-12) <= 2


def test_scatter_is_integrated_exactly():
    w = np.asarray(LogNormalMetallicity(-0.25, 0.2).weights(jnp.asarray(NODES), FORMED))[:, 0]
    x = np.random.default_rng(0).normal(-0.25, 0.2, 400_000)
    hats = np.array([np.interp(x, NODES, row).mean() for row in np.eye(5)])
    np.testing.assert_allclose(w, hats, atol=2e-3)
    np.testing.assert_allclose(w.sum(), 1.0)
    narrow = np.asarray(LogNormalMetallicity(-0.25, 1e-4).weights(jnp.asarray(NODES), FORMED))
    np.testing.assert_allclose(narrow, ConstantMetallicity(-0.25).weights(jnp.asarray(NODES), FORMED), atol=1e-9)


def test_metals_build_up():
    w = np.asarray(EvolvingMetallicity(-1.0, 0.2).weights(jnp.asarray(NODES), jnp.asarray(FORMED)))
    assert w.shape == (5, 6)
    expected = np.log10(0.1 + (10**0.2 - 0.1) * FORMED)
    np.testing.assert_allclose(NODES @ w, expected)


def test_gradients_are_finite():
    for cls, p in (
        (ConstantMetallicity, (-1.2,)),
        (LogNormalMetallicity, (-5.0, 0.05)),
        (EvolvingMetallicity, (-2.0, 0.2)),
    ):

        def value(q, cls=cls):
            return jnp.sum(cls(*q).weights(jnp.asarray(NODES), jnp.asarray(FORMED)) * jnp.arange(5.0)[:, None])

        assert np.all(np.isfinite(np.asarray(jax.grad(value)(jnp.array(p)))))
