"""Thermal continua: bbody, bbodyrad, diskbb, bremss."""

from __future__ import annotations

from functools import cache
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.parameters import Value, parameter
from skyfold.priors import LogUniform
from skyfold.xray.models.catalogue import register
from skyfold.xray.models.derivatives import forward_derivatives
from skyfold.xray.models.gaunt import gaunt_factor
from skyfold.xray.models.integration import LN2, integrate
from skyfold.xray.models.interpolation import cubic, cubic_coefficients, locate
from skyfold.xray.models.spectral import NORM, Additive

#: photons/cm^2/s/keV^3 of a black body of 1 km radius at 10 kpc, and of 1e39 erg/s at 10 kpc times keV (XSPEC's).
_RADIUS_CONSTANT = 1.0344e-3
_LUMINOSITY_CONSTANT = 8.0525


@register
class Blackbody(Additive):
    r"""Black body, normalised by its luminosity.

    .. math:: A(E) = \frac{8.0525\,K\,E^2}{(kT)^4\,(e^{E/kT} - 1)}

    Parameters
    ----------
    kT :
        Temperature in keV.
    norm :
        :math:`K = L_{39}/D_{10}^2`, luminosity in 1e39 erg/s over the square of the distance in 10 kpc.

    Notes
    -----
    Two-point Gauss-Legendre rule per bin: relative error :math:`(h/kT)^4/4320` in the Wien tail. XSPEC uses the
    trapezium rule (error :math:`(h/kT)^2/12`) and returns 0 above E = 60 kT.

    References
    ----------
    XSPEC manual, model ``bbody``.
    """

    name: ClassVar[str] = "bbody"

    kT: Value = parameter(LogUniform(0.01, 10.0), unit="keV", description="temperature", limits=(1e-4, 200.0))
    norm: Value = parameter(
        LogUniform(1e-8, 1e2), unit="1e37 erg / (s kpc2)", description="luminosity/distance^2", limits=NORM
    )

    @forward_derivatives
    def evaluate(self, edges: jax.Array) -> jax.Array:
        """Photons/cm^2/s in each bin."""
        return _LUMINOSITY_CONSTANT * self.norm / self.kT**4 * _planck(edges, self.kT)


@register
class BlackbodyRad(Additive):
    r"""Black body, normalised by its surface.

    .. math:: A(E) = \frac{1.0344\times 10^{-3}\,K\,E^2}{e^{E/kT} - 1}

    Parameters
    ----------
    kT :
        Temperature in keV.
    norm :
        :math:`K = R_\mathrm{km}^2/D_{10}^2`, square of the radius in km over the distance in 10 kpc.

    Notes
    -----
    Integrated as `Blackbody`.

    References
    ----------
    XSPEC manual, model ``bbodyrad``.
    """

    name: ClassVar[str] = "bbodyrad"

    kT: Value = parameter(LogUniform(0.01, 10.0), unit="keV", description="temperature", limits=(1e-4, 200.0))
    norm: Value = parameter(
        LogUniform(1e-4, 1e8), unit="0.01 km2 / kpc2", description="radius^2/distance^2", limits=NORM
    )

    @forward_derivatives
    def evaluate(self, edges: jax.Array) -> jax.Array:
        """Photons/cm^2/s in each bin."""
        return _RADIUS_CONSTANT * self.norm * _planck(edges, self.kT)


@register
class DiskBlackbody(Additive):
    r"""Accretion disc of black-body rings.

    With :math:`T(r) = T_\mathrm{in} (r/R_\mathrm{in})^{-3/4}` and :math:`x = E/T_\mathrm{in}`

    .. math::

        A(E) = \frac{8}{3}\,1.0344\times 10^{-3}\,K\,E^2\,x^{-8/3} \int_x^\infty \frac{y^{5/3}}{e^y - 1}\,dy

    Parameters
    ----------
    Tin :
        Temperature :math:`T_\mathrm{in}` at the inner radius in keV.
    norm :
        :math:`K = (R_\mathrm{in}/\mathrm{km})^2 \cos\theta / D_{10}^2`.

    Notes
    -----
    This is the integral over the disc with the constant of `BlackbodyRad`; XSPEC's ``diskbb`` is 1.0042 times as
    bright at every energy and temperature, so that a norm found here is 1.0042 times XSPEC's. The radial integral
    is read from a table, accurate to 1e-7; bins are integrated as in `Blackbody`.

    References
    ----------
    Mitsuda et al. 1984, PASJ 36, 741; Makishima et al. 1986, ApJ 308, 635; XSPEC manual, model ``diskbb``.
    """

    name: ClassVar[str] = "diskbb"

    Tin: Value = parameter(
        LogUniform(0.01, 10.0), unit="keV", description="temperature at the inner radius", limits=(0.0, 1000.0)
    )
    norm: Value = parameter(
        LogUniform(1e-4, 1e8), unit="0.01 km2 / kpc2", description="R_in^2 cos(theta)/distance^2", limits=NORM
    )

    @forward_derivatives
    def evaluate(self, edges: jax.Array) -> jax.Array:
        """Photons/cm^2/s in each bin."""
        table, log_rate = _disk_table(), jnp.log2(self.Tin)

        def density(energy: jax.Array) -> jax.Array:
            position = (jnp.log2(energy) - log_rate - _DISK_START) * _DISK_STEPS
            return jnp.exp2(cubic(table, *locate(position, table.shape[1])) - energy / (LN2 * self.Tin))

        return 8.0 / 3.0 * _RADIUS_CONSTANT * self.norm * self.Tin**2 * integrate(density, edges)


