"""Regions of the sky: discs, bands of latitude, discs around catalogued sources, and what sets make of them.

``Disc(25) & ~Band(2)`` is the sky within 25 degrees of the Galactic centre without the plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError

#: Numbers held in memory at once when distances to many sources are asked for.
_BLOCK = 5_000_000


class Region:
    """A set of directions; ``&``, ``|`` and ``~`` give intersection, union and complement."""

    def inside(self, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
        """Whether directions belong to the region, (n,) booleans.

        Parameters
        ----------
        longitude, latitude : (n,) Galactic coordinates, radians.
        """
        raise NotImplementedError

    def __and__(self, other: Region) -> Region:
        return _Both(self, other)

    def __or__(self, other: Region) -> Region:
        return ~(~self & ~other)

    def __invert__(self) -> Region:
        return _Outside(self)


@dataclass(frozen=True)
class _Both(Region):
    one: Region
    other: Region

    def inside(self, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
        return self.one.inside(longitude, latitude) & self.other.inside(longitude, latitude)


@dataclass(frozen=True)
class _Outside(Region):
    region: Region

    def inside(self, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
        return ~self.region.inside(longitude, latitude)


@dataclass(frozen=True)
class Band(Region):
    """Band along the Galactic plane, :math:`|b| < h`.

    Parameters
    ----------
    latitude : half its height h, degrees (or a Quantity).
    """

    latitude: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "latitude", _degrees(self.latitude, "Band"))

    def inside(self, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
        return np.abs(latitude) < np.radians(self.latitude)


@dataclass(frozen=True)
class Disc(Region):
    """Directions within an angle of a centre, the edge included.

    Parameters
    ----------
    radius : degrees (or a Quantity).
    longitude, latitude : Galactic coordinates of the centre, degrees; default the Galactic centre.
    """

    radius: Any
    longitude: Any = 0.0
    latitude: Any = 0.0

    def __post_init__(self) -> None:
        for name in ("radius", "longitude", "latitude"):
            object.__setattr__(self, name, _degrees(getattr(self, name), f"Disc: {name}", name == "radius"))

    def inside(self, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
        centre = directions(np.radians(self.longitude), np.radians(self.latitude))
        apart = directions(longitude, latitude)
        # the chord keeps its digits where the cosine of a small angle has none
        chord = np.sqrt(np.sum((apart - centre[:, None]) ** 2, axis=0))
        return 2.0 * np.arcsin(np.minimum(0.5 * chord, 1.0)) <= np.radians(self.radius)


@dataclass(frozen=True, eq=False)
class Discs(Region):
    """Discs around many directions, such as the sources of a catalogue.

    Parameters
    ----------
    longitude, latitude : (n,) Galactic coordinates, degrees (or Quantities).
    radius : degrees, one for all or (n,).
    """

    longitude: Any
    latitude: Any
    radius: Any

    def __post_init__(self) -> None:
        given = [
            _degrees(v, f"Discs: {name}", name == "radius", array=True)
            for name, v in (("longitude", self.longitude), ("latitude", self.latitude), ("radius", self.radius))
        ]
        try:
            given = [np.atleast_1d(v) for v in np.broadcast_arrays(*given)]
        except ValueError:
            raise SkyfoldError(
                "Discs: longitude, latitude and radius must have one length, not those of the shapes "
                f"{[np.shape(v) for v in given]}; give one radius for all or one for each."
            ) from None
        for name, value in zip(("longitude", "latitude", "radius"), given, strict=True):
            object.__setattr__(self, name, value)

    def inside(self, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
        sources = directions(np.radians(self.longitude), np.radians(self.latitude))
        apart = directions(np.asarray(longitude), np.asarray(latitude))
        limit = 4.0 * np.sin(0.5 * np.radians(np.minimum(self.radius, 180.0))) ** 2
        found = np.zeros(apart.shape[1], dtype=bool)
        for part in np.array_split(np.arange(len(limit)), 1 + apart.shape[1] * len(limit) // _BLOCK):
            squared = np.sum((apart[:, :, None] - sources[:, None, part]) ** 2, axis=0)
            found |= np.any(squared <= limit[part], axis=1)
        return found


def directions(longitude: Any, latitude: Any) -> np.ndarray:
    """Unit vectors (3, ...) of directions in radians; x points to the Galactic centre, z to the north pole."""
    return np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)])


def _degrees(value: Any, where: str, positive: bool = True, array: bool = False) -> Any:
    from skyfold.parameters import as_number

    try:
        number = as_number(value, "deg")
    except SkyfoldError as error:
        raise SkyfoldError(f"{where}: {error}") from None
    if np.any(getattr(value, "mask", False)):
        raise SkyfoldError(f"{where} is masked in place {int(np.argmax(value.mask))}; leave such entries out.")
    if where.endswith("latitude") and np.any(np.abs(number) > 90.0):
        raise SkyfoldError(
            f"{where} reaches {np.max(np.abs(number)):g} degrees, but latitudes end at 90; got {value!r}."
        )
    good = np.all(np.isfinite(number)) and (array or np.ndim(number) == 0)
    positive = positive and (where == "Band" or where.endswith("radius"))
    if not good or (positive and not np.all(np.greater(number, 0))):
        raise SkyfoldError(f"{where} must be {'positive and ' if positive else ''}finite, in degrees; got {value!r}.")
    return number
