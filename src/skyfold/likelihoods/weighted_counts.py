"""Counts taken as normal, with variances that the counts tell; a background may have been subtracted."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.likelihoods.gaussian import Gaussian

#: Ways to tell the variance of counts.
WEIGHTS = ("data", "gehrels", "const", "least", "model")


class WeightedCounts(Gaussian):
    r"""Counts n of a source region less those expected of the background, n - a o, taken as normal.

    The statistic is chi-squared with one of these variances:

    ``data``
        :math:`n + a^2 o`, and 1 where that is zero.
    ``least``
        The same, and where it is zero the smallest of the others, as XSPEC has it.
    ``gehrels``
        :math:`(1 + \sqrt{n + 3/4})^2 + a^2 (1 + \sqrt{o + 3/4})^2` (Gehrels 1986, ApJ 303, 336).
    ``const``
        The mean of n plus that of :math:`a^2 o`.
    ``model``
        What is expected of the datum, 1 at least.

    Counts scatter about a model more to the side on which these variances are small, so that a fit with ``data``
    or ``least`` comes out below the truth where counts are few: use a Poisson statistic there. The logarithm of
    a variance that depends on the model takes no part.

    Parameters
    ----------
    on : (n,) counts.
    weight : one of the names above.
    off, ratio : (n,) counts of background, and how much of each lies under the source; none without subtraction.
    systematic : (n,) further variance.

    Raises
    ------
    SkyfoldError
        If there is no such weight, or counts are negative or no numbers.
    """

    statistic_name: ClassVar[str] = "chi2"
    data: np.ndarray
    sigma: np.ndarray
    off: np.ndarray
    ratio: np.ndarray
    systematic: np.ndarray
    weight: str = eqx.field(static=True)

    def __init__(self, on: Any, weight: str, off: Any = 0.0, ratio: Any = 0.0, systematic: Any = 0.0) -> None:
        if weight not in WEIGHTS:
            raise SkyfoldError(f"weight is one of {', '.join(WEIGHTS)}, not {weight!r}.")
        on = np.asarray(on, dtype=np.float64)
        self.off, self.ratio, self.systematic = (
            np.broadcast_to(np.asarray(x, dtype=np.float64), on.shape) for x in (off, ratio, systematic)
        )
        if not np.all(np.isfinite(on) & (on >= 0) & np.isfinite(self.off) & (self.off >= 0)):
            raise SkyfoldError("Counts must be finite and not negative.")
        self.data, self.weight = on - self.ratio * self.off, weight
        self.sigma = np.sqrt(_variance(on, self.off, self.ratio, weight) + self.systematic)

    def take(self, groups: Any) -> Self:
        """Same likelihood of some of the data; variances may depend on which these are."""
        on = self.data + self.ratio * self.off
        return type(self)(on[groups], self.weight, self.off[groups], self.ratio[groups], self.systematic[groups])

    def _square(self, expected: jax.Array) -> jax.Array:
        if self.weight != "model":
            return jnp.asarray(self.sigma**2)
        return jnp.maximum(expected, 1.0) + self.systematic

    def pointwise(self, expected: jax.Array) -> jax.Array:
        if self.weight != "model":
            return super().pointwise(expected)
        return jnp.asarray(-0.5 * (self.data - expected) ** 2 / self._square(expected))

    def fisher(self, expected: jax.Array) -> jax.Array:
        return jnp.broadcast_to(1.0 / self._square(expected), jnp.shape(expected))

    def statistic(self, expected: jax.Array) -> jax.Array:
        return jnp.sum((self.data - expected) ** 2 / self._square(expected), axis=-1)

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        """Draw Poisson counts of both regions: net ones, and those of the background, (..., n, 2)."""
        off = rng.poisson(np.broadcast_to(self.off, np.shape(expected)))
        on = rng.poisson(np.maximum(expected, 0.0) + self.ratio * self.off)
        return np.stack([on - self.ratio * off, off], axis=-1)

    def with_data(self, data: Any) -> Self:
        """Same likelihood of other net counts, (n,), or of these and the background's, (n, 2)."""
        data = np.asarray(data, dtype=np.float64)
        net, off = (data, self.off) if data.ndim == 1 else (data[:, 0], data[:, 1])
        # rounding must not make counts negative
        on = np.maximum(net + self.ratio * off, 0.0)
        return type(self)(on, self.weight, off, self.ratio, self.systematic)

    @property
    def normal(self) -> bool:
        return self.weight != "model"


def _variance(on: np.ndarray, off: np.ndarray, ratio: np.ndarray, weight: str) -> np.ndarray:
    """Variance of net counts, (n,), as they tell it."""
    if weight == "gehrels":
        beside = np.where(ratio > 0, (1.0 + np.sqrt(off + 0.75)) ** 2, 0.0)
        return (1.0 + np.sqrt(on + 0.75)) ** 2 + ratio**2 * beside
    variance = on + ratio**2 * off
    if weight == "const":
        return np.full(on.shape, max(float(np.mean(variance)), 1e-300))
    some = variance > 0
    least = float(np.min(variance, where=some, initial=np.inf)) if weight == "least" and some.any() else 1.0
    return np.where(some, variance, least)
