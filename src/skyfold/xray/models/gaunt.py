r"""Free-free Gaunt factor of hydrogen with 8.5% helium by number, as XSPEC's bremsstrahlung models use it.

Three descriptions meet, by :math:`\gamma^2 = Z^2\,13.58\,\mathrm{eV}/kT`: the Born approximation
:math:`g = 0.5513\,e^{u/2} K_0(u/2)`, :math:`u = E/kT`, below 0.001; polynomials in u times the Born approximation,
fitted by Kellogg, Baldwin & Koch (1975) to the numbers of Karzas & Latter (1961), between 0.001 and 0.1; and Kurucz's
table above. XSPEC jumps where they meet (at kT = 0.136, 0.543, 13.6 and 54.3 keV, by up to 1% where most photons are
and 6% in the far tail); here each takes 5% of :math:`\gamma^2` to pass into the next, and the steps of up to 0.3%
between polynomials (at u = 1, 5 and 15) are smoothed over 6% in u. So the derivatives exist, and elsewhere the
numbers are XSPEC's to 1e-3, in most places 1e-5.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.xray.models.interpolation import cubic, cubic_coefficients, cubic_slope, locate

_HELIUM = 0.085  # atoms per hydrogen atom
_RYDBERG = 13.58  # 1000 times the ionisation energy in keV, so that gamma^2 is counted in thousandths
_START, _STOP, _STEPS = -22, 8, 12  # range of log2 u and steps per factor of two

#: Kellogg, Baldwin & Koch: polynomials of 1, u, u^2 by gamma^2 (rows) and u (columns)
_POLYNOMIAL_GAMMA = (1.0, 1.7783, 3.0, 5.6234, 10.0, 30.0, 100.0)
_POLYNOMIAL_U = (0.03, 0.3, 1.0, 5.0, 15.0)
_POLYNOMIALS = (
    (
        (1.001, 1.004, 1.017, 1.036, 1.056, 1.121),
        (1.001, 1.005, 1.017, 1.046, 1.073, 1.115),
        (0.9991, 1.005, 1.03, 1.055, 1.102, 1.176),
        (0.997, 1.005, 1.035, 1.069, 1.134, 1.186),
        (0.9962, 1.004, 1.042, 1.1, 1.193, 1.306),
        (0.9874, 0.9962, 1.047, 1.156, 1.327, 1.485),
        (0.9681, 0.9755, 1.020, 1.208, 1.525, 1.965),
    ),
    (
        (0.3029, 0.1616, 0.04757, 0.013, 0.0049, -0.0032),
        (0.4905, 0.2155, 0.08357, 0.02041, 0.00739, 0.00029),
        (0.654, 0.2833, 0.08057, 0.03257, 0.00759, -0.00151),
        (1.029, 0.391, 0.1266, 0.05149, 0.01274, 0.00324),
        (0.9569, 0.4891, 0.1764, 0.05914, 0.01407, -0.00024),
        (1.236, 0.7579, 0.326, 0.1077, 0.028, 0.00548),
        (1.327, 1.017, 0.6017, 0.205, 0.0605, 0.00187),
    ),
    (
        (-1.323, -0.254, -0.01571, -0.001, -0.000184, 0.00008),
        (-4.762, -0.3386, -0.03571, -0.001786, -0.0003, 0.00001),
        (-6.349, -0.4206, -0.02571, -0.003429, -0.000234, 0.00005),
        (-13.231, -0.59, -0.04571, -0.005714, -0.000445, -0.00004),
        (-7.672, -0.6852, -0.0643, -0.005857, -0.00042, 0.00004),
        (-7.143, -0.9947, -0.12, -0.01007, -0.000851, -0.00004),
        (-3.175, -1.116, -0.2270, -0.01821, -0.001729, 0.00023),
    ),
)
#: Kurucz: log10 gamma^2 = -1 .. 2 (columns), log10 u = -4 .. 1.5 (rows), both in steps of 0.5
_KURUCZ = (
    (5.40, 5.25, 5.00, 4.69, 4.48, 4.16, 3.85),
    (4.77, 4.63, 4.40, 4.13, 3.87, 3.52, 3.27),
    (4.15, 4.02, 3.80, 3.57, 3.27, 2.98, 2.70),
    (3.54, 3.41, 3.22, 2.97, 2.70, 2.45, 2.20),
    (2.94, 2.81, 2.65, 2.44, 2.21, 2.01, 1.81),
    (2.41, 2.32, 2.19, 2.02, 1.84, 1.67, 1.50),
    (1.95, 1.90, 1.80, 1.68, 1.52, 1.41, 1.30),
    (1.55, 1.56, 1.51, 1.42, 1.33, 1.25, 1.17),
    (1.17, 1.30, 1.32, 1.30, 1.20, 1.15, 1.11),
    (0.86, 1.00, 1.15, 1.18, 1.15, 1.11, 1.08),
    (0.59, 0.76, 0.97, 1.09, 1.13, 1.10, 1.08),
    (0.38, 0.53, 0.76, 0.96, 1.08, 1.09, 1.09),
)


@jax.custom_jvp
def gaunt_factor(kT: jax.Array, log_energy: jax.Array) -> jax.Array:
    """Gaunt factor of hydrogen plus 4 x 0.085 that of helium.

    Parameters
    ----------
    kT : scalar
        Temperature in keV.
    log_energy : (n,) array
        Binary logarithm of the energies in keV.

    Returns
    -------
    (n,) array
        Dimensionless; constant beyond E/kT = 2^-22 and 2^8, and below kT = 5e-4 keV.
    """
    return cubic(_mixed(kT), *_interval(kT, log_energy))


@gaunt_factor.defjvp
def _gaunt_factor_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    # written out because the plain derivative, transposed, would scatter into the table
    kT, log_energy = primals
    kT_dot, log_energy_dot = tangents
    index, fraction = _interval(kT, log_energy)
    table, table_dot = jax.jvp(_mixed, (kT,), (jnp.ones_like(kT),))
    slope = _STEPS * cubic_slope(table, index, fraction)
    by_kT = cubic(table_dot, index, fraction) - slope / (kT * np.log(2.0))
    return cubic(table, index, fraction), by_kT * kT_dot + slope * log_energy_dot


def _interval(kT: jax.Array, log_energy: jax.Array) -> tuple[jax.Array, jax.Array]:
    return locate((log_energy - jnp.log2(kT) - _START) * _STEPS, (_STOP - _START) * _STEPS)


def _mixed(kT: jax.Array) -> jax.Array:
    """Cubic coefficients in log2 u at one temperature, shape (4, n): the table's rows, mixed.

    Between rows the mix is linear in `_coordinate`; it is summed as the first row plus the part of each step up.
    """
    start, width, steps = _table()
    x = _coordinate(_RYDBERG * np.array([[1.0], [4.0]]) / kT, jnp)
    hydrogen, helium = jnp.clip((x - start) / width, 0.0, 1.0)
    return ((hydrogen + 4.0 * _HELIUM * helium) @ jnp.asarray(steps)).reshape(4, -1)


def _coordinate(gamma: Any, np_: Any) -> Any:
    """Increasing function of gamma^2, linear where the polynomials hold, logarithmic where Kurucz's table does."""
    return np_.minimum(gamma, 100.0) + 100.0 * np_.log(np_.maximum(gamma, 100.0) / 100.0)


