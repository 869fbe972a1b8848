"""What every dust law and every dust emission can do."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from skyfold.component import Component
from skyfold.parameters import Value, parameter
from skyfold.priors import Uniform


class DustLaw(Component):
    """Base of the dust laws: what is left of starlight at every wavelength.

    Every law has ``t_birth``, the age in Gyr at which stars leave the clouds they were born in.
    """

    kind: ClassVar[str] = "multiplicative"

    def transmission(self, wave: Any) -> tuple[jax.Array, jax.Array]:
        r"""Fraction :math:`e^{-\tau}` of the light of young and of old stars that leaves the galaxy.

        Parameters
        ----------
        wave : (n_wave,) rest-frame wavelength in Angstrom.

        Returns
        -------
        young, old : (n_wave,) arrays, for stars younger and older than `t_birth`.
        """
        raise NotImplementedError

    def evaluate(self, grid: Any) -> jax.Array:
        """Transmission of the light of old stars at rest-frame wavelengths `grid`, Angstrom."""
        return self.transmission(grid)[1]


class Screen(DustLaw):
    r"""Base of the laws that treat all stars alike.

    .. math:: T(\lambda) = 10^{-0.4 A_V k(\lambda)}, \quad k(\lambda) = A(\lambda) / A_V

    Parameters
    ----------
    Av : attenuation in the V band, magnitudes.
    """

    t_birth: ClassVar[float] = 0.01
    Av: Value = parameter(Uniform(0.0, 4.0), unit="mag", description="attenuation in V")

    def curve(self, wave: Any) -> jax.Array:
        """Attenuation over that in V, k (n_wave,), at rest-frame wavelengths in Angstrom."""
        raise NotImplementedError

    def transmission(self, wave: Any) -> tuple[jax.Array, jax.Array]:
        left = jnp.exp(-0.4 * jnp.log(10.0) * self.Av * self.curve(jnp.asarray(wave)))
        return left, left


class DustEmission(Component):
    """Base of what dust sends out again."""

    def emission(self, wave: Any) -> jax.Array:
        """Spectrum of one absorbed solar luminosity, Lsun/Hz (n_wave,), at rest-frame wavelengths in Angstrom.

        Its integral over all frequencies is 1, whatever part of them `wave` covers.
        """
        raise NotImplementedError

    def evaluate(self, grid: Any) -> jax.Array:
        """Spectrum of one absorbed solar luminosity, Lsun/Hz, at rest-frame wavelengths `grid`, Angstrom."""
        return self.emission(grid)
