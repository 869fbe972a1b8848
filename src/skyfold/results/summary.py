"""Summary of marginals: quantiles of weighted draws, effective sample sizes, and what a table must say of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from skyfold.inference.importance.psis import kish
from skyfold.inference.running import Draws
from skyfold.results.description import Description, ParameterDescription

#: Quantiles of every summary.
QUANTILES = {"q05": 0.05, "q16": 0.15865525393145707, "median": 0.5, "q84": 0.8413447460685429, "q95": 0.95}

#: A parameter whose latent draws lie this close to N(0, 1) (Kolmogorov-Smirnov distance; relative difference of the
#: standard deviation) returns its prior; with few effective draws the limits widen to what chance allows.
PRIOR_DISTANCE = 0.05

#: Density at a bound, relative to its peak, from which a posterior is a limit rather than a measurement. Estimated
#: as in `bound_ratios`, this is the ratio of a normal whose peak lies 1.645 sd from the bound: its 90% interval ends
#: there.
LIMIT_RATIO = 0.34

#: Fraction of the draws from which a density is estimated: small against the posterior, large against the noise.
_WINDOW = 0.05

#: Latent coordinate at which a bounded prior is at its bound.
_EDGE = 8.0


@dataclass(frozen=True)
class Marginal:
    """Marginal posterior of one scalar entry of a parameter; NaN where a number is not known.

    Attributes
    ----------
    name, unit : as in tables.
    best : value at the maximum of the likelihood.
    median, mean, sd, q05, q16, q84, q95 : of the posterior; of a point estimate `sd` only, from the Fisher metric.
    ess : effective sample size: Kish's for weighted draws, bulk-ESS for Markov chains.
    rhat : rank-normalised split R-hat of Markov chains.
    limit : ``"upper"`` or ``"lower"`` where the posterior piles up at a bound of its prior, else empty.
    note : what a reader must know.
    """

    name: str
    unit: str
    best: float
    median: float
    mean: float
    sd: float
    q05: float
    q16: float
    q84: float
    q95: float
    ess: float
    rhat: float
    limit: str = ""
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers by name."""
        content = asdict(self)
        del content["name"]
        return content


def quantiles(values: np.ndarray, weights: np.ndarray, q: Any) -> np.ndarray:
    """Quantiles of weighted draws along the first axis.

    The distribution function rises linearly between draws and passes each at the middle of its weight.

    Parameters
    ----------
    values : (n, ...) draws.
    weights : (n,) weights.
    q : scalar or (m,) probabilities.

    Returns
    -------
    (m, ...) or (...) array
    """
    values, q = np.asarray(values, dtype=float), np.asarray(q, dtype=float)
    flat = values.reshape(len(values), -1)
    order = np.argsort(flat, axis=0)
    ordered = np.take_along_axis(flat, order, axis=0)
    w = np.asarray(weights, dtype=float)[order]
    cumulative = (np.cumsum(w, axis=0) - 0.5 * w) / np.sum(weights)
    found = np.stack([np.interp(q, cumulative[:, i], ordered[:, i]) for i in range(flat.shape[1])], axis=-1)
    return found.reshape((*q.shape, *values.shape[1:]))


def marginals(
    description: Description,
    draws: Draws,
    samples: dict[str, np.ndarray],
    best: dict[str, np.ndarray],
    errors: np.ndarray | None,
) -> list[Marginal]:
    """Summarise every scalar entry of every parameter.

    Parameters
    ----------
    description : what the posterior is.
    draws : the latent draws.
    samples : values by name, (chains, draws, *shape).
    best : values by name at the maximum of the likelihood, empty where not known.
    errors : (n_entries,) standard errors of a point estimate.
    """
    found: list[Marginal] = []
    weights = draws.weights()
    for p in description.parameters:
        values = samples[p.name].reshape(*weights.shape, -1)
        top = np.ravel(best[p.name]) if p.name in best else np.full(values.shape[-1], np.nan)
        notes = _notes(p, draws)
        for i, entry in enumerate(p.entries):
            limit, note = notes[i]
            if draws.is_point:
                error = np.nan if errors is None else float(errors[len(found)])
                marginal = _point(entry, p.unit, float(values[0, 0, i]), error, note)
            else:
                marginal = _spread(entry, p.unit, float(top[i]), values[..., i], draws, limit, note)
            found.append(marginal)
    return found


