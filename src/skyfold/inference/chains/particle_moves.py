"""Moves of particles that learn from all of them: autoregressive and independent steps about a Student-t mixture.

Both proposals are reversible with respect to the mixture m that was fitted to the particles, so a move from z to z' is
accepted with probability min(1, p(z') m(z) / (p(z) m(z'))), on the ratio of importance weights. The local one is the
t-preconditioned Crank-Nicolson step (Cotter et al. 2013, Stat. Sci. 28, 424; Grumitt et al. 2024, arXiv:2407.07781)
about the mean of a component drawn by its share in z, z' = mean + sqrt(1 - s^2) (z - mean) + s * Student-t noise;
the other draws from the mixture and jumps between modes. The Metropolis step is BlackJAX's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp
from scipy.stats import rankdata

from skyfold.compiled.jit import jit
from skyfold.inference.frames.unit_or_normal import Coordinates
from skyfold.inference.importance.mixture import PAIRS, Mixture, log_peak
from skyfold.inference.importance.psis import kish
from skyfold.inference.importance.sample import refit
from skyfold.kernel import Kernel

#: Degrees of freedom of the mixture's components, and the share of moves that are independent of the present point.
_DF, INDEPENDENT = 2 * PAIRS, 0.2
#: Share of local moves that are short, and how short: they free particles in tails that the mixture misses.
_SHORT = (0.25, 0.2)
#: Points per inner batch on the CPU, which then stays in the cache; other devices take all at once.
_BLOCK = 64
#: Steps of expectation-maximisation of every fit, and of a trial with one component more.
_FIT, _TRIAL = 6, 8


class Blend(eqx.Module):
    """A Student-t mixture as the executable takes it, padded to a number of components that fits all."""

    log_weights: Any
    means: Any
    roots: Any
    inverses: Any
    log_norms: Any

    @classmethod
    def of(cls, mixture: Mixture) -> Blend:
        """Pad with components of no weight."""
        ndim = mixture.means.shape[1]
        extra = most_components(ndim) - len(mixture.weights)
        roots = np.concatenate([mixture.roots, np.broadcast_to(np.eye(ndim), (extra, ndim, ndim))])
        return cls(
            np.concatenate([np.log(mixture.weights), np.full(extra, -np.inf)]),
            np.concatenate([mixture.means, np.zeros((extra, ndim))]),
            roots,
            np.linalg.inv(roots),
            log_peak(ndim, _DF) - np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1),
        )

    def components(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Log density of each component, its weight included, and squared distance from each (k,)."""
        distance = jnp.sum((self.inverses @ (z - self.means)[:, :, None])[..., 0] ** 2, axis=1)
        return self.log_weights + self.log_norms - 0.5 * (_DF + z.size) * jnp.log1p(distance / _DF), distance

    def log_density(self, z: jax.Array) -> jax.Array:
        """Log density at a latent vector (ndim,)."""
        return jax.scipy.special.logsumexp(self.components(z)[0])

    def propose(self, key: jax.Array, z: jax.Array, scale: jax.Array, independent: jax.Array) -> jax.Array:
        """Point that a local move of the given scale, or an independent one, proposes from z."""
        choice, noise = jax.random.split(key)
        logs, distance = self.components(z)
        k = jax.random.categorical(choice, jnp.where(independent, self.log_weights, logs))
        normal = jax.random.normal(noise, (2 * z.size + _DF,))
        squares = normal[z.size :] ** 2
        # variance of the noise: that of the Student-t distribution, or the same given where z is
        fresh = _DF / jnp.sum(squares[:_DF])
        given = (_DF + distance[k]) / jnp.sum(squares)
        s = jnp.where(independent, 1.0, scale)
        step = s * jnp.sqrt(jnp.where(independent, fresh, given)) * (self.roots[k] @ normal[: z.size])
        return self.means[k] + jnp.sqrt(jnp.maximum(1.0 - s**2, 0.0)) * (z - self.means[k]) + step


