"""Tails: whether importance draws reach everything that the posterior holds.

Weights tell nothing of places where nothing was drawn: k-hat is good and the draws are many while the ends of a long
curved posterior are missing. So the draws of largest weight, where the proposals are thinnest against the posterior,
start short random walks, of which those are kept and walk on that reach still larger weights. Where they soon come to
weights far beyond any that was drawn, the proposals end before the posterior does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skyfold.inference.importance import Mixture, WeightedSample
from skyfold.inference.maximum import CHUNK, evaluate

if TYPE_CHECKING:
    from skyfold.posterior import Posterior

#: Walkers kept, and steps that each of their offspring takes.
WALKERS, STEPS = 64, 4
#: Half of the walkers may reach weights larger than the largest drawn by this factor (natural logarithm), not more.
ALLOWED = 1.5
#: Lengths of steps, over the width of the nearest component in one dimension.
_LENGTHS = np.array([0.4, 1.0, 2.0, 4.0])


def walk(
    posterior: Posterior, mixture: Mixture, sample: WeightedSample, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Latent vectors (walkers, ndim) that the walk came to, and the logarithm of their median over the largest weight.

    Costs ``STEPS * CHUNK`` evaluations.
    """
    coordinates, ndim = mixture.coordinates, sample.z.shape[1]
    log_weights = sample.log_weights
    order = np.argsort(-log_weights)[:WALKERS]
    z, density, weight = sample.z[order], sample.density[order], log_weights[order]
    largest = weight[0]
    for _ in range(STEPS):
        parent = np.repeat(np.arange(len(z)), CHUNK // WALKERS)
        t = coordinates.from_latent(z[parent])
        here = density[parent] - coordinates.log_slope(z[parent])
        nearest = np.argmax(mixture.component_log_density(t), axis=0)
        length = rng.choice(_LENGTHS, size=len(t)) / np.sqrt(ndim)
        step = np.einsum("nij,nj->ni", mixture.roots[nearest], rng.standard_normal(t.shape))
        new, inside = coordinates.to_latent(t + length[:, None] * step)
        value, _ = evaluate(posterior, new)
        with np.errstate(invalid="ignore"):
            taken = np.log(rng.random(len(new))) < value - coordinates.log_slope(new) - here[inside]
        new, value = new[taken], value[taken]
        z, density = np.concatenate([z, new]), np.concatenate([density, value])
        weight = np.concatenate([weight, value - sample.log_proposal(new)])
        order = np.argsort(-weight)[:WALKERS]
        z, density, weight = z[order], density[order], weight[order]
    return z, float(np.median(weight) - largest)


def extended(mixture: Mixture, z: np.ndarray) -> Mixture:
    """Add a component where walkers (n, ndim) have come to."""
    t = mixture.coordinates.from_latent(z)
    mean = t.mean(axis=0)
    nearest = int(np.argmax(mixture.component_log_density(mean[None])[:, 0]))
    scale = np.atleast_2d(np.cov(t.T)) + 0.1 * mixture.roots[nearest] @ mixture.roots[nearest].T
    return mixture.joined(mean, scale, 0.1)
