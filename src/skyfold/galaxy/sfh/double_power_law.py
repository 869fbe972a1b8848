r"""Double power law in time, with its mass in closed form.

With :math:`x = t/\tau`, :math:`p = \alpha + \beta` and :math:`c = (\beta + k + 1)/p` the k-th moment of the shape
:math:`1/(x^\alpha + x^{-\beta})` is an incomplete beta function,

.. math:: \int_0^x \frac{x'^k\,dx'}{x'^\alpha + x'^{-\beta}} = \frac{1}{p} \int_0^{x^p} \frac{s^{c-1}}{1+s}\,ds .

JAX has no derivatives of it with respect to its indices, so it is summed here: Pfaff's transformation of the
hypergeometric series has the ratio s/(1+s) <= 1/2 for s <= 1, and s > 1 is turned into 1/s.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from skyfold.galaxy.sfh.base import GYR, StarFormationHistory, normalised
from skyfold.parameters import Value, parameter
from skyfold.priors import Uniform

#: Terms of the series; 2^-32 is what is left out at s = 1.
_TERMS = 32


def _tail(u: jax.Array, log_r: jax.Array) -> jax.Array:
    """(1 - r^u)/u for r <= 1, -ln r at u = 0."""
    y = u * log_r
    small = jnp.abs(y) < 1e-5
    safe = jnp.where(small, 1.0, u)
    return jnp.where(small, -log_r * (1.0 + y / 2.0 + y**2 / 6.0), -jnp.expm1(y) / safe)


def _series(c: jax.Array, log_s: jax.Array) -> jax.Array:
    """Integrals (m, n) of s^(c-1)/(1+s) from 0 to s (n,), for indices 0 < c < 2 (m,)."""
    # s <= 1: the series in s of index c; s > 1: that in 1/s of index 2 - c, after its first, maybe singular term. Both
    # at s = 1 too, where one passes to the other
    ends = jnp.concatenate([log_s, jnp.array([0.0, 1e-300])])
    ends = jax.lax.optimization_barrier(ends)
    above, log_r = ends > 0, -jnp.abs(ends)
    low, high = c[:, None], 2.0 - c[:, None]
    index = jnp.where(above, high, low)
    y = jax.nn.sigmoid(log_r)
    # few divisions, before the points come in
    k = jnp.arange(1.0, _TERMS + 1.0)[:, None, None]
    far, near = jax.lax.optimization_barrier((k / (high + k), k / (low + k)))
    nest = jnp.ones_like(index)
    for n in range(_TERMS - 1, -1, -1):
        nest = 1.0 + nest * (y * jnp.where(above, far[n], near[n]))
    series = jnp.exp(index * log_r) * jax.nn.sigmoid(-log_r) / index * nest
    # barriers keep a compiler from working things out again for each of their uses
    series = jax.lax.optimization_barrier(series)
    at_one = series[:, -2:-1] - series[:, -1:]
    return jnp.where(above, at_one + _tail(1.0 - low, log_r) + series, series)[:, :-2]


@jax.custom_jvp
def _integral(c: jax.Array, log_s: jax.Array) -> jax.Array:
    """`_series`, with derivatives that need no memory of its terms."""
    return _series(c, log_s)


@_integral.defjvp
def _integral_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    (c, log_s), (dc, ds) = primals, tangents
    value, by_index = jax.jvp(lambda x: _series(x, log_s), (c,), (jnp.ones_like(c),))
    integrand = jnp.exp(c[:, None] * log_s - jax.nn.softplus(log_s))
    return value, by_index * dc[:, None] + integrand * ds


def power_law_shape(t: jax.Array, tau: Any, alpha: Any, beta: Any) -> tuple[jax.Array, jax.Array]:
    """Integrals of 1/(x^alpha + x^-beta) and of t times it from 0 to `t` (n,), Gyr and Gyr^2; x = t/tau."""
    p = alpha + beta
    log_s = p * jnp.log(jnp.maximum(t, 1e-9) / tau)
    mass, moment = _integral(jnp.stack([beta + 1.0, beta + 2.0]) / p, log_s)
    return tau / p * mass, tau**2 / p * moment


def power_law_rate(t: jax.Array, tau: Any, alpha: Any, beta: Any) -> jax.Array:
    """1/(x^alpha + x^-beta), x = t/tau."""
    log_x = jnp.log(jnp.maximum(t, 1e-9) / tau)
    return jnp.exp(-jnp.logaddexp(alpha * log_x, -beta * log_x))


def _log_peak(alpha: Any, beta: Any) -> jax.Array:
    """Logarithm of the largest value of 1/(x^alpha + x^-beta), at x^(alpha + beta) = beta/alpha."""
    log_x = jnp.log(beta / alpha) / (alpha + beta)
    return -jnp.logaddexp(alpha * log_x, -beta * log_x)


class DoublePowerLaw(StarFormationHistory):
    r"""Double power law, normalised by its highest rate.

    .. math:: \psi(t) = 10^{\mathrm{log\_peak\_sfr}}\, \frac{f(t/\tau)}{\max f}, \qquad
        f(x) = \frac{1}{x^\alpha + x^{-\beta}}

    The highest rate is that of the whole curve, at :math:`t = \tau (\beta/\alpha)^{1/(\alpha+\beta)}`, also where that
    lies after the galaxy is seen.

    Parameters
    ----------
    log_peak_sfr : log10 of the highest rate, Msun/yr.
    tau : time since the Big Bang at which the rise turns, Gyr.
    alpha : slope of the fall, at least 1.
    beta : slope of the rise, positive.

    References
    ----------
    Behroozi et al. 2013, ApJ 770, 57; Carnall et al. 2018, MNRAS 480, 4379.
    """

    name: ClassVar[str] = "dpl"
    extensive: ClassVar[tuple[str, ...]] = ("log_peak_sfr",)
    log_peak_sfr: Value = parameter(Uniform(-1.0, 2.5), unit="dex(Msun/yr)", description="log10 of the highest rate")
    tau: Value = parameter(Uniform(0.1, 10.0), unit="Gyr", description="time of the turn")
    alpha: Value = parameter(Uniform(1.0, 10.0), description="slope of the fall")
    beta: Value = parameter(Uniform(1.0, 10.0), description="slope of the rise")

    def _scale(self) -> jax.Array:
        return jnp.exp(jnp.log(10.0) * self.log_peak_sfr - _log_peak(self.alpha, self.beta))

    def formed(self, t: jax.Array, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        mass, moment = power_law_shape(t, self.tau, self.alpha, self.beta)
        scale = self._scale() * GYR
        return scale * mass, scale * moment

    def rate(self, t: jax.Array, age: jax.Array) -> jax.Array:
        return self._scale() * power_law_rate(t, self.tau, self.alpha, self.beta)


class DoublePowerLawMass(StarFormationHistory):
    """Double power law, normalised by the mass formed until the galaxy is seen.

    Parameters
    ----------
    log_mass : log10 of the mass formed, Msun.
    tau, alpha, beta : as those of `DoublePowerLaw`.
    """

    name: ClassVar[str] = "dpl"
    log_mass: Value = parameter(Uniform(6.0, 12.5), unit="dex(Msun)", description="log10 of the mass formed")
    tau: Value = parameter(Uniform(0.1, 10.0), unit="Gyr", description="time of the turn")
    alpha: Value = parameter(Uniform(1.0, 10.0), description="slope of the fall")
    beta: Value = parameter(Uniform(1.0, 10.0), description="slope of the rise")

    def formed(self, t: jax.Array, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        shape = power_law_shape(jnp.append(t, age), self.tau, self.alpha, self.beta)
        mass, moment = (x[:-1] for x in shape)
        return normalised(self.log_mass, (mass, moment), shape[0][-1])

    def rate(self, t: jax.Array, age: jax.Array) -> jax.Array:
        total = power_law_shape(age[None], self.tau, self.alpha, self.beta)[0][0]
        shape = power_law_rate(t, self.tau, self.alpha, self.beta)
        return 10.0**self.log_mass * shape / (jnp.maximum(total, 1e-280) * GYR)
