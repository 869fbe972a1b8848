"""Bursts, and galaxies that have had one: a burst is over at once or falls as a power law."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from skyfold.galaxy.sfh.base import GYR, StarFormationHistory
from skyfold.galaxy.sfh.double_power_law import power_law_rate, power_law_shape
from skyfold.parameters import Value, parameter
from skyfold.priors import LogUniform, Uniform

#: Slope of the rise of the burst of a post-starburst galaxy (Wild et al. 2020).
_RISE = 250.0


class Burst(StarFormationHistory):
    r"""All stars at once.

    .. math:: \psi(t) = 10^{\mathrm{log\_mass}}\, \delta(t - T + a)

    A burst before the Big Bang has formed nothing. Its rate is not a number: `rate` gives 0.

    Parameters
    ----------
    log_mass : log10 of the mass formed, Msun.
    burst_age : lookback time a of the burst, Gyr.
    """

    name: ClassVar[str] = "burst"
    log_mass: Value = parameter(Uniform(5.0, 12.5), unit="dex(Msun)", description="log10 of the mass formed")
    burst_age: Value = parameter(LogUniform(1e-3, 10.0), unit="Gyr", description="lookback time of the burst")

    def formed(self, t: jax.Array, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        when = age - self.burst_age
        mass = jnp.where((t >= when) & (when >= 0.0), 10.0**self.log_mass, 0.0)
        return mass, mass * when

    def rate(self, t: jax.Array, age: jax.Array) -> jax.Array:
        return jnp.zeros_like(t)


class PostStarburst(StarFormationHistory):
    r"""Old exponential, and a burst that rises steeply and falls as a power law.

    .. math:: \psi(t) = 10^{\mathrm{log\_mass}} \left[ (1 - f)\, \hat\psi_e(t) + f\, \hat\psi_b(t) \right], \quad
        \psi_e \propto e^{-(t - t_o)/\tau_e}\ (t_o < t < t_b), \quad
        \psi_b \propto \left[(t/t_b)^{\alpha} + (t/t_b)^{-250}\right]^{-1}

    Each hat says that the piece forms unit mass until the galaxy is seen; :math:`t_o = T -` `old` and
    :math:`t_b = T -` `burst_age` follow from the lookback times.

    Parameters
    ----------
    log_mass : log10 of the mass formed, Msun.
    old : lookback time at which the old stars begin to form, Gyr; cut at the Big Bang.
    tau : time scale of the exponential, Gyr.
    burst_age : lookback time of the burst, Gyr, below `old`.
    alpha : slope of the burst's fall.
    fraction : fraction f of the mass that the burst formed.

    References
    ----------
    Wild et al. 2020, MNRAS 494, 529, eqs. 1 to 4.
    """

    name: ClassVar[str] = "psb"
    log_mass: Value = parameter(Uniform(6.0, 12.5), unit="dex(Msun)", description="log10 of the mass formed")
    old: Value = parameter(Uniform(4.0, 13.0), unit="Gyr", description="lookback time of the first stars")
    tau: Value = parameter(Uniform(0.3, 10.0), unit="Gyr", description="time scale of the old stars")
    burst_age: Value = parameter(Uniform(0.05, 2.0), unit="Gyr", description="lookback time of the burst")
    alpha: Value = parameter(LogUniform(1.0, 1000.0), description="slope of the burst's fall")
    fraction: Value = parameter(Uniform(0.0, 1.0), description="fraction of the mass that the burst formed")

    def _times(self, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        start = jnp.maximum(age - self.old, 0.0)
        return start, jnp.maximum(age - self.burst_age, start + 1e-6)

    def _old(self, t: jax.Array, start: jax.Array, stop: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = jnp.clip(t - start, 0.0, stop - start) / self.tau
        fall = jnp.exp(-x)
        return -jnp.expm1(-x), self.tau * (-jnp.expm1(-x) - x * fall) - start * jnp.expm1(-x)

    def formed(self, t: jax.Array, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        start, burst = self._times(age)
        t = jnp.append(t, age)
        total = 10.0**self.log_mass
        old, new = self._old(t, start, burst), power_law_shape(t, burst, self.alpha, _RISE)
        parts = (total * (1.0 - self.fraction) / old[0][-1], total * self.fraction / new[0][-1])
        mass, moment = (parts[0] * o + parts[1] * n for o, n in zip(old, new, strict=True))
        return mass[:-1], moment[:-1]

    def rate(self, t: jax.Array, age: jax.Array) -> jax.Array:
        start, burst = self._times(age)
        end = age[None]
        total = 10.0**self.log_mass / GYR
        x = jnp.maximum(t - start, 0.0) / self.tau
        old = jnp.where((t >= start) & (t < burst), jnp.exp(-x), 0.0) / (self.tau * self._old(end, start, burst)[0][0])
        new = power_law_rate(t, burst, self.alpha, _RISE) / power_law_shape(end, burst, self.alpha, _RISE)[0][0]
        return total * ((1.0 - self.fraction) * old + self.fraction * new)
