"""One object explored inside compiled code: starts, Fisher scoring, adaptive importance sampling from mixtures.

Nothing here depends on another object, so that a chunk's result is a function of the chunk alone.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from skyfold.catalogs.mixture import WIDE, Mixture
from skyfold.catalogs.problem import Target
from skyfold.compiled.jit import jit

#: Points whose expected data are computed at once: what they need stays in the processor's cache.
BLOCK = 16
#: Longest step of Fisher scoring in a coordinate; factor on a Laplace approximation's covariance in a component's.
_LONGEST, _WIDER = 1.5, 1.5
#: Passes of expectation-maximisation after each round.
_PASSES = 2


class Found(NamedTuple):
    """What one half found of one object.

    Attributes
    ----------
    z : (n, d) draws: first the library's members, then those of the mixture.
    expected : (n, n_data) expected data.
    log_weights : (n,) of the unnormalised posterior: their mean is the evidence.
    proposal, target : (m,) log density of the mean of all proposals, the library among them, and of the unnormalised
        posterior, at the points that they are tested at.
    mixture : what the draws that are not the library's come from.
    """

    z: Any
    expected: Any
    log_weights: Any
    proposal: Any
    target: Any
    mixture: Mixture


class Former(NamedTuple):
    """What a try of one half ended with: the mixture, its draws (n, d) and their expected data (n, n_data)."""

    mixture: Mixture
    z: Any
    expected: Any


def log_normal(z: jax.Array) -> jax.Array:
    """Log density of the prior in latent space."""
    return -0.5 * jnp.sum(z**2, axis=-1) - 0.5 * z.shape[-1] * jnp.log(2.0 * jnp.pi)


@partial(jit, static_argnums=(0, 1, 2, 3))
def explore(
    steps: int,
    rounds: int,
    adaptation: int,
    draws: int,
    target: Target,
    data: Any,
    starts: jax.Array,
    centre: jax.Array,
    spread: jax.Array,
    own: tuple[jax.Array, jax.Array, jax.Array],
    other: tuple[jax.Array, jax.Array, jax.Array],
    tests: tuple[jax.Array, jax.Array],
    size: jax.Array,
    keys: jax.Array,
) -> Found:
    """Explore objects one after the other; all arrays but the target and `size` have a leading axis of objects.

    Parameters
    ----------
    steps, rounds, adaptation, draws : steps of Fisher scoring, rounds of adaptation, draws in each, and draws of the
        mixture that they end with.
    target : of the problem.
    data : of the objects.
    starts : (n, s, d) starts of Fisher scoring.
    centre, spread : (n, d), (n, d, d) mean and scale of the wide component.
    own, other : (n, k, d), (n, k, n_data), (n, k) members of the own half of the library, for the adaptation, and of
        the other half, which join the draws; see `Beginning`.
    tests : (n, m, d), (n, m, n_data) points at which the proposals' density is wanted, and their expected
        data.
    size : of each half of the library.
    keys : (n, 2) keys.
    """

    def one(each: tuple[Any, ...]) -> Found:
        own_data, own_starts, own_centre, own_spread, own_members, other_members, own_tests, key = each
        first, second, third = jax.random.split(key, 3)
        mixture = _scattered(target, own_data, own_starts, own_centre, own_spread, steps, first)
        mixture = _adapted(target, own_data, mixture, None, own_members, size, second, rounds, adaptation)
        return _sampled(target, own_data, mixture, own_tests, other_members, size, third, draws)

    return jax.lax.map(one, (data, starts, centre, spread, own, other, tests, keys))


@partial(jit, static_argnums=(0, 1))
def explore_further(
    adaptation: int,
    draws: int,
    target: Target,
    data: Any,
    former: Former,
    own: tuple[jax.Array, jax.Array, jax.Array],
    other: tuple[jax.Array, jax.Array, jax.Array],
    tests: tuple[jax.Array, jax.Array],
    size: jax.Array,
    keys: jax.Array,
) -> Found:
    """Go on from what a former try of the same half ended with: one more round, and draws anew.

    The other parameters are those of `explore`.
    """

    def one(each: tuple[Any, ...]) -> Found:
        own_data, had, own_members, other_members, own_tests, key = each
        first, second = jax.random.split(key)
        mixture = _adapted(target, own_data, had.mixture, had[1:], own_members, size, first, 1, adaptation)
        return _sampled(target, own_data, mixture, own_tests, other_members, size, second, draws)

    return jax.lax.map(one, (data, former, own, other, tests, keys))


def expected_data(target: Target, z: jax.Array) -> jax.Array:
    """Expected data (n, n_data) at latent vectors (n, d), block by block."""
    n = z.shape[0]
    size = BLOCK if n % BLOCK == 0 else 1
    blocks = jnp.reshape(z, (n // size, size, -1))
    return jnp.reshape(jax.lax.map(jax.vmap(target.expected), blocks), (n, -1))


def _scattered(
    target: Target, data: Any, starts: jax.Array, centre: jax.Array, spread: jax.Array, steps: int, key: jax.Array
) -> Mixture:
    """Components scattered over the posterior, and a wide one.

    Each start climbs to the maximum for data and a prior mean of its own, drawn about the true ones (Bardsley, Solonen,
    Haario & Laine 2014, SIAM J. Sci. Comput. 36, A1895): for a linear model these are draws of the posterior, and for
    a curved one they lie along its ridge. The scale of each is that of its own Laplace approximation,
    widened: what is too narrow misses the ends of the posterior, and few draws make it narrower still.
    """
    n, d = starts.shape
    eye = jnp.eye(d)
    one, two = jax.random.split(key)
    # the first climbs to the maximum itself
    all_data = target.perturbed(data, one, n)
    axes = jax.tree.map(lambda new, old: None if jnp.ndim(new) == jnp.ndim(old) else 0, all_data, data)
    mean = (jnp.arange(n) > 0)[:, None] * jax.random.normal(two, (n, d))

    @partial(jax.vmap, in_axes=(0, axes, 0))
    def linearise(z: jax.Array, own: Any, middle: jax.Array) -> tuple[jax.Array, ...]:
        value, gradient, metric = target.linearised(own, z)
        value, gradient, metric = value - 0.5 * jnp.sum((z - middle) ** 2), gradient - z + middle, metric + eye
        good = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(metric))
        return (
            jnp.where(good, value, -jnp.inf),
            jnp.where(good, gradient, 0.0),
            jnp.where(good, metric, eye),
        )

    @jax.vmap
    def move(z: jax.Array, gradient: jax.Array, metric: jax.Array, damping: jax.Array) -> jax.Array:
        step = jnp.linalg.solve(metric + damping * jnp.diag(jnp.diagonal(metric)), gradient)
        return z + step * jnp.minimum(1.0, _LONGEST / jnp.maximum(jnp.max(jnp.abs(step)), 1e-300))

    def advance(state: tuple[Any, ...], _: Any) -> tuple[tuple[Any, ...], None]:
        new, z, value, gradient, metric, damping = state
        there = linearise(new, all_data, mean)
        up = there[0] > value
        z, value = jnp.where(up[:, None], new, z), jnp.where(up, there[0], value)
        gradient = jnp.where(up[:, None], there[1], gradient)
        metric = jnp.where(up[:, None, None], there[2], metric)
        damping = jnp.where(up, damping * 0.2, damping * 5.0)
        return (move(z, gradient, metric, damping), z, value, gradient, metric, damping), None

    begin = (
        starts,
        starts,
        jnp.full(n, -jnp.inf),
        jnp.zeros((n, d)),
        jnp.broadcast_to(eye, (n, d, d)),
        jnp.full(n, 0.05),
    )
    (_, z, _, _, metric, _), _ = jax.lax.scan(advance, begin, None, length=steps + 1)
    covariance = jnp.linalg.inv(metric)
    roots = jnp.linalg.cholesky(_WIDER * 0.5 * (covariance + jnp.swapaxes(covariance, 1, 2)))
    return Mixture(
        jnp.append(jnp.full(n, (1.0 - WIDE) / n), WIDE),
        jnp.concatenate([z, centre[None]]),
        jnp.concatenate([roots, jnp.linalg.cholesky(spread)[None]]),
    )


def _proposed(size: jax.Array, draws: Any, mixture_log_density: jax.Array, z: jax.Array) -> jax.Array:
    """Logarithm of how many draws there are about z: `size` of the prior, which are the library's, and `draws`."""
    return jnp.logaddexp(mixture_log_density + jnp.log(draws), log_normal(z) + jnp.log(size))


