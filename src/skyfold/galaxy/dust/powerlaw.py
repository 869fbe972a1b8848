"""Power-law attenuation."""

from __future__ import annotations

from typing import Any, ClassVar

import jax

from skyfold.galaxy.dust.law import Screen
from skyfold.parameters import Value, parameter


class PowerLawDust(Screen):
    r"""Attenuation that is a power of wavelength.

    .. math:: k(\lambda) = (\lambda / 5500\,\mathrm{\AA})^{s}

    Parameters
    ----------
    Av : attenuation at 5500 Angstrom, magnitudes.
    slope : exponent s, default -0.7.

    References
    ----------
    Charlot & Fall 2000, ApJ 539, 718.
    """

    name: ClassVar[str] = "dust_powerlaw"
    slope: Value = parameter(-0.7, description="exponent of the attenuation")

    def curve(self, wave: Any) -> jax.Array:
        return (wave / 5500.0) ** self.slope
