"""Lineage: what live points inherit from the points they set out from, and what that does to errors.

A new point of nested sampling is the end of a short walk from a live point. Where the walk is too short to forget where
it began (along a thin curved ridge, say), points of one family lie together, live long together and die together. The
usual error of the evidence and Kish's number of effective draws take all points for independent. Here whole families
are taken for independent instead: the sandwich estimate of variances in clusters (Liang & Zeger 1986, Biometrika 73,
13), for the evidence with the residuals of the Nelson-Aalen estimate that the prior volume is one of (Lee, Wei & Amato
1992, in Survival Analysis: State of the Art, 237).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Between-class share of the variance above which the two classes of a coordinate are separate modes: 0.64 of a normal
#: distribution, 0.75 of a uniform one lie between its halves.
_APART = 0.9
#: Generations before the bulk of the posterior from which on families count, and mass before the bulk.
_GENERATIONS, _BEFORE = 3.0, 0.02


@dataclass(frozen=True)
class Dependence:
    """What families leave of weighted draws.

    Attributes
    ----------
    effective : float
        Independent draws that would give the mean of the worst coordinate as accurately.
    worst : int
        That latent coordinate.
    share_error : float
        Standard error of the mass of one of two separate modes; 0 where there are none.
    split : int
        Latent coordinate in which they are separate.
    """

    effective: float
    worst: int
    share_error: float
    split: int


def memory(here: np.ndarray, there: np.ndarray) -> float:
    """Rank correlation, of the worst coordinate, of new points (n, ndim) with those they set out from (n, ndim)."""
    one, other = (np.argsort(np.argsort(a, axis=0), axis=0) - 0.5 * (len(a) - 1) for a in (here, there))
    norm = np.sqrt(np.sum(one**2, axis=0) * np.sum(other**2, axis=0))
    return float(np.max(np.sum(one * other, axis=0) / np.maximum(norm, 1e-300)))


def families(mothers: np.ndarray, late: np.ndarray) -> np.ndarray:
    """Number (n,) of the ancestor of each point: the first one, going back, that is not born late.

    Parameters
    ----------
    mothers : (n,) int array, number of the point that each set out from, -1 for draws of the prior.
    late : (n,) bool array, born after the moment from which on families count.
    """
    ancestor = np.where(late & (mothers >= 0), mothers, np.arange(len(mothers)))
    while True:
        further = ancestor[ancestor]
        if np.array_equal(further, ancestor):
            return ancestor
        ancestor = further


def evidence_error(
    birth: np.ndarray, death: np.ndarray, count: np.ndarray, weights: np.ndarray, names: np.ndarray, mothers: np.ndarray
) -> float:
    r"""Standard error of the log evidence, families of draws of the prior being independent.

    A death at which :math:`n` points are alive shrinks the log volume by :math:`1/n`, which changes the log evidence by
    :math:`g/n`, :math:`g = w n - P`, with :math:`w` the weight of the death and :math:`P` that of all later ones. The
    residual of a point is its own :math:`g/n` less the sum of :math:`g/n^2` over all deaths while it lives.

    Parameters
    ----------
    birth, death : (n,) log-likelihood contour above which each point was drawn, and its own, sorted by the latter.
    count : (n,) points alive at each death (see `shrinkage.alive`).
    weights : (n,) of the draws, normalised.
    names : (n,) number of each point, as in `mothers`.
    """
    after = np.concatenate([np.cumsum(weights[::-1])[::-1][1:], [0.0]])
    gain = weights * count - after
    hazard = np.concatenate([[0.0], np.cumsum(gain / count**2.0)])
    born = np.where(np.isneginf(birth), 0, np.searchsorted(death, birth, side="right"))
    place = np.arange(len(death))
    residual = gain / count - (hazard[place + 1] - hazard[np.minimum(born, place)])
    family = families(mothers, np.ones(len(mothers), bool))[names]
    return float(np.sqrt(np.sum(np.bincount(family, residual) ** 2)))


def dependence(
    z: np.ndarray,
    birth: np.ndarray,
    death: np.ndarray,
    count: np.ndarray,
    weights: np.ndarray,
    names: np.ndarray,
    mothers: np.ndarray,
) -> Dependence:
    """How far draws depend on each other; parameters as for `evidence_error`, with latent vectors z (n, ndim)."""
    lived = np.cumsum(1.0 / count)
    bulk = np.searchsorted(np.cumsum(weights), _BEFORE)
    first = np.searchsorted(lived, lived[bulk] - _GENERATIONS)
    late = np.empty(len(mothers), bool)
    late[names] = birth >= death[first]
    # where a walk cannot go from one mode to the other, all generations count
    family, line = families(mothers, late)[names], families(mothers, np.ones(len(mothers), bool))[names]
    mean = weights @ z
    offset = z - mean
    variance = weights @ offset**2
    share_error, split = 0.0, 0
    for i in range(z.shape[1]):
        upper, between = _halves(z[:, i], weights)
        if between > _APART * variance[i]:
            share = weights @ upper
            error = float(np.sqrt(np.sum(np.bincount(line, weights * (upper - share)) ** 2)))
            if error > share_error:
                share_error, split = error, i
            # what is left is how well each mode is known
            for half in (upper, ~upper):
                offset[half, i] -= weights[half] @ offset[half, i] / max(weights[half].sum(), 1e-300)
            variance[i] = weights @ offset[:, i] ** 2
    sums = np.stack([np.sum(np.bincount(family, weights * u) ** 2) for u in offset.T])
    effective = variance / np.maximum(sums, 1e-300)
    worst = int(np.argmin(effective))
    return Dependence(float(effective[worst]), worst, share_error, split)


def _halves(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, float]:
    """Split (n,) of a coordinate in two that has the largest variance between the parts (Otsu 1979), and that."""
    order = np.argsort(x)
    below = np.cumsum(weights[order])[:-1]
    moment = np.cumsum(weights[order] * (x[order] - weights @ x))[:-1]
    between = moment**2 / np.maximum(below * (1.0 - below), 1e-300)
    inner = (below > 0.01) & (below < 0.99)
    if not inner.any():
        return np.zeros(len(x), bool), 0.0
    cut = int(np.argmax(np.where(inner, between, -1.0)))
    return x > x[order[cut]], float(between[cut])
