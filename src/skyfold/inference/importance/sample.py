"""Adaptive importance sampling from mixtures of Student-t distributions.

Every round draws from a mixture, and all draws of all rounds are weighted by the mixture of all proposals used so far
(deterministic-mixture weights, as in AMIS: Cornuet, Marin, Mira & Robert 2012, Scand. J. Stat. 39, 798), which keeps
the efficiency that plain moment matching loses again. The mixture is refitted by weighted expectation-maximisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyfold.inference.frames.unit_or_normal import Coordinates
from skyfold.inference.importance.mixture import Mixture, log_sum
from skyfold.inference.importance.psis import kish, log_evidence, normalised, pareto_k


@dataclass(frozen=True)
class PriorProposal:
    """The prior as a proposal: it reaches what no mode and no walk leads to, where the data allow it.

    A component that the data hardly need leaves a plateau of small likelihood and large volume beside the mode. It can
    hold some thousandths of the mass many widths away, where fitted proposals never draw.
    """

    coordinates: Coordinates

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw latent vectors (n, ndim)."""
        return rng.standard_normal((n, self.coordinates.unit.size))

    def log_density_at(self, t: np.ndarray) -> np.ndarray:
        """Log density (n,) in the coordinates: one in unit intervals, standard normal elsewhere."""
        return np.sum(np.where(self.coordinates.unit, 0.0, -0.5 * t**2 - 0.5 * np.log(2.0 * np.pi)), axis=1)


@dataclass(frozen=True)
class Defended:
    """A mixture of which a share is the prior."""

    mixture: Mixture
    share: float

    @property
    def coordinates(self) -> Coordinates:
        """Coordinates of the mixture."""
        return self.mixture.coordinates

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `n` points; return the latent vectors of those inside the prior's support."""
        few = round(self.share * n)
        return np.concatenate([PriorProposal(self.coordinates).draw(few, rng), self.mixture.draw(n - few, rng)])

    def log_density_at(self, t: np.ndarray) -> np.ndarray:
        """Log density (n,) in the coordinates."""
        own = np.log1p(-self.share) + self.mixture.log_density_at(t)
        return np.logaddexp(own, np.log(self.share) + PriorProposal(self.coordinates).log_density_at(t))


#: Anything that draws can come from.
Proposal = Mixture | PriorProposal | Defended


class WeightedSample:
    """All draws of all rounds with their deterministic-mixture weights."""

    def __init__(self, ndim: int) -> None:
        self.z = np.empty((0, ndim))
        self.t = np.empty((0, ndim))
        self.density = np.empty(0)
        self.likelihood = np.empty(0)
        self.drawn = 0
        self.explored = 0
        self._frozen: tuple[int, int] | None = None
        self._proposals: list[tuple[int, Proposal]] = []
        self._slope = np.empty(0)
        # densities, in the mixtures' coordinates: of all proposals but the last, times their draws; of the last
        self._earlier = np.empty(0)
        self._last = np.empty(0)

    def add(self, z: np.ndarray, density: np.ndarray, likelihood: np.ndarray, mixture: Proposal, drawn: int) -> None:
        """Add a round of `drawn` draws of `mixture`, of which those inside the prior's support are given.

        A mixture that is that of the round before costs no second look at the draws that there are.
        """
        t = mixture.coordinates.from_latent(z)
        if self._proposals and self._proposals[-1][1] is mixture:
            self._proposals[-1] = (self._proposals[-1][0] + drawn, mixture)
        else:
            self._earlier = self._log_sum()
            self._proposals.append((drawn, mixture))
            self._last = mixture.log_density_at(self.t)
        new = [np.log(n) + m.log_density_at(t) for n, m in self._proposals[:-1]]
        self._earlier = np.concatenate([self._earlier, log_sum(np.array(new)) if new else np.full(len(t), -np.inf)])
        self._last = np.concatenate([self._last, mixture.log_density_at(t)])
        self.z, self.t = np.concatenate([self.z, z]), np.concatenate([self.t, t])
        self._slope = np.concatenate([self._slope, mixture.coordinates.log_slope(z)])
        self.density = np.concatenate([self.density, density])
        self.likelihood = np.concatenate([self.likelihood, likelihood])
        self.drawn += drawn
        #: Log importance weights (n,); the evidence is their sum over the number drawn.
        self.log_weights = self.density - self._slope - (self._log_sum() - np.log(self.drawn))

    @property
    def fixed(self) -> int:
        """Number drawn since `freeze`."""
        return 0 if self._frozen is None else self.drawn - self._frozen[1]

    def _log_sum(self) -> np.ndarray:
        if not self._proposals:
            return np.empty(0)
        return np.logaddexp(self._earlier, np.log(self._proposals[-1][0]) + self._last)

    def freeze(self) -> None:
        """Say that the draws from here on come from one proposal, that of the next round."""
        if self._frozen is None:
            self._frozen = (len(self), self.drawn)

    def thaw(self) -> None:
        """Say that the proposals are adapted again."""
        self._frozen = None

    def log_proposal(self, z: np.ndarray) -> np.ndarray:
        """Log density (n,) of the mixture of all proposals at latent vectors."""
        coordinates = self.coordinates
        t = coordinates.from_latent(z)
        logs = np.array([np.log(n) + m.log_density_at(t) for n, m in self._proposals])
        return log_sum(logs) + coordinates.log_slope(z) - np.log(self.drawn)

    @property
    def coordinates(self) -> Coordinates:
        """Coordinates of the proposals."""
        return self._proposals[0][1].coordinates

    def __len__(self) -> int:
        return len(self.density)

    def weights(self) -> np.ndarray:
        """Normalised weights (n,)."""
        return normalised(self.log_weights)

    def effective(self) -> float:
        """Kish effective sample size."""
        return kish(self.weights())

    def pareto_k(self) -> float:
        """Pareto k-hat of the weights."""
        return pareto_k(self.log_weights)

    def log_evidence(self) -> tuple[float, float]:
        """Log evidence and its standard error by the delta method.

        Only the draws after `freeze` are used, with the density of the one proposal that made them: proposals that were
        fitted to the very draws that they weight make the evidence of all rounds too low.
        """
        start, before = self._frozen or (0, 0)
        if before < self.drawn and self._frozen is not None:
            log_weights = self.density[start:] - self._slope[start:] - self._last[start:]
        else:
            before, log_weights = 0, self.log_weights
        return log_evidence(log_weights, self.drawn - before)


