"""What OGIP files hold: spectrum (PHA), redistribution (RMF), effective area (ARF)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False, repr=False)
class Pha:
    """A spectrum as its file gives it, one entry per channel, channels ascending.

    Parameters
    ----------
    path : file read, or None for one made in memory.
    channels : (n,) channel numbers.
    first_channel : lowest legal channel number (TLMIN of CHANNEL); None where the file does not say.
    detector_channels : number of channels of the detector (DETCHANS).
    counts : (n,) counts; a RATE is multiplied by the exposure.
    exposure : s; one number, or (n,) where the file has it for each channel.
    area_scaling, back_scaling : (n,) AREASCAL and BACKSCAL.
    quality : (n,) 0 good, anything else bad.
    grouping : (n,) 1 begins a group, -1 continues it, 0 no grouping.
    stat_err : (n,) statistical errors in counts, or None.
    sys_err : (n,) fractional systematic errors.
    poisson : whether the counts are Poisson: nothing net, and what has POISSERR, or no STAT_ERR, or COUNTS whose
        STAT_ERR is that of Poisson counts.
    net : whether a background was subtracted (HDUCLAS2 = NET).
    background_file, response_file, arf_file : file names as the header gives them.
    keywords : telescope, instrument, object and so on.
    extension : number of the HDU in the file.
    """

    path: Path | None
    channels: np.ndarray
    first_channel: int | None
    detector_channels: int
    counts: np.ndarray
    exposure: float | np.ndarray
    area_scaling: np.ndarray
    back_scaling: np.ndarray
    quality: np.ndarray
    grouping: np.ndarray
    stat_err: np.ndarray | None = None
    sys_err: np.ndarray | None = None
    poisson: bool = True
    net: bool = False
    background_file: str = ""
    response_file: str = ""
    arf_file: str = ""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    extension: int | None = None

    def __repr__(self) -> str:
        size = f"{len(self.channels)} channels, {self.counts.sum():.6g} counts"
        return f"Pha({self.path}, {size}, {np.max(self.exposure):.6g} s)"


@dataclass(frozen=True, eq=False, repr=False)
class Rmf:
    """A redistribution matrix: its non-zero elements and its two energy grids.

    Parameters
    ----------
    path : file read, or None.
    edges : (n_energies + 1,) model energies, keV, ascending.
    first_channel : number of the first channel.
    bounds : (n_channels, 2) nominal energies of each channel, keV (EBOUNDS).
    energy_index, channel_index, values : (n_elements,) position and value of each element.
    complete : whether the effective area is in it already (an RSP).
    keywords : telescope, instrument and so on.
    """

    path: Path | None
    edges: np.ndarray
    first_channel: int
    bounds: np.ndarray
    energy_index: np.ndarray
    channel_index: np.ndarray
    values: np.ndarray
    complete: bool = False
    keywords: Mapping[str, Any] = field(default_factory=dict)

    def dense(self) -> np.ndarray:
        """Return the matrix, (n_channels, n_energies)."""
        matrix = np.zeros((len(self.bounds), len(self.edges) - 1))
        np.add.at(matrix, (self.channel_index, self.energy_index), self.values)
        return matrix

    def __repr__(self) -> str:
        low, high = self.edges[[0, -1]]
        return (
            f"Rmf({self.path}, {len(self.bounds)} channels, {len(self.edges) - 1} energies, {low:.4g}-{high:.4g} keV)"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Arf:
    """An effective area.

    Parameters
    ----------
    path : file read, or None.
    edges : (n + 1,) keV, ascending.
    area : (n,) cm^2.
    """

    path: Path | None
    edges: np.ndarray
    area: np.ndarray

    def __repr__(self) -> str:
        return f"Arf({self.path}, {len(self.area)} energies, {self.area.max():.4g} cm^2 at most)"
