"""NumPyro's distributions as priors: exact normal transports where there are any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold import priors
from skyfold.numpyro_bridge.run import innermost
from skyfold.parameters import Prior, Reference, Symbol, substitute


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


def prior_of(distribution: Any, argument: Callable[[Any], Any] = lambda value: value) -> Prior:
    """Prior that a NumPyro distribution specifies: an exact normal transport where there is one.

    Parameters
    ----------
    distribution : NumPyro distribution, whose arguments may be traced.
    argument : applied to each argument of an exact prior.
    """
    base, shape = innermost(distribution), tuple(distribution.shape())
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
