"""Broadening of a spectrum on equal steps of ln(wavelength): by the motions of stars, and by an instrument."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr

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
    r"""Profiles of an instrument, one for each pixel.

    The spectrum between its nodes is linear, and a pixel holds exactly the convolution of that with its profile,

    .. math:: p_i = \sum_j f_j\, [G(u+1) - 2 G(u) + G(u-1)]_{u = x_i - j}, \quad
        G(u) = u\,\Phi(u/s_i) + s_i\,\phi(u/s_i)

    with positions x and widths s in steps. A profile is what a lamp line shows, with the pixel's own width in it.

    Attributes
    ----------
    first : (n_pixel,) first node of each pixel's band.
    place : (n_pixel,) position of each pixel after that node, in steps.
    half : number of nodes on either side of a pixel.
    """

    first: Any
    place: Any
    half: int = eqx.field(static=True)

    @classmethod
    def of(cls, position: np.ndarray, widest: float) -> LineSpread:
        """Lay bands about pixels at `position` (n_pixel,), in steps from the first node, for widths up to `widest`."""
        half = int(np.ceil(_REACH * widest)) + 2
        first = np.floor(position).astype(np.int64) - half
        return cls(first, position - first, half)

    def fold(self, spectrum: jax.Array, width: jax.Array) -> jax.Array:
        """Pixels (n_pixel,) of a spectrum (n,) for profiles of standard deviations `width` (n_pixel,), in steps."""
        s = jnp.maximum(width, 1e-3)[:, None]
        count = 2 * self.half + 2
        u = jnp.asarray(self.place)[:, None] - jnp.arange(-1.0, count + 1.0)
        t = u / s
        g = u * ndtr(t) + s * jnp.exp(-0.5 * t**2) / jnp.sqrt(2.0 * jnp.pi)
        weights = g[:, 2:] - 2.0 * g[:, 1:-1] + g[:, :-2]
        nodes = jnp.asarray(self.first)[:, None] + jnp.arange(count)
        return jnp.sum(weights * spectrum[nodes], axis=1)