def refit(mixture: Mixture, sample: WeightedSample) -> Mixture:
    """One weighted EM step for Student-t mixtures (Peel & McLachlan 2000, Stat. Comput. 10, 339)."""
    weights = sample.weights()
    use = weights > 1e-3 / len(weights)
    z, w = mixture.coordinates.from_latent(sample.z[use]), weights[use]
    share, pulls = mixture.shares(z)
    ndim = z.shape[1]
    kept = []
    for k, own in enumerate(share * w):
        total, effective = own.sum(), kish(own)
        if effective < 2.0 * ndim + 2.0:
            if total > 1e-3:
                kept.append((total, mixture.means[k], mixture.roots[k]))
            continue
        pull = own * pulls[k]
        mean = pull @ z / pull.sum()
        offset = z - mean
        scale = (pull[:, None] * offset).T @ offset / total
        # few effective draws: lean on the scale the component had
        trust = effective / (effective + 2.0 * ndim)
        scale = trust * scale + (1.0 - trust) * mixture.roots[k] @ mixture.roots[k].T
        kept.append((total, mean, np.linalg.cholesky(scale + 1e-12 * np.trace(scale) / ndim * np.eye(ndim))))
    if not kept:
        return mixture
    totals, means, roots = (np.array(a) for a in zip(*kept, strict=True))
    shares = np.maximum(totals / np.sum(totals), 1e-3)
    return Mixture(shares / shares.sum(), means, roots, mixture.coordinates)


def split(mixture: Mixture, sample: WeightedSample) -> Mixture:
    """Split the heaviest component in two along its longest axis, so that skewed posteriors can be followed."""
    k = int(np.argmax(mixture.weights))
    values, vectors = np.linalg.eigh(mixture.roots[k] @ mixture.roots[k].T)
    z, w = sample.t, sample.weights()
    # the axis along which the weighted draws are most skewed
    whitened = (z - mixture.means[k]) @ vectors / np.sqrt(values)
    skew = np.abs(w @ np.clip(whitened, -6, 6) ** 3)
    axis = int(np.argmax(skew))
    shift = 0.7 * np.sqrt(values[axis]) * vectors[:, axis]
    means = np.concatenate([mixture.means, [mixture.means[k] + shift]])
    means[k] = mixture.means[k] - shift
    weights = np.concatenate([mixture.weights, [mixture.weights[k] / 2]])
    weights[k] /= 2
    return Mixture(weights, means, np.concatenate([mixture.roots, mixture.roots[k : k + 1]]), mixture.coordinates)
