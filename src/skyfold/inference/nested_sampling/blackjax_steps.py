"""Live: steps of nested sampling by BlackJAX, in calls of one executable, batches of live points replaced together."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.inference.nested_sampling.slices import side_by_side, slice_root
from skyfold.kernel import Kernel

#: Steps (batches of deaths) per call of the executable.
CHUNK = 10


def packed(state: Any) -> dict[str, np.ndarray]:
    """Arrays of a state of BlackJAX's nested sampling."""
    arrays = {
        "z": state.particles.position,
        "prior": state.particles.logdensity,
        "likelihood": state.particles.loglikelihood,
        "birth": state.particles.loglikelihood_birth,
        "root": state.inner_kernel_params["root"],
        "volume": state.integrator.logX,
        "evidence": state.integrator.logZ,
        "evidence_left": state.integrator.logZ_live,
    }
    return {name: np.asarray(a) for name, a in arrays.items()}


def unpacked(run: Any) -> Any:
    """State of BlackJAX's nested sampling from attributes named as by `packed`."""
    from blackjax.ns.adaptive import AdaptiveNSState
    from blackjax.ns.base import StateWithLogLikelihood
    from blackjax.ns.integrator import NSIntegrator

    return AdaptiveNSState(
        StateWithLogLikelihood(run.z, run.prior, run.likelihood, run.birth),
        NSIntegrator(run.volume, run.evidence, run.evidence_left),
        {"root": run.root},
    )


@jit
def begin(z: jax.Array, likelihood: jax.Array) -> Any:
    """State of live points (n, ndim) drawn from the prior."""
    from blackjax.ns.adaptive import AdaptiveNSState
    from blackjax.ns.base import NSState, StateWithLogLikelihood
    from blackjax.ns.integrator import init_integrator

    prior = -0.5 * jnp.sum(z**2, axis=1) - 0.5 * z.shape[1] * jnp.log(2 * jnp.pi)
    particles = StateWithLogLikelihood(z, prior, likelihood, jnp.full(likelihood.shape, -jnp.inf))
    return AdaptiveNSState(particles, init_integrator(particles), _shape(None, NSState(particles), None))


def _shape(key: Any, state: Any, info: Any, params: Any = None) -> dict[str, jax.Array]:
    """Shape of the slices, from the live points."""
    return {"root": slice_root(state.particles.position)}


@partial(jit, static_argnames="batch")
def advance(kernel: Kernel, state: Any, key: jax.Array, inner: int, *, remainder: float, batch: int) -> Any:
    """One chunk of steps, `inner` slices for each new point; the state, what to record, and whether it has ended."""
    from blackjax.ns.base import init_state_strategy
    from blackjax.ns.from_mcmc import build_kernel

    def likelihood(z: jax.Array) -> jax.Array:
        value = kernel.log_likelihood(z)
        return jnp.where(jnp.isfinite(value), value, -jnp.inf)

    point = partial(init_state_strategy, logprior_fn=kernel.log_prior, loglikelihood_fn=likelihood)
    nested = build_kernel(None, inner, _shape, batch, update_strategy=side_by_side(point))

    def done(state: Any) -> jax.Array:
        values = state.particles.loglikelihood
        left = state.integrator.logZ_live - jnp.logaddexp(state.integrator.logZ, state.integrator.logZ_live)
        # the second holds on a plateau: nothing lies above the next contour, and what is left is known exactly
        return (left < jnp.log(remainder)) | (jnp.max(values) <= -jax.lax.top_k(-values, batch)[0][-1])

    def step(operand: Any) -> Any:
        state, key = operand
        old, places = state.particles.loglikelihood, state.particles.position
        doomed = jax.lax.top_k(-old, batch)[1]
        state, info = nested(key, state)
        new = state.particles.loglikelihood[doomed]
        survivors = old.at[doomed].set(jnp.inf)
        # ranks of the new points as they join the survivors one after the other: independent and uniform
        earlier = jnp.tril(new[None, :] < new[:, None], -1)
        below = jnp.sum(survivors[None, :] < new[:, None], axis=1) + jnp.sum(earlier, axis=1)
        number = old.size - batch + jnp.arange(batch) + 1
        jitter = jax.random.uniform(jax.random.fold_in(key, 1), (batch,))
        return state, {
            "dead": info.particles,
            "rank": (below + jitter) / number,
            "parent": jnp.mean(survivors[None, :] < old[info.update_info.parent][:, None], axis=1),
            "place": doomed,
            "here": state.particles.position[doomed],
            "there": places[info.update_info.parent],
            "slices": info.update_info,
        }

    shapes = jax.eval_shape(lambda s, k: step((s, k))[1], state, key)

    def idle(operand: Any) -> Any:
        return operand[0], jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def body(carry: Any, key: jax.Array) -> Any:
        state, finished = carry
        state, out = jax.lax.cond(finished, idle, step, (state, key))
        return (state, finished | done(state)), {**out, "real": ~finished}

    (state, finished), out = jax.lax.scan(body, (state, done(state)), jax.random.split(key, CHUNK))
    return state, out, finished
