"""MEADS: generalised Hamiltonian Monte Carlo with many chains that set their parameters from each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.inference.chains.many_chains import GROUPS, ManyChains


@dataclass(frozen=True)
class MEADSTuner:
    """BlackJAX's GHMC step and MEADS adaptation, in folds of chains."""

    def start(
        self, u: np.ndarray, density: np.ndarray, gradient: np.ndarray, rng: np.random.Generator
    ) -> tuple[Any, Any]:
        """States of the chains and of the adaptation."""
        from blackjax.adaptation.meads_adaptation import MEADSAdaptationState
        from blackjax.mcmc.ghmc import GHMCState

        n, ndim = u.shape
        chains = GHMCState(u, rng.standard_normal((n, ndim)), density, gradient, rng.uniform(-1.0, 1.0, n))
        folds = np.ones(GROUPS)
        return chains, MEADSAdaptationState(0, 0.1 * folds, np.ones((GROUPS, ndim)), 0.5 * folds, 0.25 * folds)

    def step(self, key: jax.Array, chains: Any, tuning: Any, density: Any, adapt: Any) -> tuple[Any, Any, Any]:
        """One leapfrog step of every chain."""
        from blackjax.adaptation.meads_adaptation import base
        from blackjax.mcmc.ghmc import build_kernel

        n = len(chains.position)
        own, shuffle = jax.random.split(key)
        turn = tuning.current_iteration
        # while adapting, chains change folds now and then
        order = jnp.where(adapt & (turn % GROUPS == 0), jnp.argsort(jax.random.uniform(shuffle, (n,))), jnp.arange(n))
        chains = jax.tree.map(lambda a: a[order], chains)
        fold = turn % GROUPS
        position, gradient = (
            a.reshape(GROUPS, n // GROUPS, -1)[fold] for a in (chains.position, chains.logdensity_grad)
        )
        tuned = base(GROUPS)[1](tuning, position, gradient, fold)
        good = jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tuned)]).all()
        tuning = jax.tree.map(lambda a, b: jnp.where(adapt & good, a, b), tuned, tuning)

        def spread(values: jax.Array) -> jax.Array:
            common = jnp.broadcast_to(jnp.mean(values, axis=0), values.shape)
            return jnp.repeat(jnp.where(adapt, values, common), n // GROUPS, axis=0)

        kernel = build_kernel()

        def one(key: jax.Array, state: Any, *parameters: jax.Array) -> tuple[Any, Any]:
            size, scale, alpha, delta = parameters
            return kernel(key, state, density, size, scale, alpha, delta)

        parameters = (spread(p) for p in (tuning.step_size, tuning.position_sigma, tuning.alpha, tuning.delta))
        new, info = jax.vmap(one)(jax.random.split(own, n), chains, *parameters)
        return new, tuning, {"gradients": jnp.ones((), int), "divergent": jnp.sum(info.is_divergent)}

    def numbers(self, tuning: Any) -> dict[str, float]:
        """What was tuned."""
        return {"step_size": float(np.mean(tuning.step_size)), "damping": float(np.mean(tuning.alpha))}


@dataclass(frozen=True)
class MEADS(ManyChains):
    """MEADS (Hoffman & Sountsov 2022, AISTATS 151, 7799; BlackJAX).

    Every step is one leapfrog step with a momentum that is refreshed only in part, so that all chains cost the same;
    step size, scales and damping come from the spread of positions and gradients over other chains.

    Parameters
    ----------
    chains : int
        Chains, a multiple of 4.
    warmup : int
        Steps of each chain for adaptation (discarded).
    draws, max_draws : int
        Draws of each chain, and up to which sampling goes on while R-hat or ESS are not good enough.
    screen, starts : int
        Prior draws and starts in the search for the modes.
    """

    name: ClassVar[str] = "meads"
    thin: ClassVar[int] = 5
    #: Steps of all chains and of what they tune.
    tuner: ClassVar[Any] = MEADSTuner()
    warmup: int = 1000
