"""NumPyro programs as posteriors: sites become latent coordinates, observed sites and factors the likelihood.

Every site is drawn by the exact normal transport of its distribution, whose arguments the program computes from the
sites before it, so hierarchies come out non-centred. Distributions without an exact transport go through their
constraint bijector, and then the posterior is not `exact`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache, cached_property, partial
from typing import Any, ClassVar, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold import priors
from skyfold.annotation import Annotation
from skyfold.compilation import jit
from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.kernel import Kernel, as_array
from skyfold.likelihoods import Gaussian, Likelihood, Poisson
from skyfold.observation import Observation
from skyfold.parameters import Label, Parameter, Prior, Reference, Symbol, substitute
from skyfold.posterior import FreeParameter, Posterior


class Computed(Symbol):
    """An argument of a prior that the program computes from other sites."""

    shape: tuple[int, ...] = eqx.field(static=True)


class HalfCauchy(Prior):
    """Absolute value of a Cauchy variate of median 0 and half-width `scale`."""

    scale: Any

    def transport(self, z: jax.Array) -> jax.Array:
        low = jax.scipy.special.ndtr(jnp.where(z < 0, z, -z))
        t = jnp.tan(0.5 * jnp.pi * low)
        return self.scale * jnp.where(z < 0, t, 1.0 / jnp.maximum(t, 1e-300))

    @property
    def bounded(self) -> tuple[bool, bool]:
        return True, False

    def support(self) -> tuple[Any, Any]:
        return 0.0, np.inf


# -- running a program -----------------------------------------------------------------------------------------------


class Site(NamedTuple):
    """A sample statement that was met: its name, distribution, value and the factor on its log density."""

    name: str
    distribution: Any
    value: Any
    scale: Any


class _Closed:
    """An argument that compilation takes as it is: numbers and texts equal their like, other things themselves only."""

    def __init__(self, value: Any) -> None:
        self.value = value
        plain = isinstance(value, bool | int | float | str | bytes | None)
        self._key = (type(value), value) if plain else (_Closed, id(value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Closed) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        # the same in every process: checkpoints are known by it
        if self._key[0] is not _Closed:
            return repr(self.value)
        code = getattr(self.value, "__code__", None)
        name = getattr(self.value, "__qualname__", type(self.value).__qualname__)
        return f"{name}#{zlib.crc32(code.co_code):x}" if code is not None else name


class Call(eqx.Module):
    """A program and its arguments; arrays among them are traced, so calls of one shape share one executable."""

    function: _Closed = eqx.field(static=True)
    arrays: tuple[Any, ...]
    rest: tuple[Any, ...] = eqx.field(static=True)
    structure: Any = eqx.field(static=True)

    @classmethod
    def of(cls, function: Any, args: Any, kwargs: Any, *, traced: bool = True) -> Self:
        """Separate arrays from everything else; with ``traced=False`` compilation sees constants."""
        leaves, structure = jax.tree.flatten((args, kwargs))
        is_array = [traced and isinstance(x, np.ndarray | jax.Array) and x.dtype.kind in "biufc" for x in leaves]
        return cls(
            _Closed(function),
            tuple(x for x, a in zip(leaves, is_array, strict=True) if a),
            tuple(None if a else _Closed(x) for x, a in zip(leaves, is_array, strict=True)),
            structure,
        )

    def run(self, draw: Callable[[str, Any], Any]) -> list[Site]:
        """Run the program with `draw` giving the value of each site; return its observed sites and factors."""
        arrays = iter(self.arrays)
        leaves = [next(arrays) if x is None else x.value for x in self.rest]
        args, kwargs = jax.tree.unflatten(self.structure, leaves)
        found: list[Site] = []
        with _handler()(draw, found):
            self.function.value(*args, **kwargs)
        return found


@cache
def _handler() -> Any:
    from numpyro.primitives import Messenger

    class Drawn(Messenger):
        """Draws the sites of a program and collects what it observes."""

        def __init__(self, draw: Callable[[str, Any], Any], found: list[Site]) -> None:
            self.draw, self.found, self.names = draw, found, set[str]()
            super().__init__(None)

        def process_message(self, msg: Any) -> None:
            kind, name = msg["type"], msg.get("name")
            if kind == "control_flow":
                raise SkyfoldError("from_numpyro: scan and cond with sites inside are not supported; unroll the loop.")
            if kind in ("param", "mutable"):
                raise SkyfoldError(
                    f"from_numpyro: '{name}' is a {kind} statement, which is for guides; give it a prior instead."
                )
            if kind == "plate":
                size, part = msg["args"]
                if part is not None and part != size:
                    raise SkyfoldError(f"from_numpyro: plate '{name}' takes a random subsample; use all of its data.")
            if kind != "sample":
                return
            if name in self.names:
                raise SkyfoldError(f"from_numpyro: two sites are called '{name}'.")
            self.names.add(name)
            if msg["is_observed"]:
                self.found.append(Site(name, msg["fn"], msg["value"], msg["scale"]))
            else:
                if msg["kwargs"].get("sample_shape"):
                    raise SkyfoldError(f"from_numpyro: site '{name}' has a sample_shape; expand its distribution.")
                if msg["scale"] is not None:
                    raise SkyfoldError(f"from_numpyro: site '{name}' is scaled, so its prior is no distribution.")
                msg["value"] = self.draw(name, msg["fn"])

    return Drawn


# -- distributions as priors -----------------------------------------------------------------------------------------

#: Prior and its arguments, by the name of NumPyro's distribution.
_EXACT: dict[str, tuple[Any, Callable[[Any], tuple[Any, ...]]]] = {
    "Uniform": (priors.Uniform, lambda d: (d.low, d.high)),
    "LogUniform": (priors.LogUniform, lambda d: (d.low, d.high)),
    "Normal": (priors.Normal, lambda d: (d.loc, d.scale)),
    "LogNormal": (priors.LogNormal, lambda d: (d.loc, d.scale)),
    "HalfNormal": (priors.HalfNormal, lambda d: (d.scale,)),
    "HalfCauchy": (HalfCauchy, lambda d: (d.scale,)),
    "Beta": (priors.Beta, lambda d: (d.concentration1, d.concentration0)),
    "Gamma": (priors.Gamma, lambda d: (d.concentration, d.rate)),
    "Exponential": (priors.Gamma, lambda d: (1.0, d.rate)),
    "StudentT": (priors.StudentT, lambda d: (d.df, d.loc, d.scale)),
    "Cauchy": (priors.StudentT, lambda d: (1.0, d.loc, d.scale)),
    "Dirichlet": (priors.Dirichlet, lambda d: (d.concentration,)),
    "MultivariateNormal": (priors.MultivariateNormal, lambda d: (d.loc, d.scale_tril @ d.scale_tril.T)),
    "TwoSidedTruncatedDistribution": (
        priors.TruncatedNormal,
        lambda d: (d.base_dist.loc, d.base_dist.scale, d.low, d.high),
    ),
    "LeftTruncatedDistribution": (
        priors.TruncatedNormal,
        lambda d: (d.base_dist.loc, d.base_dist.scale, d.low, np.inf),
    ),
    "RightTruncatedDistribution": (
        priors.TruncatedNormal,
        lambda d: (d.base_dist.loc, d.base_dist.scale, -np.inf, d.high),
    ),
}


def _innermost(distribution: Any) -> Any:
    """Take expansions and declarations of independence off."""
    while type(distribution).__name__ in ("ExpandedDistribution", "Independent"):
        distribution = distribution.base_dist
    return distribution


def prior_of(distribution: Any, argument: Callable[[Any], Any] = lambda value: value) -> Prior:
    """Prior that a NumPyro distribution specifies: an exact normal transport where there is one.

    Parameters
    ----------
    distribution : NumPyro distribution, whose arguments may be traced.
    argument : applied to each argument of an exact prior.
    """
    base, shape = _innermost(distribution), tuple(distribution.shape())
    kind, arguments = _EXACT.get(type(base).__name__, (None, None))
    truncated = kind is priors.TruncatedNormal and type(base.base_dist).__name__ != "Normal"
    # vectors that are not independent entry by entry have no batch of priors
    joint = bool(base.event_shape) and shape != tuple(base.event_shape)
    if kind is None or arguments is None or truncated or joint:
        return priors.NumPyroPrior(distribution)
    own = list(arguments(base))
    if not base.event_shape and np.broadcast_shapes(*map(np.shape, own)) != shape:
        own[-1] = jnp.broadcast_to(own[-1], shape)
    # arguments that are traced cannot be checked, so they enter behind the constructor's back
    symbolic = kind(*(Reference(i) for i in range(len(own))))
    return substitute(symbolic, lambda node: argument(own[node.index]))


# -- observed sites --------------------------------------------------------------------------------------------------


class Observed(Likelihood):
    """Likelihood of an observed site or factor whose distribution has no simpler counterpart here.

    What it calls expected data are those arguments of the distribution that depend on the latent sites, one after
    another. The statistic is -2 ln L.
    """

    statistic_name: ClassVar[str] = "-2 ln L"
    data: Any
    constants: tuple[Any, ...]
    weight: Any
    shape: tuple[int, ...] = eqx.field(static=True)
    structure: Any = eqx.field(static=True)
    shapes: tuple[tuple[int, ...] | None, ...] = eqx.field(static=True)
    independent: bool = eqx.field(static=True)  # type: ignore[misc]
    drawable: bool = eqx.field(static=True)

    def __init__(self, distribution: Any, value: Any, scale: Any, drawable: bool = True) -> None:
        self.drawable = drawable
        leaves, self.structure = jax.tree.flatten(distribution)
        traced = [isinstance(x, jax.core.Tracer) for x in leaves]
        self.shapes = tuple(np.shape(x) if t else None for x, t in zip(leaves, traced, strict=True))
        self.constants = tuple(x for x, t in zip(leaves, traced, strict=True) if not t)
        factor = _is_factor(distribution)
        event = () if factor else tuple(_innermost(distribution).event_shape)
        self.shape = distribution.batch_shape + (0,) if factor else np.shape(value)
        self.data = np.zeros(int(np.prod(distribution.batch_shape))) if factor else np.ravel(np.asarray(value))
        self.weight = 1.0 if scale is None else scale
        count = np.prod(np.shape(value)[: np.ndim(value) - len(event)])
        self.independent = not event or bool(count > 1)

    def parameters(self, distribution: Any) -> jax.Array:
        """Arguments of the distribution that depend on the latent sites, (n,)."""
        leaves = [x for x, s in zip(jax.tree.leaves(distribution), self.shapes, strict=True) if s is not None]
        return jnp.concatenate([jnp.ravel(x) for x in leaves]) if leaves else jnp.zeros(0)

    def _distribution(self, parameters: jax.Array) -> Any:
        leaves, constants, start = [], iter(self.constants), 0
        for shape in self.shapes:
            if shape is None:
                leaves.append(next(constants))
            else:
                end = start + int(np.prod(shape))
                leaves.append(jnp.reshape(parameters[start:end], shape))
                start = end
        return jax.tree.unflatten(self.structure, leaves)

    def pointwise(self, expected: jax.Array) -> jax.Array:
        value = jnp.zeros(self.shape) if 0 in self.shape else jnp.reshape(self.data, self.shape)
        return jnp.ravel(self.weight * self._distribution(expected).log_prob(value))

    def fisher(self, expected: jax.Array) -> jax.Array:
        return jnp.zeros(expected.shape)  # the kernel adds the curvature

    def statistic(self, expected: jax.Array) -> jax.Array:
        return -2.0 * jnp.sum(self.pointwise(expected))

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        if not self.drawable:
            raise SkyfoldError("This program has factors only: no data can be drawn from it.")
        expected = np.asarray(expected)
        lead = expected.shape[:-1]
        if 0 in self.shape:
            return np.broadcast_to(self.data, (*lead, self.data.size)).copy()
        flat = expected.reshape(int(np.prod(lead)), expected.shape[-1])
        keys = jax.random.split(jax.random.key(int(rng.integers(2**31))), len(flat))
        return np.asarray(_sampled(self, keys, flat)).reshape(*lead, self.data.size)

    def with_data(self, data: Any) -> Self:
        return eqx.tree_at(lambda o: o.data, self, np.asarray(data))


@jit
def _sampled(observed: Observed, keys: jax.Array, parameters: jax.Array) -> jax.Array:
    def one(key: jax.Array, own: jax.Array) -> jax.Array:
        distribution = observed._distribution(own)
        more = observed.shape[: len(observed.shape) - len(distribution.shape())]
        return jnp.ravel(distribution.sample(key, more))

    return jax.lax.map(lambda pair: one(*pair), (keys, parameters))


class SiteData(Observation):
    """Data of an observed site."""

    def parameters(self, distribution: Any) -> jax.Array:
        """Expected data under the site's distribution (n_data,); of an `Observed` one its arguments."""
        own = self.likelihood
        if isinstance(own, Observed):
            return own.parameters(distribution)
        base = _innermost(distribution)
        expected = base.rate if isinstance(own, Poisson) else base.loc
        return jnp.ravel(jnp.broadcast_to(expected, np.broadcast_shapes(distribution.shape(), self.shape)))

    def predict(self, model: Any) -> jax.Array:
        return self.parameters(model.distributions()[self.site])

    shape: tuple[int, ...] = eqx.field(static=True)
    site: int = eqx.field(static=True)

    def __repr__(self) -> str:
        return f"site {self.name!r} ({self.n_data} data, {self.likelihood.statistic_name})"


