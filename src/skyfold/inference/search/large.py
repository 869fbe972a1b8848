"""L-BFGS: maxima of posteriors with hundreds of dimensions and more, where no dense metric can be had at every step.

Optax's L-BFGS (Liu & Nocedal 1989, Math. Program. 45, 503) with a zoom line search climbs in latent coordinates that
are scaled by the diagonal of the Fisher metric, which a few random probes of the Jacobian estimate (Bekas, Kokiopoulou
& Saad 2007, Appl. Numer. Math. 57, 1214). Truncated Newton steps, by conjugate gradients with products of the Fisher
metric or the Hessian and a vector, finish: what the last one promises says how far the maximum still is. The bounds of
bounded priors are an active set, as in `skyfold.inference.maximum`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.inference.search.maxima import Modes
from skyfold.information import DENSE, LARGE, hessian_product, root, squared
from skyfold.kernel import Kernel
from skyfold.posterior import Posterior

__all__ = ["DENSE", "LARGE", "ascend", "dense_metric", "slopes"]


#: Most starts that are followed.
_STARTS = 4
#: Probes of the diagonal of the metric, steps between two of them, and steps that L-BFGS remembers.
_PROBES, _STEPS, _MEMORY = 24, 150, 20
#: Newton steps at the end and conjugate-gradient steps in each, with a prior and without: maxima of the likelihood of
#: more parameters than data are ridges without end.
_FINISH = {True: (100, 2000), False: (30, 400)}
#: Promised gain of a maximum.
_GAIN = 1e-7
#: Lengths of a step that are tried.
_LENGTHS = 2.0 ** np.arange(3.0, -11.0, -1.0)
#: Columns of the metric computed at once.
_COLUMNS = 16


def ascend(posterior: Posterior, starts: np.ndarray, *, with_prior: bool = True, max_steps: int = 2000) -> Modes:
    """Climb from the first of these starts and return the distinct maxima; the large-scale form of `scoring.climb`.

    Parameters
    ----------
    posterior : Posterior
    starts : (n, ndim) latent vectors, best first; of more than four distinct ones the first three and the middle of the
        prior are taken.
    with_prior : bool
        Maximise the posterior in latent coordinates, or the likelihood inside the prior's support.
    max_steps : int
        Most L-BFGS steps from each start.

    Returns
    -------
    Modes
        Its metric is dense up to 2,000 dimensions, and of shape (n, 0, 0) beyond.

    Raises
    ------
    SkyfoldError
        If the likelihood is not finite at any start.
    """
    low, high = posterior.latent_bounds()
    weight = 1.0 if with_prior else 0.0
    _, first = np.unique(starts, axis=0, return_index=True)
    chosen = starts[np.sort(first)]
    if len(chosen) > _STARTS:
        chosen = np.concatenate([chosen[: _STARTS - 1], np.zeros((1, posterior.ndim))])
    rounds = max(-(-max_steps // _STEPS), 1)
    found = []
    spent = 0
    for number, start in enumerate(chosen):
        z, cost = _climb_one(posterior, np.clip(start, low, high), low, high, weight, rounds, number)
        spent += cost
        if z is not None:
            found.append(z)
    if not found:
        raise SkyfoldError("No start of the optimiser has a finite likelihood; check the priors' ranges.")
    parts = [
        [np.asarray(a) for a in _finish(posterior.kernel, z, low, high, weight, *_FINISH[with_prior])] for z in found
    ]
    z, value, likelihood, gradient, decrement, steps = (np.stack([p[k] for p in parts]) for k in range(6))
    spent += int(steps.sum())
    kept, hits = _distinct(z, value, np.asarray(_scale(posterior.kernel, z[int(np.argmax(value))], 0)))
    metric = np.stack([dense_metric(posterior, z[k]) for k in kept])
    spent += 2 * metric.shape[1] * len(kept)
    stationary = decrement[kept] < 1e-6
    return Modes(z[kept], value[kept], likelihood[kept], gradient[kept], metric, stationary, spent, hits)


def dense_metric(posterior: Posterior, z: np.ndarray) -> np.ndarray:
    """Fisher metric (ndim, ndim) at z (ndim,), the prior's included; of shape (0, 0) beyond 2,000 dimensions."""
    if posterior.ndim > DENSE:
        return np.zeros((0, 0))
    return np.asarray(_metric(posterior.kernel, z)) + np.eye(posterior.ndim)


