"""Stellar disk: sources in an exponential disk along the line of sight."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.annotation import Annotation
from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.gammaray.line_of_sight import SUN, Axis, by_parameters, interpolated, legendre
from skyfold.gammaray.pixels import Pixels
from skyfold.gammaray.templates import NORM, SkyTemplate
from skyfold.parameters import Value, parameter
from skyfold.priors import Uniform

#: Abscissae of each half of a line of sight, and the length near the axis that they resolve, kpc.
_POINTS, _NEAR = 24, 0.3
#: How strongly the abscissae of the nearer half crowd at its ends.
_CROWD = 2.5


class Disk(SkyTemplate):
    r"""Sources in a disk whose density falls exponentially with radius and height.

    .. math:: s(l, b) = \int_0^{s_\mathrm{max}} n(R, z) \, ds, \quad
        n = \exp\left(-C \, \frac{R - R_\odot}{R_\odot}\right) \exp\left(-\frac{|z|}{z_s}\right)

    The integral, split at the point nearest to the axis of the Galaxy, is done on a grid of :math:`|l|` and
    :math:`|b|` and interpolated in their square roots. With the default grid the relative error is below 1e-5 within 25
    degrees of the Galactic centre outside :math:`|b| < 2` degrees, for :math:`0.1 \le z_s \le 2.5` kpc and
    :math:`0.05 \le C \le 8`; it grows with the region: for all the sky give ``nodes=None``.

    Parameters
    ----------
    zs : scale height :math:`z_s`, kpc.
    C : radial slope.
    norm : mean counts per pixel over the region of interest.
    R_sun : distance of the Sun from the Galactic centre, kpc, default 8.224.
    s_max : end of the line of sight, kpc, default 100.
    nodes : numbers of longitudes and latitudes of the grid, default (16, 24); None integrates in every pixel.
    published : reproduce the published analysis, whose integral runs over the way in the plane without the factor
        :math:`1/\cos b`.
    exposure : multiply by the exposure; False as in the published analysis.
    name, modulation : as for `skyfold.gammaray.Template`.

    References
    ----------
    Lorimer et al. 2006, MNRAS 372, 777; Sun, Mishra-Sharma, Slatyer & Wu, arXiv:2604.08648.
    """

    zs: Value = parameter(Uniform(0.1, 2.5), unit="kpc", description="scale height")
    C: Value = parameter(Uniform(0.05, 8.0), description="radial slope")
    norm: Value = parameter(1.0, unit="ct/pixel", description=NORM)
    R_sun: Value = parameter(SUN, unit="kpc", description="distance of the Sun from the Galactic centre")
    s_max: float = eqx.field(static=True, default=100.0)
    nodes: tuple[int, int] | None = eqx.field(static=True, default=(16, 24))
    published: bool = eqx.field(static=True, default=False)
    label: Annotation = eqx.field(static=True, default=Annotation("disk"))
    exposure: bool = eqx.field(static=True, default=True)
    modulation: Component | None = None

    def __init__(
        self,
        zs: Any = None,
        C: Any = None,
        norm: Any = 1.0,
        R_sun: Any = SUN,
        *,
        s_max: float = 100.0,
        nodes: tuple[int, int] | None = (16, 24),
        published: bool = False,
        exposure: bool = True,
        modulation: Component | None = None,
        name: str = "disk",
    ) -> None:
        if not 20.0 <= s_max < np.inf:
            raise SkyfoldError(f"Disk: the line of sight ends beyond the Galactic centre, s_max >= 20, not {s_max!r}.")
        if nodes is not None and (len(nodes) != 2 or min(nodes) < 4):
            raise SkyfoldError(f"Disk: nodes are two numbers from 4 on, or None, not {nodes!r}.")
        self.zs = self.zs if zs is None else zs
        self.C = self.C if C is None else C
        self.norm, self.R_sun, self.s_max, self.nodes = norm, R_sun, float(s_max), nodes and (nodes[0], nodes[1])
        self.published, self.exposure = published, exposure
        self.modulation, self.label = modulation, Annotation(name)

    def shape(self, pixels: Pixels) -> jax.Array:
        u, v = jnp.sqrt(jnp.abs(pixels.longitude)), jnp.sqrt(jnp.abs(pixels.latitude))
        constants: Any = (u, v) if self.nodes is None else (Axis(u, self.nodes[0]), Axis(v, self.nodes[1]))

        def brightness(constants: Any, zs: jax.Array, slope: jax.Array, r_sun: jax.Array) -> jax.Array:
            def integral(u: jax.Array, v: jax.Array) -> jax.Array:
                return _integral(u, v, zs, slope, r_sun, self.s_max)

            return integral(*constants) if self.nodes is None else interpolated(integral, *constants)

        shape = by_parameters(brightness, (self.zs, self.C, self.R_sun), constants)
        return shape * jnp.cos(pixels.latitude) if self.published else shape


def _integral(u: jax.Array, v: jax.Array, zs: Any, slope: Any, r_sun: Any, s_max: float) -> jax.Array:
    """Integral at the square roots of the longitude and the latitude, (...)."""
    longitude, latitude = u[..., None] ** 2, v[..., None] ** 2
    level, up = jnp.cos(latitude), jnp.sin(latitude)
    nearest = jnp.maximum(r_sun * jnp.cos(longitude) / level, 1e-3)
    nearest = jnp.minimum(nearest, 0.9 * s_max)
    t, weight = legendre(_POINTS)
    # the nearer half crowds its abscissae at both ends, the farther one at its beginning
    a, b = t**_CROWD, (1.0 - t) ** _CROWD
    share = a / (a + b)
    steep = _CROWD * (t * (1.0 - t)) ** (_CROWD - 1.0) / (a + b) ** 2 * weight
    span = jnp.arcsinh((s_max - nearest) / _NEAR)
    far = jnp.exp(span * t)
    s = jnp.concatenate([nearest * share, nearest + 0.5 * _NEAR * (far - 1.0 / far)], axis=-1)
    ds = jnp.concatenate([nearest * steep, 0.5 * _NEAR * span * weight * (far + 1.0 / far)], axis=-1)
    x = s * level * jnp.cos(longitude) - r_sun
    y = s * level * jnp.sin(longitude)
    radius = jnp.sqrt(x**2 + y**2 + 1e-18)
    density = jnp.exp(-slope * (radius / r_sun - 1.0) - s * up / zs)
    return jnp.sum(density * ds, axis=-1)
