"""Write a component of your own, here a power law with a smooth low-energy turnover, and fit with it."""

from typing import ClassVar

import jax.numpy as jnp

import skyfold as sf
from skyfold import xray
from skyfold.data import demo_spectrum
from skyfold.parameters import Value, parameter
from skyfold.xray.models import Additive, TBabs


class TurnoverPowerLaw(Additive):
    r"""Power law that turns over below `turnE`: :math:`A(E) = K E^{-\Gamma} / (1 + (E_t / E)^2)`."""

    name: ClassVar[str] = "turnpl"
    PhoIndex: Value = parameter(sf.Uniform(0, 5), description="photon index")
    turnE: Value = parameter(sf.LogUniform(0.1, 5), unit="keV", description="turnover energy")
    norm: Value = parameter(
        sf.LogUniform(1e-6, 1e-1), unit="photons/keV/cm^2/s", description="flux at 1 keV, no turnover"
    )

    def evaluate(self, edges):
        # Simpson's rule in each bin
        low, high = edges[:-1], edges[1:]
        return (high - low) / 6 * (self.density(low) + 4 * self.density((low + high) / 2) + self.density(high))

    def density(self, energy):
        return self.norm * jnp.exp(-self.PhoIndex * jnp.log(energy)) / (1 + (self.turnE / energy) ** 2)


spectrum = xray.Spectrum.read(demo_spectrum()).notice(0.5, 8.0)
model = TBabs(nH=sf.Uniform(0, 1)) * TurnoverPowerLaw()
print(sf.Posterior((model, spectrum)).fit("mle"))
