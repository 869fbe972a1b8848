r"""Widths of posteriors of point sources, corrected for pixels that share sources.

The likelihood takes pixels as independent, and the PSF lets a source shine into several of them: it is a composite
likelihood, the product of the exact probabilities of single pixels. Its maximum is where it should be, but its
curvature H is not the inverse variance of that maximum, which is the Godambe (sandwich) information

.. math:: G = H J^{-1} H, \quad H = E\Big[\sum_p s_p s_p^T\Big], \quad J = \mathrm{Cov}\Big[\sum_p s_p\Big]

with the scores :math:`s_p` of single pixels. H and J are means over skies that are simulated from the fitted model,
photon by photon, so that neighbouring pixels share sources as they do on the sky. Everything is done in latent
coordinates, where the prior is standard normal and adds one to both. The mean square error of the mean of the draws, of
precision P, is

.. math:: P^{-1} (J + 1) P^{-1} = P^{-1/2} V P^{-1/2}, \quad P = H + 1, \quad V = P^{-1/2} (J + 1) P^{-1/2}

and the affine map :math:`P^{-1/2} V^{1/2} P^{1/2}` about their mean gives them this covariance (the inverse of G where
the prior is weak). A sky that happens to show few bright sources gives parameters for which errors are small, and too
small: so V is found at the mean of the draws first, and then averaged over models that the first map says are likely.

References
----------
Godambe 1960, Ann. Math. Stat. 31, 1208; Pauli, Racugno & Ventura 2011, Statistica Sinica 21, 149; Ribatet, Cooley &
Davison 2012, Statistica Sinica 22, 813; Shaby 2014, J. Comput. Graph. Stat. 23, 310.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.gammaray.compound import Layout, arrange
from skyfold.gammaray.likelihood import CompoundPoisson
from skyfold.gammaray.maps import CountsMap
from skyfold.gammaray.psf import Psf
from skyfold.gammaray.simulation import Simulator, surroundings
from skyfold.kernel import Kernel

if TYPE_CHECKING:
    from skyfold.posterior import Posterior
    from skyfold.results.result import Result

#: Skies whose scores are found in one call of the executable.
_SKIES = 20
#: Models over which the covariance of the estimate is averaged.
_MODELS = 10
#: Room for skies of other models, brighter by this factor.
_SPARE = 1.25
#: Errors of the mean score beyond which it is not zero.
_BIASED = 5.0


@dataclass(frozen=True)
class Adjustment:
    """Affine map of latent vectors that makes them as wide as they should be.

    Attributes
    ----------
    centre : (ndim,) latent vector about which the map is made.
    information : H, (ndim, ndim), of pixels taken as independent, at the centre.
    bias : (ndim,) mean score over its standard error: beyond 4 or so the model's pixels are not those of the simulator.
    matrix : (ndim, ndim), of the map.
    """

    centre: np.ndarray
    information: np.ndarray
    bias: np.ndarray
    matrix: np.ndarray

    def __call__(self, latent: np.ndarray) -> np.ndarray:
        """Latent vectors (..., ndim), corrected."""
        return self.centre + (np.asarray(latent) - self.centre) @ self.matrix.T

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the latent coordinates afterwards, (ndim, ndim)."""
        return np.asarray(self.matrix @ np.linalg.inv(self.information + np.eye(len(self.centre))) @ self.matrix.T)

    @property
    def widening(self) -> np.ndarray:
        """Standard deviation of every latent coordinate after over before, (ndim,)."""
        before = np.linalg.inv(self.information + np.eye(len(self.centre)))
        return np.sqrt(np.diag(self.covariance) / np.diag(before))


