"""NUTS: the No-U-Turn sampler, preconditioned by the metric at the mode, chains vectorised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax

from skyfold.inference.chains.gradient_chains import CHUNK, GradientChains
from skyfold.inference.chains.no_u_turn import no_u_turn


@dataclass(frozen=True)
class NUTS(GradientChains):
    """No-U-Turn sampler (Hoffman & Gelman 2014; transitions as BlackJAX's, see `no_u_turn`).

    Parameters
    ----------
    chains : int
        Chains, run side by side.
    warmup, draws : int
        Steps of each chain for adaptation (discarded) and for sampling; multiples of 100 are cheapest.
    max_draws : int
        Draws per chain up to which sampling goes on while R-hat or ESS are not good enough.
    target_accept : float
        Acceptance that the step size aims at.
    max_doublings : int
        Trajectories have at most ``2**max_doublings`` steps.
    screen, starts : int
        Prior draws and starts in the search for the mode.
    """

    name: ClassVar[str] = "nuts"
    max_doublings: int = 8

    @property
    def transition(self) -> NUTSTransition:  # type: ignore[override]
        """One step of a chain."""
        return NUTSTransition(self.max_doublings)


@dataclass(frozen=True)
class NUTSTransition:
    """A chunk of No-U-Turn transitions in whitened coordinates."""

    max_doublings: int

    def __call__(
        self, density: Any, states: Any, step: jax.Array, key: jax.Array, adapt: Any, target: Any
    ) -> tuple[Any, jax.Array, dict[str, jax.Array]]:
        return no_u_turn(density, states, step, key, adapt, target, doublings=self.max_doublings, length=CHUNK)
