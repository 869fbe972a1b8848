"""Likelihood: what every distribution of data can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError


class Likelihood(eqx.Module):
    """Base of the likelihoods.

    The class attribute ``independent`` says whether the data are conditionally independent given the model, ``cheap``
    whether hundreds of replicated data sets can be drawn and compared while a user waits for a table, ``residual_kind``
    what its residuals are: ``"pearson"``, (data - model) / error, or ``"deviance"``, ``integrated`` how many free
    scales of the model are integrated out, which a fit pays with a degree of freedom each.
    """

    independent: ClassVar[bool] = True
    cheap: ClassVar[bool] = True
    residual_kind: ClassVar[str] = "pearson"
    integrated: ClassVar[int] = 0
    data: eqx.AbstractVar[Any]
    statistic_name: eqx.AbstractClassVar[str]

    @property
    def n_measured(self) -> int:
        """Number of data that are there: the arrays may have places for missing ones."""
        return int(np.size(self.data))

    def pointwise(self, expected: jax.Array) -> jax.Array:
        """Log-likelihood of each datum, normalisation included."""
        raise NotImplementedError

    def mean(self, expected: jax.Array) -> jax.Array:
        """Expected value of each datum, which is shown beside it, where the likelihood is a function of `expected`."""
        return expected

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
        """Draw data as `with_data` takes them; `expected` may have leading batch axes.

        One number for each datum, (..., n), or several, (..., n, k), of which the first is what is shown.
        """
        raise NotImplementedError

    def with_data(self, data: Any) -> Self:
        """Same likelihood for other data of the same shape."""
        raise NotImplementedError

    def take(self, groups: Any) -> Self:
        """Same likelihood of some of the data: those at the places `groups`, (n_kept,).

        Every array with one entry for each datum is cut; a likelihood with others of this length has its own.
        """
        n = len(self.data)
        return jax.tree.map(lambda leaf: leaf[groups] if np.shape(leaf)[:1] == (n,) else leaf, self)

    # -- what figures show, on the host --------------------------------------------------------------------------------

    @property
    def normal(self) -> bool:
        """Whether the data are normal with variances that do not depend on what is expected."""
        return False

    @property
    def variance(self) -> np.ndarray:
        """Variance of each datum as far as the data tell, (n_data,); infinite where there is no datum."""
        with np.errstate(divide="ignore"):
            return np.asarray(1.0 / np.asarray(self.fisher(jnp.asarray(self.data))))

    def errors(self, data: np.ndarray, joined: Callable[[Any], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper error of data that are joined into bins; NaN where there is none.

        Parameters
        ----------
        data : (n_bins,) sums of data.
        joined : sums numbers (n_data,) in the same way.
        """
        error = np.sqrt(joined(self.variance))
        error[~np.isfinite(error)] = np.nan
        return error, error

    def residual(self, data: np.ndarray, expected: np.ndarray, joined: Callable[[Any], np.ndarray]) -> np.ndarray:
        """Deviation of joined data (n_bins,) from expected ones in standard deviations; parameters as in `errors`."""
        return (data - expected) / np.sqrt(joined(self.variance))
