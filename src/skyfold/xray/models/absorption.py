"""Photo-electric absorption: ``tbabs``, ``ztbabs``, ``phabs``, ``wabs``."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.annotation import Annotation
from skyfold.parameters import Value, parameter
from skyfold.priors import Uniform
from skyfold.xray.models.catalogue import register
from skyfold.xray.models.cross_sections import CrossSection, gas, interstellar
from skyfold.xray.models.spectral import REDSHIFT, Multiplicative

_COLUMN = Uniform(0.0, 10.0)


@register
class TBabs(Multiplicative):
    r"""Absorption by interstellar gas, molecules and dust (Tuebingen-Boulder).

    .. math:: A(E) = \exp(-n_H\,\sigma(E))

    The cross-section per hydrogen atom holds neutral atoms (Verner, with the resonances at the K edges of O and Ne
    and the L edges of Fe), 20% of hydrogen in molecules, and grains of 0.025 to 0.25 um in which atoms shield each
    other. In each bin it is averaged before the exponential is taken (`CrossSection.mean`), as XSPEC does.

    Parameters
    ----------
    nH : hydrogen column in 1e22/cm^2.
    abundances : XSPEC's name of the abundance table, one of ``skyfold.xray.models.abundances.SOURCES``; "wilm" is
        the one the model was made for.

    Raises
    ------
    SkyfoldError
        If there is no such abundance table.

    References
    ----------
    Wilms, Allen & McCray 2000, ApJ 542, 914. XSPEC manual, model ``tbabs`` (version 2).
    """

    name: ClassVar[str] = "tbabs"
    nH: Value = parameter(_COLUMN, unit="1e22 cm-2", description="hydrogen column", limits=(0.0, 1e6))
    abundances: Annotation = eqx.field(static=True, kw_only=True)
    cross_section: CrossSection = eqx.field(kw_only=True)

    def __init__(self, nH: Value = _COLUMN, *, abundances: str = "wilm") -> None:
        self.nH = nH
        self.abundances = Annotation(abundances)
        self.cross_section = interstellar(abundances, grains=True)

    def evaluate(self, edges: jax.Array) -> jax.Array:
        return jnp.exp(-self.nH * self.cross_section.mean(edges))


@register
class ZTBabs(Multiplicative):
    r"""Absorption by gas and molecules at a redshift: ``tbabs`` without dust.

    .. math:: A(E) = \exp(-n_H\,\sigma((1 + z) E))

    Not `TBabs` at z = 0: no atom sits in grains, where it would be shielded.

    Parameters
    ----------
    nH : hydrogen column in 1e22/cm^2.
    Redshift : redshift z of the absorber, fixed at 0 by default.
    abundances : XSPEC's name of the abundance table, as in `TBabs`.

    Raises
    ------
    SkyfoldError
        If there is no such abundance table.

    References
    ----------
    Wilms, Allen & McCray 2000, ApJ 542, 914. XSPEC manual, model ``ztbabs``.
    """

    name: ClassVar[str] = "ztbabs"
    nH: Value = parameter(_COLUMN, unit="1e22 cm-2", description="hydrogen column", limits=(0.0, 1e6))
    Redshift: Value = parameter(0.0, description="redshift", limits=REDSHIFT)
    abundances: Annotation = eqx.field(static=True, kw_only=True)
    cross_section: CrossSection = eqx.field(kw_only=True)

    def __init__(self, nH: Value = _COLUMN, Redshift: Value = 0.0, *, abundances: str = "wilm") -> None:
        self.nH = nH
        self.Redshift = Redshift
        self.abundances = Annotation(abundances)
        self.cross_section = interstellar(abundances, grains=False)

    def evaluate(self, edges: jax.Array) -> jax.Array:
        return jnp.exp(-self.nH * self.cross_section.mean(edges * (1.0 + self.Redshift)))


@register
class PHabs(Multiplicative):
    r"""Photo-electric absorption by neutral atoms.

    .. math:: A(E) = \exp(-n_H\,\sigma(E))

    The cross-section is averaged in each bin before the exponential is taken, as XSPEC does.

    Parameters
    ----------
    nH : hydrogen column in 1e22/cm^2.
    abundances : XSPEC's name of the abundance table, one of ``skyfold.xray.models.abundances.SOURCES``; default
        "wilm" (XSPEC's own default is "angr").
    cross_sections : "vern" (default; Verner et al. 1996), "bcmc" (Balucinska-Church & McCammon 1992, helium of Yan
        et al. 1998) or "obcm" (the same with the older helium).

    Raises
    ------
    SkyfoldError
        If there is no such abundance table or set of cross-sections.

    References
    ----------
    Verner & Yakovlev 1995, A&AS 109, 125. Verner et al. 1996, ApJ 465, 487. Balucinska-Church & McCammon 1992,
    ApJ 400, 699. Yan, Sadeghpour & Dalgarno 1998, ApJ 496, 1044. XSPEC manual, model ``phabs``.
    """

    name: ClassVar[str] = "phabs"
    nH: Value = parameter(_COLUMN, unit="1e22 cm-2", description="hydrogen column", limits=(0.0, 1e6))
    abundances: Annotation = eqx.field(static=True, kw_only=True)
    cross_sections: Annotation = eqx.field(static=True, kw_only=True)
    cross_section: CrossSection = eqx.field(kw_only=True)

    def __init__(self, nH: Value = _COLUMN, *, abundances: str = "wilm", cross_sections: str = "vern") -> None:
        self.nH = nH
        self.abundances = Annotation(abundances)
        self.cross_sections = Annotation(cross_sections)
        self.cross_section = gas(abundances, cross_sections)

    def evaluate(self, edges: jax.Array) -> jax.Array:
        return jnp.exp(-self.nH * self.cross_section.mean(edges))


#: Morrison & McCammon 1983, table 2: upper end in keV of each range, and c0, c1, c2 of
#: (c0 + c1 E + c2 E^2) / E^3 in 1e-24 cm^2. The first and last rows continue the fit as E^-3, as XSPEC does.
_WISCONSIN = np.array(
    [
        [0.03, 33.6, 0.0, 0.0],
        [0.1, 17.3, 608.1, -2150.0],
        [0.284, 34.6, 267.9, -476.1],
        [0.4, 78.1, 18.8, 4.3],
        [0.532, 71.4, 66.8, -51.4],
        [0.707, 95.5, 145.8, -61.1],
        [0.867, 308.9, -380.6, 294.0],
        [1.303, 120.6, 169.3, -47.7],
        [1.84, 141.3, 146.8, -31.5],
        [2.471, 202.7, 104.7, -17.0],
        [3.21, 342.7, 18.7, 0.0],
        [4.038, 352.2, 18.7, 0.0],
        [7.111, 433.9, -2.4, 0.75],
        [8.331, 629.0, 30.9, 0.0],
        [10.0, 701.2, 25.2, 0.0],
        [np.inf, 953.2, 0.0, 0.0],
    ]
)
_WISCONSIN_START = 0.0136  # keV: hydrogen lets everything below pass


@register
class Wabs(Multiplicative):
    r"""Photo-electric absorption with the Wisconsin cross-sections; of historical interest, prefer `TBabs`.

    .. math:: A(E) = \exp(-n_H\,\sigma(E)), \quad \sigma = (c_0 + c_1 E + c_2 E^2)\,E^{-3}

    Abundances are those of Anders & Ebihara 1982. As in XSPEC the transmission, not the cross-section, is averaged
    in each bin: trapezoids between the bin's ends and the edge it may hold (a bin with several edges is broken at the
    lowest).

    Parameters
    ----------
    nH : hydrogen column in 1e22/cm^2.

    References
    ----------
    Morrison & McCammon 1983, ApJ 270, 119. XSPEC manual, model ``wabs``.
    """

    name: ClassVar[str] = "wabs"
    nH: Value = parameter(_COLUMN, unit="1e22 cm-2", description="hydrogen column", limits=(0.0, 1e6))
    coefficients: np.ndarray = eqx.field(kw_only=True)

    def __init__(self, nH: Value = _COLUMN) -> None:
        self.nH = nH
        self.coefficients = _WISCONSIN

    def evaluate(self, edges: jax.Array) -> jax.Array:
        table = jnp.asarray(self.coefficients)
        low, high = edges[:-1], edges[1:]
        first = table[jnp.searchsorted(table[:, 0], low, side="right")]
        last = table[jnp.searchsorted(table[:, 0], high, side="left")]
        turn = jnp.minimum(first[:, 0], high)
        left = self._transmission(first, low) + self._transmission(first, turn)
        right = self._transmission(last, turn) + self._transmission(last, high)
        return 0.5 * ((turn - low) * left + (high - turn) * right) / (high - low)

    def _transmission(self, row: jax.Array, energy: jax.Array) -> jax.Array:
        sigma = 0.01 * (row[:, 1] / energy + row[:, 2] + row[:, 3] * energy) / energy**2
        return jnp.exp(-self.nH * jnp.where(energy < _WISCONSIN_START, 0.0, sigma))
