"""The HEALPix sphere: directions and order of its pixels, coarser maps."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError

Source = str | os.PathLike[str]


def centres(nside: int, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude (-pi .. pi) and latitude, radians, of the centres of pixels in ring order."""
    healpix = _astropy_healpix()
    longitude, latitude = healpix.healpix_to_lonlat(index, nside, order="ring")
    return (longitude.rad + np.pi) % (2.0 * np.pi) - np.pi, np.asarray(latitude.rad)


def pixel_of(nside: int, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """Pixels in ring order that hold directions (radians)."""
    import astropy.units as u

    found = _astropy_healpix().lonlat_to_healpix(longitude * u.rad, latitude * u.rad, nside, order="ring")
    return np.asarray(found)


def within(nside: int, index: np.ndarray, finer: int, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude, radians, of the middle of one of the finer^2 equal parts of each pixel in ring order."""
    healpix = _astropy_healpix()
    nested = healpix.core.ring_to_nested(index, nside) * finer**2 + number
    longitude, latitude = healpix.healpix_to_lonlat(nested, nside * finer, order="nested")
    return longitude.rad, np.asarray(latitude.rad)


def interpolation(nside: int, longitude: np.ndarray, latitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (4, n) in ring order between which directions (radians) are interpolated, and their weights (4, n)."""
    import astropy.units as u

    index, weights = _astropy_healpix().bilinear_interpolation_weights(
        longitude % (2.0 * np.pi) * u.rad, latitude * u.rad, nside, order="ring"
    )
    return np.asarray(index), np.asarray(weights)


def check_nside(nside: int, where: str) -> None:
    """Raise `SkyfoldError` where `nside` is not a power of two."""
    if not isinstance(nside, int | np.integer) or nside < 1 or nside & (nside - 1):
        raise SkyfoldError(f"{where}: nside must be a power of two such as 64 or 128, not {nside!r}.")


def nside_of(n_pix: int, where: str) -> int:
    """Resolution of a full-sky map of this many pixels.

    Raises
    ------
    SkyfoldError
        If no HEALPix sphere has so many.
    """
    nside = int(round(np.sqrt(n_pix / 12.0)))
    if nside >= 1 and 12 * nside**2 == n_pix and nside & (nside - 1):
        raise SkyfoldError(
            f"{where}: {n_pix} pixels are a HEALPix sphere of nside {nside}, which is no power of two: such spheres "
            "have no nested order, and none is put on another here. Bring the map to a power of two, such as "
            f"{2 ** int(np.log2(nside))}, where it was made."
        )
    if nside < 1 or 12 * nside**2 != n_pix:
        raise SkyfoldError(
            f"{where}: {n_pix} pixels are no full HEALPix sphere, which has 12 nside^2 of them (196608 for nside 128); "
            "give the map of the whole sky, with zeros where nothing is known."
        )
    return nside


def to_ring(maps: np.ndarray) -> np.ndarray:
    """Full-sky maps (..., n) in nested order, in ring order."""
    return maps[..., ring_numbers(nside_of(maps.shape[-1], "to_ring"))]


def ring_numbers(nside: int) -> np.ndarray:
    """Nested number of every pixel in ring order, (12 nside^2,)."""
    return np.asarray(_astropy_healpix().core.ring_to_nested(np.arange(12 * nside**2), nside))


def downgrade(maps: Any, nside: int, *, mean: bool = False) -> np.ndarray:
    """Full-sky maps (..., n) in ring order on a coarser sphere.

    Parameters
    ----------
    maps : (..., 12 n^2) array.
    nside : resolution of the result, not finer than that of `maps`.
    mean : take means (exposure, flux per solid angle); by default sums, which conserve counts.

    Returns
    -------
    (..., 12 nside^2) array

    Raises
    ------
    SkyfoldError
        If the resolution is not coarser or no power of two.
    """
    maps = np.asarray(maps, dtype=np.float64)
    fine = nside_of(maps.shape[-1], "downgrade")
    total = np.zeros((*maps.shape[:-1], 12 * nside**2))
    parent = parents(fine, np.arange(maps.shape[-1]), nside)
    place: Any = (..., parent)
    np.add.at(total, place, maps)
    return total / (fine // nside) ** 2 if mean else total


def parents(fine: int, index: np.ndarray, nside: int) -> np.ndarray:
    """Pixels of a coarser sphere that hold pixels of a finer one; both in ring order."""
    check_nside(nside, "downgrade")
    if nside > fine:
        raise SkyfoldError(f"downgrade: nside {nside} is finer than the map's {fine}; counts cannot be divided.")
    healpix = _astropy_healpix().core
    nested = healpix.ring_to_nested(index, fine) // (fine // nside) ** 2
    return np.asarray(healpix.nested_to_ring(nested, nside))


def children(nside: int, index: np.ndarray, fine: int) -> np.ndarray:
    """Pixels of a finer sphere inside each pixel of a coarser one, (n, (fine/nside)^2); both in ring order."""
    healpix = _astropy_healpix().core
    share = (fine // nside) ** 2
    nested = healpix.ring_to_nested(index, nside)[:, None] * share + np.arange(share)
    return np.asarray(healpix.nested_to_ring(nested.ravel(), fine)).reshape(nested.shape)


def _astropy_healpix() -> Any:
    try:
        import astropy_healpix
    except ImportError as error:
        raise SkyfoldError(
            "HEALPix maps need the package astropy-healpix; install it with pip install 'skyfold[gammaray]'."
        ) from error
    return astropy_healpix