@register
class Bremsstrahlung(Additive):
    r"""Thermal bremsstrahlung of hydrogen with 8.5% helium by number.

    .. math::

        A(E) = \frac{K}{E \sqrt{kT}} \left[g(E, kT, 1) + 4 \times 0.085\,g(E, kT, 2)\right] e^{-E/kT}

    Parameters
    ----------
    kT :
        Temperature in keV.
    norm :
        :math:`K = \frac{3.02\times 10^{-15}}{4\pi D^2} \int n_e n_I\,dV` (D in cm, densities per cm^3).

    Notes
    -----
    The Gaunt factor g is that of `skyfold.xray.models.gaunt`, XSPEC's without its jumps. Two-point Gauss-Legendre
    rule per bin, as in `Blackbody`.

    References
    ----------
    Kellogg, Baldwin & Koch 1975, ApJ 199, 299; Karzas & Latter 1961, ApJS 6, 167; XSPEC manual, model ``bremss``.
    """

    name: ClassVar[str] = "bremss"

    kT: Value = parameter(LogUniform(0.05, 100.0), unit="keV", description="temperature", limits=(1e-4, 200.0))
    norm: Value = parameter(
        LogUniform(1e-8, 1e2), unit="4.1611e15 cm-5", description="emission measure/distance^2", limits=NORM
    )

    @forward_derivatives
    def evaluate(self, edges: jax.Array) -> jax.Array:
        """Photons/cm^2/s in each bin."""
        rate = 1.0 / (LN2 * self.kT)

        def density(energy: jax.Array) -> jax.Array:
            return gaunt_factor(self.kT, jnp.log2(energy)) * jnp.exp2(-rate * energy) / energy

        return self.norm / jnp.sqrt(self.kT) * integrate(density, edges)


def _planck(edges: jax.Array, kT: jax.Array) -> jax.Array:
    """Integral of E^2/(exp(E/kT) - 1) over each bin; neither overflows nor loses digits at any E/kT."""

    def density(energy: jax.Array) -> jax.Array:
        x = energy / kT
        decay = jnp.exp2(-x / LN2)
        small = x < 1e-3
        series = x * (1.0 - x * (0.5 - x * (1.0 / 6.0 - x / 24.0)))
        return energy * energy * decay / jnp.where(small, series, 1.0 - jnp.where(small, 0.0, decay))

    return integrate(density, edges)


# -- the disc --------------------------------------------------------------------------------------------------------

_DISK_START, _DISK_STOP, _DISK_STEPS = -22, 12, 12  # range of log2(E/Tin) and steps per factor of two


@cache
def _disk_table() -> np.ndarray:
    """Cubic coefficients of log2 of x^(-2/3) e^x J(x) on an even grid of log2 x; J is `DiskBlackbody`'s integral."""
    x = 2.0 ** np.linspace(_DISK_START, _DISK_STOP, (_DISK_STOP - _DISK_START) * _DISK_STEPS + 1)
    log_scaled = np.where(x < 1.0, np.log(_disk_below(np.minimum(x, 1.0))) + x, np.log(_disk_above(np.maximum(x, 1.0))))
    return cubic_coefficients(np.log2(np.e) * log_scaled - 2.0 / 3.0 * np.log2(x))


def _disk_above(x: np.ndarray) -> np.ndarray:
    """Return e^x J(x) for x >= 1 by Gauss-Legendre quadrature over y - x = 0 .. 60."""
    node, weight = np.polynomial.legendre.leggauss(120)
    y = 30.0 * (node + 1.0)
    above = x[:, None] + y
    return (above ** (5.0 / 3.0) * np.exp(-y) / -np.expm1(-above)) @ (30.0 * weight)


def _disk_below(x: np.ndarray) -> np.ndarray:
    """J(x) for x <= 1: what lies above 1, and the series of y^(2/3) y/(e^y - 1) below."""
    # Bernoulli numbers over factorials: the Taylor coefficients of y/(e^y - 1)
    taylor = {0: 1.0, 1: -1 / 2, 2: 1 / 12, 4: -1 / 720, 6: 1 / 30240, 8: -1 / 1209600, 10: 1 / 47900160}
    taylor |= {12: -691 / 1307674368000, 14: 1 / 74724249600}
    above = _disk_above(np.ones(1)) / np.e
    return above + sum(b * (1.0 - x ** (n + 5 / 3)) / (n + 5 / 3) for n, b in taylor.items())
