"""Frame: unbounded, whitened coordinates for samplers that follow gradients.

Where the posterior is narrow against a bounded prior the coordinate v is that of the unit interval, bent only near
the ends: t = s log((1 + exp(v/s)) / (1 + exp((v - 1)/s))), linear in between. Elsewhere v is the latent coordinate.
The sampler moves in u, v = mean + root u.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit, ndtri

from skyfold.inference.frames.unit_or_normal import Laplace
from skyfold.inference.running import RunState
from skyfold.kernel import Kernel

#: Largest number below 1: no coordinate is further than 8.1 from the middle.
_WHOLE = float(np.nextafter(1.0, 0.0))


class Bend(eqx.Module):
    """The map v -> z; its numbers are traced, so that one executable serves every choice.

    Attributes
    ----------
    unit : (ndim,) bool, where v is a bent unit interval.
    scale : (ndim,) distance s from the ends at which it bends.
    """

    unit: Any
    scale: Any

    def latent(self, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Latent vector (ndim,) and log density of the prior in v."""
        x = jnp.where(self.unit, v, 0.5)
        s = self.scale
        t = s * (jax.nn.softplus(x / s) - jax.nn.softplus((x - 1.0) / s))
        z = jnp.where(self.unit, np.sqrt(2.0) * jax.lax.erf_inv(jnp.clip(2.0 * t - 1.0, -_WHOLE, _WHOLE)), v)
        # log dt/dv = log(sigmoid(v/s) - sigmoid((v - 1)/s)), in a form without cancellation
        slope = jax.nn.log_sigmoid(x / s) + jax.nn.log_sigmoid((1.0 - x) / s) + jnp.log(-jnp.expm1(-1.0 / s))
        normal = -0.5 * z**2 - 0.5 * jnp.log(2 * jnp.pi)
        return z, jnp.sum(jnp.where(self.unit, slope, normal))

    def straight(self, v: np.ndarray) -> np.ndarray:
        """Coordinates t (see `Coordinates`) of coordinates v (..., ndim)."""
        unit, s = np.asarray(self.unit), np.asarray(self.scale)
        x = np.where(unit, v, 0.5)
        return np.where(unit, s * (np.logaddexp(0.0, x / s) - np.logaddexp(0.0, (x - 1.0) / s)), v)

    def positions(self, v: np.ndarray) -> np.ndarray:
        """Latent vectors of coordinates v (..., ndim)."""
        t = np.clip(self.straight(v), 0.5 - 0.5 * _WHOLE, 0.5 + 0.5 * _WHOLE)
        return np.where(np.asarray(self.unit), ndtri(t), v)

    def inverse(self, t: np.ndarray) -> np.ndarray:
        """Coordinate v for coordinates t (n, ndim) (see `Coordinates`)."""
        unit, s = np.asarray(self.unit), np.asarray(self.scale)
        x = np.where(unit, np.clip(t, 1e-300, 1.0 - 1e-16), 0.5)
        v = s * (x / s + np.log(-np.expm1(-x / s)) - np.log(-np.expm1((x - 1.0) / s)))
        return np.where(unit, v, t)

    def log_slope(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log dt/dv (n, ndim) and its derivative by v."""
        unit, s = np.asarray(self.unit), np.asarray(self.scale)
        value = np.log(-np.expm1(-1.0 / s)) - np.logaddexp(0, -v / s) - np.logaddexp(0, (v - 1.0) / s)
        derivative = (expit(-v / s) - expit((v - 1.0) / s)) / s
        return np.where(unit, value, 0.0), np.where(unit, derivative, 0.0)


@dataclass(frozen=True)
class Frame:
    """Whitened coordinates u of bent coordinates v."""

    bend: Bend
    mean: np.ndarray
    root: np.ndarray

    @classmethod
    def of(cls, laplace: Laplace) -> Frame:
        """Frame of the Laplace approximation at the best mode."""
        width = np.sqrt(np.diagonal(laplace.covariance[0]))
        bend = Bend(laplace.coordinates.unit, np.clip(0.5 * width, 2e-3, 1.0))
        v = bend.inverse(laplace.means[:1])
        slope = np.exp(bend.log_slope(v)[0][0])
        covariance = laplace.covariance[0] / (slope[:, None] * slope[None, :])
        return cls(bend, v[0], np.linalg.cholesky(covariance))

    def entering(self, old: Frame, u: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions and gradients (n, ndim) of points that were in another frame of the same bend."""
        v = old.mean + u @ old.root.T
        return self.position(v), np.linalg.solve(old.root.T, gradient.T).T @ self.root

    def adapted(self, v: np.ndarray) -> Frame:
        """Frame of the mean and covariance of draws v (n, ndim), shrunk towards the present one."""
        ndim = v.shape[1]
        trust = len(v) / (len(v) + 20.0 * ndim)
        covariance = trust * np.atleast_2d(np.cov(v.T)) + (1.0 - trust) * self.root @ self.root.T
        return replace(self, mean=v.mean(axis=0), root=np.linalg.cholesky(covariance))

    def enter(
        self, t: np.ndarray, z: np.ndarray, log_likelihood: np.ndarray, gradient: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Position u, log density in v and its gradient by u, from those of the likelihood by z, all (n, ...)."""
        unit = np.asarray(self.bend.unit)
        v = self.bend.inverse(t)
        log_slope, bending = self.bend.log_slope(v)
        log_normal = -0.5 * z**2 - 0.5 * np.log(2.0 * np.pi)
        prior = np.where(unit, log_slope, log_normal).sum(axis=1)
        slope = np.where(unit, gradient * np.exp(log_slope - log_normal) + bending, gradient - z)
        return self.position(v), log_likelihood + prior, slope @ self.root

    def position(self, v: np.ndarray) -> np.ndarray:
        """Whitened coordinates of v (n, ndim)."""
        return np.linalg.solve(self.root, (v - self.mean).T).T


class FramedRun(RunState):
    """State of a run that moves in a frame, with what it keeps of the search for modes (see `Landscape.record`)."""

    unit: np.ndarray
    scale: np.ndarray
    mean: np.ndarray
    root: np.ndarray
    best: np.ndarray
    mode: np.ndarray
    unseen: float  # share of starts that found modes of their own
    modes: int
    spent: int
    done: int

    @property
    def frame(self) -> Frame:
        """Coordinates in which it moves."""
        return Frame(Bend(self.unit, self.scale), self.mean, self.root)

    @frame.setter
    def frame(self, frame: Frame) -> None:
        self.unit, self.scale, self.mean, self.root = frame.bend.unit, frame.bend.scale, frame.mean, frame.root


def log_density(kernel: Kernel, bend: Bend, v: jax.Array) -> jax.Array:
    """Log posterior density in v, up to the evidence."""
    z, prior = bend.latent(v)
    return kernel.log_likelihood(z) + prior + kernel.correction(z)
