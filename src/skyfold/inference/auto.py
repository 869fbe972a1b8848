"""Auto: mode search, then adaptive importance sampling around the modes; NUTS where that is not to be trusted.

The draws are accepted when the Pareto k-hat of the weights is below 0.7 and the effective sample size is reached.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from skyfold.inference.checkpoint import NO_CHECKPOINT, Checkpoint
from skyfold.inference.clock import Clock
from skyfold.inference.coordinates import Laplace
from skyfold.inference.draws import Draws
from skyfold.inference.importance import Mixture, WeightedSample, defended, refit, split
from skyfold.inference.maximum import CHUNK, Modes, check_positive, evaluate, refine, screen
from skyfold.inference.modes import best_of, search_modes
from skyfold.inference.population import fitted, moves, spread
from skyfold.inference.psis import RELIABLE
from skyfold.inference.tails import ALLOWED, STEPS, extended, walk

if TYPE_CHECKING:
    from skyfold.posterior import Posterior


#: Share of the draws that come from wide copies of the proposals, and how much wider these are.
_DEFENCE = (0.15, 2.0)
#: Share of the effective draws wanted from which on the proposals are no longer adapted.
_FROZEN = 0.4
#: Modes that lie lower than the best by more than this (in log density) hold no mass that counts.
_DEEP = 20.0
#: Above this efficiency the tails are not walked: a mixture that fits so well ends nowhere early.
_GOOD = 0.6
#: Below this efficiency after so many rounds the proposals are fitted to a population instead.
_POOR, _TRIAL = 0.4, 4
#: Populations after which less is asked for, and that efficiency.
_PATIENCE, _BAD = 2, 0.1
#: Populations after which importance sampling gives up, if its efficiency still lies below this.
_LAST, _HOPELESS = 4, 0.01
#: Dimensions from which on a population is no better base than the weighted draws.
_MANY = 12
#: Share of the efficiency before the proposals were fixed below which they are fitted anew.
_COLLAPSED = 0.4
#: Batches with fixed proposals that the evidence comes from at least.
_FIXED = 3


@dataclass(frozen=True)
class Auto:
    """Mode search, adaptive importance sampling, NUTS as the fallback.

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
    max_evaluations: int = 150_000
    max_dimension: int = 40

    def __post_init__(self) -> None:
        check_positive(self, "effective", "screen", "starts", "max_evaluations")

    def __call__(self, posterior: Posterior, seed: int, progress: Any, checkpoint: Checkpoint = NO_CHECKPOINT) -> Draws:
        clock = Clock()
        progress.stage("searching for modes")
        points, density, _ = screen(posterior, self.screen, seed)
        search = search_modes(posterior, points, density, self.starts)
        modes = search.modes
        best = refine(posterior, modes, self.starts)
        spent = search.evaluations + best.evaluations
        reason = f"{posterior.ndim} dimensions are too many for importance sampling"
        sample = None
        if posterior.ndim <= self.max_dimension:
            sample, reason = self._importance(posterior, modes, seed, progress)
            spent += len(sample) + sample.explored
        if sample is None or reason:
            from skyfold.inference.nuts import NUTS

            draws = NUTS(starts=self.starts, screen=self.screen)(posterior, seed, progress, checkpoint, search)
            return replace(
                draws,
                method=self.name,
                sampler="nuts",
                messages=(f"auto used NUTS: {reason}", *draws.messages),
                evaluations=spent + draws.evaluations,
                seconds=clock.seconds(),
            )
        log_evidence, error = sample.log_evidence()
        return Draws(
            method=self.name,
            sampler="importance sampling",
            latent=sample.z[None],
            log_likelihood=sample.likelihood[None],
            log_weights=sample.log_weights[None],
            converged=search.complete,
            messages=() if search.complete else (search.complaint(),),
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

    def _importance(self, posterior: Posterior, modes: Modes, seed: int, progress: Any) -> tuple[WeightedSample, str]:
        """Weighted draws, and why they are not to be trusted (empty when they are)."""
        rng = np.random.default_rng([seed, 2])
        modes = _relevant(modes)
        mixture = _around(modes, Laplace.at(posterior, modes))
        proposal = defended(mixture, *_DEFENCE)
        sample = WeightedSample(posterior.ndim)
        progress.stage("importance sampling", self.effective)
        rounds = populations = 0
        frozen = False
        beyond, last, promised, thawed = 0.0, None, 0.0, False
        while len(sample) + sample.explored < self.max_evaluations:
            drawn = self._round(sample) if frozen else CHUNK
            z = proposal.draw(drawn, rng)
            density, likelihood = evaluate(posterior, z)
            sample.add(z, density, likelihood, proposal, drawn)
            rounds += 1
            effective = sample.effective()
            progress.update(effective, f"{effective:.0f} of {self.effective} effective draws")
            # draws of the first round of all are as good as fixed ones
            fresh = rounds == 1 and not (populations or thawed)
            fixed, least = sample.fixed, 0 if fresh else _FIXED * CHUNK if populations or thawed else 1
            walkers = np.empty((0, posterior.ndim))
            again = False
            if rounds == _TRIAL and not frozen and not thawed:
                if populations >= _LAST and effective < _HOPELESS * len(sample):
                    break
                again = effective < (_POOR if populations < _PATIENCE else _BAD) * len(sample)
            # a fixed proposal that comes upon what it does not cover is not waited for
            again |= frozen and effective < _COLLAPSED * promised * len(sample)
            again |= effective >= self.effective and sample.pareto_k() >= RELIABLE
            if effective >= self.effective and sample.pareto_k() < RELIABLE and fixed >= least:
                if effective > _GOOD * len(sample):
                    return sample, ""
                walkers, beyond = walk(posterior, mixture, sample, rng)
                sample.explored += STEPS * CHUNK
                if beyond < ALLOWED:
                    return sample, ""
                if populations or posterior.ndim > _MANY:
                    mixture = extended(mixture, walkers)
                    proposal = defended(mixture, *_DEFENCE)
                    sample.thaw()
                    frozen, rounds, thawed = False, 0, True
                    continue
                again = True
            if again and posterior.ndim > _MANY:
                if effective < _HOPELESS * len(sample):
                    break
                again = False
            if again:
                members, last = spread(posterior, sample, walkers, rng, last)
                spent = len(sample) + sample.explored + moves(posterior.ndim) * CHUNK + len(walkers)
                mixture = fitted(members, sample, rng)
                if len(walkers):
                    mixture = extended(mixture, walkers)
                proposal = defended(mixture, *_DEFENCE)
                sample = WeightedSample(posterior.ndim)
                sample.explored = spent
                rounds, frozen, populations, thawed = 0, False, populations + 1, False
                continue
            if not frozen and (not thawed or rounds >= 2) and effective >= _FROZEN * self.effective:
                # from here on the proposal stays as it is: only then is the evidence unbiased
                sample.freeze()
                frozen, promised = True, effective / len(sample)
            if frozen:
                continue
            if populations and rounds < 2:
                continue
            if not populations and rounds in (2, 4):
                mixture = split(mixture, sample)
            mixture = refit(mixture, sample)
            proposal = defended(mixture, *_DEFENCE)
        spent = len(sample) + sample.explored
        if beyond >= ALLOWED:
            return sample, f"importance sampling has not reached the ends of the posterior after {spent} evaluations"
        return sample, f"k-hat {sample.pareto_k():.2f}, {effective:.0f} effective draws after {spent} evaluations"

    def _round(self, sample: WeightedSample) -> int:
        """Draws of the next round: what the efficiency lets expect to be enough, in whole batches."""
        effective = sample.effective()
        wanted = 1.05 * (self.effective - effective) * len(sample) / effective
        return int(np.clip(np.ceil(wanted / CHUNK), 1, 8)) * CHUNK


def _relevant(modes: Modes) -> Modes:
    """Modes that can hold mass; the coordinates must suit these alone."""
    kept = modes.value > modes.value[0] - _DEEP
    pieces = {f.name: getattr(modes, f.name)[kept] for f in fields(modes) if f.name != "evaluations"}
    return replace(modes, **pieces)


def _around(modes: Modes, laplace: Laplace) -> Mixture:
    """Mixture of the Laplace approximations at the modes."""
    coordinates = laplace.coordinates
    roots = np.linalg.cholesky(1.1 * laplace.covariance)
    slope = coordinates.log_slope(modes.z)
    log_mass = modes.value + np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1) - slope
    mass = np.exp(log_mass - log_mass.max())
    keep = mass > 1e-6
    mass = np.maximum(mass[keep] / mass[keep].sum(), 0.02)
    return Mixture(mass / mass.sum(), coordinates.from_latent(modes.z[keep]), roots[keep], coordinates)
