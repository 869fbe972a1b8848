"""Ranges of energy, wavelength or channel as people give them."""

from __future__ import annotations

from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.xray.units import kev


def ranges(given: tuple[Any, ...], channels: bool) -> list[tuple[float, float]]:
    """Turn the arguments of `notice` and `ignore` into (low, high) pairs, in keV or channels.

    Two scalars are one range; otherwise each argument is a pair. None leaves an end open. Quantities are converted:
    energies, wavelengths and frequencies alike.
    """
    if len(given) == 2 and all(map(_single, given)):
        given = (given,)
    if not given:
        raise SkyfoldError("A range needs two ends: notice(0.5, 8.0), or several pairs: notice((0.5, 2), (3, 8)).")
    return [_range(pair, channels) for pair in given]


def stretches(edges: np.ndarray, groups: np.ndarray) -> str:
    """Write the ranges (n_groups, 2) of some groups; neighbours are one stretch, and the middle of many is left out."""
    runs = np.split(groups, np.flatnonzero(np.diff(groups) > 1) + 1)
    spans = [f"{edges[run].min():.4g}-{edges[run].max():.4g}" for run in runs]
    return ", ".join(spans if len(spans) <= 4 else [*spans[:2], "...", spans[-1]])


def _range(pair: Any, channels: bool) -> tuple[float, float]:
    if _single(pair) or len(pair) != 2:
        raise SkyfoldError(f"The range {pair!r} is not a pair (low, high).")
    first, second = (None if end is None else _end(end, channels) for end in pair)
    if any(end is not None and np.isnan(end) for end in (first, second)):
        raise SkyfoldError(f"The range {pair!r} holds a value that is not a number.")
    if any(_is_length(end) for end in pair):
        first, second = second, first
    low, high = -np.inf if first is None else first, np.inf if second is None else second
    if low >= high and not (channels and low == high):
        raise SkyfoldError(f"The range {pair!r} is empty: its first end must lie below its second.")
    return low, high


def _single(value: Any) -> bool:
    return np.shape(value) == () if not isinstance(value, list | tuple) else False


def _is_length(end: Any) -> bool:
    return hasattr(end, "unit") and end.unit.physical_type == "length"


def _end(end: Any, channels: bool) -> float:
    if channels and hasattr(end, "unit"):
        raise SkyfoldError(f"Channels have no unit, got {end}.")
    return kev(end, "end of a range")
