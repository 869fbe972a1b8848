"""Absorption by hydrogen between the galaxies."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.component import Component, Sum
from skyfold.errors import SkyfoldWarning
from skyfold.galaxy.coverage import reaches
from skyfold.parameters import Value, parameter

#: Lyman limit in Angstrom.
_LIMIT = 911.8
#: Share of a datum's light that must arrive for the way to be left out without a word.
_LOST = 0.9

#: Lyman series of Inoue et al. 2014, table 2, with the digits of the authors' program: wavelength in Angstrom,
#: coefficient of the forest below redshift 1.2, coefficient of the damped systems below redshift 2. The table's other
#: columns follow from these because every optical depth is continuous in redshift (to 2e-5 of the printed values).
_SERIES = (
    (1215.670, 1.68976e-02, 1.61698e-04),
    (1025.720, 4.69229e-03, 1.54539e-04),
    (972.537, 2.23898e-03, 1.49767e-04),
    (949.743, 1.31901e-03, 1.46031e-04),
    (937.803, 8.70656e-04, 1.42893e-04),
    (930.748, 6.17843e-04, 1.40159e-04),
    (926.226, 4.60924e-04, 1.37714e-04),
    (923.150, 3.56887e-04, 1.35495e-04),
    (920.963, 2.84278e-04, 1.33452e-04),
    (919.352, 2.31771e-04, 1.31561e-04),
    (918.129, 1.92348e-04, 1.29785e-04),
    (917.181, 1.62155e-04, 1.28117e-04),
    (916.429, 1.38498e-04, 1.26540e-04),
    (915.824, 1.19611e-04, 1.25041e-04),
    (915.329, 1.04314e-04, 1.23614e-04),
    (914.919, 9.17397e-05, 1.22248e-04),
    (914.576, 8.12784e-05, 1.20938e-04),
    (914.286, 7.25069e-05, 1.19681e-04),
    (914.039, 6.50549e-05, 1.18469e-04),
    (913.826, 5.86816e-05, 1.17298e-04),
    (913.641, 5.31918e-05, 1.16167e-04),
    (913.480, 4.84261e-05, 1.15071e-04),
    (913.339, 4.42740e-05, 1.14011e-04),
    (913.215, 4.06311e-05, 1.12983e-04),
    (913.104, 3.73821e-05, 1.11972e-04),
    (913.006, 3.45377e-05, 1.11002e-04),
    (912.918, 3.19891e-05, 1.10051e-04),
    (912.839, 2.97110e-05, 1.09125e-04),
    (912.768, 2.76635e-05, 1.08220e-04),
    (912.703, 2.58178e-05, 1.07337e-04),
    (912.645, 2.41479e-05, 1.06473e-04),
    (912.592, 2.26347e-05, 1.05629e-04),
    (912.543, 2.12567e-05, 1.04802e-04),
    (912.499, 1.99967e-05, 1.03991e-04),
    (912.458, 1.88476e-05, 1.03198e-04),
    (912.420, 1.77928e-05, 1.02420e-04),
    (912.385, 1.68222e-05, 1.01657e-04),
    (912.353, 1.59286e-05, 1.00908e-04),
    (912.324, 1.50996e-05, 1.00168e-04),
)


class IGM(Component):
    r"""Base of the absorbers between a galaxy and us.

    .. math:: T = e^{-s \tau(\lambda, z)}

    Parameters
    ----------
    scale : factor s on the mean optical depth; default 1.
    """

    kind: ClassVar[str] = "multiplicative"
    scale: Value = parameter(1.0, description="factor on the mean optical depth")

    def optical_depth(self, wave_observed: Any, z: Any) -> jax.Array:
        """Mean optical depth (n_wave,) towards redshift `z` at observed wavelengths in Angstrom."""
        raise NotImplementedError

    def transmission(self, wave_observed: Any, z: Any) -> jax.Array:
        """Fraction of the light of a galaxy at redshift `z` that arrives, (n_wave,).

        Parameters
        ----------
        wave_observed : (n_wave,) observed wavelength in Angstrom.
        z : redshift; the result is differentiable in it except where a wavelength meets a line's own.
        """
        # nothing absorbs on the way from a galaxy that comes towards us
        return jnp.exp(-self.scale * self.optical_depth(jnp.asarray(wave_observed), jnp.maximum(z, 0.0)))


class Inoue2014(IGM):
    r"""Mean absorption by the Lyman-alpha forest and by damped systems.

    .. math:: \tau = \tau^\mathrm{LAF}_\mathrm{LS} + \tau^\mathrm{DLA}_\mathrm{LS}
        + \tau^\mathrm{LAF}_\mathrm{LC} + \tau^\mathrm{DLA}_\mathrm{LC}

    39 Lyman lines and the Lyman continuum, each a power of :math:`\lambda_\mathrm{obs}` in up to three ranges of
    redshift. The published formulae are integrals over the absorbers' redshifts; written as such they are continuous,
    which the published coefficients are to their three digits. Absorbers lie at redshift 0 and above: light observed
    below a line's rest wavelength meets none in that line, and the continuum's depth keeps its value below 911.8
    Angstrom.

    Parameters
    ----------
    scale : factor on the mean optical depth; default 1.

    References
    ----------
    Inoue et al. 2014, MNRAS 442, 1805, eqs. 20-29 and table 2.
    """

    name: ClassVar[str] = "igm_inoue2014"

    def optical_depth(self, wave_observed: Any, z: Any) -> jax.Array:
        wave = jnp.asarray(wave_observed)
        lines, forest, damped = (np.array(column) for column in zip(*_SERIES, strict=True))
        above = wave < _LIMIT * (1.0 + z)
        tau = _series(wave, z, lines, forest, (1.0, 2.2, 5.7), (1.2, 3.7, 5.5))
        tau += _series(wave, z, lines, damped, (1.0, 3.0), (2.0, 3.0))
        end = 1.0 + z
        x = jnp.maximum(jnp.where(above, wave / _LIMIT, end), 1.0)
        tau += x**2.1 * (_forest(end) - _forest(x))
        (far, far_slope), (near, near_slope) = _damped(end), _damped(x)
        tau += (far - near) - (far_slope - near_slope) * x**-0.3
        return tau


class Madau1995(IGM):
    r"""Mean absorption by four Lyman lines and the Lyman continuum.

    .. math:: \tau = \sum_{j=2}^{5} A_j \left(\frac{\lambda}{\lambda_j}\right)^{3.46}
        + 0.25 x_c^3 (x_e^{0.46} - x_c^{0.46}) + 9.4 x_c^{1.5} (x_e^{0.18} - x_c^{0.18})
        - 0.7 x_c^3 (x_c^{-1.32} - x_e^{-1.32}) - 0.023 (x_e^{1.68} - x_c^{1.68})

    with :math:`x_c = \lambda_\mathrm{obs}/912\,\mathrm{\AA}`, :math:`x_e = 1 + z`, each line only blueward of
    :math:`\lambda_j (1+z)` and the continuum only blueward of its limit there and redward of 912 Angstrom, below which
    it keeps its value.

    Parameters
    ----------
    scale : factor on the mean optical depth; default 1.

    References
    ----------
    Madau 1995, ApJ 441, 18, eqs. 12, 15 and footnote 3.
    """

    name: ClassVar[str] = "igm_madau1995"

    def optical_depth(self, wave_observed: Any, z: Any) -> jax.Array:
        wave = jnp.asarray(wave_observed)
        lines = np.array([1216.0, 1026.0, 973.0, 950.0])
        strength = np.array([0.0036, 1.7e-3, 1.2e-3, 9.3e-4])
        tau = _series(wave, z, lines, strength, (0.0,), (3.46,))
        end = 1.0 + z
        above = wave < 912.0 * end
        x = jnp.clip(jnp.where(above, wave / 912.0, end), 1.0, None)
        tau += 0.25 * x**3 * (end**0.46 - x**0.46) + 9.4 * x**1.5 * (end**0.18 - x**0.18)
        return tau - 0.7 * x**3 * (x**-1.32 - end**-1.32) - 0.023 * (end**1.68 - x**1.68)


def warn_of_absorption(name: str, model: Any, seen: Callable[[Callable[[Any], Any]], np.ndarray], end: float) -> None:
    """Warn where a galaxy without anything on the way loses a tenth or more of its light on the way.

    Parameters
    ----------
    name : of the observation.
    model : galaxy, or a sum of them; the highest redshift that its prior allows counts.
    seen : shares of the light that each datum sees through a transmission, a function of observed wavelengths.
    end : shortest observed wavelength of all data, Angstrom.

    Warns
    -----
    SkyfoldWarning
        With the greatest loss, in magnitudes.
    """
    parts: tuple[Any, ...] = model.parts if isinstance(model, Sum) else (model,)
    for part in parts:
        reach = reaches(part)
        if not reach or part.igm is not None:
            continue
        z = reach[-1].redshift
        if end > _SERIES[0][0] * (1.0 + z):
            continue
        least = float(np.min(seen(partial(Inoue2014().transmission, z=z))))
        if least < _LOST:
            lost = -2.5 * np.log10(max(least, 1e-30))
            warnings.warn(
                f"'{name}': the galaxy has igm=None, and at redshift {z:g} hydrogen on the way takes up to "
                f"{lost:.2g} mag of these data on average: give igm=galaxy.Inoue2014().",
                SkyfoldWarning,
                stacklevel=3,
            )


def _series(
    wave: jax.Array,
    z: Any,
    lines: np.ndarray,
    strength: np.ndarray,
    starts: tuple[float, ...],
    powers: tuple[float, ...],
) -> jax.Array:
    """Optical depth of lines (n_line,), a power of wavelength over the line's in each range of 1 + z that `starts`.

    `lines` fall, so those that absorb at one wavelength, and those for which one power holds, are runs of them: sums
    over lines are differences of cumulative sums.
    """
    total = jnp.zeros_like(wave)
    end = 1.0 + z
    # lines bluer than the galaxy's own wavelength do not absorb
    absorbing = _count(wave, lines, end)
    first = absorbing
    factor = 1.0
    tops = [*starts[1:], np.inf]
    seen = _count(wave, lines, starts[0])
    for start, top, power, before in zip(starts, tops, powers, (None, *powers), strict=False):
        if before is not None:
            factor = factor * start ** (before - power)
        beyond = _count(wave, lines, top) if np.isfinite(top) else jnp.full(wave.shape, len(lines))
        sums = np.concatenate([[0.0], np.cumsum(strength * factor * lines**-power)])
        low = jnp.minimum(seen, first)
        high = jnp.minimum(beyond, first)
        total = total + wave**power * (jnp.asarray(sums)[high] - jnp.asarray(sums)[low])
        seen = beyond
    return total


def _count(wave: jax.Array, lines: np.ndarray, factor: Any) -> jax.Array:
    """Number of lines (of falling wavelength) with `wave` < line times `factor`, (n_wave,)."""
    return jnp.searchsorted(-lines, -wave / factor, side="left", method="compare_all")


def _forest(u: Any) -> jax.Array:
    """Integral over the forest up to 1 + redshift `u` in the continuum's optical depth over x^2.1."""
    first = -0.3248 * u**-0.9
    second = 2.545e-2 * (u**1.6 - 2.2**1.6) - 0.3248 * 2.2**-0.9
    third = 5.221e-4 * (u**3.4 - 5.7**3.4) + 2.545e-2 * (5.7**1.6 - 2.2**1.6) - 0.3248 * 2.2**-0.9
    return jnp.where(u < 2.2, first, jnp.where(u < 5.7, second, third))


def _damped(u: Any) -> tuple[jax.Array, jax.Array]:
    """Integrals over the damped systems up to 1 + redshift `u`: of the term without x, and of that in x^-0.3."""
    flat = jnp.where(u < 3.0, 0.2113 * u**2, 0.04696 * (u**3 - 27.0) + 0.2113 * 9.0)
    slope = jnp.where(u < 3.0, 0.07661 * u**2.3, 0.01779 * (u**3.3 - 3.0**3.3) + 0.07661 * 3.0**2.3)
    return flat, slope
