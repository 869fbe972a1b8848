"""The starburst law with a free slope and a free bump, at a ratio of total to selective attenuation that follows."""

from __future__ import annotations

from typing import Any, ClassVar

import jax

from skyfold.galaxy.dust.calzetti import RV, starburst
from skyfold.galaxy.dust.kriek_conroy import drude
from skyfold.galaxy.dust.law import Screen
from skyfold.parameters import Value, parameter
from skyfold.priors import Uniform


class Salim(Screen):
    r"""Modified starburst law.

    .. math:: k(\lambda) = \frac{k'(\lambda)}{4.05} \left(\frac{\lambda}{5500\,\mathrm{\AA}}\right)^{\delta}
            + \frac{B D(\lambda)}{R_V}, \quad
        R_V = \frac{4.05}{5.05\,(4400/5500)^{\delta} - 4.05}

    with :math:`k'` of Calzetti et al. 2000 and D a Drude profile at 2175 Angstrom, 350 Angstrom wide.

    Parameters
    ----------
    Av : attenuation in V, magnitudes.
    slope : power :math:`\delta`. :math:`R_V` is positive below 0.98.
    bump : amplitude B of the bump in units of A/E(B-V) (3 in the Milky Way).

    References
    ----------
    Salim, Boquien & Lee 2018, ApJ 859, 11, eqs. 2-4; Noll et al. 2009, A&A 507, 1793.
    """

    name: ClassVar[str] = "salim"
    slope: Value = parameter(Uniform(-1.2, 0.4), description="slope relative to the starburst law")
    bump: Value = parameter(Uniform(0.0, 5.0), description="amplitude of the 2175 Angstrom bump")

    def curve(self, wave: Any) -> jax.Array:
        # 1/R_V is linear in the colour of the law and passes through zero without harm
        over_rv = ((RV + 1.0) * (4400.0 / 5500.0) ** self.slope - RV) / RV
        return starburst(wave) / RV * (wave / 5500.0) ** self.slope + self.bump * drude(wave) * over_rv
