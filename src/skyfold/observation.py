"""Observation: folds a model through an instrument and says how likely its data are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.axis import Axis
from skyfold.compiled.annotation import Annotation
from skyfold.likelihoods.likelihood import Likelihood

#: Gauss-Legendre nodes between two expected values.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)


class Observation(eqx.Module):
    """Base of every observation: immutable, a pytree whose leaves are what the likelihood needs.

    A subclass writes `predict`; what it keeps for people only (paths, headers, unfiltered data) goes into the
    annotation, which compilation does not see. It may own parameters: fields declared with
    `skyfold.parameters.parameter`.

    Attributes
    ----------
    likelihood : Likelihood
        The data and their distribution.
    annotation : Annotation
        Holds an object with an attribute ``name``, or the name itself.
    """

    #: Module of the figures that show these data, see `skyfold.plots`; None for those that the core draws.
    figures_module: ClassVar[str | None] = None
    likelihood: Likelihood
    annotation: Annotation = eqx.field(static=True)

    def predict(self, model: Any) -> jax.Array:
        """What the data are expected to be for a model without free parameters, and the likelihood is a function of.

        The expected data (n_data,), or whatever tells more than these.
        """
        raise NotImplementedError

    def mean(self, expected: jax.Array) -> jax.Array:
        """Expected value of each datum, (n_data,), whatever `predict` gives; what was integrated out is at its best.

        This is what is shown beside the data.
        """
        return self.likelihood.mean(expected)

    def contribution(self, part: Any, expected: Any) -> jax.Array:
        """What a part of a model adds to the `mean` of data for which the whole model gives `expected`, (n_data,)."""
        return self.predict(part)

    def integrated(self, rng: np.random.Generator | None, expected: np.ndarray) -> np.ndarray | None:
        """Draws (n, ...) of what was integrated out of the model, given the data and expected data (n, ...).

        Without random numbers the most probable ones; None where nothing was integrated out of the model.
        """
        return None

    def restored(self, model: Any, value: Any) -> Any:
        """Model with one draw of `integrated` put back; traced."""
        return model

    @property
    def name(self) -> str:
        """Name in tables, plots and files."""
        return str(getattr(self.annotation.value, "name", self.annotation.value) or "observation")

    @property
    def data(self) -> np.ndarray:
        """Observed data, shape (n_data,)."""
        return self.likelihood.data

    @property
    def n_data(self) -> int:
        """Number of data."""
        return int(np.size(self.likelihood.data))

    @property
    def axis(self) -> Axis:
        """Along what the data lie; by default they are numbered."""
        return Axis.numbered(self.n_data)

    @property
    def background_counts(self) -> np.ndarray | None:
        """Background that lies under the data and is shown with them, (n_data,), or None."""
        return None

    @property
    def background_unused(self) -> bool:
        """Whether that background takes no part in the fit."""
        return self.background_counts is not None

    @property
    def independent(self) -> bool:
        """Whether the data are conditionally independent, so that each has a log-likelihood of its own."""
        total = type(self).log_likelihood is not Observation.log_likelihood
        return self.likelihood.independent and not (total and type(self).pointwise is Observation.pointwise)

    def check(self) -> None:
        """Warn of data that no model can explain; called when the observation becomes part of a posterior."""

    def alongside(self, others: Sequence[Observation]) -> Self:
        """Return the observation as it is fitted jointly with others; called when they become part of a posterior.

        One that shows something beside its data (`background_counts`) leaves it out where another fits it.
        """
        return self

    def bound(self, model: Any) -> Self:
        """Return the observation ready for a model; called when they become part of a posterior.

        An observation whose data are distributed differently for different models, not by their expectation alone,
        chooses its likelihood here.
        """
        return self

    def pointwise(self, expected: jax.Array) -> jax.Array:
        """Log-likelihood of each datum, shape (n_data,)."""
        return self.likelihood.pointwise(expected)

    def log_likelihood(self, expected: jax.Array) -> jax.Array:
        """Log-likelihood of all data."""
        return jnp.sum(self.pointwise(expected))

    def fisher(self, expected: jax.Array) -> jax.Array:
        """Fisher information of each expected datum, shape (n_data,)."""
        return self.likelihood.fisher(expected)

    def information(self, expected: jax.Array, jacobian: jax.Array) -> jax.Array:
        """Fisher information (ndim, ndim) of parameters with respect to which expected data have this Jacobian.

        Parameters
        ----------
        expected : (n,) expected data.
        jacobian : (ndim, n) their derivatives.
        """
        rows = jax.vmap(self.whitening(expected))(jacobian)
        return rows @ rows.T

    def displacement(self, start: jax.Array, end: jax.Array) -> jax.Array:
        """Way from one vector of expected data to another, in coordinates in which the Fisher information is one.

        By quadrature along the straight line between them, which is exact to 1e-6 for counts and for normal data:
        2 sqrt(m) for counts. Shape (n_data,). Data that are correlated need their own, and their own `whitening`.
        """
        path = start + 0.5 * (1.0 + _NODES[:, None]) * (end - start)
        information = jax.vmap(self.fisher)(path)
        # a datum that says nothing has no derivative of its root
        some = information > 0
        slope = jnp.where(some, jnp.sqrt(jnp.where(some, information, 1.0)), 0.0)
        return 0.5 * (end - start) * (jnp.asarray(_WEIGHTS) @ slope)

    def whitening(self, expected: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """Derivative of `displacement` at its start: a linear function from changes of expected data to (n_data,)."""
        root = jnp.sqrt(self.fisher(expected))
        return lambda change: root * change

    def statistic(self, expected: jax.Array) -> jax.Array:
        """Statistic as the field prints it (C-stat, chi-squared)."""
        return self.likelihood.statistic(expected)

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        """Draw data for expected data; leading batch axes are kept."""
        return self.likelihood.sample(rng, expected)

    def replicate(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        """Like `sample`, with what was integrated out drawn given the data rather than from its prior."""
        return self.sample(rng, expected)

    def rebin(self, min_significance: float, max_bins: int) -> np.ndarray:
        """Number of the bin, (n_data,), into which each datum goes for display; here every datum has its own.

        Parameters
        ----------
        min_significance : least significance of a bin.
        max_bins : most data to join.
        """
        return np.arange(self.n_data)

    def with_data(self, data: Any) -> Self:
        """Same observation of other data."""
        return eqx.tree_at(lambda o: o.likelihood, self, self.likelihood.with_data(data))
