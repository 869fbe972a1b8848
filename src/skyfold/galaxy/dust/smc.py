"""Extinction of the bar of the Small Magellanic Cloud."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.galaxy.dust.law import Screen

#: Total to selective extinction of the bar, and the coefficients of Fitzpatrick & Massa 1990 fitted to it.
_RV = 2.74
_C1, _C2, _C3, _C4, _X0, _GAMMA = -4.959, 2.264, 0.389, 0.461, 4.6, 1.0
#: Optical and near-infrared extinction over that in V by wavelength in micrometres; those at 2.198 and 1.25 are the
#: smoothed values of Gordon et al. 2016.
_MICRON = (2.198, 1.65, 1.25, 0.81, 0.65, 0.55, 0.44, 0.37)
_OVER_AV = (0.11, 0.169, 0.25, 0.567, 0.801, 1.0, 1.374, 1.672)
#: Wavelengths in micrometres at which the optical curve is tied to the ultraviolet one, which holds from the first.
_ANCHORS = (0.27, 0.26)


class SMC(Screen):
    r"""Extinction law of the bar of the Small Magellanic Cloud: steep, almost without a bump.

    With :math:`x = 1\,\mathrm{\mu m}/\lambda`, above x = 3.7

    .. math:: k = 1 + \frac{1}{R_V} \left[c_1 + c_2 x + \frac{c_3 x^2}{(x^2 - x_0^2)^2 + \gamma^2 x^2}
        + c_4 (0.5392\,y^2 + 0.05644\,y^3)\right], \quad y = \max(x - 5.9, 0)

    and below it a natural cubic spline in x through the photometric points, zero at x = 0. Below 1000 Angstrom k keeps
    its value at 1000 Angstrom.

    Parameters
    ----------
    Av : extinction in V, magnitudes.

    References
    ----------
    Gordon et al. 2003, ApJ 594, 279, tables 3 and 4; Gordon et al. 2016, ApJ 826, 104; Fitzpatrick 1999, PASP 111, 63
    (the spline).
    """

    name: ClassVar[str] = "smc"

    def curve(self, wave: Any) -> jax.Array:
        x = 1e4 / jnp.maximum(jnp.asarray(wave), 1000.0)
        knots, coefficients = _spline()
        place = jnp.clip(jnp.searchsorted(knots, x, side="right", method="compare_all") - 1, 0, len(knots) - 2)
        d = x - jnp.asarray(knots)[place]
        c = jnp.asarray(coefficients)[:, place]
        return jnp.where(x < knots[-2], ((c[0] * d + c[1]) * d + c[2]) * d + c[3], _ultraviolet(x))


def _ultraviolet(x: Any) -> Any:
    y = 0.5 * (x - 5.9 + abs(x - 5.9))
    bump = x**2 / ((x**2 - _X0**2) ** 2 + (_GAMMA * x) ** 2)
    return 1.0 + (_C1 + _C2 * x + _C3 * bump + _C4 * (0.5392 + 0.05644 * y) * y**2) / _RV


@lru_cache(maxsize=1)
def _spline() -> tuple[np.ndarray, np.ndarray]:
    """Knots (n,) and coefficients (4, n - 1), highest power first, of the optical curve."""
    from scipy.interpolate import CubicSpline

    anchors = 1.0 / np.array(_ANCHORS)
    knots = np.concatenate([[0.0], 1.0 / np.array(_MICRON), anchors])
    values = np.concatenate([[0.0], _OVER_AV, _ultraviolet(anchors)])
    spline = CubicSpline(knots, values, bc_type="natural")
    return knots, np.asarray(spline.c)
