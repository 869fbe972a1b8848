r"""Normal transports of the Gamma, Beta, Student t and truncated normal distributions.

Each function maps a standard normal coordinate to the variable with the same cumulative probability,
:math:`x = F^{-1}(\Phi(z))`. They are pure, take arrays which broadcast, work under ``jit``, ``vmap``, ``grad``
and ``jvp``, and are differentiable in the coordinate *and* in the parameters of the distribution.

**One family.** Gamma and Student t are limits or changes of variable of the Beta distribution: with
:math:`X \sim \mathrm{Beta}(a, b)` and log odds :math:`y = \log X/(1-X)`,

* :math:`b X / (1-X) \to \mathrm{Gamma}(a)` for :math:`b \to \infty` (the relative difference is :math:`O(x/b)`,
  nothing at :math:`b = 10^{25}`);
* :math:`\sqrt{\nu} \sinh(y/2)` is Student t with :math:`\nu` degrees of freedom when :math:`a = b = \nu/2`.

So a single solver finds :math:`v = y - \log(a/b)`, the log odds relative to their mode. Because the density of
:math:`y` is log concave, so are both tail probabilities.

**Tail probability.** Only the tail which points away from the mode is integrated (the upper one by exchanging
``a`` and ``b``); in the coordinate :math:`c = -\log X` its integrand decays at least exponentially,

.. math:: F(v) = g(v) (1 + o) \int_0^\infty e^{-D(s)} ds, \quad
          D(s) = a s - (b - 1) \log\left(1 + o (1 - e^{-s})\right), \quad o = \frac{a}{b} e^v,

and a double exponential rule [1]_ of fixed length gives it to about 1e-14. Differentiating the rule gives the
derivatives in ``a`` and ``b`` with the same accuracy, which the incomplete Beta function of JAX lacks.

**Root.** :math:`\log F(v) = \log\Phi(z)` is concave and increasing: whatever the start, the first Newton step
lands left of the root and the later ones increase towards it. Halley's correction, never more than a doubling of
the Newton step, makes it faster. Derivatives follow from the implicit function theorem, so nothing is
differentiated through the iteration.

References
----------
.. [1] Takahasi & Mori 1974, Publ. RIMS 9, 721 (double exponential formulas).
.. [2] Johnson, Kotz & Balakrishnan 1995, Continuous Univariate Distributions, chapters 13, 17, 25, 28.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.scipy.special import log_ndtr
from jax.typing import ArrayLike

__all__ = [
    "normal_to_beta",
    "normal_to_beta_pair",
    "normal_to_gamma",
    "normal_to_student_t",
    "normal_to_truncated_normal",
]

_STEP = 0.12
_ABSCISSA = _STEP * np.arange(-30, 46)
_NODES = np.exp(_ABSCISSA - np.exp(-_ABSCISSA))
_WEIGHTS = _STEP * _NODES * (1.0 + np.exp(-_ABSCISSA))

_STIRLING = np.array([1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400])
_SHIFT = 8
_HALF_LOG_2PI = 0.5 * np.log(2.0 * np.pi)
_GAMMA_LIMIT = 1e25
_MAX_ITERATIONS = 60


def _stirling(x: Array) -> Array:
    r"""Return :math:`\log\Gamma(x)` minus Stirling's formula, accurate and smooth for every positive ``x``."""
    small = x < _SHIFT
    base = jnp.where(small, x, 1.0)
    large = jnp.where(small, x + _SHIFT, x)
    # The product x (x + 1) ... (x + 7), by pairs.
    pair = base * (base + 7.0)
    product = pair * (pair + 6.0) * (pair + 10.0) * (pair + 12.0)
    shifted = (base + (_SHIFT - 0.5)) * jnp.log(base + _SHIFT) - (base - 0.5) * jnp.log(base) - _SHIFT
    series = jnp.polyval(_STIRLING[::-1], 1.0 / large**2) / large
    return series + jnp.where(small, shifted - jnp.log(product), 0.0)


def _log_peak(a: Array, b: Array) -> Array:
    """Return the log density of the log odds at their mode."""
    rest = _stirling(jnp.stack([a + b, a, b]))
    return 0.5 * jnp.log(a * (b / (a + b))) - _HALF_LOG_2PI + rest[0] - rest[1] - rest[2]


