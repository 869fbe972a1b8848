"""Posterior: joins models and observations; latent vector to named values, densities, predictions, metric, fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.kernel import Kernel, build_kernel
from skyfold.naming import Named, component_names, parameter_names
from skyfold.observation import Observation
from skyfold.parameters import Label, Parameter, Prior, is_symbol, parameters_in, substitute, written
from skyfold.priors import NumPyroPrior
from skyfold.wording import text_table

if TYPE_CHECKING:
    from skyfold.inference.running import Method
    from skyfold.results.result import Result

#: Coordinates of a bounded prior beyond which its value is the bound itself to double precision.
LATENT_EDGE = 8.3
#: Coordinates up to which every transport has digits.
LATENT_REACH = 37.0


@dataclass(frozen=True)
class FreeParameter:
    """A free parameter of a posterior: its name, label, prior, and its piece of the latent vector."""

    name: str
    label: Label
    prior: Prior
    latent: slice

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its value."""
        return self.prior.shape


class Posterior:
    """Joint posterior of models and the observations they are folded into.

    Parameters
    ----------
    *pairs : (model, observation)
        Any number of pairs; a parameter that stands in several is one parameter.
    named : mapping of str to (model, observation), optional
        The same with names of your own: ``Posterior({"pn": (source, pn)})``.

    Attributes
    ----------
    pairs : (model, observation) by the observation's name.
    fields : every parameter of models and observations by name, fixed and tied ones included.
    parameters : the free ones, in the order of the latent vector.

    Raises
    ------
    SkyfoldError
        If something is not a (model, observation) pair or names clash.

    Examples
    --------
    >>> sf.Posterior((source, pn), (Constant(sf.LogNormal(0, 0.1)) * source, mos1)).fit()  # doctest: +SKIP
    """

    def __init__(self, *pairs: Any) -> None:
        self.pairs: dict[str, tuple[Component, Observation]] = _named_pairs(pairs)
        models, observations = [m for m, _ in self.pairs.values()], {n: o for n, (_, o) in self.pairs.items()}
        self.component_names = component_names(models, observations)
        self.fields = parameter_names(models, observations)
        free = {name: entry for name, entry in self.fields.items() if isinstance(entry.value, Parameter)}
        self._parameters: list[Parameter] = [entry.value for entry in free.values()]
        known = {p.token for p in self._parameters}
        for p in parameters_in(list(self.pairs.values())):
            if p.token not in known:
                raise SkyfoldError(
                    f"A model or observation holds the parameter {p!r} in a field that was not declared with "
                    "skyfold.parameters.parameter, so it has no name; declare the field."
                )
        self.parameters: tuple[FreeParameter, ...] = tuple(_slices(free))
        self.ndim: int = self.parameters[-1].latent.stop if self.parameters else 0

    @classmethod
    def from_numpyro(cls, model: Any, *args: Any, **kwargs: Any) -> Posterior:
        """Posterior of a NumPyro program.

        Sites that are sampled become parameters of the same names; observed sites and factors give the likelihood, one
        observation each. Distributions that skyfold has priors for keep exact transports, also inside hierarchies and
        plates; others make the posterior inexact (see `exact`).

        Parameters
        ----------
        model : NumPyro program, as for ``numpyro.infer.NUTS(model)``.
        *args, **kwargs : its arguments, data included.

        Raises
        ------
        SkyfoldError
            If a latent site is discrete, a plate subsamples, or the program observes nothing.

        Examples
        --------
        >>> sf.Posterior.from_numpyro(eight_schools, sigma, y=y).fit("auto")  # doctest: +SKIP
        """
        from skyfold.numpyro_bridge.program import ProgramPosterior

        return ProgramPosterior(model, *args, **kwargs)

    def numpyro_model(self) -> Callable[[], None]:
        """Return this posterior as a NumPyro program without arguments.

        Its sites are named as the parameters and have NumPyro's distributions of the same priors; the log-likelihood of
        each observation enters as a factor of the observation's name, datum by datum.

        Examples
        --------
        >>> MCMC(NUTS(posterior.numpyro_model()), num_warmup=500, num_samples=1000)  # doctest: +SKIP
        """
        from skyfold.numpyro_bridge.model import numpyro_model

        return numpyro_model(self)

    # -- what it is ----------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the free parameters; those of vector parameters stand once."""
        return tuple(p.name for p in self.parameters)

    @property
    def n_data(self) -> int:
        """Number of data of all observations."""
        return sum(o.n_data for _, o in self.pairs.values())

    @property
    def exact(self) -> bool:
        """Whether every prior is an exact normal transport, so that the unit cube may be used."""
        return all(p.prior.exact for p in self.parameters)

    @property
    def statistic_name(self) -> str:
        """Name of the statistic: that of the observations, joined where they differ."""
        return "+".join(dict.fromkeys(o.likelihood.statistic_name for _, o in self.pairs.values()))

    @cached_property
    def kernel(self) -> Kernel:
        """What is compiled; its leaves are traced arguments of every executable."""
        # arrays, even where the first to ask is being traced
        with jax.ensure_compile_time_eval():
            return build_kernel(self._parameters, list(self.pairs.values()))

    def latent_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Latent coordinates (ndim,) at which bounded priors reach their lower and upper limits.

        Elsewhere the limit is where a transport still has digits (37), or infinite where values are linear in them.
        """
        low, high = np.full(self.ndim, -np.inf), np.full(self.ndim, np.inf)
        for p in self.parameters:
            for edge, sign, sharp, limit in zip((low, high), (-1, 1), p.prior.bounded, p.prior.support(), strict=True):
                if sharp:
                    edge[p.latent] = sign * LATENT_EDGE
                elif p.prior.exact and (is_symbol(limit) or np.all(np.isfinite(limit))):
                    edge[p.latent] = sign * LATENT_REACH
        return low, high

    def sharply_bounded(self) -> np.ndarray:
        """Coordinates (ndim,) whose prior has a limit at both ends of the latent range, as a uniform one has."""
        sharp = np.zeros(self.ndim, dtype=bool)
        for p in self.parameters:
            sharp[p.latent] = all(p.prior.bounded)
        return sharp

    # -- pure functions of the latent vector ---------------------------------------------------------------------

    def log_prior(self, z: Any) -> jax.Array:
        """Log prior density of latent vectors (..., ndim)."""
        return _batched("log_prior", self.kernel, z)

    def log_likelihood(self, z: Any) -> jax.Array:
        """Log-likelihood of latent vectors (..., ndim)."""
        return _batched("log_likelihood", self.kernel, z)

    def pointwise(self, z: Any) -> dict[str, jax.Array]:
        """Log-likelihood of each datum of every observation, each (..., n_data).

        Raises
        ------
        SkyfoldError
            If the data of an observation are not conditionally independent.
        """
        for name, (_, observation) in self.pairs.items():
            if not observation.independent:
                raise SkyfoldError(
                    f"The data of '{name}' are not conditionally independent, so no datum has a log-likelihood of its "
                    "own: pointwise values, LOO and WAIC do not exist. Compare models by their evidence."
                )
        return dict(zip(self.pairs, _batched("pointwise", self.kernel, z), strict=True))

    def log_density(self, z: Any) -> jax.Array:
        """Log posterior density of latent vectors (..., ndim), up to the evidence."""
        return _batched("log_density", self.kernel, z)

    def predict(self, z: Any) -> dict[str, jax.Array]:
        """Expected data of every observation, each (..., n_data); what was integrated out is at its best."""
        return dict(zip(self.pairs, _batched("means", self.kernel, z), strict=True))

    def expected(self, z: Any) -> dict[str, jax.Array]:
        """What the likelihood of every observation is a function of, each (..., n): of most the expected data."""
        return dict(zip(self.pairs, _batched("expected", self.kernel, z), strict=True))

    def statistics(self, z: Any) -> dict[str, jax.Array]:
        """Statistic of every observation, each (...)."""
        values = _batched("statistics", self.kernel, z)
        return {name: values[..., i] for i, name in enumerate(self.pairs)}

    def metric(self, z: Any) -> jax.Array:
        """Metric J' M J + 1 (..., ndim, ndim): Fisher information of the data plus that of the prior."""
        return _batched("metric", self.kernel, z)

    def values(self, z: Any) -> dict[str, jax.Array]:
        """Values of the free parameters by name, each (..., shape)."""
        return dict(zip(self.names, _batched("values", self.kernel, z), strict=True))

    def resolved(self, z: Any) -> dict[str, tuple[Component, Observation]]:
        """Models and observations with every parameter at its value for one latent vector (ndim,)."""
        values = self.values(np.asarray(z))
        numbers = {p.token: np.asarray(values[f.name]) for p, f in zip(self._parameters, self.parameters, strict=True)}
        return substitute(self.pairs, lambda node: _plain(numbers[node.token]))

    def draw_prior(self, n: int, seed: int = 0) -> np.ndarray:
        """Latent vectors (n, ndim) drawn from the prior."""
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((n, self.ndim))
        for p in self.parameters:
            if isinstance(p.prior, NumPyroPrior):
                z[:, p.latent] = [p.prior.draw(rng).ravel() for _ in range(n)]
        return z

    # -- inference -----------------------------------------------------------------------------------------------

    def fit(
        self,
        method: str | Method = "auto",
        *,
        seed: int = 0,
        progress: bool | None = None,
        checkpoint: str | Path | None = None,
    ) -> Result:
        """Explore the posterior.

        Parameters
        ----------
        method : str or Method, default "auto"
            One of the names in ``docs/methods.md``, or a settings object such as ``sf.NUTS(chains=8)``.
        seed : int
            The same seed gives the same draws.
        progress : bool, optional
            Show a progress bar; by default when standard error is a terminal.
        checkpoint : str or Path, optional
            File that long runs save their state to; started again with it, a killed run goes on and gives the draws
            of an uninterrupted one.

        Returns
        -------
        Result

        Raises
        ------
        SkyfoldError
            If nothing is free, the method is unknown, or no point of the prior gives a finite likelihood.
        """
        from skyfold.inference import run
        from skyfold.results.result import Result

        return Result(self, run(self, method, seed=seed, progress=progress, checkpoint=checkpoint))

    def __repr__(self) -> str:
        pairs = "\n".join(f"  {name}: {m!r}  ~  {o!r}" for name, (m, o) in self.pairs.items())
        return f"Posterior of {self.ndim} latent dimensions, {self.n_data} data\n{pairs}\n{self.table()}"

    def table(self) -> str:
        """Return the free parameters as a text table."""
        names = {p.token: f.name for p, f in zip(self._parameters, self.parameters, strict=True)}
        rows = [(p.name, p.label.unit, written(p.prior, names), p.label.description) for p in self.parameters]
        return text_table(("parameter", "unit", "prior", "description"), rows)


