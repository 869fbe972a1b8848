"""Throw-away observations of other domains and toy posteriors: they prove that the core knows none of them."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.component import Component
from skyfold.inference.running.progress import Progress
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.poisson import Poisson
from skyfold.observation import Observation
from skyfold.parameters import Value, parameter
from skyfold.priors import LogUniform, Normal, Uniform


class Template(Component):
    """A map of expected counts times a norm."""

    name: ClassVar[str] = "template"
    pattern: np.ndarray
    norm: Value = parameter(LogUniform(1e-2, 1e2), unit="counts", description="mean counts per pixel")

    def evaluate(self, grid: jax.Array) -> jax.Array:
        return self.norm * jnp.asarray(self.pattern)[grid]


class Image(Observation):
    """A Poisson image: counts on pixels, with an exposure."""

    pixels: np.ndarray
    exposure: np.ndarray

    def predict(self, model: Component) -> jax.Array:
        return self.exposure * model.evaluate(self.pixels)


class Greybody(Component):
    """An amplitude and a temperature seen through bands."""

    name: ClassVar[str] = "greybody"
    amplitude: Value = parameter(Uniform(0.0, 10.0), unit="Jy")
    temperature: Value = parameter(Normal(5.0, 1.0), unit="um")

    def evaluate(self, grid: jax.Array) -> jax.Array:
        return self.amplitude * jnp.exp(-0.5 * ((grid - self.temperature) / 2.0) ** 2)


class Photometry(Observation):
    """Gaussian fluxes through top-hat bands, a band being a row of weights on a wavelength grid."""

    wavelengths: np.ndarray
    bands: np.ndarray
    offset: Value = parameter(0.0, unit="Jy", description="zero point")

    def predict(self, model: Component) -> jax.Array:
        return self.bands @ model.evaluate(self.wavelengths) + self.offset


IMAGE_TRUTH = {"template.norm": 8.0, "template_2.norm": 3.0}


def image(seed: int = 1, n: int = 400) -> Image:
    rng = np.random.default_rng(seed)
    exposure = 1.0 + 0.2 * np.cos(np.arange(n) / 40.0)
    expected = exposure * (8.0 * _bulge(n) + 3.0)
    return Image(Poisson(rng.poisson(expected)), Annotation("image"), np.arange(n), exposure)


def _bulge(n: int) -> np.ndarray:
    x = np.linspace(-3, 3, n)
    return np.exp(-0.5 * x**2)


def sky(n: int = 400) -> Component:
    return Template(pattern=_bulge(n)) + Template(pattern=np.ones(n))


def photometry(seed: int = 2, **own: object) -> Photometry:
    rng = np.random.default_rng(seed)
    wavelengths = np.linspace(1, 10, 200)
    centres = np.linspace(2, 9, 7)
    bands = np.abs(wavelengths - centres[:, None]) < 0.5
    weights = bands / bands.sum(axis=1, keepdims=True)
    flux = weights @ (4.0 * np.exp(-0.5 * ((wavelengths - 5.5) / 2.0) ** 2))
    noise = np.full(7, 0.1)
    return Photometry(
        Gaussian(flux + noise * rng.standard_normal(7), noise), Annotation("bands"), wavelengths, weights, **own
    )


class Identity(Component):
    """A vector that the observation sees as it is: toy posteriors of known shape."""

    name: ClassVar[str] = "vector"
    x: Value = parameter()

    def evaluate(self, grid: jax.Array) -> jax.Array:
        return jnp.atleast_1d(self.x)


class Direct(Observation):
    """Sees a model without an instrument."""

    def predict(self, model: Component) -> jax.Array:
        return model.evaluate(None)


def direct(data: list[float], sigma: list[float], prior: object) -> sf.Posterior:
    return sf.Posterior((Identity(x=prior), Direct(Gaussian(data, sigma), Annotation("direct"))))


class Squared(Identity):
    """The squares of the parameters: two modes for each."""

    name: ClassVar[str] = "squared"

    def evaluate(self, grid: Any) -> jax.Array:
        return jnp.atleast_1d(self.x) ** 2


#: Data and noise of a posterior that is normal, and its exact mean and standard deviation.
DATA, SIGMA = np.array([2.0, -1.0, 0.3]), np.array([0.5, 2.0, 0.05])
PRECISION = 1 / SIGMA**2
MEAN, SD = PRECISION * DATA / (PRECISION + 1), 1 / np.sqrt(PRECISION + 1)


def run(method: Any, posterior: sf.Posterior, seed: int = 0, *checkpoint: Any, **more: Any) -> Any:
    """Draws of a method, without progress bar."""
    return method(posterior, seed, Progress(False), *checkpoint, **more)
