"""Adaptive importance sampling from mixtures of Student-t distributions.

Every round draws from a mixture, and all draws of all rounds are weighted by the mixture of all proposals used so far
(deterministic-mixture weights, as in AMIS: Cornuet, Marin, Mira & Robert 2012, Scand. J. Stat. 39, 798), which keeps
the efficiency that plain moment matching loses again. The mixture is refitted by weighted expectation-maximisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp

from skyfold.inference.coordinates import Coordinates
from skyfold.inference.psis import pareto_k
from skyfold.inference.quasirandom import student_points

#: Half the degrees of freedom of the proposals.
PAIRS = 4


@dataclass(frozen=True)
class Mixture:
    """Mixture of multivariate Student-t distributions with ``2 * PAIRS`` degrees of freedom.

    Attributes
    ----------
    weights : (k,)
    means : (k, ndim)
    roots : (k, ndim, ndim) lower Cholesky factors of the scale matrices.
    coordinates : coordinates in which the means and scales are.
    """

    weights: np.ndarray
    means: np.ndarray
    roots: np.ndarray
    coordinates: Coordinates

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `n` points, each component its share to within one; return the latent vectors of those inside."""
        edges = np.floor(np.cumsum(self.weights) * n + rng.random()).astype(int)
        edges[-1] = n
        counts = np.diff(np.concatenate([[0], np.clip(edges, 0, n)]))
        ndim = self.means.shape[1]
        pieces = [
            mean + student_points(count, ndim, PAIRS, rng) @ root.T
            for mean, root, count in zip(self.means, self.roots, counts, strict=True)
            if count > 0
        ]
        return self.coordinates.to_latent(np.concatenate(pieces))[0]

    def component_log_density(self, t: np.ndarray) -> np.ndarray:
        """Log density of each component in its coordinates, its weight included, (k, n)."""
        ndim, nu = self.means.shape[1], 2.0 * PAIRS
        constant = gammaln((nu + ndim) / 2) - gammaln(nu / 2) - 0.5 * ndim * np.log(nu * np.pi)
        rows = []
        for weight, mean, root in zip(self.weights, self.means, self.roots, strict=True):
            distance = np.sum(np.linalg.solve(root, (t - mean).T) ** 2, axis=0)
            log_root = np.sum(np.log(np.diagonal(root)))
            rows.append(np.log(weight) + constant - log_root - 0.5 * (nu + ndim) * np.log1p(distance / nu))
        return np.stack(rows)

    def joined(self, mean: np.ndarray, scale: np.ndarray, weight: float) -> Mixture:
        """Return the mixture with one component more."""
        return Mixture(
            np.append((1.0 - weight) * self.weights, weight),
            np.concatenate([self.means, mean[None]]),
            np.concatenate([self.roots, np.linalg.cholesky(scale)[None]]),
            self.coordinates,
        )

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Log density (n,) of latent vectors, in latent space."""
        logs = self.component_log_density(self.coordinates.from_latent(z))
        return logsumexp(logs, axis=0) + self.coordinates.log_slope(z)


class WeightedSample:
    """All draws of all rounds with their deterministic-mixture weights."""

    def __init__(self, ndim: int) -> None:
        self.z = np.empty((0, ndim))
        self.density = np.empty(0)
        self.likelihood = np.empty(0)
        self.drawn = 0
        self.explored = 0
        self._frozen: tuple[int, int] | None = None
        self._rounds: list[tuple[int, Mixture]] = []
        self._proposal = np.empty(0)

    def add(self, z: np.ndarray, density: np.ndarray, likelihood: np.ndarray, mixture: Mixture, drawn: int) -> None:
        """Add a round of `drawn` draws of `mixture`, of which those inside the prior's support are given."""
        self._rounds.append((drawn, mixture))
        earlier = np.logaddexp(self._proposal, np.log(drawn) + mixture.log_density(self.z))
        new = self._log_sum(z)
        self._proposal = np.concatenate([earlier, new])
        self.z = np.concatenate([self.z, z])
        self.density = np.concatenate([self.density, density])
        self.likelihood = np.concatenate([self.likelihood, likelihood])
        self.drawn += drawn

    def freeze(self) -> None:
        """Say that the draws from here on come from one proposal, that of the next round."""
        if self._frozen is None:
            self._frozen = (len(self), self.drawn)

    def thaw(self) -> None:
        """Say that the proposals are adapted again."""
        self._frozen = None

    def _log_sum(self, z: np.ndarray) -> np.ndarray:
        return logsumexp([np.log(n) + m.log_density(z) for n, m in self._rounds], axis=0)

    def log_proposal(self, z: np.ndarray) -> np.ndarray:
        """Log density (n,) of the mixture of all proposals at latent vectors."""
        return self._log_sum(z) - np.log(self.drawn)

    def __len__(self) -> int:
        return len(self.density)

    @property
    def log_weights(self) -> np.ndarray:
        """Log importance weights (n,); the evidence is their sum over the number drawn."""
        return self.density - (self._proposal - np.log(self.drawn))

    def weights(self) -> np.ndarray:
        """Normalised weights (n,)."""
        log_weights = self.log_weights
        w = np.exp(log_weights - np.max(log_weights))
        return w / w.sum()

    def effective(self) -> float:
        """Kish effective sample size, 1 / sum of squared normalised weights."""
        return float(1.0 / np.sum(self.weights() ** 2))

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
            log_weights = self.density[start:] - self._rounds[-1][1].log_density(self.z[start:])
        else:
            start, before, log_weights = 0, 0, self.log_weights
        drawn = self.drawn - before
        value = float(logsumexp(log_weights) - np.log(drawn))
        scatter = np.concatenate([np.exp(log_weights - value), np.zeros(drawn - len(log_weights))])
        return value, float(np.std(scatter) / np.sqrt(drawn))