def _log_peak_slopes(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the derivatives of `_log_peak`."""
    n = a + b
    sizes = jnp.stack([n, a, b])
    _, rest = jax.jvp(_stirling, (sizes,), (jnp.ones_like(sizes),))
    return 0.5 * b / a / n + rest[0] - rest[1], 0.5 * a / b / n + rest[0] - rest[2]


def _integrand(v: Array, a: Array, b: Array) -> tuple[Array, Array, Array, Array]:
    r"""Return the weighted values of :math:`e^{-D(s)}`, the abscissae, the logarithms in ``D`` and ``D'(0)``."""
    odds = a / b * jnp.exp(v)
    slope = a * (jnp.exp(v) / b - jnp.expm1(v))
    second = jnp.maximum(b - 1.0, 0.0) * odds * (1.0 + odds)
    near = jnp.where(b < 1.0, jnp.sqrt(slope * a), slope)
    scale = jax.lax.stop_gradient(2.0 / (near + jnp.sqrt(near**2 + 2.0 * second)))[..., None]
    s = scale * _NODES
    log = jnp.log1p(-odds[..., None] * jnp.expm1(-s))
    return scale * _WEIGHTS * jnp.exp((b[..., None] - 1.0) * log - a[..., None] * s), s, log, slope


def _bend(v: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Return ``log1p(p expm1(v))`` with p = a / (a + b), and the same less ``v``, each without cancellation."""
    left = a < b
    rest = jnp.maximum(-690.0 - v, 0.0)
    bend = jnp.log1p(jnp.where(left, a, b) / (a + b) * jnp.expm1(jnp.where(left, v, -v - rest))) + rest * ~left
    return jnp.where(left, bend, bend + v), jnp.where(left, bend - v, bend)


def _log_tail(v: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Return the log of the lower tail over the density at the mode, at ``v <= 0``, and its slope in ``v``."""
    odds = a / b * jnp.exp(v)
    width = (1.0 + odds) * jnp.sum(_integrand(v, a, b)[0], axis=-1)
    bend, bend_less_v = _bend(v, a, b)
    return jnp.log(width) - a * bend_less_v - b * bend, 1.0 / width


def _log_tail_slopes(v: Array, a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Return the derivatives in ``v``, ``a`` and ``b`` of the log of the lower tail at ``v <= 0``."""
    value, s, log, first = _integrand(v, a, b)
    odds = a / b * jnp.exp(v)
    integral = jnp.sum(value, axis=-1)
    mean_s = jnp.sum(value * s, axis=-1) / integral
    mean_log = jnp.sum(value * log, axis=-1) / integral
    # The integral of D' e^-D is one, which gives the mean of the derivative of the logarithm.
    common = (odds + 1.0 / integral - first) / (1.0 + odds)
    bend, bend_less_v = _bend(v, a, b)
    lean = jnp.expm1(v) / (a * jnp.exp(v) + b)
    peak_a, peak_b = _log_peak_slopes(a, b)
    slope_a = peak_a - bend_less_v - b * lean + common / a - mean_s
    slope_b = peak_b - bend + a * lean - common / b + mean_log
    return 1.0 / ((1.0 + odds) * integral), slope_a, slope_b


def _start(excess: Array, a: Array, b: Array) -> Array:
    """Return a first guess of ``v`` where the log tail lies ``excess`` below its value at the mode."""
    excess = jnp.maximum(excess, 0.0)
    radius = 2.0 * excess / (0.8 + jnp.sqrt(0.64 + 2.0 * excess))
    return -excess / a - jnp.log1p(excess / b + radius * jnp.sqrt(1.0 / a + 1.0 / b))


def _solve(z: Array, a: Array, b: Array) -> Array:
    """Return the log odds of a Beta variable relative to their mode, at the normal coordinate ``z``."""
    peak = _log_peak(a, b)
    below, above = log_ndtr(z), log_ndtr(-z)

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        _, _, miss, count = state
        return jnp.any(miss > 1e-6) & (count < _MAX_ITERATIONS)

    def improve(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        v, lower, _, count = state
        low_a, low_b = jnp.where(lower, a, b), jnp.where(lower, b, a)
        value, slope = _log_tail(v, low_a, low_b)
        value = value + peak
        # The first turn stands at the mode: it chooses the tail which holds the root, and the start in it.
        first = count == 0
        lower = jnp.where(first, below <= value, lower)
        at_mode = jnp.where(lower, value, jnp.log(-jnp.expm1(jnp.minimum(value, -1e-300))))
        excess = at_mode - jnp.where(lower, below, above)
        start = _start(excess, jnp.where(lower, a, b), jnp.where(lower, b, a))
        # The later ones make Halley steps.
        miss = value - jnp.where(lower, below, above)
        density_slope = -low_a * jnp.expm1(v) / (1.0 + low_a / low_b * jnp.exp(v))
        halley = 1.0 + 0.5 * miss * (1.0 - density_slope / slope)
        step = jnp.minimum(v - miss / slope / jnp.maximum(halley, 0.5), 0.0)
        return jnp.where(first, start, step), lower, jnp.where(first, jnp.inf, jnp.abs(miss)), count + 1

    begin = (jnp.zeros_like(z), jnp.ones_like(z, dtype=bool), jnp.full_like(z, jnp.inf), jnp.asarray(0))
    v, lower, _, _ = jax.lax.while_loop(unfinished, improve, begin)
    return jnp.where(lower, v, -v)


@jax.custom_jvp
def _log_odds(z: Array, a: Array, b: Array) -> Array:
    """Return ``_solve`` with its implicit derivatives; the arguments have one shape."""
    return _solve(z, a, b)


def _log_odds_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    z, a, b = primals
    dz, da, db = tangents
    v = _log_odds(z, a, b)
    lower = v <= 0.0
    sign = jnp.where(lower, 1.0, -1.0)
    low_a, low_b = jnp.where(lower, a, b), jnp.where(lower, b, a)
    fixed = isinstance(da, SymbolicZero) and isinstance(db, SymbolicZero)
    change = jnp.zeros_like(v)
    if fixed:
        _, slope = _log_tail(sign * v, low_a, low_b)
    else:
        slope, slope_a, slope_b = _log_tail_slopes(sign * v, low_a, low_b)
        if not isinstance(da, SymbolicZero):
            change = change - sign * jnp.where(lower, slope_a, slope_b) / slope * da
        if not isinstance(db, SymbolicZero):
            change = change - sign * jnp.where(lower, slope_b, slope_a) / slope * db
    if not isinstance(dz, SymbolicZero):
        y = sign * z
        change = change + jnp.exp(-0.5 * y * y - _HALF_LOG_2PI - log_ndtr(y)) / slope * dz
    return v, change


_log_odds.defjvp(_log_odds_jvp, symbolic_zeros=True)


def _as_floats(*values: ArrayLike) -> list[Array]:
    """Return the arguments as double precision arrays of one shape."""
    return jnp.broadcast_arrays(*(jnp.asarray(value, dtype=float) for value in values))


def normal_to_gamma(z: ArrayLike, concentration: ArrayLike) -> Array:
    r"""Return the Gamma variable of unit rate at a standard normal coordinate.

    .. math:: P(\alpha, x) = \Phi(z)

    Parameters
    ----------
    z : standard normal coordinate.
    concentration : shape :math:`\alpha > 0` of the distribution, tested from 0.05 to 1e4.

    Returns
    -------
    :math:`x \ge 0`, of the broadcast shape, to a relative accuracy of 1e-12 with its derivatives. Below about
    1e-308, where double precision ends, the result is 0 (:math:`\alpha = 0.05` at :math:`z < -8.1`).
    """
    z, alpha = _as_floats(z, concentration)
    return alpha * jnp.exp(_log_odds(z, alpha, jnp.full_like(z, _GAMMA_LIMIT)))


def normal_to_beta_pair(z: ArrayLike, a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    r"""Return a Beta variable and its complement at a standard normal coordinate.

    .. math:: I_x(a, b) = \Phi(z)

    Parameters
    ----------
    z : standard normal coordinate.
    a, b : shapes of the distribution, both positive, tested from 0.05 to 1e4.

    Returns
    -------
    :math:`x` and :math:`1 - x`, of the broadcast shape, *each* to a relative accuracy of 1e-12 with its
    derivatives: use the second one (in stick breaking, in a logarithm) where ``x`` rounds to one.
    """
    z, a, b = _as_floats(z, a, b)
    y = _log_odds(z, a, b) + jnp.log(a) - jnp.log(b)
    return jax.nn.sigmoid(y), jax.nn.sigmoid(-y)


def normal_to_beta(z: ArrayLike, a: ArrayLike, b: ArrayLike) -> Array:
    """Return the Beta variable at a standard normal coordinate, the first value of `normal_to_beta_pair`.

    The result is relatively accurate near zero; near one it is rounded to the grid of double precision and may
    equal one, where `normal_to_beta_pair` gives the distance from one.

    Parameters
    ----------
    z : standard normal coordinate.
    a, b : shapes of the distribution, both positive, tested from 0.05 to 1e4.

    Returns
    -------
    :math:`0 \\le x \\le 1`, of the broadcast shape.
    """
    return normal_to_beta_pair(z, a, b)[0]


def normal_to_student_t(z: ArrayLike, df: ArrayLike) -> Array:
    r"""Return the standard Student t variable at a standard normal coordinate.

    .. math:: x = \sqrt{\nu} \sinh(y / 2), \quad y \text{ the log odds of } \mathrm{Beta}(\nu/2, \nu/2)

    Parameters
    ----------
    z : standard normal coordinate.
    df : degrees of freedom :math:`\nu > 0`, tested from 0.5 to 1e6.

    Returns
    -------
    x : of the broadcast shape, to a relative accuracy of 1e-11 where ``|z| > 0.01`` and an absolute accuracy of
    1e-13 nearer the centre. Its derivative in ``df`` is a difference of terms which nearly cancel at large
    ``df``: its relative accuracy falls from 1e-12 at 10 to 1e-6 at 1e6, where the derivative itself is of
    order 1e-12.
    """
    z, df = _as_floats(z, df)
    return jnp.sqrt(df) * jnp.sinh(0.5 * _log_odds(z, 0.5 * df, 0.5 * df))
