"""Derivatives of every component: against differences, at random points and at the edges of the priors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skyfold.parameters import Prior
from skyfold.xray.models import COMPONENTS, PowerLaw, component_parameters

EDGES = np.geomspace(0.3, 12.0, 151)
ABSORPTION = {"tbabs", "ztbabs", "phabs", "wabs"}  # tested beside their cross-sections
NAMES = [name for name in COMPONENTS if name not in ABSORPTION]


@cache
def _functions(name: str) -> tuple[Callable, Callable, Callable]:
    """Component as a function of (parameters, edges), and its Jacobian in forward and in reverse mode."""
    cls = COMPONENTS[name]

    def f(p: jax.Array, edges: jax.Array) -> jax.Array:
        return cls(*p).evaluate(edges)

    return jax.jit(f), jax.jit(jax.jacfwd(f)), jax.jit(jax.jacrev(f))


def _draws(name: str, n: int) -> np.ndarray:
    rng = np.random.default_rng(sum(name.encode()))
    columns = []
    for p in component_parameters(COMPONENTS[name]):
        free = isinstance(p.default, Prior)
        columns.append(np.asarray(p.default.transport(rng.normal(size=n))) if free else np.full(n, p.default))
    return np.stack(columns, axis=1)


def _differences(f: Callable, p: np.ndarray, steps: np.ndarray, order: int) -> np.ndarray:
    columns = []
    for i, h in enumerate(steps):
        up = p + h * np.eye(p.size)[i]
        if order == 1:
            columns.append((np.asarray(f(up, EDGES)) - np.asarray(f(p, EDGES))) / h)
        else:
            down = p - h * np.eye(p.size)[i]
            columns.append((np.asarray(f(up, EDGES)) - np.asarray(f(down, EDGES))) / (2 * h))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_match_differences_over_the_prior(name: str) -> None:
    f, forward, reverse = _functions(name)
    for p in _draws(name, 20):
        jacobian = np.asarray(forward(p, EDGES))
        steps = 1e-6 * np.maximum(np.abs(p), 1e-3)
        expected = _differences(f, p, steps, order=2)
        # a difference carries the rounding of the largest value over its step, and that of its own second order
        noise = 1e-13 * np.abs(np.asarray(f(p, EDGES))).max() / steps
        scale = np.abs(expected).max(axis=0)
        assert np.all(np.abs(jacobian - expected) <= 2e-5 * scale + noise), p
        np.testing.assert_allclose(np.asarray(reverse(p, EDGES)), jacobian, rtol=1e-10, atol=1e-300)


_EDGE = float(EDGES[70])
_INSIDE = float(0.5 * (EDGES[70] + EDGES[71]))
LIMITS = [
    ("powerlaw", (1.0, 1.0)),
    ("powerlaw", (1.0 + 1e-12, 1.0)),
    ("powerlaw", (-3.0, 1.0)),
    ("powerlaw", (10.0, 1.0)),
    ("cutoffpl", (1.0, 500.0, 1.0)),
    ("cutoffpl", (1.0, 0.01, 1.0)),
    ("bknpower", (1.0, _EDGE, 1.0, 1.0)),
    ("bknpower", (1.0, _EDGE, 2.5, 1.0)),
    ("bknpower", (1.0, 100.0, 2.5, 1.0)),
    ("bknpower", (1.0, 0.01, 2.5, 1.0)),
    ("logpar", (1.0, 0.0, 1.0, 1.0)),
    ("bbody", (1e-3, 1.0)),
    ("bbody", (200.0, 1.0)),
    ("bbodyrad", (1e-3, 1.0)),
    ("bbodyrad", (200.0, 1.0)),
    ("diskbb", (1e-3, 1.0)),
    ("diskbb", (1000.0, 1.0)),
    ("bremss", (1e-3, 1.0)),
    ("bremss", (200.0, 1.0)),
    ("gaussian", (_INSIDE, 0.0, 1.0)),
    ("gaussian", (_INSIDE, 1e-7, 1.0)),
    ("gaussian", (_INSIDE, 1e-3, 1.0)),
    ("gaussian", (_EDGE, 1e-3, 1.0)),
    ("gaussian", (_EDGE, 0.3, 1.0)),
    ("gaussian", (_EDGE, 0.0, 1.0)),
    ("zgauss", (_INSIDE, 0.0, 0.0, 1.0)),
    ("zgauss", (_EDGE, 0.3, 0.0, 1.0)),
    ("edge", (_EDGE, 1.0)),
    ("edge", (_INSIDE, 0.0)),
    ("edge", (50.0, 1.0)),
    ("edge", (0.1, 1.0)),
    ("highecut", (_EDGE, 15.0)),
    ("highecut", (100.0, 15.0)),
    ("highecut", (0.01, 1e-3)),
]
#: Where no derivative exists: a line without width on an edge of a bin.
JUMPS = {("gaussian", (_EDGE, 0.0, 1.0))}


@pytest.mark.parametrize(("name", "values"), LIMITS)
def test_derivatives_at_limits(name: str, values: tuple[float, ...]) -> None:
    (f, forward, reverse), p = _functions(name), np.array(values)
    jacobian = np.asarray(forward(p, EDGES))
    assert np.all(np.isfinite(np.asarray(f(p, EDGES))))
    assert np.all(np.isfinite(jacobian))
    assert np.all(np.isfinite(np.asarray(reverse(p, EDGES))))
    if (name, values) in JUMPS:
        return
    steps = 1e-7 * np.maximum(np.abs(p), 1e-3)
    expected = _differences(f, p, steps, order=1)
    noise = 1e-13 * np.abs(np.asarray(f(p, EDGES))).max() / steps
    scale = np.abs(expected).max(axis=0)
    assert np.all(np.abs(jacobian - expected) <= 1e-4 * scale + noise)


def test_energies_may_depend_on_parameters_too() -> None:
    def counts(gain: jax.Array) -> jax.Array:
        return PowerLaw(1.7, 1.0).evaluate(gain * EDGES)[40]

    h = 1e-6
    difference = (counts(jnp.asarray(1.0 + h)) - counts(jnp.asarray(1.0 - h))) / (2 * h)
    assert jax.grad(counts)(1.0) == pytest.approx(float(difference), rel=1e-8)
    assert jax.jit(jax.grad(counts))(1.0) == pytest.approx(float(difference), rel=1e-8)


@pytest.mark.parametrize("name", ["powerlaw", "bremss", "gaussian"])
def test_second_derivatives(name: str) -> None:
    f, p = _functions(name)[0], _draws(name, 1)[0]

    def total(p: jax.Array) -> jax.Array:
        return jnp.sum(jnp.log(1e-3 + f(p, EDGES)))

    hessian, gradient = jax.hessian(total)(p), jax.grad(total)
    for i, h in enumerate(1e-5 * np.abs(p)):
        step = h * np.eye(p.size)[i]
        np.testing.assert_allclose(
            hessian[i], (gradient(p + step) - gradient(p - step)) / (2 * h), rtol=2e-3, atol=1e-6
        )
