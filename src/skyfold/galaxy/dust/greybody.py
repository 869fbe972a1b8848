"""Modified black body."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from skyfold.galaxy.dust.law import DustEmission
from skyfold.parameters import Value, parameter
from skyfold.priors import Uniform

#: Speed of light in Angstrom/s; Planck's constant over Boltzmann's in K s (CODATA 2018, exact).
LIGHT = 2.99792458e18
PLANCK_OVER_BOLTZMANN = 6.62607015e-34 / 1.380649e-23


class ModifiedBlackBody(DustEmission):
    r"""Optically thin dust of one temperature.

    .. math:: L_\nu \propto \frac{\nu^{3+\beta}}{e^{h\nu/kT} - 1}, \quad
        \int L_\nu\,d\nu = 1 \Leftrightarrow
        L_\nu = \frac{h}{kT} \frac{x^{3+\beta} / (e^x - 1)}{\Gamma(4+\beta)\,\zeta(4+\beta)}, \; x = \frac{h\nu}{kT}

    Parameters
    ----------
    T : temperature in K.
    beta : emissivity index.

    References
    ----------
    Hildebrand 1983, QJRAS 24, 267.
    """

    name: ClassVar[str] = "modified_black_body"
    T: Value = parameter(Uniform(10.0, 80.0), unit="K", description="dust temperature")
    beta: Value = parameter(Uniform(1.0, 2.5), description="emissivity index")

    def emission(self, wave: Any) -> jax.Array:
        period = PLANCK_OVER_BOLTZMANN / self.T
        x = jnp.minimum(period * LIGHT / jnp.asarray(wave), 600.0)
        order = 4.0 + self.beta
        log_norm = gammaln(order) + jnp.log(_zeta(order))
        return period * jnp.exp((order - 1.0) * jnp.log(x) - x - jnp.log1p(-jnp.exp(-x)) - log_norm)


def _zeta(s: Any) -> jax.Array:
    """Riemann's zeta of s >= 4: ten terms and the integral with its first corrections (1e-13)."""
    n = jnp.arange(1.0, 11.0)
    end = 11.0
    tail = end ** (1.0 - s) / (s - 1.0) + 0.5 * end**-s + s * end ** (-s - 1.0) / 12.0
    return jnp.sum(n**-s) + tail - s * (s + 1.0) * (s + 2.0) * end ** (-s - 3.0) / 720.0
