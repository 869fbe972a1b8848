"""Maximum of the likelihood (`MLE`) and of the posterior (`MAP`): damped Fisher scoring from many starts at once.

The metric of Fisher scoring, J' M J (+ 1 with the prior), is that of the latent space, so it costs one forward
Jacobian and no second derivative. Starts are the best of many quasi-random prior draws. `MLE` maximises the likelihood
inside the prior's support, with the bounds of bounded priors as an active set: that is what XSPEC's best fit means.
`MAP` is the mode of the density *in latent coordinates*, in which the prior is standard normal; a mode is not
invariant, and this one differs from the mode in the physical parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from skyfold.inference.running import NO_CHECKPOINT, Checkpoint, Clock, Draws, Method, Progress, check_positive
from skyfold.inference.search.highest import first_look, highest
from skyfold.inference.search.landscape import landscape
from skyfold.inference.search.maxima import Modes, joined
from skyfold.inference.search.scoring import CALM, LANES, climb, refine
from skyfold.posterior import Posterior

#: Eigenvalue of the Fisher metric, scaled to a unit diagonal, below which parameters are degenerate.
_DEGENERATE = 1e-10


@dataclass(frozen=True)
class MLE(Method):
    """Maximum of the likelihood inside the prior's support.

    Parameters
    ----------
    screen : int
        Quasi-random prior draws whose best are the starts.
    starts : int
        Number of starts, optimised together.
    max_steps : int
        Most Fisher-scoring steps.
    """

    name: ClassVar[str] = "mle"
    with_prior: ClassVar[bool] = False
    screen: int = 4096
    starts: int = 32
    max_steps: int = 200

    def __post_init__(self) -> None:
        check_positive(self, "screen", "starts", "max_steps")

    def __call__(
        self, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint = NO_CHECKPOINT
    ) -> Draws:
        clock = Clock()
        progress.stage("a first look")
        modes, best, evaluations = _searched(self, posterior, seed, progress)
        chosen, metric, found = modes, modes.metric[0], []
        if not self.with_prior:
            chosen, metric = best, best.metric[0] - np.eye(posterior.ndim)
            found = _degeneracies(posterior, best.z[0], metric)
        if not chosen.converged[0]:
            found.insert(0, f"{self.name}: the best maximum is not a stationary point to working precision")
        return Draws(
            method=self.name,
            latent=chosen.z[:1][None],
            log_likelihood=chosen.log_likelihood[:1][None],
            converged=bool(chosen.converged[0]),
            messages=tuple(found),
            seed=seed,
            evaluations=evaluations,
            best=best.z[0],
            mode=modes.z[0],
            diagnostics={
                "modes": len(chosen.z),
                "mode_values": chosen.value.tolist(),
                "metric": metric,
            },
            seconds=clock.seconds(),
        )


@dataclass(frozen=True)
class MAP(MLE):
    """Mode of the posterior density in latent coordinates; settings as for `MLE`."""

    name: ClassVar[str] = "map"
    with_prior: ClassVar[bool] = True


def _searched(method: MLE, posterior: Posterior, seed: int, progress: Progress) -> tuple[Modes, Modes, int]:
    """Maxima of the posterior and of the likelihood, best first, and the evaluations spent."""
    size, max_steps, with_prior = method.starts, method.max_steps, method.with_prior
    found = first_look(posterior, size, seed, with_prior=with_prior, max_steps=max_steps)
    if found is not None and len(found.z) == 1 and found.converged[0]:
        other = climb(posterior, found.z, with_prior=not with_prior, max_steps=max_steps, lanes=LANES, size=size)
        modes, best = (found, other) if with_prior else (other, found)
        return modes, best, modes.evaluations + best.evaluations
    land = landscape(posterior, screened=method.screen, starts=size, seed=seed, progress=progress)
    modes = land.first(max_steps)
    best = refine(posterior, modes, size, max_steps=max_steps, lanes=LANES, calm=CALM)
    if found is not None:
        modes, best = (joined(modes, found), best) if with_prior else (modes, joined(best, found))
    best = best if with_prior else highest(land, best, seed, max_steps=max_steps)
    return modes, best, len(land.points) + modes.evaluations + best.evaluations


def _degeneracies(posterior: Posterior, z: np.ndarray, metric: np.ndarray) -> list[str]:
    """Parameters, and combinations of parameters, that the data do not constrain at all."""
    low, high = posterior.latent_bounds()
    inside = (z > low) & (z < high)
    owner = np.repeat(
        [p.name for p in posterior.parameters], [p.latent.stop - p.latent.start for p in posterior.parameters]
    )
    blind = dict.fromkeys(owner[inside & ~(np.diagonal(metric) > 0)])
    told = [f"the data do not see {name} at the best fit, or see it in steps: it has no error" for name in blind]
    free = np.flatnonzero(inside & (np.diagonal(metric) > 0))
    if len(free) < 2:
        return told
    scale = np.sqrt(np.diagonal(metric)[free])
    values, vectors = np.linalg.eigh(metric[np.ix_(free, free)] / np.outer(scale, scale))
    found = []
    for value, vector in zip(values, vectors.T, strict=True):
        if value < _DEGENERATE:
            names = dict.fromkeys(owner[free[np.abs(vector) > 0.1]])
            found.append(f"the data do not tell {' and '.join(names)} apart: they have no errors; fix one")
    return told + list(dict.fromkeys(found))
