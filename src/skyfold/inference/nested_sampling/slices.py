"""Slices side by side: hit-and-run slice steps of many points above one likelihood contour.

BlackJAX's own slice steps, vectorised, wait at every step for the point whose slice takes longest; these do not, each
point goes on with its next slice when it is done with one, which spares two likelihood evaluations out of three. They
plug into BlackJAX's nested sampling as its `update_strategy`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

#: Initial width of a slice, in standard deviations of the live points along it. It is placed at random around the
#: point and only ever shrunk, which leaves the distribution exact whatever the width (Neal 2003, Ann. Stat. 31, 705,
#: section 4.1).
_WIDTH = 4.0
#: Shrinkages after which a slice is given up and the point stays where it is.
_MOST_SHRINKS = 100


class SliceInfo(NamedTuple):
    """What a batch of slice steps took: evaluations in all, those of them that a point asked for, steps given up.

    With it the places among the live points from which the new ones set out.
    """

    evaluations: jax.Array
    used: jax.Array
    stuck: jax.Array
    parent: jax.Array


class _Slices(NamedTuple):
    """Points on their way: where they are, their slices, and how far they have come."""

    point: Any
    direction: jax.Array
    left: jax.Array
    right: jax.Array
    level: jax.Array
    shrinks: jax.Array
    done: jax.Array


def side_by_side(point: Callable[..., Any]) -> Callable[..., Callable[..., tuple[Any, SliceInfo]]]:
    """Update strategy (see `blackjax.ns.from_mcmc.build_kernel`) that replaces a batch of live points.

    Parameters
    ----------
    point : callable
        Builds BlackJAX's particle from a latent vector, its log density and log-likelihood included.
    """

    def strategy(_: Any, steps: int, batch: int) -> Callable[..., tuple[Any, SliceInfo]]:
        def update(key: jax.Array, state: Any, contour: jax.Array, root: jax.Array) -> tuple[Any, SliceInfo]:
            return _update(key, state.particles, contour, root, jax.vmap(point), steps, batch)

        return update

    return strategy


def slice_root(z: jax.Array) -> jax.Array:
    """Lower root of the covariance of live points (n, ndim)."""
    covariance = jnp.atleast_2d(jnp.cov(z, rowvar=False))
    scale = jnp.trace(covariance) / z.shape[1]
    return jnp.linalg.cholesky(covariance + 1e-14 * scale * jnp.eye(z.shape[1]))


def _update(
    key: jax.Array, live: Any, contour: jax.Array, root: jax.Array, points: Callable[..., Any], steps: int, batch: int
) -> tuple[Any, SliceInfo]:
    choice, first, rest = jax.random.split(key, 3)
    above = (live.loglikelihood > contour).astype(root.dtype)
    chosen = jax.random.choice(choice, above.size, (batch,), p=above / jnp.sum(above))
    start = jax.tree.map(lambda a: a[chosen], live)

    def fresh(key: jax.Array, density: jax.Array) -> tuple[jax.Array, ...]:
        along, where, height = jax.random.split(key, 3)
        normal = jax.random.normal(along, (batch, root.shape[0]))
        direction = normal / jnp.linalg.norm(normal, axis=1, keepdims=True) @ root.T
        left = -_WIDTH * jax.random.uniform(where, (batch,))
        level = density - jax.random.exponential(height, (batch,))
        return direction, left, left + _WIDTH, level

    def unfinished(carry: Any) -> jax.Array:
        return jnp.any(carry[0].done < steps)

    def tick(carry: Any) -> Any:
        slices, count, info = carry
        place, anew = jax.random.split(jax.random.fold_in(rest, count))
        t = slices.left + (slices.right - slices.left) * jax.random.uniform(place, (batch,))
        candidate = points(slices.point.position + t[:, None] * slices.direction)
        busy = slices.done < steps
        found = busy & (candidate.logdensity >= slices.level) & (candidate.loglikelihood > contour)
        given_up = busy & ~found & (slices.shrinks + 1 >= _MOST_SHRINKS)
        ended = found | given_up
        kept = jax.tree.map(
            lambda new, old: jnp.where(found.reshape(-1, *[1] * (new.ndim - 1)), new, old), candidate, slices.point
        )
        direction, left, right, level = fresh(anew, kept.logdensity)
        slices = _Slices(
            point=kept,
            direction=jnp.where(ended[:, None], direction, slices.direction),
            left=jnp.where(ended, left, jnp.where(t < 0, t, slices.left)),
            right=jnp.where(ended, right, jnp.where(t < 0, slices.right, t)),
            level=jnp.where(ended, level, slices.level),
            shrinks=jnp.where(ended, 0, slices.shrinks + 1),
            done=slices.done + ended,
        )
        info = SliceInfo(
            info.evaluations + batch, info.used + jnp.sum(busy), info.stuck + jnp.sum(given_up), info.parent
        )
        return slices, count + 1, info

    nothing = jnp.zeros((), int)
    none = jnp.zeros(batch, int)
    direction, left, right, level = fresh(first, start.logdensity)
    slices = _Slices(start, direction, left, right, level, shrinks=none, done=none)
    info = SliceInfo(nothing, nothing, nothing, chosen)
    slices, _, info = jax.lax.while_loop(unfinished, tick, (slices, nothing, info))
    born = jnp.full_like(slices.point.loglikelihood_birth, contour)
    return slices.point._replace(loglikelihood_birth=born), info
