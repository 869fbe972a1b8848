r"""Normal transports of the Gamma, Beta, Student t and truncated normal distributions.

Each function maps a standard normal coordinate to the variable of the same cumulative probability,
:math:`x = F^{-1}(\Phi(z))`. All are pure, broadcast their arguments, and are differentiable (forward and
reverse) in the coordinate *and* in the parameters of the distribution.

**One family.** With :math:`X \sim \mathrm{Beta}(a, b)` and log odds :math:`y = \log X/(1-X)`,

* :math:`b X / (1-X)` is :math:`\mathrm{Gamma}(a)` in the limit of large ``b`` (up to :math:`O(x/b)`, nothing
  at :math:`b = 10^{25}`);
* :math:`\sqrt{\nu} \sinh(y/2)` is Student t with ``df`` = :math:`\nu` for :math:`a = b = \nu/2`.

One solver finds :math:`v = y - \log(a/b)`, the log odds relative to their mode. The density of :math:`y` is
log concave, and so are both tail probabilities.

**Tail probability.** Only the tail which points away from the mode is integrated (the upper one by exchanging
``a`` and ``b``). In the coordinate :math:`c = -\log X` its integrand decays at least exponentially,

.. math:: F(v) = g(v) (1 + o) \int_0^\infty e^{-D(s)} ds, \quad
          D(s) = a s - (b - 1) \log\left(1 + o (1 - e^{-s})\right), \quad o = \frac{a}{b} e^v,

with :math:`g` the density of the log odds; a double exponential rule [1]_ of 64 points gives it to
1e-14, and its moments the derivatives in ``a`` and ``b``, which JAX's incomplete Beta function lacks.

**Root.** :math:`\log F(v)` is concave and increasing: from any start, a Newton step lands left of the root
and the next ones increase towards it. Halley's correction, at most a doubling of the step, makes it faster:
three or four evaluations are enough. Derivatives follow from the implicit function theorem.

References
----------
.. [1] Takahasi & Mori 1974, Publ. RIMS 9, 721 (double exponential formulas).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike

__all__ = [
    "normal_to_beta",
    "normal_to_beta_pair",
    "normal_to_gamma",
    "normal_to_student_t",
    "normal_to_truncated_normal",
]

_STEP = 0.14
_ABSCISSA = _STEP * np.arange(-26, 38).reshape(4, 16)
_NODES = np.exp(_ABSCISSA - np.exp(-_ABSCISSA))
_WEIGHTS = _STEP * _NODES * (1.0 + np.exp(-_ABSCISSA))

_STIRLING = 1.0 / np.array([12, -360, 1260, -1680, 1188, -360360 / 691, 156, -122400 / 3617])
_SHIFT = 8
_HALF_LOG_2PI = 0.5 * float(np.log(2.0 * np.pi))
_GAMMA_LIMIT = 1e25
_MAX_ITERATIONS = 60


def _log_ndtr(y: Array) -> Array:
    r"""Return :math:`\log\Phi(y)`, as JAX's ``log_ndtr`` with far fewer operations to compile."""
    far = y < -37.0
    near = jnp.log(0.5 * jax.lax.erfc(-np.sqrt(0.5) * jnp.where(far, 0.0, y)))
    y = jnp.where(far, y, -37.0)
    u = 1.0 / y**2
    series = jnp.log1p(u * (u * (3.0 + u * (105.0 * u - 15.0)) - 1.0))
    return jnp.where(far, series - jnp.log(-y) - 0.5 * y**2 - _HALF_LOG_2PI, near)


def _stirling(x: Array) -> Array:
    r"""Return :math:`\log\Gamma(x)` minus Stirling's formula, smooth for every positive ``x``."""
    small = x < _SHIFT
    base = jnp.where(small, x, 1.0)
    large = jnp.where(small, x + _SHIFT, x)
    # The product x (x + 1) ... (x + 7), by pairs.
    pair = base * (base + 7.0)
    product = pair * (pair + 6.0) * (pair + 10.0) * (pair + 12.0)
    shifted = (base + (_SHIFT - 0.5)) * jnp.log(base + _SHIFT) - (base - 0.5) * jnp.log(base) - _SHIFT
    series: Array = jnp.polyval(_STIRLING[::-1], 1.0 / large**2) / large
    return series + jnp.where(small, shifted - jnp.log(product), 0.0)


