"""NumPyro programs as posteriors: sites become latent coordinates, observed sites and factors the likelihood.

Every site is drawn by the exact normal transport of its distribution, whose arguments the program computes from the
sites before it, so hierarchies come out non-centred. Distributions without an exact transport go through their
constraint bijector, and then the posterior is not `exact`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.information import LARGE
from skyfold.kernel import Kernel, as_arrays
from skyfold.numpyro_bridge.distributions import Computed, prior_of
from skyfold.numpyro_bridge.observed import Observed, site_data
from skyfold.numpyro_bridge.run import Call, Site, innermost, is_factor
from skyfold.parameters import Label, Parameter, Prior, Reference, substitute
from skyfold.posterior import FreeParameter, Posterior
from skyfold.priors import NumPyroPrior


class Program(Component):
    """A program with the values of its sites, which stands where other posteriors have a model.

    ``model["mu"]`` is the value of a site, so ``result.derive(lambda m: m["mu"] / m["tau"])`` works.
    """

    name: ClassVar[str] = "program"
    values: dict[str, Any]
    call: Call

    def __getitem__(self, site: str) -> Any:
        return self.values[site]

    def distributions(self) -> list[Any]:
        """Distributions of the observed sites."""
        return [s.distribution for s in self.call.run(lambda name, _: self.values[name])]

    def __repr__(self) -> str:
        return f"{getattr(self.call.function.value, '__name__', 'program')}({', '.join(self.values)})"


class ProgramKernel(Kernel):
    """Kernel of a program: one run of it gives values, corrections and the distributions of the data."""

    call: Call
    names: tuple[str, ...] = eqx.field(static=True)

    def _run(self, z: jax.Array) -> tuple[dict[str, Any], Any, list[Site]]:
        values: dict[str, Any] = {}
        correction: list[Any] = []

        def draw(name: str, distribution: Any) -> Any:
            prior, piece = prior_of(distribution), self._piece(z, self.names.index(name))
            values[name] = prior.transport(piece)
            correction.append(prior.correction(piece))
            return values[name]

        observed = self.call.run(draw)
        return values, sum(correction), observed

    def values(self, z: jax.Array) -> tuple[jax.Array, ...]:
        """Values of the sites."""
        values = self._run(z)[0]
        return tuple(values[name] for name in self.names)

    def correction(self, z: jax.Array) -> jax.Array | float:
        """Log density that inexact transports add to the standard normal one."""
        return 0.0 if all(p.exact for p in self.priors) else self._run(z)[1]

    def expected(self, z: jax.Array) -> tuple[jax.Array, ...]:
        """Expected data, or arguments of the distribution, of every observed site."""
        pairs: Any = self.pairs
        return tuple(o.parameters(s.distribution) for (_, o), s in zip(pairs, self._run(z)[2], strict=True))

    def beside(self, z: jax.Array, expected: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        """Rows of sites whose distribution has no Fisher information here, see `Kernel.beside`.

        Up to 200 dimensions they are a root of the curvature of their log-likelihood, its eigenvalues made positive;
        beyond, their data's scores.
        """
        others = [i for i, (_, o) in enumerate(self.pairs) if isinstance(o.likelihood, Observed)]
        if not others:
            return ()

        def each(point: jax.Array) -> tuple[jax.Array, ...]:
            found = self.expected(point)
            return tuple(self.pairs[i][1].pointwise(found[i]) for i in others)

        if z.size > LARGE:
            return each(z)
        here = jax.lax.stop_gradient(z)
        curvature = jax.hessian(lambda point: sum(map(jnp.sum, each(point))))(here)
        size, axes = jnp.linalg.eigh(0.5 * (curvature + curvature.T))
        return (jnp.sqrt(jnp.abs(size)) * (axes.T @ z),)


class ProgramPosterior(Posterior):
    """Posterior of a NumPyro program; made by `Posterior.from_numpyro`."""

    def __init__(self, function: Any, *args: Any, **kwargs: Any) -> None:
        self._program = partial(function, *args, **kwargs)
        self.call = Call.of(function, args, kwargs)
        shown = self._discover(self.call)
        start = 0
        found = []
        for name, prior in shown.items():
            size = int(np.prod(prior.latent_shape))
            found.append(FreeParameter(name, Label(name), prior, slice(start, start + size)))
            start += size
        self.parameters = tuple(found)
        self.ndim = start
        self._parameters = [Parameter(f.prior, f.name) for f in found]
        self.fields, self.component_names = {}, {}
        program = Program({p.label.value.name: p for p in self._parameters}, self.call)
        self.pairs = {}
        draft = self._kernel()
        z = jnp.zeros(self.ndim)
        _, sites = _dependence(draft._run, z)
        drawable = not all(is_factor(site.distribution) for site in sites)
        for number, site in enumerate(sites):
            self.pairs[site.name] = (program, site_data(number, site, drawable))
        if not self.pairs:
            raise SkyfoldError("from_numpyro: the program observes nothing; give it data, or a factor.")
        if not self._traces():
            # the program looks at the values of its arguments, so they become constants
            self.call = Call.of(function, args, kwargs, traced=False)
            program = Program(program.values, self.call)
            self.pairs = {name: (program, o) for name, (_, o) in self.pairs.items()}
            del self.__dict__["kernel"]
            if not self._traces():
                raise SkyfoldError(
                    "from_numpyro: the program decides something in Python (if, while, indices) by the values of its "
                    "sites, which JAX cannot compile; use jnp.where or jax.lax.cond."
                )

    def _traces(self) -> bool:
        try:
            jax.eval_shape(ProgramKernel.log_likelihood, self.kernel, jnp.zeros(self.ndim))
        except (jax.errors.JAXTypeError, jax.errors.JAXIndexError):
            return False
        return True

    def _discover(self, call: Call) -> dict[str, Prior]:
        """Priors of the latent sites in the order of the program, arguments that depend on other sites unknown."""
        exact: dict[str, Prior] = {}
        inexact: dict[str, Prior] = {}

        def shown(value: Any) -> Any:
            if isinstance(value, jax.core.Tracer):
                return Computed(np.shape(value))
            array = np.asarray(value, float)
            return float(array) if array.ndim == 0 else array

        def run(z: jax.Array) -> tuple[Any, Any, list[Site]]:
            def draw(name: str, distribution: Any) -> Any:
                if distribution.support.is_discrete:
                    raise SkyfoldError(
                        f"from_numpyro: site '{name}' ({type(innermost(distribution)).__name__}) is discrete; sum it "
                        "out, as numpyro.distributions.MixtureSameFamily does."
                    )
                own = prior_of(distribution)
                if own.exact:
                    exact.setdefault(name, prior_of(distribution, shown))
                elif not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(own)):
                    inexact[name] = own
                order[name] = None
                # the value depends on z, so that what is computed from it is known to
                return own.transport(jnp.broadcast_to(z, own.latent_shape))

            return None, None, call.run(draw)

        order: dict[str, None] = {}
        _dependence(run, jnp.zeros(()))
        if not order:
            raise SkyfoldError("from_numpyro: nothing is free in this program: every sample statement is observed.")
        if len(exact) + len(inexact) < len(order):
            run(jnp.zeros(()))  # arguments that depend on other sites stand at one example of their values
        return {name: exact.get(name) or inexact[name] for name in order}

    def _kernel(self) -> ProgramKernel:
        index = {p.token: i for i, p in enumerate(self._parameters)}
        parts = (
            tuple(f.prior for f in self.parameters),
            substitute(tuple(self.pairs.values()), lambda node: Reference(index[node.token])),
        )
        shapes = tuple(f.prior.latent_shape for f in self.parameters)
        shown, pairs, call = as_arrays((*parts, self.call))
        return ProgramKernel(shown, pairs, shapes, tuple(range(len(shapes))), call, self.names)

    @cached_property
    def kernel(self) -> ProgramKernel:  # type: ignore[override]
        """What is compiled."""
        return self._kernel()

    def draw_prior(self, n: int, seed: int = 0) -> np.ndarray:
        """Latent vectors (n, ndim) drawn from the prior."""
        if self.exact:
            return super().draw_prior(n, seed)
        return np.asarray(_prior_draws(self.kernel, jax.random.split(jax.random.key(seed), n)))

    def numpyro_model(self) -> Callable[[], None]:
        """Return the program itself, with its arguments."""
        return self._program


def _dependence(run: Callable[[jax.Array], Any], z: jax.Array) -> tuple[Any, list[Site]]:
    """Result of a run in which everything that depends on z, and nothing else, is a tracer."""
    kept: list[Any] = []

    def probe(point: jax.Array) -> jax.Array:
        kept.append(run(point))
        return point

    jax.jvp(probe, (z,), (jnp.ones_like(z),))
    return kept[0][0], kept[0][2]


@jit
def _prior_draws(kernel: ProgramKernel, keys: jax.Array) -> jax.Array:
    def one(key: jax.Array) -> jax.Array:
        pieces: dict[str, jax.Array] = {}

        def draw(name: str, distribution: Any) -> Any:
            prior, number = prior_of(distribution), kernel.names.index(name)
            own = jax.random.fold_in(key, number)
            if isinstance(prior, NumPyroPrior):
                value = distribution.sample(own)
                pieces[name] = prior._bijector.inv(value)
                return value
            pieces[name] = jax.random.normal(own, kernel.shapes[number])
            return prior.transport(pieces[name])

        kernel.call.run(draw)
        return jnp.concatenate([jnp.ravel(pieces[name]) for name in kernel.names])

    return jax.lax.map(one, keys)
