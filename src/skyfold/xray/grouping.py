"""Channels joined into groups, and which of them are good: GROUPING and QUALITY."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.xray.files.records import Pha

#: Ways to join channels, and what the number after the colon is.
WAYS = {
    "none": "every channel by itself",
    "file": "the groups of the file",
    "min": "least counts of a group",
    "snr": "least net counts over their error",
    "width": "channels of a group",
    "constmin": "least counts of the background in a group",
}


@dataclass(frozen=True, eq=False)
class Groups:
    """A division of channels into groups.

    Parameters
    ----------
    of_channel : (n_channels,) group of each channel, -1 for a channel in none.
    first, last : (n_groups,) index of the first and last channel of each group.
    """

    of_channel: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sum a quantity over the channels of each group; (n_channels,) -> (n_groups,)."""
        inside = self.of_channel >= 0
        return np.bincount(self.of_channel[inside], weights=np.asarray(values)[inside], minlength=len(self))

    def take(self, kept: np.ndarray) -> Groups:
        """Return some of the groups, renumbered in the order given."""
        number = np.full(len(self) + 1, -1)
        number[kept] = np.arange(len(kept))
        return Groups(number[self.of_channel], self.first[kept], self.last[kept])


def groups(grouping: np.ndarray, quality: np.ndarray) -> Groups:
    """Divide channels into groups as XSPEC does after ``ignore bad``.

    A channel with GROUPING -1 joins the one before it. Channels of non-zero QUALITY are left out, and *they part a
    group*: the good channels before and after a bad stretch become groups of their own.

    Parameters
    ----------
    grouping, quality : (n_channels,) the columns of the spectrum.
    """
    bad = np.asarray(quality) != 0
    begins = np.asarray(grouping) >= 0
    if len(bad):
        begins = begins | np.append(True, bad[1:] != bad[:-1])
    begins &= ~bad
    number = np.where(bad, -1, np.cumsum(begins) - 1)
    first = np.flatnonzero(begins)
    good = np.flatnonzero(~bad)
    ends = np.append(number[good][1:] != number[good][:-1], True) if len(good) else np.zeros(0, bool)
    return Groups(number, first, good[ends])


def group_counts(counts: np.ndarray, minimum: float) -> tuple[np.ndarray, np.ndarray]:
    """Join channels until each group holds at least so many counts.

    Parameters
    ----------
    counts : (n_channels,) counts.
    minimum : least counts of a group.

    Returns
    -------
    grouping : (n_channels,) 1 where a group begins, -1 where it goes on.
    quality : (n_channels,) 0, and 2 for the channels left over at the end.
    """
    grouping = np.full(len(counts), -1)
    quality = np.zeros(len(counts), int)
    held, start = 0.0, 0
    for channel, count in enumerate(counts):
        held += count
        if held >= minimum:
            grouping[start] = 1
            held, start = 0.0, channel + 1
    if start < len(counts):
        grouping[start] = 1
        quality[start:] = 2
    return grouping, quality


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
    if way == "constmin" and background is None:
        raise SkyfoldError(f"Grouping {how!r} needs a background, and {pha.path} has none.")
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
    if way == "min" or (way == "snr" and background is None):
        return own, own if way == "snr" else None
    from skyfold.xray.statistic import beside

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


def display_bins(counts: np.ndarray, variance: np.ndarray, min_significance: float, max_bins: int) -> np.ndarray:
    """Join neighbouring groups for display until each is significant, as XSPEC's ``setplot rebin`` does.

    Parameters
    ----------
    counts : (n_groups,) net counts.
    variance : (n_groups,) their variances.
    min_significance : least ratio of net counts to their standard deviation.
    max_bins : most groups to join.

    Returns
    -------
    (n_groups,) number of the display bin of each group, from 0.
    """
    bins = np.empty(len(counts), np.int64)
    number = joined = 0
    net = spread = 0.0
    for group, (count, square) in enumerate(zip(counts, variance, strict=True)):
        bins[group] = number
        net, spread, joined = net + count, spread + square, joined + 1
        if joined >= max_bins or (spread > 0 and net >= min_significance * np.sqrt(spread)):
            number, joined, net, spread = number + 1, 0, 0.0, 0.0
    return bins
