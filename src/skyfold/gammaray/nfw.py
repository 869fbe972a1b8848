"""Dark matter halo: the square of a generalised Navarro-Frenk-White profile along the line of sight."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.annotation import Annotation
from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.gammaray.line_of_sight import SUN, Axis, by_parameters, integrate, interpolated
from skyfold.gammaray.pixels import Pixels
from skyfold.gammaray.templates import NORM, SkyTemplate
from skyfold.parameters import Value, parameter
from skyfold.priors import Uniform

#: Angles at which the integral is done, and abscissae of each.
_ANGLES, _POINTS = 24, 40


class NFWSquared(SkyTemplate):
    r"""Annihilation in a generalised NFW halo: line-of-sight integral of the squared density.

    .. math:: s(\psi) = \int_0^{s_\mathrm{max}} \rho^2(r) \, ds, \quad
        \rho = (r/r_s)^{-\gamma} (1 + r/r_s)^{\gamma - 3}, \quad r^2 = s^2 + R_\odot^2 - 2 s R_\odot \cos\psi

    with the angle :math:`\psi` from the Galactic centre. With :math:`s - R_\odot \cos\psi = p \sinh t`,
    :math:`p = R_\odot \sin\psi`, the integrand is smooth whatever :math:`\gamma` is; the integral is done at 24 angles
    and interpolated in :math:`\ln \sin(\psi/2)`: relative error below 1e-6 for :math:`0 \le \gamma \le 2` on
    the whole sky. A pixel counts with the brightness at its centre, and one that holds the Galactic centre with that at
    a quarter of its size.

    Parameters
    ----------
    gamma : inner slope :math:`\gamma`.
    norm : mean counts per pixel over the region of interest.
    r_s : scale radius, kpc, default 20.
    R_sun : distance of the Sun from the Galactic centre, kpc, default 8.224.
    s_max : end of the line of sight, kpc, default 40.
    exposure : multiply by the exposure; False as in the published analysis, which forgot it.
    name, modulation : as for `skyfold.gammaray.Template`.

    References
    ----------
    Navarro, Frenk & White 1996, ApJ 462, 563; Sun, Mishra-Sharma, Slatyer & Wu, arXiv:2604.08648.
    """

    gamma: Value = parameter(Uniform(0.2, 2.0), description="inner slope")
    norm: Value = parameter(1.0, unit="ct/pixel", description=NORM)
    r_s: Value = parameter(20.0, unit="kpc", description="scale radius")
    R_sun: Value = parameter(SUN, unit="kpc", description="distance of the Sun from the Galactic centre")
    s_max: float = eqx.field(static=True, default=40.0)
    label: Annotation = eqx.field(static=True, default=Annotation("nfw"))
    exposure: bool = eqx.field(static=True, default=True)
    modulation: Component | None = None

    def __init__(
        self,
        gamma: Any = None,
        norm: Any = 1.0,
        r_s: Any = 20.0,
        R_sun: Any = SUN,
        *,
        s_max: float = 40.0,
        exposure: bool = True,
        modulation: Component | None = None,
        name: str = "nfw",
    ) -> None:
        if not 0 < s_max < np.inf:
            raise SkyfoldError(f"NFWSquared: the line of sight ends at s_max > 0 kpc, not {s_max!r}.")
        self.gamma = self.gamma if gamma is None else gamma
        self.norm, self.r_s, self.R_sun, self.s_max = norm, r_s, R_sun, float(s_max)
        self.exposure, self.modulation, self.label = exposure, modulation, Annotation(name)

    def shape(self, pixels: Pixels) -> jax.Array:
        x, y, z = pixels.direction
        # half the chord to the Galactic centre is sin(psi/2) and keeps its digits at small angles
        half = 0.5 * jnp.sqrt((1.0 - x) ** 2 + y**2 + z**2)
        least = 0.125 * np.sqrt(4.0 * np.pi / 12.0) / pixels.nside
        angle = Axis(jnp.log(jnp.maximum(half, least)), _ANGLES)

        def brightness(angle: Axis, gamma: jax.Array, r_s: jax.Array, r_sun: jax.Array) -> jax.Array:
            return interpolated(lambda u: _integral(u, gamma, r_s, r_sun, self.s_max), angle)

        return by_parameters(brightness, (self.gamma, self.r_s, self.R_sun), angle)


def _integral(log_half: jax.Array, gamma: jax.Array, r_s: jax.Array, r_sun: jax.Array, s_max: float) -> jax.Array:
    """Integral at the logarithm of sin(psi/2), (n,)."""
    half = jnp.minimum(jnp.exp(log_half), 1.0)
    p = r_sun * jnp.maximum(2.0 * half * jnp.sqrt(1.0 - half**2), 1e-4)
    nearest = r_sun * (1.0 - 2.0 * half**2)

    def integrand(t: jax.Array) -> jax.Array:
        r = p[:, None] * jnp.cosh(t)
        x = r / r_s
        return r * jnp.exp((2.0 * gamma - 6.0) * jnp.log1p(x) - 2.0 * gamma * jnp.log(x))

    return integrate(integrand, -jnp.arcsinh(nearest / p), jnp.arcsinh((s_max - nearest) / p), _POINTS)
