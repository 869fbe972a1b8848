"""Power laws and their relatives: powerlaw, cutoffpl, bknpower, logpar."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from skyfold.parameters import Value, parameter
from skyfold.priors import LogUniform, Uniform
from skyfold.xray.models.catalogue import register
from skyfold.xray.models.derivatives import forward_derivatives
from skyfold.xray.models.integration import LN2, integrate, mean_exponential
from skyfold.xray.models.spectral import NORM, Additive

#: Limits of photon indices. XSPEC gives logpar's index 0 and 4, which its prior here passes; and the cutoff of cutoffpl
#: 500 keV, above which it leaves a power law here.
_INDEX = (-3.0, 10.0)


@register
class PowerLaw(Additive):
    r"""Photon power law, integrated exactly.

    .. math:: A(E) = K \left(\frac{E}{1\,\mathrm{keV}}\right)^{-\Gamma}

    Parameters
    ----------
    PhoIndex :
        Photon index :math:`\Gamma`.
    norm :
        :math:`K`, photons/keV/cm^2/s at 1 keV.

    Notes
    -----
    The bin integral is exact to 1e-13 for any bin width and any index, :math:`\Gamma = 1` included.

    References
    ----------
    XSPEC manual, model ``powerlaw``.
    """

    name: ClassVar[str] = "powerlaw"

    PhoIndex: Value = parameter(Uniform(-1.0, 5.0), description="photon index", limits=_INDEX)
    norm: Value = parameter(
        LogUniform(1e-8, 1e2), unit="ph / (keV cm2 s)", description="photon flux density at 1 keV", limits=NORM
    )

    @forward_derivatives
    def evaluate(self, edges: jax.Array) -> jax.Array:
        """Photons/cm^2/s in each bin."""
        log_edges = jnp.log2(edges)
        return self.norm * _segment(1.0 - self.PhoIndex, log_edges, jnp.exp2((1.0 - self.PhoIndex) * log_edges))


@register
class CutoffPowerLaw(Additive):
    r"""Power law with an exponential cutoff.

    .. math:: A(E) = K \left(\frac{E}{1\,\mathrm{keV}}\right)^{-\Gamma} e^{-E/\beta}

    Parameters
    ----------
    PhoIndex :
        Photon index :math:`\Gamma`.
    HighECut :
        :math:`\beta`, e-folding energy of the cutoff in keV.
    norm :
        :math:`K`, photons/keV/cm^2/s at 1 keV (without the cutoff).

    Notes
    -----
    Two-point Gauss-Legendre rule per bin: relative error
    :math:`\approx [\Gamma(\Gamma+1)(\Gamma+2)(\Gamma+3)(h/E)^4 + (h/\beta)^4]/4320` for bins of width h, below 1e-6
    for bins of 3%.

    References
    ----------
    XSPEC manual, model ``cutoffpl``.
    """

    name: ClassVar[str] = "cutoffpl"

    PhoIndex: Value = parameter(Uniform(-1.0, 5.0), description="photon index", limits=_INDEX)
    HighECut: Value = parameter(
        LogUniform(1.0, 500.0), unit="keV", description="e-folding energy of the cutoff", limits=(0.01, 1e24)
    )
    norm: Value = parameter(
        LogUniform(1e-8, 1e2), unit="ph / (keV cm2 s)", description="photon flux density at 1 keV", limits=NORM
    )

    @forward_derivatives
    def evaluate(self, edges: jax.Array) -> jax.Array:
        """Photons/cm^2/s in each bin."""
        rate = 1.0 / (LN2 * self.HighECut)
        return self.norm * integrate(lambda e: jnp.exp2(-self.PhoIndex * jnp.log2(e) - rate * e), edges)


@register
class BrokenPowerLaw(Additive):
    r"""Power law whose index changes at one energy, integrated exactly.

    .. math::

        A(E) = \begin{cases}
            K (E/1\,\mathrm{keV})^{-\Gamma_1} & E \le E_b \\
            K (E_b/1\,\mathrm{keV})^{\Gamma_2 - \Gamma_1} (E/1\,\mathrm{keV})^{-\Gamma_2} & E > E_b
        \end{cases}

    Parameters
    ----------
    PhoIndx1 :
        Photon index :math:`\Gamma_1` below the break.
    BreakE :
        Break energy :math:`E_b` in keV.
    PhoIndx2 :
        Photon index :math:`\Gamma_2` above the break.
    norm :
        :math:`K`, photons/keV/cm^2/s at 1 keV (of the lower power law).

    Notes
    -----
    The integral is exact to 1e-13 in every bin, the one that holds the break included.

    References
    ----------
    XSPEC manual, model ``bknpower``.
    """

    name: ClassVar[str] = "bknpower"

    PhoIndx1: Value = parameter(Uniform(-1.0, 5.0), description="photon index below the break", limits=_INDEX)
    BreakE: Value = parameter(LogUniform(0.1, 100.0), unit="keV", description="break energy", limits=(0.0, 1e6))
    PhoIndx2: Value = parameter(Uniform(-1.0, 5.0), description="photon index above the break", limits=_INDEX)
    norm: Value = parameter(
        LogUniform(1e-8, 1e2), unit="ph / (keV cm2 s)", description="photon flux density at 1 keV", limits=NORM
    )

    @forward_derivatives
    def evaluate(self, edges: jax.Array) -> jax.Array:
        """Photons/cm^2/s in each bin."""
        soft, hard, log_break = 1.0 - self.PhoIndx1, 1.0 - self.PhoIndx2, jnp.log2(self.BreakE)
        position = jnp.log2(edges) - log_break
        below = position <= 0.0
        value = jnp.exp2(jnp.where(below, soft, hard) * position)
        lower = _segment(soft, jnp.where(below, position, 0.0), jnp.where(below, value, 1.0))
        upper = _segment(hard, jnp.where(below, 0.0, position), jnp.where(below, 1.0, value))
        return self.norm * jnp.exp2(soft * log_break) * (lower + upper)


@register
class LogParabola(Additive):
    r"""Power law whose index changes with the logarithm of energy.

    .. math:: A(E) = K \left(\frac{E}{E_p}\right)^{-\alpha - \beta \log_{10}(E/E_p)}

    Parameters
    ----------
    alpha :
        Photon index :math:`\alpha` at the pivot energy.
    beta :
        Curvature :math:`\beta`.
    pivotE :
        Pivot energy :math:`E_p` in keV; fixed at 1 by default.
    norm :
        :math:`K`, photons/keV/cm^2/s at the pivot energy.

    Notes
    -----
    Two-point Gauss-Legendre rule per bin: relative error below 3e-6 for bins of 3%, 4e-4 for bins of 10%, over the
    default priors between 0.1 and 20 keV (reached where the slope is 10; 1e-8 and 1e-6 at slope 2).

    References
    ----------
    Massaro et al. 2004, A&A 413, 489; XSPEC manual, model ``logpar``.
    """

    name: ClassVar[str] = "logpar"

    alpha: Value = parameter(Uniform(-1.0, 5.0), description="photon index at the pivot energy", limits=_INDEX)
    beta: Value = parameter(Uniform(-2.0, 2.0), description="curvature", limits=(-4.0, 4.0))
    pivotE: Value = parameter(1.0, unit="keV", description="pivot energy", limits=(1e-4, 1e6))
    norm: Value = parameter(
        LogUniform(1e-8, 1e2), unit="ph / (keV cm2 s)", description="photon flux density at pivotE", limits=NORM
    )

    @forward_derivatives
    def evaluate(self, edges: jax.Array) -> jax.Array:
        """Photons/cm^2/s in each bin."""
        log_pivot, curvature = jnp.log2(self.pivotE), LN2 / jnp.log(10.0) * self.beta

        def density(energy: jax.Array) -> jax.Array:
            log_ratio = jnp.log2(energy) - log_pivot
            return jnp.exp2(-(self.alpha + curvature * log_ratio) * log_ratio)

        return self.norm * integrate(density, edges)


def _segment(slope: jax.Array, log_edges: jax.Array, value: jax.Array) -> jax.Array:
    """Integral of E^(slope - 1) dE from its values times E, E^slope, at the edges (given as binary logarithms)."""
    width = LN2 * (log_edges[1:] - log_edges[:-1])
    return width * mean_exponential(value[:-1], value[1:], 0.5 * slope * width)
