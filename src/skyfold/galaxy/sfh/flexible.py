"""Flexible histories: dense basis, and a Gaussian process in latent space."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.galaxy.sfh.base import GYR, StarFormationHistory
from skyfold.galaxy.sfh.tabulated import piecewise_linear
from skyfold.parameters import Value, parameter, shape_of
from skyfold.priors import Dirichlet, Normal, Uniform

#: Cells in which the curve of a dense basis is integrated.
_CELLS = 160


def _lookback(n: int, stretch: float) -> np.ndarray:
    """Lookback times (n,) from 0 to 1 in ages of the Universe, closer to each other towards the present."""
    return np.expm1(stretch * np.linspace(0.0, 1.0, n)) / np.expm1(stretch)


class DenseBasis(StarFormationHistory):
    r"""Times at which the galaxy had formed equal shares of its mass, and its present rate.

    The mass formed is a monotone curve through :math:`(0, 0)`, :math:`(t_k, k/(n+1))` and :math:`(T, 1)`, flat at the
    Big Bang and of slope :math:`10^{\mathrm{log\_sfr}}` at T: the rational quadratic spline of Gregory and Delbourgo
    (1982), which is monotone for every such set. Iyer et al. draw the curve by Gaussian process regression instead;
    the parameters and their meaning are theirs, the curve between the knots is ours.

    Parameters
    ----------
    log_mass : log10 of the mass formed, Msun.
    log_sfr : log10 of the rate at the time of observation, Msun/yr.
    gaps : (n + 1,) times between the knots in ages of the Universe, earliest first; they add up to 1. Default
        Dirichlet(5), n = 3: quartiles.

    References
    ----------
    Iyer et al. 2019, ApJ 879, 116; Gregory & Delbourgo 1982, IMA J. Numer. Anal. 2, 123.
    """

    name: ClassVar[str] = "dense_basis"
    extensive: ClassVar[tuple[str, ...]] = ("log_mass", "log_sfr")
    log_mass: Value = parameter(Uniform(6.0, 12.5), unit="dex(Msun)", description="log10 of the mass formed")
    log_sfr: Value = parameter(Uniform(-3.0, 3.0), unit="dex(Msun/yr)", description="log10 of the present rate")
    gaps: Value = parameter(Dirichlet(np.full(4, 5.0)), description="times between equal shares of the mass")

    def __check_init__(self) -> None:
        if len(shape_of(self.gaps)) != 1:
            raise SkyfoldError("DenseBasis: gaps must be a vector, such as sf.Dirichlet([5, 5, 5, 5]).")

    def _knots(self) -> tuple[jax.Array, jax.Array]:
        gaps = jnp.maximum(jnp.asarray(self.gaps), 1e-5)
        gaps = gaps / jnp.sum(gaps)
        return gaps, jnp.concatenate([jnp.zeros(1), jnp.cumsum(gaps)[:-1], jnp.ones(1)])

    def _curve(self, x: jax.Array, age: jax.Array) -> jax.Array:
        """Share of the mass formed at `x` (n,) ages of the Universe."""
        gaps, knots = self._knots()
        share = 1.0 / gaps.size
        steep = share / gaps
        middle = 2.0 * steep[1:] * steep[:-1] / (steep[1:] + steep[:-1])
        last = 10.0 ** (self.log_sfr - self.log_mass) * GYR * age
        slopes = jnp.concatenate([jnp.zeros(1), middle, last[None]])
        i = jnp.clip(jnp.searchsorted(knots, x) - 1, 0, gaps.size - 1)
        u = jnp.clip((x - knots[i]) / gaps[i], 0.0, 1.0)
        low, high, mean = slopes[i], slopes[i + 1], steep[i]
        below = mean + (high + low - 2.0 * mean) * u * (1.0 - u)
        return share * (i + (mean * u**2 + low * u * (1.0 - u)) / below)

    def _cells(self, age: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        # the knots are edges of cells too, so that the mass is exact there
        edges = jnp.sort(jnp.concatenate([1.0 - _lookback(_CELLS + 1, 6.0)[::-1], self._knots()[1][1:-1]]))
        share, width = self._curve(edges, age), jnp.diff(edges)
        rate = jnp.where(width > 0.0, jnp.diff(share) / (age * jnp.where(width > 0.0, width, 1.0)), 0.0)
        return age * edges[:-1], age * edges[1:], rate

    def formed(self, t: jax.Array, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        start, stop, rate = self._cells(age)
        x = jnp.clip(t[:, None], start, stop)
        rate = 10.0**self.log_mass * rate
        return (x - start) @ rate, 0.5 * (x**2 - start**2) @ rate

    def rate(self, t: jax.Array, age: jax.Array) -> jax.Array:
        start, stop, rate = self._cells(age)
        inside = (t[:, None] > start) & (t[:, None] <= stop)
        return 10.0**self.log_mass * jnp.where(inside, rate, 0.0).sum(axis=1) / GYR


class GaussianProcessSFH(StarFormationHistory):
    r"""Logarithm of the rate as a Gaussian process: a damped random walk about a constant rate.

    .. math:: \log_{10} \psi(t) = c + x(t), \qquad
        \langle x(t)\, x(t') \rangle = \sigma^2 e^{-|t - t'|/\tau}

    The process is drawn at n nodes in lookback time, closer to each other towards the present, as a linear map of
    `latent`, which is standard normal; between the nodes the rate is linear. The constant c follows from the mass.

    Parameters
    ----------
    log_mass : log10 of the mass formed, Msun.
    latent : (n,) standard normal coordinates, oldest first; n = 24 by default.
    sigma : scatter of the rate, dex.
    tau : time over which the rate forgets, Gyr.

    References
    ----------
    Caplar & Tacchella 2019, MNRAS 487, 3845; Iyer et al. 2024, ApJ 961, 53.
    """

    name: ClassVar[str] = "gp"
    log_mass: Value = parameter(Uniform(6.0, 12.5), unit="dex(Msun)", description="log10 of the mass formed")
    latent: Value = parameter(Normal(np.zeros(24), 1.0), description="standard normal coordinates of the process")
    sigma: Value = parameter(0.4, unit="dex", description="scatter of the rate")
    tau: Value = parameter(1.0, unit="Gyr", description="time over which the rate forgets")

    def __check_init__(self) -> None:
        shape = shape_of(self.latent)
        if len(shape) != 1 or shape[0] < 3:
            raise SkyfoldError(
                "GaussianProcessSFH: latent must be a vector of 3 or more, such as sf.Normal(np.zeros(24), 1)."
            )

    def _table(self, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Nodes since the Big Bang (n,), Gyr, and the rates there, Msun/Gyr."""
        latent = jnp.asarray(self.latent)
        times = age * (1.0 - _lookback(latent.size, 4.5)[::-1])
        forget = -jnp.expm1(-2.0 * jnp.diff(times) / self.tau)
        fresh = self.sigma * jnp.concatenate([jnp.ones(1), jnp.sqrt(forget)])
        # Cholesky factor of the exponential covariance, which is known
        memory = jnp.exp(-jnp.maximum(times[:, None] - times, 0.0) / self.tau)
        rate = 10.0 ** ((jnp.tri(latent.size) * memory * fresh) @ latent)
        total = jnp.sum(0.5 * (rate[1:] + rate[:-1]) * jnp.diff(times))
        return times, 10.0**self.log_mass * rate / total

    def formed(self, t: jax.Array, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        return piecewise_linear(t, *self._table(age))

    def rate(self, t: jax.Array, age: jax.Array) -> jax.Array:
        times, rates = self._table(age)
        return jnp.interp(t, times, rates) / GYR
