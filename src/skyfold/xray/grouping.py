"""Channels joined into groups, and which of them are good: GROUPING and QUALITY."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
