"""ChEES: Hamiltonian Monte Carlo with many chains that tune their common trajectory length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.inference.chains.many_chains import ManyChains


@dataclass(frozen=True)
class ChEES(ManyChains):
    """ChEES-HMC (Hoffman, Radul & Sountsov 2021, AISTATS 130, 3907; BlackJAX).

    All chains make trajectories of the same, quasi-randomly varied length, which suits vector units and GPUs; the
    length is tuned for the largest change of the expected squares, the step size for acceptance.

    Parameters
    ----------
    chains : int
        Chains, a multiple of 4.
    warmup, draws : int
        Steps of each chain for adaptation (discarded) and for sampling.
    max_draws : int
        Draws per chain up to which sampling goes on while R-hat or ESS are not good enough.
    target_accept : float
        Acceptance that the step size aims at.
    max_leapfrog : int
        Most leapfrog steps of a trajectory.
    screen, starts : int
        Prior draws and starts in the search for the modes.
    """

    name: ClassVar[str] = "chees"
    target_accept: float = 0.75
    max_leapfrog: int = 256

    @property
    def tuner(self) -> ChEESTuner:  # type: ignore[override]
        """Steps of all chains and of what they tune."""
        return ChEESTuner(self.target_accept, self.max_leapfrog)


@dataclass(frozen=True)
class ChEESTuner:
    """BlackJAX's HMC step and ChEES adaptation."""

    target: float
    most: int

    def _adaptation(self) -> tuple[Any, Any]:
        import optax
        from blackjax.adaptation.chees_adaptation import base

        return base(_jitter, lambda i: i + 1, optax.adam(0.05), self.target, 0.5, self.most)

    def start(
        self, u: np.ndarray, density: np.ndarray, gradient: np.ndarray, rng: np.random.Generator
    ) -> tuple[Any, Any]:
        """States of the chains and of the adaptation."""
        from blackjax.mcmc.hmc import HMCState

        return HMCState(u, density, gradient), self._adaptation()[0](np.int64(0), 0.3)

    def step(self, key: jax.Array, chains: Any, tuning: Any, density: Any, adapt: Any) -> tuple[Any, Any, Any]:
        """One trajectory of every chain."""
        from blackjax.mcmc.hmc import build_kernel

        size = jnp.where(adapt, tuning.step_size, jnp.exp(tuning.log_step_size_moving_average))
        length = jnp.where(adapt, tuning.trajectory_length, jnp.exp(tuning.log_trajectory_length_moving_average))
        steps = jnp.clip(jnp.ceil(_jitter(tuning.random_generator_arg) * length / size), 1, self.most).astype(int)
        unit = jnp.ones(chains.position.shape[1])
        kernel = build_kernel()

        def one(key: jax.Array, state: Any) -> tuple[Any, Any]:
            return kernel(key, state, density, size, unit, steps)

        new, info = jax.vmap(one)(jax.random.split(key, len(chains.position)), chains)
        acceptance = jnp.where(jnp.isfinite(info.acceptance_rate), info.acceptance_rate, 0.0)
        tuned = self._adaptation()[1](
            tuning,
            info.proposal.position,
            info.proposal.momentum,
            chains.position,
            acceptance,
            info.is_divergent,
            unit,
        )
        kept = tuning._replace(random_generator_arg=tuning.random_generator_arg + 1)
        tuning = jax.tree.map(lambda a, b: jnp.where(adapt, a, b), tuned, kept)
        return new, tuning, {"gradients": steps, "divergent": jnp.sum(info.is_divergent)}

    def numbers(self, tuning: Any) -> dict[str, float]:
        """What was tuned."""
        return {
            "step_size": float(np.exp(tuning.log_step_size_moving_average)),
            "trajectory": float(np.exp(tuning.log_trajectory_length_moving_average)),
        }


def _jitter(i: jax.Array) -> jax.Array:
    from blackjax.mcmc.dynamic_hmc import halton_sequence

    return jnp.asarray(halton_sequence(jnp.asarray(i), 10))
