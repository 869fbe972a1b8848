"""Extinction of the Milky Way."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from skyfold.galaxy.dust.law import Screen
from skyfold.parameters import Value, parameter

#: Polynomials in x - 1.82, highest power first: optical and near infrared, a and b.
_OPTICAL = (
    (0.32999, -0.77530, 0.01979, 0.72085, -0.02427, -0.50447, 0.17699, 1.0),
    (-2.09002, 5.30260, -0.62251, -5.38434, 1.07233, 2.28305, 1.41338, 0.0),
)
#: Polynomials in x - 8: far ultraviolet, a and b.
_FAR_UV = ((-0.070, 0.137, -0.628, -1.073), (0.374, -0.420, 4.257, 13.670))


class Cardelli(Screen):
    r"""Extinction law of the Milky Way, of one parameter.

    .. math:: k(\lambda) = a(x) + b(x) / R_V, \quad x = 1\,\mathrm{\mu m} / \lambda

    The law is given for 0.3 <= x <= 10. At longer wavelengths the infrared power 1.61 of x goes on; below 1000 Angstrom
    k keeps its value at 1000 Angstrom.

    Parameters
    ----------
    Av : extinction in V, magnitudes.
    Rv : total to selective extinction, default 3.1; given for 2 to 6.

    References
    ----------
    Cardelli, Clayton & Mathis 1989, ApJ 345, 245, eqs. 1-5.
    """

    name: ClassVar[str] = "cardelli"
    Rv: Value = parameter(3.1, description="total to selective extinction")

    def curve(self, wave: Any) -> jax.Array:
        x = 1e4 / jnp.maximum(jnp.asarray(wave), 1000.0)
        infrared = x**1.61
        y = jnp.clip(x, 1.1, 3.3) - 1.82
        u = jnp.clip(x, 3.3, 8.0)
        v = jnp.maximum(u - 5.9, 0.0)
        w = jnp.maximum(x, 8.0) - 8.0

        def choose(ir: Any, optical: Any, uv: Any, far: Any) -> jax.Array:
            return jnp.where(x < 1.1, ir, jnp.where(x < 3.3, optical, jnp.where(x <= 8.0, uv, far)))

        a = choose(
            0.574 * infrared,
            _polynomial(_OPTICAL[0], y),
            1.752 - 0.316 * u - 0.104 / ((u - 4.67) ** 2 + 0.341) - v**2 * (0.04473 + 0.009779 * v),
            _polynomial(_FAR_UV[0], w),
        )
        b = choose(
            -0.527 * infrared,
            _polynomial(_OPTICAL[1], y),
            -3.090 + 1.825 * u + 1.206 / ((u - 4.62) ** 2 + 0.263) + v**2 * (0.2130 + 0.1207 * v),
            _polynomial(_FAR_UV[1], w),
        )
        return a + b / self.Rv


def _polynomial(coefficients: tuple[float, ...], x: jax.Array) -> jax.Array:
    value = jnp.zeros_like(x)
    for c in coefficients:
        value = value * x + c
    return value
