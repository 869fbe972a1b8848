"""Laplace: normal approximations at the modes, and how far they are from the posterior.

At every mode the log density is expanded to second order, in the coordinates that suit the posterior (see
`skyfold.inference.frames.unit_or_normal`), with the Fisher metric or the exact Hessian as its curvature. Each normal
counts with the mass under it (Tierney & Kadane 1986, J. Am. Stat. Assoc. 81, 82); where a bound of the prior cuts a
normal, so are its draws. The same draws carry importance weights, whose Pareto k-hat (Vehtari, Simpson, Gelman, Yao &
Gabry 2024, JMLR 25, 72) and moments tell whether the approximation is any good.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.inference.convergence.approximations import of_normals
from skyfold.inference.convergence.missed_modes import incomplete
from skyfold.inference.density import evaluate
from skyfold.inference.frames import unit_or_normal
from skyfold.inference.importance.mixture import Mixture
from skyfold.inference.importance.psis import kish, log_evidence, normalised, pareto_k
from skyfold.inference.running import NO_CHECKPOINT, Checkpoint, Clock, Draws, Method, Progress, check_positive
from skyfold.inference.search.landscape import landscape
from skyfold.inference.search.maxima import Modes
from skyfold.kernel import Kernel
from skyfold.posterior import Posterior

#: Most Newton steps from the mode in latent coordinates to that in the coordinates of the approximation.
_STEPS = 12
#: How far outside the prior's support a normal may be centred (in its standard deviations), tried in turn until at
#: least `_INSIDE` of its draws lie inside.
_OUTSIDE, _INSIDE = (4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0), 0.004
#: Latent coordinate nearest to a bound at which the density is expanded.
_EDGE = 8.2


@dataclass(frozen=True)
class Laplace(Method):
    """Normal approximations at the modes.

    Parameters
    ----------
    draws : int
        Draws to make.
    hessian : bool
        Take the exact Hessian by automatic differentiation instead of the Fisher metric.
    corrected : bool
        Give the draws their importance weights, and the evidence that these give. Otherwise all draws count alike, and
        the evidence is that of the approximation.
    screen, starts : int
        Prior draws screened and starts climbed in the search for modes.
    """

    name: ClassVar[str] = "laplace"
    draws: int = 4000
    hessian: bool = False
    corrected: bool = False
    screen: int = 2048
    starts: int = 16

    def __post_init__(self) -> None:
        check_positive(self, "draws", "screen", "starts")
        if self.draws < 100:
            raise SkyfoldError("Laplace needs at least 100 draws: fewer cannot be judged.")

    def __call__(
        self, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint = NO_CHECKPOINT
    ) -> Draws:
        clock = Clock()
        land = landscape(posterior, screened=self.screen, starts=self.starts, seed=seed, progress=progress)
        search, modes = land.search, land.modes
        progress.stage("expanding at the modes")
        where = land.laplace.coordinates
        expansions, steps, indefinite = _approximate(posterior, modes, where, self.starts, hessian=self.hessian)
        expansions, z, drawn = _draw(expansions, self.draws, np.random.default_rng([seed, 4]))
        density, likelihood = evaluate(posterior, z)
        log_weights = density - expansions.mixture.log_density(z)
        quality = _quality(where.from_latent(z), log_weights)
        true_evidence, error = log_evidence(log_weights, drawn)
        own_evidence = float(logsumexp(expansions.log_masses) + np.log(len(z) / drawn))
        messages = (
            *incomplete(len(modes.z), search.unseen),
            *of_normals(quality, self.corrected, true_evidence - own_evidence),
        )
        notes = (
            ("the Hessian is not positive definite at a mode: the Fisher metric was used there",) if indefinite else ()
        )
        spent = land.evaluations + steps * self.starts * (posterior.ndim + 1)
        return Draws(
            method=self.name,
            latent=z[None],
            log_likelihood=likelihood[None],
            log_weights=log_weights[None] if self.corrected else None,
            converged=not messages,
            messages=(*messages, *notes),
            seed=seed,
            evaluations=spent + len(z),
            log_evidence=true_evidence if self.corrected else own_evidence,
            # that of the approximation is off by as much as the weights say
            log_evidence_error=float(
                np.hypot(np.hypot(error, search.unseen), 0.0 if self.corrected else true_evidence - own_evidence)
            ),
            best=land.best_fit(z, likelihood),
            mode=modes.z[0],
            diagnostics={
                **quality,
                "log_evidence_laplace": own_evidence,
                "log_evidence_corrected": true_evidence,
                "inside": len(z) / drawn,
                "modes": len(expansions.heights),
            },
            seconds=clock.seconds(),
        )


@dataclass(frozen=True)
class _Expansions:
    """Log density to second order about some points.

    Attributes
    ----------
    points, heights : (n, ndim) and (n,) where the log density was expanded, and what it is there.
    normals : those with the same second order, of equal weight.
    """

    points: np.ndarray
    heights: np.ndarray
    normals: Mixture

    @property
    def log_masses(self) -> np.ndarray:
        """Logarithm (n,) of the evidence under each normal, what lies outside the prior's support included."""
        each = replace(self.normals, weights=np.ones(len(self.heights)))
        return self.heights - np.diagonal(each.component_log_density(self.points))

    @cached_property
    def mixture(self) -> Mixture:
        """The normals, each with the share of its mass."""
        return replace(self.normals, weights=normalised(self.log_masses))


