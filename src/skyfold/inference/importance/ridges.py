"""Tails: whether importance draws reach everything that the posterior holds.

Two things look. A *probe* holds one coordinate far out in its prior and climbs in the others, as a profile does: where
a component that the data hardly need is taken away, the rest of the model may follow on a narrow ridge that holds some
thousandths of the mass many widths from the mode. A *walk* goes where the weights rise.

Weights tell nothing of places where nothing was drawn: k-hat is good and the draws are many while the ends of a long
curved posterior are missing. So the draws of largest weight, where the proposals are thinnest against the posterior,
start short random walks, of which those are kept and walk on that reach still larger weights. Where they soon come to
weights far beyond any that was drawn, the proposals end before the posterior does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skyfold.inference.density import CHUNK, evaluate
from skyfold.inference.importance.mixture import Mixture
from skyfold.inference.importance.sample import WeightedSample
from skyfold.inference.search.maxima import Modes, distinct
from skyfold.inference.search.scoring import climb_between
from skyfold.posterior import Posterior

#: Latent coordinate that probes hold: the outer 2% of a prior.
_OUT = 2.0
#: Dimensions up to which there are probes.
MOST_PROBED = 12
#: Least log mass of a probe's surroundings, over the evidence, and least log weight of a draw there, over the mean, for
#: the proposals to be in need of it; steps of the climbs, and weight of the component.
_LEAST, _THIN, _PROBE_STEPS, _SHARE = np.log(1e-4), np.log(10.0), 12, 0.04
#: Walkers kept, and steps that each of their offspring takes.
WALKERS, STEPS = 64, 4
#: Half of the walkers may reach weights larger than the largest drawn by this factor (natural logarithm), not more.
ALLOWED = 1.5
#: Lengths of steps, over the width of the nearest component in one dimension.
_LENGTHS = np.array([0.4, 1.0, 2.0, 4.0])


@dataclass(frozen=True)
class Ridges:
    """Places that hold mass and are hardly reached, as normals in the coordinates of the proposals.

    Attributes
    ----------
    means : (n, ndim)
    covariance : (n, ndim, ndim)
    evaluations : spent on the search.
    """

    means: np.ndarray
    covariance: np.ndarray
    evaluations: int = 0

    def joined(self, mixture: Mixture) -> Mixture:
        """Return the mixture with a component for each."""
        for mean, covariance in zip(self.means, self.covariance, strict=True):
            mixture = mixture.joined(mean, covariance, _SHARE)
        return mixture


def probe(
    posterior: Posterior, modes: np.ndarray, mixture: Mixture, log_mass: float, batch: int
) -> tuple[Ridges, Modes | None]:
    """Hold each coordinate far out on either side, climb in the others, and find what the mixture lacks there.

    Parameters
    ----------
    modes : (n, ndim) latent vectors of the modes; the climbs start from the first.
    log_mass : log evidence, roughly.
    batch : size of the batches that the modes were climbed to in: no new executable.

    Returns
    -------
    ridges
    best
        Maxima of the likelihood that the batch had room to climb to from the modes; None without room, or where the
        highest has not converged.
    """
    coordinates, mode, ndim = mixture.coordinates, modes[0], modes.shape[1]
    best = None
    held = [(i, end) for i in range(ndim) for end in (-_OUT, _OUT) if abs(mode[i] - end) > 1.0]
    held = held if ndim <= MOST_PROBED else []
    low, high = posterior.latent_bounds()
    spent = 0
    means, covariances = [np.empty((0, ndim))], [np.empty((0, ndim, ndim))]
    for start in range(0, len(held), batch):
        index, ends = (np.array(a) for a in zip(*held[start : start + batch], strict=True))
        rows = np.arange(len(index))
        starts, lows, highs = (np.repeat(a[None], batch, axis=0) for a in (mode, low, high))
        for array in (starts, lows, highs):
            array[rows, index] = ends
        spare = np.arange(len(index), batch)
        starts[spare] = modes[(spare - len(index)) % len(modes)]
        found = climb_between(
            posterior, starts, lows, highs, with_prior=np.arange(batch) < len(index), max_steps=_PROBE_STEPS
        )
        spent += found.evaluations
        if len(spare) >= len(modes) and found.converged[spare][np.argmax(found.value[spare])]:
            best = replace(distinct(found, spare[found.converged[spare]]), evaluations=0)
        density = found.value - 0.5 * ndim * np.log(2.0 * np.pi) - log_mass
        thin = density - mixture.log_density(found.z) > _THIN
        heights = density - coordinates.log_slope(found.z)
        for k in rows[np.isfinite(density[rows]) & thin[rows]]:
            covariance = _ridge(found.metric[k], found.z[k], int(index[k]), coordinates.unit)
            if heights[k] + 0.5 * np.linalg.slogdet(2.0 * np.pi * covariance)[1] > _LEAST:
                means.append(coordinates.from_latent(found.z[k : k + 1]))
                covariances.append(covariance[None])
    return Ridges(np.concatenate(means), np.concatenate(covariances), spent), best


def _ridge(metric: np.ndarray, z: np.ndarray, held: int, unit: np.ndarray) -> np.ndarray:
    """Covariance (ndim, ndim) of a ridge: by the metric across, as wide as the prior along the held coordinate."""
    stretch = np.where(unit, np.sqrt(2.0 * np.pi) * np.exp(0.5 * z**2), 1.0)
    prior = np.where(unit, 12.0, 1.0)
    metric = (metric - np.eye(len(z))) * np.outer(stretch, stretch) + np.diag(prior)
    metric[held, :] = metric[:, held] = 0.0
    metric[held, held] = prior[held]
    return np.linalg.inv(metric)


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
