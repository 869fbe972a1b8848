"""Histories of few parameters: constant, delayed exponential, log-normal."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr

from skyfold.galaxy.sfh.base import GYR, StarFormationHistory, normalised
from skyfold.parameters import Value, parameter
from skyfold.priors import Uniform


class ConstantSFH(StarFormationHistory):
    r"""Constant rate between two lookback times.

    .. math:: \psi(t) = \frac{10^{\mathrm{log\_mass}}}{b - e}, \qquad T - b < t < T - e

    The beginning b is cut at the Big Bang, so that the mass is always formed whole.

    Parameters
    ----------
    log_mass : log10 of the mass formed, Msun.
    begin : lookback time at which stars begin to form, Gyr.
    end : lookback time at which they cease to, Gyr, below `begin`.
    """

    name: ClassVar[str] = "constant"
    log_mass: Value = parameter(Uniform(6.0, 12.5), unit="dex(Msun)", description="log10 of the mass formed")
    begin: Value = parameter(20.0, unit="Gyr", description="lookback time of the first stars")
    end: Value = parameter(0.0, unit="Gyr", description="lookback time of the last stars")

    def _limits(self, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        low = jnp.maximum(age - self.begin, 0.0)
        return low, jnp.maximum(age - self.end, low + 1e-6)

    def formed(self, t: jax.Array, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        low, high = self._limits(age)
        x = jnp.clip(t, low, high)
        rate = 10.0**self.log_mass / (high - low)
        return rate * (x - low), 0.5 * rate * (x**2 - low**2)

    def rate(self, t: jax.Array, age: jax.Array) -> jax.Array:
        low, high = self._limits(age)
        return jnp.where((t >= low) & (t <= high), 10.0**self.log_mass / (high - low) / GYR, 0.0)


class DelayedTau(StarFormationHistory):
    r"""Delayed exponential.

    .. math:: \psi(t) \propto (t - t_0)\, e^{-(t - t_0)/\tau}, \qquad t > t_0 = \max(0, T - b)

    Parameters
    ----------
    log_mass : log10 of the mass formed, Msun.
    tau : time scale, Gyr.
    begin : lookback time b at which stars begin to form, Gyr.
    """

    name: ClassVar[str] = "delayed"
    log_mass: Value = parameter(Uniform(6.0, 12.5), unit="dex(Msun)", description="log10 of the mass formed")
    tau: Value = parameter(Uniform(0.1, 10.0), unit="Gyr", description="time scale")
    begin: Value = parameter(Uniform(0.1, 13.0), unit="Gyr", description="lookback time of the first stars")

    def _shape(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        # in units of tau: P(2, x) and 2 P(3, x), the incomplete gamma functions
        fall = jnp.exp(-x)
        exact = -jnp.expm1(-x) - x * fall, -2.0 * jnp.expm1(-x) - (2.0 * x + x**2) * fall
        small = x < 1e-2
        y = jnp.where(small, x, 0.0)
        series = (
            y**2 * (1 / 2 - y / 3 + y**2 / 8 - y**3 / 30 + y**4 / 144),
            y**3 * (1 / 3 - y / 4 + y**2 / 10 - y**3 / 36 + y**4 / 168),
        )
        return jnp.where(small, series[0], exact[0]), jnp.where(small, series[1], exact[1])

    def formed(self, t: jax.Array, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        start = jnp.maximum(age - self.begin, 0.0)
        mass, moment = self._shape(jnp.maximum(t - start, 0.0) / self.tau)
        total, _ = self._shape((age - start) / self.tau)
        return normalised(self.log_mass, (mass, self.tau * moment + start * mass), total)

    def rate(self, t: jax.Array, age: jax.Array) -> jax.Array:
        start = jnp.maximum(age - self.begin, 0.0)
        x = jnp.maximum(t - start, 0.0) / self.tau
        total, _ = self._shape((age - start) / self.tau)
        return 10.0**self.log_mass * x * jnp.exp(-x) / (self.tau * jnp.maximum(total, 1e-280) * GYR)


class LogNormalSFH(StarFormationHistory):
    r"""Log-normal in time since the Big Bang.

    .. math:: \psi(t) \propto \frac{1}{t} \exp\left(-\frac{(\ln t - T_0)^2}{2 \sigma^2}\right), \qquad
        T_0 = \ln t_\mathrm{peak} + \sigma^2, \quad
        \mathrm{FWHM} = 2\, t_\mathrm{peak} \sinh(\sqrt{2 \ln 2}\, \sigma)

    Parameters
    ----------
    log_mass : log10 of the mass formed until the galaxy is seen, Msun.
    peak : time of the highest rate since the Big Bang, Gyr.
    fwhm : full width at half of it, Gyr.

    References
    ----------
    Gladders et al. 2013, ApJ 770, 64; Diemer et al. 2017, ApJ 839, 26.
    """

    name: ClassVar[str] = "lognormal"
    log_mass: Value = parameter(Uniform(6.0, 12.5), unit="dex(Msun)", description="log10 of the mass formed")
    peak: Value = parameter(Uniform(0.5, 13.0), unit="Gyr", description="time of the highest rate")
    fwhm: Value = parameter(Uniform(0.1, 20.0), unit="Gyr", description="full width at half maximum")

    def _moments(self) -> tuple[jax.Array, jax.Array]:
        sigma = jnp.arcsinh(self.fwhm / (2.0 * self.peak)) / jnp.sqrt(2.0 * jnp.log(2.0))
        return jnp.log(self.peak) + sigma**2, sigma

    def _shape(self, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        centre, sigma = self._moments()
        x = (jnp.log(jnp.maximum(t, 1e-12)) - centre) / sigma
        return ndtr(x), jnp.exp(centre + 0.5 * sigma**2) * ndtr(x - sigma)

    def formed(self, t: jax.Array, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        total, _ = self._shape(age)
        return normalised(self.log_mass, self._shape(t), total)

    def rate(self, t: jax.Array, age: jax.Array) -> jax.Array:
        centre, sigma = self._moments()
        total, _ = self._shape(age)
        safe = jnp.maximum(t, 1e-12)
        shape = jnp.exp(-0.5 * ((jnp.log(safe) - centre) / sigma) ** 2) / (safe * sigma * jnp.sqrt(2.0 * jnp.pi))
        return 10.0**self.log_mass * shape / (jnp.maximum(total, 1e-280) * GYR)
