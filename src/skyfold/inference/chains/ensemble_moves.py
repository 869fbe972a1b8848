"""Moves of one half of an ensemble of walkers against the other, with NumPyro's proposals and directions.

A move is called with a key, the positions (n, ndim) and log densities (n,) of the half, the positions of the other
half, the log density as a function of a position, and a size. It gives new positions and densities, the number of
evaluations, and two counts that tell of its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Metropolis:
    """Stretch and differential-evolution proposals, accepted by the Metropolis rule."""

    def __call__(
        self, key: jax.Array, u: jax.Array, value: jax.Array, other: jax.Array, density: Any, size: Any
    ) -> Any:
        """New positions (n, ndim) and densities (n,), evaluations, and the two counts that tell of the move's size."""
        from numpyro.infer import AIES as Moves

        with jax.ensure_compile_time_eval():
            n = 2 * len(u)
            moves = [Moves.StretchMove(), Moves.DEMove()(n), Moves.DEMove(g0=1.0)(n)]
        choice, own, accept = jax.random.split(key, 3)
        # whole differences, now and then, jump between modes
        kind = jnp.sum(jax.random.uniform(choice) > np.array([0.3, 0.9]))
        proposal, factor = jax.lax.switch(kind, moves, own, u, other)
        new = jax.vmap(density)(proposal)
        up = jnp.log(jax.random.uniform(accept, value.shape)) < factor + new - value
        return jnp.where(up[:, None], proposal, u), jnp.where(up, new, value), u.shape[0], jnp.sum(up), u.shape[0]


@dataclass(frozen=True)
class Slice:
    """Slice sampling along differences of walkers, by stepping out and shrinking.

    Every turn of the loop evaluates one point of each walker, whatever it is doing, until the last one is done; all
    these evaluations are counted.
    """

    most: ClassVar[int] = 300

    def __call__(
        self, key: jax.Array, u: jax.Array, value: jax.Array, other: jax.Array, density: Any, size: Any
    ) -> Any:
        """New positions (n, ndim) and densities (n,), evaluations, expansions, and these plus contractions."""
        from numpyro.infer import ESS as Moves

        with jax.ensure_compile_time_eval():
            differences = Moves.DifferentialMove()(2 * len(u))
        choice, height, edge, draw = jax.random.split(key, 4)
        direction = differences(choice, other, size)
        level = value - jax.random.exponential(height, value.shape)
        left = -jax.random.uniform(edge, value.shape)
        nothing = jnp.zeros(value.shape, int)

        def turn(state: tuple[Any, ...]) -> tuple[Any, ...]:
            i, phase, left, right, place, value, expanded, shrunk = state
            inside = left + jax.random.uniform(jax.random.fold_in(draw, i), left.shape) * (right - left)
            at = jnp.where(phase == 0, left, jnp.where(phase == 1, right, inside))
            new = jax.vmap(density)(u + at[:, None] * direction)
            above = new > level
            stretch, shrink, done = (phase < 2) & above, (phase == 2) & ~above, (phase == 2) & above
            place, value = jnp.where(done, at, place), jnp.where(done, new, value)
            left = jnp.where((phase == 0) & above, left - 1.0, jnp.where(shrink & (at < 0.0), at, left))
            right = jnp.where((phase == 1) & above, right + 1.0, jnp.where(shrink & (at >= 0.0), at, right))
            phase = phase + ((phase < 2) & ~above) + done
            return i + 1, phase, left, right, place, value, expanded + stretch, shrunk + shrink

        def unfinished(state: tuple[Any, ...]) -> jax.Array:
            return jnp.any(state[1] < 3) & (state[0] < self.most)

        start = (0, nothing, left, left + 1.0, 0.0 * value, value, nothing, nothing)
        turns, _, _, _, place, value, expanded, shrunk = jax.lax.while_loop(unfinished, turn, start)
        e, c = jnp.sum(expanded), jnp.sum(shrunk)
        return u + place[:, None] * direction, value, turns * len(u), e, e + c
