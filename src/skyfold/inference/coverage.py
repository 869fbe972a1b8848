"""Coverage: maxima for methods that know nothing of them, and whether their draws are where the maxima are.

Nested sampling in all its kinds ends in `weighted_draws`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skyfold.inference.clock import Clock
from skyfold.inference.draws import Draws
from skyfold.inference.maximum import climb, refine
from skyfold.inference.modes import best_of, search_modes
from skyfold.inference.screening import choose_starts, screen

if TYPE_CHECKING:
    from skyfold.posterior import Posterior

#: A mode with more than this share of the posterior, by Laplace's approximation, must have draws: at least so many of
#: what the share promises.
_SHARE, _FOUND = 0.02, 0.1
#: Effective draws (Kish) below which a run is not called converged.
LEAST_EFFECTIVE = 400.0


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
    messages: list[str],
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
    weights = np.exp(log_weights - np.max(log_weights))
    effective = float(weights.sum() ** 2 / np.sum(weights**2))
    said = [*found.missed, *messages]
    if effective < LEAST_EFFECTIVE:
        said.append(f"only {effective:.0f} effective draws, below {LEAST_EFFECTIVE:.0f}: use more live points")
    return Draws(
        method=method.name,
        latent=z[None],
        log_likelihood=log_likelihood[None],
        log_weights=log_weights[None],
        converged=not said,
        messages=tuple(said),
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
    prior, density, _ = screen(posterior, points, seed)
    own = log_likelihood - 0.5 * np.sum(z**2, axis=1)
    search = search_modes(posterior, prior, density, starts)
    found = [search.modes, climb(posterior, choose_starts(z, own, starts))]
    bests = [refine(posterior, modes, starts) for modes in found]
    highest = max(found, key=lambda modes: modes.value[0])
    best = max(bests, key=lambda modes: modes.log_likelihood[0])
    weights = np.exp(log_weights - np.max(log_weights))
    return Maxima(
        best=best_of(posterior, best, z, log_likelihood, starts),
        mode=highest.z[0],
        modes=max(len(m.z) for m in found),
        evaluations=search.evaluations + found[1].evaluations + sum(m.evaluations for m in bests),
        missed=missed_by(z, weights, found[0].parts, log_evidence, cure="use more live points"),
    )


def missed_by(
    z: np.ndarray,
    weights: np.ndarray,
    modes: tuple[np.ndarray, np.ndarray, np.ndarray],
    log_evidence: float | None,
    *,
    cure: str,
) -> tuple[str, ...]:
    """Say which modes hold mass, by Laplace's approximation, but few of the weighted draws.

    Parameters
    ----------
    z, weights : (n, ndim), (n,) draws and their weights.
    modes : latent vectors (k, ndim), log densities without the prior's norm (k,), and metrics (k, ndim, ndim).
    log_evidence : that of the draws, which may lack that of the modes.
    cure : what to do.
    """
    missed = []
    masses = modes[1] - 0.5 * np.linalg.slogdet(modes[2])[1]
    whole = float(np.logaddexp.reduce(masses))
    whole = whole if log_evidence is None else max(log_evidence, whole)
    for mode, value, metric, mass in zip(*modes, masses, strict=True):
        ndim, share = len(mode), float(np.exp(mass - whole))
        near = np.einsum("ni,ij,nj->n", z - mode, metric, z - mode) < ndim + 3.0 * np.sqrt(2 * ndim)
        there = float(weights @ near / weights.sum())
        if share > _SHARE and there < _FOUND * share:
            missed.append(
                f"a mode with some {100 * share:.0f}% of the posterior (log-likelihood "
                f"{value + 0.5 * mode @ mode:.2f}) has {100 * there:.1g}% of the draws: {cure}"
            )
    return tuple(missed)