def _point(name: str, unit: str, value: float, error: float, note: str) -> Marginal:
    nan = float("nan")
    return Marginal(name, unit, value, nan, nan, error, nan, nan, nan, nan, nan, nan, "", note)


def _spread(name: str, unit: str, best: float, values: np.ndarray, draws: Draws, limit: str, note: str) -> Marginal:
    weights = draws.weights()
    q = dict(zip(QUANTILES, quantiles(values.ravel(), weights.ravel(), list(QUANTILES.values())).tolist(), strict=True))
    mean = float(np.sum(weights * values))
    sd = float(np.sqrt(np.sum(weights * (values - mean) ** 2)))
    ess, rhat = (kish(weights), float("nan")) if draws.log_weights is not None else _chains(values)
    return Marginal(name=name, unit=unit, best=best, mean=mean, sd=sd, ess=ess, rhat=rhat, limit=limit, note=note, **q)


def _chains(values: np.ndarray) -> tuple[float, float]:
    """Bulk-ESS and rank-normalised split R-hat (Vehtari et al. 2021, Bayesian Analysis 16, 667), by ArviZ."""
    chains, n = values.shape
    if n < 4:
        return float("nan"), float("nan")
    az = load_arviz()
    rhat = float(az.rhat(values)) if chains > 1 else float("nan")
    return float(az.ess(values)), rhat


