"""Whether the weighted draws of an object may be believed, and what they say."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skyfold.catalogs.settings import CatalogSettings
from skyfold.inference.importance.psis import kish, pareto_k, systematic

#: Quantiles of a parameter, by the ends of their columns' names.
QUANTILES = {"p025": 0.025, "p16": 0.16, "median": 0.5, "p84": 0.84, "p975": 0.975}
#: Largest share of all weight that a single draw may have where the proposals are said to cover the posterior.
_SHARE = 0.01


class Verdict(NamedTuple):
    """Numbers that an object is judged by."""

    khat: float
    effective: float
    rhat: float
    uncovered: float
    log_evidence: float
    disagreement: float

    def passes(self, settings: CatalogSettings) -> bool:
        """Whether every number is within the settings' limits."""
        return bool(
            self.khat < settings.khat
            and self.effective >= settings.effective
            and self.rhat < settings.rhat
            and self.uncovered < settings.uncovered
            and self.disagreement < settings.evidence
        )


def judge(
    z: np.ndarray, log_weights: np.ndarray, tests: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[Verdict, np.ndarray]:
    """Judge two halves (2, n, d) with log weights (2, n) and return normalised weights (2 n,) of both together.

    Parameters
    ----------
    tests : for each half, at draws of the library's posterior: log posterior density, unnormalised, and log density of
        the mean of the half's proposals.
    """
    top = np.max(log_weights)
    if not np.isfinite(top):
        return Verdict(np.inf, 0.0, np.inf, 1.0, -np.inf, np.inf), np.full(log_weights.size, 1.0 / log_weights.size)
    weights = np.exp(log_weights - top)
    sums = np.maximum(weights.sum(axis=1), 1e-300)
    evidence = np.log(sums / weights.shape[1]) + top
    normal = weights / sums[:, None]
    means = np.einsum("hn,hnd->hd", normal, z)
    both = weights.ravel() / weights.sum()
    variance = np.maximum(np.einsum("hn,hnd->hd", normal, (z - means[:, None]) ** 2).mean(axis=0), 1e-300)
    rhat = float(np.sqrt(1.0 + 0.5 * np.max((means[0] - means[1]) ** 2 / variance)))
    log_evidence = float(np.logaddexp(*evidence) - np.log(2.0))
    # where a draw would outweigh so many others the posterior is not covered, whatever the weights of those drawn say
    far = np.log(_SHARE * log_weights.size)
    missed = [np.mean(target - log_evidence - proposal > far) for target, proposal in tests]
    return (
        Verdict(
            max(pareto_k(log_weights.ravel()), *(pareto_k(w) for w in log_weights)),
            kish(both),
            rhat,
            float(max(missed)),
            log_evidence,
            float(abs(evidence[0] - evidence[1])),
        ),
        both,
    )


def resampled(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Indices (n,) of equally weighted draws, by systematic resampling, in random order."""
    return rng.permutation(systematic(weights, n, rng))


def summary(values: np.ndarray) -> dict[str, Any]:
    """Mean, standard deviation and quantiles over the draws, axis 1, of values (g, n, p)."""
    quantiles = np.quantile(values, list(QUANTILES.values()), axis=1)
    return {"mean": values.mean(axis=1), "sd": values.std(axis=1), "quantiles": np.moveaxis(quantiles, 0, -1)}
