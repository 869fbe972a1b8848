"""Attenuation of starburst galaxies."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from skyfold.galaxy.dust.law import Screen

#: Total to selective attenuation of the starburst law.
RV = 4.05
#: Wavelength in micrometres below which the starburst law was not measured.
_SHORTEST = 0.12
#: Logarithmic slope of attenuation near 1200 Angstrom, of Leitherer et al. 2002.
_FAR_UV_SLOPE = -0.75


def starburst(wave: Any) -> jax.Array:
    r"""Attenuation over reddening, :math:`k'(\lambda) = A(\lambda)/E(B-V)`, of Calzetti et al. 2000, eq. 4.

    Parameters
    ----------
    wave : (n_wave,) rest-frame wavelength in Angstrom. Below 1200 Angstrom, where nothing was measured, the curve goes
        on as the power -0.75 of wavelength (the slope of Leitherer et al. 2002, ApJS 140, 303, at 1200 Angstrom);
        where the formula turns negative, at 3.1 micrometres, it stays 0.
    """
    micron = jnp.asarray(wave) * 1e-4
    x = 1.0 / jnp.maximum(micron, _SHORTEST)
    blue = -2.156 + x * (1.509 + x * (-0.198 + x * 0.011))
    red = -1.857 + 1.040 * x
    k = jnp.maximum(2.659 * jnp.where(micron < 0.63, blue, red) + RV, 0.0)
    return k * jnp.minimum(micron / _SHORTEST, 1.0) ** _FAR_UV_SLOPE


class Calzetti(Screen):
    r"""Attenuation law of starburst galaxies.

    .. math:: k(\lambda) = k'(\lambda) / 4.05

    with :math:`k'` in two polynomials of :math:`1/\lambda` that meet, with a step of 0.7%, at 6300 Angstrom. Outside
    0.12 - 2.2 micrometres see `starburst`.

    Parameters
    ----------
    Av : attenuation in V, magnitudes.

    References
    ----------
    Calzetti et al. 2000, ApJ 533, 682, eq. 4.
    """

    name: ClassVar[str] = "calzetti"

    def curve(self, wave: Any) -> jax.Array:
        return starburst(wave) / RV
