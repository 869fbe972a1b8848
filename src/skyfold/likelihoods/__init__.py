"""Likelihoods: how probable data are for given expected data, datum by datum.

A likelihood holds the data. What it computes is traced by JAX, except `sample`, which draws on the host with NumPy
(a Poisson sampler compiled by XLA costs more than a second, and drawing is never on a hot path).
"""

from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.likelihood import Likelihood
from skyfold.likelihoods.poisson import Poisson

__all__ = ["Gaussian", "Likelihood", "Poisson"]
