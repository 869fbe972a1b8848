"""Operators to try the algebra with: a redshift, a smoothing, a flux as a parameter."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.parameters import Value, parameter
from skyfold.xray.models.spectral import SpectralOperator


class Shift(SpectralOperator):
    """Spectrum of a source that recedes, without time dilation."""

    name: ClassVar[str] = "shift"
    z: Value = parameter(0.1)

    def evaluate(self, edges: jax.Array) -> jax.Array:
        return self.inner.evaluate(edges * (1 + self.z)) / (1 + self.z)


class Smooth(SpectralOperator):
    """Smoothing by a normal of constant width; each bin's photons go into all bins."""

    name: ClassVar[str] = "smooth"
    width: Value = parameter(0.3)

    def needs(self, grid: Any, whole: np.ndarray) -> np.ndarray:
        return super().needs(whole, whole)

    def evaluate(self, edges: jax.Array) -> jax.Array:
        middles = 0.5 * (edges[1:] + edges[:-1])
        share = jax.scipy.special.ndtr((edges[:, None] - middles) / self.width)
        return jnp.diff(share, axis=0) @ self.inner.evaluate(edges)


class Flux(SpectralOperator):
    """What lies inside, scaled to a photon flux between 1 and 2 keV."""

    name: ClassVar[str] = "photons"
    linear: ClassVar[bool] = False
    flux: Value = parameter(1.0)

    def evaluate(self, edges: jax.Array) -> jax.Array:
        band = jnp.linspace(1.0, 2.0, 501)
        return self.inner.evaluate(edges) * self.flux / jnp.sum(self.inner.evaluate(band))
