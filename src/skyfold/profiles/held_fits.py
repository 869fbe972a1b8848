"""Maxima of the likelihood while some parameters are held: what profiles and scans are made of.

A coordinate is held by bounds that coincide, so that it is an active constraint of the same Fisher scoring that finds
every other maximum (`skyfold.inference.search.scoring`). Many held fits, each with bounds of its own, run side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr, ndtri

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.inference.density import evaluate
from skyfold.inference.search import scoring
from skyfold.inference.search.landscape import landscape
from skyfold.inference.search.maxima import Modes
from skyfold.kernel import Kernel
from skyfold.parameters import is_symbol
from skyfold.posterior import FreeParameter, Posterior
from skyfold.results.description import ParameterDescription
from skyfold.results.predictive import flat_values
from skyfold.wording import unknown_name

#: Starts and screened prior draws in the search for the best fit.
SCREEN, STARTS = 4096, 32
#: Held fits per call of the executable, and most Fisher-scoring steps of each.
_BLOCK, _MAX_STEPS = 32, 200
#: Distance from a latent bound at which a coordinate counts as lying at it, and latent coordinate from which it is seen
#: whether it might as well.
_EDGE, _NEAR = 0.3, 4.5
#: Latent distance from the best fit beyond which an unbounded prior is not followed.
FARTHEST = 60.0


@dataclass(frozen=True)
class Entry:
    """One scalar entry of a parameter, which a single latent coordinate decides.

    Attributes
    ----------
    name, unit : as in tables.
    index : its latent coordinate.
    position : which of the values of all parameters, one after another, it is.
    low, high : limits of the latent coordinate, infinite where there is none.
    support : the values there.
    sharp : whether its prior has limits at both ends of the latent range, so that it is followed in the unit interval.
    """

    name: str
    unit: str
    index: int
    position: int
    low: float
    high: float
    support: tuple[float, float]
    sharp: bool

    def to_follow(self, z: Any) -> np.ndarray:
        """Coordinate in which it is followed: the unit interval of a bounded prior, else the latent one."""
        return ndtr(z) if self.sharp else np.asarray(z, dtype=float)

    def to_latent(self, t: Any) -> np.ndarray:
        """Undo `to_follow`."""
        return np.clip(ndtri(t), self.low, self.high) if self.sharp else np.clip(t, self.low, self.high)


def entries(posterior: Posterior, names: Sequence[str] | None = None) -> list[Entry]:
    """Entries of these parameters, by default of all.

    Parameters
    ----------
    names : names of parameters, or of single entries of vector parameters such as ``"lines.norm[2]"``.

    Raises
    ------
    SkyfoldError
        If there is no such parameter, or no single latent coordinate decides it (weights that sum to one, correlated
        normals, parameters whose prior depends on others).
    """
    low, high = posterior.latent_bounds()
    sharp = posterior.sharply_bounded()
    found: dict[str, list[Entry]] = {}
    alone = _decided_alone(posterior)
    position = 0
    for p in posterior.parameters:
        described = ParameterDescription.of(p)
        support = _support(p)
        own: list[Entry] = []
        for i, name in enumerate(described.entries):
            index = p.latent.start + i
            if alone[position] == index:
                limits = float(low[index]), float(high[index])
                own.append(Entry(name, p.label.unit, index, position, *limits, support[i], bool(sharp[index])))
            found[name] = own[-1:] if alone[position] == index else []
            position += 1
        if described.shape:
            found[p.name] = own if len(own) == len(described.entries) else []
    if names is None:
        picked = [e for name in entry_names(posterior) for e in found[name]]
        if not picked:
            raise SkyfoldError("No parameter here is decided by a single latent coordinate: nothing can be profiled.")
        return picked
    chosen: dict[str, Entry] = {}
    for name in [names] if isinstance(names, str) else names:
        if name not in found:
            raise unknown_name(name, found, "free parameter")
        if not found[name]:
            raise SkyfoldError(
                f"'{name}' cannot be held at a value: its prior ties it to other parameters, so that no single latent "
                "coordinate decides it. Give it a prior of its own, such as sf.Uniform(low, high)."
            )
        chosen.update({e.name: e for e in found[name]})
    return list(chosen.values())


def entry_names(posterior: Posterior) -> list[str]:
    """Names of all scalar entries of all parameters."""
    return [e for p in posterior.parameters for e in ParameterDescription.of(p).entries]


def _support(parameter: FreeParameter) -> list[tuple[float, float]]:
    """Limits of every entry of a parameter's value; infinite where they depend on other parameters."""
    limits = parameter.prior.support()
    if any(is_symbol(limit) for limit in limits):
        limits = (-np.inf, np.inf)
    low, high = (np.broadcast_to(np.asarray(limit, dtype=float), parameter.shape).ravel() for limit in limits)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _decided_alone(posterior: Posterior) -> np.ndarray:
    """Latent coordinate that alone decides each value, -1 where there is none."""
    points = np.random.default_rng(0).standard_normal((2, posterior.ndim))
    depends = np.any(jacobian(posterior, points) != 0, axis=0)
    return np.where(depends.sum(axis=1) == 1, np.argmax(depends, axis=1), -1)


# -- values, metric --------------------------------------------------------------------------------------------------


def jacobian(posterior: Posterior, z: np.ndarray) -> np.ndarray:
    """Derivatives (n, m, ndim) of the values of all parameters, one after another, at latent vectors (n, ndim)."""
    return np.asarray(_jacobian(posterior.kernel, z))


@jit
def _jacobian(kernel: Kernel, z: jax.Array) -> jax.Array:
    def flat(one: jax.Array) -> jax.Array:
        return jnp.concatenate([jnp.ravel(v) for v in kernel.values(one)])

    return jax.vmap(jax.jacfwd(flat))(z)


