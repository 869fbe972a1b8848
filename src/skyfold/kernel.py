"""Kernel: what of a posterior is compiled. Names and tokens are gone, every number is an array.

Two posteriors whose kernels have the same structure and shapes share every executable, whatever their data, priors'
numbers and names are.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.information import linearised
from skyfold.observation import Observation
from skyfold.parameters import Parameter, Prior, Reference, normal_cdf, parameters_in, substitute


class Kernel(eqx.Module):
    """Pure functions of the latent vector z, which is a priori standard normal.

    Attributes
    ----------
    priors : one per parameter, with numbers or references to other parameters as arguments.
    pairs : (model, observation) pairs, with references in place of parameters.
    shapes : latent shape of each parameter; z is their concatenation.
    order : order in which priors can be evaluated, hyper-parameters first.
    """

    priors: tuple[Prior, ...]
    pairs: tuple[tuple[Any, Observation], ...]
    shapes: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    order: tuple[int, ...] = eqx.field(static=True)

    def values(self, z: jax.Array) -> tuple[jax.Array, ...]:
        """Values of the parameters, in the order of `priors`."""
        values: dict[int, jax.Array] = {}
        t = normal_cdf(z)  # of all coordinates at once, which compiles faster than one by one
        for index in self.order:
            prior = resolved(self.priors[index], values)
            value = prior.quantile(self._piece(t, index))
            values[index] = prior.transport(self._piece(z, index)) if value is None else value
        return tuple(values[i] for i in range(len(self.priors)))

    def expected(self, z: jax.Array) -> tuple[jax.Array, ...]:
        """What `Observation.predict` gives for every observation."""
        return _expected(self, z)

    def means(self, z: jax.Array) -> tuple[jax.Array, ...]:
        """Expected value of every datum of every observation."""
        return tuple(o.mean(m) for o, m in zip(self.observations(z), self.expected(z), strict=True))

    def observations(self, z: jax.Array) -> tuple[Observation, ...]:
        """Observations with their own parameters resolved."""
        own = tuple(o for _, o in self.pairs)
        return resolved(own, dict(enumerate(self.values(z)))) if any(True for _ in _symbols(own)) else own

    def log_prior(self, z: jax.Array) -> jax.Array:
        """Log prior density in latent space, normalised."""
        return -0.5 * jnp.sum(z**2) - 0.5 * z.size * jnp.log(2 * jnp.pi) + self.correction(z)

    def correction(self, z: jax.Array) -> jax.Array | float:
        """Log density that inexact transports add to the standard normal one."""
        if all(p.exact for p in self.priors):
            return 0.0
        values = dict(enumerate(self.values(z)))
        return sum(resolved(p, values).correction(self._piece(z, i)) for i, p in enumerate(self.priors))

    def log_likelihood(self, z: jax.Array) -> jax.Array:
        """Log-likelihood of all data."""
        pairs = zip(self.observations(z), self.expected(z), strict=True)
        return sum((o.log_likelihood(m) for o, m in pairs), start=jnp.zeros(()))

    def pointwise(self, z: jax.Array) -> tuple[jax.Array, ...]:
        """Log-likelihood of each datum of every observation."""
        return tuple(o.pointwise(m) for o, m in zip(self.observations(z), self.expected(z), strict=True))

    def log_density(self, z: jax.Array) -> jax.Array:
        """Log posterior density in latent space, up to the evidence."""
        return self.log_prior(z) + self.log_likelihood(z)

    def statistics(self, z: jax.Array) -> jax.Array:
        """Statistic of every observation."""
        pairs = zip(self.observations(z), self.expected(z), strict=True)
        return jnp.stack([o.statistic(m) for o, m in pairs])

    def linearised(self, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Log-likelihood, its gradient (ndim,) and the Fisher information (ndim, ndim), see `skyfold.information`."""
        return linearised(self, z)

    @property
    def owners(self) -> int:
        """Number of observations with parameters of their own."""
        return sum(any(True for _ in _symbols(o)) for _, o in self.pairs)

    def beside(self, z: jax.Array, expected: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        """Vectors whose derivatives by z are rows of the root of the information beside those of the expected data.

        Here they are the log-likelihoods of the data of observations that own parameters, at fixed expected data.
        """
        found = []
        for number, (_, own) in enumerate(self.pairs):
            if any(True for _ in _symbols(own)):
                observation = resolved(own, dict(enumerate(self.values(z))))
                each = observation.pointwise if observation.independent else observation.log_likelihood
                found.append(jnp.atleast_1d(each(expected[number])))
        return tuple(found)

    def metric(self, z: jax.Array) -> jax.Array:
        """Fisher metric of the data plus that of the prior, (ndim, ndim)."""
        return self.linearised(z)[2] + jnp.eye(z.size)

    def _piece(self, z: jax.Array, index: int) -> jax.Array:
        start = sum(int(np.prod(s)) for s in self.shapes[:index])
        shape = self.shapes[index]
        return jnp.reshape(z[start : start + int(np.prod(shape))], shape)


@partial(jax.jit, inline=True)
def _expected(kernel: Kernel, z: jax.Array) -> tuple[jax.Array, ...]:
    """Traced once for all executables of a kernel: their derivatives and batches are made of its primitives."""
    values = dict(enumerate(kernel.values(z)))
    return tuple(observation.predict(model) for model, observation in resolved(kernel.pairs, values))


def build_kernel(parameters: list[Parameter], pairs: list[tuple[Any, Observation]]) -> Kernel:
    """Replace parameters by references and numbers by arrays.

    Parameters
    ----------
    parameters : distinct parameters, in the order in which they take their pieces of z.
    pairs : models and observations that hold them.
    """
    index = {p.token: i for i, p in enumerate(parameters)}

    def refer(node: Any) -> Any:
        return Reference(index[node.token])

    priors = tuple(substitute(p.prior, refer) for p in parameters)
    stripped = tuple((substitute(m, refer), substitute(o, refer)) for m, o in pairs)
    order: list[int] = []

    def place(i: int) -> None:
        for inner in parameters_in(parameters[i].prior):
            place(index[inner.token])
        if i not in order:
            order.append(i)

    for i in range(len(parameters)):
        place(i)
    return as_arrays(Kernel(priors, stripped, tuple(p.prior.latent_shape for p in parameters), tuple(order)))


def as_arrays(tree: Any) -> Any:
    """Turn numbers and arrays of NumPy into arrays of JAX; the very same array in several places stays one."""
    known: dict[int, jax.Array] = {}

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            if id(leaf) not in known:
                known[id(leaf)] = jax.device_put(leaf)
            return known[id(leaf)]
        return jax.device_put(np.asarray(leaf)) if isinstance(leaf, float | int | np.generic) else leaf

    return jax.tree.map(convert, tree)


def resolved(tree: Any, values: dict[int, jax.Array]) -> Any:
    """Copy of a pytree with references to parameters replaced by their values."""
    return substitute(tree, lambda node: values[node.index])


def _symbols(tree: Any) -> Any:
    return (n for n in jax.tree.leaves(tree, is_leaf=lambda n: isinstance(n, Reference)) if isinstance(n, Reference))