def slopes(posterior: Posterior, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood (corrections of inexact priors included) and its gradient at latent vectors (n, ndim)."""
    value, gradient = _slopes(posterior.kernel, z)
    return np.asarray(value), np.asarray(gradient)


def _climb_one(
    posterior: Posterior, z: np.ndarray, low: np.ndarray, high: np.ndarray, weight: float, rounds: int, number: int
) -> tuple[np.ndarray | None, int]:
    """Rounds of L-BFGS, the scales being taken anew before each; and the gradients that they cost."""
    spent = 0
    last = -np.inf
    for turn in range(rounds):
        scale = _scale(posterior.kernel, z, 1000 * number + turn)
        new, value, steps, slope = _descend(posterior.kernel, z, scale, low, high, weight)
        spent += _PROBES + 2 * int(steps)
        if not np.isfinite(float(value)):
            return (None, spent) if turn == 0 else (z, spent)
        z = np.asarray(new)
        if float(slope) ** 2 < _GAIN or float(value) - last < 1e-6 * max(1.0, abs(last) * 1e-6):
            break
        last = float(value)
    return z, spent


def _distinct(z: np.ndarray, value: np.ndarray, scale: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Distinct points, best first, and how many points are the same as each.

    Points are distinct that are further apart than a tenth of a standard deviation, or different in value.
    """
    kept: list[int] = []
    hits: list[int] = []
    for i in np.argsort(-value):
        near = [np.sum(((z[i] - z[k]) * scale) ** 2) < 0.1 * len(scale) and value[k] - value[i] < 0.1 for k in kept]
        if any(near):
            hits[near.index(True)] += 1
        elif np.isfinite(value[i]):
            kept.append(int(i))
            hits.append(1)
    return kept, np.array(hits)


# -- what is traced --------------------------------------------------------------------------------------------------


def _objective(kernel: Kernel, low: jax.Array, high: jax.Array, weight: float) -> Callable[[jax.Array], jax.Array]:
    def value(z: jax.Array) -> jax.Array:
        # past a bound nothing changes any more
        prior = -0.5 * jnp.sum(z**2) + kernel.correction(z)
        return kernel.log_likelihood(jnp.clip(z, low, high)) + jnp.where(weight > 0, prior, 0.0)

    return value


@jit
def _scale(kernel: Kernel, z: jax.Array, seed: int) -> jax.Array:
    """Square root of an estimate of the diagonal of the metric, the prior's included."""
    push = root(kernel, z)
    shapes, pull = jax.eval_shape(push, z), squared(push, z)[1]

    def probe(key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, len(shapes))
        return pull(tuple(jax.random.rademacher(k, s.shape, s.dtype) for k, s in zip(keys, shapes, strict=True))) ** 2

    diagonal = jnp.mean(jax.lax.map(probe, jax.random.split(jax.random.key(seed), _PROBES)), axis=0)
    return jnp.sqrt(jnp.where(jnp.isfinite(diagonal), diagonal, 0.0) + 1.0)


@jit
def _descend(
    kernel: Kernel, start: jax.Array, scale: jax.Array, low: jax.Array, high: jax.Array, weight: float
) -> tuple[Any, ...]:
    import optax

    value_at = _objective(kernel, low, high, weight)

    def loss(x: jax.Array) -> jax.Array:
        value = value_at(x / scale)
        return jnp.where(jnp.isfinite(value), -value, jnp.inf)

    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=25, initial_guess_strategy="one")
    optimiser = optax.lbfgs(memory_size=_MEMORY, linesearch=search)
    evaluate = optax.value_and_grad_from_state(loss)

    def advance(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        x, state, step, stalled, _, _ = carry
        value, gradient = evaluate(x, state=state)
        updates, state = optimiser.update(gradient, state, x, value=value, grad=gradient, value_fn=loss)
        new = optax.apply_updates(x, updates)
        good = jnp.all(jnp.isfinite(new))
        after = optax.tree.get(state, "value")
        stalled = jnp.where((value - after > 1e-9 * jnp.maximum(1.0, jnp.abs(value))) & good, 0, stalled + 1)
        slope = jnp.linalg.norm(optax.tree.get(state, "grad"))
        return jnp.where(good, new, x), state, step + 1, stalled, jnp.where(good, after, value), slope

    def unfinished(carry: tuple[Any, ...]) -> jax.Array:
        _, _, step, stalled, _, slope = carry
        return (step < _STEPS) & (stalled < 4) & (slope**2 > 0.01 * _GAIN)

    x = start * scale
    carry = (x, optimiser.init(x), 0, 0, loss(x), jnp.asarray(jnp.inf))
    x, _, step, _, value, slope = jax.lax.while_loop(unfinished, advance, carry)
    return jnp.clip(x / scale, low, high), -value, step, slope


@jit
def _finish(
    kernel: Kernel, start: jax.Array, low: jax.Array, high: jax.Array, weight: float, most: int, most_products: int
) -> tuple[Any, ...]:
    """Truncated Newton steps; z, value, log-likelihood, gradient, promised gain, evaluations.

    The Fisher metric leads from afar, the exact Hessian where it is positive definite, and where it is not, the
    direction in which it is found to bend upwards: whichever comes highest.
    """
    value_at = _objective(kernel, low, high, weight)

    def free(z: jax.Array, gradient: jax.Array) -> jax.Array:
        held = ((z <= low) & (gradient <= 0)) | ((z >= high) & (gradient >= 0))
        return jnp.where(held, 0.0, 1.0)

    def directions(z: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        mask = free(z, gradient)
        product = squared(root(kernel, z), z)[0]
        hessian = hessian_product(value_at, z)

        def fisher(v: jax.Array) -> jax.Array:
            return mask * (product(mask * v) + (weight + 1e-10) * v)

        scored, _, _, first = truncated(fisher, mask * gradient, most_products)
        if hessian is None:
            return jnp.stack([scored, 0.0 * scored, 0.0 * scored]), scored @ gradient, 2 * first

        def exact(v: jax.Array) -> jax.Array:
            return mask * (1e-10 * v - hessian(mask * v))

        newton, bending, bent, second = truncated(exact, mask * gradient, most_products)
        size = jnp.linalg.norm(scored) / jnp.maximum(jnp.linalg.norm(bending), 1e-300)
        bending = size * jnp.where(bending @ gradient < 0, -bending, bending)
        promised = jnp.where(bent, scored @ gradient, jnp.maximum(newton @ gradient, 0.0))
        return jnp.stack([scored, newton, bending]), promised, 2 * (first + second)

    def advance(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        z, value, gradient, ways, _, step, spent, _ = carry
        points = jnp.clip(z + _LENGTHS[:, None, None] * ways, low, high).reshape(-1, z.size)
        values = jax.lax.map(value_at, points)
        values = jnp.where(jnp.isfinite(values), values, -jnp.inf)
        best = jnp.argmax(values)
        up = values[best] > value
        new = jnp.where(up, points[best], z)
        value, gradient = jax.value_and_grad(value_at)(new)
        ways, promised, products = directions(new, gradient)
        return new, value, gradient, ways, promised, step + 1, spent + products + len(values) + 1, ~up & (step > 0)

    def unfinished(carry: tuple[Any, ...]) -> jax.Array:
        *_, promised, step, _, stuck = carry
        return (promised > _GAIN) & (step < most) & ~stuck

    value, gradient = jax.value_and_grad(value_at)(start)
    carry = (start, value, gradient, jnp.zeros((3, start.size)), jnp.inf, 0, 0, False)
    carry = jax.tree.map(jnp.asarray, carry)
    z, value, gradient, _, promised, _, spent, _ = jax.lax.while_loop(unfinished, advance, carry)
    return z, value, kernel.log_likelihood(z), gradient, promised, spent


def truncated(
    product: Callable[[jax.Array], jax.Array], b: jax.Array, most: int, tolerance: float = 1e-8
) -> tuple[jax.Array, ...]:
    """Conjugate gradients up to where the matrix is not positive (Steihaug 1983, SIAM J. Numer. Anal. 20, 626).

    Returns the solution so far, the last direction, whether the matrix is negative along it, and the products taken.
    """
    enough = tolerance**2 * (b @ b)

    def unfinished(state: Any) -> jax.Array:
        count, *_, square, bent = state
        return (count < most) & (square > enough) & ~bent

    def step(state: Any) -> Any:
        count, x, left, direction, square, _ = state
        image = product(direction)
        curvature = direction @ image
        bent = curvature <= 0.0
        along = jnp.where(bent, 0.0, square / jnp.where(bent, 1.0, curvature))
        x, left = x + along * direction, left - along * image
        new = jnp.where(bent, square, left @ left)
        turned = jnp.where(bent, direction, left + new / jnp.maximum(square, 1e-300) * direction)
        return count + 1, x, left, turned, new, bent

    carry = (jnp.asarray(0), jnp.zeros_like(b), b, b, b @ b, jnp.asarray(False))
    count, x, _, direction, _, bent = jax.lax.while_loop(unfinished, step, carry)
    return x, jnp.where(bent, direction, 0.0), bent, count


@jit
def _slopes(kernel: Kernel, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(jax.value_and_grad(lambda z: kernel.log_likelihood(z) + kernel.correction(z)))(z)


@jit
def _metric(kernel: Kernel, z: jax.Array) -> jax.Array:
    return jax.lax.map(squared(root(kernel, z), z)[0], jnp.eye(z.size), batch_size=_COLUMNS)
