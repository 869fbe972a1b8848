"""Broadening of a spectrum on equal steps of ln(wavelength): by the motions of stars, and by an instrument."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.parameters import normal_cdf

#: Speed of light, km/s.
LIGHT_KMS = 299792.458
#: Full width at half maximum of a normal profile over its standard deviation.
FWHM = 2.3548200450309493
#: Standard deviations after which a profile is cut.
_REACH = 6.0


def dispersed(spectrum: jax.Array, variance: Any, step: Any) -> jax.Array:
    """Convolve with a normal profile in ln(wavelength), by its Fourier transform.

    Parameters
    ----------
    spectrum : (n,) on equal steps; taken as periodic, so six standard deviations at either end are not to be used.
    variance : of the profile, in ln(wavelength)^2; 0 leaves the spectrum as it is.
    step : of ln(wavelength).
    """
    n = spectrum.shape[-1]
    k = 2.0 * np.pi * np.fft.rfftfreq(n)
    return jnp.fft.irfft(jnp.fft.rfft(spectrum) * jnp.exp(-0.5 * (variance / step**2) * k**2), n=n)


class LineSpread(eqx.Module):
    r"""Pixels of an instrument: means, between their edges, of a spectrum that its profile has blurred.

    The spectrum between its nodes is linear, and what lies below an edge is exactly the running integral of its
    convolution with the profile there,

    .. math:: E(x) = \sum_{j < b} f_j + \sum_{j \ge b} f_j\, [H(u+1) - 2 H(u) + H(u-1)]_{u = x - j}, \quad
        H(u) = \tfrac{1}{2} \left[(u^2 + s^2)\,\Phi(u/s) + u s\,\phi(u/s)\right]

    with positions x and widths s in steps, and b the first node of the edge's band.

    Attributes
    ----------
    first : (n_edge,) first node of each edge's band.
    place : (n_edge,) position of each edge after that node, in steps.
    lower, upper : (n_pixel,) which edges are a pixel's.
    half : number of nodes on either side of an edge.
    """

    first: Any
    place: Any
    lower: Any
    upper: Any
    half: int = eqx.field(static=True)

    @classmethod
    def of(cls, low: np.ndarray, high: np.ndarray, widest: float) -> LineSpread:
        """Lay bands about edges (n_pixel,), in steps from the first node, for widths up to `widest`."""
        half = int(cls.reach(widest))
        # neighbours share their edge
        edges, place = np.unique(np.round(np.concatenate([low, high]), 9), return_inverse=True)
        first = np.floor(edges).astype(np.int64) - half
        lower, upper = np.split(place, 2)
        return cls(first, edges - first, lower, upper, half)

    @staticmethod
    def reach(widest: float) -> float:
        """Number of nodes that an edge needs on either side for profiles of widths up to `widest`."""
        return float(np.ceil(_REACH * widest)) + 2.0

    def fold(self, spectrum: jax.Array, width: jax.Array) -> jax.Array:
        """Integrals (n_pixel,), in steps, of a spectrum (n,) for profiles of standard deviations `width` (n_edge,)."""
        s = jnp.maximum(width, 1e-3)[:, None]
        count = 2 * self.half + 2
        u = jnp.asarray(self.place)[:, None] - jnp.arange(-1.0, count + 1.0)
        t = u / s
        h = 0.5 * ((u**2 + s**2) * normal_cdf(t) + u * s * jnp.exp(-0.5 * t**2) / jnp.sqrt(2.0 * jnp.pi))
        weights = h[:, 2:] - 2.0 * h[:, 1:-1] + h[:, :-2]
        nodes = jnp.asarray(self.first)[:, None] + jnp.arange(count)
        before = jnp.concatenate([jnp.zeros(1), jnp.cumsum(spectrum)])[jnp.asarray(self.first)]
        below = before + jnp.sum(weights * spectrum[nodes], axis=1)
        return below[jnp.asarray(self.upper)] - below[jnp.asarray(self.lower)]
