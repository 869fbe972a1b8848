"""Write a component of your own, here a Wien spectrum, and fit with it."""

from typing import ClassVar

import jax.numpy as jnp

import skyfold as sf
from skyfold import xray
from skyfold.data import demo_spectrum
from skyfold.parameters import Value, parameter
from skyfold.xray.models import Additive, PowerLaw, TBabs


class Wien(Additive):
    """Wien spectrum, integrated exactly: K E^2 exp(-E / kT) photons/keV/cm^2/s."""

    name: ClassVar[str] = "wien"
    kT: Value = parameter(sf.Uniform(0.1, 5), unit="keV", description="temperature")
    norm: Value = parameter(
        sf.LogUniform(1e-6, 1), unit="photons/keV^3/cm^2/s", description="flux over E^2 far below kT"
    )

    def evaluate(self, edges):
        above = self.kT * jnp.exp(-edges / self.kT) * (edges**2 + 2 * edges * self.kT + 2 * self.kT**2)
        return self.norm * (above[:-1] - above[1:])


spectrum = xray.Spectrum.read(demo_spectrum()).notice(0.5, 8.0)
model = TBabs(nH=sf.Uniform(0, 1)) * (PowerLaw(norm=sf.LogUniform(1e-6, 1e-2)) + Wien())
print(sf.Posterior((model, spectrum)).fit("map"))