@cache
def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start and width in `_coordinate` of each step from row to row, (m,), and the steps, (m, 4 n).

    Rows are cubic coefficients of the Gaunt factor of one ion; the first step leads from nothing to the first row,
    and is always climbed in full.
    """
    from scipy.special import k0e

    u = 2.0 ** np.linspace(_START, _STOP, (_STOP - _START) * _STEPS + 1)
    born = 0.5513 * k0e(0.5 * u)

    clamped = np.maximum(u, 0.003)
    piece = np.searchsorted(_POLYNOMIAL_U, clamped)
    c0, c1, c2 = np.asarray(_POLYNOMIALS)[:, :, piece]
    fitted = born * (c0 + c1 * clamped + c2 * clamped**2)
    # the last polynomials end 5% early, to leave room for the passage to Kurucz's table
    fitted[-1] = fitted[-2] + (95.0 - 30.0) / (100.0 - 30.0) * (fitted[-1] - fitted[-2])

    log_u = np.log10(u)
    below = np.minimum(log_u + 4.0, 0.0)  # XSPEC extrapolates below the table along its first interval
    cold = [np.interp(log_u, np.arange(-4.0, 1.6, 0.5), c) + (c[1] - c[0]) / 0.5 * below for c in np.transpose(_KURUCZ)]

    gamma = np.concatenate([[0.95], _POLYNOMIAL_GAMMA[:-1], [95.0], 1e3 * 10.0 ** np.arange(-1.0, 2.1, 0.5)])
    rows = np.moveaxis(cubic_coefficients(np.stack([born, *fitted, *cold])), 1, 0).reshape(gamma.size, -1)
    knots = _coordinate(gamma, np)
    start, width = np.append(-1.0, knots[:-1]), np.append(1.0, np.diff(knots))
    return start, width, np.diff(rows, axis=0, prepend=0.0)
