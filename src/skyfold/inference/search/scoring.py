"""Damped Fisher scoring from many starts at once.

The metric, J' M J (+ 1 with the prior), is that of the latent space, so it costs one forward Jacobian and no second
derivative. A bounded search takes the bounds as an active set.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.inference.search.maxima import Modes, distinct
from skyfold.kernel import Kernel
from skyfold.posterior import Posterior

#: Starts climbed from at a time where only maxima are wanted: a few, for those that have arrived wait for the others.
LANES = 4
#: Longest step, in units of the prior's standard deviation, that a coordinate takes at once.
_MAX_STEP = 2.0
#: A start that lies this far (in log density) below the best after so many steps is not waited for.
_HOPELESS, PATIENCE = 25.0, 25
#: Steps in a row that promise no gain, after which a start has arrived that does not wait for others: at the edge of a
#: plateau one is not enough.
CALM = 3
#: Damping at which a start is given up as converged: no step of any useful length goes up.
_MAX_DAMPING = 1e9


def climb(
    posterior: Posterior,
    starts: np.ndarray,
    *,
    with_prior: bool = True,
    max_steps: int = 200,
    patience: int = PATIENCE,
    lanes: int | None = None,
    size: int | None = None,
    calm: int = 1,
) -> Modes:
    """Climb from every start (n, ndim) and return the distinct maxima.

    `patience` is the number of steps after which starts far below the best are no longer waited for. For
    `lanes`, `size` and `calm` see `climb_between`.
    """
    from skyfold.inference.search import large

    if posterior.ndim > large.LARGE:
        return large.ascend(posterior, starts, with_prior=with_prior)
    bounds = posterior.latent_bounds()
    found = climb_between(
        posterior,
        starts,
        *bounds,
        with_prior=with_prior,
        max_steps=max_steps,
        patience=patience,
        lanes=lanes,
        size=size,
        calm=calm,
    )
    finite = np.isfinite(found.value)
    if not finite.any():
        raise SkyfoldError("No start of the optimiser has a finite likelihood; check the priors' ranges.")
    return distinct(found, np.flatnonzero(finite))


def climb_between(
    posterior: Posterior,
    starts: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    *,
    with_prior: bool | np.ndarray = True,
    max_steps: int = 200,
    patience: int = PATIENCE,
    lanes: int | None = None,
    size: int | None = None,
    calm: int = 1,
) -> Modes:
    """Where each of the starts (n, ndim) ends inside latent bounds, for all (ndim,) or for each (n, ndim).

    Bounds that coincide hold a coordinate. `with_prior` is for all or for each; the metric always holds the prior's.
    `lanes` starts are climbed from at a time, all if None, and a start that has arrived makes room for the next; `size`
    is the number of starts that an executable is compiled for (None: as many as there are), and `calm` the number of
    steps in a row that promise nothing, after which a start has arrived.
    """
    n, ndim = starts.shape
    weight = np.broadcast_to(np.where(with_prior, 1.0, 0.0), n)
    low, high = np.broadcast_to(low, starts.shape), np.broadcast_to(high, starts.shape)
    rows = np.arange(size or n) % n
    result = climb_batch(
        posterior.kernel, starts[rows], low[rows], high[rows], weight[rows], max_steps, patience, n, calm, lanes=lanes
    )
    *arrays, steps = (np.asarray(a) for a in result)
    z, value, likelihood, gradient, metric, decrement = (a[:n] for a in arrays)
    full = metric + (1.0 - weight)[:, None, None] * np.eye(ndim)
    cost = int(steps) * (lanes or len(rows)) * (ndim + 1)
    return Modes(z, value, likelihood, gradient, full, decrement < 1e-6, cost, np.ones(len(z), dtype=int))


def refine(posterior: Posterior, modes: Modes, size: int, **how: Any) -> Modes:
    """Maxima of the likelihood reached from posterior modes, in a batch of `size` (no new executable)."""
    return climb(posterior, modes.z[:size], with_prior=False, size=size, **how)


@partial(jit, static_argnames="lanes")
def climb_batch(
    kernel: Kernel,
    starts: jax.Array,
    low: jax.Array,
    high: jax.Array,
    weight: jax.Array | float,
    max_steps: int,
    patience: int = PATIENCE,
    wanted: int | None = None,
    calm: int = 1,
    *,
    lanes: int | None = None,
) -> tuple[jax.Array, ...]:
    """Damped Fisher scoring from starts (n, ndim), `lanes` at a time, with the prior weighted by `weight`.

    Latent bounds (ndim,) or (n, ndim) and weights, one or (n,), are those of all starts or of each; only the first
    `wanted` starts are climbed from.
    Returns latent vectors, values, log-likelihoods, gradients, metrics, the last promised gains, and the steps that the
    lanes took together.
    """
    n, ndim = starts.shape
    lanes = n if lanes is None else min(lanes, n)
    low, high = jnp.broadcast_to(low, starts.shape), jnp.broadcast_to(high, starts.shape)
    weights = jnp.broadcast_to(jnp.asarray(weight, dtype=starts.dtype), n)

    @jax.vmap
    def linearise(z: jax.Array, weight: jax.Array) -> tuple[jax.Array, ...]:
        likelihood, gradient, metric = kernel.linearised(z)
        prior = -0.5 * jnp.sum(z**2)
        if not all(p.exact for p in kernel.priors):
            correction, slope = jax.value_and_grad(kernel.correction)(z)
            prior, gradient = prior + correction, gradient + weight * slope
        good = jnp.isfinite(likelihood) & jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(metric))
        value = jnp.where(good, likelihood + weight * prior, -jnp.inf)
        gradient = jnp.where(good, gradient - weight * z, 0.0)
        metric = jnp.where(good, metric + weight * jnp.eye(ndim), jnp.eye(ndim))
        return value, likelihood, gradient, metric

    @jax.vmap
    def propose(
        z: jax.Array, gradient: jax.Array, metric: jax.Array, damping: jax.Array, low: jax.Array, high: jax.Array
    ) -> tuple[jax.Array, ...]:
        # coordinates at a bound that would go past it are held
        held = ((z <= low) & (gradient < 0)) | ((z >= high) & (gradient > 0))
        free = jnp.where(held, 0.0, 1.0)
        scale = jnp.maximum(jnp.diagonal(metric), 1e-30)
        damped = metric * free[:, None] * free + jnp.diag(scale * damping * free + (1.0 - free) + 1e-12 * scale)
        step = jnp.linalg.solve(damped, gradient * free)
        step = step * jnp.minimum(1.0, _MAX_STEP / jnp.maximum(jnp.max(jnp.abs(step)), 1e-300))
        new = jnp.clip(z + step, low, high)
        return new, jnp.sum((new - z) * gradient * free)

    def unfinished(state: tuple[Any, ...]) -> jax.Array:
        steps, value, damping, calms = state[1], state[5], state[-3], state[-1]
        promising = (value > jnp.max(value) - _HOPELESS) | (steps < patience)
        return (steps < max_steps) & (damping < _MAX_DAMPING) & (calms < calm) & promising

    def advance(state: tuple[Any, ...]) -> tuple[Any, ...]:
        # those that have not arrived, in their order
        rows = jnp.arange(n) if lanes == n else jnp.argsort(~unfinished(state))[:lanes]
        steps, new, promised, z, value, likelihood, gradient, metric, damping, decrement, calms = (
            a[rows] for a in state[1:]
        )
        # linearises at the proposed points first, so that one trace of the model serves start and steps alike
        new_value, new_likelihood, new_gradient, new_metric = linearise(new, weights[rows])
        up = (new_value > value) | (steps == 0)
        z, gradient = jnp.where(up[:, None], new, z), jnp.where(up[:, None], new_gradient, gradient)
        value, likelihood = jnp.where(up, new_value, value), jnp.where(up, new_likelihood, likelihood)
        metric = jnp.where(up[:, None, None], new_metric, metric)
        # the promised gain of an almost undamped step tells how far the maximum still is
        decrement = jnp.where((damping < 0.1) & (steps > 0), jnp.abs(promised), decrement)
        calms = jnp.where(decrement > 1e-9, 0, calms + 1)
        damping = jnp.where(steps == 0, damping, jnp.where(up, damping * 0.2, damping * 4.0))
        damping = jnp.clip(damping, 1e-10, 10 * _MAX_DAMPING)
        new, promised = propose(z, gradient, metric, damping, low[rows], high[rows])
        moved = steps + 1, new, promised, z, value, likelihood, gradient, metric, damping, decrement, calms
        return state[0] + 1, *(a.at[rows].set(b) for a, b in zip(state[1:], moved, strict=True))

    far = jnp.full(n, jnp.inf)
    start = jnp.clip(starts, low, high)
    # what is not wanted has arrived
    damping = jnp.where(jnp.arange(n) < (n if wanted is None else wanted), 0.01, 10 * _MAX_DAMPING)
    state: tuple[Any, ...] = (
        0,
        jnp.zeros(n, dtype=int),
        start,
        far,
        start,
        -far,
        -far,
        0.0 * start,
        jnp.zeros((n, ndim, ndim)),
        damping,
        far,
        jnp.zeros(n, dtype=int),
    )
    state = jax.lax.while_loop(lambda s: jnp.any(unfinished(s)), advance, state)
    steps, _, _, _, z, value, likelihood, gradient, metric, _, decrement, _ = state
    return z, value, likelihood, gradient, metric, decrement, steps


def linearise(posterior: Posterior, z: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood (corrections of inexact priors included) and its gradient at latent vectors (n, ndim).

    `size` is that of the batches that `climb` was given: no new executable.
    """
    pieces = [_linearised(posterior, z[start : start + size], size) for start in range(0, len(z), size)]
    value, gradient = (np.concatenate(p) for p in zip(*pieces, strict=True))
    return value, gradient


def _linearised(posterior: Posterior, z: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    from skyfold.inference.search import large

    if posterior.ndim > large.LARGE:
        return large.slopes(posterior, z)
    padded = z[np.arange(size) % len(z)]
    limit = np.full(padded.shape, np.inf)
    _, value, _, gradient, *_ = climb_batch(
        posterior.kernel, padded, -limit, limit, np.ones(size), 1, PATIENCE, size, 1, lanes=None
    )
    value = np.asarray(value)[: len(z)] + 0.5 * np.sum(z**2, axis=1)
    return value, np.asarray(gradient)[: len(z)] + z
