"""MGVI and geoVI: variational inference with the metric of the posterior at its mean as the inverse covariance.

MGVI (Knollmueller & Ensslin 2019, arXiv:1901.11033) takes q normal in latent space with the inverse of the metric,
Fisher information of the data plus that of the prior, as covariance, and moves its mean to where the Kullback-Leibler
divergence to the posterior, estimated with samples of q, is least; then the metric is taken anew. geoVI (Frank, Leike &
Ensslin 2021, Entropy 23, 853) takes q normal in coordinates in which the metric is nearly flat
(`skyfold.inference.frames.flat_coordinates`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.linalg import solve_triangular

from skyfold.errors import SkyfoldError
from skyfold.inference.chains.from_draws import continued
from skyfold.inference.convergence.approximations import judged_draws
from skyfold.inference.density import evaluate
from skyfold.inference.frames.flat_coordinates import blocks, sampled, solved, standard
from skyfold.inference.frames.whitened import Bend
from skyfold.inference.importance.judged import (
    Judged,
    check_correction,
    log_pooled,
    log_scouts,
    scouts,
    walked,
    weigh,
)
from skyfold.inference.running import NO_CHECKPOINT, Checkpoint, Clock, Draws, Method, Progress, RunState
from skyfold.inference.search.landscape import landscape
from skyfold.inference.search.quasirandom import normal_points
from skyfold.posterior import Posterior

#: Distance of a solved sample from its equation, in sds, and share of samples that may miss it.
_MISS, _MISSES = 1e-3, 0.01


class _Moving(RunState):
    """The mean on its way, and the modes that were known before."""

    mean: np.ndarray
    modes: np.ndarray
    values: np.ndarray
    metrics: np.ndarray
    best: np.ndarray
    mode: np.ndarray
    unseen: float
    spent: int
    moved: float  # by the last round, in sds
    rounds: int
    steps: int
    solving: int


@dataclass(frozen=True)
class MGVI(Method):
    """Metric Gaussian variational inference.

    Samples come in antithetic pairs and keep their base draws from round to round, so that the rounds converge: they
    end when the mean moves by less than `tolerance` standard deviations per coordinate (root mean square).

    Parameters
    ----------
    pairs : int
        Antithetic pairs of samples that the divergence is estimated with.
    rounds : int
        Most times that the metric is taken anew.
    newton : int
        Most Newton steps (with the mean metric as curvature) of the mean in each round.
    tolerance : float
    dense : int
        Latent dimensions up to which the metric is kept as a matrix; beyond, conjugate gradients do without (see
        `skyfold.inference.variational.matrix_free`), there is no evidence and no correction by MCMC, and geoVI is not
        weighted.
    correction, draws, chains
        As for `VI`.
    screen, starts : int
        Prior draws and starts in the search for the mode.
    """

    name: ClassVar[str] = "mgvi"
    bent: ClassVar[bool] = False
    pairs: int = 16
    rounds: int = 40
    newton: int = 10
    tolerance: float = 0.01
    dense: int = 300
    correction: str = "psis"
    draws: int = 4096
    chains: int = 8
    screen: int = 2048
    starts: int = 16

    def __post_init__(self) -> None:
        check_correction(self.correction)
        if self.draws < 4000:
            raise SkyfoldError(f"{self.name} is judged by the weights of at least 4000 draws; got draws={self.draws}.")
        if self.pairs < 1 or self.rounds < 1 or self.newton < 1 or self.chains < 2:
            raise SkyfoldError(f"{self.name} needs a pair of samples, a round, a Newton step and 2 chains at least.")

    def __call__(
        self, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint = NO_CHECKPOINT
    ) -> Draws:
        clock = Clock()
        if posterior.ndim > self.dense:
            from skyfold.inference.variational.matrix_free import Large

            return Large(self, posterior)(seed, progress, checkpoint)
        loaded = checkpoint.load()
        state = _Moving(**loaded) if loaded else self._started(posterior, seed, progress)
        progress.stage("moving the mean", self.rounds)
        rng = np.random.default_rng([seed, 21])
        base = normal_points(self.pairs, posterior.ndim, rng)
        base = np.concatenate([base, -base])
        while state.moved > self.tolerance and state.rounds < self.rounds:
            self._round(posterior, base, state)
            progress.update(state.rounds, f"moved by {state.moved:.3f} sd")
            state.save(checkpoint)
        root = self._root(posterior, state.mean)
        judged, misses, solving = self._judged(posterior, state.mean, root, seed)
        own = []
        if misses > _MISSES:
            own.append(
                f"{100 * misses:.0f}% of the samples do not solve the equation of the coordinates: the metric varies "
                "too much for geoVI; use sf.NUTS()"
            )
        if not state.moved <= self.tolerance:
            own.append(f"the mean still moves by {state.moved:.3f} sd after {self.rounds} rounds: raise rounds")
        # a metric takes a derivative along every coordinate
        gradients = state.steps * len(base) * (posterior.ndim + 1) + state.solving + solving
        draws, _ = judged_draws(
            self,
            posterior,
            judged,
            state.state(),
            tuple(own),
            correction=self.correction,
            richer='sf.VI(family="flow") or sf.NUTS()',
            seed=seed,
            gradients=gradients,
            diagnostics={"rounds": state.rounds, "moved": state.moved, "unsolved": misses},
            clock=clock,
        )
        if self.correction != "mcmc":
            return draws
        from skyfold.inference.nuts import NUTS

        latent, kept = Bend(np.zeros(posterior.ndim, dtype=bool), np.ones(posterior.ndim)), state.state()
        return continued(
            posterior, latent, NUTS, self, draws, judged.pool, kept, loaded, progress, checkpoint, clock.seconds
        )

    def _started(self, posterior: Posterior, seed: int, progress: Progress) -> _Moving:
        land = landscape(posterior, screened=self.screen, starts=self.starts, seed=seed, progress=progress)
        record = {**land.record(), "modes": land.modes.z}
        return _Moving(
            **record,
            mean=land.modes.z[0],
            values=land.modes.value,
            metrics=land.modes.metric,
            moved=np.inf,
            rounds=0,
            steps=0,
            solving=0,
        )

    def _root(self, posterior: Posterior, mean: np.ndarray) -> np.ndarray:
        """Lower Cholesky factor of the metric, in the executable that the rounds use."""
        points = np.broadcast_to(mean, (2 * self.pairs, posterior.ndim))
        return np.linalg.cholesky(np.asarray(sampled(posterior.kernel, points)[2]))

    def _round(self, posterior: Posterior, base: np.ndarray, state: _Moving) -> None:
        """Draw samples around the mean, then move the mean, the samples with it, to where the divergence is least."""
        start = mean = state.mean
        root = self._root(posterior, mean)
        samples, solving = self._samples(posterior, mean, root, base)
        offsets = samples - mean
        value, gradient, metric = (np.asarray(a) for a in sampled(posterior.kernel, mean + offsets))
        steps = 2
        for _ in range(self.newton):
            change, size = np.linalg.solve(metric, gradient), 1.0
            promise = gradient @ change
            if promise < 1e-2 * self.tolerance**2 * len(mean):
                break
            while size > 1e-3:
                trial = tuple(np.asarray(a) for a in sampled(posterior.kernel, mean + size * change + offsets))
                steps += 1
                if trial[0] > value + 1e-4 * size * promise:
                    break
                size *= 0.3
            else:
                break
            mean = mean + size * change
            value, gradient, metric = trial
        moved = root.T @ (mean - start)
        state.mean, state.moved = mean, float(np.sqrt(np.mean(moved**2)))
        state.rounds += 1
        state.steps += steps
        state.solving += solving

    def _samples(
        self, posterior: Posterior, mean: np.ndarray, root: np.ndarray, base: np.ndarray
    ) -> tuple[np.ndarray, int]:
        """Latent vectors (n, ndim) of base draws (n, ndim), and the evaluations that they took."""
        if not self.bent:
            return mean + solve_triangular(root, base.T, lower=True, trans=1).T, 0
        inner = blocks(base)
        z, steps = (np.asarray(a) for a in solved(posterior.kernel, mean, root, inner))
        return z.reshape(-1, posterior.ndim)[: len(base)], int(steps.sum()) * inner.shape[1] * (posterior.ndim + 1)

    def _standard(
        self, posterior: Posterior, mean: np.ndarray, root: np.ndarray, z: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Standard normal coordinates e (n, ndim) of latent vectors (n, ndim), and the logarithm of de/dz."""
        if not self.bent:
            return (z - mean) @ root, np.full(len(z), np.sum(np.log(np.diagonal(root))))
        e, log_de = (np.asarray(a) for a in standard(posterior.kernel, mean, root, blocks(z), bent=True))
        return e.reshape(-1, posterior.ndim)[: len(z)], log_de.ravel()[: len(z)]

    def _judged(self, posterior: Posterior, mean: np.ndarray, root: np.ndarray, seed: int) -> tuple[Judged, float, int]:
        """Draws of q and of scouts, wide copies of it and of the metric's normal; what is not solved, what it took."""
        rng = np.random.default_rng([seed, 22])
        ndim, few = posterior.ndim, self.draws // 4
        base = np.concatenate([normal_points(self.draws, ndim, rng), scouts(few, ndim, rng)])
        z, solving = self._samples(posterior, mean, root, base)
        wide = mean + solve_triangular(root, scouts(few, ndim, rng).T, lower=True, trans=1).T
        z = np.concatenate([z, wide])
        log_root = np.sum(np.log(np.diagonal(root)))
        e, log_de = self._standard(posterior, mean, root, z)
        solving += len(z) * (ndim + 1) if self.bent else 0
        missed = np.any(np.abs(e[: len(base)] - base) > _MISS, axis=1)
        log_de = np.where(np.append(missed, np.zeros(few, bool)), -np.inf, log_de)

        def densities(z: np.ndarray, e: np.ndarray, log_de: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            log_q = log_de - 0.5 * np.sum(e**2, axis=1) - 0.5 * ndim * np.log(2.0 * np.pi)
            far = log_scouts((z - mean) @ root) + log_root
            return log_q, log_pooled(log_q, log_scouts(e) + log_de, far, self.draws, few)

        def look(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return evaluate(posterior, z)[0], densities(z, *self._standard(posterior, mean, root, z))[1]

        log_q, log_pool = densities(z, e, log_de)
        judged = weigh(posterior, z, z, log_q, self.draws, log_pool)
        return walked(judged, look, seed), float(np.mean(missed[: self.draws])), solving


@dataclass(frozen=True)
class GeoVI(MGVI):
    """Geometric variational inference; settings as for `MGVI`."""

    name: ClassVar[str] = "geovi"
    bent: ClassVar[bool] = True
