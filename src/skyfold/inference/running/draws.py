"""Draws: what every method returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Draws:
    """Latent draws of a posterior and how they were come by.

    Attributes
    ----------
    method : name of the method that made them.
    sampler : what drew them, where the method decides among several.
    latent : (chains, draws, ndim) latent vectors.
    log_likelihood : (chains, draws) log-likelihood of each.
    converged : whether the method's own criteria are met; `messages` says why not.
    messages : what a user must know, most important first.
    seed : seed that repeats them.
    evaluations : likelihood evaluations spent; `gradients` of them came with a derivative.
    log_weights : (chains, draws) log importance weights, None where all draws count alike.
    log_evidence, log_evidence_error : natural logarithm of the evidence and its error, None without one.
    best : (ndim,) latent vector of the maximum of the likelihood inside the prior's support.
    mode : (ndim,) latent vector of the highest mode of the posterior in latent coordinates; in more than 200
        dimensions the `centre` of the posterior, unless the method looks for the maximum itself.
    diagnostics : numbers behind `converged` (k-hat, divergences, step size, ...).
    seconds : ``compile`` and ``sample`` seconds.
    """

    method: str
    latent: np.ndarray
    log_likelihood: np.ndarray
    converged: bool
    sampler: str = ""
    messages: tuple[str, ...] = ()
    seed: int = 0
    evaluations: int = 0
    gradients: int = 0
    log_weights: np.ndarray | None = None
    log_evidence: float | None = None
    log_evidence_error: float | None = None
    best: np.ndarray | None = None
    mode: np.ndarray | None = None
    diagnostics: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def is_point(self) -> bool:
        """Whether this is a point estimate, a single draw."""
        return self.latent.shape[0] * self.latent.shape[1] == 1

    def weights(self) -> np.ndarray:
        """Normalised weights (chains, draws)."""
        if self.log_weights is None:
            return np.full(self.latent.shape[:2], 1.0 / np.prod(self.latent.shape[:2]))
        w = np.exp(self.log_weights - np.max(self.log_weights))
        return w / w.sum()
