"""Maxima found by a search, joined and told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Modes:
    """Distinct local maxima, best first.

    Attributes
    ----------
    z : (n, ndim) latent vectors.
    value : (n,) objective there.
    log_likelihood : (n,)
    gradient : (n, ndim) gradient of the objective.
    metric : (n, ndim, ndim) Fisher metric, the prior's included.
    converged : (n,) whether the gradient vanishes there to working precision.
    evaluations : expected-data evaluations spent, those of the Jacobians included.
    hits : (n,) number of starts that ended in each.
    """

    z: np.ndarray
    value: np.ndarray
    log_likelihood: np.ndarray
    gradient: np.ndarray
    metric: np.ndarray
    converged: np.ndarray
    evaluations: int
    hits: np.ndarray

    @property
    def log_masses(self) -> np.ndarray:
        """Log mass (n,) under each by Laplace's approximation in latent coordinates, up to a constant."""
        return self.value - 0.5 * np.linalg.slogdet(self.metric)[1]

    @property
    def parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Latent vectors, objective and metric, which tell the mass that each holds."""
        return self.z, self.value, self.metric


#: Arrays of `Modes` that have an entry per mode.
MODE_ARRAYS = ("z", "value", "log_likelihood", "gradient", "metric", "converged")


def joined(one: Modes, other: Modes) -> Modes:
    """Distinct maxima of two searches."""
    arrays = {name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in MODE_ARRAYS}
    spent, hits = one.evaluations + other.evaluations, np.concatenate([one.hits, other.hits])
    return distinct(Modes(**arrays, evaluations=spent, hits=hits), np.arange(len(hits)))


def distinct(modes: Modes, among: np.ndarray) -> Modes:
    """Merge maxima that are the same, best first."""
    kept: list[int] = []
    hits: list[int] = []
    for i in among[np.argsort(-modes.value[among])]:
        for place, k in enumerate(kept):
            if _same(modes.z[i] - modes.z[k], modes.metric[k], modes.value[k] - modes.value[i]):
                hits[place] += int(modes.hits[i])
                break
        else:
            kept.append(int(i))
            hits.append(int(modes.hits[i]))
    merged = {name: getattr(modes, name)[kept] for name in MODE_ARRAYS}
    return Modes(**merged, evaluations=modes.evaluations, hits=np.array(hits))


def _same(difference: np.ndarray, metric: np.ndarray, drop: float) -> bool:
    return bool(difference @ metric @ difference < 0.1 + 2.0 * abs(drop) and abs(drop) < 1.0)
