"""Correction: what importance weights say of an approximation, and draws that make up for what it lacks.

Every approximation q of the posterior p is judged by the weights p/q of its own draws: their Pareto k-hat and their
effective number (Yao, Vehtari, Simpson & Gelman 2018, PMLR 80, 5581). Weights can only tell of what has been drawn,
and an over-confident q draws nothing where it lacks mass. So it is also judged against a pool: its draws and those of
scouts, wide Student-t copies of q and of the Laplace approximation, all weighted by the mixture of what they came from
(Hesterberg 1995, Technometrics 37, 185; Owen & Zhou 2000, JASA 95, 135). The pool is what PSIS corrects with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import logsumexp

from skyfold.errors import SkyfoldError
from skyfold.inference.density import evaluate
from skyfold.inference.frames.unit_or_normal import Coordinates
from skyfold.inference.importance.mixture import Mixture
from skyfold.inference.importance.psis import RELIABLE, kish, log_evidence, normalised, pareto_k, pareto_smoothed
from skyfold.inference.search.quasirandom import student_points
from skyfold.posterior import Posterior

#: What may be done with the draws of an approximation.
CORRECTIONS = ("none", "psis", "mcmc")
#: Half the degrees of freedom of the scouts, and how much wider they are than what they copy.
_PAIRS, _WIDENED = 4, 1.5
#: Random walks that look for ends of the posterior which the pool does not reach: walkers, offspring of each, steps,
#: and lengths of these over the posterior's width in one dimension.
_WALKERS, _OFFSPRING, _STEPS, _LENGTHS = 64, 8, 4, (0.4, 1.0, 2.0, 4.0)
#: Points of one step of the walks, and evaluations of all.
WALKED = _WALKERS * _OFFSPRING
WALKS = WALKED * _STEPS + _WALKERS
#: Natural logarithm of how far half of the walkers may come beyond the largest weight drawn.
FARTHEST = 1.5


@dataclass(frozen=True)
class Weighed:
    """Draws of an approximation q with their importance weights.

    Attributes
    ----------
    z : (n, ndim) latent vectors.
    x : (n, ndim) the same in the coordinates in which q was made.
    log_likelihood : (n,)
    raw, smoothed : (n,) logarithms of p/q, as they are and with their largest Pareto-smoothed.
    khat : shape of the Pareto tail of the weights.
    effective : Kish effective number of draws, of the smoothed weights.
    bound : mean of the raw log weights, the evidence lower bound (ELBO), and its standard error.
    normalised : whether q's density is normalised, so that `bound` and the evidence mean something.
    """

    z: np.ndarray
    x: np.ndarray
    log_likelihood: np.ndarray
    raw: np.ndarray
    smoothed: np.ndarray
    khat: float
    effective: float
    bound: tuple[float, float]
    normalised: bool

    @property
    def weights(self) -> np.ndarray:
        """Smoothed weights (n,), normalised."""
        return normalised(self.smoothed)

    def log_evidence(self) -> tuple[float, float] | tuple[None, None]:
        """Log evidence and its standard error; None where the weights are not to be trusted."""
        if not self.normalised or not self.khat < RELIABLE:
            return None, None
        return log_evidence(self.smoothed, len(self.smoothed))

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Weighted mean (ndim,) and covariance (ndim, ndim) of `x`."""
        mean = self.weights @ self.x
        offset = self.x - mean
        return mean, (self.weights[:, None] * offset).T @ offset


