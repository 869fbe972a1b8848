"""Nested sampling's accounts: from the births and deaths of live points to weights, evidence and its error.

Every death shrinks the prior volume above the likelihood contour by a factor whose distribution is known from the
number of points alive (Skilling 2006, Bayesian Analysis 1, 833). That number is counted from births and deaths, so that
batches of deaths, the final live points and plateaus of the likelihood are all treated alike (Fowlie, Handley & Su
2021, MNRAS 503, 1199).
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

#: Simulated shrinkage histories behind the error of the evidence.
_HISTORIES = 400


def alive(birth: np.ndarray, death: np.ndarray) -> np.ndarray:
    """Count the points that were alive at each death.

    Parameters
    ----------
    birth, death : (n,) arrays
        Log-likelihood contour above which each point was drawn (-inf for draws of the prior) and its own
        log-likelihood, sorted by the latter; the final live points are among them.

    Returns
    -------
    (n,) int array
        Points alive just before each death; of points that die together, one after the other.
    """
    position = np.arange(len(death))
    # of deaths at one contour, births there come after: they are strictly above it
    initial = np.isneginf(birth)
    born = np.sort(birth[~initial])
    return int(initial.sum()) + np.searchsorted(born, death, side="left") - position


def log_volumes(count: np.ndarray) -> np.ndarray:
    """Log prior volume (n,) of the shell that each death closes.

    With the shrinkage (1 - 1/n) the evidence is estimated without bias (Walter 2017, Stat. Comput. 27, 219); the
    volumes sum to one.
    """
    with np.errstate(divide="ignore"):
        before = np.concatenate([[0.0], np.cumsum(np.log1p(-1.0 / count))[:-1]])
    return before - np.log(count)


def log_evidence(death: np.ndarray, count: np.ndarray) -> tuple[float, float, float]:
    """Log evidence, its error, and the information that the data gave.

    Parameters
    ----------
    death : (n,) sorted log-likelihoods.
    count : (n,) points alive at each death.

    Returns
    -------
    value, error : float
        Mean and standard deviation of the log evidence over simulated histories of the shrinkage.
    information : float
        Kullback-Leibler divergence from prior to posterior, in nats; `error` is near the root of it over the number
        of live points.
    """
    log_weights = death + log_volumes(count)
    value = float(logsumexp(log_weights))
    weights = np.exp(log_weights - value)
    information = float(weights[weights > 0] @ death[weights > 0] - value)
    rng = np.random.default_rng(0)
    simulated = np.empty(_HISTORIES)
    for i in range(_HISTORIES):
        step = rng.standard_exponential(len(death)) / count
        before = np.concatenate([[0.0], -np.cumsum(step)[:-1]])
        step[-1] = np.inf  # the last point stands for all that is left
        simulated[i] = logsumexp(death + before + np.log(-np.expm1(-step)))
    return float(np.mean(simulated)), float(np.std(simulated)), information


def insertion_pvalue(fractions: np.ndarray, block: int) -> float:
    """Probability of ranks as uneven as these, if new points are fair draws above their contour.

    Parameters
    ----------
    fractions : (n,) array
        Rank of each new point among the live points when it joined them, scaled to (0, 1), in the order of birth.
    block : int
        Births in a stretch of the run that is also looked at alone.

    References
    ----------
    Fowlie, Handley & Su 2020, MNRAS 497, 5256.
    """
    from scipy.stats import kstest

    pieces = np.array_split(fractions, max(1, len(fractions) // block))
    if not len(fractions):
        return 1.0
    whole = float(kstest(fractions, "uniform").pvalue)
    worst = min(float(kstest(p, "uniform").pvalue) for p in pieces)
    return min(1.0, 2.0 * whole, 2.0 * len(pieces) * worst)