def godambe(result: Result, psf: Psf | None, *, skies: int = 300, seed: int = 0, margin: float = 5.0) -> Result:
    r"""Correct the widths of a posterior for pixels that share sources.

    Parameters
    ----------
    result : a fit of one counts map with populations of point sources.
    psf : the PSF whose rho(f) the map was given; None where it was given none, f = [1].
    skies : simulated skies, so many at the mean of the draws and so many again around it; widths are known to about
        1/sqrt(2 skies).
    seed : the same seed gives the same draws.
    margin : degrees around the region from where sources send photons into it.

    Returns
    -------
    Result
        With the draws moved by an affine map in latent coordinates, where priors have no bounds, and a message that
        says by how much. It has no evidence: that of a composite likelihood means nothing.

    Raises
    ------
    SkyfoldError
        If the result is not a sample of the posterior of one counts map with point sources, or the skies are too few.

    References
    ----------
    Ribatet, Cooley & Davison 2012, Statistica Sinica 22, 813; Pauli, Racugno & Ventura 2011, Statistica Sinica 21, 149.

    Examples
    --------
    >>> corrected = g.godambe(result, psf)  # doctest: +SKIP
    """
    from skyfold.inference.density import evaluate

    draws, posterior = result.draws, result.posterior
    if draws.is_point:
        raise SkyfoldError("A point estimate has no widths to correct; fit with 'auto' or 'nuts'.")
    flat = draws.latent.reshape(-1, posterior.ndim)
    said = [n for _, o in posterior.pairs.values() for n in getattr(o, "notes", ())]
    found = adjustment(posterior, draws.weights().ravel() @ flat, psf, skies=skies, seed=seed, margin=margin)
    moved = found(draws.latent)
    widening = found.widening
    note = (
        f"widths corrected for pixels that share sources, by {skies} simulated skies: standard deviations in latent "
        f"coordinates times {widening.min():.2f} to {widening.max():.2f}"
    )
    if np.max(np.abs(found.bias)) > _BIASED:
        note += (
            f"; the mean score is {np.max(np.abs(found.bias)):.1f} of its errors from zero, so the PSF, the range of S "
            "or the exposure of the map are not those of the simulated skies"
        )
    return type(result)(
        posterior,
        replace(
            draws,
            latent=moved,
            log_likelihood=evaluate(posterior, moved.reshape(flat.shape))[1].reshape(draws.log_likelihood.shape),
            log_evidence=None,
            log_evidence_error=None,
            messages=(*(m for m in draws.messages if m not in said), note),
            evaluations=draws.evaluations + len(flat),
        ),
    )


