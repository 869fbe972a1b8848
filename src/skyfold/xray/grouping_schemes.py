"""Schemes by which channels are joined in the program: least counts, significance, width, optimal bins."""

from __future__ import annotations

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.xray.background import beside
from skyfold.xray.files.records import Pha, Rmf
from skyfold.xray.grouping import Groups, groups

#: Ways to join channels, and what the number after the colon is.
WAYS = {
    "none": "every channel by itself",
    "file": "the groups of the file",
    "min": "least counts of a group",
    "snr": "least net counts over their error",
    "width": "channels of a group",
    "constmin": "least counts of the background in a group",
    "optimal": "bins that lose nothing at the resolution and the counts",
    "optmin": "the same, with least counts of a group",
}
_WITHOUT = ("none", "file", "optimal")
#: From the counts within one FWHM to those of a resolution element (Kaastra & Bleeker 2016, appendix B).
_ELEMENT = 1.314


def regrouped(pha: Pha, background: Pha | None, rmf: Rmf, noticed: Groups, how: str) -> Groups:
    """Divide the noticed channels anew; a group never bridges channels that are not noticed.

    Parameters
    ----------
    pha, background, rmf : the records.
    noticed : groups whose channels are divided.
    how : one of `WAYS`, with a number after a colon where it takes one, as in ``min:25``.

    Raises
    ------
    SkyfoldError
        If it is none, its number makes no sense, or there is no background for one that needs it.
    """
    way, _, number = how.partition(":")
    if way not in WAYS or (way in _WITHOUT) != (not number):
        known = ", ".join(f"{w} ({what})" if w in _WITHOUT else f"{w}:N ({what})" for w, what in WAYS.items())
        raise SkyfoldError(f"There is no grouping {how!r}; choose one of: {known}.")
    quality = np.where(noticed.of_channel >= 0, 0, 1)
    if way == "optimal":
        return groups(_optimal(pha, rmf, quality, 0.0), quality)
    if not number:
        return groups(pha.grouping if way == "file" else np.zeros(len(quality), int), quality)
    try:
        least = float(number)
    except ValueError:
        least = np.nan
    if not 0 < least < np.inf:
        raise SkyfoldError(f"Grouping {how!r}: {WAYS[way]} must be a number above zero.")
    if way == "optmin":
        return groups(_optimal(pha, rmf, quality, least), quality)
    held, spread = _amounts(pha, background, way)
    grouping = np.full(len(quality), -1)
    for stretch in _stretches(quality):
        grouping[_begins(stretch, held, spread, least)] = 1
    return groups(grouping, quality)


def _stretches(quality: np.ndarray) -> list[np.ndarray]:
    """Runs of channels that may be joined."""
    runs = np.split(np.arange(len(quality)), np.flatnonzero(np.diff(quality)) + 1)
    return [run for run in runs if len(run) and not quality[run[0]]]


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


# -- optimal bins ------------------------------------------------------------------------------------------------------


def fwhm(rmf: Rmf) -> np.ndarray:
    """Full width at half maximum of a line at the middle of each channel, (n_channels,) keV.

    It spans the channels that get more than half of the largest element of an energy's row of the matrix.
    """
    n = len(rmf.edges) - 1
    largest = np.zeros(n)
    np.maximum.at(largest, rmf.energy_index, rmf.values)
    high = (rmf.values > 0.5 * largest[rmf.energy_index]) & (rmf.values > 0)
    low_end, high_end = np.full(n, np.inf), np.full(n, -np.inf)
    np.minimum.at(low_end, rmf.energy_index[high], rmf.bounds.min(axis=1)[rmf.channel_index[high]])
    np.maximum.at(high_end, rmf.energy_index[high], rmf.bounds.max(axis=1)[rmf.channel_index[high]])
    some = largest > 0
    middle = 0.5 * (rmf.edges[1:] + rmf.edges[:-1])
    return np.interp(rmf.bounds.mean(axis=1), middle[some], (high_end - low_end)[some])


def optimal_width(counts: np.ndarray, elements: float) -> np.ndarray:
    r"""Best width of a bin over the FWHM (Kaastra & Bleeker 2016, A&A 587, A151).

    .. math:: \frac{\Delta}{\mathrm{FWHM}} = \frac{0.08 + 7.0/x + 1.8/x^2}{1 + 5.9/x}, \quad
              x = \ln[N_r (1 + 0.20 \ln R)]

    and 1 for x below 2.119 (equations 36 and 37).

    Parameters
    ----------
    counts : (n,) counts N_r of a resolution element.
    elements : number R of resolution elements.
    """
    x = np.log(np.maximum(counts, 1.0) * (1.0 + 0.20 * np.log(max(elements, 1.0))))
    many = np.maximum(x, 2.119)
    return np.where(x > 2.119, (0.08 + 7.0 / many + 1.8 / many**2) / (1.0 + 5.9 / many), 1.0)


def _optimal(pha: Pha, rmf: Rmf, quality: np.ndarray, least: float) -> np.ndarray:
    """GROUPING of optimal bins of the noticed channels, each with so many counts at least."""
    place = pha.channels - (pha.first_channel or 0)
    bounds, line = rmf.bounds[place], fwhm(rmf)[place]
    width, middle = np.abs(np.diff(bounds, axis=1)[:, 0]), bounds.mean(axis=1)
    order = np.argsort(middle)
    total = np.concatenate([[0.0], np.cumsum(np.asarray(pha.counts, float)[order])])
    inside = [np.searchsorted(middle[order], middle + side * 0.5 * line) for side in (-1.0, 1.0)]
    good = quality == 0
    elements = float(np.sum((width / line)[good]))
    best = line * optimal_width(_ELEMENT * (total[inside[1]] - total[inside[0]]), elements)
    grouping = np.full(len(quality), -1)
    for stretch in _stretches(quality):
        begins, start = [int(stretch[0])], int(stretch[0])
        for channel in stretch[1:]:
            wide = float(np.sum(width[start : channel + 1]))
            # half a channel too wide is as good as half a channel too narrow
            if wide - 0.5 * width[channel] > best[(start + channel) // 2] and pha.counts[start:channel].sum() >= least:
                start = int(channel)
                begins.append(start)
        if len(begins) > 1 and pha.counts[begins[-1] : stretch[-1] + 1].sum() < least:
            begins.pop()
        grouping[begins] = 1
    return grouping