def _stirling_slope(x: Array) -> Array:
    """Return the derivative of `_stirling`."""
    small = x < _SHIFT
    base = jnp.where(small, x, 1.0)
    large = jnp.where(small, x + _SHIFT, x)
    pair = base * (base + 7.0)
    poles = 1.0 / pair + 1.0 / (pair + 6.0) + 1.0 / (pair + 10.0) + 1.0 / (pair + 12.0)
    shifted = jnp.log1p(_SHIFT / base) - 0.5 / (base + _SHIFT) + 0.5 / base - (2.0 * base + 7.0) * poles
    square = 1.0 / large**2
    series: Array = -square * jnp.polyval((_STIRLING * np.arange(1, 16, 2))[::-1], square)
    return series + jnp.where(small, shifted, 0.0)


def _log_peak(a: Array, b: Array) -> Array:
    """Return the log density of the log odds at their mode."""
    return 0.5 * jnp.log(a * (b / (a + b))) - _HALF_LOG_2PI + _stirling(a + b) - _stirling(a) - _stirling(b)


def _integrand(v: Array, a: Array, b: Array) -> tuple[Array, ...]:
    r"""Return the values of :math:`e^{-D(s)} ds`, the s and logarithms in ``D``, then exp(v), o and D'(0)."""
    decay = jnp.exp(v)
    odds = a / b * decay
    slope = a * (decay / b + (1.0 - decay))
    second = jnp.maximum(b - 1.0, 0.0) * odds * (1.0 + odds)
    near = jnp.where(b < 1.0, jnp.sqrt(slope * a), slope)
    scale = jax.lax.stop_gradient(2.0 / (near + jnp.sqrt(near**2 + 2.0 * second)))[..., None, None]
    a, b, s = a[..., None, None], b[..., None, None], scale * _NODES
    log = jnp.log1p(-odds[..., None, None] * jnp.expm1(-s))
    return scale * _WEIGHTS * jnp.exp((b - 1.0) * log - a * s), s, log, decay, odds, slope


