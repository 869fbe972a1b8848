"""Step size of gradient samplers: dual averaging towards a wanted acceptance."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def fresh_step(size: float) -> np.ndarray:
    """Dual-averaging state: step, mean error, count, averaged step, centre (Hoffman & Gelman 2014, section 3.2)."""
    return np.array([size, 0.0, 0.0, size, np.log(10.0 * size)])


def tuned(state: jax.Array, acceptance: jax.Array, target: float | jax.Array) -> jax.Array:
    """State after a transition with this acceptance."""
    _, error, count, average, centre = state
    count = count + 1.0
    rate = 1.0 / (count + 10.0)
    error = (1.0 - rate) * error + rate * (target - acceptance)
    log_step = centre - jnp.sqrt(count) / 0.05 * error
    weight = count**-0.75
    log_average = weight * log_step + (1.0 - weight) * jnp.log(average)
    return jnp.stack([jnp.exp(log_step), error, count, jnp.exp(log_average), centre])
