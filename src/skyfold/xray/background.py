"""Background that was measured beside a source, in the groups and at the size of the source."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.xray.files.records import Pha
from skyfold.xray.grouping import Groups


class Beside(NamedTuple):
    """What was measured of the background, in each group of the source's channels.

    Attributes
    ----------
    counts : (n_groups,) counts of the background's file.
    variance, systematic : (n_groups,) variances of these that STAT_ERR (else the counts) and SYS_ERR tell.
    worth : (n_groups,) counts in the source region for each: the ratio of exposure, AREASCAL and BACKSCAL; in a group
        whose channels differ that of the sums.
    """

    counts: np.ndarray
    variance: np.ndarray
    systematic: np.ndarray
    worth: np.ndarray


def refuse_blind(pha: Pha, background: Pha, divided: Groups) -> None:
    """Refuse to fit groups of which the background says nothing, or not how well."""
    measured = beside(pha, background, divided)
    blind = np.flatnonzero(~(measured.worth > 0))
    if blind.size:
        raise SkyfoldError(
            f"{pha.path}: the background {background.path} says nothing of {blind.size} groups, that which begins at "
            f"channel {pha.channels[divided.first[blind[0]]]} for one: it has no exposure or no such channel. Leave "
            "these out with notice(low, high), or read the spectrum with background='none'."
        )
    wrong = np.flatnonzero(~np.isfinite(measured.variance))
    if wrong.size:
        raise SkyfoldError(
            f"{background.path}: column STAT_ERR: the error of the background in the group that begins at channel "
            f"{pha.channels[divided.first[wrong[0]]]} is negative or not a number ({wrong.size} such groups). Leave "
            "these out with notice(low, high), or read the spectrum with background='none'."
        )


def beside(pha: Pha, background: Pha, divided: Groups) -> Beside:
    """Measured background in groups of the source's channels."""
    ours = np.broadcast_to(pha.exposure * pha.area_scaling * pha.back_scaling, pha.counts.shape)
    # the files may hold other channels than one another
    wanted, had = (x.channels - (x.first_channel or 0) for x in (pha, background))
    at = np.searchsorted(had, wanted)
    at[at == len(had)] = 0
    here = had[at] == wanted

    def summed(values: Any) -> np.ndarray:
        return divided.sum(np.where(here, np.broadcast_to(values, background.counts.shape)[at], 0.0))

    theirs = summed(background.exposure * background.area_scaling * background.back_scaling)
    worth = np.divide(divided.sum(ours), theirs, out=np.zeros(len(divided)), where=theirs > 0)
    part = 0.0 if background.sys_err is None else background.sys_err
    variance = background.counts if background.stat_err is None else background.stat_err**2
    return Beside(summed(background.counts), summed(variance), summed((part * background.counts) ** 2), worth)