def most_components(ndim: int) -> int:
    """Components that a mixture may have: many cost too much in many dimensions."""
    return 8 if ndim <= 12 else 4 if ndim <= 25 else 2


@dataclass(frozen=True)
class Moved:
    """Particles after some steps.

    Attributes
    ----------
    z, likelihood : (n, ndim), (n,) points and their log-likelihoods (corrections of inexact priors included).
    local, independent : mean acceptance of the two kinds of moves.
    """

    z: np.ndarray
    likelihood: np.ndarray
    local: float
    independent: float


def move(
    kernel: Kernel,
    z: np.ndarray,
    likelihood: np.ndarray,
    mixture: Mixture,
    *,
    power: float,
    scale: float,
    steps: int,
    key: jax.Array,
) -> Moved:
    """Move particles (n, ndim) that have the prior times the likelihood to a power as their density.

    Parameters
    ----------
    scale : length of the local moves, 0 to 1.
    steps : Metropolis steps of every particle.
    """
    n, ndim = z.shape
    block = min(_BLOCK, n) if jax.default_backend() == "cpu" else n
    index = (np.arange(-(-n // block) * block) % n).reshape(-1, block)
    out = _move(kernel, Blend.of(mixture), z[index], likelihood[index], power, scale, steps, key)
    moved, value, accepted, kinds = (np.asarray(a) for a in out)
    local, independent = accepted.sum(axis=(0, 1)) / np.maximum(kinds.sum(axis=(0, 1)), 1.0)
    return Moved(moved.reshape(-1, ndim)[:n], value.ravel()[:n], float(local), float(independent))


@jit
def _move(
    kernel: Kernel,
    blend: Blend,
    z: jax.Array,
    likelihood: jax.Array,
    power: float,
    scale: float,
    steps: int,
    key: jax.Array,
) -> tuple[jax.Array, ...]:
    from blackjax.mcmc.random_walk import RWState, build_rmh

    metropolis = build_rmh()

    def density(z: jax.Array) -> jax.Array:
        value = kernel.log_likelihood(z) + kernel.correction(z)
        return jnp.where(jnp.isfinite(value), power * value, -jnp.inf) - 0.5 * jnp.sum(z**2)

    def reference(_: Any, to: Any) -> jax.Array:
        # the proposals are reversible with respect to the mixture, so its density stands for theirs
        return blend.log_density(to.position)

    def chain(key: jax.Array, z: jax.Array, likelihood: jax.Array) -> tuple[jax.Array, ...]:
        def step(i: jax.Array, carry: tuple[Any, ...]) -> tuple[Any, ...]:
            state, accepted, kinds = carry
            kind, size, own = jax.random.split(jax.random.fold_in(key, i), 3)
            independent = jax.random.uniform(kind) < INDEPENDENT
            length = scale * jnp.where(jax.random.uniform(size) < _SHORT[0], _SHORT[1], 1.0)

            def propose(key: jax.Array, z: jax.Array) -> jax.Array:
                return blend.propose(key, z, length, independent)

            state, info = metropolis(own, state, density, propose, reference)
            which = jnp.stack([~independent, independent]).astype(float)
            return state, accepted + which * info.acceptance_rate, kinds + which

        state = RWState(z, power * likelihood - 0.5 * jnp.sum(z**2))
        state, accepted, kinds = jax.lax.fori_loop(0, steps, step, (state, jnp.zeros(2), jnp.zeros(2)))
        value = (state.logdensity + 0.5 * jnp.sum(state.position**2)) / power
        return state.position, value, accepted, kinds

    keys = jax.random.split(key, z.shape[:2])
    return jax.lax.map(lambda batch: jax.vmap(chain)(*batch), (keys, z, likelihood))


# -- fitting the mixture ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cloud:
    """Weighted points in the form that `refit` takes."""

    z: np.ndarray
    w: np.ndarray

    def weights(self) -> np.ndarray:
        return self.w


def prior_mixture(ndim: int) -> Mixture:
    """One component as wide as the prior."""
    return Mixture.one(np.zeros(ndim), np.eye(ndim), Coordinates(np.zeros(ndim, bool)))


def fit(mixture: Mixture, z: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> Mixture:
    """Refit a mixture to weighted points (n, ndim), with more components where these are worth their parameters."""
    cloud = _Cloud(z, weights)
    mixture = _refitted(mixture, cloud, _FIT)
    size = kish(weights)
    ndim = z.shape[1]
    price = 0.5 * (1 + ndim + ndim * (ndim + 1) / 2) * np.log(size)
    for k in np.argsort(-mixture.weights):
        if len(mixture.weights) >= most_components(ndim) or mixture.weights[k] * size < 20.0 * ndim:
            continue
        trial = _refitted(_halved(mixture, int(k), cloud, rng), cloud, _TRIAL)
        if size * (_mean_log(trial, cloud) - _mean_log(mixture, cloud)) > price:
            return trial
    return mixture


def _refitted(mixture: Mixture, cloud: Any, steps: int) -> Mixture:
    for _ in range(steps):
        mixture = refit(mixture, cloud)
    return mixture


def _mean_log(mixture: Mixture, cloud: _Cloud) -> float:
    return float(cloud.w @ logsumexp(mixture.component_log_density(cloud.z), axis=0))


def _halved(mixture: Mixture, k: int, cloud: _Cloud, rng: np.random.Generator) -> Mixture:
    """Component `k` in two, by 2-means of its whitened points; the best of a few starts."""
    share = mixture.shares(cloud.z)[0][k] * cloud.w
    u = whitened(mixture, k, cloud.z)
    best: tuple[float, np.ndarray] = (np.inf, np.stack([u.mean(axis=0)] * 2))
    for _ in range(4):
        first = u[rng.choice(len(u), p=share / share.sum())]
        centres = np.stack([first, -first])
        for _ in range(8):
            distance = ((u[:, None] - centres) ** 2).sum(-1)
            near = distance.argmin(axis=1)
            parts = [share * (near == i) for i in (0, 1)]
            if min(p.sum() for p in parts) <= 0.0:
                break
            centres = np.stack([p @ u / p.sum() for p in parts])
        cost = float(share @ distance.min(axis=1))
        if cost < best[0]:
            best = (cost, centres)
    halves = mixture.means[k] + best[1] @ mixture.roots[k].T
    keep = np.arange(len(mixture.weights)) != k
    return Mixture(
        np.concatenate([mixture.weights[keep], np.full(2, mixture.weights[k] / 2)]),
        np.concatenate([mixture.means[keep], halves]),
        np.concatenate([mixture.roots[keep], np.stack([0.7 * mixture.roots[k]] * 2)]),
        mixture.coordinates,
    )


def whitened(mixture: Mixture, k: int, z: np.ndarray) -> np.ndarray:
    """Points (n, ndim) relative to a component, in units of its widths."""
    return np.linalg.solve(mixture.roots[k], (z - mixture.means[k]).T).T


def correlation(mixture: Mixture, before: np.ndarray, after: np.ndarray) -> float:
    """Largest rank correlation of any coordinate of particles before and after their moves, inside components.

    A particle that has gone over to another component counts as decorrelated.
    """
    nearest = [mixture.component_log_density(z).argmax(axis=0) for z in (before, after)]
    sums = np.zeros((3, before.shape[1]))
    for k in range(len(mixture.weights)):
        ranks = [_ranks(whitened(mixture, k, z), own == k) for z, own in zip((before, after), nearest, strict=True)]
        sums += [np.sum(a * b, axis=0) for a, b in (ranks, ranks[:1] * 2, ranks[1:] * 2)]
    return float(np.max(sums[0] / np.sqrt(np.maximum(sums[1] * sums[2], 1e-300))))


def _ranks(u: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Centred ranks among the members (n, ndim), zero for the rest."""
    out = np.zeros(u.shape)
    out[member] = rankdata(u[member], axis=0) / max(member.sum(), 1) - 0.5
    return out
