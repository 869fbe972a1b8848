"""Emission lines: gaussian, zgauss."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.parameters import Parameter, Value, is_symbol, parameter
from skyfold.priors import LogUniform, Uniform
from skyfold.xray.models.catalogue import register
from skyfold.xray.models.derivatives import forward_derivatives
from skyfold.xray.models.spectral import REDSHIFT, Additive

_SQRT2 = float(np.sqrt(2.0))
#: A fixed width below this part of a bin shows a line's energy to the data in steps: their derivative by it is off by a
#: part of up to 2 exp(-2 pi^2 part^2), 9% here.
_STEPS = 0.4
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

    def check(self, edges: np.ndarray) -> None:
        _refuse_steps(self, edges)

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

    def check(self, edges: np.ndarray) -> None:
        _refuse_steps(self, edges, self.Redshift)

    @forward_derivatives
    def evaluate(self, edges: jax.Array) -> jax.Array:
        """Photons/cm^2/s in each bin."""
        stretch = 1.0 + self.Redshift
        return self.norm / stretch * _line_fraction(edges * stretch, self.LineE, self.Sigma)


def _refuse_steps(line: Any, edges: np.ndarray, redshift: Value = 0.0) -> None:
    """Refuse to fit the energy of a line whose fixed width lies far below the bins: the data see it in steps.

    Raises
    ------
    SkyfoldError
        With the width from which on the energy can be fitted.
    """
    if is_symbol(line.Sigma) or not (is_symbol(line.LineE) or is_symbol(redshift)):
        return
    moved = is_symbol(redshift)
    energies = edges * (1.0 if moved else 1.0 + float(redshift))
    low, high = line.LineE.prior.support() if isinstance(line.LineE, Parameter) else (-np.inf, np.inf)
    bins = np.diff(energies)
    if not moved and not is_symbol(low) and not is_symbol(high):
        bins = bins[(energies[1:] >= np.min(low)) & (energies[:-1] <= np.max(high))]
    if bins.size and line.Sigma < _STEPS * bins.min():
        free = "Redshift" if moved and not is_symbol(line.LineE) else "LineE"
        raise SkyfoldError(
            f"'{line.name}': {free} is free, and Sigma is fixed at {line.Sigma:g} keV, far below the response's bins "
            f"({bins.min():.3g} keV or more): the data see the line's energy in steps, and no fit finds its error. Fix "
            f"{free}, or give Sigma = {0.5 * bins.max():.2g} keV (half a bin shows no steps, nor is it resolved), "
            "or take a response of finer bins."
        )


def _line_fraction(edges: jax.Array, centre: jax.Array, width: jax.Array) -> jax.Array:
    """Fraction of a normal distribution in each bin; the smaller tail is differenced, so that none is lost."""
    resolved = width > _NO_WIDTH
    distance = (edges - centre) / (_SQRT2 * jnp.where(resolved, width, _NO_WIDTH))
    above = distance >= 0.0
    tail = 0.5 * jax.lax.erfc(jnp.where(above, distance, -distance))
    # a line without width lies in one bin, and its derivative by the energy vanishes right up to the edges
    tail = jnp.where(resolved, tail, 0.0)
    signed = jnp.where(above, tail, -tail)
    return signed[:-1] - signed[1:] + (above[1:] & ~above[:-1])
