"""Auto: mode search, then adaptive importance sampling around the modes; SMC or NUTS where that is not to be trusted.

The draws are accepted when the Pareto k-hat of the weights is below 0.7 and the effective sample size is reached.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np

from skyfold.inference.convergence.missed_modes import incomplete
from skyfold.inference.frames.unit_or_normal import Laplace
from skyfold.inference.importance.mixture import Mixture
from skyfold.inference.importance.ridges import probe
from skyfold.inference.importance.rounds import Adaptation
from skyfold.inference.running import NO_CHECKPOINT, Checkpoint, Clock, Draws, Method, Progress, check_positive
from skyfold.inference.search.landscape import Landscape, landscape
from skyfold.inference.search.maxima import Modes
from skyfold.inference.search.modes import best_of
from skyfold.posterior import Posterior

#: Modes that lie lower than the best by more than this (in log density) hold no mass that counts.
_DEEP = 20.0
#: Latent dimensions up to which SMC is tried before NUTS: beyond, its particles cost more than chains.
_FEW = 12
#: Rise of the likelihood that a mode of the posterior may have to the likelihood's own maximum.
_RISE = 10.0


@dataclass(frozen=True)
class Auto(Method):
    """Mode search, adaptive importance sampling, SMC in few dimensions and NUTS as the fallbacks.

    Parameters
    ----------
    effective : int
        Effective draws (Kish) to reach.
    screen, starts : int
        Prior draws screened and starts climbed in the search for modes.
    max_evaluations : int
        Likelihood evaluations after which importance sampling gives up.
    max_dimension : int
        Latent dimensions beyond which NUTS is used at once.
    """

    name: ClassVar[str] = "auto"
    effective: int = 4000
    screen: int = 2048
    starts: int = 16
    max_evaluations: int = 100_000
    max_dimension: int = 40

    def __post_init__(self) -> None:
        check_positive(self, "effective", "screen", "starts", "max_evaluations")

    def __call__(
        self, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint = NO_CHECKPOINT
    ) -> Draws:
        clock = Clock()
        land = landscape(posterior, screened=self.screen, starts=self.starts, seed=seed, progress=progress)
        search, modes = land.search, land.modes
        best = None
        spent = search.evaluations
        reason = f"{posterior.ndim} dimensions are too many for importance sampling"
        if posterior.ndim <= self.max_dimension:
            adaptation, best = self._rounds(land, seed)
            progress.stage("importance sampling", self.effective)
            reason = adaptation.run(self.max_evaluations, progress)
            spent += adaptation.spent
        if reason:
            return self._other(posterior, seed, progress, checkpoint, land, reason, spent, clock)
        sample = adaptation.sample
        # modes of little mass count where their likelihood may come higher
        if best is None or np.any(modes.log_likelihood[1:] > best.log_likelihood[0] - _RISE):
            best = land.best
            spent += best.evaluations
        log_evidence, error = sample.log_evidence()
        return Draws(
            method=self.name,
            sampler="importance sampling",
            latent=sample.z[None],
            log_likelihood=sample.likelihood[None],
            log_weights=sample.log_weights[None],
            converged=search.complete,
            messages=incomplete(len(modes.z), search.unseen),
            seed=seed,
            evaluations=spent,
            log_evidence=log_evidence,
            log_evidence_error=float(np.hypot(error, search.unseen)),
            best=best_of(posterior, best, sample.z, sample.likelihood, self.starts),
            mode=modes.z[0],
            diagnostics={
                "khat": sample.pareto_k(),
                "effective": sample.effective(),
                "efficiency": sample.effective() / len(sample),
                "modes": len(modes.z),
            },
            seconds=clock.seconds(),
        )

    def _other(
        self,
        posterior: Posterior,
        seed: int,
        progress: Progress,
        checkpoint: Checkpoint,
        land: Landscape,
        reason: str,
        spent: int,
        clock: Clock,
    ) -> Draws:
        """Draws of SMC, or of NUTS where there are too many dimensions for it, or where it does not converge."""
        from skyfold.inference.nuts import NUTS
        from skyfold.inference.smc import SMC

        if posterior.ndim <= min(_FEW, self.max_dimension):
            draws = SMC(starts=self.starts)(posterior, seed, progress)
            spent += draws.evaluations
            # who stops a run wants what there is, not another method
            if (draws.converged and land.search.complete) or "interrupted" in draws.diagnostics:
                return replace(
                    draws,
                    method=self.name,
                    sampler="smc",
                    messages=(f"auto used SMC: {reason}", *draws.messages),
                    evaluations=spent,
                    seconds=clock.seconds(),
                )
            reason = f"{reason}; SMC did not converge either"
        draws = NUTS(starts=self.starts, screen=self.screen)(posterior, seed, progress, checkpoint, land)
        return replace(
            draws,
            method=self.name,
            sampler="nuts",
            messages=(f"auto used NUTS: {reason}", *draws.messages),
            evaluations=spent + draws.evaluations,
            seconds=clock.seconds(),
        )

    def _rounds(self, land: Landscape, seed: int) -> tuple[Adaptation, Modes | None]:
        """Weighted draws before the first round, and the best fit where it was found by the way."""
        posterior, modes = land.posterior, _relevant(land.modes)
        laplace = Laplace.at(posterior, *modes.parts)
        mixture = Mixture.around(laplace)
        ridges, best = probe(posterior, modes.z, mixture, laplace.log_evidence, self.starts)
        rng = np.random.default_rng([seed, 2])
        return Adaptation(posterior, mixture, ridges, land.screened, self.effective, rng), best


def _relevant(modes: Modes) -> Modes:
    """Modes that can hold mass; the coordinates must suit these alone."""
    kept = modes.value > modes.value[0] - _DEEP
    pieces = {f.name: getattr(modes, f.name)[kept] for f in fields(modes) if f.name != "evaluations"}
    return replace(modes, **pieces)
