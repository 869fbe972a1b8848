"""Mixture of multivariate Student-t or normal distributions: proposals, approximations and what adapts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import gammaln

from skyfold.inference.frames.unit_or_normal import Coordinates, Laplace
from skyfold.inference.search.quasirandom import student_points

#: Half the degrees of freedom of the proposals.
PAIRS = 4
#: Dimensions beyond which no inverses of the roots are kept.
_LARGE = 64
#: Multiplications in a matrix product up to which no threads are started.
_SMALL = 250_000


@dataclass(frozen=True)
class Mixture:
    """Mixture of multivariate Student-t distributions, or of normals.

    Attributes
    ----------
    weights : (k,)
    means : (k, ndim)
    roots : (k, ndim, ndim) lower Cholesky factors of the scale matrices.
    coordinates : coordinates in which the means and scales are.
    pairs : half the degrees of freedom; 0 for normals.
    """

    weights: np.ndarray
    means: np.ndarray
    roots: np.ndarray
    coordinates: Coordinates
    pairs: int = PAIRS

    @classmethod
    def one(cls, mean: np.ndarray, root: np.ndarray, coordinates: Coordinates, pairs: int = PAIRS) -> Mixture:
        """A single component."""
        return cls(np.ones(1), mean[None], root[None], coordinates, pairs)

    @classmethod
    def around(cls, laplace: Laplace) -> Mixture:
        """Mixture of Laplace approximations, those of some mass."""
        mass = np.exp(laplace.log_masses - laplace.log_masses.max())
        keep = mass > 1e-6
        mass = np.maximum(mass[keep] / mass[keep].sum(), 0.02)
        roots = np.linalg.cholesky(1.1 * laplace.covariance[keep])
        return cls(mass / mass.sum(), laplace.means[keep], roots, laplace.coordinates)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `n` points, each component its share to within one; return the latent vectors of those inside."""
        edges = np.floor(np.cumsum(self.weights) * n + rng.random()).astype(int)
        edges[-1] = n
        counts = np.diff(np.concatenate([[0], np.clip(edges, 0, n)]))
        ndim = self.means.shape[1]
        pieces = [
            mean + student_points(count, ndim, self.pairs, rng) @ root.T
            for mean, root, count in zip(self.means, self.roots, counts, strict=True)
            if count > 0
        ]
        return self.coordinates.to_latent(np.concatenate(pieces))[0]

    @cached_property
    def _inverses(self) -> np.ndarray:
        """Transposed inverse roots (k, ndim, ndim)."""
        eye = np.broadcast_to(np.eye(self.means.shape[1]), self.roots.shape)
        return np.swapaxes(np.linalg.solve(self.roots, eye), 1, 2).copy()

    @cached_property
    def log_peaks(self) -> np.ndarray:
        """Log density (k,) of each component at its mean, its weight included."""
        log_root = np.log(np.diagonal(self.roots, axis1=1, axis2=2)).sum(axis=1)
        with np.errstate(divide="ignore"):
            return np.log(self.weights) + log_peak(self.means.shape[1], 2.0 * self.pairs) - log_root

    def distance(self, t: np.ndarray) -> np.ndarray:
        """Squared distances (k, n) of points (n, ndim) from each component, in its own scale."""
        ndim = t.shape[1]
        if ndim > _LARGE:
            parts = zip(self.means, self.roots, strict=True)
            return np.stack([np.sum(solve_triangular(r, (t - m).T, lower=True) ** 2, axis=0) for m, r in parts])
        distance = np.empty((len(self.means), len(t)))
        # blocks that stay in the cache and too small for the linear algebra to start threads, which cost more than help
        size = int(np.clip(_SMALL / ndim**2, 64, 1024))
        for start in range(0, len(t), size):
            piece = t[start : start + size]
            white = np.matmul(piece - self.means[:, None], self._inverses)
            np.einsum("kni,kni->kn", white, white, out=distance[:, start : start + size])
        return distance

    def component_log_density(self, t: np.ndarray) -> np.ndarray:
        """Log density of each component in its coordinates, its weight included, (k, n)."""
        return self._logs(self.distance(t))

    def shares(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Share of each component in each point (n, ndim), and the pull of the point on its mean and scale, (k, n)."""
        distance = self.distance(t)
        logs = self._logs(distance.copy())
        nu = 2.0 * self.pairs
        return np.exp(logs - log_sum(logs.copy())), (nu + t.shape[1]) / (nu + distance)

    def _logs(self, logs: np.ndarray) -> np.ndarray:
        """Log densities (k, n) in the place of squared distances."""
        ndim, nu = self.means.shape[1], 2.0 * self.pairs
        if nu:
            logs /= nu
            np.log1p(logs, out=logs)
        logs *= -0.5 * (nu + ndim) if nu else -0.5
        logs += self.log_peaks[:, None]
        return logs

    def joined(self, mean: np.ndarray, scale: np.ndarray, weight: float) -> Mixture:
        """Return the mixture with one component more."""
        return Mixture(
            np.append((1.0 - weight) * self.weights, weight),
            np.concatenate([self.means, mean[None]]),
            np.concatenate([self.roots, np.linalg.cholesky(scale)[None]]),
            self.coordinates,
            self.pairs,
        )

    def defended(self, share: float, inflation: float) -> Mixture:
        """Add a wide copy of every component, so that no tail goes unseen; the copies have the share together."""
        return Mixture(
            np.concatenate([(1.0 - share) * self.weights, share * self.weights]),
            np.concatenate([self.means, self.means]),
            np.concatenate([self.roots, inflation * self.roots]),
            self.coordinates,
            self.pairs,
        )

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Log density (n,) of latent vectors, in latent space."""
        return self.log_density_at(self.coordinates.from_latent(z)) + self.coordinates.log_slope(z)

    def log_density_at(self, t: np.ndarray) -> np.ndarray:
        """Log density (n,) of points (n, ndim) in its own coordinates."""
        density = np.empty(len(t))
        for start in range(0, len(t), 1024):
            density[start : start + 1024] = log_sum(self.component_log_density(t[start : start + 1024]))
        return density


def log_peak(ndim: int, nu: float) -> float:
    """Log density of a standard Student-t distribution of `nu` degrees of freedom at its mean; of a normal for 0."""
    if not nu:
        return -0.5 * ndim * float(np.log(2.0 * np.pi))
    return float(gammaln((nu + ndim) / 2) - gammaln(nu / 2) - 0.5 * ndim * np.log(nu * np.pi))


def log_sum(logs: np.ndarray) -> np.ndarray:
    """Logarithm of the sum of exponentials over the first axis; overwrites its argument."""
    largest = logs.max(axis=0)
    finite = np.where(np.isfinite(largest), largest, 0.0)
    logs -= finite
    np.exp(logs, out=logs)
    with np.errstate(divide="ignore"):
        return np.log(logs.sum(axis=0)) + finite