def _log_likelihood(target: Target, data: Any, expected: jax.Array) -> jax.Array:
    value = jax.vmap(lambda m: target.log_likelihood(data, m))(expected)
    return jnp.where(jnp.isfinite(value), value, -jnp.inf)


def _adapted(
    target: Target,
    data: Any,
    mixture: Mixture,
    drawn: tuple[jax.Array, jax.Array] | None,
    members: tuple[jax.Array, jax.Array, jax.Array],
    size: jax.Array,
    key: jax.Array,
    rounds: int,
    draws: int,
) -> Mixture:
    """Mixture refitted to weighted draws, round by round; nothing is left of these draws but the mixture.

    The draws of all rounds, and those `drawn` of the mixture already (with their expected data), are weighted by the
    mixture of all proposals (Cornuet, Marin, Mira & Robert 2012, Scand. J. Stat. 39, 798). These weights are biased: a
    proposal that is fitted to a draw lowers the draw's weight, so that what few draws found comes out too light, and
    the posterior too narrow. They serve the proposals alone.
    """
    z, likelihood = members[0], _log_likelihood(target, data, members[1]) + members[2]
    density, shifts, used = jnp.full(len(z), -jnp.inf), jnp.zeros(rounds), mixture
    if drawn is not None:
        z = jnp.concatenate([z, drawn[0]])
        likelihood = jnp.concatenate([likelihood, _log_likelihood(target, data, drawn[1])])
        # they are as many as those of so many rounds
        shifts = jnp.append(jnp.log(len(drawn[0]) / draws), shifts)
        density = mixture.log_density(z) + shifts[0]
    begun, turns = len(z), len(shifts)

    def padded(known: jax.Array, rest: float) -> jax.Array:
        return jnp.concatenate([known, jnp.full((rounds * draws, *known.shape[1:]), rest)])

    def refitted(mixture: Mixture, z: jax.Array, likelihood: jax.Array, density: jax.Array, seen: Any) -> Mixture:
        log_weights = likelihood + log_normal(z) - _proposed(size, float(draws), density, z)
        top = jnp.max(log_weights)
        weights = jnp.where(jnp.isfinite(log_weights), jnp.exp(log_weights - top), 0.0)
        # cut (Ionides 2008, J. Comp. Graph. Stat. 17, 295)
        weights = jnp.minimum(weights, jnp.sum(weights) / jnp.sqrt(seen))
        for _ in range(_PASSES):
            mixture = mixture.refitted(z, weights)
        return mixture

    def advance(state: tuple[Any, ...], number: jax.Array) -> tuple[tuple[Any, ...], None]:
        mixture, used, z, likelihood, density = state
        start, turn = begun + number * draws, turns - rounds + number
        fresh = mixture.draw(jax.random.fold_in(key, number), draws)
        its_likelihood = _log_likelihood(target, data, expected_data(target, fresh))
        used = jax.tree.map(lambda all_, new: all_.at[turn].set(new), used, mixture)
        # former draws meet the new proposal, new draws all proposals
        density = jnp.logaddexp(density, mixture.log_density(z))
        each = jax.lax.map(lambda one: one.log_density(fresh), used) + shifts[:, None]
        own = logsumexp(jnp.where(jnp.arange(turns)[:, None] <= turn, each, -jnp.inf), axis=0)
        density = jax.lax.dynamic_update_slice(density, own, (start,))
        z = jax.lax.dynamic_update_slice(z, fresh, (start, 0))
        likelihood = jax.lax.dynamic_update_slice(likelihood, its_likelihood, (start,))
        mixture = refitted(mixture, z, likelihood, density, begun + (number + 1.0) * draws)
        return (mixture, used, z, likelihood, density), None

    if drawn is not None:
        mixture = refitted(mixture, z, likelihood, density, float(begun))
    used = jax.tree.map(lambda x: jnp.broadcast_to(x, (turns, *x.shape)), used)
    begin: tuple[Any, ...] = (mixture, used, padded(z, 0.0), padded(likelihood, -jnp.inf), padded(density, -jnp.inf))
    (mixture, *_), _ = jax.lax.scan(advance, begin, jnp.arange(rounds))
    return mixture


