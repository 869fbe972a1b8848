"""Counts with a background that was measured beside them: W-stat and PG-stat.

What the background is expected to be is not known, so in each datum it is put where it is most probable for the source
that is expected there, and does not count as a parameter. Both are Poisson's statistic then, with a term for what was
measured beside (XSPEC manual, appendix B: Poisson data with Poisson, and with Gaussian background).
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.likelihoods.poisson import Poisson, half_deviance

#: Counts of neighbours from which the rate of a background is told when data are drawn.
_NEIGHBOURS = 16
#: Smallest variance of an expected datum, so that its inverse is finite.
_LEAST = 1e-30


class WithBackground(Poisson):
    """Counts of source and background, the background at its best for every source.

    `pointwise` and the rest are functions of the counts that are expected of the source alone, (n,); `mean` adds the
    background. 32-bit floats are not safe.
    """

    def behind(self, source: jax.Array) -> jax.Array:
        """Most probable background under each datum, (n,), for the counts expected of the source, (n,)."""
        raise NotImplementedError

    def _beside(self, behind: jax.Array) -> jax.Array:
        """Half of the deviance of the measured background, (n,), where so much of it lies under the data."""
        raise NotImplementedError

    def mean(self, expected: jax.Array) -> jax.Array:
        return expected + self.behind(expected)

    def _deviance(self, expected: jax.Array) -> jax.Array:
        source = jnp.maximum(expected, 0.0)
        behind = self.behind(source)
        # no source takes counts away: where it would, the first term is infinite
        alone = half_deviance(self.data, jnp.where(expected < 0, expected, source + behind))
        return alone + self._beside(behind)

    def expected_statistic(self, expected: np.ndarray) -> tuple[float, float]:
        raise SkyfoldError(
            f"The expectation of {self.statistic_name} is not known in closed form; use simulated_statistic instead."
        )

    def with_data(self, data: Any) -> Self:
        """Same likelihood of other counts (n,), or of counts and of what was measured of the background, (n, 2)."""
        data = np.asarray(data, dtype=np.float64)
        if data.ndim == 1:
            own = Poisson(data)
            return eqx.tree_at(lambda x: (x.data, x.saturated), self, (own.data, own.saturated))
        return self._other(data[:, 0], data[:, 1])

    def _other(self, data: np.ndarray, beside: np.ndarray) -> Self:
        raise NotImplementedError


class OnOff(WithBackground):
    r"""Poisson counts of a source region, and of a region of background alone.

    With m the counts expected of the source, and b the counts expected of the background region, of which a times as
    many lie under the source,

    .. math:: W = 2 \sum_i \min_{b \ge 0} \left[ m_i + a_i b - n_i \ln(m_i + a_i b) + b - o_i \ln b \right]
              + \mathrm{const}

    where the constant makes W zero for a model that fits every datum: the statistic that XSPEC calls W-stat (Wachter,
    Leach & Kellogg 1979, ApJ 230, 274; Arnaud, Smith & Siemiginowska 2011). Where the background has few counts in a
    datum W is biased: a datum without any says that there is no background.

    Parameters
    ----------
    data : (n,) counts of the source region.
    off : (n,) counts of the background region.
    ratio : (n,) counts that a background gives in the source region for each count in its own, above zero.
    """

    statistic_name: ClassVar[str] = "W-stat"
    off: np.ndarray
    ratio: np.ndarray
    saturated_off: np.ndarray

    def __init__(self, data: Any, off: Any, ratio: Any) -> None:
        super().__init__(data)  # type: ignore[call-arg]
        beside = Poisson(off)
        self.off, self.saturated_off = beside.data, beside.saturated
        self.ratio = np.broadcast_to(np.asarray(ratio, dtype=np.float64), np.shape(self.data))
        if not np.all(np.isfinite(self.ratio) & (self.ratio > 0)):
            raise SkyfoldError("The ratio of source to background region must be finite and above zero.")

    def behind(self, source: jax.Array) -> jax.Array:
        a, n, o = self.ratio, self.data, self.off
        # a (1 + a) b^2 - c b - o m = 0, solved without the difference of near numbers
        c = a * (n + o) - (1.0 + a) * source
        inner = c**2 + 4.0 * a * (1.0 + a) * o * source
        root = jnp.where(inner > 0, jnp.sqrt(jnp.where(inner > 0, inner, 1.0)), 0.0)
        up = root + jnp.abs(c)
        small = 2.0 * a * o * source / jnp.where(up > 0, up, 1.0)
        return jnp.where(c > 0, up / (2.0 * (1.0 + a)), small)

    def _beside(self, behind: jax.Array) -> jax.Array:
        return half_deviance(self.off, behind / self.ratio)

    def pointwise(self, expected: jax.Array) -> jax.Array:
        return super().pointwise(expected) + self.saturated_off

    def fisher(self, expected: jax.Array) -> jax.Array:
        behind = self.behind(expected)
        return 1.0 / jnp.maximum(expected + behind * (1.0 + self.ratio), _LEAST)

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        """Draw counts of both regions, (..., n, 2), the background at the mean of its neighbours that hold 16 counts.

        Drawn from its own counts alone, a datum without any would never have one.
        """
        off = np.broadcast_to(local_mean(np.asarray(self.off), _NEIGHBOURS), np.shape(expected))
        on = np.maximum(expected, 0.0) + self.ratio * off
        return np.stack([rng.poisson(on), rng.poisson(off)], axis=-1).astype(np.float64)

    def _other(self, data: np.ndarray, beside: np.ndarray) -> Self:
        return type(self)(data, beside, self.ratio)


class PoissonGauss(WithBackground):
    r"""Poisson counts over a background that is known with a normal error.

    .. math:: PG = 2 \sum_i \min_b \left[ m_i + b - n_i \ln(m_i + b) + \frac{(b - b_i)^2}{2 \sigma_i^2} \right]
              + \mathrm{const}

    the statistic that XSPEC calls PG-stat. As there, b may become negative in a datum without counts.

    Parameters
    ----------
    data : (n,) counts of the source region.
    background : (n,) counts of background expected under them.
    sigma : (n,) standard deviation of these, not negative.
    """

    statistic_name: ClassVar[str] = "PG-stat"
    background: np.ndarray
    sigma: np.ndarray

    def __init__(self, data: Any, background: Any, sigma: Any) -> None:
        super().__init__(data)  # type: ignore[call-arg]
        self.background, self.sigma = (
            np.broadcast_to(np.asarray(x, dtype=np.float64), np.shape(self.data)) for x in (background, sigma)
        )
        if not (np.all(np.isfinite(self.background)) and np.all(np.isfinite(self.sigma) & (self.sigma >= 0))):
            raise SkyfoldError("A background needs finite counts and finite errors that are not negative.")

    def behind(self, source: jax.Array) -> jax.Array:
        square = self.sigma**2
        c = source + self.background - square
        inner = c**2 + 4.0 * self.data * square
        root = jnp.where(inner > 0, jnp.sqrt(jnp.where(inner > 0, inner, 1.0)), 0.0)
        up = root + jnp.abs(c)
        total = jnp.where(c > 0, 0.5 * up, 2.0 * self.data * square / jnp.where(up > 0, up, 1.0))
        return jnp.where(self.data > 0, total, c) - source

    def _beside(self, behind: jax.Array) -> jax.Array:
        some = self.sigma > 0
        return jnp.where(some, 0.5 * ((behind - self.background) / jnp.where(some, self.sigma, 1.0)) ** 2, 0.0)

    def _deviance(self, expected: jax.Array) -> jax.Array:
        some = self.data > 0
        behind = self.behind(jnp.maximum(expected, 0.0))
        total = jnp.where(expected < 0, expected, expected + behind)
        # without counts the statistic goes on where the background is negative
        alone = jnp.where(some | (expected < 0), half_deviance(self.data, jnp.where(some, total, expected)), total)
        return alone + self._beside(behind)

    def fisher(self, expected: jax.Array) -> jax.Array:
        return 1.0 / jnp.maximum(self.mean(expected) + self.sigma**2, _LEAST)

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        """Draw counts and a background about the measured one, (..., n, 2)."""
        behind = np.broadcast_to(self.background, np.shape(expected))
        on = rng.poisson(np.maximum(np.maximum(expected, 0.0) + behind, 0.0))
        return np.stack([on, rng.normal(behind, self.sigma)], axis=-1)

    def _other(self, data: np.ndarray, beside: np.ndarray) -> Self:
        return type(self)(data, beside, self.sigma)


def local_mean(counts: np.ndarray, least: float, *, alone: bool = True) -> np.ndarray:
    """Mean of each datum and as many neighbours to both sides as hold so many counts, (n,); ends have fewer.

    Parameters
    ----------
    counts : (n,)
    least : counts that the mean is of.
    alone : a datum that holds so many needs no neighbours; otherwise the datum itself is left out.
    """
    n = len(counts)
    total = np.concatenate([[0.0], np.cumsum(counts)])
    place, mean, wanting = np.arange(n), np.zeros(n), np.ones(n, dtype=bool)
    half = 0 if alone or n == 1 else 1
    while wanting.any():
        at = place[wanting]
        low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, n)
        held, size = total[high] - total[low], high - low
        if not alone and n > 1:
            held, size = held - counts[at], size - 1
        enough = (held >= least) | (high - low == n)
        mean[at[enough]] = (held / size)[enough]
        wanting[at[enough]] = False
        half += 1 + half // 8
    return mean
