"""What a spectrum is made from: its files, how its background is found, and its response in pieces."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass

import numpy as np

from skyfold.errors import FileFormatError, MissingFileWarning
from skyfold.xray.channels import channel_index
from skyfold.xray.files import locate
from skyfold.xray.files.read import read_background
from skyfold.xray.files.records import Arf, Pha, Rmf
from skyfold.xray.grouping import Groups
from skyfold.xray.response import ResponseParts

Source = str | os.PathLike[str]


@dataclass(frozen=True, eq=False, repr=False)
class Files:
    """What a spectrum was made from; all of it unfiltered.

    Parameters
    ----------
    name : name of the spectrum.
    pha, rmf, arf, background : the records.
    groups : the noticed groups of the spectrum's channels.
    response : that of the noticed groups, in pieces.
    statistic, subtract : as `Spectrum.with_statistic` takes them.
    """

    name: str
    pha: Pha
    rmf: Rmf
    arf: Arf | None
    background: Pha | None
    groups: Groups
    response: ResponseParts
    statistic: str | None = None
    subtract: bool = False

    def __repr__(self) -> str:
        return f"{self.name}: {self.pha}, {self.rmf}, {self.arf}, background {self.background}"


def background_of(pha: Pha, given: Source | None, row: int | None = None) -> Pha | None:
    """Return the background that a user names, else the one that the header names; never the spectrum itself."""
    path = locate.chosen(pha.path, given, pha.background_file, "BACKFILE")
    if path is None:
        return None
    try:
        return read_background(path, pha, row)
    except FileFormatError:
        if given is not None or pha.path is None or path.resolve() != pha.path.resolve():
            raise
    warnings.warn(
        f"{pha.path}: BACKFILE names the spectrum itself, and the file holds no other. The spectrum is used without a "
        "background",
        MissingFileWarning,
        stacklevel=3,
    )
    return None


def response_pieces(pha: Pha, rmf: Rmf, arf: Arf | None, divided: Groups) -> ResponseParts:
    """Response of a division of the channels."""
    index = channel_index(pha, rmf)
    group, weight = np.full(len(rmf.bounds), -1), np.zeros(len(rmf.bounds))
    group[index], weight[index] = divided.of_channel, pha.exposure * pha.area_scaling
    return ResponseParts.of(rmf, arf, group, weight, len(divided))


def refuse_no_scaling(pha: Pha) -> None:
    """Refuse scalings by which a background cannot be brought to the size of its source."""
    wrong = np.flatnonzero((pha.quality == 0) & ~(pha.back_scaling > 0))
    if wrong.size:
        raise FileFormatError(
            f"{pha.path}: BACKSCAL = {pha.back_scaling[wrong[0]]:g} at channel {pha.channels[wrong[0]]} ({wrong.size} "
            "such channels of good quality): the background cannot be scaled to the source. Correct BACKSCAL in both "
            "files, or leave the background out: Spectrum.read(..., background='none')"
        )
