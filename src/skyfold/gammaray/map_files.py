"""HEALPix maps in files: what a pixel holds, whether the file has it at all, and where in the file it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.gammaray.fits_sky import column, number, opened
from skyfold.gammaray.healpix import Source, nside_of, ring_numbers, to_ring

#: What HEALPix writes into pixels that were not observed, and how near to it counts as it.
_UNSEEN, _NEAR = -1.6375e30, 1e25
_PIXEL_NAMES = ("PIXEL", "PIX", "HPX_INDEX")


@dataclass(frozen=True)
class SkyMap:
    """Full-sky maps in ring order.

    Attributes
    ----------
    values : (n_pix,) or (n_bins, n_pix); zero in pixels that a partial map leaves out, NaN where it says UNSEEN.
    seen : (n_pix,) whether the file has the pixel, in every bin.
    unit : unit of the values, None where none is written.
    place : says for bin and pixel where it stands.
    stated : whether the file says in which order its pixels are.
    source : file, HDU and column, or what an array was called.
    """

    values: np.ndarray
    seen: np.ndarray
    unit: Any
    place: Callable[[int, int], str]
    stated: bool
    source: str


def read_map(path: Source, nest: bool | None = None, *, frame: str | None = None) -> np.ndarray:
    """Read full-sky maps: ``.npy``, or the HEALPix table of a FITS file.

    Parameters
    ----------
    path : file. An array of NumPy has the shape (n_pix,) or (n_bins, n_pix). In a FITS file every column of the first
        HEALPix table is an energy bin; partial maps (explicit indexing) are filled with zeros, and pixels that are
        UNSEEN are NaN.
    nest : whether pixels are in nested order; by default as the header says, and ring order for ``.npy``.
    frame : ``"galactic"``, for FITS files whose header has no COORDSYS.

    Returns
    -------
    (n_pix,) or (n_bins, n_pix) array in ring order.

    Raises
    ------
    FileFormatError
        Where the file is missing, is no HEALPix map in Galactic coordinates, or contradicts `nest`.
    """
    return read_sky_map(path, nest, frame).values


def read_sky_map(path: Source, nest: bool | None = None, frame: str | None = None) -> SkyMap:
    """Read maps as `read_map` does, with what the file says of them."""
    path = Path(path)
    if frame not in (None, "galactic"):
        raise SkyfoldError(f"{path}: frame is 'galactic' or left out, not {frame!r}; rotate other maps first.")
    if path.suffix != ".npy":
        return _read_fits(path, nest, frame)
    if not path.is_file():
        raise FileFormatError(f"{path}: there is no such file. Check the name and the folder")
    try:
        maps: Any = np.load(path)
    except Exception as error:  # a damaged header makes NumPy raise what its parser raises
        raise FileFormatError(f"{path}: not a NumPy array ({error}). Save the map with numpy.save") from error
    if not isinstance(maps, np.ndarray) or maps.dtype.kind not in "biuf":
        held = maps.dtype if isinstance(maps, np.ndarray) else type(maps).__name__
        raise FileFormatError(f"{path}: holds {held}, not numbers. Save the map as an array of numbers")
    return sky_map(maps, bool(nest), str(path))


def sky_map(maps: np.ndarray, nest: bool, where: str, unit: Any = None) -> SkyMap:
    """Maps of an array (..., n_pix), in ring order.

    Raises
    ------
    FileFormatError
        If they are no full HEALPix sphere.
    """
    if maps.ndim not in (1, 2):
        raise FileFormatError(f"{where} must be (n_pix,) or (n_bins, n_pix), not {maps.shape}. Give one map per bin")
    nside = _nside(maps.shape[-1], where)
    numbers = ring_numbers(nside) if nest else None

    def place(bin_: int, pixel: int) -> str:
        own = pixel if numbers is None else int(np.flatnonzero(numbers == pixel)[0])
        return f"{where}: " + (f"bin {bin_}, " if maps.ndim == 2 else "") + f"pixel {own}"

    kept = maps if maps.dtype == bool else _unseen_as_nan(maps.astype(np.float64))
    # what is NaN in an array was not said to be unseen by whoever made it
    unseen = (np.isnan(kept) & ~np.isnan(maps)).reshape(-1, maps.shape[-1]).any(axis=0)
    values, seen = (to_ring(m) if nest else m for m in (kept, ~unseen))
    return SkyMap(values, seen, unit, place, False, where)


def _unseen_as_nan(maps: np.ndarray) -> np.ndarray:
    return np.where(np.abs(maps - _UNSEEN) < _NEAR, np.nan, maps)


def _nside(n_pix: int, where: str) -> int:
    try:
        return nside_of(n_pix, where)
    except SkyfoldError as error:
        raise FileFormatError(str(error)) from error


def _read_fits(path: Path, nest: bool | None, frame: str | None) -> SkyMap:
    with opened(path) as hdus:
        table = next((h for h in hdus if str(h.header.get("PIXTYPE", "")).upper() == "HEALPIX"), None)
        if table is None or not hasattr(table, "columns"):
            raise FileFormatError(
                f"{path}: no table with PIXTYPE = 'HEALPIX'. Give a HEALPix map; other projections must be "
                "reprojected first"
            )
        header, where = table.header, f"{path}, HDU {hdus.index_of(table)}"
        if table.size > path.stat().st_size and path.suffix not in (".gz", ".bz2"):
            raise FileFormatError(f"{where}: the header promises more than the file holds. Fetch it anew")
        nested = _nested(header, nest, where)
        _check_frame(header, frame, where)
        names = list(table.columns.names)
        columns = {name: column(table, name, where) for name in names}
        units = {name: table.columns[name].unit for name in names}
    pixel = None
    scheme = str(header.get("INDXSCHM", "IMPLICIT")).strip().upper()
    if scheme not in ("IMPLICIT", "EXPLICIT"):
        raise FileFormatError(f"{where}: INDXSCHM = '{scheme}' is neither IMPLICIT nor EXPLICIT. Correct the header")
    if scheme == "EXPLICIT":
        own = next((n for n in names if n.upper() in _PIXEL_NAMES), names[0] if names else "")
        pixel = _pixels(columns.pop(own), header, f"{where}, column {own}", where)
    if not columns:
        raise FileFormatError(f"{where}: the table has no column of a map. Give a file that has one")
    names = list(columns)
    lengths = {columns[n].size for n in names} | ({pixel.size} if pixel is not None else set())
    if len(lengths) != 1:
        raise FileFormatError(f"{where}: the columns hold {sorted(lengths)} pixels. Give them one length")
    if len({str(units[n] or "") for n in names}) > 1:
        raise FileFormatError(f"{where}: the columns have the units {[units[n] for n in names]}. Give them one unit")
    width = columns[names[0]].size // max(len(columns[names[0]]), 1)
    maps = _unseen_as_nan(np.stack([np.ravel(columns[n]) for n in names]))
    if pixel is None:
        nside = _nside(maps.shape[1], where)
        if "NSIDE" in header and number(header, "NSIDE", where) != nside:
            raise FileFormatError(
                f"{where}: NSIDE = {header['NSIDE']} and {maps.shape[1]} pixels, which nside {nside} has. Correct the "
                "one, or the other"
            )
        seen = np.ones(maps.shape[1], dtype=bool)
    else:
        nside = int(number(header, "NSIDE", where))
        full, seen = np.zeros((len(maps), 12 * nside**2)), np.zeros(12 * nside**2, dtype=bool)
        full[:, pixel], seen[pixel] = maps, True
        maps = full
    numbers = ring_numbers(nside) if nested else None

    def place(bin_: int, ring: int) -> str:
        own = ring if numbers is None else int(np.flatnonzero(numbers == ring)[0])
        row = own if pixel is None else int(np.flatnonzero(pixel == own)[0])
        return f"{where}, column {names[bin_]}, row {row // width + 1}: pixel {own}"

    maps = maps[0] if len(maps) == 1 else maps
    values, seen = (to_ring(m) if nested else m for m in (maps, seen))
    seen = seen & ~np.isnan(values).any(axis=tuple(range(values.ndim - 1)))
    return SkyMap(values, seen, units[names[0]] or None, place, True, f"{where}, column {', '.join(names)}")


def _nested(header: Any, nest: bool | None, where: str) -> bool:
    ordering = str(header.get("ORDERING", "")).strip().upper()
    if ordering not in ("RING", "NESTED", "NEST"):
        raise FileFormatError(f"{where}: ORDERING = '{ordering}' is neither RING nor NESTED. Correct the header")
    stated = ordering != "RING"
    if nest is not None and nest != stated:
        raise FileFormatError(
            f"{where}: the header says ORDERING = {'NESTED' if stated else 'RING'}, and nest={nest} contradicts it. "
            "Leave nest out; files that do not say their order, and differ, must be brought to this one"
        )
    return stated


def _check_frame(header: Any, frame: str | None, where: str) -> None:
    system = str(header.get("COORDSYS", "")).strip().upper()
    if not system and frame is None:
        raise FileFormatError(
            f"{where}: the header has no COORDSYS, so nobody knows whether the map is in Galactic coordinates. If it "
            "is, give frame=\"galactic\" ([data] frame in a file), or write COORDSYS = 'G' into the header"
        )
    if system and not system.startswith("G"):
        raise FileFormatError(f"{where}: COORDSYS = '{system}', but maps must be Galactic. Rotate the map first")


def _pixels(values: np.ndarray, header: Any, where: str, table: str) -> np.ndarray:
    """Numbers of the pixels of a partial map, checked."""
    nside = number(header, "NSIDE", table)
    if not 1 <= nside <= 2**13 or nside != int(nside):
        raise FileFormatError(f"{table}: NSIDE = {nside:g} is no resolution of a map. Correct the header")
    _nside(12 * int(nside) ** 2, table)
    values = np.ravel(values)
    bad = ~(np.isfinite(values) & (values >= 0) & (values < 12 * nside**2) & (values == np.round(values)))
    if bad.any():
        row = int(np.argmax(bad))
        raise FileFormatError(
            f"{where}, row {row + 1}: {values[row]:g} is no pixel of nside {nside:g}, which has 0 to "
            f"{12 * nside**2 - 1:.0f}. Correct the number, or NSIDE"
        )
    found, first = np.unique(values, return_index=True)
    if found.size < values.size:
        row = int(np.setdiff1d(np.arange(values.size), first)[0])
        raise FileFormatError(
            f"{where}, row {row + 1}: pixel {values[row]:.0f} stands there for the second time. Remove it"
        )
    if "OBS_NPIX" in header and number(header, "OBS_NPIX", table) != values.size:
        raise FileFormatError(
            f"{table}: OBS_NPIX = {header['OBS_NPIX']} and {values.size} rows. The table was cut; fetch it anew"
        )
    return values.astype(np.int64)
