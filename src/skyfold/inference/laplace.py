"""Laplace: normal approximations at the modes, and how far they are from the posterior.

At every mode the log density is expanded to second order, in the coordinates that suit the posterior (see
`skyfold.inference.frames.unit_or_normal`), with the Fisher metric or the exact Hessian as its curvature. Each normal
counts with the mass under it (Tierney & Kadane 1986, J. Am. Stat. Assoc. 81, 82); where a bound of the prior cuts a
normal, so are its draws. The same draws carry importance weights, whose Pareto k-hat (Vehtari, Simpson, Gelman, Yao &
Gabry 2024, JMLR 25, 72) and moments tell whether the approximation is any good.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.inference.density import evaluate
from skyfold.inference.frames import unit_or_normal
from skyfold.inference.importance.psis import RELIABLE, pareto_k
from skyfold.inference.importance.quasirandom import normal_points
from skyfold.inference.running.checkpoint import NO_CHECKPOINT, Checkpoint
from skyfold.inference.running.clock import Clock
from skyfold.inference.running.draws import Draws
from skyfold.inference.running.settings import check_positive
from skyfold.inference.search.landscape import landscape
from skyfold.inference.search.maxima import Modes
from skyfold.kernel import Kernel

if TYPE_CHECKING:
    from skyfold.posterior import Posterior

#: Differences of means (in standard deviations) and of standard deviations (relative) that are passed over.
_CLOSE, _CLOSE_SD = 0.1, 0.05
#: Efficiency of the weights below which nothing is read from them.
_FEW = 0.01
#: Effective draws that corrected ones must reach.
_LEAST_ESS = 400.0
#: Most Newton steps from the mode in latent coordinates to that in the coordinates of the approximation.
_STEPS = 12
#: How far outside the prior's support a normal may be centred (in its standard deviations), tried in turn until at
#: least `_INSIDE` of its draws lie inside.
_OUTSIDE, _INSIDE = (4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0), 0.004
#: Latent coordinate nearest to a bound at which the density is expanded.
_EDGE = 8.2


@dataclass(frozen=True)
class Laplace:
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

    def __call__(self, posterior: Posterior, seed: int, progress: Any, checkpoint: Checkpoint = NO_CHECKPOINT) -> Draws:
        clock = Clock()
        land = landscape(posterior, screened=self.screen, starts=self.starts, seed=seed, progress=progress)
        search, modes = land.search, land.modes
        progress.stage("expanding at the modes")
        where = land.laplace.coordinates
        normals, steps, indefinite = _approximate(posterior, modes, where, self.starts, hessian=self.hessian)
        normals, z, drawn = _draw(normals, self.draws, np.random.default_rng([seed, 4]))
        density, likelihood = evaluate(posterior, z)
        log_weights = density - normals.log_density(z)
        quality = _quality(where.from_latent(z), log_weights)
        true_evidence, error = _log_evidence(log_weights, drawn)
        own_evidence = float(logsumexp(normals.log_mass) + np.log(len(z) / drawn))
        messages = _complaints(quality, self.corrected, true_evidence - own_evidence)
        if not search.complete:
            messages = (search.complaint(), *messages)
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
                "modes": len(normals.means),
            },
            seconds=clock.seconds(),
        )


@dataclass(frozen=True)
class _Normals:
    """Mixture of normals.

    Attributes
    ----------
    coordinates : those the normals live in.
    points, log_density_there : (n, ndim) and (n,) where the log density was expanded, and what it is there.
    means : (n, ndim)
    roots : (n, ndim, ndim) lower Cholesky factors of the covariances.
    """

    coordinates: unit_or_normal.Coordinates
    points: np.ndarray
    log_density_there: np.ndarray
    means: np.ndarray
    roots: np.ndarray

    @property
    def log_mass(self) -> np.ndarray:
        """Logarithm (n,) of the evidence under each normal, what lies outside the prior's support included."""
        own = [normal_log_density(*one)[0] for one in zip(self.points[:, None], self.means, self.roots, strict=True)]
        return self.log_density_there - own

    @property
    def shares(self) -> np.ndarray:
        """Weights (n,) of the mixture."""
        log_mass = self.log_mass
        return np.exp(log_mass - logsumexp(log_mass))

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `n` points, each normal its share to within one; return the latent vectors of those inside, shuffled."""
        edges = np.floor(np.cumsum(self.shares) * n + rng.random()).astype(int)
        edges[-1] = n
        counts = np.diff(np.concatenate([[0], np.clip(edges, 0, n)]))
        pieces = [
            mean + normal_points(count, len(mean), rng) @ root.T
            for mean, root, count in zip(self.means, self.roots, counts, strict=True)
            if count > 0
        ]
        return rng.permutation(self.coordinates.to_latent(np.concatenate(pieces))[0])

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Log density (n,) of latent vectors, in latent space, of the mixture before the prior's support cuts it."""
        t = self.coordinates.from_latent(z)
        logs = [normal_log_density(t, m, r) for m, r in zip(self.means, self.roots, strict=True)]
        return logsumexp(logs, axis=0, b=self.shares[:, None]) + self.coordinates.log_slope(z)


