"""Pathfinder: normal approximations along quasi-Newton paths, from several starts, with importance weights.

From every start L-BFGS climbs to a mode; its steps give normal approximations along the way, of which that with the
best evidence lower bound is kept (Zhang, Carpenter, Gelman & Vehtari 2022, JMLR 23, 306; paths and inverse Hessians by
BlackJAX). All paths together are the mixture that draws come from; they are weighted against the whole mixture, and the
largest weights are smoothed by a Pareto tail whose shape k-hat tells whether they can be trusted (Vehtari et al. 2024,
JMLR 25, 72).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.inference.convergence.approximations import of_paths
from skyfold.inference.convergence.missed_modes import incomplete, missed_by
from skyfold.inference.density import evaluate
from skyfold.inference.frames.unit_or_normal import Coordinates
from skyfold.inference.frames.whitened import Bend, Frame, log_density
from skyfold.inference.importance.mixture import Mixture
from skyfold.inference.importance.psis import kish, log_evidence, normalised, pareto_k, pareto_smoothed
from skyfold.inference.running import NO_CHECKPOINT, Checkpoint, Clock, Draws, Method, Progress, check_positive
from skyfold.inference.search.landscape import landscape
from skyfold.inference.search.maxima import Modes
from skyfold.inference.search.quasirandom import normal_points
from skyfold.inference.search.screening import choose_starts
from skyfold.kernel import Kernel
from skyfold.posterior import Posterior

#: Latent dimensions up to which paths run in the frame of the Laplace approximation.
_DENSE = 200
#: Share of the draws that all paths have in equal parts, whatever their lower bounds.
_LEAST_SHARE = 0.2
#: Share of the draws of wide copies of the normals, and how much wider these are, so that no tail goes unseen.
_DEFENCE = (0.15, 1.5)
#: Most places of a path at which a normal is tried.
_CANDIDATES = 8
#: Log mass below that of the best mode from which on a mode gets no path of its own.
_LIGHT = 10.0
#: Relative gain at which a path ends, and most steps of a line search.
_GAIN, _LINE_STEPS = 1e-9, 30


@dataclass(frozen=True)
class Pathfinder(Method):
    """Multi-path Pathfinder.

    Parameters
    ----------
    paths : int
        Starts, spread out among the better prior draws.
    draws : int
        Weighted draws to make.
    max_steps : int
        Most L-BFGS steps of a path.
    history : int
        Steps that the inverse Hessian is made of; as many as there are dimensions is best.
    elbo_draws : int
        Draws for the evidence lower bound of each approximation.
    whitened : bool, optional
        Follow paths in the whitened frame of the Laplace approximation at the best mode (by default up to 200
        dimensions), else in latent coordinates.
    screen, starts : int
        Prior draws screened and starts climbed in the search for the mode.
    """

    name: ClassVar[str] = "pathfinder"
    paths: int = 8
    draws: int = 4000
    max_steps: int = 60
    history: int = 12
    elbo_draws: int = 32
    whitened: bool | None = None
    screen: int = 2048
    starts: int = 16

    def __post_init__(self) -> None:
        check_positive(self, "paths", "draws", "max_steps", "history", "elbo_draws", "screen", "starts")
        if self.draws < 100 or self.max_steps < 2 or self.elbo_draws < 2:
            raise SkyfoldError("Pathfinder needs paths of 2 steps, 2 draws for each bound and 100 draws at least.")

    @property
    def memory(self) -> int:
        """Steps that an inverse Hessian can be made of."""
        return min(self.history, self.max_steps)

    def __call__(
        self, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint = NO_CHECKPOINT
    ) -> Draws:
        clock = Clock()
        land = landscape(posterior, screened=self.screen, starts=self.starts, seed=seed, progress=progress)
        searched = posterior.ndim <= _DENSE
        modes = land.modes if searched else None
        whitened = searched if self.whitened is None else self.whitened
        if whitened and not searched:
            raise SkyfoldError(f"{posterior.ndim} dimensions are too many to whiten: use Pathfinder(whitened=False).")
        frame = Frame.of(land.laplace) if whitened else _plain(posterior.ndim)
        progress.stage("following paths", self.paths)
        rng = np.random.default_rng([seed, 5])
        z = choose_starts(land.points, land.density, self.paths)
        if modes is not None and len(modes.z) > 1:
            z = _beside(modes, z, rng)
        starts = frame.position(frame.bend.inverse(Coordinates(np.asarray(frame.bend.unit)).from_latent(z)))
        paths = _paths(
            posterior.kernel, frame.bend, frame.mean, frame.root, starts, steps=self.max_steps, history=self.memory
        )
        progress.stage("bounding the evidence", self.paths)
        normals, elbo, tried = _normals(
            posterior, frame, [np.asarray(a) for a in paths], self.memory, self.elbo_draws, rng
        )
        progress.stage("weighing draws")
        u = rng.permutation(normals.draw(self.draws, rng))
        z, volume = _leave(frame, u)
        density, likelihood = evaluate(posterior, z)
        raw = density - (normals.log_density(u) - volume)
        khat = pareto_k(raw)
        log_weights = pareto_smoothed(raw)
        weights = normalised(log_weights)
        effective = kish(weights)
        evidence, error = log_evidence(raw, len(raw))
        messages = of_paths(khat, effective, len(raw))
        if modes is not None and len(modes.z) > 1:
            missed = missed_by(z, weights, modes.parts, evidence, cure="use 'auto'")
            messages = (*incomplete(len(modes.z), land.search.unseen), *missed, *messages)
        steps = np.count_nonzero(np.any(np.diff(np.asarray(paths[0]), axis=1), axis=2), axis=1)
        # each step takes at least one gradient in the line search and one more at its end
        gradients = int(np.sum(steps)) * 2
        return Draws(
            method=self.name,
            latent=z[None],
            log_likelihood=likelihood[None],
            log_weights=log_weights[None],
            converged=not messages,
            messages=messages,
            seed=seed,
            evaluations=(land.evaluations if searched else len(land.points))
            + gradients
            + tried * self.elbo_draws
            + len(z),
            gradients=gradients,
            log_evidence=evidence,
            log_evidence_error=float(np.hypot(error, land.search.unseen if searched else 0.0)),
            best=land.best_fit(z, likelihood) if searched else z[int(np.argmax(likelihood))],
            mode=None if modes is None else modes.z[0],
            diagnostics={
                "khat": khat,
                "effective": effective,
                "efficiency": effective / len(raw),
                "elbo": elbo.tolist(),
                "paths_lost": int(np.sum(~np.isfinite(elbo))),
                "steps": steps.tolist(),
            },
            seconds=clock.seconds(),
        )


def _beside(modes: Modes, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Starts (n, ndim), the last of them beside the modes that hold mass, so that a path comes to each."""
    heavy = np.flatnonzero(modes.log_masses > modes.log_masses[0] - _LIGHT)[: len(z) // 2]
    roots = np.linalg.cholesky(np.linalg.inv(modes.metric[heavy]))
    beside = modes.z[heavy] + 3.0 * np.einsum("kij,kj->ki", roots, rng.standard_normal((len(heavy), z.shape[1])))
    return np.concatenate([z[: len(z) - len(heavy)], beside])


def _plain(ndim: int) -> Frame:
    """Frame that leaves latent coordinates as they are."""
    return Frame(Bend(np.zeros(ndim, dtype=bool), np.ones(ndim)), np.zeros(ndim), np.eye(ndim))


@partial(jit, static_argnames=("steps", "history"))
def _paths(
    kernel: Kernel, bend: Bend, mean: jax.Array, root: jax.Array, starts: jax.Array, *, steps: int, history: int
) -> tuple[jax.Array, ...]:
    """Every path: positions, minus the log density, its gradients, diagonal scales, and whether a step counts."""
    from blackjax.optimizers.lbfgs import minimize_lbfgs

    def loss(u: jax.Array) -> jax.Array:
        value = log_density(kernel, bend, mean + root @ u)
        return jnp.where(jnp.isfinite(value), -value, 1e300)

    def one(start: jax.Array) -> tuple[jax.Array, ...]:
        path = minimize_lbfgs(loss, start, steps, history, gtol=1e-8, ftol=_GAIN, maxls=_LINE_STEPS)[1]
        return path.x, path.f, path.g, path.alpha, path.update_mask

    return jax.lax.map(one, starts)


def _normals(
    posterior: Posterior,
    frame: Frame,
    paths: list[np.ndarray],
    history: int,
    draws: int,
    rng: np.random.Generator,
) -> tuple[Mixture, np.ndarray, int]:
    """Best normal of every path that came somewhere; lower bounds of all paths, and the number of normals tried."""
    latent = Coordinates(np.zeros(posterior.ndim, dtype=bool))
    best: list[Mixture] = []
    elbo = np.full(len(paths[0]), -np.inf)
    tried = 0
    for k, (x, f, g, alpha, counts) in enumerate(zip(*paths, strict=True)):
        found = [_normal(x, g, alpha[at], counts, at, history) for at in _candidates(x, f)]
        normals = [Mixture.one(*normal, latent, pairs=0) for normal in found if normal is not None]
        if not normals:
            continue
        u = np.stack([n.means[0] + normal_points(draws, x.shape[1], rng) @ n.roots[0].T for n in normals])
        log_q = np.stack([n.log_density_at(one) for one, n in zip(u, normals, strict=True)])
        z, volume = _leave(frame, u.reshape(-1, x.shape[1]))
        gain = evaluate(posterior, z)[0].reshape(log_q.shape) - (log_q - volume.reshape(log_q.shape))
        tried += len(normals)
        bounds = np.nan_to_num(gain.mean(axis=1), nan=-np.inf)
        elbo[k] = bounds.max()
        if np.isfinite(elbo[k]):
            best.append(normals[int(np.argmax(bounds))])
    if not best:
        raise SkyfoldError(
            "No path of Pathfinder came to a point of finite density and slope: check that the model's derivatives are "
            "finite, or use 'auto'."
        )
    finite = elbo[np.isfinite(elbo)]
    shares = np.exp(finite - finite.max())
    shares = (1.0 - _LEAST_SHARE) * shares / shares.sum() + _LEAST_SHARE / len(shares)
    means, roots = (np.concatenate([getattr(n, name) for n in best]) for name in ("means", "roots"))
    return Mixture(shares, means, roots, latent, pairs=0).defended(*_DEFENCE), elbo, tried


def _candidates(x: np.ndarray, f: np.ndarray) -> list[int]:
    """Places of a path to try: spread out over its last part, where the density is not hopelessly low."""
    moved = np.flatnonzero(np.any(np.diff(x, axis=0) != 0, axis=1)) + 1
    lowest = np.min(f[np.isfinite(f)], initial=np.inf)
    good = [int(i) for i in moved if f[i] < lowest + 10.0 + 2.0 * x.shape[1]]
    if len(good) <= _CANDIDATES:
        return good
    return [good[i] for i in np.unique(np.linspace(0, len(good) - 1, _CANDIDATES).round().astype(int))]


def _normal(
    x: np.ndarray, g: np.ndarray, alpha: np.ndarray, counts: np.ndarray, at: int, history: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and Cholesky factor of the covariance of the normal at one place of a path."""
    from blackjax.optimizers.lbfgs import lbfgs_inverse_hessian_factors, lbfgs_inverse_hessian_formula_1

    use = counts[1 : at + 1].astype(bool)
    steps, changes = np.where(use, np.diff(x, axis=0)[:at], 0.0), np.where(use, np.diff(g, axis=0)[:at], 0.0)
    padding = ((max(history - at, 0), 0), (0, 0))
    steps, changes = np.pad(steps, padding)[-history:], np.pad(changes, padding)[-history:]
    beta, gamma = lbfgs_inverse_hessian_factors(jnp.asarray(steps.T), jnp.asarray(changes.T), jnp.asarray(alpha))
    covariance = np.asarray(lbfgs_inverse_hessian_formula_1(jnp.asarray(alpha), beta, gamma))
    if not (np.all(np.isfinite(covariance)) and np.all(np.isfinite(g[at]))):
        return None
    try:
        root = np.linalg.cholesky(0.5 * (covariance + covariance.T))
    except np.linalg.LinAlgError:
        return None
    # the Newton step to the mean, downhill in minus the log density, and no longer than the normal is wide
    step = covariance @ g[at]
    length = np.linalg.norm(np.linalg.solve(root, step))
    return x[at] - step * min(1.0, np.sqrt(len(step)) / max(length, 1e-300)), root


def _leave(frame: Frame, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latent vectors of points u of the frame (n, ndim), and the logarithm of dz/du (n,)."""
    v = frame.mean + u @ frame.root.T
    z = np.asarray(_to_latent(frame.bend, v))
    inner = frame.bend.log_slope(v)[0] + 0.5 * z**2 + 0.5 * np.log(2.0 * np.pi)
    bent = np.where(np.asarray(frame.bend.unit), inner, 0.0).sum(axis=1)
    return z, bent + np.sum(np.log(np.diagonal(frame.root)))


@jit
def _to_latent(bend: Bend, v: jax.Array) -> jax.Array:
    return jax.vmap(lambda one: bend.latent(one)[0])(v)