def refit(mixture: Mixture, sample: WeightedSample) -> Mixture:
    """One weighted EM step for Student-t mixtures (Peel & McLachlan 2000, Stat. Comput. 10, 339)."""
    weights = sample.weights()
    use = weights > 1e-3 / len(weights)
    z, w = mixture.coordinates.from_latent(sample.z[use]), weights[use]
    logs = mixture.component_log_density(z)
    share = np.exp(logs - logsumexp(logs, axis=0)) * w
    ndim, nu = z.shape[1], 2.0 * PAIRS
    new_weights, means, roots = [], [], []
    for k, own in enumerate(share):
        total = own.sum()
        effective = total**2 / max(np.sum(own**2), 1e-300)
        if effective < 2.0 * ndim + 2.0:
            if total > 1e-3:
                new_weights.append(total)
                means.append(mixture.means[k])
                roots.append(mixture.roots[k])
            continue
        distance = np.sum(np.linalg.solve(mixture.roots[k], (z - mixture.means[k]).T) ** 2, axis=0)
        pull = own * (nu + ndim) / (nu + distance)
        mean = pull @ z / pull.sum()
        offset = z - mean
        scale = (pull[:, None] * offset).T @ offset / total
        # few effective draws: lean on the scale the component had
        trust = effective / (effective + 2.0 * ndim)
        scale = trust * scale + (1.0 - trust) * mixture.roots[k] @ mixture.roots[k].T
        new_weights.append(total)
        means.append(mean)
        roots.append(np.linalg.cholesky(scale + 1e-12 * np.trace(scale) / ndim * np.eye(ndim)))
    if not means:
        return mixture
    shares = np.maximum(np.array(new_weights) / np.sum(new_weights), 1e-3)
    return Mixture(shares / shares.sum(), np.array(means), np.array(roots), mixture.coordinates)


def defended(mixture: Mixture, share: float, inflation: float) -> Mixture:
    """Add to every component a wide copy of itself, so that no tail goes unseen.

    Parameters
    ----------
    share : weight of all wide copies together.
    inflation : factor on their widths.
    """
    return Mixture(
        np.concatenate([(1.0 - share) * mixture.weights, share * mixture.weights]),
        np.concatenate([mixture.means, mixture.means]),
        np.concatenate([mixture.roots, inflation * mixture.roots]),
        mixture.coordinates,
    )


def split(mixture: Mixture, sample: WeightedSample) -> Mixture:
    """Split the heaviest component in two along its longest axis, so that skewed posteriors can be followed."""
    k = int(np.argmax(mixture.weights))
    values, vectors = np.linalg.eigh(mixture.roots[k] @ mixture.roots[k].T)
    z, w = mixture.coordinates.from_latent(sample.z), sample.weights()
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


def added(mixture: Mixture, sample: WeightedSample) -> Mixture:
    """Add a component at the heaviest draw: the proposals are too thin there."""
    weights, t = sample.weights(), mixture.coordinates.from_latent(sample.z)
    worst = int(np.argmax(weights))
    k = int(np.argmax(mixture.component_log_density(t[worst : worst + 1])[:, 0]))
    distance = np.sum(np.linalg.solve(mixture.roots[k], (t - t[worst]).T) ** 2, axis=0)
    near = np.argsort(distance)[: max(60, 10 * t.shape[1])]
    # the root of the weights, for one draw has most of them
    share = np.sqrt(weights[near])
    share /= share.sum()
    mean = share @ t[near]
    offset = t[near] - mean
    scale = 0.5 * (share[:, None] * offset).T @ offset + 0.15 * mixture.roots[k] @ mixture.roots[k].T
    return mixture.joined(mean, scale, 0.15)
