"""A grey body with a power law in the mid-infrared."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.galaxy.dust.greybody import LIGHT, PLANCK_OVER_BOLTZMANN
from skyfold.galaxy.dust.law import DustEmission
from skyfold.parameters import Value, parameter
from skyfold.priors import Uniform

#: Wavelengths in micrometres between which the spectrum is normalised and outside which it is zero and negligible.
_SHORTEST, _LONGEST = 1.0, 2e4
#: Coefficients of the wavelength at which the two parts meet.
_B1, _B2, _B3, _B4 = 26.68, 6.246, 1.905e-4, 7.243e-5


class Casey2012(DustEmission):
    r"""Grey body of finite optical depth and a mid-infrared power law.

    .. math:: L_\nu \propto \frac{(1 - e^{-(\lambda_0/\lambda)^\beta}) (c/\lambda)^3}{e^{hc/\lambda kT} - 1}
        + N \lambda^\alpha e^{-(\lambda/\lambda_c)^2}

    with N such that the power law equals the grey body at :math:`\lambda_c`, apart from the cut-off factor, and

    .. math:: \lambda_c = \tfrac{3}{4} \left[(b_1 + b_2 \alpha)^{-2} + (b_3 + b_4 \alpha) T\right]^{-1}
        \,\mathrm{\mu m}

    The power law has no end at short wavelengths of its own; it stops at 1 micrometre. The integral is a sum over 300
    wavelengths, good to 1e-4.

    Parameters
    ----------
    T : temperature in K.
    beta : emissivity index.
    alpha : exponent of the mid-infrared power law.
    lambda_0 : wavelength in micrometres of optical depth 1; default 200.

    References
    ----------
    Casey 2012, MNRAS 425, 3094, eqs. 3-5 and table 1.
    """

    name: ClassVar[str] = "casey2012"
    T: Value = parameter(Uniform(15.0, 80.0), unit="K", description="dust temperature")
    beta: Value = parameter(Uniform(1.0, 2.5), description="emissivity index")
    alpha: Value = parameter(Uniform(1.0, 3.5), description="exponent of the mid-infrared power law")
    lambda_0: Value = parameter(200.0, unit="um", description="wavelength of optical depth 1")

    def emission(self, wave: Any) -> jax.Array:
        grid = np.geomspace(_SHORTEST, _LONGEST, 300)
        step = np.log(grid[1] / grid[0])
        weight = np.full(len(grid), step) - 0.5 * step * (np.isin(grid, grid[[0, -1]]))
        # the integral over frequency is one of L_nu nu over the logarithm of wavelength
        total = jnp.sum(self._shape(jnp.asarray(grid)) * weight * (LIGHT * 1e-4 / grid))
        micron = jnp.asarray(wave) * 1e-4
        inside = micron >= _SHORTEST
        return jnp.where(inside, self._shape(jnp.where(inside, micron, _SHORTEST)), 0.0) / total

    def _shape(self, micron: jax.Array) -> jax.Array:
        """Spectrum in units of that of the grey body's peak region, at wavelengths in micrometres."""
        slope = self.alpha
        meeting = 0.75 / ((_B1 + _B2 * slope) ** -2 + (_B3 + _B4 * slope) * self.T)
        power = (micron / meeting) ** slope * jnp.exp(-((micron / meeting) ** 2))
        return self._grey(micron) + self._grey(meeting) * power

    def _grey(self, micron: Any) -> jax.Array:
        x = jnp.minimum(PLANCK_OVER_BOLTZMANN * LIGHT * 1e-4 / (micron * self.T), 600.0)
        depth = (self.lambda_0 / micron) ** self.beta
        return -jnp.expm1(-depth) * x**3 * jnp.exp(-x) / -jnp.expm1(-x)