def adjustment(
    posterior: Posterior, latent: Any, psf: Psf | None, *, skies: int = 300, seed: int = 0, margin: float = 5.0
) -> Adjustment:
    """Find the map of `godambe` at one latent vector (ndim,), such as the mean of the posterior."""
    latent, n = np.asarray(latent, dtype=np.float64), posterior.ndim
    sky = next(iter(posterior.pairs.values()))[1]
    known = isinstance(sky, CountsMap) and isinstance(sky.likelihood, CompoundPoisson)
    if len(posterior.pairs) != 1 or not known or not posterior.exact:
        raise SkyfoldError(
            "The Godambe adjustment is for the posterior of one counts map whose model has populations of point "
            "sources, with priors that are normal transports; smooth emission and other data need none."
        )
    if skies < 10 * n:
        raise SkyfoldError(f"{skies} skies are too few for the covariance of {n} scores; give at least {10 * n}.")
    assert isinstance(sky, CountsMap) and isinstance(sky.likelihood, CompoundPoisson)
    around = surroundings(sky, 0.0 if psf is None else margin)
    data = _skies(posterior, latent, psf, skies, [seed, 40], around)
    room = _room(sky.likelihood, data)
    first = _scores_of(posterior, room, data, latent)
    found = _adjusted(latent, first.information, [first])
    likely = np.random.default_rng([seed, 41]).multivariate_normal(latent, found.covariance, size=_MODELS)
    each = -(-skies // _MODELS)
    others = [_skies(posterior, z, psf, each, [seed, 42, number], around) for number, z in enumerate(likely)]
    if any(arrange(d, room.prepared.layout).shape != room.prepared.layout.shape for d in np.concatenate(others)):
        room = _room(room, np.concatenate(others))
    groups = [_scores_of(posterior, room, data, z) for data, z in zip(others, likely, strict=True)]
    return _adjusted(latent, first.information, groups)


class _Group(NamedTuple):
    """Mean information (ndim, ndim) of skies of one model, and their scores (n, ndim)."""

    information: np.ndarray
    scores: np.ndarray


def _skies(
    posterior: Posterior, latent: np.ndarray, psf: Psf | None, skies: int, seed: list[int], around: Any
) -> np.ndarray:
    """Counts (skies, n_data) of the model at a latent vector."""
    ((model, sky),) = posterior.resolved(latent).values()
    assert isinstance(sky, CountsMap) and sky.blur is not None
    simulator = Simulator.of(model, sky, psf, s_range=sky.blur.s_range, around=around)
    return np.stack([simulator.draw([*seed, number])[0] for number in range(skies)])


def _room(likelihood: CompoundPoisson, data: np.ndarray) -> CompoundPoisson:
    """Likelihood whose layout has room for every data set (n, n_data), and brighter ones: they share an executable."""
    return likelihood.with_data(np.ceil(_SPARE * np.sort(data, axis=1).max(axis=0)))


def _scores_of(posterior: Posterior, room: CompoundPoisson, data: np.ndarray, latent: np.ndarray) -> _Group:
    """Scores of data sets (n, n_data), and the mean information of pixels taken as independent."""
    from skyfold.results.predictive import in_chunks

    kernel = eqx.tree_at(_likelihood, posterior.kernel, jax.tree.map(jnp.asarray, room))
    layouts = [arrange(d, room.prepared.layout) for d in data]
    arrays = [np.stack(leaves) for leaves in zip(*map(jax.tree.leaves, layouts), strict=True)]
    structure = jax.tree.structure(layouts[0])

    def call(*chunk: np.ndarray) -> Any:
        return _scores(kernel, jax.tree.unflatten(structure, chunk), latent)

    scores, information = in_chunks(call, *arrays, size=_SKIES)
    return _Group(information.mean(axis=0), scores)


def _likelihood(kernel: Kernel) -> Any:
    return kernel.pairs[0][1].likelihood


@jit
def _scores(kernel: Kernel, layouts: Layout, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Score (n, ndim) and information (n, ndim, ndim) of each layout of counts."""

    def one(layout: Layout) -> tuple[jax.Array, jax.Array]:
        own = eqx.tree_at(lambda k: _likelihood(k).prepared.layout, kernel, layout)
        each = jax.jacfwd(lambda x: own.pointwise(x)[0])(z)
        return jnp.sum(each, axis=0), each.T @ each

    return lax.map(one, layouts)


def _adjusted(centre: np.ndarray, information: np.ndarray, groups: list[_Group]) -> Adjustment:
    """Map about `centre`, where draws have this information beside the prior's, for groups of simulated skies."""
    one = np.eye(len(centre))
    scores = np.concatenate([g.scores for g in groups])
    error = np.sqrt(np.mean(scores**2, axis=0) / len(scores))
    bias = scores.mean(axis=0) / np.where(error > 0, error, 1.0)
    wider = np.zeros_like(one)
    for group in groups:
        root = _power(group.information + one, -0.5)
        wider += root @ (group.scores.T @ group.scores / len(group.scores) + one) @ root / len(groups)
    precision = information + one
    matrix = _power(precision, -0.5) @ _power(wider, 0.5) @ _power(precision, 0.5)
    return Adjustment(centre, information, bias, matrix)


def _power(symmetric: np.ndarray, exponent: float) -> np.ndarray:
    size, axes = np.linalg.eigh(symmetric)
    return np.asarray((axes * size**exponent) @ axes.T)
