"""Factors other than absorption by gas: constant, edge, highecut."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from skyfold.parameters import Value, parameter
from skyfold.priors import LogUniform, Uniform
from skyfold.xray.models.catalogue import register
from skyfold.xray.models.derivatives import forward_derivatives
from skyfold.xray.models.integration import LN2, integrate, mean_exponential
from skyfold.xray.models.spectral import Multiplicative

_FACTOR = LogUniform(0.1, 10.0)


@register
class Constant(Multiplicative):
    """Factor that does not depend on energy.

    .. math:: M(E) = f

    Parameters
    ----------
    factor :
        :math:`f` (dimensionless).

    References
    ----------
    XSPEC manual, model ``constant``.
    """

    name: ClassVar[str] = "constant"
    #: scales the light and absorbs none of it: an "unabsorbed" flux keeps it
    intrinsic: ClassVar[bool] = True

    # the attribute is not called `factor`, which is the method that every multiplicative model has
    value: Value = parameter(_FACTOR, description="factor", name="factor", limits=(0.0, 1e10))

    def __init__(self, factor: Value = _FACTOR) -> None:
        self.value = factor

    def evaluate(self, edges: jax.Array) -> jax.Array:
        """Dimensionless factor in each bin."""
        return jnp.full(edges.shape[0] - 1, self.value)


@register
class Edge(Multiplicative):
    r"""Absorption edge, averaged over each bin.

    .. math::

        M(E) = \begin{cases} 1 & E < E_c \\ \exp\left(-D (E/E_c)^{-3}\right) & E \ge E_c \end{cases}

    Parameters
    ----------
    edgeE :
        Threshold energy :math:`E_c` in keV.
    MaxTau :
        Absorption depth :math:`D` at the threshold.

    Notes
    -----
    The bin that holds the threshold takes the mean over both sides, as in XSPEC, so that the factor changes
    continuously with `edgeE`. Two-point Gauss-Legendre rule per bin (error below 1e-6 for bins of 3%); XSPEC's
    trapezium rule differs by 1e-4 on such bins.

    References
    ----------
    XSPEC manual, model ``edge``.
    """

    name: ClassVar[str] = "edge"

    edgeE: Value = parameter(Uniform(0.2, 10.0), unit="keV", description="threshold energy", limits=(0.0, 100.0))
    MaxTau: Value = parameter(Uniform(0.0, 5.0), description="absorption depth at the threshold", limits=(0.0, 10.0))

    @forward_derivatives
    def evaluate(self, edges: jax.Array) -> jax.Array:
        """Dimensionless factor in each bin."""
        depth = self.MaxTau * self.edgeE**3 / LN2
        absorbed = jnp.where(edges > self.edgeE, edges, self.edgeE)
        mean = integrate(lambda e: jnp.exp2(-depth / (e * e * e)) - 1.0, absorbed)
        return 1.0 + mean / (edges[1:] - edges[:-1])


@register
class HighECut(Multiplicative):
    r"""High-energy cutoff, averaged exactly over each bin.

    .. math::

        M(E) = \begin{cases} 1 & E \le E_c \\ \exp\left((E_c - E)/E_f\right) & E > E_c \end{cases}

    Parameters
    ----------
    cutoffE :
        Cutoff energy :math:`E_c` in keV.
    foldE :
        e-folding energy :math:`E_f` in keV.

    Notes
    -----
    XSPEC takes the mean of the two ends also in the bin that holds the cutoff energy, which differs by up to an eighth
    of the bin's width over `foldE` in that bin alone.

    References
    ----------
    XSPEC manual, model ``highecut``.
    """

    name: ClassVar[str] = "highecut"
    #: part of the source: an "unabsorbed" flux keeps it
    intrinsic: ClassVar[bool] = True

    cutoffE: Value = parameter(LogUniform(1.0, 100.0), unit="keV", description="cutoff energy", limits=(1e-4, 1e6))
    foldE: Value = parameter(LogUniform(1.0, 500.0), unit="keV", description="e-folding energy", limits=(1e-4, 1e6))

    @forward_derivatives
    def evaluate(self, edges: jax.Array) -> jax.Array:
        """Dimensionless factor in each bin."""
        excess = jnp.where(edges > self.cutoffE, edges - self.cutoffE, 0.0)
        value = jnp.exp2(-excess / (LN2 * self.foldE))
        cut = excess[1:] - excess[:-1]
        mean = mean_exponential(value[:-1], value[1:], -0.5 * cut / self.foldE)
        fraction = jnp.where(edges[:-1] > self.cutoffE, 1.0, cut / (edges[1:] - edges[:-1]))
        return (1.0 - fraction) + fraction * mean
