"""Pixels: the part of a HEALPix sphere on which components are evaluated and templates normalised."""

from __future__ import annotations

from typing import Any, Self

import equinox as eqx
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.gammaray.healpix import centres, check_nside
from skyfold.gammaray.regions import directions


class Pixels(eqx.Module):
    """Pixels of a region of interest, in Galactic coordinates and ring order.

    What components need of the sky and never of the data. Its numbers are leaves: maps of one size share executables.

    Attributes
    ----------
    nside : resolution of the HEALPix sphere of 12 nside^2 pixels.
    index : (n_pix,) number of each pixel in ring order.
    longitude, latitude : (n_pix,) of the pixels' centres, radians; longitude in -pi .. pi.
    direction : (3, n_pix) unit vectors; x points to the Galactic centre, z to the north pole.
    exposure : (n_pix,) or (n_bins, n_pix) in cm^2 s, or None.
    energies : (n_bins + 1,) edges of the energy bins, GeV, or None.
    divisor : (n_pix,) exposure by which maps of counts are divided where templates say how many sources there are, or
        None.
    """

    nside: int = eqx.field(static=True)
    index: Any
    longitude: Any
    latitude: Any
    direction: Any
    exposure: Any = None
    energies: Any = None
    divisor: Any = None

    @classmethod
    def of(cls, nside: int, index: Any, exposure: Any = None, energies: Any = None) -> Self:
        """Pixels of a HEALPix sphere by number.

        Parameters
        ----------
        nside : resolution.
        index : (n_pix,) pixel numbers in ring order.
        exposure : (n_pix,) or (n_bins, n_pix), cm^2 s.
        energies : (n_bins + 1,) GeV.

        Raises
        ------
        SkyfoldError
            If a number is no pixel of this sphere, or no pixel is left.
        """
        check_nside(nside, "Pixels")
        index = np.asarray(index, dtype=np.int64)
        if index.ndim != 1 or index.size == 0:
            raise SkyfoldError("Pixels: the region holds no pixel; give at least one pixel number.")
        if index.min() < 0 or index.max() >= 12 * nside**2:
            raise SkyfoldError(
                f"Pixels: nside {nside} has the pixels 0 to {12 * nside**2 - 1}, not {index.min()} to {index.max()}."
            )
        longitude, latitude = centres(nside, index)
        return cls(nside, index, longitude, latitude, directions(longitude, latitude), exposure, energies)

    @property
    def n_pix(self) -> int:
        """Number of pixels."""
        return int(np.shape(self.index)[0])

    def take(self, chosen: np.ndarray) -> Self:
        """Return the pixels at these places, (n,) numbers or a mask of n_pix booleans."""
        taken = (None if v is None else np.asarray(v)[..., chosen] for v in (self.exposure, self.divisor))
        exposure, divisor = taken
        where = (self.index[chosen], self.longitude[chosen], self.latitude[chosen], self.direction[:, chosen])
        return type(self)(self.nside, *where, exposure, self.energies, divisor)
