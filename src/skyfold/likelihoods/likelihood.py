"""Likelihood: what every distribution of data can do."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import numpy as np

from skyfold.errors import SkyfoldError


class Likelihood(eqx.Module):
    """Base of the likelihoods.

    The class attribute ``independent`` says whether the data are conditionally independent given the model, ``cheap``
    whether hundreds of replicated data sets can be drawn and compared while a user waits for a table.
    """

    independent: ClassVar[bool] = True
    cheap: ClassVar[bool] = True
    data: eqx.AbstractVar[Any]
    statistic_name: eqx.AbstractClassVar[str]

    def pointwise(self, expected: jax.Array) -> jax.Array:
        """Log-likelihood of each datum, normalisation included."""
        raise NotImplementedError

    def fisher(self, expected: jax.Array) -> jax.Array:
        """Fisher information of each expected datum: the diagonal of the metric in data space."""
        raise NotImplementedError

    def statistic(self, expected: jax.Array) -> jax.Array:
        """Goodness-of-fit statistic as the field prints it."""
        raise NotImplementedError

    def expected_statistic(self, expected: np.ndarray) -> tuple[float, float]:
        """Mean and standard deviation of the statistic of data drawn from `expected` (n,); on the host."""
        raise SkyfoldError(
            f"The expectation of {self.statistic_name} is not known in closed form; use simulated_statistic instead."
        )

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        """Draw data; `expected` may have leading batch axes."""
        raise NotImplementedError

    def with_data(self, data: Any) -> Self:
        """Same likelihood for other data of the same shape."""
        raise NotImplementedError
