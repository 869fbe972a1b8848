"""Nautilus: importance nested sampling of the package nautilus-sampler, an extra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from skyfold.inference.nested_sampling.finish import weighted_draws
from skyfold.inference.nested_sampling.unit_cube import Cube, checkpoint_folder, require_package, to_latent
from skyfold.inference.running import NO_CHECKPOINT, Checkpoint, Clock, Draws, Method, Progress
from skyfold.posterior import Posterior


@dataclass(frozen=True)
class Nautilus(Method):
    """Importance nested sampling with regions learnt by neural networks (Lange 2023, MNRAS 525, 3181).

    Parameters
    ----------
    live : int
        Live points of the exploration.
    remainder : float
        Share of the evidence in the live points at which the exploration ends.
    effective : int
        Effective draws to reach after it; the error of the log evidence is near the inverse of their square root.
    keep_exploration : bool
        Whether draws of the exploration count. They were drawn while the regions were being chosen by them, which
        biases the evidence a little.
    max_evaluations : int or None
        Likelihood evaluations after which to stop in any case.
    networks : int
        Neural networks per region.
    screen, starts : int
        Prior draws and starts of the search for maxima, which checks that the draws miss none.
    """

    name: ClassVar[str] = "nautilus"
    live: int = 2000
    remainder: float = 0.01
    effective: int = 10_000
    keep_exploration: bool = False
    max_evaluations: int | None = None
    networks: int = 4
    screen: int = 2048
    starts: int = 16

    def __call__(
        self, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint = NO_CHECKPOINT
    ) -> Draws:
        nautilus = require_package("nautilus", self.name)
        clock = Clock()
        cube = Cube(posterior, self.name, progress)
        folder = checkpoint_folder(checkpoint, self.name)
        sampler = nautilus.Sampler(
            lambda u: u,
            # one dimension more than there is where there is only one: the package refuses that
            lambda u: cube(u[:, : posterior.ndim]),
            n_dim=max(2, posterior.ndim),
            n_live=self.live,
            n_networks=self.networks,
            vectorized=True,
            n_batch=256,
            seed=seed,
            filepath=None if folder is None else folder / "nautilus.hdf5",
        )
        finished = sampler.run(
            f_live=self.remainder,
            n_eff=self.effective,
            n_like_max=np.inf if self.max_evaluations is None else self.max_evaluations,
            discard_exploration=not self.keep_exploration,
        )
        u, log_weights, log_likelihood = sampler.posterior()
        messages = []
        if not finished:
            messages.append(
                f"stopped after {sampler.n_like} evaluations with {sampler.n_eff:.0f} of {self.effective} effective "
                "draws: raise max_evaluations"
            )
        return weighted_draws(
            self,
            posterior,
            to_latent(u[:, : posterior.ndim]),
            log_likelihood,
            log_weights,
            (float(sampler.log_z), _error(sampler)),
            seed=seed,
            clock=clock,
            evaluations=cube.evaluations,
            messages=messages,
            diagnostics={
                "n_eff": float(sampler.n_eff),
                "efficiency": float(sampler.eta),
                "regions": len(sampler.bounds),
                "all_evaluations": int(sampler.n_like),
            },
        )


def _error(sampler: Any) -> float:
    """Error of the log evidence: scatter of the weights within each shell, in which that of its volume is contained."""
    value = sampler.log_z
    used = sampler.shell_n_eff > 0
    share = np.exp(sampler.shell_log_l[used] + sampler.shell_log_v[used] - value)
    return float(np.sqrt(np.sum(share**2 / sampler.shell_n_eff[used])))
