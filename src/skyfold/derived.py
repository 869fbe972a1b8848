"""Derived quantities: what follows from the parameters, with its posterior."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np

from skyfold.contributions import resolve
from skyfold.notation import interval, with_errors
from skyfold.predictive import in_chunks
from skyfold.summary import QUANTILES, quantiles

if TYPE_CHECKING:
    from skyfold.kernel import Kernel
    from skyfold.posterior import Posterior


@dataclass(frozen=True, repr=False)
class Derived:
    """A quantity that follows from the parameters.

    Attributes
    ----------
    name : what it is.
    unit : unit in words that astropy reads.
    values : (n, ...) equally weighted draws, without the unit; a single one of a point estimate.
    note : what was left out or assumed.
    """

    name: str
    unit: str
    values: np.ndarray
    note: str = ""
    _quantiles: dict[str, np.ndarray] = field(default_factory=dict, compare=False)

    def _quantile(self, key: str) -> np.ndarray:
        if not self._quantiles:
            weights = np.ones(len(self.values))
            found = quantiles(self.values, weights, list(QUANTILES.values()))
            self._quantiles.update(zip(QUANTILES, found, strict=True))
        return self._quantiles[key]

    def _quantity(self, value: Any) -> Any:
        import astropy.units as u

        return u.Quantity(value, u.Unit(self.unit))

    @property
    def samples(self) -> Any:
        """Equally weighted draws as an astropy Quantity, (n, ...)."""
        return self._quantity(self.values)

    @property
    def median(self) -> Any:
        """Median as an astropy Quantity."""
        return self._quantity(self._quantile("median"))

    @property
    def interval(self) -> Any:
        """16% and 84% quantiles as an astropy Quantity, (2, ...)."""
        return self._quantity([self._quantile("q16"), self._quantile("q84")])

    def quantile(self, q: Any) -> Any:
        """Quantiles of other probabilities as an astropy Quantity."""
        return self._quantity(quantiles(self.values, np.ones(len(self.values)), q))

    def __repr__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        if self.values.ndim > 1:
            return f"{self.name}: {len(self.values)} draws of shape {self.values.shape[1:]} {self.unit}{note}"
        if len(self.values) == 1:
            return f"{self.name} = {self.values[0]:.5g} {self.unit}{note}"
        low, middle, high = (float(self._quantile(k)) for k in ("q16", "median", "q84"))
        value, errors = with_errors(middle, high - middle, middle - low)
        outer = interval(float(self._quantile("q05")), float(self._quantile("q95")), high - low)
        return f"{self.name} = {value} {errors} {self.unit} (68%; 90%: {outer}){note}"


def derive(posterior: Posterior, latent: np.ndarray, function: Any, observation: str) -> np.ndarray:
    """Apply a function to one observation's model at every draw.

    Parameters
    ----------
    posterior : where the model stands.
    latent : (n, ndim) latent vectors.
    function : pure JAX function of the model, whose parameters are numbers. The arrays of one that is an Equinox module
        are traced, so calls which differ in them only share one executable.
    observation : name of the observation.

    Returns
    -------
    (n, ...) array
    """
    number = list(posterior.pairs).index(observation)
    return in_chunks(lambda z: _derive(posterior.kernel, function, number, z), latent)


@eqx.filter_jit
def _derive(kernel: Kernel, function: Any, number: int, z: Any) -> Any:
    def one(point: Any) -> Any:
        return function(resolve(kernel, number, point)[0])

    return jax.lax.map(one, z, batch_size=32)