def normal_log_density(t: np.ndarray, mean: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Log density (n,) at t (n, ndim) of the normal with this mean and Cholesky factor of the covariance."""
    distance = np.sum(np.linalg.solve(root, (t - mean).T) ** 2, axis=0)
    return -0.5 * distance - np.sum(np.log(np.diagonal(root))) - 0.5 * len(mean) * np.log(2.0 * np.pi)


# -- the approximation -----------------------------------------------------------------------------------------------


def _approximate(
    posterior: Posterior, modes: Modes, where: unit_or_normal.Coordinates, size: int, *, hessian: bool
) -> tuple[_Normals, int, bool]:
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
    normals = _Normals(where, t, value, target, np.linalg.cholesky(covariance))
    keep = normals.log_mass > normals.log_mass.max() - 20.0
    kept = (a[keep] for a in (normals.points, normals.log_density_there, normals.means, normals.roots))
    return _Normals(where, *kept), steps, indefinite


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


def _draw(normals: _Normals, n: int, rng: np.random.Generator) -> tuple[_Normals, np.ndarray, int]:
    """Draw `n` latent vectors inside the prior's support; how many it took, those outside included.

    Where hardly any draw would be inside, the normals are moved towards it.
    """
    sd = np.sqrt(np.einsum("kij,kij->ki", normals.roots, normals.roots))
    unit = normals.coordinates.unit
    for outside in _OUTSIDE:
        means = np.where(unit, np.clip(normals.means, -outside * sd, 1.0 + outside * sd), normals.means)
        moved = replace(normals, means=means)
        z = moved.draw(n, rng)
        if len(z) > _INSIDE * n:
            break
    if not len(z):
        raise SkyfoldError(
            "Not one draw of the Laplace approximation lies inside the prior's support: the posterior is cut by too "
            "many bounds. Use another method, such as 'nuts'."
        )
    pieces, drawn = [z], n
    while sum(map(len, pieces)) < n:
        pieces.append(moved.draw(n, rng))
        drawn += n
    z = np.concatenate(pieces)
    # the last round is cut, so count the draws that it took
    drawn = max(round(drawn * n / len(z)), n)
    return moved, z[:n], drawn


def _quality(t: np.ndarray, log_weights: np.ndarray) -> dict[str, float]:
    """Pareto k-hat, effective draws, and how far mean and standard deviations are from those of the weighted draws."""
    weights = np.exp(log_weights - np.max(log_weights))
    weights /= weights.sum()
    mean, true_mean = t.mean(axis=0), weights @ t
    sd, true_sd = t.std(axis=0), np.sqrt(weights @ (t - true_mean) ** 2)
    floor = 1e-12 * sd
    effective = 1.0 / np.sum(weights**2)
    return {
        "khat": pareto_k(log_weights),
        "effective": float(effective),
        "efficiency": float(effective / len(t)),
        "mean_offset": float(np.max(np.abs(mean - true_mean) / np.maximum(true_sd, floor))),
        "sd_offset": float(np.max(np.abs(sd / np.maximum(true_sd, floor) - 1.0))),
    }


def _log_evidence(log_weights: np.ndarray, drawn: int) -> tuple[float, float]:
    """Log evidence of `drawn` draws, of which those with a weight are given, and its error by the delta method."""
    value = float(logsumexp(log_weights) - np.log(drawn))
    ratio = np.exp(log_weights - value)
    variance = np.sum(ratio**2) / drawn - 1.0
    return value, float(np.sqrt(max(variance, 0.0) / drawn))


def _complaints(quality: dict[str, float], corrected: bool, evidence_offset: float) -> tuple[str, ...]:
    """Why the draws must not be used as they are."""
    found = []
    off = (
        f"against the weighted draws its mean is off by up to {quality['mean_offset']:.2g} standard deviations, its "
        f"standard deviation by up to {100 * quality['sd_offset']:.0f}%, its log evidence by {evidence_offset:+.2g}"
    )
    if not quality["khat"] < RELIABLE:
        # a handful of draws with all the weight tells nothing
        how = f"{off}, if these weights can be trusted at all; " if quality["efficiency"] > _FEW else ""
        found.append(
            f"the posterior is far from normal: k-hat {quality['khat']:.2f} is not below {RELIABLE}, the weights are "
            f"{100 * quality['efficiency']:.2g}% efficient; {how}use 'auto' or 'nuts'"
        )
    elif not corrected and (quality["mean_offset"] > _CLOSE or quality["sd_offset"] > _CLOSE_SD):
        found.append(f"the posterior is not normal: {off}; use Laplace(corrected=True)")
    if corrected and quality["effective"] < _LEAST_ESS:
        found.append(
            f"the effective sample size is {quality['effective']:.0f}, below {_LEAST_ESS:.0f}: raise draws, or use "
            "'auto'"
        )
    return tuple(found)
