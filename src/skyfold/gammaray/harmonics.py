"""Harmonics: a slow modulation of a template by spherical harmonics."""

from __future__ import annotations

from math import factorial, pi, sqrt
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.gammaray.pixels import Pixels
from skyfold.parameters import Prior, Value, parameter, shape_of
from skyfold.priors import Uniform


class Harmonics(Component):
    r"""Factor on a template that varies slowly over the sky.

    .. math:: m(l, b) = 1 + \sum_{\ell=1}^{\ell_\mathrm{max}} \sum_{k=0}^{\ell} A_{\ell k} \, \mathrm{Re} \,
        Y_{\ell k}(\pi/2 - b, l) \; [+ B_{\ell k} \, \mathrm{Im} \, Y_{\ell k}, \; k \ge 1]

    with orthonormal :math:`Y_{\ell k}` (Condon-Shortley phase) in Galactic coordinates. Without the sine terms, as in
    the published analysis, the factor is the same east and west of the Galactic centre.

    Parameters
    ----------
    coefficients : prior, or (n,) numbers
        :math:`A_{10}, A_{11}, A_{20}, A_{21}, A_{22}, ...`, then, with sine terms, :math:`B_{11}, B_{21}, B_{22}, ...`;
        a prior of a single number holds for each.
    order : :math:`\ell_\mathrm{max}`, default 2.
    sine : include the sine terms; default False.

    References
    ----------
    Sun, Mishra-Sharma, Slatyer & Wu, arXiv:2604.08648; Buschmann et al. 2020, Phys. Rev. D 102, 023023.
    """

    name: ClassVar[str] = "harmonics"
    kind: ClassVar[str] = "multiplicative"
    coefficients: Value = parameter(Uniform(-0.05, 0.05), description="amplitudes, cosine terms first", name="A")
    order: int = eqx.field(static=True, default=2)
    sine: bool = eqx.field(static=True, default=False)

    def __init__(self, coefficients: Any = None, *, order: int = 2, sine: bool = False) -> None:
        if not isinstance(order, int) or order < 1:
            raise SkyfoldError(f"Harmonics: the order is a whole number from 1 on, not {order!r}.")
        self.order, self.sine = order, sine
        given = self.coefficients if coefficients is None else coefficients
        n = len(terms(order, sine))
        if isinstance(given, Prior) and given.shape == ():
            given = type(given)(*(np.full(n, v) if np.ndim(v) == 0 else v for _, v in given.arguments()))
        self.coefficients = given

    def __check_init__(self) -> None:
        n = len(terms(self.order, self.sine))
        if shape_of(self.coefficients) != (n,):
            raise SkyfoldError(
                f"Harmonics of order {self.order}{' with sine terms' if self.sine else ''} have {n} coefficients, not "
                f"a value of the shape {shape_of(self.coefficients)}."
            )

    def evaluate(self, pixels: Pixels) -> jax.Array:
        """Factor in each pixel, (n_pix,)."""
        return 1.0 + jnp.asarray(self.coefficients) @ harmonics(pixels.direction, self.order, self.sine)


def terms(order: int, sine: bool) -> list[tuple[int, int, bool]]:
    """Return degree, order and whether it is the sine of every term, in the order of the coefficients."""
    cosine = [(l, k, False) for l in range(1, order + 1) for k in range(l + 1)]  # noqa: E741
    return cosine + [(l, k, True) for l, k, _ in cosine if k > 0] if sine else cosine  # noqa: E741


def harmonics(direction: jax.Array, order: int, sine: bool = False) -> jax.Array:
    """Real and imaginary parts of the spherical harmonics of degree 1 to `order`, (n, n_pix).

    Parameters
    ----------
    direction : (3, n_pix) unit vectors.
    order : largest degree.
    sine : the imaginary parts too.
    """
    x, y, z = direction
    rows = {}
    cosine, sines = jnp.ones_like(x), jnp.zeros_like(x)
    double = 1.0  # (-1)^k (2k - 1)!!
    for k in range(order + 1):
        # associated Legendre functions without their factor sin^k, which stands in the powers of x + iy
        before, legendre = jnp.zeros_like(z), jnp.full_like(z, double)
        for degree in range(k, order + 1):
            scale = sqrt((2 * degree + 1) / (4.0 * pi) * factorial(degree - k) / factorial(degree + k))
            rows[degree, k, False], rows[degree, k, True] = scale * legendre * cosine, scale * legendre * sines
            following = ((2 * degree + 1) * z * legendre - (degree + k) * before) / (degree - k + 1)
            before, legendre = legendre, following
        cosine, sines = x * cosine - y * sines, x * sines + y * cosine
        double *= -(2 * k + 1)
    return jnp.stack([rows[t] for t in terms(order, sine)])