def _sampled(
    target: Target,
    data: Any,
    mixture: Mixture,
    tests: tuple[jax.Array, jax.Array],
    members: tuple[jax.Array, jax.Array, jax.Array],
    size: jax.Array,
    key: jax.Array,
    draws: int,
) -> Found:
    """Draws of a mixture that does not depend on them, nor on the members of the library that join them."""
    fresh = mixture.draw(key, draws)
    z = jnp.concatenate([members[0], fresh])
    expected = jnp.concatenate([members[1], expected_data(target, fresh)])
    factor = jnp.concatenate([members[2], jnp.zeros(draws)])
    total = float(z.shape[0])
    log_weights = _log_likelihood(target, data, expected) + factor + log_normal(z) + jnp.log(total)
    log_weights = log_weights - _proposed(size, float(draws), mixture.log_density(z), z)
    proposal = _proposed(size, float(draws), mixture.log_density(tests[0]), tests[0]) - jnp.log(total)
    density = _log_likelihood(target, data, tests[1]) + log_normal(tests[0])
    return Found(z, expected, log_weights, proposal, density, mixture)


@jit
def expected_at(target: Target, z: jax.Array) -> jax.Array:
    """Expected data (n, n_data) at latent vectors (n, d)."""
    return expected_data(target, z)


@jit
def finish(target: Target, data: Any, z: jax.Array, expected: jax.Array, u: jax.Array) -> tuple[Any, Any]:
    """Parameter values of latent vectors (g, m, d), and what else is told of them, see `Target.told`."""
    return jax.vmap(jax.vmap(target.kernel.values))(z), jax.vmap(target.told)(data, expected, u)
