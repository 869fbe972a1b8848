"""Conjugate gradients: a normal with the metric as its precision, moved to where its divergence is least, matrix-free.

Samples are got as Knollmueller & Ensslin (2019, arXiv:1901.11033) do: white noise of data and prior is pulled back to a
vector whose covariance is the metric, and conjugate gradients apply the inverse. Only products of the metric with
vectors are needed, so that thousands of latent dimensions are no matter.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.inference.frames.flat_coordinates import lifted
from skyfold.inference.search.large import truncated
from skyfold.information import mean_product, root, squared, whitened
from skyfold.kernel import Kernel
from skyfold.posterior import Posterior

#: Relative residual at which conjugate gradients end, and most of their steps.
_TOLERANCE, _ITERATIONS = 1e-5, 500
#: Steps by which geoVI's samples are solved for.
_CHORDS = 12
#: Draws per call of the executables, at most.
BATCH = 64


def offsets(
    posterior: Posterior, mean: np.ndarray, pairs: int, rng: np.random.Generator, *, bent: bool = False
) -> tuple[np.ndarray, np.ndarray, int]:
    """Antithetic offsets (2 pairs, ndim) from the mean, residuals of their equations (2 pairs,), and what it took.

    A product with the metric counts as two evaluations with a derivative: one forward, one backward. ``bent`` samples
    are geoVI's.
    """
    shapes = [a.shape for a in jax.eval_shape(_vectors, posterior.kernel, mean)]
    found, missed, cost, batch = [], [], 0, min(pairs, BATCH)
    for _ in range(0, pairs, batch):
        data = tuple(rng.standard_normal((batch, *shape)) for shape in shapes)
        prior = rng.standard_normal((batch, len(mean)))
        offset, miss, products = drawn(posterior.kernel, mean, data, prior, bent=bent)
        cost += 2 * int(products)
        found.append(np.asarray(offset))
        missed.append(np.asarray(miss))
    both, miss = np.concatenate(found, axis=1)[:, :pairs], np.concatenate(missed, axis=1)[:, :pairs]
    return both.reshape(-1, len(mean)), miss.ravel(), cost


def descend(
    posterior: Posterior, mean: np.ndarray, offset: np.ndarray, most: int, tolerance: float
) -> tuple[np.ndarray, int]:
    """Newton steps of the mean (ndim,), samples at fixed offsets (n, ndim), and what they cost.

    They end after `most`, or where the next would move the mean by less than a tenth of `tolerance` sds.
    """
    kernel = posterior.kernel
    cost = 0
    for _ in range(most):
        value, gradient, change, products = (np.asarray(a) for a in newton(kernel, mean + offset))
        cost += len(offset) * (1 + 2 * int(products))
        promise, size = float(gradient @ change), 1.0
        if promise < 1e-2 * tolerance**2 * len(mean):
            break
        while not divergence(kernel, mean + size * change + offset)[0] > value + 1e-4 * size * promise:
            size *= 0.3
            cost += len(offset)
            if size < 1e-3:
                return mean, cost
        mean = mean + size * change
    return mean, cost


# -- compiled ----------------------------------------------------------------------------------------------------------


#: Compiled nowhere: what is traced once is not traced again for its shapes.
_vectors = jax.jit(whitened)


def _metric_at(kernel: Kernel, centre: jax.Array) -> tuple[Any, Any, Any]:
    """Product with the metric at a point, its root without the prior, and the transpose of that."""
    push = root(kernel, centre)
    product, pull = squared(push, centre)
    return lambda v: v + product(v), push, pull


def _inverse(product: Any, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Inverse of the metric times v (ndim,) by conjugate gradients, and how many products that took."""
    x, _, _, count = truncated(product, v, _ITERATIONS, _TOLERANCE)
    return x, count


@jit
def applied(kernel: Kernel, centre: jax.Array, v: jax.Array) -> jax.Array:
    """Metric at a centre times a vector (ndim,)."""
    return _metric_at(kernel, centre)[0](v)


@jit
def lengths(kernel: Kernel, centre: jax.Array, v: jax.Array) -> jax.Array:
    """Squared lengths (n,) of vectors (n, ndim) by the metric at a centre."""
    product = _metric_at(kernel, centre)[0]
    return jnp.sum(v * jax.vmap(product)(v), axis=1)


@jit
def divergence(kernel: Kernel, points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean log density over points (n, ndim), and its gradient at each."""
    value, gradient = jax.vmap(jax.value_and_grad(kernel.log_density))(points)
    return jnp.mean(value), gradient


@jit
def newton(kernel: Kernel, points: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Mean log density over points (n, ndim), its gradient, the Newton step by the mean metric, and its products."""
    value, gradient = jax.vmap(jax.value_and_grad(kernel.log_density))(points)
    mean = jnp.mean(gradient, axis=0)
    product = mean_product(kernel, points)
    return jnp.mean(value), mean, *_inverse(lambda v: v + product(v), mean)


@partial(jit, static_argnames="bent")
def drawn(
    kernel: Kernel, mean: jax.Array, data: tuple[jax.Array, ...], prior: jax.Array, *, bent: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Offsets (2, n, ndim) of samples and their mirror images from white noise, residuals in sds (2, n), products."""
    product, push, pull = _metric_at(kernel, mean)

    def image(z: jax.Array) -> jax.Array:
        return z - mean + pull(lifted(kernel, mean, push, z))

    def one(data: tuple[jax.Array, ...], prior: jax.Array, sign: float) -> tuple[jax.Array, jax.Array, jax.Array]:
        vector = sign * (prior + pull(data))
        offset, products = _inverse(product, vector)
        if not bent:
            left = vector - product(offset)
            return offset, jnp.sqrt(jnp.mean(left * left)), products + 1

        def chord(_: int, state: Any) -> Any:
            z, products = state
            change, more = _inverse(product, image(z) - vector)
            return z - change, products + more + 1

        z, products = jax.lax.fori_loop(0, _CHORDS, chord, (mean + offset, products))
        left = image(z) - vector
        inverse, more = _inverse(product, left)
        return z - mean, jnp.sqrt(jnp.maximum(left @ inverse, 0.0) / left.size), products + more + 1

    both = [jax.vmap(partial(one, sign=sign))(data, prior) for sign in (1.0, -1.0)]
    return jnp.stack([b[0] for b in both]), jnp.stack([b[1] for b in both]), jnp.sum(jnp.stack([b[2] for b in both]))
