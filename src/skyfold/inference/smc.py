"""SMC: adaptive tempered sequential Monte Carlo from the prior to the posterior, with the evidence.

Independent populations of particles, drawn from the prior, go through densities prior x likelihood^b with b from 0 to 1
(Neal 2001, Stat. Comput. 11, 125; Del Moral, Doucet & Jasra 2006, J. R. Stat. Soc. B 68, 411). Each step of b leaves
the chosen share of effective particles; these are weighed, resampled and moved until they have forgotten where they
were (`skyfold.inference.chains.particle_moves`). The populations share temperatures and the fitted mixture, but no
particles, so their scatter tells the errors: R-hat of the draws and the standard error of the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import jax
import numpy as np
from scipy.special import logsumexp, stdtrit

from skyfold.errors import SkyfoldError
from skyfold.inference.chains.particle_moves import correlation, fit, move, prior_mixture
from skyfold.inference.convergence.mixing import LEAST_ESS, WORST_RHAT, least_ess, measure
from skyfold.inference.convergence.populations import of_particles
from skyfold.inference.convergence.stein import complaint, departures
from skyfold.inference.density import evaluate
from skyfold.inference.frames.unit_or_normal import Coordinates
from skyfold.inference.importance.mixture import Mixture
from skyfold.inference.importance.psis import systematic
from skyfold.inference.running import (
    NO_CHECKPOINT,
    Checkpoint,
    Clock,
    Draws,
    Method,
    Progress,
    RunState,
    check_positive,
)
from skyfold.inference.search.modes import best_of
from skyfold.inference.search.scoring import climb, refine
from skyfold.inference.search.screening import choose_starts
from skyfold.posterior import Posterior

#: Metropolis steps per call, acceptance that the length of local moves aims at, and how fast it follows.
_STEPS, _ACCEPTANCE, _GAIN = 2, 0.3, 1.5
#: Rise of the power in one step below which tempering is given up as stuck.
_STUCK = 1e-14


@dataclass(frozen=True)
class SMC(Method):
    """Adaptive tempered sequential Monte Carlo (Del Moral, Doucet & Jasra 2006).

    It needs no search for modes, follows several of them, and gives the evidence. Gradients serve in the end only, to
    see whether the draws stop short of where the posterior goes on (`skyfold.inference.convergence.stein`).

    Parameters
    ----------
    particles : int
        Particles of each population.
    populations : int
        Populations; at least 4, so that their scatter means something.
    keep : float
        Share of effective particles that a step of the temperature leaves.
    correlation : float
        Particles are moved until what they remember of where they were falls below this correlation.
    max_steps : int
        Metropolis steps at each temperature after which that is given up.
    max_temperatures : int
        Temperatures after which the rest is done in one step, whatever is left of the particles.
    rounds, max_rounds : int
        Times the particles are kept as draws, and up to which more are made while R-hat or ESS are not good enough.
    starts : int
        Draws from which the maxima of posterior and likelihood are climbed in the end.
    """

    name: ClassVar[str] = "smc"
    particles: int = 512
    populations: int = 8
    keep: float = 0.5
    correlation: float = 0.1
    max_steps: int = 100
    max_temperatures: int = 300
    rounds: int = 2
    max_rounds: int = 10
    starts: int = 16

    def __post_init__(self) -> None:
        check_positive(self, "particles", "max_steps", "max_temperatures", "rounds", "max_rounds", "starts")
        if self.populations < 4 or self.particles < 32 or self.rounds < 1:
            raise SkyfoldError(
                "SMC needs at least 4 populations (errors from their scatter), 32 particles and 1 round."
            )
        if not 0.0 < self.keep < 1.0 or not 0.0 < self.correlation < 1.0:
            raise SkyfoldError("SMC: keep and correlation are shares between 0 and 1.")

    def __call__(
        self, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint = NO_CHECKPOINT
    ) -> Draws:
        import arviz  # noqa: F401  # slow to import, which is not sampling
        import blackjax  # noqa: F401

        if self.particles * self.populations < 5 * posterior.ndim:
            raise SkyfoldError(
                f"{self.particles * self.populations} particles cannot span {posterior.ndim} dimensions, which takes "
                f"five per dimension: use SMC(particles={-(-5 * posterior.ndim // self.populations)}), or nuts."
            )
        clock = Clock()
        swarm = _Swarm.restored(checkpoint) or _Swarm.started(self, posterior, seed)
        progress.stage("tempering", 1.0)
        while swarm.power < 1.0:
            swarm.temper(self, posterior, seed)
            swarm.save(checkpoint)
            progress.update(swarm.power, f"likelihood to the power {swarm.power:.3g}")
        progress.stage("sampling", self.rounds)
        quality: dict[str, float] = {}
        try:
            while not _enough(self, swarm, quality):
                swarm.round(self, posterior, seed)
                swarm.save(checkpoint)
                progress.update(len(swarm.kept))
        except KeyboardInterrupt:
            if not len(swarm.kept):
                raise
            quality.update(measure(swarm.latent()), interrupted=1.0)
        return _finished(self, posterior, seed, swarm, quality, clock)


class _Swarm(RunState):
    """Particles and everything else that a run needs to go on, as arrays."""

    z: np.ndarray  # (populations, particles, ndim)
    likelihood: np.ndarray  # (populations, particles)
    kept: np.ndarray  # (rounds, populations, particles, ndim)
    weights: np.ndarray
    means: np.ndarray
    roots: np.ndarray
    log_evidence: np.ndarray  # (populations,)
    variance: np.ndarray  # (populations,) of the evidence, relative, from the weights
    history: np.ndarray  # (steps, 7) see _COLUMNS
    ancestors: np.ndarray  # (populations, particles) prior draw that each comes from

    power: float
    scale: float
    count: int
    evaluations: int

    @classmethod
    def started(cls, method: SMC, posterior: Posterior, seed: int) -> _Swarm:
        shape = (method.populations, method.particles)
        rng = np.random.default_rng([seed, 11])
        z = rng.standard_normal((*shape, posterior.ndim))
        likelihood = _likelihood(posterior, z)
        if not np.all(np.isfinite(likelihood).any(axis=1)):
            raise SkyfoldError(
                f"The likelihood is finite at too few of {likelihood.size} draws of the prior: the model gives NaN or "
                "infinite expected data. Check the priors' ranges, or use more particles."
            )
        mixture = prior_mixture(posterior.ndim)
        return cls(
            z=z,
            likelihood=likelihood,
            kept=np.empty((0, *z.shape)),
            weights=mixture.weights,
            means=mixture.means,
            roots=mixture.roots,
            log_evidence=np.zeros(shape[0]),
            variance=np.zeros(shape[0]),
            history=np.empty((0, len(_COLUMNS))),
            ancestors=np.tile(np.arange(shape[1]), (shape[0], 1)),
            power=0.0,
            scale=1.0,
            count=0,
            evaluations=likelihood.size,
        )

    @property
    def mixture(self) -> Mixture:
        return Mixture(self.weights, self.means, self.roots, Coordinates(np.zeros(self.z.shape[-1], bool)))

    def temper(self, method: SMC, posterior: Posterior, seed: int) -> None:
        """Raise the power of the likelihood; weigh, resample and move the particles."""
        rng = np.random.default_rng([seed, 12, self.count])
        rise = 1.0 - self.power
        if self.count + 1 < method.max_temperatures:
            rise = min(rise, _rise(self.likelihood, method.keep, rise))
        last = rise >= 1.0 - self.power
        logs = rise * self.likelihood
        self.log_evidence = self.log_evidence + logsumexp(logs, axis=1) - np.log(logs.shape[1])
        w = np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
        self.variance = self.variance + np.sum(w**2, axis=1) - 1.0 / w.shape[1]
        self._fit(w / len(w), rng)
        index = np.stack([systematic(own, len(own), rng) for own in w])
        self.z = np.take_along_axis(self.z, index[..., None], axis=1)
        self.likelihood = np.take_along_axis(self.likelihood, index, axis=1)
        self.ancestors = np.take_along_axis(self.ancestors, index, axis=1)
        self.power = 1.0 if last else self.power + rise
        self._move(method, posterior, seed, float(1.0 / np.sum(w**2, axis=1).max() / w.shape[1]))

    def round(self, method: SMC, posterior: Posterior, seed: int) -> None:
        """Keep the particles as draws; those of all but the first round are moved before."""
        if len(self.kept):
            self._fit(np.full(self.likelihood.shape, 1.0 / self.likelihood.size), np.random.default_rng([seed, 13]))
            self._move(method, posterior, seed, 1.0)
        self.kept = np.concatenate([self.kept, self.z[None]])

    def latent(self) -> np.ndarray:
        """Draws (populations, draws, ndim); relatives, and the rounds of a particle, stand side by side.

        Resampling keeps the order, so what relatives still have in common shows as autocorrelation.
        """
        return self.kept.transpose(1, 2, 0, 3).reshape(self.kept.shape[1], -1, self.kept.shape[3])

    def _fit(self, w: np.ndarray, rng: np.random.Generator) -> None:
        mixture = fit(self.mixture, self.z.reshape(-1, self.z.shape[-1]), w.ravel(), rng)
        self.weights, self.means, self.roots = mixture.weights, mixture.means, mixture.roots

    def _move(self, method: SMC, posterior: Posterior, seed: int, effective: float) -> None:
        """Move until the particles have forgotten where they were, or `max_steps`."""
        mixture = self.mixture
        start = z = self.z.reshape(-1, self.z.shape[-1])
        likelihood = self.likelihood.ravel()
        key = jax.random.fold_in(jax.random.key(seed), self.count)
        steps, remembered = 0, 1.0
        while steps < method.max_steps and remembered > method.correlation:
            moved = move(
                posterior.kernel,
                z,
                likelihood,
                mixture,
                power=self.power,
                scale=self.scale,
                steps=_STEPS,
                key=jax.random.fold_in(key, steps),
            )
            z, likelihood = moved.z, moved.likelihood
            self.scale = float(np.clip(self.scale * np.exp(_GAIN * (moved.local - _ACCEPTANCE)), 1e-3, 1.0))
            steps += _STEPS
            remembered = correlation(mixture, start, z)
        self.z, self.likelihood = z.reshape(self.z.shape), likelihood.reshape(self.likelihood.shape)
        self.evaluations += steps * len(z)
        self.count += 1
        row = [self.power, effective, steps, remembered, moved.local, moved.independent, len(self.weights)]
        self.history = np.concatenate([self.history, [row]])


_COLUMNS = ("power", "effective", "steps", "correlation", "acceptance", "acceptance_independent", "components")


def _likelihood(posterior: Posterior, z: np.ndarray) -> np.ndarray:
    """Log density over the standard normal one: the likelihood, and the correction of priors that are not exact."""
    density, _ = evaluate(posterior, z.reshape(-1, posterior.ndim))
    return density.reshape(z.shape[:-1]) + 0.5 * np.sum(z**2, axis=-1) + 0.5 * posterior.ndim * np.log(2 * np.pi)


def _rise(likelihood: np.ndarray, keep: float, most: float) -> float:
    """Rise of the power that leaves the share `keep` of effective particles in the worst population."""
    finite = np.isfinite(likelihood)
    wanted = np.log(keep * finite.sum(axis=1))
    offset = np.where(finite, likelihood, -np.inf) - likelihood.max(axis=1, keepdims=True)

    def spare(log_rise: float) -> float:
        logs = np.where(finite, np.exp(log_rise) * np.where(finite, offset, 0.0), -np.inf)
        return float(np.min(2.0 * logsumexp(logs, axis=1) - logsumexp(2.0 * logs, axis=1) - wanted))

    low, high = np.log(_STUCK), np.log(most)
    if spare(high) >= 0.0:
        return most
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if spare(middle) >= 0.0 else (low, middle)
    return float(np.exp(low))


def _enough(method: SMC, swarm: _Swarm, quality: dict[str, float]) -> bool:
    if len(swarm.kept) < method.rounds:
        return False
    quality.update(measure(swarm.latent()))
    good = quality["rhat"] < WORST_RHAT and least_ess(quality) > LEAST_ESS
    return good or len(swarm.kept) >= method.max_rounds


def _finished(
    method: SMC, posterior: Posterior, seed: int, swarm: _Swarm, quality: dict[str, float], clock: Clock
) -> Draws:
    latent = swarm.latent()
    flat = latent.reshape(-1, posterior.ndim)
    density, likelihood = evaluate(posterior, flat)
    modes = climb(posterior, choose_starts(flat, density, method.starts))
    best = refine(posterior, modes, method.starts)
    populations = len(swarm.log_evidence)
    ratio = np.exp(swarm.log_evidence - logsumexp(swarm.log_evidence) + np.log(populations))
    # one standard error: from the scatter, with Student's factor for so few; never below that of perfect moves
    scatter = float(ratio.std(ddof=1) / np.sqrt(populations) * stdtrit(populations - 1, 0.8413))
    error = max(scatter, float(np.sqrt(swarm.variance.mean() / populations)))
    table = dict(zip(_COLUMNS, swarm.history.T, strict=True))
    departure, its_error = departures(posterior, latent)
    messages = (*of_particles(method, quality, table), *complaint(posterior, departure, its_error))
    return Draws(
        method=method.name,
        latent=latent,
        log_likelihood=likelihood.reshape(latent.shape[:2]),
        converged=not messages,
        messages=messages,
        seed=seed,
        evaluations=swarm.evaluations + 2 * len(flat) + modes.evaluations + best.evaluations,
        gradients=len(flat),
        log_evidence=float(logsumexp(swarm.log_evidence) - np.log(populations)),
        log_evidence_error=error,
        best=best_of(posterior, best, flat, likelihood, method.starts),
        mode=modes.z[0],
        diagnostics={
            **quality,
            "temperatures": int(np.sum(table["effective"] < 1.0)) or 1,
            "steps": int(table["steps"].sum()),
            "acceptance": float(table["acceptance"].mean()),
            "correlation": float(table["correlation"].max()),
            "components": int(table["components"][-1]),
            "ancestors": int(min(len(np.unique(own)) for own in swarm.ancestors)),
            "stein": departure,
            "stein_error": its_error,
            "log_evidence_scatter": float(swarm.log_evidence.std(ddof=1)),
            "modes": len(modes.z),
        },
        seconds=clock.seconds(),
    )
