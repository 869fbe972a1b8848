"""Ranks of the truth among the draws of a posterior."""

from __future__ import annotations

import numpy as np

from skyfold.inference.running import Draws
from skyfold.posterior import Posterior
from skyfold.results.predictive import flat_values

#: Name of the log-likelihood among the ranked quantities.
LOG_LIKELIHOOD = "log-likelihood"


def ranks(posterior: Posterior, draws: Draws, truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Randomised ranks, between 0 and 1, of the true entries and log-likelihood among those of the draws."""
    latent = draws.latent.reshape(-1, posterior.ndim)
    likelihood = draws.log_likelihood.ravel()
    weights = draws.weights().ravel()
    kept = np.flatnonzero(weights > 0) if draws.log_weights is not None else _thinned(draws)
    weights = weights[kept] / weights[kept].sum()
    values = np.column_stack([flat_values(posterior, latent[kept]), likelihood[kept]])
    return np.array([rank(x, weights, t, v) for x, t, v in zip(values.T, truth, rng.random(len(truth)), strict=True)])


def _thinned(draws: Draws) -> np.ndarray:
    """Places of as many draws, at equal distances, as correlated chains are worth."""
    from skyfold.inference.convergence.mixing import measure

    total = draws.latent.shape[0] * draws.latent.shape[1]
    effective = draws.diagnostics.get("ess")
    if effective is None:
        effective = measure(draws.latent)["ess"]
    n = total if not np.isfinite(effective) else int(np.clip(effective, 1, total))
    return np.floor((np.arange(n) + 0.5) * total / n).astype(np.int64)


def rank(values: np.ndarray, weights: np.ndarray, truth: float, v: float) -> float:
    r"""Randomised rank of the truth among weighted draws, uniform between 0 and 1 when the truth is one draw more.

    .. math:: u = \frac{\sum_i w_i [x_i < t] + v (\sum_i w_i [x_i = t] + w_t)}{1 + w_t}

    Given the draws and the truth together, each is the truth with a probability in proportion to its weight; so u is
    exactly uniform if the truth carries its own weight. That of L independent draws which count alike is 1/L. That of
    importance draws would take the density of the proposal; it is replaced by its mean over the posterior, the sum of
    the squared weights, which is one over the effective sample size.

    Parameters
    ----------
    values : (n,) draws.
    weights : (n,) weights that sum to 1.
    truth : t.
    v : uniform random number.
    """
    own = float(np.sum(weights**2))
    below = float(np.sum(weights[values < truth]))
    tied = float(np.sum(weights[values == truth]))
    return min((below + v * (tied + own)) / (1.0 + own), 1.0)
