"""Schemes by which channels are joined in the program: least counts, significance, width."""

from __future__ import annotations

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.xray.background import beside
from skyfold.xray.files.records import Pha
from skyfold.xray.grouping import Groups, groups

#: Ways to join channels, and what the number after the colon is.
WAYS = {
    "none": "every channel by itself",
    "file": "the groups of the file",
    "min": "least counts of a group",
    "snr": "least net counts over their error",
    "width": "channels of a group",
    "constmin": "least counts of the background in a group",
}


def regrouped(pha: Pha, background: Pha | None, noticed: Groups, how: str) -> Groups:
    """Divide the noticed channels anew; a group never bridges channels that are not noticed.

    Parameters
    ----------
    pha, background : the records.
    noticed : groups whose channels are divided.
    how : one of `WAYS`, with a number after a colon where it takes one, as in ``min:25``.

    Raises
    ------
    SkyfoldError
        If it is none, its number makes no sense, or there is no background for one that needs it.
    """
    way, _, number = how.partition(":")
    if way not in WAYS or (way in ("none", "file")) != (not number):
        known = ", ".join(f"{w} ({what})" if w in ("none", "file") else f"{w}:N ({what})" for w, what in WAYS.items())
        raise SkyfoldError(f"There is no grouping {how!r}; choose one of: {known}.")
    quality = np.where(noticed.of_channel >= 0, 0, 1)
    if not number:
        return groups(pha.grouping if way == "file" else np.zeros(len(quality), int), quality)
    try:
        least = float(number)
    except ValueError:
        least = np.nan
    if not 0 < least < np.inf:
        raise SkyfoldError(f"Grouping {how!r}: {WAYS[way]} must be a number above zero.")
    held, spread = _amounts(pha, background, way)
    grouping = np.full(len(quality), -1)
    for stretch in np.split(np.arange(len(quality)), np.flatnonzero(np.diff(quality)) + 1):
        if len(stretch) and not quality[stretch[0]]:
            grouping[_begins(stretch, held, spread, least)] = 1
    return groups(grouping, quality)


def _amounts(pha: Pha, background: Pha | None, way: str) -> tuple[np.ndarray, np.ndarray | None]:
    """What each channel adds to a group, and to the square of its error where that counts, (n_channels,) each."""
    n = len(pha.counts)
    if way == "width":
        return np.ones(n), None
    own = np.asarray(pha.counts, float)
    if way == "min":
        return own, None
    if background is None:
        if way == "constmin":
            raise SkyfoldError(f"Grouping 'constmin' needs a background, and {pha.path} has none.")
        return own, own
    other = beside(pha, background, Groups(np.arange(n), np.arange(n), np.arange(n)))
    if way == "constmin":
        return other.counts, None
    return own - other.worth * other.counts, own + other.worth**2 * other.variance


def _begins(stretch: np.ndarray, held: np.ndarray, spread: np.ndarray | None, least: float) -> list[int]:
    """Channels of a stretch at which groups begin; what is left over at its end joins the last."""
    begins, start, total, square = [], int(stretch[0]), 0.0, 0.0
    for channel in stretch:
        total += held[channel]
        square += 0.0 if spread is None else spread[channel]
        enough = total >= least if spread is None else square > 0 and total >= least * np.sqrt(square)
        if enough:
            begins.append(start)
            start, total, square = int(channel) + 1, 0.0, 0.0
    return begins or [int(stretch[0])]
