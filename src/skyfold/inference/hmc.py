"""HMC: Hamiltonian Monte Carlo with trajectories of random length, otherwise as `NUTS`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from skyfold.inference.chains.gradient_chains import CHUNK, GradientChains
from skyfold.inference.chains.step_size import tuned


@dataclass(frozen=True)
class HMC(GradientChains):
    """Hamiltonian Monte Carlo (Duane et al. 1987; Neal 2011; BlackJAX).

    Every trajectory has a number of steps drawn evenly from 1 to ``steps``, so that no period of the posterior is hit
    again and again. On a GPU the fixed work per step makes it cheaper than NUTS.

    Parameters
    ----------
    chains, warmup, draws, max_draws, target_accept, screen, starts
        As for `NUTS`.
    steps : int
        Most leapfrog steps of a trajectory.
    """

    name: ClassVar[str] = "hmc"
    target_accept: float = 0.7
    steps: int = 10

    @property
    def transition(self) -> HMCTransition:  # type: ignore[override]
        """One step of a chain."""
        return HMCTransition(self.steps)


@dataclass(frozen=True)
class HMCTransition:
    """BlackJAX's HMC step in whitened coordinates, of random length."""

    steps: int

    def __call__(
        self, density: Any, states: Any, step: jax.Array, key: jax.Array, adapt: Any, target: Any
    ) -> tuple[Any, jax.Array, dict[str, jax.Array]]:
        import blackjax

        kernel = blackjax.hmc.build_kernel()
        mass = jnp.ones(states[0].shape[1])

        def one(key: jax.Array, state: Any, size: jax.Array) -> tuple[Any, Any]:
            key, length = jax.random.split(key)
            number = jax.random.randint(length, (), 1, self.steps + 1)
            return kernel(key, state, density, size, mass, number)

        def body(carry: tuple[Any, jax.Array], key: jax.Array) -> tuple[Any, Any]:
            states, step = carry
            keys = jax.random.split(key, states.logdensity.shape[0])
            states, info = jax.vmap(one, in_axes=(0, 0, None))(keys, states, step[0])
            acceptance = jnp.mean(jnp.where(jnp.isfinite(info.acceptance_rate), info.acceptance_rate, 0.0))
            step = jnp.where(adapt, tuned(step, acceptance, target), step)
            record = {
                "u": states.position,
                "divergent": info.is_divergent,
                "steps": info.num_integration_steps,
                "energy": info.energy,
            }
            return (states, step), record

        begin = (blackjax.mcmc.hmc.HMCState(*states), step)
        (states, step), record = jax.lax.scan(body, begin, jax.random.split(key, CHUNK))
        return tuple(states), step, record
