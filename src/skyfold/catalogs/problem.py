"""Problem: what a catalogue is made of, and what of it is compiled. A domain writes one; the engine knows no more."""

from __future__ import annotations

from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.kernel import Kernel
from skyfold.posterior import Posterior


class Target(eqx.Module):
    """What of a problem is compiled: pure functions of an object's data and of the latent vector.

    As it stands it serves every posterior whose objects differ in the data of their likelihoods alone; the data of an
    object are then the likelihoods of its observations, one per observation. What is integrated out, or data that come
    otherwise, need a subclass.

    Attributes
    ----------
    kernel : of the template, the posterior that all objects share but for their data.
    """

    kernel: Kernel

    def expected(self, z: jax.Array) -> jax.Array:
        """Expected data (n,) of all observations at a latent vector; they are the same for every object."""
        return jnp.concatenate([jnp.ravel(m) for m in self.kernel.expected(z)])

    def holding(self, data: Any) -> Kernel:
        """Kernel of the posterior of an object."""
        return eqx.tree_at(lambda k: [o.likelihood for _, o in k.pairs], self.kernel, list(data))

    def linearised(self, data: Any, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Log-likelihood, its gradient (d,) and Fisher information (d, d), for the search of starts."""
        return self.holding(data).linearised(z)

    def log_likelihood(self, data: Any, expected: jax.Array) -> jax.Array:
        """Log-likelihood of an object for expected data (n,)."""
        ends = np.cumsum([own.data.size for own in data])[:-1]
        parts = zip(self.holding(data).pairs, jnp.split(expected, ends), strict=True)
        return sum((o.log_likelihood(m) for (_, o), m in parts), start=jnp.zeros(()))

    def perturbed(self, data: Any, key: jax.Array, n: int) -> Any:
        """`n` data sets about those of an object, of which the first is as observed; each scatters one start.

        Arrays that differ get a new first axis of length `n`; others stay as they are.
        """

        def one(key: jax.Array, own: Any) -> Any:
            information = own.fisher(own.data)
            sigma = jnp.where(information > 0, information, jnp.inf) ** -0.5
            noise = sigma * jax.random.normal(key, (n, *own.data.shape))
            return eqx.tree_at(lambda x: x.data, own, own.data + noise.at[0].set(0.0))

        keys = jax.random.split(key, len(data))
        return tuple(one(k, own) for k, own in zip(keys, data, strict=True))

    def told(self, data: Any, expected: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What the table says of draws besides their parameters: further columns (m, k), and the statistic (m,).

        Parameters
        ----------
        data : of one object.
        expected : (m, n) expected data of the draws.
        u : (m,) levels between 0 and 1, at random, for what was integrated out.
        """
        ends = np.cumsum([own.data.size for own in data])[:-1]
        parts = zip(data, jnp.split(expected, ends, axis=1), strict=True)
        statistic = sum((jax.vmap(own.statistic)(m) for own, m in parts), start=jnp.zeros(len(u)))
        return jnp.zeros((len(u), 0)), statistic


class Problem(Protocol):
    """Objects that are fitted with one model, in the order in which they are numbered.

    It may have ``problems`` too, (n,) texts: what is wrong with an object, so that it is named and not fitted, and ""
    where nothing is.

    Attributes
    ----------
    ids : (n,) names or numbers of the objects.
    kind : what an object is, one word for messages and files.
    columns : names and units of what `Target.told` adds to the parameters.
    statistic : name of the statistic's column.
    template : posterior with nobody's data; its latent coordinates are those of every object.
    target : what is compiled.
    """

    @property
    def ids(self) -> np.ndarray: ...
    @property
    def kind(self) -> str: ...
    @property
    def columns(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def statistic(self) -> str: ...
    @property
    def template(self) -> Posterior: ...
    @property
    def target(self) -> Target: ...

    def data(self, numbers: np.ndarray) -> Any:
        """Data of objects by their numbers (g,): the same pytree for any, its arrays with a leading axis g."""

    def guide(self, numbers: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Log-likelihood (g, m), up to a constant of each object, of objects by number for expected data (m, n).

        It is asked for all of the library at once and only guides proposals: it may be rough, and must be quick.
        """

    def posterior(self, number: int) -> Posterior:
        """Posterior of one object, for any method: where the batch fails, `auto` fits it alone."""
