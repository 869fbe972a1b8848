"""Coordinates in which a posterior is closest to normal, and the Laplace approximation in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from skyfold.posterior import Posterior

#: Width of a posterior in the unit interval of its prior below which proposals live in that interval.
_NARROW = 0.15


@dataclass(frozen=True)
class Coordinates:
    """Coordinates t in which proposals live: the latent ones, or the unit interval of a bounded prior.

    A posterior that is narrow against its prior is closest to normal in the unit interval, where a uniform prior is
    flat and a bound is a sharp cut; a wide one is closest to normal in the latent coordinates.

    Attributes
    ----------
    unit : (ndim,) bool, True where t = Phi(z).
    """

    unit: np.ndarray

    def from_latent(self, z: np.ndarray) -> np.ndarray:
        """Coordinates of latent vectors (n, ndim)."""
        return np.where(self.unit, ndtr(z), z)

    def to_latent(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Latent vectors of those t (n, ndim) that lie inside the unit intervals, and which these are."""
        inside = np.all(~self.unit | ((t > 0.0) & (t < 1.0)), axis=1)
        t = t[inside]
        return np.where(self.unit, ndtri(np.where(self.unit, t, 0.5)), t), inside

    def log_slope(self, z: np.ndarray) -> np.ndarray:
        """Logarithm of dt/dz (n,) of latent vectors."""
        return np.sum(np.where(self.unit, -0.5 * z**2 - 0.5 * np.log(2 * np.pi), 0.0), axis=1)


@dataclass(frozen=True)
class Laplace:
    """Laplace approximations at the modes, in the coordinates that suit the posterior.

    Attributes
    ----------
    coordinates : Coordinates
    means : (n, ndim)
    covariance : (n, ndim, ndim)
    heights : (n,) log density at the modes, in the coordinates, the prior being ``-z'z/2``.
    """

    coordinates: Coordinates
    means: np.ndarray
    covariance: np.ndarray
    heights: np.ndarray

    @classmethod
    def at(cls, posterior: Posterior, z: np.ndarray, value: np.ndarray, metric: np.ndarray) -> Laplace:
        """Choose the unit interval for bounded priors against which every mode is narrow.

        Parameters
        ----------
        z, value, metric : (n, ndim), (n,), (n, ndim, ndim) modes, their log density and metric (see `Modes.parts`).
        """
        bounded = posterior.sharply_bounded()
        data = metric - np.eye(posterior.ndim)
        width = np.sqrt(np.diagonal(_covariance(data, z, bounded), axis1=1, axis2=2))
        unit = bounded & np.all(width < _NARROW, axis=0)
        coordinates = Coordinates(unit)
        heights = value - coordinates.log_slope(z)
        return cls(coordinates, coordinates.from_latent(z), _covariance(data, z, unit), heights)

    @property
    def log_masses(self) -> np.ndarray:
        """Log mass (n,) under each, up to a constant that all share."""
        return self.heights + 0.5 * np.linalg.slogdet(self.covariance)[1]

    @property
    def log_evidence(self) -> float:
        """Log mass under all."""
        return float(np.logaddexp.reduce(self.log_masses))


def coordinate_names(posterior: Posterior) -> list[str]:
    """Name of the parameter behind each latent coordinate, with its index where there are several."""
    names = [""] * posterior.ndim
    for p in posterior.parameters:
        size = p.latent.stop - p.latent.start
        for i in range(size):
            names[p.latent.start + i] = p.name if size == 1 else f"{p.name}[{i}]"
    return names


def _covariance(data: np.ndarray, z: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Inverse of the data's metric plus that of the prior, which has variance 1/12 in a unit interval."""
    stretch = np.where(unit, np.sqrt(2.0 * np.pi) * np.exp(0.5 * z**2), 1.0)
    return np.linalg.inv(data * stretch[:, :, None] * stretch[:, None, :] + np.diag(np.where(unit, 12.0, 1.0)))
