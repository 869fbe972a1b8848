"""Completion: adaptive importance sampling that goes on from an approximation and makes up for what it lacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skyfold.inference.density import evaluate
from skyfold.inference.frames.unit_or_normal import Laplace
from skyfold.inference.importance.judged import Weighed
from skyfold.inference.importance.mixture import Mixture
from skyfold.inference.importance.ridges import probe
from skyfold.inference.importance.rounds import Adaptation
from skyfold.inference.importance.short_chains import fitted
from skyfold.inference.running import Draws, Progress
from skyfold.inference.search.quasirandom import normal_points
from skyfold.posterior import Posterior

#: Draws of the pool that the first proposals are fitted to, and the proposals' share of Laplace approximations.
_RESAMPLED, _LAPLACE = 4096, 0.3
#: Draws of the prior among the first.
_SCREENED = 2048
#: Evaluations after which it gives up.
_MOST = 150_000


def complete(
    posterior: Posterior,
    draws: Draws,
    pool: Weighed,
    laplace: Laplace,
    batch: int,
    effective: int,
    progress: Progress,
) -> tuple[Draws, str]:
    """Weighted draws in place of those of the approximation, and why they are not to be trusted (empty when they are).

    The first proposals are fitted to the approximation's weighted draws and stand beside the Laplace approximations at
    all modes; from there it goes on as in `auto` (see `adaptation`).

    Parameters
    ----------
    draws : what the approximation gives.
    pool : its draws and weights.
    laplace : approximations at the modes.
    batch : size of the batches in which the modes were climbed to.
    effective : effective draws (Kish) to reach.
    """
    rng = np.random.default_rng([draws.seed, 14])
    # truncated as by Ionides (2008, J. Comput. Graph. Stat. 17, 295): no draw alone makes the proposals
    weights = np.minimum(pool.weights, 1.0 / np.sqrt(len(pool.weights)))
    chosen = rng.choice(len(weights), size=_RESAMPLED, p=weights / weights.sum())
    modes = Mixture.around(laplace)
    own = fitted(modes.coordinates.from_latent(pool.z[chosen]), modes.coordinates, rng)
    mixture = Mixture(
        np.concatenate([(1.0 - _LAPLACE) * own.weights, _LAPLACE * modes.weights]),
        np.concatenate([own.means, modes.means]),
        np.concatenate([own.roots, modes.roots]),
        modes.coordinates,
    )
    z = normal_points(_SCREENED, posterior.ndim, rng)
    ridges, _ = probe(posterior, np.asarray(draws.mode)[None], mixture, laplace.log_evidence, batch)
    adaptation = Adaptation(posterior, mixture, ridges, (z, *evaluate(posterior, z)), effective, rng)
    progress.stage("correcting by importance sampling", effective)
    reason = adaptation.run(_MOST, progress)
    sample = adaptation.sample
    log_evidence, error = (None, None) if reason else sample.log_evidence()
    return (
        replace(
            draws,
            sampler=f"{draws.sampler}, then importance sampling",
            latent=sample.z[None],
            log_likelihood=sample.likelihood[None],
            log_weights=sample.log_weights[None],
            evaluations=draws.evaluations + adaptation.spent + _SCREENED,
            log_evidence=log_evidence,
            log_evidence_error=error,
            diagnostics={
                **draws.diagnostics,
                "khat_corrected": sample.pareto_k(),
                "effective_corrected": sample.effective(),
            },
        ),
        reason,
    )
