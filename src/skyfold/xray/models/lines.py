"""Emission lines: gaussian, zgauss."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.parameters import Value, parameter
from skyfold.priors import LogUniform, Uniform
from skyfold.xray.models.catalogue import register
from skyfold.xray.models.derivatives import forward_derivatives
from skyfold.xray.models.spectral import REDSHIFT, Additive

_SQRT2 = float(np.sqrt(2.0))
#: Widths below this (in keV) are lines without width; far below any bin.
_NO_WIDTH = 1e-8


@register
class Gaussian(Additive):
    r"""Gaussian emission line, integrated exactly.

    .. math:: A(E) = \frac{K}{\sigma\sqrt{2\pi}} \exp\left(-\frac{(E - E_l)^2}{2\sigma^2}\right)

    Parameters
    ----------
    LineE :
        Line energy :math:`E_l` in keV.
    Sigma :
        Line width :math:`\sigma` (standard deviation) in keV. Zero puts the whole line
        into the bin with low < `LineE` <= high, as XSPEC does.
    norm :
        :math:`K`, photons/cm^2/s in the line.

    Notes
    -----
    Differences of the normal distribution function, accurate in both tails. What lies below E = 0 is not put back.

    References
    ----------
    XSPEC manual, model ``gaussian``.
    """

    name: ClassVar[str] = "gaussian"

    LineE: Value = parameter(Uniform(0.2, 10.0), unit="keV", description="line energy", limits=(0.0, 1e6))
    Sigma: Value = parameter(
        Uniform(0.0, 1.0), unit="keV", description="line width (standard deviation)", limits=(0.0, 20.0)
    )
    norm: Value = parameter(LogUniform(1e-9, 1.0), unit="ph / (cm2 s)", description="photon flux in the line")

    @forward_derivatives
    def evaluate(self, edges: jax.Array) -> jax.Array:
        """Photons/cm^2/s in each bin."""
        return self.norm * _line_fraction(edges, self.LineE, self.Sigma)


@register
class ZGaussian(Additive):
    r"""Redshifted Gaussian emission line, integrated exactly.

    .. math::

        A(E) = \frac{K}{(1 + z)\,\sigma\sqrt{2\pi}} (1 + z)
            \exp\left(-\frac{(E(1 + z) - E_l)^2}{2\sigma^2}\right)

    Parameters
    ----------
    LineE :
        Line energy :math:`E_l` in keV, in the source frame.
    Sigma :
        Line width :math:`\sigma` (standard deviation) in keV, in the source frame. Zero
        puts the whole line into one bin.
    Redshift :
        Redshift :math:`z`; fixed at 0 by default.
    norm :
        :math:`K`, photons/cm^2/s; the line holds :math:`K/(1 + z)`.

    References
    ----------
    XSPEC manual, model ``zgauss``.
    """

    name: ClassVar[str] = "zgauss"

    LineE: Value = parameter(
        Uniform(0.2, 10.0), unit="keV", description="line energy in the source frame", limits=(0.0, 1e6)
    )
    Sigma: Value = parameter(
        Uniform(0.0, 1.0), unit="keV", description="line width in the source frame", limits=(0.0, 20.0)
    )
    Redshift: Value = parameter(0.0, description="redshift", limits=REDSHIFT)
    norm: Value = parameter(LogUniform(1e-9, 1.0), unit="ph / (cm2 s)", description="photon flux times (1 + z)")

    @forward_derivatives
    def evaluate(self, edges: jax.Array) -> jax.Array:
        """Photons/cm^2/s in each bin."""
        stretch = 1.0 + self.Redshift
        return self.norm / stretch * _line_fraction(edges * stretch, self.LineE, self.Sigma)


def _line_fraction(edges: jax.Array, centre: jax.Array, width: jax.Array) -> jax.Array:
    """Fraction of a normal distribution in each bin; the smaller tail is differenced, so that none is lost."""
    resolved = width > _NO_WIDTH
    distance = (edges - centre) / (_SQRT2 * jnp.where(resolved, width, _NO_WIDTH))
    above = distance >= 0.0
    tail = 0.5 * jax.lax.erfc(jnp.where(above, distance, -distance))
    tail = jnp.where(resolved | (distance != 0.0), tail, 0.0)
    signed = jnp.where(above, tail, -tail)
    return signed[:-1] - signed[1:] + (above[1:] & ~above[:-1])
