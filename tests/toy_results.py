"""Results made without a sampler: draws around a known point, weighted by the posterior, and spectra to draw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

import skyfold as sf
from skyfold.axis import Axis
from skyfold.compiled.annotation import Annotation
from skyfold.inference.running.draws import Draws
from skyfold.likelihoods.poisson import Poisson
from skyfold.observation import Observation
from skyfold.parameters import Value, parameter
from skyfold.priors import LogUniform, Uniform
from skyfold.xray.models.spectral import Additive, Multiplicative
from skyfold.xray.units import ENERGIES


class Slope(Additive):
    """A power law, integrated over each bin."""

    name: ClassVar[str] = "slope"
    index: Value = parameter(Uniform(-1.0, 5.0), description="photon index")
    norm: Value = parameter(LogUniform(1e-5, 1e-1), unit="photons/keV/cm^2/s")

    def evaluate(self, grid: jax.Array) -> jax.Array:
        power = 1.0 - self.index
        return self.norm * (grid[1:] ** power - grid[:-1] ** power) / power


class Bump(Additive):
    """A Gaussian line."""

    name: ClassVar[str] = "bump"
    energy: Value = parameter(6.4, unit="keV")
    norm: Value = parameter(LogUniform(1e-6, 1e-2), unit="photons/cm^2/s")

    def evaluate(self, grid: jax.Array) -> jax.Array:
        return self.norm * jnp.diff(jax.scipy.special.ndtr((grid - self.energy) / 0.3))


class Screen(Multiplicative):
    """Absorption that falls with the cube of energy."""

    name: ClassVar[str] = "screen"
    nH: Value = parameter(Uniform(0.0, 5.0), unit="1e22 cm-2")

    def evaluate(self, grid: jax.Array) -> jax.Array:
        return jnp.exp(-self.nH * (0.5 * (grid[1:] + grid[:-1])) ** -3.0)


class Cutoff(Multiplicative):
    """A cutoff, which belongs to the source."""

    name: ClassVar[str] = "cutoff"
    intrinsic: ClassVar[bool] = True
    energy: Value = parameter(5.0, unit="keV")

    def evaluate(self, grid: jax.Array) -> jax.Array:
        return jnp.exp(-0.5 * (grid[1:] + grid[:-1]) / self.energy)


class ToySpectrum(Observation):
    """Counts per channel of a perfect detector, with all that a figure asks for."""

    energies: np.ndarray
    exposure: np.ndarray
    area: np.ndarray

    def predict(self, model: Any) -> jax.Array:
        return model.evaluate(self.energies) * self.exposure * self.area

    @property
    def edges(self) -> np.ndarray:
        return np.stack([self.energies[:-1], self.energies[1:]], axis=1)

    @property
    def rate_factor(self) -> np.ndarray:
        return 1.0 / (float(self.exposure) * np.diff(self.energies))

    @property
    def axis(self) -> Axis:
        return Axis(*self.edges.T, **ENERGIES, factor=self.rate_factor)

    @property
    def background(self) -> Any:
        return getattr(self.annotation.value, "background", None)

    @property
    def background_counts(self) -> np.ndarray | None:
        return self.background

    def rebin(self, min_significance: float, max_bins: int) -> np.ndarray:
        bins, number, total, joined = [], 0, 0.0, 0
        for count in self.data:
            bins.append(number)
            total, joined = total + count, joined + 1
            if np.sqrt(total) >= min_significance or joined >= max_bins:
                number, total, joined = number + 1, 0.0, 0
        return np.array(bins)


@dataclass(frozen=True)
class Notes:
    name: str
    background: np.ndarray | None = None


def source(**priors: Any) -> Any:
    return Screen() * (Slope(**priors) + Bump())


TRUTH = {"screen.nH": 0.8, "slope.index": 1.9, "slope.norm": 4e-3, "bump.norm": 3e-4}


def toy_spectrum(
    model: Any = None,
    *,
    name: str = "detector",
    n: int = 160,
    exposure: float = 2e4,
    seed: int = 3,
    background: bool = False,
) -> ToySpectrum:
    """Counts of the true source."""
    edges = np.geomspace(0.5, 10.0, n + 1)
    area = 60.0 * np.exp(-0.5 * (np.log(edges[1:] / 1.8) / 0.9) ** 2)
    under = exposure * 2e-3 * np.diff(edges) if background else None
    blank = ToySpectrum(Poisson(np.zeros(n)), Annotation(Notes(name, under)), edges, np.asarray(exposure), area)
    expected = np.asarray(blank.predict((model or source()).with_values(TRUTH)))
    return blank.with_data(np.random.default_rng(seed).poisson(expected))


def weighted(posterior: sf.Posterior, centre: dict[str, float] | None = None, n: int = 3000, seed: int = 0) -> Draws:
    """Draw around the maximum by importance sampling."""
    z = np.zeros(posterior.ndim)
    if centre is not None:
        z = _latent(posterior, centre)
    for _ in range(8):
        gradient = np.asarray(jax.grad(lambda x: posterior.kernel.log_density(x))(jnp.asarray(z)))
        z = z + np.clip(np.linalg.solve(np.asarray(posterior.metric(z)), gradient), -0.5, 0.5)
    root = 1.15 * np.linalg.cholesky(np.linalg.inv(np.asarray(posterior.metric(z))))
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((n, posterior.ndim))
    latent = z + white @ root.T
    likelihood = np.asarray(posterior.log_likelihood(latent))
    log_weights = likelihood + np.asarray(posterior.log_prior(latent)) + 0.5 * np.sum(white**2, axis=1)
    return Draws(
        method="importance",
        latent=latent[None],
        log_likelihood=likelihood[None],
        log_weights=log_weights[None],
        converged=True,
        seed=seed,
        evaluations=n,
        log_evidence=-12.5,
        log_evidence_error=0.02,
        best=latent[np.argmax(likelihood)],
        diagnostics={"khat": 0.1, "scales": np.array([1.0, np.inf])},
        seconds={"compile": 0.5, "sample": 0.25},
    )


def chains(posterior: sf.Posterior, centre: dict[str, float] | None = None, n: int = 400, seed: int = 0) -> Draws:
    """Draw four independent chains, by resampling weighted draws."""
    pool = weighted(posterior, centre, 20 * n, seed)
    index = np.random.default_rng(seed).choice(pool.latent.shape[1], (4, n), p=pool.weights()[0])
    return replace(
        pool,
        method="chains",
        latent=pool.latent[0][index],
        log_likelihood=pool.log_likelihood[0][index],
        log_weights=None,
        log_evidence=None,
        log_evidence_error=None,
    )


def _latent(posterior: sf.Posterior, centre: dict[str, float]) -> np.ndarray:
    """Latent vector of named scalar values, by bisection of each monotone transport."""
    low, high = np.full(posterior.ndim, -7.0), np.full(posterior.ndim, 7.0)
    target = np.array([centre[name] for name in posterior.names])
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = np.array([float(v) for v in posterior.values(middle).values()]) < target
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return middle
