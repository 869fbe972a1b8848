"""Mass that chains never went to: what their own diagnostics cannot tell.

Chains that agree, with thousands of effective draws, may all have missed a narrow ridge which holds some thousandths of
the mass many widths from the mode, and with it a good part of a variance. Probes look for such ridges as `tails` does
for importance sampling; what lies there is weighed, and compared with what the draws hold.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from skyfold.inference.density import CHUNK, evaluate
from skyfold.inference.frames.unit_or_normal import Laplace, coordinate_names
from skyfold.inference.importance.mixture import Mixture
from skyfold.inference.importance.psis import RELIABLE, pareto_k
from skyfold.inference.importance.ridges import MOST_PROBED, probe
from skyfold.inference.search.scoring import climb
from skyfold.posterior import Posterior

#: Part of a variance that draws may lack.
ALLOWED = 0.1
#: Share of the Laplace approximation in the proposals for the evidence, and how much wider than the draws the rest is.
_LAPLACE, _WIDER = 0.2, 1.2


def unvisited(
    posterior: Posterior, mode: np.ndarray, z: np.ndarray, starts: int, seed: int
) -> tuple[tuple[str, ...], int]:
    """Say which part of the posterior the draws of chains lack, if that makes a width wrong by more than 5%.

    Up to 12 dimensions, and where importance sampling from a normal fitted to the draws gives the evidence, which is
    what masses are measured by; elsewhere nothing can be said.

    Parameters
    ----------
    mode : (ndim,) latent vector of the highest mode.
    z : (n, ndim) draws.
    starts : size of the batches that modes were climbed to in: no new executable.

    Returns
    -------
    messages : one or none.
    evaluations : spent.
    """
    ndim = posterior.ndim
    if ndim > MOST_PROBED:
        return (), 0
    rng = np.random.default_rng([seed, 41])
    modes = climb(posterior, np.tile(mode, (starts, 1)))
    laplace = Laplace.at(posterior, *modes.parts)
    coordinates = laplace.coordinates
    t = coordinates.from_latent(z)
    centre, covariance = t.mean(axis=0), np.atleast_2d(np.cov(t.T))
    mixture = Mixture.one(centre, np.linalg.cholesky(_WIDER * covariance), coordinates)
    mixture = mixture.joined(laplace.means[0], _WIDER * laplace.covariance[0], _LAPLACE)
    near = mixture.draw(2 * CHUNK, rng)
    log_weights = evaluate(posterior, near)[0] - mixture.log_density(near)
    spent = modes.evaluations + len(near)
    if not pareto_k(log_weights) < RELIABLE:
        return (), spent
    log_evidence = float(logsumexp(log_weights)) - np.log(2 * CHUNK)
    ridges, _ = probe(posterior, modes.z, mixture, log_evidence, starts)
    spent += ridges.evaluations
    inverse = np.linalg.inv(covariance)
    worst: tuple[float, float, float, int] = (0.0, 0.0, 0.0, 0)
    for ridge, spread in zip(ridges.means, ridges.covariance, strict=True):
        proposal = Mixture.one(ridge, np.linalg.cholesky(spread), coordinates)
        far = proposal.draw(CHUNK, rng)
        spent += len(far)
        weights = np.exp(evaluate(posterior, far)[0] - proposal.log_density(far) - log_evidence) / CHUNK
        across = np.linalg.inv(spread)
        there = _inside(coordinates.from_latent(far), ridge, across) & ~_inside(
            coordinates.from_latent(far), centre, inverse
        )
        visited = _inside(t, ridge, across) & ~_inside(t, centre, inverse)
        mass, held = float(weights @ there), float(np.mean(visited))
        variance = z.var(axis=0)
        lacking = (weights * there) @ (far - z.mean(axis=0)) ** 2 / variance
        lacking -= (visited / len(z)) @ (z - z.mean(axis=0)) ** 2 / variance
        k = int(np.argmax(lacking))
        if lacking[k] > worst[0]:
            worst = float(lacking[k]), mass, held, k
    part, mass, held, k = worst
    if part <= ALLOWED:
        return (), spent
    narrow = 1.0 - 1.0 / np.sqrt(1.0 + part)
    return (
        f"a ridge far out in {coordinate_names(posterior)[k]} holds some {100 * mass:.1g}% of the posterior and "
        f"{100 * held:.1g}% of the draws: its width comes out {100 * narrow:.0f}% too small; "
        "use sf.Auto() or sf.Nested()",
    ), spent


def _inside(t: np.ndarray, mean: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Which points (n, ndim) lie inside the ellipsoid that holds nearly all of a normal."""
    ndim = len(mean)
    return np.einsum("ni,ij,nj->n", t - mean, inverse, t - mean) < ndim + 4.0 * np.sqrt(2.0 * ndim)
