"""A posterior as a NumPyro program, so that NumPyro's own samplers, guides and tools run on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from skyfold.kernel import resolved
from skyfold.posterior import Posterior
from skyfold.priors import numpyro_distribution


def numpyro_model(posterior: Posterior) -> Callable[[], None]:
    """Build the program; see `Posterior.numpyro_model`."""
    kernel, names = posterior.kernel, posterior.names
    observations = list(posterior.pairs)
    clash = set(names) & set(observations)
    places = [f"{name}.log_likelihood" if name in clash else name for name in observations]

    def program() -> None:
        import numpyro

        values: dict[int, Any] = {}
        for index in kernel.order:
            distribution = numpyro_distribution(resolved(kernel.priors[index], values))
            values[index] = numpyro.sample(names[index], distribution)
        for place, (model, observation) in zip(places, resolved(kernel.pairs, values), strict=True):
            expected = observation.predict(model)
            own = observation.pointwise if observation.independent else observation.log_likelihood
            numpyro.factor(place, jnp.asarray(own(expected)))

    return program
