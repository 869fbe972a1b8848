"""No-U-Turn transitions of many chains, none of which waits for another.

A tree of leapfrog steps has a random size. Nested loops over chains side by side last, at every doubling, as long as
the largest of their trees. Here a single loop makes one leapfrog step of every chain per turn; a chain whose
trajectory is complete writes its draw down and begins the next one at once. The transition is that of BlackJAX's NUTS.

References
----------
Hoffman & Gelman 2014, JMLR 15, 1593; Betancourt 2017, arXiv:1701.02434 (multinomial choice, criterion of a U-turn);
Phan, Pradhan & Jankowiak 2019, arXiv:1912.11554 (trees without recursion); Dance, Glaser, Orbanz & Adams 2025,
arXiv:2503.17405 (one step of every chain per turn).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfinv

from skyfold.inference.chains.step_size import tuned

#: Loss of log weight from which a trajectory counts as divergent.
_DIVERGENT = 1000.0


class Walk(NamedTuple):
    """Where a chain is in its trajectory; every array has a leading axis of chains.

    Attributes
    ----------
    here : (3, ndim) position, momentum and gradient of the end that moves.
    ends : (2, 3, ndim) those of both ends of the trajectory without the branch that grows.
    chosen, candidate : (2 ndim + 1,) position, gradient and log density chosen so far from trajectory and branch.
    total, branch : (ndim,) sums of the momenta of trajectory and branch.
    marks : (doublings, 2, ndim) momenta, and sums of momenta so far, where subtrees of the branch begin.
    energy : at the beginning of the trajectory.
    weight, branch_weight : log summed weights relative to the beginning.
    accepted : summed acceptance of the steps.
    size : step size, with the sign of the direction.
    depth, leaf, steps, drawn : doublings, steps of the branch, steps of the trajectory, draws so far.
    """

    here: jax.Array
    ends: jax.Array
    chosen: jax.Array
    candidate: jax.Array
    total: jax.Array
    branch: jax.Array
    marks: jax.Array
    energy: jax.Array
    weight: jax.Array
    branch_weight: jax.Array
    accepted: jax.Array
    size: jax.Array
    depth: jax.Array
    leaf: jax.Array
    steps: jax.Array
    drawn: jax.Array


def no_u_turn(
    density: Callable[[jax.Array], jax.Array],
    states: tuple[jax.Array, jax.Array, jax.Array],
    step: jax.Array,
    key: jax.Array,
    adapt: bool | jax.Array,
    target: float | jax.Array,
    *,
    doublings: int,
    length: int,
) -> tuple[tuple[jax.Array, jax.Array, jax.Array], jax.Array, dict[str, jax.Array]]:
    """Make `length` transitions of every chain.

    Parameters
    ----------
    density : log density of a position (ndim,); momenta are standard normal.
    states : positions (chains, ndim), log densities (chains,) and gradients (chains, ndim).
    step : dual-averaging state (see `skyfold.inference.chains.step_size`), tuned after every transition where `adapt`.
    target : acceptance that it is tuned to.
    doublings : trajectories have at most ``2**doublings`` steps.

    Returns
    -------
    states, step : as given.
    record : for every transition (length, chains, ...): position ``u``, whether ``divergent``, number of ``steps``,
        ``energy`` at its beginning.
    """
    slope = jax.value_and_grad(density)
    chains, ndim = states[0].shape

    def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        turn, walk, step, record = carry
        noise = _noise(jax.random.fold_in(key, turn), chains, ndim)
        active = walk.drawn < length
        row = jnp.where(active, walk.drawn, length)
        walk, finished, entry = jax.vmap(_leap, in_axes=(None, 0, 0, 0, None))(slope, walk, noise, active, doublings)
        row = jnp.where(finished, row, length)
        record = {n: a.at[row, jnp.arange(chains)].set(entry[n], mode="drop") for n, a in record.items()}
        done = finished & active
        acceptance = jnp.sum(jnp.where(done, entry["acceptance"], 0.0)) / jnp.maximum(jnp.sum(done), 1)
        step = jnp.where(adapt & jnp.any(done), tuned(step, acceptance, target), step)
        size = jnp.where(finished, step[0], jnp.abs(walk.size)) * jnp.sign(walk.size)
        return turn + 1, walk._replace(size=size), step, record

    record = {
        "u": jnp.zeros((length, chains, ndim)),
        "divergent": jnp.zeros((length, chains), bool),
        "steps": jnp.zeros((length, chains), int),
        "energy": jnp.zeros((length, chains)),
        "acceptance": jnp.zeros((length, chains)),
    }
    walk = jax.vmap(_begun, in_axes=(0, 0, 0, 0, None, None))(
        *states, _noise(jax.random.fold_in(key, 0), chains, ndim), step[0], doublings
    )
    going = (jnp.ones((), int), walk, step, record)
    _, walk, step, record = jax.lax.while_loop(lambda carry: jnp.any(carry[1].drawn < length), body, going)
    return (walk.chosen[:, :ndim], walk.chosen[:, -1], walk.chosen[:, ndim:-1]), step, record


def _noise(key: jax.Array, chains: int, ndim: int) -> jax.Array:
    """Numbers uniform in (-1, 1) (chains, ndim + 3)."""
    return jax.random.uniform(key, (chains, ndim + 3), minval=np.nextafter(-1.0, 0.0), maxval=1.0)


def _normal(noise: jax.Array) -> jax.Array:
    return np.sqrt(2.0) * erfinv(noise)


def _begun(
    u: jax.Array, value: jax.Array, gradient: jax.Array, noise: jax.Array, size: jax.Array, doublings: int
) -> Walk:
    """Walk at the beginning of a trajectory."""
    momentum = _normal(noise[3:])
    here = jnp.stack([u, momentum, gradient])
    chosen = jnp.concatenate([u, gradient, value[None]])
    nothing = jnp.zeros(())
    none = jnp.zeros((), int)
    return Walk(
        here=here,
        ends=jnp.stack([here, here]),
        chosen=chosen,
        candidate=chosen,
        total=momentum,
        branch=jnp.zeros(u.shape),
        marks=jnp.zeros((doublings, 2, u.size)),
        energy=0.5 * momentum @ momentum - value,
        weight=nothing,
        branch_weight=nothing - jnp.inf,
        accepted=nothing,
        size=jnp.where(noise[2] > 0.0, size, -size),
        depth=none,
        leaf=none,
        steps=none,
        drawn=none,
    )


def _turns(one: jax.Array, other: jax.Array, total: jax.Array) -> jax.Array:
    """Whether a piece of a trajectory with momenta at its ends (..., ndim) and their sum has turned back."""
    middle = total - 0.5 * (one + other)
    return (jnp.sum(one * middle, axis=-1) <= 0.0) | (jnp.sum(other * middle, axis=-1) <= 0.0)


def _leap(
    slope: Callable[..., Any], walk: Walk, noise: jax.Array, active: jax.Array, doublings: int
) -> tuple[Walk, jax.Array, dict[str, jax.Array]]:
    """One leapfrog step, whether it ends the trajectory, and what to write down then."""
    u, p, gradient = walk.here
    ndim = u.size
    p = p + 0.5 * walk.size * gradient
    u = u + walk.size * p
    value, gradient = slope(u)
    p = p + 0.5 * walk.size * gradient
    gain = walk.energy - 0.5 * p @ p + value
    gain = jnp.where(jnp.isnan(gain), -jnp.inf, gain)
    diverged = gain < -_DIVERGENT
    here = jnp.stack([u, p, gradient])
    steps, accepted = walk.steps + 1, walk.accepted + jnp.exp(jnp.minimum(gain, 0.0))
    toss = 0.5 * (noise[:2] + 1.0)

    # the branch grows by this leaf, which is chosen by its weight
    branch, branch_weight = walk.branch + p, jnp.logaddexp(walk.branch_weight, gain)
    leaf = jnp.concatenate([u, gradient, value[None]])
    candidate = jnp.where(toss[0] < jnp.exp(gain - branch_weight), leaf, walk.candidate)
    # subtrees that end here begin at the marks first..last; a leaf with an even number begins some
    last = jax.lax.population_count(walk.leaf >> 1)
    first = last + 1 - jax.lax.population_count((~walk.leaf & (walk.leaf + 1)) - 1)
    index = jnp.arange(doublings)
    begins = ((index == last) & (walk.leaf % 2 == 0))[:, None, None]
    marks = jnp.where(begins, jnp.stack([p, branch]), walk.marks)
    turned = _turns(marks[:, 0], p, branch - marks[:, 1] + marks[:, 0])
    stopped = diverged | jnp.any(turned & (first <= index) & (index <= last))

    # a complete branch joins the trajectory and is preferred to it
    joins = ~stopped & (walk.leaf + 1 == 1 << walk.depth)
    taken = joins & active & (toss[1] < jnp.exp(branch_weight - walk.weight))
    chosen = jnp.where(taken, candidate, walk.chosen)
    total = jnp.where(joins, walk.total + branch, walk.total)
    moved = jnp.stack([walk.size < 0.0, walk.size > 0.0])
    ends = jnp.where((joins & moved)[:, None, None], here, walk.ends)
    depth = walk.depth + joins
    finished = stopped | (joins & (_turns(ends[0, 1], ends[1, 1], total) | (depth == doublings)))
    entry = {
        "u": chosen[:ndim],
        "divergent": diverged,
        "steps": steps,
        "energy": walk.energy,
        "acceptance": accepted / steps,
    }

    # the next branch, or the next trajectory
    momentum = _normal(noise[3:])
    begun = jnp.stack([chosen[:ndim], momentum, chosen[ndim:-1]])
    ends = jnp.where(finished, begun, ends)
    fresh = joins | finished
    forward = noise[2] > 0.0
    size = jnp.where(fresh, jnp.abs(walk.size) * jnp.where(forward, 1.0, -1.0), walk.size)
    walk = Walk(
        here=jnp.where(fresh, jnp.where(forward, ends[1], ends[0]), here),
        ends=ends,
        chosen=chosen,
        candidate=candidate,
        total=jnp.where(finished, momentum, total),
        branch=jnp.where(fresh, 0.0, branch),
        marks=marks,
        energy=jnp.where(finished, 0.5 * momentum @ momentum - chosen[-1], walk.energy),
        weight=jnp.where(finished, 0.0, jnp.where(joins, jnp.logaddexp(walk.weight, branch_weight), walk.weight)),
        branch_weight=jnp.where(fresh, -jnp.inf, branch_weight),
        accepted=jnp.where(finished, 0.0, accepted),
        size=size,
        depth=jnp.where(finished, 0, depth),
        leaf=jnp.where(fresh, 0, walk.leaf + 1),
        steps=jnp.where(finished, 0, steps),
        drawn=walk.drawn + finished,
    )
    return walk, finished, entry