def load_arviz() -> Any:
    """Import ArviZ, without its notes to developers."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    return arviz


# -- what a reader must know -----------------------------------------------------------------------------------------


def _notes(p: ParameterDescription, draws: Draws) -> list[tuple[str, str]]:
    """Limit and note of each entry of a parameter, from its latent draws."""
    z = draws.latent[..., slice(*p.latent)].reshape(-1, p.latent[1] - p.latent[0])
    n = len(p.entries)
    if draws.is_point:
        return [("", _at_bound(z[0, i], p)) for i in range(n)] if p.elementwise else [("", "")] * n
    weights = draws.weights().ravel()
    if not p.exact:
        return [("", "")] * n
    returned = [returns_prior(z[:, i], weights) for i in range(z.shape[1])]
    if not p.elementwise:
        return [("", "returns its prior" if all(returned) else "")] * n
    return [("", "returns its prior") if returned[i] else _limit(z[:, i], weights, p) for i in range(n)]


def returns_prior(z: np.ndarray, weights: np.ndarray) -> bool:
    """Whether latent draws (n,) are those of the prior, N(0, 1).

    They are where the Kolmogorov-Smirnov distance of the weighted draws from N(0, 1), and the relative difference of
    their standard deviation from 1, both stay below `PRIOR_DISTANCE`. With few effective draws n the limits are
    1.36 / sqrt(n) and sqrt(2 / n), what chance leaves in 5% of cases.
    """
    from scipy.special import ndtr

    total = float(np.sum(weights))
    order = np.argsort(z)
    upper = np.cumsum(weights[order]) / total
    normal = ndtr(z[order])
    distance = max(np.max(np.abs(upper - normal)), np.max(np.abs(upper - weights[order] / total - normal)))
    mean = np.sum(weights * z) / total
    sd = np.sqrt(np.sum(weights * (z - mean) ** 2) / total)
    n = kish(weights)
    return bool(
        distance < max(PRIOR_DISTANCE, 1.36 / np.sqrt(n)) and abs(sd - 1.0) < max(PRIOR_DISTANCE, np.sqrt(2.0 / n))
    )


def bound_ratios(z: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    r"""Density of the posterior at the lower and upper bound of its prior, relative to the peak.

    Densities are those of the prior's quantile :math:`u = \Phi(z)`, in which the prior is flat and the marginal
    posterior is the marginal likelihood. Each is 5% of the weight over the stretch of u that holds it.
    """
    from scipy.special import ndtr

    order = np.argsort(z)
    cumulative = np.concatenate([[0.0], np.cumsum(weights[order])]) / np.sum(weights)
    # the quantile from below and from above: each keeps its digits near its own end
    below = np.concatenate([[0.0], ndtr(z[order])])
    above = np.concatenate([[1.0], ndtr(-z[order])])
    starts = np.linspace(0.0, 1.0 - _WINDOW, 191)
    (left, right), (over, under) = (
        (np.interp(starts, cumulative, u), np.interp(starts + _WINDOW, cumulative, u)) for u in (below, above)
    )
    stretches = np.where(right < 0.5, right - left, over - under)
    stretches[0], stretches[-1] = right[0], over[-1]
    peak = np.min(stretches)
    if peak <= 0.0:
        return 0.0, 0.0
    return float(peak / stretches[0]), float(peak / stretches[-1])


def _limit(z: np.ndarray, weights: np.ndarray, p: ParameterDescription) -> tuple[str, str]:
    lower, upper = (
        bounded and ratio > LIMIT_RATIO for bounded, ratio in zip(p.bounded, bound_ratios(z, weights), strict=True)
    )
    if lower and upper:
        return "", "reaches both bounds of its prior"
    if lower:
        return "upper", "upper limit (95%): at the lower bound of its prior"
    if upper:
        return "lower", "lower limit (95%): at the upper bound of its prior"
    return "", ""


def held_coordinates(latent: np.ndarray, description: Description) -> np.ndarray:
    """Coordinates (ndim,) of a point that are at a sharp bound of their prior."""
    held = np.zeros(len(latent), dtype=bool)
    for p in description.parameters:
        z = latent[slice(*p.latent)]
        held[slice(*p.latent)] = (p.bounded[0] & (z <= -_EDGE)) | (p.bounded[1] & (z >= _EDGE))
    return held


def _at_bound(z: float, p: ParameterDescription) -> str:
    if p.bounded[0] and z <= -_EDGE:
        return "at the lower bound of its prior"
    if p.bounded[1] and z >= _EDGE:
        return "at the upper bound of its prior"
    return ""


#: Eigenvalue of a metric with a unit diagonal below which it is not positive to working precision.
_FLAT = 1e-10


def standard_errors(metric: np.ndarray, jacobian: np.ndarray, held: np.ndarray) -> np.ndarray:
    r"""Compute standard errors of a point estimate from its Fisher metric.

    .. math:: \mathrm{Cov}(x) = J F^{-1} J^T

    Parameters
    ----------
    metric : (ndim, ndim) Fisher metric F in latent coordinates.
    jacobian : (n_entries, ndim) derivative J of the values with respect to the latent coordinates.
    held : (ndim,) bool, coordinates at a bound of their prior, which take no part.

    Returns
    -------
    (n_entries,) array
        NaN for values at a bound of their prior, and where the data do not constrain the value at all or the metric is
        not positive.
    """
    metric, jacobian = np.asarray(metric, dtype=float), np.asarray(jacobian, dtype=float)
    inside = ~np.asarray(held, dtype=bool)
    errors = np.full(len(jacobian), np.nan)
    if not inside.any():
        return errors
    # a coordinate that the data do not see takes no part, and has no error
    with np.errstate(invalid="ignore"):
        inside &= np.isfinite(metric).all(axis=1) & (np.diagonal(metric) > 0)
    if not inside.any():
        return errors
    inner = metric[np.ix_(inside, inside)]
    scale = np.sqrt(np.diagonal(inner))
    size, axes = np.linalg.eigh(inner / np.outer(scale, scale))
    pushed = (jacobian[:, inside] / scale) @ axes
    variance = np.sum(pushed[:, size > _FLAT] ** 2 / size[size > _FLAT], axis=1)
    lost = np.sum(pushed[:, size <= _FLAT] ** 2, axis=1) > _FLAT * np.sum(pushed**2, axis=1)
    blind = np.any(np.abs(jacobian[:, ~inside & ~np.asarray(held, dtype=bool)]) > 0, axis=1)
    known = (variance > 0) & ~lost & ~blind & np.any(np.abs(jacobian[:, inside]) > 0, axis=1)
    errors[known] = np.sqrt(variance[known])
    return errors
