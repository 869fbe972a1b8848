"""What ends a nested sampling run: weighted draws, the maxima they stand on, and whether the run has converged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skyfold.inference.convergence.missed_modes import missed_by
from skyfold.inference.convergence.mixing import too_few
from skyfold.inference.importance.psis import kish, normalised
from skyfold.inference.running import Clock, Draws
from skyfold.inference.search.landscape import landscape
from skyfold.inference.search.modes import best_of
from skyfold.inference.search.scoring import climb, refine
from skyfold.inference.search.screening import choose_starts
from skyfold.posterior import Posterior


def weighted_draws(
    method: Any,
    posterior: Posterior,
    z: np.ndarray,
    log_likelihood: np.ndarray,
    log_weights: np.ndarray,
    evidence: tuple[float, float],
    *,
    seed: int,
    clock: Clock,
    evaluations: int,
    messages: Sequence[str],
    diagnostics: dict[str, Any],
) -> Draws:
    """Draws of a method whose settings have `screen` and `starts`; maxima are added and what is missed is said.

    Parameters
    ----------
    z, log_likelihood, log_weights : (n, ndim), (n,), (n,) arrays
    evidence : log evidence and its error.
    messages : what keeps the method's own criteria from being met.
    """
    found = maxima(
        posterior, z, log_likelihood, log_weights, evidence[0], points=method.screen, starts=method.starts, seed=seed
    )
    effective = kish(normalised(log_weights))
    few = too_few(effective, "use more live points", "the number of effective draws")
    said = (*found.missed, *messages, *few)
    return Draws(
        method=method.name,
        latent=z[None],
        log_likelihood=log_likelihood[None],
        log_weights=log_weights[None],
        converged=not said,
        messages=said,
        seed=seed,
        evaluations=evaluations + found.evaluations,
        log_evidence=evidence[0],
        log_evidence_error=evidence[1],
        best=found.best,
        mode=found.mode,
        diagnostics={"effective": effective, "modes": found.modes, **diagnostics},
        seconds=clock.seconds(),
    )


@dataclass(frozen=True)
class Maxima:
    """Maxima found by climbing from the prior and from the draws.

    Attributes
    ----------
    best : (ndim,) latent vector of the maximum of the likelihood.
    mode : (ndim,) latent vector of the highest mode of the posterior in latent coordinates.
    modes : number of distinct modes.
    evaluations : likelihood evaluations spent.
    missed : what the draws miss, empty where they cover every mode.
    """

    best: np.ndarray
    mode: np.ndarray
    modes: int
    evaluations: int
    missed: tuple[str, ...]


def maxima(
    posterior: Posterior,
    z: np.ndarray,
    log_likelihood: np.ndarray,
    log_weights: np.ndarray,
    log_evidence: float,
    *,
    points: int,
    starts: int,
    seed: int,
) -> Maxima:
    """Climb from prior draws and from weighted draws; compare what is found with where the draws are.

    Parameters
    ----------
    z, log_likelihood, log_weights : (n, ndim), (n,), (n,) arrays
        Weighted draws.
    log_evidence : float
        Their evidence.
    points, starts : int
        Prior draws that are screened and starts climbed from these; as many again from the draws.
    """
    land = landscape(posterior, screened=points, starts=starts, seed=seed)
    own = log_likelihood - 0.5 * np.sum(z**2, axis=1)
    found = [land.modes, climb(posterior, choose_starts(z, own, starts))]
    bests = [land.best, refine(posterior, found[1], starts)]
    highest = max(found, key=lambda modes: modes.value[0])
    best = max(bests, key=lambda modes: modes.log_likelihood[0])
    return Maxima(
        best=best_of(posterior, best, z, log_likelihood, starts),
        mode=highest.z[0],
        modes=max(len(m.z) for m in found),
        evaluations=land.evaluations + found[1].evaluations + bests[1].evaluations,
        missed=missed_by(z, normalised(log_weights), found[0].parts, log_evidence, cure="use more live points"),
    )