def metric(posterior: Posterior, z: np.ndarray) -> np.ndarray:
    """Fisher metric (ndim, ndim) of the data, the prior left out, at a latent vector; no new executable."""
    starts = np.repeat(z[None], STARTS, axis=0)
    limit = np.full(starts.shape, np.inf)
    found = scoring.climb_between(posterior, starts, -limit, limit, with_prior=False, max_steps=1)
    return found.metric[0] - np.eye(posterior.ndim)


def latent_covariance(posterior: Posterior, z: np.ndarray) -> np.ndarray:
    """Inverse (ndim, ndim) of the data's metric, coordinates at a bound being held.

    NaN for what is held, and for what the data do not constrain.
    """
    full = metric(posterior, z)
    low, high = posterior.latent_bounds()
    inside = (z > low + _EDGE) & (z < high - _EDGE) & (np.diagonal(full) > 0)
    covariance = np.full(full.shape, np.nan)
    if not inside.any():
        return covariance
    inner = full[np.ix_(inside, inside)]
    scale = np.sqrt(np.diagonal(inner))
    values, vectors = np.linalg.eigh(inner / np.outer(scale, scale))
    known = values > 1e-12
    loose = np.any(np.abs(vectors[:, ~known]) > 1e-5, axis=1)
    inverse = (vectors[:, known] / values[known]) @ vectors[:, known].T / np.outer(scale, scale)
    covariance[np.ix_(inside, inside)] = np.where(loose[:, None] | loose, np.nan, inverse)
    return covariance


def latent_of(posterior: Posterior, entry: Entry, values: np.ndarray) -> np.ndarray:
    """Latent coordinates (n,) at which an entry has these values, by bisection of its transport.

    Raises
    ------
    SkyfoldError
        If a value lies outside the prior's support.
    """
    values = np.asarray(values, dtype=float)
    low_edge, high_edge = np.clip((entry.low, entry.high), -FARTHEST, FARTHEST)
    low, high = np.full(len(values), low_edge), np.full(len(values), high_edge)

    def at(t: np.ndarray) -> np.ndarray:
        z = np.zeros((len(t), posterior.ndim))
        z[:, entry.index] = t
        return flat_values(posterior, z)[:, entry.position]

    bottom, top = at(low), at(high)
    rising = bool(np.all(top >= bottom))
    lowest, highest = np.minimum(bottom, top), np.maximum(bottom, top)
    slack = 1e-9 * (highest - lowest)
    outside = ~((values >= lowest - slack) & (values <= highest + slack))
    if np.any(outside):
        raise SkyfoldError(
            f"{entry.name} = {values[outside][0]:g} lies outside its prior, which reaches from {lowest[0]:g} to "
            f"{highest[0]:g}."
        )
    for _ in range(64):
        middle = 0.5 * (low + high)
        above = (at(middle) > values) == rising
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    middle = 0.5 * (low + high)
    return np.where(values == bottom, low_edge, np.where(values == top, high_edge, middle))


def at_bounds(posterior: Posterior, z: np.ndarray) -> np.ndarray:
    """Move coordinates to the bound beside which they lie where that costs no likelihood: fits hardly ever reach it."""
    low, high = posterior.latent_bounds()
    edge = np.where(z < 0, low, high)
    near = np.flatnonzero(np.isfinite(edge) & (np.abs(z) > _NEAR))
    moved = np.repeat(z[None], len(near) + 2, axis=0)
    moved[np.arange(len(near)), near] = edge[near]
    moved[-1, near] = edge[near]
    value = evaluate(posterior, moved)[1]
    kept = near[value[: len(near)] >= value[-2] - 1e-7]
    together = len(kept) == len(near) and value[-1] >= value[-2] - 1e-7
    if together or len(kept) == 1:
        z = z.copy()
        z[kept] = edge[kept]
    return z


# -- maxima ----------------------------------------------------------------------------------------------------------


def best_fit(posterior: Posterior, seed: int, start: np.ndarray | None = None) -> Modes:
    """Maxima of the likelihood, best first: from many prior draws, or from one latent vector."""
    if start is None:
        land = landscape(posterior, screened=SCREEN, starts=STARTS, seed=seed)
        return scoring.refine(posterior, land.first(), STARTS)
    return scoring.climb(posterior, np.repeat(np.atleast_2d(start), STARTS, axis=0), with_prior=False)


def climb_held(
    posterior: Posterior, starts: np.ndarray, held: np.ndarray, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maximise the likelihood with some coordinates held, from many starts at once.

    Parameters
    ----------
    starts : (n, ndim) latent vectors.
    held : (n, ndim) bool, which coordinates are held.
    at : (n, ndim) where they are held.

    Returns
    -------
    z, log_likelihood, converged : (n, ndim), (n,) -inf where no step was possible, and (n,)
    """
    low, high = posterior.latent_bounds()
    starts = np.where(held, at, starts)
    lower, upper = np.where(held, at, low), np.where(held, at, high)
    found = []
    for first in range(0, len(starts), _BLOCK):
        pick = first + np.arange(_BLOCK)
        pick = np.where(pick < len(starts), pick, first)
        # none is given up for others that are higher
        block = scoring.climb_between(
            posterior, starts[pick], lower[pick], upper[pick], with_prior=False, patience=_MAX_STEPS
        )
        n = min(_BLOCK, len(starts) - first)
        found.append((block.z[:n], block.value[:n], block.converged[:n]))
    z, value, converged = (np.concatenate(p) for p in zip(*found, strict=True))
    finite = np.isfinite(value)
    return z, np.where(finite, value, -np.inf), finite & (converged | np.all(held, axis=1))
