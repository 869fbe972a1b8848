"""Centre: where the mass of a posterior of many dimensions lies, which is not where its density is highest.

In a model with a free amplitude over hundreds of excitations the joint maximum is degenerate: the amplitude grows
without end while the excitations vanish. A normal with the inverse metric as its covariance, moved to where its
divergence to the posterior is least (MGVI), feels the volume and stays where the mass is.
"""

from __future__ import annotations

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.inference.density import evaluate
from skyfold.inference.running import Progress
from skyfold.inference.search.large import DENSE, dense_metric
from skyfold.inference.search.maxima import Modes
from skyfold.inference.search.metric_products import applied, descend, divergence, lengths, offsets
from skyfold.posterior import Posterior

#: Antithetic pairs of samples, rounds and Newton steps in each at most.
_PAIRS, _ROUNDS, _STEPS = 16, 10, 10
#: Root mean square move of the mean, in sds, after which it is good enough to start from.
_STILL = 0.01
#: Starts of a search, and antithetic pairs of samples that tell the mass under each.
_STARTS, _JUDGED = 4, 64
#: Distance in any coordinate, in sds, up to which centres are the same.
_SAME = 1.0


def centre(
    posterior: Posterior, start: np.ndarray, seed: int, progress: Progress | None = None
) -> tuple[np.ndarray, int]:
    """Mean (ndim,) of the metric Gaussian that was moved from a start (ndim,), and the derivatives that it took.

    Raises
    ------
    SkyfoldError
        If the likelihood is not finite at the start.
    """
    mean, spent = start, 0
    if not np.isfinite(float(divergence(posterior.kernel, start[None])[0])):
        raise SkyfoldError(
            "The likelihood is not finite where the search for the centre of the posterior begins, which is the middle "
            "of the prior or a draw of it; check the priors' ranges."
        )
    for done in range(_ROUNDS):
        around, _, drawing = offsets(posterior, mean, _PAIRS, np.random.default_rng([seed, 23]))
        new, steps = descend(posterior, mean, around, _STEPS, _STILL)
        moved = new - mean
        length = float(moved @ np.asarray(applied(posterior.kernel, mean, moved)))
        mean, spent = new, spent + drawing + steps
        if progress is not None:
            progress.update(done + 1, f"moved by {np.sqrt(length / len(mean)):.3f} sd")
        if length < _STILL**2 * len(mean):
            break
    return mean, spent


def central(
    posterior: Posterior, points: np.ndarray, density: np.ndarray, seed: int = 0, progress: Progress | None = None
) -> Modes:
    """Centres reached from several starts, heaviest first, in the place of modes, with the dense metric of each.

    The mass under a centre is the evidence lower bound (of the median draw, for means are ruled by single ones) of the
    normal with its metric; ``value`` is the log density that this normal times its mass has at the centre.

    Parameters
    ----------
    points, density : screened prior draws (n, ndim) and their log density: half of the starts are among the best of
        these, the others the middle of the prior, unless the likelihood is not finite there.
    progress : is told of every round.

    Raises
    ------
    SkyfoldError
        If there are more than 2,000 dimensions: whoever asks needs the metric as a matrix.
    """
    if posterior.ndim > DENSE:
        raise SkyfoldError(
            f"This method needs a metric of {posterior.ndim} x {posterior.ndim} numbers; beyond {DENSE} latent "
            "dimensions use sf.MGVI(), sf.GeoVI() or sf.Pathfinder(), which do without."
        )
    kernel, middle = posterior.kernel, np.zeros(posterior.ndim)
    best = np.argsort(-density)[:_STARTS]
    starts = points[best[np.isfinite(density[best])]]
    if np.isfinite(float(divergence(kernel, middle[None])[0])):
        starts = np.concatenate([np.tile(middle, (_STARTS // 2, 1)), starts[_STARTS // 2 :]])
    means, spent = [], 0
    for number, start in enumerate(starts):
        if progress is not None:
            progress.stage(f"searching for the centre from start {number + 1} of {len(starts)}", _ROUNDS)
        mean, cost = centre(posterior, start, seed + number, progress)
        means.append(mean)
        spent += cost + 2 * posterior.ndim
    metrics = [dense_metric(posterior, z) for z in means]
    peaks = [_peak(posterior, z, seed) for z in means]
    masses = [peak - 0.5 * np.linalg.slogdet(m)[1] for peak, m in zip(peaks, metrics, strict=True)]
    kept: list[int] = []
    hits: list[int] = []
    for i in np.argsort(masses)[::-1]:
        same = [apart(means[i], means[k], metrics[k]) < _SAME for k in kept]
        if any(same):
            hits[same.index(True)] += 1
        else:
            kept.append(int(i))
            hits.append(1)
    z = np.stack([means[i] for i in kept])
    return Modes(
        z,
        np.array([peaks[i] for i in kept]),
        evaluate(posterior, z)[1],
        np.asarray(divergence(kernel, z)[1]),
        np.stack([metrics[i] for i in kept]),
        np.ones(len(kept), dtype=bool),
        spent + 2 * len(starts) * _JUDGED,
        np.array(hits),
    )


def apart(one: np.ndarray, other: np.ndarray, metric: np.ndarray) -> float:
    """Largest distance of two points in a coordinate, in standard deviations of the normal with this metric."""
    return float(np.max(np.abs(one - other) / np.sqrt(np.diagonal(np.linalg.inv(metric)))))


def _peak(posterior: Posterior, mean: np.ndarray, seed: int) -> float:
    """Log density at its peak of the normal about the mean that has the posterior's density at its median draw."""
    around, _, _ = offsets(posterior, mean, _JUDGED, np.random.default_rng([seed, 25]))
    density = evaluate(posterior, mean + around)[0]
    return float(np.median(density + 0.5 * np.asarray(lengths(posterior.kernel, mean, around))))
