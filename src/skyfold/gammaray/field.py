"""A Gaussian process on the sphere as a factor: foregrounds whose morphology no template has."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.gammaray.healpix import centres, check_nside, interpolation
from skyfold.gammaray.pixels import Pixels
from skyfold.gammaray.regions import directions
from skyfold.parameters import Value, parameter
from skyfold.priors import LogUniform, Normal

#: Added to the diagonal of the correlation, so that its Cholesky factor exists for long correlations.
_JITTER = 1e-6


class GaussianField(Component):
    r"""Factor whose logarithm is a Gaussian process on the sphere.

    .. math::
        F(n) = e^{a\,g(n)}, \qquad \langle g(n) g(n') \rangle =
        \left(1 + x + \tfrac{1}{3} x^2\right) e^{-x}, \qquad x = \sqrt{5}\,|n - n'|/\ell

    The correlation is Matern's of index 5/2 in the chord :math:`|n - n'|` (positive definite in space, hence on the
    sphere). The process lives on the pixels of a coarse HEALPix sphere, as :math:`g = L \xi` with the Cholesky factor
    of their correlations, and is interpolated between the four nearest of them; so correlations shorter than these
    pixels cannot be described, and the default prior of the length begins at their size.

    Build one with `GaussianField.on`.

    Parameters
    ----------
    nodes : (n_nodes, 3) unit vectors of the coarse pixels.
    places, weights : (4, n_pix) nodes between which each pixel is interpolated, and their weights.
    amplitude : standard deviation of the logarithm.
    length : correlation length :math:`\ell` in degrees.
    xi : (n_nodes,) excitations, standard normal.

    References
    ----------
    Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, equation 4.17 (Matern); Gorski et al. 2005, ApJ
    622, 759 (HEALPix).
    """

    name: ClassVar[str] = "field"
    kind: ClassVar[str] = "multiplicative"
    nodes: np.ndarray
    places: np.ndarray
    weights: np.ndarray
    xi: Value = parameter(description="excitations of the field")
    amplitude: Value = parameter(LogUniform(0.01, 1.0), description="standard deviation of the factor's logarithm")
    length: Value = parameter(LogUniform(5.0, 60.0), unit="deg", description="correlation length")

    @classmethod
    def on(cls, pixels: Pixels, nside: int = 8, *, amplitude: Any = None, length: Any = None) -> Self:
        """Field over the pixels of a region.

        Parameters
        ----------
        pixels : of the region, `CountsMap.pixels`.
        nside : of the coarse sphere: 8 has pixels of 7.3 degrees, 16 of 3.7.
        amplitude : prior or number.
        length : prior or number, degrees; by default LogUniform from the size of a coarse pixel to 60 degrees.

        Raises
        ------
        SkyfoldError
            If the coarse sphere is finer than the pixels.
        """
        check_nside(nside, "GaussianField")
        if nside > pixels.nside:
            raise SkyfoldError(
                f"GaussianField: nside {nside} of the field is finer than the map's {pixels.nside}; choose "
                "a coarser one."
            )
        index, weights = interpolation(nside, np.asarray(pixels.longitude), np.asarray(pixels.latitude))
        used, places = np.unique(index, return_inverse=True)
        spacing = np.degrees(np.sqrt(np.pi / 3.0) / nside)
        return cls(
            nodes=directions(*centres(nside, used)).T,
            places=places.reshape(index.shape),
            weights=weights,
            xi=Normal(np.zeros(len(used)), 1.0),
            amplitude=cls.amplitude if amplitude is None else amplitude,
            length=LogUniform(spacing, 60.0) if length is None else length,
        )

    def evaluate(self, grid: Pixels) -> jax.Array:
        """Return the factor in every pixel, (n_pix,)."""
        if np.shape(self.places)[1] != grid.n_pix:
            raise SkyfoldError(
                f"GaussianField was made for {np.shape(self.places)[1]} pixels, here are {grid.n_pix}; make it with "
                "GaussianField.on for the region that is fitted."
            )
        values = _factor(jnp.asarray(self.length), jnp.asarray(self.nodes)) @ self.xi
        field = jnp.sum(jnp.asarray(self.weights) * values[jnp.asarray(self.places)], axis=0)
        return jnp.exp(self.amplitude * field)


@jax.custom_jvp
def _factor(length: jax.Array, nodes: jax.Array) -> jax.Array:
    """Cholesky factor (n, n) of the correlations of unit vectors (n, 3) at a length in degrees."""
    # |n - n'|^2 from the vectors' differences: exact on the diagonal, whose square root needs a guard
    square = jnp.sum((nodes[:, None] - nodes[None]) ** 2, axis=-1)
    apart = square > 0
    chord = jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1.0)), 0.0)
    x = np.sqrt(5.0) * chord / jnp.radians(length)
    correlation = (1.0 + x + x**2 / 3.0) * jnp.exp(-x) + _JITTER * jnp.eye(nodes.shape[0])
    return jnp.linalg.cholesky(correlation)


@_factor.defjvp
def _factor_by_length(primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]) -> tuple[Any, Any]:
    """Derivative by the length alone; one matrix, whatever the tangent is, so that many products cost no more.

    The nodes are where they are.
    """
    length, nodes = primals
    factor, slope = jax.jvp(lambda x: _factor.fun(x, nodes), (length,), (jnp.ones_like(length),))
    return factor, slope * tangents[0]
