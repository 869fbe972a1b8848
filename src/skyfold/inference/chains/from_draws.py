"""Continuation: short NUTS chains that start from the draws of an approximation and make up for what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from skyfold.inference.chains.gradient_chains import CHUNK, Chains, advance_chains, enough, fresh_step
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


@dataclass(frozen=True)
class Continuation:
    """Chains that go on from an approximation.

    Attributes
    ----------
    posterior : Posterior
    bend : the coordinates of the approximation's draws (`Weighed.x`).
    sampler : class of the method whose chains they are, `NUTS`.
    chains : number of chains.
    batch : size of the batches in which gradients are evaluated first, that of the mode search.
    progress, checkpoint : as for a method.
    """

    posterior: Posterior
    bend: Bend
    sampler: Callable[..., Any]
    chains: int
    batch: int
    progress: Progress
    checkpoint: Checkpoint

    def __call__(
        self,
        draws: Draws,
        weighed: Weighed,
        saved: dict[str, Any],
        loaded: dict[str, np.ndarray] | None,
        seconds: Callable[[], dict[str, float]],
    ) -> Draws:
        """Draws of the chains, with the diagnostics of the approximation beside their own.

        Parameters
        ----------
        draws : what the approximation gives uncorrected; its flag says whether it covers the modes.
        weighed : its draws and weights.
        saved : state of the approximation, which goes into every checkpoint.
        loaded : checkpoint that the run began with.
        seconds : clock.
        """
        import arviz  # noqa: F401  # slow to import, which is not sampling

        posterior = self.posterior
        method = self.sampler(chains=self.chains, warmup=_WARMUP, draws=_DRAWS, max_draws=_MOST, target_accept=_ACCEPT)
        if loaded and "chain_done" in loaded:
            chains = Chains(**{n[6:]: a for n, a in loaded.items() if n.startswith("chain_")})
        else:
            chains = self._started(draws, weighed)
        advance = partial(advance_chains, posterior.kernel, transition=method.transition)
        quality: dict[str, float] = {}
        self.progress.stage("correcting by NUTS", _DRAWS)
        while chains.tuning:
            chains.advance(advance, draws.seed, adapt=True)
            if chains.done >= 2 and chains.tuning:
                chains.reframe()
            self._save(chains, saved)
        while not enough(method, chains, quality, self.progress):
            chains.advance(advance, draws.seed, adapt=False)
            self.progress.update(len(chains.z) * CHUNK, f"{chains.divergent} divergences")
            self._save(chains, saved)
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
            evaluations=draws.evaluations + int(chains.gradients) + self.chains,
            gradients=draws.gradients + int(chains.gradients),
            diagnostics={
                **draws.diagnostics,
                **quality,
                "divergences": int(chains.divergent),
                "step_size": float(chains.step[0]),
            },
            seconds=seconds(),
        )

    def _save(self, chains: Chains, saved: dict[str, Any]) -> None:
        self.checkpoint.save(**saved, **{f"chain_{n}": a for n, a in chains.state().items()})

    def _started(self, draws: Draws, weighed: Weighed) -> Chains:
        """Chains at draws resampled by their weights, in the frame of the weighted covariance."""
        rng = np.random.default_rng([draws.seed, 13])
        ndim = weighed.x.shape[1]
        mean, covariance = weighed.moments()
        trust = weighed.effective / (weighed.effective + 20.0 * ndim)
        covariance = trust * covariance + (1.0 - trust) * np.atleast_2d(np.cov(weighed.x.T))
        frame = Frame(self.bend, mean, np.linalg.cholesky(covariance))
        chosen = rng.choice(len(weighed.z), size=self.chains, p=weighed.weights)
        z, v = weighed.z[chosen], weighed.x[chosen]
        value, gradient = linearise(self.posterior, z, self.batch)
        t = np.where(self.bend.unit, self._unit(v), v)
        u, density, gradient = frame.enter(t, z, value, gradient)
        nothing = np.empty((0, CHUNK, self.chains, ndim))
        return Chains(
            done=0,
            tuning=_WARMUP // CHUNK,
            restarts=0,
            target=_ACCEPT,
            divergent=0,
            gradients=0,
            spent=0,
            modes=1,
            unseen=0.0,
            u=u,
            density=density,
            gradient=gradient,
            step=fresh_step(0.5),
            best=draws.best,
            mode=draws.mode,
            warm=nothing,
            z=nothing,
            unit=self.bend.unit,
            scale=self.bend.scale,
            mean=frame.mean,
            root=frame.root,
        )

    def _unit(self, v: np.ndarray) -> np.ndarray:
        """Position in the unit interval."""
        s = np.asarray(self.bend.scale)
        return s * (np.logaddexp(0.0, v / s) - np.logaddexp(0.0, (v - 1.0) / s))
