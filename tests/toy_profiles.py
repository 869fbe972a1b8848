"""Toy posteriors whose profile likelihoods are known."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from scipy.special import ndtri
from toys import Direct, Identity

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.component import Component
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.parameters import Value, parameter


class Line(Component):
    name: ClassVar[str] = "line"
    abscissa: np.ndarray
    offset: Value = parameter(sf.Uniform(-10.0, 10.0), unit="m")
    slope: Value = parameter(sf.Uniform(-10.0, 10.0), unit="m/s")

    def evaluate(self, grid):
        return self.offset + self.slope * jnp.asarray(self.abscissa)


X = np.linspace(0.0, 4.0, 9)
SIGMA = 0.3 + 0.05 * X
DATA = 1.0 + 0.7 * X + 0.3 * np.cos(7 * X)


def line(**priors) -> sf.Posterior:
    return sf.Posterior((Line(abscissa=X, **priors), Direct(Gaussian(DATA, SIGMA), Annotation("line"))))


def least_squares() -> tuple[np.ndarray, np.ndarray]:
    design = np.stack([np.ones_like(X), X], axis=1) / SIGMA[:, None]
    covariance = np.linalg.inv(design.T @ design)
    return covariance @ design.T @ (DATA / SIGMA), covariance


class Twofold(Identity):
    """A square, and the value itself."""

    name: ClassVar[str] = "twofold"

    def evaluate(self, grid):
        return jnp.stack([self.x**2, self.x])


def twofold(sigma: float) -> sf.Posterior:
    return sf.Posterior((Twofold(x=sf.Uniform(-5.0, 5.0)), Direct(Gaussian([4.0, 0.5], [sigma, 3.0]), Annotation("d"))))


def latent(posterior: sf.Posterior, x: float) -> np.ndarray:
    return np.array([ndtri((x + 5.0) / 10.0)])
