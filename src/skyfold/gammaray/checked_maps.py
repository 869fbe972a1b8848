"""What users give as counts, exposure and mask: read and checked."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.gammaray.fits_sky import factor, parse
from skyfold.gammaray.healpix import downgrade, to_ring
from skyfold.gammaray.map_files import SkyMap, read_sky_map, sky_map
from skyfold.gammaray.pixels import Pixels

#: How much brighter the plane is in the other order of pixels when a map is in that order, and the latitude it ends at.
_OTHER_ORDER, _PLANE = 1.5, 5.0
#: Distance from a whole number that is rounding, and the part of the largest exposure that is as good as none.
_ROUNDING, _NOTHING = 1e-6, 1e-9


def as_map(given: Any, nest: bool | None, where: str, frame: str | None = None) -> SkyMap:
    """Full-sky maps of a file or an array, (n_pix,) or (n_bins, n_pix), in ring order.

    Pixels that a file leaves out or calls UNSEEN, and masked ones of a masked array, are not `seen`.
    """
    if isinstance(given, str | os.PathLike):
        return read_sky_map(given, nest, frame)
    unit, mask = getattr(given, "unit", None), getattr(given, "mask", None)
    values = getattr(given, "unmasked", given)
    try:
        maps = np.ma.getdata(np.asarray(values.value if unit is not None else values))
        if maps.dtype.kind not in "biuf":
            raise TypeError
    except (TypeError, ValueError, AttributeError):
        raise SkyfoldError(f"{where} must be a file or an array of numbers, not {type(given).__name__}.") from None
    if isinstance(mask, np.ndarray | np.bool_):
        maps = np.where(mask, np.nan, maps)
    found = sky_map(maps, bool(nest), where, unit)
    if not isinstance(mask, np.ndarray | np.bool_):
        return found
    masked = np.asarray(np.broadcast_to(mask, maps.shape).reshape(-1, maps.shape[-1]).any(axis=0))
    return replace(found, seen=found.seen & ~(to_ring(masked) if nest else masked))


def as_mask(given: Any, nest: bool | None, n_pix: int, where: str, frame: str | None = None) -> np.ndarray:
    """Mask (n_pix,) of a file or an array; True where a pixel is masked."""
    if not isinstance(given, str | os.PathLike) and not np.ma.isMaskedArray(given):
        mask: Any = np.asarray(given)
        ring = bool(nest)
    else:
        found = as_map(given, nest, where, frame)
        mask, ring, where = found.values, False, found.source
        if not found.seen.all() or (found.unit is not None and str(found.unit).strip()):
            raise SkyfoldError(
                f"{where}: {(~found.seen).sum()} pixels of the mask are missing or UNSEEN and its unit is "
                f"'{found.unit or ''}'; a mask says for every pixel whether it is masked, 1 or 0, without a unit."
            )
    if mask.shape != (n_pix,):
        raise SkyfoldError(
            f"{where}: the mask has the shape {mask.shape} and the map ({n_pix},); give one value per pixel."
        )
    if mask.dtype != bool and not np.all((mask == 0) | (mask == 1)):
        raise SkyfoldError(f"{where}: a mask holds True (1) for masked pixels and False (0) for others, nothing else.")
    mask = mask.astype(bool)
    return to_ring(mask) if ring else mask


def whole_counts(sky: SkyMap, ignored: np.ndarray, name: str) -> np.ndarray:
    """Counts as whole numbers from zero on; zero in the pixels that are `ignored` (n_pix,).

    Raises
    ------
    SkyfoldError
        If they have a unit that is none of counts, or are negative, fractions or not finite.
    """
    if sky.unit is not None and str(sky.unit).strip():
        kind = parse(sky.unit, sky.source)
        if not any(kind == parse(u, name) for u in ("ct", "ph", "")):
            raise SkyfoldError(
                f"{sky.source}: the counts have the unit '{kind}'; give the raw counts, not a flux or a rate, or "
                "correct the unit if it is wrong."
            )
    counts = np.where(ignored, 0.0, sky.values)
    with np.errstate(invalid="ignore"):
        whole = np.round(counts)
        # the rounding of whoever reprojected or summed the map
        counts = np.where(np.abs(counts - whole) < _ROUNDING, whole + 0.0, counts)
        bad, fractional = ~(np.isfinite(counts) & (counts >= 0)), counts != np.round(counts)
    for wrong, why in (
        (bad, "counts are finite and not negative. Give the raw counts and mask pixels without data, by mask="),
        (fractional, "counts are whole numbers. Give the raw counts, not a flux, a rate or a smoothed map"),
    ):
        if wrong.any():
            *bin_, pixel = np.argwhere(wrong)[0]
            raise SkyfoldError(f"{sky.place(sum(bin_), int(pixel))} holds {counts[wrong][0]} counts; {why}.")
    return np.abs(counts)


def checked_exposure(sky: SkyMap, counts: np.ndarray, ignored: np.ndarray, name: str) -> np.ndarray:
    """Exposure in cm^2 s; zero where the map says that nothing was observed.

    Raises
    ------
    SkyfoldError
        If it is negative or not finite, in another unit, or does not fit the counts.
    """
    exposure = sky.values * factor(sky.unit, "cm2 s", sky.source, "an exposure")
    if exposure.shape not in (counts.shape, counts.shape[-1:]):
        raise SkyfoldError(f"{name}: the exposure has the shape {exposure.shape} and the counts {counts.shape}.")
    exposure = np.where(sky.seen, exposure, 0.0)
    with np.errstate(invalid="ignore"):
        exposure = np.where((exposure < 0) & (exposure > -_NOTHING * np.nanmax(exposure)), 0.0, exposure)
        bad = ~(np.isfinite(exposure) & (exposure >= 0))
    if bad.any():
        *bin_, pixel = np.argwhere(bad)[0]
        raise SkyfoldError(
            f"{name}: the exposure of pixel {int(pixel)} is {exposure[bad][0]} ({sky.place(sum(bin_), int(pixel))}); "
            "an exposure is finite and not negative. Set it to zero where nothing was observed."
        )
    blind = np.broadcast_to(exposure == 0, counts.shape) & (counts > 0) & ~ignored
    if blind.any():
        raise SkyfoldError(
            f"{name}: pixel {int(np.argwhere(blind)[0][-1])} has counts and no exposure; the maps do not belong "
            "together or one is in nested order (nest=True)."
        )
    return exposure


def check_order(counts: np.ndarray, pixels: Pixels, name: str) -> None:
    """Raise `SkyfoldError` where the plane of the Galaxy shows that the pixels are in the other order."""
    total = counts if counts.ndim == 1 else counts.sum(axis=0)
    plane = np.abs(pixels.latitude) < np.radians(_PLANE)
    if pixels.nside < 8 or total.sum() < 1000:
        return
    here, other = (float(m[plane].mean() / m.mean()) for m in (total, to_ring(total)))
    # a map of a part of the sky is in the order in which that part hangs together
    parts = [np.count_nonzero(downgrade(m, max(pixels.nside // 8, 1))) for m in (total, to_ring(total))]
    if other > _OTHER_ORDER * max(here, 1.0) and parts[0] >= parts[1]:
        raise SkyfoldError(
            f"{name}: the Galactic plane is {here:.2g} times as bright as the mean sky, and {other:.2g} times when the "
            "pixels are taken in nested order: the map is in that order. Read it with nest=True."
        )


def as_edges(energies: Any, counts: np.ndarray, name: str) -> np.ndarray | None:
    """Edges of energy bins, GeV, checked."""
    if energies is None:
        return None
    if hasattr(energies, "to_value"):
        import astropy.units as u

        try:
            energies = energies.to_value(u.GeV)
        except u.UnitConversionError:
            raise SkyfoldError(f"{name}: the edges of energy bins are in {energies.unit}, no unit of energy.") from None
    edges = np.asarray(energies, dtype=np.float64)
    n_bins = 1 if counts.ndim == 1 else len(counts)
    good = edges.shape == (n_bins + 1,) and bool(np.all(np.isfinite(edges)))
    if not good or not np.all(np.diff(edges) > 0) or not edges[0] > 0:
        raise SkyfoldError(
            f"{name}: {n_bins} energy bins have {n_bins + 1} positive, increasing edges in GeV, not {energies!r}."
        )
    return edges
