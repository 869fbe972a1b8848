"""The starburst law with a slope and an ultraviolet bump."""

from __future__ import annotations

from typing import Any, ClassVar

import jax

from skyfold.galaxy.dust.calzetti import RV, starburst
from skyfold.galaxy.dust.law import Screen
from skyfold.parameters import Value, parameter
from skyfold.priors import Uniform


def drude(wave: Any) -> jax.Array:
    """Drude profile of the ultraviolet bump, 1 at 2175 Angstrom, of full width 350 Angstrom, at `wave` (Angstrom)."""
    width = (350.0 * wave) ** 2
    return width / ((wave**2 - 2175.0**2) ** 2 + width)


class KriekConroy(Screen):
    r"""Starburst law times a power of wavelength, with a bump tied to that power.

    .. math:: k(\lambda) = \frac{k'(\lambda) + E_b D(\lambda)}{4.05} \left(\frac{\lambda}{5500\,\mathrm{\AA}}\right)^n,
        \quad E_b = 0.85 - 1.9 n

    with :math:`k'` of Calzetti et al. 2000 and D a Drude profile at 2175 Angstrom, 350 Angstrom wide.

    Parameters
    ----------
    Av : attenuation in V, magnitudes.
    slope : exponent n (0: the starburst law, negative: steeper).
    bump : strength of the bump over that of the relation :math:`E_b(n)`; default 1.

    References
    ----------
    Kriek & Conroy 2013, ApJ 775, L16, eqs. 1-3; Noll et al. 2009, A&A 507, 1793.
    """

    name: ClassVar[str] = "kriek_conroy"
    slope: Value = parameter(Uniform(-1.0, 0.4), description="slope relative to the starburst law")
    bump: Value = parameter(1.0, description="bump over that of the relation with the slope")

    def curve(self, wave: Any) -> jax.Array:
        strength = self.bump * (0.85 - 1.9 * self.slope)
        return (starburst(wave) + strength * drude(wave)) / RV * (wave / 5500.0) ** self.slope
