"""Splines: monotone rational-quadratic splines for FlowJAX's flows, written without gathers and searches.

FlowJAX's own spline does the same; this one is written for the small, batched flows
that variational inference uses. Importing this file needs FlowJAX.
"""

# mypy: disable-error-code="misc, override, call-arg, arg-type"
from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flowjax.bijections import AbstractBijection

#: Smallest width and height of a bin, over the interval, and smallest slope at a knot.
_NARROWEST, _FLATTEST = 1e-3, 1e-3


class Spline(AbstractBijection):
    r"""Monotone rational-quadratic spline on (-interval, interval), the identity outside.

    .. math:: y = y_k + \frac{h (s \xi^2 + d_k \xi (1 - \xi))}{s + (d_{k+1} + d_k - 2 s) \xi (1 - \xi)}

    with :math:`\xi = (x - x_k)/w` in the bin of width w and height h, s = h/w, and slopes d at the knots.

    Parameters
    ----------
    widths, heights : (bins,) unconstrained; softmax gives the shares of the interval.
    slopes : (bins - 1,) unconstrained slopes at the inner knots; 0 is slope 1.
    interval : half the length of the interval.

    References
    ----------
    Gregory & Delbourgo 1982, IMA J. Numer. Anal. 2, 123; Durkan et al. 2019, NeurIPS 32.
    """

    shape: ClassVar[tuple[int, ...]] = ()
    cond_shape: ClassVar[None] = None
    widths: Any
    heights: Any
    slopes: Any
    interval: float

    @classmethod
    def identity(cls, bins: int, interval: float) -> Spline:
        return cls(jnp.zeros(bins), jnp.zeros(bins), jnp.zeros(bins - 1), interval)

    def transform_and_log_det(self, x: jax.Array, condition: Any = None) -> tuple[jax.Array, jax.Array]:
        """Return y and the logarithm of dy/dx."""
        inside = jnp.abs(x) < self.interval
        x_left, width, y_left, height, d0, d1 = self._bin(jnp.where(inside, x, 0.0), 0)
        xi = (jnp.where(inside, x, 0.0) - x_left) / width
        y, slope = _curve(xi, height / width, d0, d1)
        return jnp.where(inside, y_left + height * y, x), jnp.where(inside, jnp.log(slope), 0.0)

    def inverse_and_log_det(self, y: jax.Array, condition: Any = None) -> tuple[jax.Array, jax.Array]:
        """Return x and the logarithm of dx/dy."""
        inside = jnp.abs(y) < self.interval
        x_left, width, y_left, height, d0, d1 = self._bin(jnp.where(inside, y, 0.0), 2)
        s = height / width
        part = (jnp.where(inside, y, 0.0) - y_left) / height
        excess = part * (d0 + d1 - 2.0 * s)
        a, b, c = s - d0 + excess, d0 - excess, -s * part
        xi = 2.0 * c / (-b - jnp.sqrt(jnp.maximum(b**2 - 4.0 * a * c, 1e-30)))
        _, slope = _curve(xi, s, d0, d1)
        return jnp.where(inside, x_left + width * xi, y), jnp.where(inside, -jnp.log(slope), 0.0)

    def _bin(self, position: jax.Array, axis: int) -> jax.Array:
        """Left edge, width, bottom, height and slopes at both ends of the bin that holds a position on an axis."""
        bins = self.widths.shape[0]
        length = 2.0 * self.interval
        free = 1.0 - bins * _NARROWEST
        before = np.tril(np.ones((bins, bins)), -1)
        rows = []
        for raw in (self.widths, self.heights):
            share = jnp.exp(raw - jax.lax.stop_gradient(jnp.max(raw)))
            share = length * (_NARROWEST + free * share / jnp.sum(share))
            rows += [before @ share - self.interval, share]
        one = np.log(np.expm1(1.0 - _FLATTEST))
        ends = jnp.pad(jax.nn.softplus(self.slopes + one) + _FLATTEST, 1, constant_values=1.0)
        table = jnp.stack([*rows, ends[:-1], ends[1:]])
        passed = jnp.where(position >= rows[axis][1:], 1.0, 0.0)
        return table[:, 0] + (table[:, 1:] - table[:, :-1]) @ passed


def _curve(xi: jax.Array, s: jax.Array, d0: jax.Array, d1: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Share of the bin's height reached, and slope."""
    mix = xi * (1.0 - xi)
    bottom = s + (d0 + d1 - 2.0 * s) * mix
    slope = s**2 * (d1 * xi**2 + 2.0 * s * mix + d0 * (1.0 - xi) ** 2) / bottom**2
    return (s * xi**2 + d0 * mix) / bottom, slope
