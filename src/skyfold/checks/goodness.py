"""Goodness of fit: the statistic of the best fit against simulated data sets, and against its expectation.

`simulated_statistic` is what XSPEC's command ``goodness`` does: data sets are drawn from the fitted model, each is
fitted again, and the statistics of these fits show what the statistic of a good fit looks like. `expected_statistic`
needs no simulation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.inference.search.scoring import climb_batch
from skyfold.posterior import Posterior
from skyfold.results.predictive import in_chunks, predict, statistics
from skyfold.results.result import Result
from skyfold.wording import p_text

#: Data sets that are fitted in one call of the executable, and most steps of each fit.
SETS, _MAX_STEPS = 64, 100

#: Promised gain in log-likelihood below which a fit is at its maximum.
_STATIONARY = 1e-3


@dataclass(frozen=True, repr=False)
class SimulatedStatistic:
    """Statistic of the observed data among those of simulated data sets.

    Attributes
    ----------
    name : name of the statistic.
    observed : statistic of the data.
    simulated : (n,) statistic of each simulated data set.
    latent : (n, ndim) where each was evaluated: its own maximum of the likelihood, or the point it was drawn from.
    refitted : whether every data set was fitted again.
    failed : number of fits that did not reach a maximum; they are kept.
    observations : the same for each observation: observed and simulated statistics.
    """

    name: str
    observed: float
    simulated: np.ndarray
    latent: np.ndarray
    refitted: bool
    failed: int
    observations: dict[str, tuple[float, np.ndarray]] = field(default_factory=dict)

    @property
    def percentile(self) -> float:
        """Percentage of simulated statistics below the observed one, as XSPEC prints it; above 95: a poor fit."""
        return 100.0 * float(np.mean(self.simulated < self.observed))

    @property
    def p_value(self) -> float:
        """Fraction of simulated statistics that are at least the observed one."""
        return float(np.mean(self.simulated >= self.observed))

    def __repr__(self) -> str:
        low, middle, high = np.quantile(self.simulated, [0.05, 0.5, 0.95])
        how = "each fitted again" if self.refitted else "at the parameters they were drawn from"
        lines = [
            f"{self.name} {self.observed:.2f}; {len(self.simulated)} simulated data sets, {how}: median {middle:.2f}, "
            f"90% {low:.2f} .. {high:.2f}",
            f"{self.percentile:.1f}% of them lie below the data's ({p_text(self.p_value, len(self.simulated))})",
        ]
        if self.failed:
            lines.append(f"warning: {self.failed} fits did not reach a maximum of the likelihood")
        return "\n".join(lines)


@dataclass(frozen=True, repr=False)
class ExpectedStatistic:
    """Statistic of the best fit against what its model makes expect.

    Attributes
    ----------
    name : name of the statistic.
    observed, expected, sd : the statistic, its mean and its standard deviation for data drawn from the model. A fit
        of p parameters lowers the statistic by about p, which is not subtracted.
    observations : the same three for each observation.
    """

    name: str
    observed: float
    expected: float
    sd: float
    observations: dict[str, tuple[float, float, float]]

    @property
    def deviation(self) -> float:
        """How many standard deviations the statistic lies above its mean."""
        return (self.observed - self.expected) / self.sd

    def __repr__(self) -> str:
        return (
            f"{self.name} {self.observed:.2f}, expected {self.expected:.2f} +- {self.sd:.2f} ({self.deviation:+.2f} sd)"
        )


def expected_statistic(result: Result) -> ExpectedStatistic:
    """Compare the statistic of the best fit with its expectation (Kaastra 2017, A&A 605, A51).

    Raises
    ------
    SkyfoldError
        If the expectation of an observation's statistic is not known.
    """
    expected = result.posterior.predict(result.best_latent)
    found = {}
    for name, (_, observation) in result.posterior.pairs.items():
        mean, sd = observation.likelihood.expected_statistic(np.asarray(expected[name]))
        found[name] = (result.statistics[name], mean, sd)
    observed, mean, sd = np.array(list(found.values())).T
    return ExpectedStatistic(
        result.description.statistic_name, float(observed.sum()), float(mean.sum()), float(np.hypot.reduce(sd)), found
    )


def simulated_statistic(
    fitted: Posterior | Result, n: int = 1000, *, refit: bool = True, parameters: str = "best", seed: int = 0
) -> SimulatedStatistic:
    """Statistics of data sets drawn from a fitted model.

    Parameters
    ----------
    fitted : a result, or a posterior, whose maximum of the likelihood is then found first.
    n : number of data sets.
    refit : fit each again, by Fisher scoring from the parameters it was drawn from, all at once. Without it the
        statistics are those at these parameters, which a fit to the observed data undercuts: compare them with its
        statistic only where parameters are few against data.
    parameters : ``"best"``: all from the maximum of the likelihood (parametric bootstrap); ``"posterior"``: each from
        another draw of the posterior.
    seed : seed of the data sets.

    Raises
    ------
    SkyfoldError
        If `parameters` is ``"posterior"`` and there are no draws, or no data can be drawn.
    """
    if parameters not in ("best", "posterior"):
        raise SkyfoldError(f"parameters must be 'best' or 'posterior', not {parameters!r}.")
    result = fitted if isinstance(fitted, Result) else fitted.fit("mle", seed=seed, progress=False)
    if parameters == "posterior" and result.draws.is_point:
        raise SkyfoldError("A point estimate has no posterior to draw parameters from; fit with 'auto' or 'nuts'.")
    posterior = result.posterior
    best = np.asarray(result.best_latent)
    draws = result.equal_weight_latent(n) if parameters == "posterior" else np.tile(best, (n, 1))
    truth = draws[np.arange(n) % len(draws)]
    unique, index = np.unique(truth, axis=0, return_inverse=True)
    expected = predict(posterior, unique)
    rng = np.random.default_rng([seed, 30])
    data = {}
    for name, (_, observation) in posterior.pairs.items():
        try:
            data[name] = observation.sample(rng, expected[name][np.ravel(index)])
        except ValueError as error:
            raise SkyfoldError(f"No data can be drawn for '{name}': {error}") from error
    if refit:
        # the observed data are fitted like the others
        starts = np.concatenate([best[None], truth])
        latent, values, failed = _refitted(posterior, data, starts)
        observed, simulated, latent = values[0], values[1:], latent[1:]
    else:
        latent, failed = truth, 0
        observed = np.array([result.statistics[name] for name in posterior.pairs])
        simulated = np.stack(
            [
                statistics(observation, data[name], expected[name][np.ravel(index)])
                for name, (_, observation) in posterior.pairs.items()
            ],
            axis=1,
        )
    return SimulatedStatistic(
        name=posterior.statistic_name,
        observed=float(observed.sum()),
        simulated=simulated.sum(axis=1),
        latent=latent,
        refitted=refit,
        failed=failed,
        observations={name: (float(observed[i]), simulated[:, i]) for i, name in enumerate(posterior.pairs)},
    )


def _refitted(
    posterior: Posterior, data: dict[str, np.ndarray], starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Maxima (n + 1, ndim) and statistics (n + 1, observations) of the observed and n other data sets."""
    kernel = posterior.kernel
    same, structure = jax.tree.flatten(kernel)
    sets = [same]
    for number in range(len(starts) - 1):
        others = tuple(o.with_data(data[name][number]) for name, (_, o) in zip(data, kernel.pairs, strict=True))
        sets.append(jax.tree.leaves(eqx.tree_at(lambda k: tuple(o for _, o in k.pairs), kernel, others)))
    changed = tuple(i for i, leaf in enumerate(same) if len(sets) > 1 and sets[1][i] is not leaf)
    stacked = [np.stack([np.asarray(leaves[i]) for leaves in sets]) for i in changed]
    rest = tuple(None if i in changed else leaf for i, leaf in enumerate(same))
    low, high = posterior.latent_bounds()

    def call(z: np.ndarray, *chunk: np.ndarray) -> Any:
        return _climbed(structure, changed, rest, chunk, z, low, high, _MAX_STEPS)

    latent, values, decrement = in_chunks(call, starts, *stacked, size=SETS)
    return latent, values, int(np.sum(~(decrement[1:] < _STATIONARY)))


def _climb_one(
    structure: Any,
    changed: tuple[int, ...],
    rest: tuple[Any, ...],
    stacked: Any,
    starts: jax.Array,
    low: jax.Array,
    high: jax.Array,
    max_steps: int,
) -> tuple[jax.Array, ...]:
    """Climb the likelihood of each data set; kernels differ in the leaves `changed` alone."""

    def one(own: Any, start: jax.Array) -> tuple[jax.Array, ...]:
        leaves = list(rest)
        for i, leaf in zip(changed, own, strict=True):
            leaves[i] = leaf
        kernel = jax.tree.unflatten(structure, leaves)
        z, _, _, _, _, decrement, _ = climb_batch.__wrapped__(kernel, start[None], low, high, 0.0, max_steps)  # type: ignore[attr-defined]
        return z[0], kernel.statistics(z[0]), decrement[0]

    return jax.vmap(one)(stacked, starts)


_climbed = jit(_climb_one, static_argnums=(0, 1))
