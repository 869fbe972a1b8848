"""Histories on a table: rate linear between nodes in time; and the integrals that other histories use."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.galaxy.columns import plain
from skyfold.galaxy.sfh.base import GYR, StarFormationHistory
from skyfold.parameters import Value, parameter


def piecewise_linear(t: jax.Array, times: jax.Array, rates: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Integrals of a rate that is linear between nodes, and of time times it, from the first node to `t`.

    Parameters
    ----------
    t : (n,) times; outside the nodes the rate is zero.
    times, rates : (k,) nodes, increasing.
    """
    start, stop, low = times[:-1], times[1:], rates[:-1]
    slope = (rates[1:] - low) / (stop - start)
    d = jnp.clip(t[:, None], start, stop) - start
    mass = d @ low + d**2 @ (0.5 * slope)
    moment = d @ (start * low) + d**2 @ (0.5 * (low + start * slope)) + d**3 @ (slope / 3.0)
    return mass, moment


class Tabulated(StarFormationHistory):
    """Rate linear between the nodes of a table, zero outside: a history from a simulation.

    Parameters
    ----------
    times : (k,) times since the Big Bang, Gyr, increasing.
    rates : (k,) star-formation rates, Msun/yr.
    log_scale : log10 of a factor on the rates.
    """

    name: ClassVar[str] = "tabulated"
    extensive: ClassVar[tuple[str, ...]] = ("log_scale",)
    times: Any = eqx.field(converter=lambda x: plain("Tabulated: the times", x, "Gyr"))
    rates: Any = eqx.field(converter=lambda x: plain("Tabulated: the rates", x, "Msun / yr"))
    log_scale: Value = parameter(0.0, unit="dex", description="log10 of a factor on the rates")

    def __check_init__(self) -> None:
        t, r = self.times, self.rates
        good = t.ndim == 1 and t.shape == r.shape and t.size > 1 and np.all(np.isfinite(t) & np.isfinite(r) & (r >= 0))
        if not good or np.any(np.diff(t) <= 0):
            raise SkyfoldError(
                "Tabulated needs increasing times and as many rates, none negative; got the shapes "
                f"{t.shape} and {r.shape}."
            )

    def formed(self, t: jax.Array, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        scale = GYR * 10.0**self.log_scale
        mass, moment = piecewise_linear(t, jnp.asarray(self.times), jnp.asarray(self.rates))
        return scale * mass, scale * moment

    def rate(self, t: jax.Array, age: jax.Array) -> jax.Array:
        return 10.0**self.log_scale * jnp.interp(
            t, jnp.asarray(self.times), jnp.asarray(self.rates), left=0.0, right=0.0
        )
