"""Importance weights: how many draws they are worth, and whether they can be trusted (Pareto k-hat).

The largest weights are fitted by a generalised Pareto distribution; its shape k tells how heavy their tail is. Below
0.7 importance sampling estimates are reliable at practical sample sizes (Vehtari, Simpson, Gelman, Yao & Gabry 2024,
JMLR 25, 72).
"""

from __future__ import annotations

import numpy as np

#: Largest k-hat at which weighted draws are accepted.
RELIABLE = 0.7


def normalised(log_weights: np.ndarray) -> np.ndarray:
    """Weights that sum to one."""
    weights = np.exp(log_weights - np.max(log_weights))
    return weights / weights.sum()


def kish(weights: np.ndarray) -> float:
    r"""Effective number of draws of weights, :math:`(\sum w)^2 / \sum w^2` (Kish 1965, Survey Sampling)."""
    return float(np.sum(weights) ** 2 / np.maximum(np.sum(np.square(weights)), 1e-300))


def systematic(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Systematic resampling (Kitagawa 1996, J. Comput. Graph. Stat. 5, 1): ordered indices (n,) of equal draws."""
    total = np.cumsum(weights)
    places = (np.arange(n) + rng.random()) / n
    return np.minimum(np.searchsorted(total, places * total[-1]), len(weights) - 1)


def log_evidence(log_weights: np.ndarray, drawn: int) -> tuple[float, float]:
    """Log evidence of `drawn` draws, of which those with a weight are given, and its error by the delta method."""
    from scipy.special import logsumexp  # a result needs this module, and SciPy takes long to import

    value = float(logsumexp(log_weights) - np.log(drawn))
    variance = np.sum(np.exp(2.0 * (log_weights - value))) / drawn - 1.0
    return value, float(np.sqrt(max(variance, 0.0) / drawn))


def pareto_k(log_weights: np.ndarray) -> float:
    """Shape of the Pareto tail of importance weights; infinite when too few draws carry weight.

    Parameters
    ----------
    log_weights : (n,) array
        Logarithms of the weights, any normalisation; -inf for weight zero.
    """
    n = len(log_weights)
    tail = int(min(0.2 * n, 3.0 * np.sqrt(n)))
    weights = np.exp(log_weights - np.max(log_weights))
    largest = np.sort(weights)[-(tail + 1) :]
    exceedances = largest[1:] - largest[0]
    exceedances = exceedances[exceedances > 0]
    if len(exceedances) < 5:
        return float("inf") if np.count_nonzero(weights) < 25 else 0.0
    return _pareto_shape(exceedances)


def _pareto_shape(x: np.ndarray) -> float:
    """Zhang & Stephens 2009 (Technometrics 51, 316) estimate for sorted exceedances, with the weak prior of PSIS."""
    n = len(x)
    grid = 30 + int(np.sqrt(n))
    quartile = x[int(n / 4 + 0.5) - 1]
    b = (1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / (3.0 * quartile) + 1.0 / x[-1]
    shape = np.log1p(-b[:, None] * x).mean(axis=1)
    profile = n * (np.log(-b / shape) - shape - 1.0)
    weights = 1.0 / np.exp(profile[None, :] - profile[:, None]).sum(axis=1)
    posterior_b = np.sum(b * weights) / weights.sum()
    k = np.log1p(-posterior_b * x).mean()
    return float((n * k + 10.0 * 0.5) / (n + 10.0))


def pareto_smoothed(log_weights: np.ndarray) -> np.ndarray:
    """Log weights whose largest are replaced by quantiles of the Pareto distribution fitted to them.

    Vehtari, Simpson, Gelman, Yao & Gabry 2024, JMLR 25, 72, section 3; the scale is that of maximum likelihood for the
    shape k-hat.
    """
    from scipy.optimize import brentq

    n = len(log_weights)
    tail = int(min(0.2 * n, 3.0 * np.sqrt(n)))
    k = pareto_k(log_weights)
    weights = np.exp(log_weights - np.max(log_weights))
    order = np.argsort(weights, kind="stable")
    largest = order[n - tail :]
    cutoff = weights[order[n - tail - 1]]
    x = weights[largest] - cutoff
    if not np.isfinite(k) or abs(k) < 1e-6 or np.count_nonzero(x > 0) < tail // 2:
        return log_weights
    lowest = max(0.0, -k * x[-1])

    def score(scale: float) -> float:
        return float(np.mean((1.0 + k) * x / (scale + k * x)) - 1.0)

    low, high = lowest + 1e-9 * x[-1], lowest + 1e3 * x[-1]
    if not score(low) > 0.0 > score(high):
        return log_weights
    scale = brentq(score, low, high)
    p = (np.arange(tail) + 0.5) / tail
    smooth = cutoff + scale / k * np.expm1(-k * np.log1p(-p))
    result = log_weights.copy()
    result[largest] = np.log(np.minimum(smooth, 1.0)) + np.max(log_weights)
    return result
