"""Mass marginalised analytically: a likelihood from which the scale of the model is gone, and draws that bring it back.

A galaxy's light is proportional to its mass, so Gaussian data have a likelihood that is Gaussian in the mass. With
prediction f for unit mass, data d and errors sigma

    ln L(M) = ln L(M_best) - (M - M_best)^2 / (2 s^2),  s^-2 = sum f^2/sigma^2,  M_best = s^2 sum f d/sigma^2

and the integral over a prior of M is one over one Gaussian: in closed form for uniform, normal and truncated normal
priors, by a quadrature of one dimension for a log-uniform prior.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr

from skyfold.axis import Axis
from skyfold.compiled.annotation import Annotation
from skyfold.component import Sum
from skyfold.errors import SkyfoldError
from skyfold.galaxy.sfh.base import StarFormationHistory
from skyfold.likelihoods.likelihood import Likelihood
from skyfold.observation import Observation
from skyfold.parameters import Prior, is_symbol
from skyfold.priors import LogUniform, Normal, TruncatedNormal, Uniform
from skyfold.results.derived import Derived
from skyfold.results.result import Result

#: Twice the e-folds below its greatest value at which a density is nothing, and where, in standard deviations of the
#: mass, its quadrature is split in a part in ln M and one in M.
_FOLDS, _NEAR = 80.0, 0.05
#: Limit that stands for an infinite one.
_HUGE = 1e30
#: Nodes of the quadrature: over the peak, and in ln M below it.
_PEAK, _TAIL = 64, 24


class Conditional(NamedTuple):
    """Density of the mass given the rest: normal between limits, over M where `inverse`.

    Attributes
    ----------
    centre, width : mean and standard deviation of the normal.
    low, high : limits.
    log_factor : logarithm of what stands before its integral.
    inverse : whether the density has a factor 1/M.
    """

    centre: Any
    width: Any
    low: Any
    high: Any
    log_factor: Any
    inverse: bool


class FreeScale(Likelihood):
    r"""Normal data of a model whose scale is integrated out; infinite errors mark missing data.

    The statistic is chi-squared at the best scale, of one degree of freedom less than there are data.

    Attributes
    ----------
    data, sigma : (n,) arrays.
    norm : (n,) logarithm of each normal density's factor, 0 where there is no datum.
    """

    independent: ClassVar[bool] = False
    statistic_name: ClassVar[str] = "chi2"
    integrated: ClassVar[int] = 1
    data: Any
    sigma: Any
    norm: Any

    def __init__(self, data: Any, sigma: Any) -> None:
        self.sigma = np.asarray(sigma, dtype=np.float64)
        there = np.isfinite(self.sigma)
        self.data = np.where(there, np.asarray(data, dtype=np.float64), 0.0)
        self.norm = np.where(there, -np.log(np.where(there, self.sigma, 1.0)) - 0.5 * np.log(2 * np.pi), 0.0)

    @property
    def n_measured(self) -> int:
        return int(np.isfinite(self.sigma).sum())

    def sums(self, expected: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Sums of f^2/sigma^2 and f d/sigma^2 over the last axis of expected data f (..., n)."""
        f = expected / self.sigma
        return jnp.maximum(jnp.sum(f * f, axis=-1), 1e-250), jnp.sum(f * (self.data / self.sigma), axis=-1)

    def deviance(self, expected: jax.Array) -> jax.Array:
        """Chi-squared of expected data (..., n)."""
        return jnp.sum(((self.data - expected) / self.sigma) ** 2, axis=-1)

    def expected_statistic(self, expected: np.ndarray) -> tuple[float, float]:
        n = self.n_measured - self.integrated
        return float(n), float(np.sqrt(2.0 * n))

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        there = np.isfinite(self.sigma)
        drawn = expected + np.where(there, self.sigma, 0.0) * rng.standard_normal(np.shape(expected))
        return np.where(there, drawn, 0.0)

    def with_data(self, data: Any) -> Self:
        return type(self)(data, self.sigma)

    @property
    def variance(self) -> np.ndarray:
        return np.square(self.sigma)


