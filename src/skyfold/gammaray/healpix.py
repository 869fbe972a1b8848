"""HEALPix maps: files, order of the pixels, coarser maps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from skyfold.errors import FileFormatError, SkyfoldError

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
    if nside < 1 or 12 * nside**2 != n_pix or nside & (nside - 1):
        raise SkyfoldError(
            f"{where}: {n_pix} pixels are no full HEALPix sphere, which has 12 nside^2 of them (196608 for nside 128); "
            "give the map of the whole sky, with zeros where nothing is known."
        )
    return nside


def to_ring(maps: np.ndarray) -> np.ndarray:
    """Full-sky maps (..., n) in nested order, in ring order."""
    nside = nside_of(maps.shape[-1], "to_ring")
    return maps[..., _astropy_healpix().core.ring_to_nested(np.arange(maps.shape[-1]), nside)]


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


def read_map(path: Source, nest: bool | None = None) -> np.ndarray:
    """Read full-sky maps: ``.npy``, or the HEALPix table of a FITS file.

    Parameters
    ----------
    path : file. An array of NumPy has the shape (n_pix,) or (n_bins, n_pix). In a FITS file every column of the first
        HEALPix table is an energy bin; partial maps (explicit indexing) are filled with zeros.
    nest : whether pixels are in nested order; by default as the header says, and ring order for ``.npy``.

    Returns
    -------
    (n_pix,) or (n_bins, n_pix) array in ring order.

    Raises
    ------
    FileFormatError
        Where the file is missing, is no HEALPix map, or contradicts `nest`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileFormatError(f"{path}: there is no such file. Check the name and the folder")
    if path.suffix == ".npy":
        try:
            maps = np.load(path)
        except (ValueError, EOFError) as error:
            raise FileFormatError(f"{path}: not a NumPy array ({error}). Save the map with numpy.save") from error
        if maps.dtype.kind not in "biuf":
            raise FileFormatError(f"{path}: holds {maps.dtype}, not numbers. Save the map as an array of numbers")
    else:
        maps, stated = _read_fits(path)
        if nest is not None and nest != stated:
            raise FileFormatError(
                f"{path}: the header says ORDERING = {'NESTED' if stated else 'RING'}, and nest={nest} contradicts it. "
                "Leave nest out"
            )
        nest = stated
    try:
        nside_of(maps.shape[-1] if maps.ndim else 0, str(path))
    except SkyfoldError as error:
        raise FileFormatError(str(error)) from error
    return to_ring(maps) if nest else maps


def _read_fits(path: Path) -> tuple[np.ndarray, bool]:
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            table = next((h for h in hdus if h.header.get("PIXTYPE", "").upper() == "HEALPIX"), None)
            if table is None or not hasattr(table, "columns"):
                raise FileFormatError(
                    f"{path}: no table with PIXTYPE = 'HEALPIX'. Give a HEALPix map; other projections must be "
                    "reprojected first"
                )
            header, columns = table.header, {c.name: np.asarray(table.data[c.name]) for c in table.columns}
            where = f"{path}, HDU {hdus.index_of(table)}"
    except OSError as error:
        raise FileFormatError(f"{path}: not a readable FITS file ({error}). Check the file") from error
    system = str(header.get("COORDSYS", "G")).upper()
    if not system.startswith("G"):
        raise FileFormatError(f"{where}: COORDSYS = '{system}', but maps must be Galactic. Rotate the map first")
    ordering = str(header.get("ORDERING", "")).upper()
    if ordering not in ("RING", "NESTED", "NEST"):
        raise FileFormatError(f"{where}: ORDERING = '{ordering}' is neither RING nor NESTED. Correct the header")
    pixel = None
    if str(header.get("INDXSCHM", "IMPLICIT")).upper() == "EXPLICIT":
        name = next((n for n in columns if n.upper() in ("PIXEL", "PIX", "HPX_INDEX")), next(iter(columns)))
        pixel = np.ravel(columns.pop(name)).astype(np.int64)
    maps = np.stack([np.ravel(c).astype(np.float64) for c in columns.values()])
    if pixel is not None:
        full = np.zeros((len(maps), 12 * int(header["NSIDE"]) ** 2))
        full[:, pixel] = maps
        maps = full
    return (maps[0] if len(maps) == 1 else maps), ordering != "RING"


def _astropy_healpix() -> Any:
    try:
        import astropy_healpix
    except ImportError as error:
        raise SkyfoldError(
            "HEALPix maps need the package astropy-healpix; install it with pip install 'skyfold[gammaray]'."
        ) from error
    return astropy_healpix
