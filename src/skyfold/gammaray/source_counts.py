r"""Source-count functions dN/dS: how many sources of a population send S counts on average.

S is the mean number of counts of a source, all pixels together; dN/dS is per pixel of unit template.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr

from skyfold.errors import SkyfoldError

#: Lowest and highest S of a source; None where the function goes on from zero to infinity.
Support = tuple[float, float] | None


class SourceCount(eqx.Module):
    """Base of the source-count functions; every field but `support` is a number or a JAX array.

    ``density`` is what the quadrature of the moments samples; ``kinks`` says where it is not smooth; ``below`` and
    ``above`` are the ends that no quadrature reaches. They know nothing of the support.

    Attributes
    ----------
    support : lowest and highest S of a source, None for all.
    """

    support: eqx.AbstractVar[Support]

    def density(self, log_s: jax.Array) -> jax.Array:
        """Sources per unit of ln S, S dN/dS, at ln S of any shape."""
        raise NotImplementedError

    @property
    def kinks(self) -> jax.Array:
        """Places in ln S where `density` has a kink, (n_kinks,)."""
        return jnp.zeros(0)

    def jump(self, log_s: jax.Array) -> jax.Array:
        """`density` minus its smooth continuation from below each kink; `log_s` is (n_kinks, ...) above the kinks."""
        return jnp.zeros_like(log_s)

    def below(self, log_s: float, powers: np.ndarray) -> jax.Array:
        """Integral of S^j dN/dS from zero to S for each j of `powers`, which begin at 1."""
        raise NotImplementedError

    def above(self, log_s: float) -> jax.Array:
        """Integral of dN/dS from S to infinity."""
        raise NotImplementedError

    def flux(self, support: Support = None) -> jax.Array:
        """Mean counts per pixel: the integral of S dN/dS over S, all S by default."""
        raise NotImplementedError

    def at_exposure(self, relative: Any, amplitude: bool = True) -> SourceCount:
        """Same population under `relative` times the exposure: S grows by it, dN/dS shrinks with dS.

        Parameters
        ----------
        relative : exposure divided by the one that S refers to.
        amplitude : False leaves dN/dS at the break as it is, for templates that are in units of sources per unit of S.
        """
        raise NotImplementedError


class BrokenPowerLaw(SourceCount):
    r"""Broken power law with K breaks.

    .. math:: \frac{dN}{dS} = A \begin{cases} (S/S_{b1})^{-n_1} & S \ge S_{b1} \\
        (S/S_{b1})^{-n_2} & S_{b2} \le S < S_{b1} \\ (S_{b2}/S_{b1})^{-n_2} (S/S_{b2})^{-n_3} & S < S_{b2},
        \text{ and so on} \end{cases}

    Over all S its flux is finite for n_1 > 2 and n_{K+1} < 2; the likelihood needs n_1 > 1 and n_{K+1} < 2.

    Parameters
    ----------
    amplitude : sources per pixel and unit of S at the highest break.
    indices : (K + 1,) n_1 ... n_{K+1}, from bright to faint.
    breaks : (K,) S_b1 > ... > S_bK in counts.
    support : lowest and highest S, None for all.

    References
    ----------
    Mishra-Sharma, Rodd & Safdi 2017, AJ 153, 253 (NPTFit).
    """

    amplitude: jax.Array
    indices: jax.Array
    breaks: jax.Array
    support: Support = eqx.field(static=True)

    def __init__(self, amplitude: Any, indices: Any, breaks: Any, support: Support = None) -> None:
        self.amplitude = jnp.asarray(amplitude, dtype=float)
        self.indices = jnp.asarray(indices, dtype=float)
        self.breaks = jnp.asarray(breaks, dtype=float)
        self.support = support
        if self.breaks.ndim != 1 or self.breaks.size == 0 or self.indices.shape != (self.breaks.size + 1,):
            raise SkyfoldError(
                f"A broken power law with K breaks has K + 1 indices, K at least 1; got {self.indices.shape} indices "
                f"and {self.breaks.shape} breaks."
            )

    @classmethod
    def from_theta(cls, theta: Any, support: Support = None) -> BrokenPowerLaw:
        """Build from [A, n_1 ... n_{K+1}, S_b1 ... S_bK], the order of NPTFit."""
        theta = jnp.asarray(theta, dtype=float)
        if theta.ndim != 1 or theta.size < 4 or theta.size % 2:
            raise SkyfoldError(
                "The parameters of a broken power law are [A, n1, ..., n(K+1), Sb1, ..., SbK]: 4, 6, 8, ... numbers, "
                f"not an array of shape {theta.shape}."
            )
        k = theta.size // 2 - 1
        return cls(theta[0], theta[1 : k + 2], theta[k + 2 :], support)

    @property
    def kinks(self) -> jax.Array:
        return jnp.log(self.breaks)

    @property
    def _offsets(self) -> jax.Array:
        """Logarithm of each power law (K + 1,) at S = 1, for A = 1."""
        steps = (self.indices[1:] - self.indices[:-1]) * self.kinks
        return self.indices[0] * self.kinks[0] + jnp.concatenate([jnp.zeros(1), jnp.cumsum(steps)])

    def density(self, log_s: jax.Array) -> jax.Array:
        edges = self.kinks
        u = log_s[..., None]
        # how far S lies above the highest break, below the lowest, and below the upper break of each power law between
        first = jnp.maximum(log_s - edges[0], 0.0)
        middle = edges[:-1] - jnp.clip(u, edges[1:], edges[:-1])
        last = jnp.maximum(edges[-1] - log_s, 0.0)
        exponent = middle @ self.indices[1:-1] + self.indices[-1] * last - self.indices[0] * first
        return self.amplitude * jnp.exp(exponent + log_s)

    def jump(self, log_s: jax.Array) -> jax.Array:
        shape = (-1,) + (1,) * (log_s.ndim - 1)
        n, offsets = jnp.reshape(self.indices, shape), jnp.reshape(self._offsets, shape)
        upper, lower = offsets[:-1] - (n[:-1] - 1.0) * log_s, offsets[1:] - (n[1:] - 1.0) * log_s
        return self.amplitude * (jnp.exp(upper) - jnp.exp(lower))

    def _power(self, j: Any, low: Any, high: Any) -> jax.Array:
        """Integral of S^j dN/dS over each power law between ln S = low and high; j (..., 1), sum over the last axis."""
        edges = self.kinks
        tops = jnp.concatenate([jnp.full(1, high), jnp.minimum(edges, high)])
        bottoms = jnp.concatenate([jnp.maximum(edges, low), jnp.full(1, low)])
        tops, bottoms = jnp.maximum(tops, low), jnp.minimum(bottoms, high)
        p = j + 1.0 - self.indices
        return self.amplitude * jnp.sum(_exponential(p, bottoms, tops, self._offsets), axis=-1)

    def below(self, log_s: float, powers: np.ndarray) -> jax.Array:
        j = jnp.asarray(powers, dtype=float)[:, None]
        low = jnp.minimum(self.kinks[-1], log_s)
        p = j[:, 0] + 1.0 - self.indices[-1]
        rest = self.amplitude * jnp.exp(self._offsets[-1] + p * low) / jnp.where(p > 0, p, 1.0)
        return self._power(j, low, log_s) + jnp.where(p > 0, rest, jnp.inf)

    def above(self, log_s: float) -> jax.Array:
        high = jnp.maximum(self.kinks[0], log_s)
        p = 1.0 - self.indices[0]
        rest = self.amplitude * jnp.exp(self._offsets[0] + p * high) / jnp.where(p < 0, -p, 1.0)
        return self._power(jnp.zeros(1), log_s, high) + jnp.where(p < 0, rest, jnp.inf)

    def flux(self, support: Support = None) -> jax.Array:
        if support is not None:
            return self._power(jnp.ones(1), float(np.log(support[0])), float(np.log(support[1])))
        top, bottom = 2.0 - self.indices[0], 2.0 - self.indices[-1]
        ends = [self._offsets[0] + top * self.kinks[0], self._offsets[-1] + bottom * self.kinks[-1]]
        high = jnp.where(top < 0, jnp.exp(ends[0]) / jnp.where(top < 0, -top, 1.0), jnp.inf)
        low = jnp.where(bottom > 0, jnp.exp(ends[1]) / jnp.where(bottom > 0, bottom, 1.0), jnp.inf)
        return self.amplitude * (high + low) + self._power(jnp.ones(1), self.kinks[-1], self.kinks[0])

    def at_exposure(self, relative: Any, amplitude: bool = True) -> BrokenPowerLaw:
        height = self.amplitude / relative if amplitude else self.amplitude
        return BrokenPowerLaw(height, self.indices, self.breaks * relative, self.support)


class LogNormalCounts(SourceCount):
    r"""Log-normal source-count function.

    .. math:: S \frac{dN}{dS} = \frac{N}{\sigma \sqrt{2 \pi}} \exp\Big(-\frac{(\ln S - m)^2}{2 \sigma^2}\Big)

    Parameters
    ----------
    number : N, sources per pixel.
    location : m, mean of ln S.
    width : sigma, standard deviation of ln S; at least 0.15, or the quadrature of the moments misses it.
    support : lowest and highest S, None for all.
    """

    number: jax.Array
    location: jax.Array
    width: jax.Array
    support: Support = eqx.field(static=True)

    def __init__(self, number: Any, location: Any, width: Any, support: Support = None) -> None:
        self.number, self.location, self.width = (jnp.asarray(v, dtype=float) for v in (number, location, width))
        self.support = support

    def density(self, log_s: jax.Array) -> jax.Array:
        z = (log_s - self.location) / self.width
        return self.number / (self.width * np.sqrt(2 * np.pi)) * jnp.exp(-0.5 * z**2)

    def _part(self, j: Any, log_s: Any) -> jax.Array:
        """Integral of S^j dN/dS from zero to S."""
        whole = jnp.exp(j * self.location + 0.5 * (j * self.width) ** 2)
        return self.number * whole * ndtr((log_s - self.location) / self.width - j * self.width)

    def below(self, log_s: float, powers: np.ndarray) -> jax.Array:
        return self._part(jnp.asarray(powers, dtype=float), log_s)

    def above(self, log_s: float) -> jax.Array:
        return self.number * ndtr((self.location - log_s) / self.width)

    def flux(self, support: Support = None) -> jax.Array:
        if support is None:
            return self.number * jnp.exp(self.location + 0.5 * self.width**2)
        return self._part(1.0, np.log(support[1])) - self._part(1.0, np.log(support[0]))

    def at_exposure(self, relative: Any, amplitude: bool = True) -> LogNormalCounts:
        number = self.number if amplitude else self.number * relative
        return LogNormalCounts(number, self.location + jnp.log(relative), self.width, self.support)


def _exponential(p: jax.Array, low: jax.Array, high: jax.Array, offset: jax.Array) -> jax.Array:
    """Integral of exp(offset + p u) over u from low to high, without loss of digits where p is near zero."""
    length = high - low
    small = jnp.abs(p * length) < 1e-4
    x = jnp.where(small, 0.0, p * length)
    p_safe = jnp.where(small, 1.0, p)
    t = p * jnp.where(small, length, 0.0)
    series = length * (1.0 + t * (0.5 + t * (1.0 / 6.0 + t / 24.0)))
    # from the end where the integrand is larger
    upward = jnp.exp(offset + p * high) * -jnp.expm1(-jnp.maximum(x, 0.0)) / p_safe
    downward = jnp.exp(offset + p * low) * jnp.expm1(jnp.minimum(x, 0.0)) / p_safe
    return jnp.where(small, jnp.exp(offset + p * low) * series, jnp.where(x > 0, upward, downward))