def _is_factor(distribution: Any) -> bool:
    return type(_innermost(distribution)).__name__ == "Unit"


def _site_data(number: int, site: Site, drawable: bool) -> SiteData:
    if any(isinstance(x, jax.core.Tracer) for x in (site.value, site.scale)):
        raise SkyfoldError(
            f"from_numpyro: the observed value or the scale of site '{site.name}' depends on latent sites; write its "
            "log density with numpyro.factor."
        )
    base, value = _innermost(site.distribution), np.asarray(site.value)
    plain = site.scale is None and np.shape(value) == np.broadcast_shapes(value.shape, site.distribution.shape())
    likelihood: Likelihood
    if plain and type(base).__name__ == "Poisson":
        likelihood = Poisson(np.ravel(value))
    elif plain and type(base).__name__ == "Normal" and not isinstance(base.scale, jax.core.Tracer):
        likelihood = Gaussian(np.ravel(value), np.ravel(np.broadcast_to(base.scale, value.shape)))
    else:
        likelihood = Observed(site.distribution, site.value, site.scale, drawable)
    return SiteData(likelihood, Annotation(site.name), value.shape, number)


# -- the posterior ---------------------------------------------------------------------------------------------------


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

    def linearised(self, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Log-likelihood, gradient and metric.

        Poisson sites and normal ones of known standard deviation give Fisher's metric. Others add the curvature of
        their log-likelihood with its eigenvalues made positive.
        """
        value, gradient, metric = super().linearised(z)
        others = [i for i, (_, o) in enumerate(self.pairs) if isinstance(o.likelihood, Observed)]
        if not others:
            return value, gradient, metric

        def rest(point: jax.Array) -> jax.Array:
            expected = self.expected(point)
            return sum((self.pairs[i][1].log_likelihood(expected[i]) for i in others), start=jnp.zeros(()))

        curvature = -jax.hessian(rest)(z)
        size, axes = jnp.linalg.eigh(0.5 * (curvature + curvature.T))
        return value, gradient, metric + (axes * jnp.abs(size)) @ axes.T


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
        self._fields, self.component_names = {}, {}
        program = Program({p.label.value.name: p for p in self._parameters}, self.call)
        self.pairs = {}
        draft = self._kernel()
        z = jnp.zeros(self.ndim)
        _, sites = _dependence(draft._run, z)
        drawable = not all(_is_factor(site.distribution) for site in sites)
        for number, site in enumerate(sites):
            self.pairs[site.name] = (program, _site_data(number, site, drawable))
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
                        f"from_numpyro: site '{name}' ({type(_innermost(distribution)).__name__}) is discrete; sum it "
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
        shown, pairs, call = jax.tree.map(as_array, (*parts, self.call))
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
            if isinstance(prior, priors.NumPyroPrior):
                value = distribution.sample(own)
                pieces[name] = prior._bijector.inv(value)
                return value
            pieces[name] = jax.random.normal(own, kernel.shapes[number])
            return prior.transport(pieces[name])

        kernel.call.run(draw)
        return jnp.concatenate([jnp.ravel(pieces[name]) for name in kernel.names])

    return jax.lax.map(one, keys)