def _bend(v: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """Return ``log1p(p expm1(v))`` with p = a / (a + b), and the same less ``v``; nothing cancels."""
    left = a < b
    rest = jnp.where(left, 0.0, jnp.maximum(-690.0 - v, 0.0))
    bend = jnp.log1p(jnp.where(left, a, b) / (a + b) * jnp.expm1(jnp.where(left, v, -v - rest))) + rest
    return jnp.where(left, bend, bend + v), jnp.where(left, bend - v, bend)


def _tail(v: Array, a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Return the log of the lower tail over the peak density, its slope, and that of the log density."""
    value, _, _, decay, odds, _ = _integrand(v, a, b)
    width = (1.0 + odds) * jnp.sum(value, axis=(-2, -1))
    bend, bend_less_v = _bend(v, a, b)
    return jnp.log(width) - a * bend_less_v - b * bend, 1.0 / width, a * (1.0 - decay) / (1.0 + odds)


def _tail_slopes(v: Array, a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Return the derivatives in ``v``, ``a`` and ``b`` of the log of the lower tail at ``v <= 0``."""
    value, s, log, decay, odds, slope = _integrand(v, a, b)
    integral, sum_s, sum_log = (jnp.sum(part, axis=(-2, -1)) for part in (value, value * s, value * log))
    # The integral of D' e^-D is one, which gives the mean of the derivative of the logarithm.
    common = (odds + 1.0 / integral - slope) / (1.0 + odds)
    bend, bend_less_v = _bend(v, a, b)
    lean = jnp.expm1(v) / (a * decay + b)
    whole = _stirling_slope(a + b)
    peak_a = 0.5 * b / a / (a + b) + whole - _stirling_slope(a)
    peak_b = 0.5 * a / b / (a + b) + whole - _stirling_slope(b)
    slope_a = peak_a - bend_less_v - b * lean + common / a - sum_s / integral
    slope_b = peak_b - bend + a * lean - common / b + sum_log / integral
    return 1.0 / ((1.0 + odds) * integral), slope_a, slope_b


def _start(excess: Array, a: Array, b: Array) -> Array:
    """Return a first guess of ``v`` where the log tail lies ``excess`` below its value at the mode."""
    excess = jnp.maximum(excess, 0.0)
    radius = 2.0 * excess / (0.8 + jnp.sqrt(0.64 + 2.0 * excess))
    return -excess / a - jnp.log1p(excess / b + radius * jnp.sqrt(1.0 / a + 1.0 / b))


def _solve(z: Array, a: Array, b: Array) -> Array:
    """Return the log odds of a Beta variable relative to their mode, at the normal coordinate ``z``."""
    peak = _log_peak(a, b)
    below, above = _log_ndtr(jnp.stack([z, -z]))

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        v, last, count = state
        return jnp.any(jnp.abs(v - last) > 1e-7 * jnp.sqrt(1.0 / a + 1.0 / b)) & (count < _MAX_ITERATIONS)

    def improve(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        v, _, count = state
        first = count == 0
        lower = v <= 0.0
        low_a, low_b = jnp.where(lower, a, b), jnp.where(lower, b, a)
        value, slope, density_slope = _tail(-jnp.abs(v), low_a, low_b)
        value = value + peak
        # The first turn stands at the mode and chooses the tail with the root; the later make Halley steps.
        in_lower = below <= value
        at_mode = jnp.where(in_lower, value, jnp.log(-jnp.expm1(jnp.minimum(value, -1e-300))))
        excess = at_mode - jnp.where(in_lower, below, above)
        start = _start(excess, jnp.where(in_lower, a, b), jnp.where(in_lower, b, a))
        miss = value - jnp.where(lower, below, above)
        halley = jnp.maximum(1.0 + 0.5 * miss * (1.0 - density_slope / slope), 0.5)
        step = jnp.minimum(-jnp.abs(v) - miss / slope / halley, 0.0)
        move = jnp.where(first, start, step)
        return jnp.where(jnp.where(first, in_lower, lower), move, -move), v, count + 1

    zero = jnp.zeros_like(z)
    v, _, _ = jax.lax.while_loop(unfinished, improve, (zero, zero + jnp.inf, jnp.asarray(0)))
    return v


@jax.custom_jvp
def _log_odds(z: Array, a: Array, b: Array) -> Array:
    """Return ``_solve`` with its implicit derivatives; the arguments have one shape."""
    return _solve(z, a, b)


def _log_odds_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (z, a, b), (dz, da, db) = primals, tangents
    v = _log_odds(z, a, b)
    lower = v <= 0.0
    sign = jnp.where(lower, 1.0, -1.0)
    low_a, low_b = jnp.where(lower, a, b), jnp.where(lower, b, a)
    change = jnp.zeros_like(v)
    if isinstance(da, SymbolicZero) and isinstance(db, SymbolicZero):
        _, slope, _ = _tail(sign * v, low_a, low_b)
    else:
        slope, slope_a, slope_b = _tail_slopes(sign * v, low_a, low_b)
        if not isinstance(da, SymbolicZero):
            change = change - sign * jnp.where(lower, slope_a, slope_b) / slope * da
        if not isinstance(db, SymbolicZero):
            change = change - sign * jnp.where(lower, slope_b, slope_a) / slope * db
    if not isinstance(dz, SymbolicZero):
        y = sign * z
        change = change + jnp.exp(-0.5 * y * y - _HALF_LOG_2PI - _log_ndtr(y)) / slope * dz
    return v, change


_log_odds.defjvp(_log_odds_jvp, symbolic_zeros=True)


def _as_floats(*values: ArrayLike) -> list[Array]:
    """Return the arguments as double precision arrays of one shape."""
    return jnp.broadcast_arrays(*(jnp.asarray(value, dtype=float) for value in values))


def normal_to_gamma(z: ArrayLike, concentration: ArrayLike) -> Array:
    r"""Return the unit-rate Gamma variable at a standard normal coordinate, :math:`P(\alpha, x) = \Phi(z)`.

    Parameters
    ----------
    z : standard normal coordinate.
    concentration : shape :math:`\alpha > 0` of the distribution, tested from 0.05 to 1e4.

    Returns
    -------
    :math:`x \ge 0`, of the broadcast shape, to a relative accuracy of 1e-12, as are its derivatives. Where it
    is less than about 1e-308 the result is 0 (:math:`\alpha = 0.05` at :math:`z < -8.1`).
    """
    z, alpha = _as_floats(z, concentration)
    return alpha * jnp.exp(_log_odds(z, alpha, jnp.full_like(z, _GAMMA_LIMIT)))


def normal_to_beta_pair(z: ArrayLike, a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    r"""Return a Beta variable and its complement at a normal coordinate, :math:`I_x(a, b) = \Phi(z)`.

    Parameters
    ----------
    z : standard normal coordinate.
    a, b : shapes of the distribution, both positive, tested from 0.05 to 1e4.

    Returns
    -------
    :math:`x` and :math:`1 - x`, of the broadcast shape, *each* to a relative accuracy of 1e-12, as are their
    derivatives. Use the second one (in a logarithm, in stick breaking) where ``x`` rounds to one.
    """
    z, a, b = _as_floats(z, a, b)
    y = _log_odds(z, a, b) + jnp.log(a) - jnp.log(b)
    # Not by the logistic function, whose derivative rounds to zero where it rounds to one.
    odds = jnp.exp(jnp.where(y < 0.0, y, -y))
    small, large = odds / (1.0 + odds), 1.0 / (1.0 + odds)
    return jnp.where(y < 0.0, small, large), jnp.where(y < 0.0, large, small)


def normal_to_beta(z: ArrayLike, a: ArrayLike, b: ArrayLike) -> Array:
    """Return the Beta variable at a standard normal coordinate: the first value of `normal_to_beta_pair`.

    Parameters
    ----------
    z : standard normal coordinate.
    a, b : shapes of the distribution, both positive, tested from 0.05 to 1e4.

    Returns
    -------
    x : 0 to 1, of the broadcast shape, to a relative accuracy of 1e-12; near one it is rounded to double
    precision and may equal one, where `normal_to_beta_pair` keeps the distance from one.
    """
    return normal_to_beta_pair(z, a, b)[0]


def normal_to_student_t(z: ArrayLike, df: ArrayLike) -> Array:
    r"""Return the standard Student t variable at a standard normal coordinate.

    .. math:: x = \sqrt{\nu} \sinh(y / 2), \quad y \text{ the log odds of } \mathrm{Beta}(\nu/2, \nu/2)

    Parameters
    ----------
    z : standard normal coordinate.
    df : degrees of freedom :math:`\nu > 0`, tested from 1 to 1e6.

    Returns
    -------
    x : of the broadcast shape, to 1e-12 of ``max(|x|, 1)``. The derivative in ``df`` is a small difference of
    large terms: its relative accuracy is 1e-12 at ``df`` = 1, 1e-11 at 10, 1e-7 at 1e3, and 2e-3 at 1e6 where
    the derivative itself is of order 1e-12.
    """
    z, df = _as_floats(z, df)
    half = 0.5 * _log_odds(z, 0.5 * df, 0.5 * df)
    return jnp.sqrt(df) * jnp.sinh(jnp.clip(half, -690.0, 690.0))


_GAUSS, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(10)


def _ndtri_exp(target: Array) -> Array:
    r"""Return the ``x <= 0`` of :math:`\log\Phi(x)` = ``target``, which is at most log(1/2)."""
    excess = jnp.maximum(-np.log(2.0) - target, 0.0)

    def improve(_: int, x: Array) -> Array:
        value = _log_ndtr(x)
        miss = value - target
        slope = jnp.exp(-0.5 * x * x - _HALF_LOG_2PI - value)
        return x - miss / slope / jnp.maximum(1.0 + 0.5 * miss * (1.0 + x / slope), 0.5)

    x: Array = jax.lax.fori_loop(0, 6, improve, -2.0 * excess / (0.8 + jnp.sqrt(0.64 + 2.0 * excess)))
    return x


def _log_mass(low: Array, high: Array, log_low: Array, log_high: Array) -> Array:
    """Return the log probability between two limits of which the lower one is the farther from zero."""
    narrow = (high - low) * (1.0 + jnp.abs(low)) < 1.0
    span, edge = jnp.where(narrow, high - low, 1.0), jnp.where(narrow, low, 0.0)
    s = 0.5 * span[..., None] * (1.0 + _GAUSS)
    inside = 0.5 * span * jnp.sum(_GAUSS_WEIGHTS * jnp.exp(-s * (edge[..., None] + 0.5 * s)), axis=-1)
    wide = log_high + jnp.log1p(-jnp.exp(jnp.where(narrow, -1.0, log_low - log_high)))
    return jnp.where(narrow, jnp.log(inside) - 0.5 * edge**2 - _HALF_LOG_2PI, wide)


def _from_edge(log_probability: Array, edge: Array) -> tuple[Array, Array]:
    """Return the distance from an edge within which a small probability lies, and whether it is small."""
    finite, edge = jnp.isfinite(edge), jnp.where(jnp.isfinite(edge), edge, 0.0)
    # In units of the density at the edge, the series of the quantile function.
    m = jnp.exp(jnp.minimum(log_probability + 0.5 * edge**2 + _HALF_LOG_2PI, 0.0))
    square = edge**2
    distance = 1.0 + m * (edge / 2 + m * ((1 + 2 * square) / 6 + m * edge * (7 + 6 * square) / 24))
    return m * distance, finite & (m * (1.0 + jnp.abs(edge)) < 1e-3)


def _solve_truncated(z: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Return the truncated normal variable and the log of the probability between the limits."""
    mirror = low + high > 0.0
    left, right = jnp.where(mirror, -high, low), jnp.where(mirror, -low, high)
    y = jnp.where(mirror, -z, z)
    logs = _log_ndtr(jnp.stack([left, -left, right, -right, y, -y]))
    mass = _log_mass(left, right, logs[0], logs[2])
    below = jnp.logaddexp(logs[0] + logs[5], logs[2] + logs[4])
    above = jnp.logaddexp(logs[1] + logs[5], logs[3] + logs[4])
    x = _ndtri_exp(jnp.minimum(jnp.minimum(below, above), -np.log(2.0)))
    x = jnp.clip(jnp.where(below <= above, x, -x), left, right)
    rise, near_left = _from_edge(logs[4] + mass, left)
    fall, near_right = _from_edge(logs[5] + mass, -right)
    x = jnp.where(near_left, left + rise, jnp.where(near_right, right - fall, x))
    return jnp.where(mirror, -x, x), mass


@jax.custom_jvp
def _truncated(z: Array, low: Array, high: Array) -> Array:
    """Return the truncated normal variable with its implicit derivatives; the arguments have one shape."""
    return _solve_truncated(z, low, high)[0]


def _truncated_jvp(primals: Any, tangents: Any) -> tuple[Array, Array]:
    (z, low, high), (dz, dlow, dhigh) = primals, tangents
    x = _truncated(z, low, high)
    change = jnp.zeros_like(x)
    for edge, tangent, tail in ((low, dlow, -z), (high, dhigh, z)):
        if not isinstance(tangent, SymbolicZero):
            finite = jnp.isfinite(edge)
            edge = jnp.where(finite, edge, x)
            slope = jnp.exp(0.5 * (x - edge) * (x + edge) + _log_ndtr(tail))
            change = change + jnp.where(finite, slope, 0.0) * tangent
    if not isinstance(dz, SymbolicZero):
        mirror = low + high > 0.0
        left, right = jnp.where(mirror, -high, low), jnp.where(mirror, -low, high)
        mass = _log_mass(left, right, _log_ndtr(left), _log_ndtr(right))
        change = change + jnp.exp(0.5 * (x - z) * (x + z) + mass) * dz
    return x, change


_truncated.defjvp(_truncated_jvp, symbolic_zeros=True)


def normal_to_truncated_normal(z: ArrayLike, low: ArrayLike, high: ArrayLike) -> Array:
    r"""Return the truncated standard normal variable at a standard normal coordinate.

    .. math:: \frac{\Phi(x) - \Phi(l)}{\Phi(h) - \Phi(l)} = \Phi(z)

    solved as :math:`\Phi(x) = \Phi(l) \Phi(-z) + \Phi(h) \Phi(z)`, or the same for the upper tail, by the
    logarithms of these positive terms: nothing cancels, however far out the limits lie.

    Parameters
    ----------
    z : standard normal coordinate.
    low, high : limits, ``low < high`` (not checked), either of which may be infinite.

    Returns
    -------
    x : between the limits, of the broadcast shape, to 1e-14 of ``max(|x|, 1)``; the distance from a limit at
    zero (a half normal distribution) keeps a *relative* accuracy of 1e-12.
    """
    return _truncated(*_as_floats(z, low, high))
