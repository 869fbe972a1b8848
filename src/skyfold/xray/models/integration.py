"""How additive components integrate over bins: exactly between exponentials, or by a two-point rule.

Only `exp2` is evaluated per parameter set; logarithms of bin edges do not depend on parameters, so that they are
computed once for a whole batch of parameter sets.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

LN2 = float(np.log(2.0))
_NODE = float(1.0 / np.sqrt(3.0))
#: Taylor coefficients of tanh(y)/y in y^2, enough for 1e-14 below |y| = 0.1
_TANHC = (1.0, -1.0 / 3.0, 2.0 / 15.0, -17.0 / 315.0, 62.0 / 2835.0, -1382.0 / 155925.0)
_NARROW = 0.1


def integrate(density: Callable[[jax.Array], jax.Array], edges: jax.Array) -> jax.Array:
    r"""Integral of a density over each bin by the two-point Gauss-Legendre rule.

    The error is :math:`h^5 f''''/4320` for a bin of width :math:`h`: relative :math:`(h/kT)^4/4320` where the
    density falls as :math:`e^{-E/kT}`, and :math:`\Gamma(\Gamma+1)(\Gamma+2)(\Gamma+3)\,(h/E)^4/4320` where it goes
    as :math:`E^{-\Gamma}` (1e-8 for :math:`\Gamma = 2` and bins of 3%, 3e-6 for bins of 10%).

    Parameters
    ----------
    density : callable
        Maps energies in keV, shape (n,), to a density per keV.
    edges : (n + 1,) array
        Bin edges in keV.

    Returns
    -------
    (n,) array
    """
    half = 0.5 * (edges[1:] - edges[:-1])
    centre = 0.5 * (edges[1:] + edges[:-1])
    return half * (density(centre - _NODE * half) + density(centre + _NODE * half))


def mean_exponential(start: jax.Array, stop: jax.Array, half: jax.Array) -> jax.Array:
    r"""Mean of an exponential over an interval from its two end values, :math:`(stop - start)/(2\,half)`.

    Accurate to 1e-14 and differentiable also where the exponent does not change.

    Parameters
    ----------
    start, stop : arrays
        Values :math:`e^{a - y}` and :math:`e^{a + y}` at the ends.
    half : array
        :math:`y`, half the change of the exponent from start to stop.
    """
    narrow = jnp.abs(half) < _NARROW
    square = jnp.where(narrow, half, 0.0) ** 2
    series: jax.Array | float = _TANHC[-1]
    for coefficient in _TANHC[-2::-1]:
        series = series * square + coefficient
    wide = (stop - start) / jnp.where(narrow, 1.0, half)
    return 0.5 * jnp.where(narrow, (start + stop) * series, wide)
