"""Continuation: short NUTS chains that start from the draws of an approximation and make up for what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from skyfold.inference.chains.gradient_chains import CHUNK, Chains, advance_chains, enough
from skyfold.inference.convergence.mixing import complaints
from skyfold.inference.density import evaluate
from skyfold.inference.frames.whitened import Bend, Frame
from skyfold.inference.importance.judged import Weighed
from skyfold.inference.running import Checkpoint, Draws, Progress
from skyfold.inference.search.scoring import linearise
from skyfold.posterior import Posterior

#: Steps of warm-up, least and most draws of each chain.
_WARMUP, _DRAWS, _MOST = 300, 300, 3000
#: Acceptance that the step size aims at: the coordinates are those of the approximation, which may be poor.
_ACCEPT = 0.9


def continued(
    posterior: Posterior,
    bend: Bend,
    sampler: Any,
    method: Any,
    draws: Draws,
    weighed: Weighed,
    saved: dict[str, Any],
    loaded: dict[str, np.ndarray] | None,
    progress: Progress,
    checkpoint: Checkpoint,
    seconds: Callable[[], dict[str, float]],
) -> Draws:
    """Draws of chains that go on from an approximation, with its diagnostics beside their own.

    Parameters
    ----------
    bend : the coordinates of the approximation's draws (`Weighed.x`).
    sampler : class of the method whose chains they are, `NUTS`.
    method : of the approximation; has the number of ``chains``, and in ``starts`` the size of the batches in which
        gradients are evaluated first, that of the mode search.
    draws : what the approximation gives uncorrected; its flag says whether it covers the modes.
    weighed : its draws and weights.
    saved : state of the approximation, which goes into every checkpoint.
    loaded : checkpoint that the run began with.
    seconds : clock.
    """
    import arviz  # noqa: F401  # slow to import, which is not sampling

    nuts = sampler(chains=method.chains, warmup=_WARMUP, draws=_DRAWS, max_draws=_MOST, target_accept=_ACCEPT)
    if loaded and "chain_done" in loaded:
        chains = Chains(**{n[6:]: a for n, a in loaded.items() if n.startswith("chain_")})
    else:
        chains = _started(posterior, bend, method, draws, weighed)
    advance = partial(advance_chains, posterior.kernel, transition=nuts.transition)
    quality: dict[str, float] = {}

    def save() -> None:
        checkpoint.save(**saved, **{f"chain_{n}": a for n, a in chains.state().items()})

    progress.stage("correcting by NUTS", _DRAWS)
    while chains.tuning:
        chains.advance(advance, draws.seed, adapt=True)
        if chains.done >= 2 and chains.tuning:
            chains.reframe()
        save()
    while not enough(nuts, chains, quality, progress):
        chains.advance(advance, draws.seed, adapt=False)
        progress.update(len(chains.z) * CHUNK, f"{chains.divergent} divergences")
        save()
    latent = chains.latent()
    _, likelihood = evaluate(posterior, latent.reshape(-1, posterior.ndim))
    messages = complaints(quality, chains.divergent, latent.shape[0] * latent.shape[1])
    # chains that fail make up for nothing
    earlier = tuple(m.replace("; the chains make up for it", "") if messages else m for m in draws.messages)
    return replace(
        draws,
        sampler=f"{draws.sampler}, then nuts",
        latent=latent,
        log_likelihood=likelihood.reshape(latent.shape[:2]),
        log_weights=None,
        converged=draws.converged and not messages,
        messages=(*messages, *earlier),
        evaluations=draws.evaluations + int(chains.gradients) + method.chains,
        gradients=draws.gradients + int(chains.gradients),
        diagnostics={
            **draws.diagnostics,
            **quality,
            "divergences": int(chains.divergent),
            "step_size": float(chains.step[0]),
        },
        seconds=seconds(),
    )


def _started(posterior: Posterior, bend: Bend, method: Any, draws: Draws, weighed: Weighed) -> Chains:
    """Chains at draws resampled by their weights, in the frame of the weighted covariance."""
    rng = np.random.default_rng([draws.seed, 13])
    ndim = weighed.x.shape[1]
    mean, covariance = weighed.moments()
    trust = weighed.effective / (weighed.effective + 20.0 * ndim)
    covariance = trust * covariance + (1.0 - trust) * np.atleast_2d(np.cov(weighed.x.T))
    frame = Frame(bend, mean, np.linalg.cholesky(covariance))
    chosen = rng.choice(len(weighed.z), size=method.chains, p=weighed.weights)
    z, v = weighed.z[chosen], weighed.x[chosen]
    begun = frame.enter(bend.straight(v), z, *linearise(posterior, z, method.starts))
    search = {"best": draws.best, "mode": draws.mode, "spent": 0, "modes": 1, "unseen": 0.0}
    return Chains.at(frame, begun, _WARMUP, _ACCEPT, search)