@dataclass(frozen=True)
class Judged:
    """An approximation q: the weights of its own draws, and the pool of these and the scouts'.

    Attributes
    ----------
    beyond : natural logarithm of how far walks from the pool's heaviest draws come beyond the largest weight of all.
    """

    own: Weighed
    pool: Weighed
    beyond: float = -np.inf

    def kept(self, correction: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Latent vectors, log-likelihood and log weights to hand back; draws of zero posterior density are left out."""
        chosen = self.pool if correction == "psis" else self.own
        good = np.isfinite(chosen.raw)
        return chosen.z[good], chosen.log_likelihood[good], chosen.smoothed[good] if correction == "psis" else None

    def faults(self) -> dict[str, np.ndarray]:
        """Per coordinate: ``sd`` of q over the pool's, ``shift`` of q's mean in sds of the pool, ``tail`` mass.

        The tail is the mass beyond q's 5% or 95% point, whichever is larger, over 5%: 1 where q is right.
        """
        mean, covariance = self.pool.moments()
        sd = np.sqrt(np.diagonal(covariance))
        x = self.own.x
        low, high = np.quantile(x, [0.05, 0.95], axis=0)
        weights = self.pool.weights
        tail = np.maximum(weights @ (self.pool.x < low), weights @ (self.pool.x > high)) / 0.05
        return {"sd": x.std(axis=0) / sd, "shift": (x.mean(axis=0) - mean) / sd, "tail": tail}

    def diagnostics(self) -> dict[str, Any]:
        """Numbers for `Draws.diagnostics`; those that end in ``_pool`` are of the pool, the others of q itself."""
        faults = self.faults()
        numbers: dict[str, Any] = {
            "khat": self.own.khat,
            "effective": self.own.effective,
            "efficiency": self.own.effective / len(self.own.raw),
            "khat_pool": self.pool.khat,
            "effective_pool": self.pool.effective,
            "beyond": self.beyond,
            "sd_ratio": faults["sd"],
            "mean_shift": faults["shift"],
            "tail_mass": faults["tail"],
        }
        if self.own.normalised:
            numbers.update(elbo=self.own.bound[0], elbo_error=self.own.bound[1])
        return numbers


def weigh(
    posterior: Posterior,
    z: np.ndarray,
    x: np.ndarray,
    log_q: np.ndarray,
    own: int,
    log_pool: np.ndarray,
    *,
    normalised: bool = True,
) -> Judged:
    """Weigh draws of an approximation and of scouts.

    Parameters
    ----------
    z : (n, ndim) latent vectors, those drawn from q first.
    x : (n, ndim) the same in the coordinates in which q was made.
    log_q, log_pool : (n,) log density, in latent space, of q and of the mixture that all were drawn from.
    own : how many were drawn from q.
    normalised : whether the densities are, or lack a constant.

    Raises
    ------
    SkyfoldError
        If the posterior density is zero, or not a number, at all draws of q.
    """
    density, likelihood = evaluate(posterior, z)
    if not np.any(np.isfinite(density[:own] - log_q[:own])):
        raise SkyfoldError(
            "The posterior density is not finite at any draw of the approximation: it diverged. Lower learning_rate, "
            "or use sf.NUTS()."
        )
    first = slice(0, own)
    return Judged(
        _weighed(z[first], x[first], density[first], likelihood[first], log_q[first], normalised),
        _weighed(z, x, density, likelihood, log_pool, normalised),
    )


def _weighed(
    z: np.ndarray, x: np.ndarray, density: np.ndarray, likelihood: np.ndarray, log_q: np.ndarray, normalised: bool
) -> Weighed:
    good = np.isfinite(density) & np.isfinite(log_q)
    raw = np.full(len(z), -np.inf)
    raw[good] = density[good] - log_q[good]
    # weights that differ by rounding only have no tail
    flat = np.all(good) and np.ptp(raw) < 1e-6
    smoothed = raw if flat else pareto_smoothed(raw)
    bound = float(np.mean(raw)), float(np.std(raw[good]) / np.sqrt(len(raw)))
    effective = kish(np.exp(smoothed - np.max(smoothed)))
    khat = 0.0 if flat else pareto_k(raw)
    x = np.where(np.isfinite(x), x, 0.0)
    return Weighed(z, x, likelihood, raw, smoothed, khat, effective, bound, normalised)


def scouts(n: int, ndim: int, rng: np.random.Generator) -> np.ndarray:
    """Standard draws (n, ndim) of the scouts, Student-t with 8 degrees of freedom, widened."""
    return _WIDENED * student_points(n, ndim, _PAIRS, rng)


def log_scouts(e: np.ndarray) -> np.ndarray:
    """Log density (n,) of `scouts` at standard coordinates (n, ndim)."""
    ndim = e.shape[1]
    wide = Mixture.one(np.zeros(ndim), _WIDENED * np.eye(ndim), Coordinates(np.zeros(ndim, bool)), _PAIRS)
    return wide.log_density_at(e)


def log_pooled(log_q: np.ndarray, near: np.ndarray, far: np.ndarray, own: int, few: int) -> np.ndarray:
    """Log density (n,) of a pool of `own` draws of q and `few` of each kind of scouts, from those of all three."""
    share = few / (own + 2 * few)
    return logsumexp([log_q + np.log(1.0 - 2.0 * share), near + np.log(share), far + np.log(share)], axis=0)


def walked(judged: Judged, look: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], seed: int) -> Judged:
    """Let random walks from the heaviest draws look for places of still larger weight.

    Where nothing was drawn there are no weights: the ends of a long or curved posterior can be missing while k-hat is
    good. Walks come there, and to weights far beyond any that was drawn.

    Parameters
    ----------
    look : gives the log density of the posterior and of the pool, both in latent space, at coordinates `x` (n, ndim).
    """
    rng = np.random.default_rng([seed, 27])
    pool, ndim = judged.pool, judged.pool.x.shape[1]
    values, vectors = np.linalg.eigh(pool.moments()[1])
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    order = np.argsort(-pool.raw)[:_WALKERS]
    x, largest = pool.x[order], pool.raw[order[0]]
    density, log_pool = look(x)
    for _ in range(_STEPS):
        parent = np.repeat(np.arange(len(x)), _OFFSPRING)
        length = rng.choice(_LENGTHS, size=len(parent)) / np.sqrt(ndim)
        new = x[parent] + length[:, None] * rng.standard_normal((len(parent), ndim)) @ root.T
        there, its_pool = look(new)
        with np.errstate(invalid="ignore"):
            taken = np.isfinite(its_pool) & (np.log(rng.random(len(new))) < there - density[parent])
        x, density = np.concatenate([x, new[taken]]), np.concatenate([density, there[taken]])
        log_pool = np.concatenate([log_pool, its_pool[taken]])
        best = np.argsort(log_pool - density)[:_WALKERS]
        x, density, log_pool = x[best], density[best], log_pool[best]
    return replace(judged, beyond=float(np.median(density - log_pool) - largest))


def check_correction(correction: str, known: tuple[str, ...] = CORRECTIONS) -> None:
    """Refuse a correction that does not exist."""
    if correction not in known:
        raise SkyfoldError(f"correction is one of {', '.join(known)}; got {correction!r}.")
