"""Observed sites and factors of a NumPyro program as observations."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.annotation import Annotation
from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.likelihood import Likelihood
from skyfold.likelihoods.poisson import Poisson
from skyfold.numpyro_bridge.run import Site, innermost, is_factor
from skyfold.observation import Observation


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
        factor = is_factor(distribution)
        event = () if factor else tuple(innermost(distribution).event_shape)
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

    def mean(self, expected: jax.Array) -> jax.Array:
        """Mean of each datum under the distribution; NaN where it has none that is known."""
        distribution = self._distribution(expected)
        try:
            mean = jnp.broadcast_to(distribution.mean, self.shape)
        except (NotImplementedError, AttributeError, ValueError):
            return jnp.full(self.data.size, jnp.nan)
        return jnp.ravel(mean) if mean.size == self.data.size else jnp.zeros(self.data.size)

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
        return jnp.ravel(
            jnp.broadcast_to(innermost(distribution).mean, np.broadcast_shapes(distribution.shape(), self.shape))
        )

    def predict(self, model: Any) -> jax.Array:
        return self.parameters(model.distributions()[self.site])

    def mean(self, expected: jax.Array) -> jax.Array:
        own = self.likelihood
        return own.mean(expected) if isinstance(own, Observed) else expected

    shape: tuple[int, ...] = eqx.field(static=True)
    site: int = eqx.field(static=True)

    def __repr__(self) -> str:
        return f"site {self.name!r} ({self.n_data} data, {self.likelihood.statistic_name})"


def site_data(number: int, site: Site, drawable: bool) -> SiteData:
    """Observation of an observed site, of which what depends on latent sites is traced.

    Poisson sites and normal ones of known standard deviation get skyfold's likelihoods, others `Observed`.

    Parameters
    ----------
    number : its place among the observed sites.
    site : Site
    drawable : whether replicates can be drawn.
    """
    if any(isinstance(x, jax.core.Tracer) for x in (site.value, site.scale)):
        raise SkyfoldError(
            f"from_numpyro: the observed value or the scale of site '{site.name}' depends on latent sites; write its "
            "log density with numpyro.factor."
        )
    base, value = innermost(site.distribution), np.asarray(site.value)
    plain = site.scale is None and np.shape(value) == np.broadcast_shapes(value.shape, site.distribution.shape())
    likelihood: Likelihood
    if plain and type(base).__name__ == "Poisson":
        likelihood = Poisson(np.ravel(value))
    elif plain and type(base).__name__ == "Normal" and not isinstance(base.scale, jax.core.Tracer):
        likelihood = Gaussian(np.ravel(value), np.ravel(np.broadcast_to(base.scale, value.shape)))
    else:
        likelihood = Observed(site.distribution, site.value, site.scale, drawable)
    return SiteData(likelihood, Annotation(site.name), value.shape, number)
