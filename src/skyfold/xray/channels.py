"""Channels of a spectrum among those of its response."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skyfold.errors import FileFormatError
from skyfold.xray.files.records import Pha, Rmf


def numbered(pha: Pha, rmf: Rmf) -> Pha:
    """Return the spectrum with channels numbered as in the response, where its file does not say how."""
    return pha if pha.first_channel is not None else replace(pha, first_channel=rmf.first_channel)


def channel_index(pha: Pha, rmf: Rmf) -> np.ndarray:
    """Return the position of each channel of a spectrum among those of the response."""
    n_channels = len(rmf.bounds)
    index = pha.channels - pha.first_channel
    fits = pha.detector_channels == n_channels or len(index) == n_channels
    if not fits or index.min() < 0 or index.max() >= n_channels:
        raise FileFormatError(
            f"{pha.path}: the spectrum has {pha.detector_channels} channels (DETCHANS; {pha.channels.min()} to "
            f"{pha.channels.max()} in the table), the response {rmf.path} has {n_channels}. Give the response "
            "that was made for this spectrum"
        )
    return index
