"""Normal transports against closed forms, 40-digit reference values, SciPy and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from skyfold.quantiles import (
    normal_to_beta,
    normal_to_beta_pair,
    normal_to_gamma,
    normal_to_student_t,
    normal_to_truncated_normal,
)

Z = np.concatenate([np.linspace(-8.2, 8.2, 83), [-1e-3, 1e-3]])
INF = np.inf

gamma = jax.jit(normal_to_gamma)
beta = jax.jit(normal_to_beta)
beta_pair = jax.jit(normal_to_beta_pair)
student_t = jax.jit(normal_to_student_t)
truncated = jax.jit(normal_to_truncated_normal)


def relative(value, reference):
    return np.max(np.abs(np.asarray(value) / np.asarray(reference) - 1.0))


# Values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments", "reference"),
    [
        # Solved with mpmath in 40 digits.
        (gamma, (-5.0, 0.05), 8.2005641066203381577e-132),
        (gamma, (3.0, 0.05), 2.5038224871448927879),
        (gamma, (-8.2, 0.3), 5.9749973353844649882e-54),
        (gamma, (8.2, 0.3), 33.091778926730746553),
        (gamma, (1.0, 2.5), 3.9781971476579231516),
        (gamma, (-8.2, 1e4), 9201.9410440156921172),
        (gamma, (8.2, 1e4), 10842.215494911676329),
        (beta, (-3.0, 0.1, 0.1), 1.7819603582986249162e-26),
        (beta, (-8.2, 1 / 3, 2 / 3), 3.0699907839371779141e-48),
        (beta, (-8.2, 2.0, 5.0), 2.8307068179125100908e-9),
        (beta, (1.0, 2.0, 5.0), 0.45401705599831120498),
        (beta, (-1.0, 0.1, 30.0), 2.0766979295835353505e-10),
        (beta, (-6.0, 50.0, 0.5), 0.6870655498306254517),
        (student_t, (-8.2, 3.5), -41700.134520393910742),
        (student_t, (-5.0, 30.0), -6.3192137337829199644),
        (student_t, (-0.5, 7.0), -0.52306101785226581449),
        (student_t, (-8.2, 1e3), -8.3419365877566270989),
        (truncated, (-3.0, 8.0, INF), 8.0001663262041591349),
        (truncated, (6.0, 8.0, INF), 10.246465426380425041),
        (truncated, (1.0, 35.0, 40.0), 35.052518445244490878),
    ],
)
def test_reference_values(function, arguments, reference):
    assert relative(function(*arguments), reference) < 3e-13


def test_closed_forms():
    lower, upper = special.log_ndtr(Z), special.log_ndtr(-Z)
    assert relative(gamma(Z, 1.0), -upper) < 1e-12
    for b in (0.1, 1.0, 7.0, 1e4):
        x, rest = beta_pair(Z, 1.0, b)
        assert relative(x, -np.expm1(upper / b)) < 1e-12
        assert relative(rest, np.exp(upper / b)) < 1e-12
        x, rest = beta_pair(Z, b, 1.0)
        assert relative(x, np.exp(lower / b)) < 1e-12
        assert relative(rest, -np.expm1(lower / b)) < 1e-12
    p = np.exp(lower[Z < 0])
    assert relative(beta(Z[Z < 0], 0.5, 0.5), np.sin(0.5 * np.pi * p) ** 2) < 1e-12
    assert np.allclose(student_t(Z[Z < 0], 1.0), -1.0 / np.tan(np.pi * p), rtol=1e-12, atol=1e-13)
    t = student_t(Z[Z < 0], 2.0)
    assert np.allclose(t, (2 * p - 1) / np.sqrt(2 * p * (1 - p)), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("concentration", [0.05, 0.1, 0.7, 1.0, 3.0, 40.0, 1e3, 1e4])
def test_gamma_round_trip(concentration):
    z = Z[Z > -8.0] if concentration < 0.1 else Z
    x = np.asarray(gamma(z, concentration))
    tail = np.where(z < 0, special.gammainc(concentration, x), special.gammaincc(concentration, x))
    assert relative(tail, special.ndtr(-np.abs(z))) < (1e-8 if concentration > 100 else 1e-10)
    centre = np.abs(z) < 3
    assert relative(x[centre], stats.gamma.ppf(special.ndtr(z[centre]), concentration)) < 1e-10


SHAPES = [(0.1, 0.1), (1 / 3, 2 / 3), (0.1, 50.0), (50.0, 0.1), (2.0, 5.0), (30.0, 30.0), (1e4, 0.5)]
SHAPES.append((1e4, 1e4))


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_beta_round_trip(a, b):
    x, rest = (np.asarray(part) for part in beta_pair(Z, a, b))
    # The tails by the smaller of x and 1 - x.
    lower = np.where(x < 0.5, special.betainc(a, b, x), special.betaincc(b, a, rest))
    upper = np.where(x < 0.5, special.betaincc(a, b, x), special.betainc(b, a, rest))
    tail = np.where(Z < 0, lower, upper)
    assert relative(tail, special.ndtr(-np.abs(Z))) < (1e-8 if a + b > 100 else 1e-10)
    assert np.max(np.abs(x + rest - 1.0)) < 1e-15
    mirrored, _ = beta_pair(-Z, b, a)
    assert relative(mirrored, rest) < 1e-12


@pytest.mark.parametrize("df", [1.0, 2.5, 4.0, 30.0, 1e3, 1e6])
def test_student_t_round_trip(df):
    x = np.asarray(student_t(Z, df))
    tail = special.ndtr(-np.abs(Z))
    assert relative(special.stdtr(df, -np.abs(x)), tail) < 1e-8
    assert np.allclose(x, -student_t(-Z, df), rtol=1e-12, atol=1e-12)
    if df == 1e6:
        assert np.allclose(x, Z + (Z**3 + Z) / (4 * df), rtol=1e-8, atol=1e-13)


LIMITS = [
    (-INF, INF),
    (0.0, INF),
    (-INF, 0.0),
    (-1.0, 2.0),
    (-1e-3, 1e-3),
    (3.0, 3.0001),
    (8.0, INF),
    (-INF, -20.0),
    (-40.0, -35.0),
    (1.0, 30.0),
    (-5.0, 5.0),
]


@pytest.mark.parametrize(("low", "high"), LIMITS)
def test_truncated_normal_round_trip(low, high):
    x = np.asarray(truncated(Z, low, high))
    assert np.all((x >= low) & (x <= high)) and np.all(np.diff(x[:83]) >= 0)
    assert np.allclose(x, -np.asarray(truncated(-Z, -high, -low)), rtol=1e-14, atol=1e-15)
    # Phi(x) is the mixture of the tails at the limits, on the side where it is small.
    sign = -1.0 if low + high > 0 else 1.0
    ends = special.log_ndtr(np.array([low, high]) * sign)
    mixed = np.logaddexp(ends[0] + special.log_ndtr(-Z), ends[1] + special.log_ndtr(Z))
    far = np.abs(mixed) > 1e-3
    assert np.allclose(special.log_ndtr(sign * x)[far], mixed[far], rtol=2e-13, atol=1e-13)


def test_half_normal_is_relatively_accurate_at_its_limit():
    # x = sqrt(2) erfinv(Phi(z)).
    p = special.ndtr(Z[Z < 5])
    assert relative(truncated(Z[Z < 5], 0.0, INF), np.sqrt(2.0) * special.erfinv(p)) < 1e-10
    assert np.allclose(truncated(Z, -INF, INF), Z, rtol=1e-14, atol=1e-15)
    assert truncated(-8.2, 0.0, INF) > 0.0


# Derivatives ----------------------------------------------------------------------------------------------

CASES = [
    *[(normal_to_gamma, (s,)) for s in (0.05, 0.1, 0.9, 4.0, 100.0, 1e4)],
    *[(normal_to_beta, shapes) for shapes in SHAPES],
    *[(normal_to_student_t, (s,)) for s in (1.0, 4.0, 30.0)],
    *[(normal_to_truncated_normal, s) for s in [(-1.0, 2.0), (8.0, 12.0), (-40.0, -35.0), (0.0, 3.0)]],
]


@pytest.mark.parametrize(("function", "shapes"), CASES)
def test_derivatives_match_finite_differences(function, shapes):
    z = np.linspace(-6.0, 6.0, 13)
    arguments = [z, *(np.full_like(z, s) for s in shapes)]
    # Positive variables in the logarithm: some cover two hundred decades.
    positive = function in (normal_to_gamma, normal_to_beta)

    def curve(*q):
        return jnp.log(function(*q)) if positive else function(*q)

    slopes = jax.jit(jax.vmap(jax.grad(curve, argnums=tuple(range(len(arguments))))))(*arguments)
    compiled = jax.jit(curve)
    size = np.maximum(np.abs(compiled(*arguments)), 1.0)
    for index, slope in enumerate(slopes):
        scale = 1e-3 if index == 0 else 1e-3 * np.maximum(np.abs(arguments[index]), 1e-2)

        def at(steps, index=index, scale=scale):
            moved = list(arguments)
            moved[index] = moved[index] + steps * scale
            return np.asarray(compiled(*moved))

        numeric = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * scale)
        assert np.all(np.isfinite(slope))
        assert np.all(np.abs(slope - numeric) < 1e-13 * size / scale + 1e-7 * np.abs(slope)), (index, slope)


def test_derivatives_in_closed_form():
    z = np.linspace(-8.2, 8.2, 41)
    upper, density = special.log_ndtr(-z), stats.norm.logpdf(z)
    slope = jax.vmap(jax.grad(normal_to_gamma), (0, None))(z, 1.0)
    assert relative(slope, np.exp(density - upper)) < 1e-11
    # 1 - x = Phi(-z)^(1/b).
    b = 3.0
    slope = jax.vmap(jax.grad(lambda z, b: normal_to_beta_pair(z, 1.0, b)[1], argnums=1), (0, None))(z, b)
    assert relative(slope, -upper / b**2 * np.exp(upper / b)) < 1e-11


def test_student_t_derivative_in_df_at_large_df():
    z, df = np.array([-8.0, -2.0, 0.7, 3.0]), 1e4
    slope = jax.vmap(jax.grad(normal_to_student_t, argnums=1), (0, None))(z, df)
    expected = -(z**3 + z) / (4 * df**2) - 2 * (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**3)
    assert relative(slope, expected) < 1e-3


def test_second_derivatives():
    for function, shapes in [
        (normal_to_gamma, (2.5,)),
        (normal_to_beta, (0.6, 3.0)),
        (normal_to_student_t, (5.0,)),
        (normal_to_truncated_normal, (-1.0, 2.0)),
    ]:
        point = jnp.array([0.4, *shapes])
        gradient = jax.jit(jax.grad(lambda q, f=function: f(*q)))
        hessian = jax.jit(jax.hessian(lambda q, f=function: f(*q)))(point)
        numeric = [
            (gradient(point + 1e-5 * unit) - gradient(point - 1e-5 * unit)) / 2e-5 for unit in np.eye(len(point))
        ]
        assert np.allclose(hessian, np.array(numeric), rtol=1e-6, atol=1e-8)
        assert np.allclose(hessian, hessian.T, rtol=1e-9, atol=1e-12)


# Use in JAX -------------------------------------------------------------------------------------------------


def test_broadcasting_vmap_and_integers():
    z, shape = np.linspace(-3, 3, 5), np.array([[0.5], [2.0]])
    table = normal_to_gamma(z, shape)
    assert table.shape == (2, 5) and table.dtype == jnp.float64
    rows = jax.vmap(lambda s: jax.vmap(lambda x: normal_to_gamma(x, s))(z))(shape[:, 0])
    assert np.allclose(table, rows, rtol=1e-14)
    assert normal_to_beta(z, shape, 3).shape == (2, 5)
    assert normal_to_student_t(1, 4).shape == ()
    assert normal_to_truncated_normal(z, -1, shape).shape == (2, 5)


def test_forward_and_reverse_modes_agree():
    point = (jnp.array([0.3, -2.0]), jnp.array([2.0, 0.4]), jnp.array([3.0, 1.5]))
    tangents = tuple(jnp.array([0.2, -0.7]) * k for k in (1.0, 2.0, 3.0))
    _, forward = jax.jvp(normal_to_beta, point, tangents)
    _, pullback = jax.vjp(normal_to_beta, *point)
    reverse = sum(g * t for g, t in zip(pullback(jnp.ones(2)), tangents, strict=True))
    assert np.allclose(forward, reverse, rtol=1e-13)
    _, linear = jax.linearize(normal_to_beta, *point)
    assert np.allclose(linear(*tangents), forward, rtol=1e-13)


def test_finite_over_the_whole_range():
    rng = np.random.default_rng(3)
    size = 4000
    z = rng.uniform(-8.3, 8.3, size)
    z[:4] = 0.0, -8.2, 8.2, 1e-300
    a, b = 10 ** rng.uniform(np.log10(0.05), 4, (2, size))
    df = 10 ** rng.uniform(0, 6, size)
    low = rng.uniform(-40, 40, size)
    width = 10 ** rng.uniform(-6, 2, size)
    for function, arguments in [
        (normal_to_gamma, (z, a)),
        (normal_to_beta, (z, a, b)),
        (lambda *q: normal_to_beta_pair(*q)[1], (z, a, b)),
        (normal_to_student_t, (z, df)),
        (normal_to_truncated_normal, (z, low, low + width)),
        (lambda z, low: normal_to_truncated_normal(z, low, INF), (z, low)),
        (lambda z, high: normal_to_truncated_normal(z, -INF, high), (z, low)),
    ]:
        both = jax.jit(jax.vmap(jax.value_and_grad(function, argnums=tuple(range(len(arguments))))))
        assert all(np.all(np.isfinite(part)) for part in jax.tree.leaves(both(*arguments)))


def test_monotone_and_finite_far_beyond_double_precision_probabilities():
    z = np.linspace(-38.0, 38.0, 401)
    for x in (gamma(z, 0.7), gamma(z, 300.0), beta(z, 2.0, 3.0), student_t(z, 3.0), truncated(z, -1.0, 50.0)):
        assert np.all(np.isfinite(x)) and np.all(np.diff(x) >= 0.0)


def test_smooth_where_the_tails_meet():
    for concentration in (0.1, 1.0, 100.0):
        # The mode of the log odds, where the solver changes from one tail to the other.
        z = special.ndtri(special.gammainc(concentration, concentration)) + np.linspace(-1e-6, 1e-6, 21)
        x = np.asarray(gamma(z, concentration))
        slope = jax.vmap(jax.grad(normal_to_gamma), (0, None))(z, concentration)
        assert np.allclose(np.diff(x), slope[:-1] * np.diff(z), rtol=1e-5)
        assert np.ptp(slope) / slope[0] < 1e-4
