"""Images of HEALPix pixels: cartesian, gnomonic, Mollweide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.gammaray.healpix import pixel_of
from skyfold.gammaray.pixels import Pixels

#: Pixels of an image along its longer side.
_SIZE = 600
PROJECTIONS = ("cartesian", "gnomonic", "mollweide")
#: Largest angle from the Galactic centre that a gnomonic image holds, degrees.
_WIDEST = 80.0


@dataclass(frozen=True)
class Image:
    """Where every pixel of an image lies on the sphere.

    Parameters
    ----------
    pixels : what is shown.
    projection : as for `image_of`.
    """

    pixels: Pixels
    projection: str
    extent: tuple[float, float, float, float]
    visible: np.ndarray
    index: np.ndarray

    def show(self, values: np.ndarray) -> np.ndarray:
        """Image (rows, columns) of values (n_pix,); NaN outside the region."""
        full = np.full(12 * self.pixels.nside**2, np.nan)
        full[self.pixels.index] = values
        shown = np.full(self.visible.shape, np.nan)
        shown[self.visible] = full[self.index]
        return shown

    @property
    def whole(self) -> bool:
        """Whether it holds the whole sky."""
        return self.projection == "mollweide"


def image_of(pixels: Pixels, projection: str = "cartesian") -> Image:
    """Image that the pixels of a region fill.

    Parameters
    ----------
    pixels : of the region.
    projection : ``"cartesian"`` (degrees of longitude and latitude), ``"gnomonic"`` (tangent plane at the Galactic
        centre, degrees; the region must lie within 80 degrees of it) or ``"mollweide"`` (the whole sky). Longitude
        grows to the left.

    Raises
    ------
    SkyfoldError
        If there is no such projection, or the region is too large for it.
    """
    if projection not in PROJECTIONS:
        raise SkyfoldError(f"A projection is one of {', '.join(PROJECTIONS)}, not {projection!r}.")
    if projection == "mollweide":
        x, y = np.meshgrid(np.linspace(2.0, -2.0, 2 * _SIZE), np.linspace(-1.0, 1.0, _SIZE))
        theta = np.arcsin(y)
        visible = x**2 / 4.0 + y**2 <= 1.0
        latitude = np.arcsin(np.clip((2.0 * theta + np.sin(2.0 * theta)) / np.pi, -1.0, 1.0))[visible]
        longitude = (0.5 * np.pi * x / np.maximum(np.cos(theta), 1e-9))[visible]
        extent = (2.0, -2.0, -1.0, 1.0)
    else:
        gnomonic = projection == "gnomonic"
        if gnomonic and np.min(pixels.direction[0]) < np.cos(np.radians(_WIDEST)):
            raise SkyfoldError("A gnomonic image holds less than half of the sky; use 'mollweide' or 'cartesian'.")
        if gnomonic:
            across, up = np.degrees(pixels.direction[1:] / pixels.direction[0])
        else:
            across, up = np.degrees(pixels.longitude), np.degrees(pixels.latitude)
        margin = np.degrees(0.7 / pixels.nside)
        extent = (across.max() + margin, across.min() - margin, up.min() - margin, up.max() + margin)
        wide, high = extent[0] - extent[1], extent[3] - extent[2]
        columns, rows = (max(int(_SIZE * side / max(wide, high)), 50) for side in (wide, high))
        grid = np.meshgrid(np.linspace(*extent[:2], columns), np.linspace(*extent[2:], rows))
        across, up = (np.radians(values).ravel() for values in grid)
        visible = np.ones((rows, columns), dtype=bool)
        longitude = np.arctan(across) if gnomonic else across
        latitude = np.arctan(up * np.cos(longitude)) if gnomonic else np.clip(up, -np.pi / 2, np.pi / 2)
    return Image(pixels, projection, extent, visible, pixel_of(pixels.nside, longitude, latitude))


def significance(counts: Any, mean: Any) -> np.ndarray:
    """Signed root of the Poisson deviance of each pixel; with point sources in the model it is wider than normal."""
    from scipy.special import xlogy

    counts, mean = np.asarray(counts, dtype=np.float64), np.asarray(mean, dtype=np.float64)
    deviance = 2.0 * (mean - counts + xlogy(counts, counts / np.maximum(mean, 1e-300)))
    return np.sign(counts - mean) * np.sqrt(np.maximum(deviance, 0.0))
