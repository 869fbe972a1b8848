"""What users give as counts, exposure and mask: read and checked."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.gammaray.healpix import nside_of, read_map, to_ring
from skyfold.gammaray.pixels import Pixels

#: How much brighter the plane is in the other order of pixels when a map is in that order, and the latitude it ends at.
_OTHER_ORDER, _PLANE = 1.5, 5.0


def as_map(given: Any, nest: bool | None, where: str) -> np.ndarray:
    """Full-sky map of a file or an array, (n_pix,) or (n_bins, n_pix), in ring order."""
    if isinstance(given, str | os.PathLike):
        return np.asarray(read_map(given, nest), dtype=np.float64)
    try:
        maps = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise SkyfoldError(f"{where} must be a file or an array of numbers, not {type(given).__name__}.") from None
    if maps.ndim not in (1, 2):
        raise SkyfoldError(f"{where} must be (n_pix,) or (n_bins, n_pix), not {maps.shape}.")
    nside_of(maps.shape[-1], where)
    return to_ring(maps) if nest else maps


def as_mask(given: Any, nest: bool | None, n_pix: int, where: str) -> np.ndarray:
    """Mask (n_pix,) of a file or an array; True where a pixel is masked."""
    mask: Any = read_map(given, nest) if isinstance(given, str | os.PathLike) else np.asarray(given)
    if mask.shape != (n_pix,):
        raise SkyfoldError(
            f"{where}: the mask has the shape {mask.shape} and the map ({n_pix},); give one value per pixel."
        )
    if mask.dtype != bool and not np.all((mask == 0) | (mask == 1)):
        raise SkyfoldError(f"{where}: a mask holds True (1) for masked pixels and False (0) for others, nothing else.")
    mask = mask.astype(bool)
    return to_ring(mask) if nest and not isinstance(given, str | os.PathLike) else mask


def check_counts(counts: np.ndarray, name: str) -> None:
    """Raise `SkyfoldError` where counts are no whole numbers from zero on."""
    bad = ~(np.isfinite(counts) & (counts >= 0))
    if bad.any():
        raise SkyfoldError(
            f"{name}: pixel {int(np.argwhere(bad)[0][-1])} holds {counts[bad][0]} counts; counts are finite and not "
            "negative. Give the raw counts and mask pixels without data."
        )
    fractional = counts != np.round(counts)
    if fractional.any():
        raise SkyfoldError(
            f"{name}: pixel {int(np.argwhere(fractional)[0][-1])} holds {counts[fractional][0]:.6g} counts; counts are "
            "whole numbers. Give the raw counts, not a flux, a rate or a smoothed map."
        )


def check_exposure(exposure: np.ndarray, counts: np.ndarray, name: str) -> None:
    """Raise `SkyfoldError` where an exposure is none, or does not fit the counts."""
    if exposure.shape not in (counts.shape, counts.shape[-1:]):
        raise SkyfoldError(f"{name}: the exposure has the shape {exposure.shape} and the counts {counts.shape}.")
    bad = ~(np.isfinite(exposure) & (exposure >= 0))
    if bad.any():
        raise SkyfoldError(
            f"{name}: the exposure of pixel {int(np.argwhere(bad)[0][-1])} is {exposure[bad][0]}; an exposure is "
            "finite and not negative. Set it to zero where nothing was observed."
        )
    blind = np.broadcast_to(exposure == 0, counts.shape) & (counts > 0)
    if blind.any():
        raise SkyfoldError(
            f"{name}: pixel {int(np.argwhere(blind)[0][-1])} has counts and no exposure; the maps do not belong "
            "together or one is in nested order (nest=True)."
        )


def check_order(counts: np.ndarray, pixels: Pixels, name: str) -> None:
    """Raise `SkyfoldError` where the plane of the Galaxy shows that the pixels are in the other order."""
    total = counts if counts.ndim == 1 else counts.sum(axis=0)
    plane = np.abs(pixels.latitude) < np.radians(_PLANE)
    if pixels.nside < 8 or total.sum() < 1000:
        return
    here, other = (float(m[plane].mean() / m.mean()) for m in (total, to_ring(total)))
    if other > _OTHER_ORDER * max(here, 1.0):
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

        energies = energies.to_value(u.GeV)
    edges = np.asarray(energies, dtype=np.float64)
    n_bins = 1 if counts.ndim == 1 else len(counts)
    if edges.shape != (n_bins + 1,) or not np.all(np.diff(edges) > 0) or not edges[0] > 0:
        raise SkyfoldError(
            f"{name}: {n_bins} energy bins have {n_bins + 1} positive, increasing edges in GeV, not {energies!r}."
        )
    return edges