class MassMarginal(Observation):
    r"""Observations of which the mass of the model is integrated out.

    .. math:: L(f) = \int p(M) \prod_i N(d_i; M f_i, \sigma_i)\,dM

    The expected data are f, those of the model as it stands; M multiplies whatever mass the model has, so fix the mass
    of the star-formation history at one solar mass. Several observations of one model share one M. Draws of M come
    from `mass_draws`; `Result.derive` puts them back into the galaxy, so that rates and masses are its own.

    The data are not independent given f. `information` is that of f with M fitted (exact for data of high signal; for
    weak data it is a guide for optimisers, never part of the likelihood). `statistic` is chi-squared at the best M
    within the prior. `sample` draws M from its prior.

    Parameters
    ----------
    *observations : observations with Gaussian likelihoods and constant errors.
    prior : of M: ``Uniform``, ``LogUniform``, ``Normal`` or ``TruncatedNormal`` with numbers as arguments. Default
        ``LogUniform(1e5, 1e13)``.
    name : default that of the first observation.

    Raises
    ------
    SkyfoldError
        If an observation's likelihood is not Gaussian with constant errors (Student-t, upper limits, nuisances that
        scale with the model), or the prior is another.
    """

    likelihood: FreeScale
    parts: tuple[Observation, ...]
    prior: Prior

    def __init__(self, *observations: Observation, prior: Prior | None = None, name: str | None = None) -> None:
        if not observations:
            raise SkyfoldError("MassMarginal needs at least one observation, as in MassMarginal(photometry).")
        for o in observations:
            _check_gaussian(o)
        self.parts = tuple(observations)
        self.prior = mass_prior(prior)
        self.likelihood = FreeScale(
            np.concatenate([np.ravel(o.likelihood.data) for o in observations]),
            np.concatenate([np.ravel(o.likelihood.sigma) for o in observations]),  # type: ignore[attr-defined]
        )
        self.annotation = Annotation(name or observations[0].name)

    @property
    def independent(self) -> bool:
        return False

    def predict(self, model: Any) -> jax.Array:
        return jnp.concatenate([o.predict(model) for o in self.parts])

    def bound(self, model: Any) -> Self:
        """Do beforehand what each part can do for this model, see `Photometry.bound`.

        Raises
        ------
        SkyfoldError
            If the mass of the model is free: it would be counted twice.
        """
        scales = [s for g in _galaxies(model) for s in g.sfh.scales()]
        if scales and all(is_symbol(s) for s in scales):
            raise SkyfoldError(
                f"'{self.name}': the mass is integrated out, and free in the star-formation history as well; the data "
                "tell their product only. Fix it there: log_mass=0 (of one of the histories, where several add up)."
            )
        return eqx.tree_at(lambda o: o.parts, self, tuple(part.bound(model) for part in self.parts))

    def pointwise(self, expected: jax.Array) -> jax.Array:
        raise SkyfoldError(f"'{self.name}': with the mass integrated out no datum has a likelihood of its own.")

    def _conditional(self, expected: Any) -> Conditional:
        return conditional(self.prior, *self.likelihood.sums(expected))

    def log_likelihood(self, expected: jax.Array) -> jax.Array:
        precision, cross = self.likelihood.sums(expected)
        at_best = jnp.sum(self.likelihood.norm) - 0.5 * self.likelihood.deviance(expected * (cross / precision))
        return at_best + log_evidence(conditional(self.prior, precision, cross))

    def best_mass(self, expected: Any) -> jax.Array:
        """Most probable M before any factor 1/M, within the limits of the prior; `expected` (..., n)."""
        c = self._conditional(jnp.asarray(expected))
        return jnp.clip(c.centre, c.low, c.high)

    def scaled(self, expected: Any) -> jax.Array:
        """Expected data (..., n) at the best mass."""
        return self.best_mass(expected)[..., None] * jnp.asarray(expected)

    def mean(self, expected: jax.Array) -> jax.Array:
        return self.scaled(expected)

    def contribution(self, part: Any, expected: Any) -> jax.Array:
        return self.best_mass(expected) * self.predict(part)

    @property
    def axis(self) -> Axis:
        return Axis.joined([o.axis for o in self.parts])

    def integrated(self, rng: np.random.Generator | None, expected: np.ndarray) -> np.ndarray:
        """Draws (n,) of M, or its best, for expected data (n, n_data)."""
        return np.asarray(self.best_mass(expected)) if rng is None else self.draw_mass(rng, expected)

    def restored(self, model: Any, value: Any) -> Any:
        """Model whose star-formation histories form M times as much."""
        dex = jnp.log10(jnp.maximum(value, 1e-300))
        histories = [g.sfh.scaled(dex) for g in _galaxies(model)]
        return eqx.tree_at(lambda m: [g.sfh for g in _galaxies(m)], model, histories) if histories else model

    def _typical(self, expected: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Root mean square of M given the data, within its limits, and the width of its density."""
        c = self._conditional(expected)
        return jnp.clip(jnp.sqrt(c.centre**2 + c.width**2), c.low, c.high), c.width

    def fisher(self, expected: jax.Array) -> jax.Array:
        """Diagonal of the information of the expected data, (n_data,); the matrix is not diagonal."""
        mass, width = self._typical(expected)
        f = expected / self.likelihood.sigma
        # what of the information stays when M is not known
        return (mass / self.likelihood.sigma) ** 2 * jnp.maximum(1.0 - (width * f) ** 2, 0.0)

    def displacement(self, start: jax.Array, end: jax.Array) -> jax.Array:
        """Way between the directions of two predictions in data space, and along them as far as the prior knows M.

        Their lengths say nothing where M is free.
        """
        f, g = start / self.likelihood.sigma, end / self.likelihood.sigma
        length = jnp.sqrt(jnp.maximum(f @ f, 1e-250))
        along = f / length
        mass, width = self._typical(start)
        known = 1.0 - (width * length) ** 2
        known = jnp.where(known > 1e-12, jnp.sqrt(jnp.where(known > 1e-12, known, 1.0)), 0.0)
        turned = length * (g / jnp.sqrt(jnp.maximum(g @ g, 1e-250)) - along)
        return mass * (turned + known * (along @ (g - f)) * along)

    def whitening(self, expected: jax.Array) -> Callable[[jax.Array], jax.Array]:
        return jax.linearize(partial(self.displacement, expected), expected)[1]

    def statistic(self, expected: jax.Array) -> jax.Array:
        return self.likelihood.deviance(self.scaled(expected))

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        expected = np.asarray(expected)
        z = jnp.asarray(rng.standard_normal(expected.shape[:-1]))
        mass = np.asarray(self.prior.transport(z))
        return self.likelihood.sample(rng, mass[..., None] * expected)

    def replicate(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        return self.likelihood.sample(rng, self.draw_mass(rng, expected)[:, None] * expected)

    def draw_mass(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        """One draw of M given the data and each row of expected data (k, n): (k,).

        By inversion of the distribution function on 3,000 points over the density's support.
        """
        expected = np.atleast_2d(expected)
        if not np.all(np.isfinite(expected)):
            raise SkyfoldError(f"'{self.name}': expected data that are no numbers have no mass.")
        c = self._conditional(expected)
        scaled = [v / c.width for v in (c.centre, c.low, c.high)]
        ends = (_panels if c.inverse else support)(*scaled)
        columns = [np.broadcast_to(np.asarray(v), len(expected)) for v in (scaled[0], scaled[1], *ends)]
        t = [
            _inverted(centre, low, begin, end, c.inverse, u)
            for centre, low, begin, end, u in zip(*columns, rng.random(len(expected)), strict=True)
        ]
        return np.array(t) * np.asarray(c.width)


def _galaxies(model: Any) -> list[Any]:
    """Galaxies of a model, which may be a sum; what has no star-formation history is left out."""
    parts = model.parts if isinstance(model, Sum) else (model,)
    return [p for p in parts if isinstance(getattr(p, "sfh", None), StarFormationHistory)]


def mass_draws(result: Result, name: str | None = None, seed: int = 0) -> Derived:
    """Draws of the mass that was integrated out, for equally weighted draws of the rest; the best one of a point.

    Parameters
    ----------
    result : of a posterior with a `MassMarginal` observation.
    name : of the observation in the posterior; needed where there are several.
    seed : of the draws.

    Returns
    -------
    Derived
        Its ``values`` (n,) belong to the rows of ``result.equal_weight_latent()``. Solar masses, for a model of one.

    Raises
    ------
    SkyfoldError
        If there is no such observation, or several and no name.
    """
    own = {n: o for n, (_, o) in result.posterior.pairs.items() if isinstance(o, MassMarginal)}
    if name is None and len(own) == 1:
        name = next(iter(own))
    if name not in own:
        raise SkyfoldError(
            f"mass_draws: name one of the observations with marginalised mass: {', '.join(own) or 'there are none'}."
        )
    values = result.integrated(name, result.equal_weight_latent(), seed)
    return Derived("mass", "Msun", np.asarray(values), "drawn given the other parameters")


def log_evidence(c: Conditional) -> jax.Array:
    """Logarithm of the integral of a conditional density over the mass, (...)."""
    if c.inverse:
        return c.log_factor + _log_integral_over_mass(c.centre / c.width, c.low / c.width, c.high / c.width)
    log_probability = _log_between((c.low - c.centre) / c.width, (c.high - c.centre) / c.width)
    return c.log_factor + jnp.log(c.width) + 0.5 * jnp.log(2 * jnp.pi) + log_probability


def conditional(prior: Prior, precision: Any, cross: Any) -> Conditional:
    """Conditional density of the mass, for sum f^2/sigma^2 and sum f d/sigma^2."""
    best, width = cross / precision, precision**-0.5
    if isinstance(prior, Uniform):
        return Conditional(best, width, prior.low, prior.high, -jnp.log(prior.high - prior.low), False)
    if isinstance(prior, LogUniform):
        norm = -jnp.log(jnp.log(prior.high) - jnp.log(prior.low))
        return Conditional(best, width, prior.low, prior.high, norm, True)
    loc, scale = prior.loc, prior.scale  # type: ignore[attr-defined]
    low, high = (jnp.clip(limit, -_HUGE, _HUGE) for limit in prior.support())
    known = precision + scale**-2.0
    factor = -jnp.log(scale) - 0.5 * jnp.log(2 * jnp.pi) - 0.5 * (best - loc) ** 2 / (scale**2 + width**2)
    if isinstance(prior, TruncatedNormal):
        factor = factor - _log_between((low - loc) / scale, (high - loc) / scale)
    return Conditional((cross + loc * scale**-2.0) / known, known**-0.5, low, high, factor, False)


def _log_between(a: Any, b: Any) -> jax.Array:
    """Logarithm of the normal probability between a < b, also far out and for narrow ranges."""
    a, b = jnp.asarray(a), jnp.asarray(b)
    flip = a + b > 0
    low, high = jnp.where(flip, -b, a), jnp.minimum(jnp.where(flip, -a, b), 40.0)
    narrow = high - low < 0.01
    x, weight = np.polynomial.legendre.leggauss(4)
    middle, half = 0.5 * (low + high), 0.5 * jnp.where(narrow, high - low, 1.0)
    # about the edge of greater density, whose logarithm is taken out
    t = middle[..., None] + half[..., None] * x
    edge = jnp.where(narrow, high, 0.0)
    density = jnp.exp(jnp.where(narrow[..., None], 0.5 * (edge[..., None] - t) * (edge[..., None] + t), 0.0))
    thin = jnp.log(half) + jnp.log(jnp.sum(weight * density, axis=-1)) - 0.5 * edge**2 - 0.5 * jnp.log(2 * jnp.pi)
    start = jnp.where(narrow, high - 1.0, jnp.maximum(low, 1.001 * jnp.minimum(high, 0.0) - 40.0))
    top = log_ndtr(high)
    wide = top + jnp.log1p(-jnp.exp(log_ndtr(start) - top))
    return jnp.where(narrow, thin, wide)


def _panels(centre: Any, low: Any, high: Any) -> tuple[Any, Any]:
    """Ends of the range that holds the peak of exp(-(t - centre)^2/2) / t between low and high."""
    begin, end = support(centre, low, high)
    return jnp.minimum(jnp.maximum(begin, jnp.minimum(_NEAR, end)), end), end


def support(centre: Any, low: Any, high: Any) -> tuple[Any, Any]:
    """Ends of the part of low .. high in which exp(-(t - centre)^2/2) is within 40 e-folds of its greatest value."""
    after, before = jnp.maximum(low - centre, 0.0), jnp.maximum(centre - high, 0.0)
    begin = jnp.minimum(centre, high) - _FOLDS / (jnp.sqrt(before**2 + _FOLDS) + before)
    end = jnp.maximum(centre, low) + _FOLDS / (jnp.sqrt(after**2 + _FOLDS) + after)
    return jnp.maximum(begin, low), jnp.minimum(end, high)


def _log_integral_over_mass(centre: Any, low: Any, high: Any) -> jax.Array:
    r"""Logarithm of :math:`\int e^{-(t - c)^2/2} dt / t` between low and high; relative error below 1e-6."""
    begin, end = _panels(centre, low, high)
    nearest = jnp.clip(centre, low, high)
    floor = 0.5 * (nearest - centre) ** 2
    x, weight = (np.asarray(v) for v in np.polynomial.legendre.leggauss(_PEAK))
    half = 0.5 * (end - begin)[..., None]
    t = begin[..., None] + half * (1.0 + x)
    peak = jnp.sum(half * weight * jnp.exp(floor[..., None] - 0.5 * (t - centre[..., None]) ** 2) / t, axis=-1)
    x, weight = (np.asarray(v) for v in np.polynomial.legendre.leggauss(_TAIL))
    half = 0.5 * (jnp.log(begin) - jnp.log(low))[..., None]
    t = jnp.exp(jnp.log(low) + half * (1.0 + x))
    tail = jnp.sum(half * weight * jnp.exp(floor[..., None] - 0.5 * (t - centre[..., None]) ** 2), axis=-1)
    return jnp.log(peak + tail) - floor


def _inverted(centre: float, low: float, begin: float, end: float, inverse: bool, u: float) -> float:
    """Mass over its width at which the distribution function of one conditional density is u."""
    t = np.linspace(begin, end, 1500 if inverse else 3000)
    if inverse and begin > low:
        t = np.concatenate([np.geomspace(low, begin, 1500)[:-1], t])
    log_density = -0.5 * (t - centre) ** 2 - (np.log(t) if inverse else 0.0)
    density = np.exp(log_density - log_density.max())
    total = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(t))])
    return float(np.interp(u * total[-1], total, t))


def mass_prior(prior: Any = None) -> Prior:
    """Prior of a mass that can be integrated out; default ``LogUniform(1e5, 1e13)``.

    Raises
    ------
    SkyfoldError
        If it is another than ``Uniform``, ``LogUniform``, ``Normal`` or ``TruncatedNormal`` with numbers as arguments.
    """
    prior = LogUniform(1e5, 1e13) if prior is None else prior
    if not isinstance(prior, Uniform | LogUniform | Normal | TruncatedNormal) or type(prior).__name__ == "HalfNormal":
        raise SkyfoldError(
            f"MassMarginal integrates Uniform, LogUniform, Normal and TruncatedNormal priors of mass, not {prior!r}; "
            "with another prior leave the mass a parameter."
        )
    if any(is_symbol(value) or np.ndim(value) for _, value in prior.arguments()):
        raise SkyfoldError(f"MassMarginal: the arguments of {prior!r} must be numbers.")
    return prior


def _check_gaussian(o: Any) -> None:
    if not isinstance(o, Observation):
        raise SkyfoldError(f"MassMarginal takes observations, as in MassMarginal(photometry), not {type(o).__name__}.")
    own = (getattr(type(o), method) is getattr(Observation, method) for method in ("log_likelihood", "pointwise"))
    # a spectrum without nuisances is as Gaussian as its likelihood
    plain = all(own) or getattr(o, "marginalises", True) is False
    if not o.likelihood.normal or not plain:
        raise SkyfoldError(
            f"MassMarginal: the likelihood of '{o.name}' is not Gaussian with constant errors, so it is not Gaussian "
            "in the mass either. Leave out Student-t outliers, upper limits and marginalised nuisances, or leave the "
            "mass a parameter."
        )