# -- the approximation -----------------------------------------------------------------------------------------------


def _approximate(
    posterior: Posterior, modes: Modes, where: unit_or_normal.Coordinates, size: int, *, hessian: bool
) -> tuple[_Expansions, int, bool]:
    """Normals at the modes, the number of Newton steps taken, and whether some Hessian had to be replaced."""
    z, n = np.clip(modes.z, -_EDGE, _EDGE), len(modes.z)
    # a coordinate without bounds goes where it likes
    z = np.where(where.unit, z, modes.z)
    pace, held, indefinite, steps = np.ones(n), None, False, 0
    rows = np.arange(-(-n // size) * size) % n
    while True:
        blocks = [
            _expand(posterior.kernel, where.unit, z[rows[k : k + size]], hessian=hessian)
            for k in range(0, len(rows), size)
        ]
        value, gradient, fisher, exact = (np.concatenate(parts)[:n] for parts in zip(*blocks, strict=True))
        precision, covariance, replaced = _inverse(exact if hessian else fisher, fisher)
        indefinite = indefinite or replaced
        t = where.from_latent(z)
        target = t + np.einsum("kij,kj->ki", covariance, gradient)
        new = (t, z, value, gradient, precision, covariance, target)
        if held is None:
            held = new
        else:
            up = value >= held[2] - 1e-9
            pace = np.where(up, np.minimum(2.0 * pace, 1.0), 0.25 * pace)
            held = tuple(np.where(up.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(new, held, strict=True))
        steps += 1
        t, z, value, gradient, precision, covariance, target = held
        goal = t + pace[:, None] * (target - t)
        # coordinates of the unit interval stay inside it
        goal = np.where(where.unit, np.clip(goal, 0.1 * t, 1.0 - 0.1 * (1.0 - t)), goal)
        moved = np.einsum("ki,kij,kj->k", goal - t, precision, goal - t)
        if steps >= _STEPS or np.all(moved < 1e-8):
            break
        z = np.clip(where.to_latent(np.where(where.unit, np.clip(goal, 1e-16, 1.0 - 1e-16), goal))[0], -40.0, 40.0)
    normals = Mixture(np.ones(n), target, np.linalg.cholesky(covariance), where, pairs=0)
    masses = _Expansions(t, value, normals).log_masses
    keep = masses > masses.max() - 20.0
    normals = Mixture(np.ones(keep.sum()), normals.means[keep], normals.roots[keep], where, pairs=0)
    return _Expansions(t[keep], value[keep], normals), steps, indefinite


def _inverse(precision: np.ndarray, fallback: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """Precisions (n, ndim, ndim) made positive definite, their inverses, and whether a fallback was used."""
    kept, inverses, replaced = [], [], False
    for own, other in zip(precision, fallback, strict=True):
        if not _positive(own):
            replaced, own = True, other
        scale = np.sqrt(np.diagonal(own))
        values, vectors = np.linalg.eigh(own / np.outer(scale, scale))
        values = np.maximum(values, 1e-12 * values[-1])
        kept.append((vectors * values) @ vectors.T * np.outer(scale, scale))
        inverses.append((vectors / values) @ vectors.T / np.outer(scale, scale))
    return np.array(kept), np.array(inverses), replaced


def _positive(matrix: np.ndarray) -> bool:
    diagonal = np.diagonal(matrix)
    if not (np.all(np.isfinite(matrix)) and np.all(diagonal > 0)):
        return False
    scale = np.sqrt(diagonal)
    return bool(np.linalg.eigvalsh(matrix / np.outer(scale, scale))[0] > 1e-10)


@partial(jit, static_argnames="hessian")
def _expand(kernel: Kernel, unit: jax.Array, z: jax.Array, *, hessian: bool) -> tuple[jax.Array, ...]:
    """Log density in the coordinates t, its gradient, and its precision by Fisher and by the Hessian, at each z."""
    exact = all(p.exact for p in kernel.priors)

    @jax.vmap
    def one(z: jax.Array) -> tuple[jax.Array, ...]:
        likelihood, gradient, metric = kernel.linearised(z)
        # dz/dt; the second derivative of z is z times its square
        stretch = jnp.where(unit, jnp.sqrt(2.0 * jnp.pi) * jnp.exp(0.5 * z**2), 1.0)
        value = likelihood + jnp.sum(jnp.where(unit, 0.0, -0.5 * z**2 - 0.5 * jnp.log(2.0 * jnp.pi)))
        prior = jnp.diag(jnp.where(unit, 0.0, 1.0))
        if not exact:
            correction, slope = jax.value_and_grad(kernel.correction)(z)
            value, gradient = value + correction, gradient + slope
        pushed = gradient * stretch + jnp.where(unit, 0.0, -z)
        fisher = metric * jnp.outer(stretch, stretch) + prior
        if not hessian:
            return value, pushed, fisher, fisher
        own = jax.hessian(lambda x: kernel.log_likelihood(x) + kernel.correction(x))(z)
        bending = jnp.diag(jnp.where(unit, gradient * z * stretch**2, 0.0))
        return value, pushed, fisher, prior - own * jnp.outer(stretch, stretch) - bending

    return one(z)


# -- draws and what they are worth -----------------------------------------------------------------------------------


def _draw(expansions: _Expansions, n: int, rng: np.random.Generator) -> tuple[_Expansions, np.ndarray, int]:
    """Draw `n` latent vectors inside the prior's support; how many it took, those outside included.

    Where hardly any draw would be inside, the normals are moved towards it.
    """
    normals = expansions.normals
    sd = np.sqrt(np.einsum("kij,kij->ki", normals.roots, normals.roots))
    unit = normals.coordinates.unit
    for outside in _OUTSIDE:
        means = np.where(unit, np.clip(normals.means, -outside * sd, 1.0 + outside * sd), normals.means)
        moved = replace(expansions, normals=replace(normals, means=means))
        z = rng.permutation(moved.mixture.draw(n, rng))
        if len(z) > _INSIDE * n:
            break
    if not len(z):
        raise SkyfoldError(
            "Not one draw of the Laplace approximation lies inside the prior's support: the posterior is cut by too "
            "many bounds. Use another method, such as 'nuts'."
        )
    pieces, drawn = [z], n
    while sum(map(len, pieces)) < n:
        pieces.append(rng.permutation(moved.mixture.draw(n, rng)))
        drawn += n
    z = np.concatenate(pieces)
    # the last round is cut, so count the draws that it took
    drawn = max(round(drawn * n / len(z)), n)
    return moved, z[:n], drawn


def _quality(t: np.ndarray, log_weights: np.ndarray) -> dict[str, float]:
    """Pareto k-hat, effective draws, and how far mean and standard deviations are from those of the weighted draws."""
    weights = normalised(log_weights)
    mean, true_mean = t.mean(axis=0), weights @ t
    sd, true_sd = t.std(axis=0), np.sqrt(weights @ (t - true_mean) ** 2)
    floor = 1e-12 * sd
    effective = kish(weights)
    return {
        "khat": pareto_k(log_weights),
        "effective": effective,
        "efficiency": effective / len(t),
        "mean_offset": float(np.max(np.abs(mean - true_mean) / np.maximum(true_sd, floor))),
        "sd_offset": float(np.max(np.abs(sd / np.maximum(true_sd, floor) - 1.0))),
    }