def _batched(function: str, kernel: Kernel, z: Any) -> Any:
    z = jnp.asarray(z, dtype=float)
    return _one(function, kernel, z) if z.ndim == 1 else _many(function, kernel, z)


def _one(function: str, kernel: Kernel, z: jax.Array) -> Any:
    return _jitted(function, kernel, z)


def _many(function: str, kernel: Kernel, z: jax.Array) -> Any:
    flat = jnp.reshape(z, (-1, z.shape[-1]))
    result = _jitted_many(function, kernel, flat)
    return jax.tree.map(lambda a: jnp.reshape(a, (*z.shape[:-1], *a.shape[1:])), result)


@partial(jit, static_argnums=0)
def _jitted(function: str, kernel: Kernel, z: jax.Array) -> Any:
    return getattr(kernel, function)(z)


@partial(jit, static_argnums=0)
def _jitted_many(function: str, kernel: Kernel, z: jax.Array) -> Any:
    return jax.vmap(getattr(kernel, function))(z)


def _named_pairs(pairs: tuple[Any, ...]) -> dict[str, tuple[Any, Any]]:
    if len(pairs) == 1 and isinstance(pairs[0], Mapping):
        named = dict(pairs[0])
    else:
        named = {}
        for pair in pairs:
            _check_pair(pair)
            base = name = pair[1].name
            number = 1
            while name in named:
                number += 1
                name = f"{base}_{number}"
            named[name] = pair
    if not named:
        raise SkyfoldError("A Posterior needs at least one (model, observation) pair.")
    for pair in named.values():
        _check_pair(pair)
    observations = [observation for _, observation in named.values()]
    for name, (model, observation) in named.items():
        others = [o for o in observations if o is not observation]
        fitted = observation.alongside(others)
        fitted.check()
        named[name] = (model, fitted.bound(model))
    return named


def _check_pair(pair: Any) -> None:
    good = (
        isinstance(pair, tuple)
        and len(pair) == 2
        and isinstance(pair[0], Component)
        and isinstance(pair[1], Observation)
    )
    if not good:
        inside = f" of {', '.join(type(x).__name__ for x in pair)}" if isinstance(pair, tuple) else ""
        raise SkyfoldError(
            "Posterior takes (model, observation) pairs, as in sf.Posterior((source, pn)); got "
            f"{type(pair).__name__}{inside}."
        )


def _slices(free: Mapping[str, Named]) -> Iterator[FreeParameter]:
    start = 0
    for name, entry in free.items():
        stop = start + int(np.prod(entry.value.prior.latent_shape))
        yield FreeParameter(name, entry.label, entry.value.prior, slice(start, stop))
        start = stop


def _plain(array: np.ndarray) -> Any:
    return float(array) if array.ndim == 0 else array
