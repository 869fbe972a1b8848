"""Predictive checks: expected and replicated data of draws, and how often replicates fit worse than the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from skyfold.likelihoods.likelihood import Likelihood
from skyfold.observation import Observation
from skyfold.posterior import Posterior

#: Latent vectors in one call of a compiled function: one shape, one executable.
CHUNK = 256

#: Replicates of a posterior predictive check.
REPLICATES = 1000


@dataclass(frozen=True)
class Goodness:
    """Posterior predictive check.

    Attributes
    ----------
    p_value : fraction of replicates whose statistic is at least that of the data, for the same draw; NaN where no data
        can be drawn.
    observations : the same for each observation.
    replicates : number of replicates.
    statistic : name of the statistic.
    note : why there is none.
    """

    p_value: float
    observations: dict[str, float]
    replicates: int
    statistic: str
    note: str = ""


def in_chunks(function: Callable[[np.ndarray], Any], *arrays: np.ndarray, size: int = CHUNK) -> Any:
    """Apply a batched function to arrays (n, ...) in calls of one fixed length; the last one is padded.

    Returns
    -------
    pytree of (n, ...) NumPy arrays
    """
    pieces = []
    n = len(arrays[0])
    for start in range(0, n, size):
        index = np.minimum(np.arange(start, start + size), n - 1)
        kept = min(size, n - start)
        pieces.append(jax.tree.map(lambda a, kept=kept: np.asarray(a)[:kept], function(*(a[index] for a in arrays))))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *pieces)


def predict(posterior: Posterior, latent: np.ndarray) -> dict[str, np.ndarray]:
    """Compute what the likelihoods are functions of, each (n, ...), for latent vectors (n, ndim)."""
    return in_chunks(posterior.expected, latent)


def flat_values(posterior: Posterior, latent: np.ndarray) -> np.ndarray:
    """Every scalar entry of every parameter, (n, entries), at latent vectors (n, ndim)."""
    values = in_chunks(posterior.values, latent)
    return np.concatenate([np.reshape(values[name], (len(latent), -1)) for name in posterior.names], axis=1)


def means(posterior: Posterior, latent: np.ndarray, expected: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the expected data of every observation, each (n, n_data), where `predict` has given `expected`."""
    plain = all(_plain(o) for _, o in posterior.pairs.values())
    return expected if plain else in_chunks(posterior.predict, latent)


def _plain(observation: Observation) -> bool:
    """Whether the expected data are what the likelihood is a function of."""
    likelihood = type(observation.likelihood)
    return type(observation).mean is Observation.mean and likelihood.mean is Likelihood.mean


def statistics(observation: Observation, data: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Statistic of data sets (n, n_data), or of one (n_data,), for expected data (n, n_data).

    Returns
    -------
    (n,) array
    """
    sets = [jax.tree.leaves(observation.with_data(d)) for d in np.atleast_2d(data)]
    if any(np.shape(a) != np.shape(b) for other in sets for a, b in zip(other, sets[0], strict=True)):
        # shapes follow the data (pixels sorted by counts): one that has room for every set
        observation = observation.with_data(np.sort(np.atleast_2d(data), axis=1).max(axis=0))
        sets = [jax.tree.leaves(observation.with_data(d)) for d in np.atleast_2d(data)]
    same, kind = jax.tree.flatten(observation)
    changed = tuple(i for i, leaf in enumerate(same) if sets[0][i] is not leaf)
    stacked = [np.stack([leaves[i] for leaves in sets]) for i in changed]
    stacked = [np.broadcast_to(s, (len(expected), *s.shape[1:])) for s in stacked]
    rest = tuple(None if i in changed else leaf for i, leaf in enumerate(same))

    def call(*chunk: np.ndarray) -> Any:
        return _statistics(kind, changed, rest, chunk[1:], chunk[0])

    return in_chunks(call, np.asarray(expected), *stacked)


def drawn_data(draw: Any, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray | None:
    """Draw data by an observation's `sample` or `replicate`; None where what is expected is too large, or no number."""
    try:
        return draw(rng, expected)
    except ValueError:
        return None


@jax.jit(static_argnums=(0, 1))
def _statistics(kind: Any, changed: tuple[int, ...], rest: tuple[Any, ...], stacked: Any, expected: Any) -> Any:
    def one(own: Any, m: Any) -> Any:
        leaves = list(rest)
        for i, leaf in zip(changed, own, strict=True):
            leaves[i] = leaf
        return jax.tree.unflatten(kind, leaves).statistic(m)

    return jax.vmap(one)(stacked, expected)


def check(posterior: Posterior, latent: np.ndarray, seed: int) -> Goodness:
    r"""Posterior predictive check (Gelman, Meng & Stern 1996, Statistica Sinica 6, 733).

    .. math:: p = \Pr[T(d^\mathrm{rep}, \theta) \ge T(d, \theta)]

    with one replicate for each draw :math:`\theta`, and T the statistic of the fit. Values near 0: the model does not
    describe the data; near 1: the data scatter less than the model says.

    Parameters
    ----------
    posterior : model and data.
    latent : (n, ndim) equally weighted draws; a single row repeated makes it the check of a point.
    seed : seed of the replicates.

    Returns
    -------
    Goodness
        With p = NaN and a note where no data can be drawn, such as for 1e300 expected counts.
    """
    for name, (_, observation) in posterior.pairs.items():
        if not observation.likelihood.cheap:
            return _impossible(
                posterior, f"replicating the {observation.n_data} data of '{name}' takes minutes: not done"
            )
    unique, index = np.unique(latent, axis=0, return_inverse=True)
    expected = predict(posterior, unique)
    index = np.ravel(index)
    rng = np.random.default_rng([seed, 20])
    observed, replicated = np.zeros(len(latent)), np.zeros(len(latent))
    values: dict[str, float] = {}
    for name, (_, observation) in posterior.pairs.items():
        m = expected[name][index]
        own = statistics(observation, np.asarray(observation.data), m)
        drawn = drawn_data(observation.sample, rng, m)
        if drawn is None:
            return _impossible(posterior, f"no data can be drawn for '{name}': {np.max(m):.3g} are expected of a datum")
        other = statistics(observation, drawn, m)
        values[name] = float(np.mean(other >= own))
        observed, replicated = observed + own, replicated + other
    return Goodness(float(np.mean(replicated >= observed)), values, len(latent), posterior.statistic_name)


def _impossible(posterior: Posterior, note: str) -> Goodness:
    nothing = dict.fromkeys(posterior.pairs, float("nan"))
    return Goodness(float("nan"), nothing, 0, posterior.statistic_name, note)
