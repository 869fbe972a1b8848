"""Population: points spread over a posterior by short Markov chains, to which importance proposals are fitted.

Weighted draws of proposals that fit badly are a poor base for better ones: few of them carry all the weight, and where
the proposals end there are none. A population that starts from them and moves by differences of its own members (ter
Braak 2006, Stat. Comput. 16, 239) has equal weights and walks into the tails by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyfold.inference.density import CHUNK, evaluate
from skyfold.inference.frames.unit_or_normal import Coordinates
from skyfold.inference.importance.mixture import Mixture
from skyfold.inference.importance.sample import WeightedSample
from skyfold.posterior import Posterior

#: Steps at the end whose members are kept.
_KEPT = 4
#: Components fitted to the population at most, members for each of them in one dimension, and iterations of the fit.
_COMPONENTS, _MEMBERS, _ITERATIONS = 16, 40, 12
#: Share of a component as wide as the population.
_WHOLE = 0.1
#: Lengths of steps in units of that which suits a normal distribution.
_LENGTHS = np.array([0.25, 0.5, 1.0])


def moves(ndim: int) -> int:
    """Number of steps that a population of so many dimensions takes."""
    return max(8, 3 * ndim // 2)


@dataclass(frozen=True)
class Population:
    """Where a population came to.

    Attributes
    ----------
    members : (n, ndim) of the last steps, in the coordinates of the proposals.
    z, density : of the last step: latent vectors and their log density.
    """

    members: np.ndarray
    z: np.ndarray
    density: np.ndarray


def spread(
    posterior: Posterior,
    sample: WeightedSample,
    walkers: np.ndarray,
    last: Population | None,
    rng: np.random.Generator,
) -> Population:
    """Population that started from weighted draws.

    Parameters
    ----------
    walkers : latent vectors (m, ndim) where the proposals are too thin; a fourth of the population starts there.
    last : an earlier population; half of the new one goes on from it.

    Costs ``moves(ndim) * CHUNK`` evaluations and one for each walker.
    """
    coordinates, ndim = sample.coordinates, sample.z.shape[1]
    weights = sample.weights()
    # truncated as by Ionides (2008, J. Comput. Graph. Stat. 17, 295): no draw alone makes the population
    weights = np.minimum(weights, 1.0 / np.sqrt(len(weights)))
    chosen = rng.choice(len(weights), size=CHUNK, p=weights / weights.sum())
    z, density = sample.z[chosen], sample.density[chosen]
    if len(walkers):
        known, _ = evaluate(posterior, walkers)
        there = rng.integers(len(walkers), size=CHUNK // 4)
        z[: len(there)], density[: len(there)] = walkers[there], known[there]
    if last is not None:
        use = rng.choice(CHUNK, size=CHUNK // 2, replace=False)
        z[-len(use) :], density[-len(use) :] = last.z[use], last.density[use]
    t = coordinates.from_latent(z)
    here = density - coordinates.log_slope(z)
    kept = []
    suited = 2.38 / np.sqrt(2.0 * ndim)
    steps = moves(ndim)
    for step in range(steps):
        one, other = rng.integers(CHUNK, size=(2, CHUNK))
        length = suited * rng.choice(_LENGTHS, size=CHUNK)
        trial = t + length[:, None] * (t[one] - t[other])
        new, inside = coordinates.to_latent(trial)
        value, _ = evaluate(posterior, new)
        there = np.full(CHUNK, -np.inf)
        there[inside] = value - coordinates.log_slope(new)
        taken = np.log(rng.random(CHUNK)) < there - here
        t, z[inside] = np.where(taken[:, None], trial, t), np.where(taken[inside, None], new, z[inside])
        here = np.where(taken, there, here)
        if step >= steps - _KEPT:
            kept.append(t)
    return Population(np.concatenate(kept), z, here + coordinates.log_slope(z))


def fitted(t: np.ndarray, coordinates: Coordinates, rng: np.random.Generator) -> Mixture:
    """Mixture fitted to members (n, ndim) of equal weight by expectation-maximisation."""
    n, ndim = t.shape
    k = int(np.clip(n / _KEPT / (_MEMBERS + 10 * ndim), 1, _COMPONENTS))
    covariance = np.atleast_2d(np.cov(t.T)) + 1e-300 * np.eye(ndim)
    covariance += 1e-12 * np.trace(covariance) / ndim * np.eye(ndim)
    root = np.linalg.cholesky(covariance)
    white = np.linalg.solve(root, (t - t.mean(axis=0)).T).T
    means = white[_far_apart(white, k, rng)]
    roots = np.broadcast_to(np.eye(ndim) * k ** (-1.0 / ndim), (k, ndim, ndim)).copy()
    weights = np.full(k, 1.0 / k)
    lean = (ndim + 2.0) * _KEPT
    for _ in range(_ITERATIONS):
        mixture = Mixture(weights, means, roots, coordinates)
        share, pull = mixture.shares(white)
        total = share.sum(axis=1)
        pull *= share
        means = pull @ white / pull.sum(axis=1)[:, None]
        scales = []
        for j in range(k):
            offset = white - means[j]
            own = (pull[j][:, None] * offset).T @ offset
            scales.append((own + lean * roots[j] @ roots[j].T) / (total[j] + lean))
        roots = np.linalg.cholesky(np.array(scales) + 1e-9 * np.eye(ndim))
        weights = np.maximum(total / n, 1e-3)
        weights /= weights.sum()
    mixture = Mixture(weights, t.mean(axis=0) + means @ root.T, root @ roots, coordinates)
    return mixture.joined(t.mean(axis=0), covariance, _WHOLE)


def _far_apart(points: np.ndarray, k: int, rng: np.random.Generator) -> list[int]:
    """Indices of `k` points drawn by the squares of their distances from those before (k-means++)."""
    chosen = [int(rng.integers(len(points)))]
    distance = np.full(len(points), np.inf)
    for _ in range(k - 1):
        distance = np.minimum(distance, np.sum((points - points[chosen[-1]]) ** 2, axis=1))
        total = distance.sum()
        # where all points are one, any will do
        chosen.append(int(rng.choice(len(points), p=distance / total if 0.0 < total < np.inf else None)))
    return chosen
