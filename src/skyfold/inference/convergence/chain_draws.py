"""Draws of chains, judged: what they missed, and what they say of themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from skyfold.inference.convergence.missed_modes import incomplete
from skyfold.inference.convergence.missed_ridges import unvisited
from skyfold.inference.density import evaluate
from skyfold.inference.running import Clock, Draws
from skyfold.inference.search.modes import best_fit
from skyfold.posterior import Posterior


def judged_chains(
    method: Any,
    posterior: Posterior,
    run: Any,
    latent: np.ndarray,
    complaints: tuple[str, ...],
    *,
    seed: int,
    evaluations: int,
    gradients: int = 0,
    diagnostics: dict[str, Any],
    clock: Clock,
) -> Draws:
    """Draws (chains, draws, ndim) of a method whose settings have `starts`, with what is wrong with them.

    Parameters
    ----------
    run : has what was kept of the search for modes (see `Landscape.record`).
    complaints : what the chains say of themselves.
    """
    flat = latent.reshape(-1, posterior.ndim)
    _, likelihood = evaluate(posterior, flat)
    lacking, looked = unvisited(posterior, run.mode, flat, method.starts, seed)
    messages = (*incomplete(run.modes, float(run.unseen)), *complaints, *lacking)
    return Draws(
        method=method.name,
        latent=latent,
        log_likelihood=likelihood.reshape(latent.shape[:2]),
        converged=not messages,
        messages=messages,
        seed=seed,
        evaluations=evaluations + looked,
        gradients=gradients,
        best=best_fit(posterior, run.best, flat, likelihood, method.starts),
        mode=run.mode,
        diagnostics={**diagnostics, "modes": int(run.modes)},
        seconds=clock.seconds(),
    )
