"""How the data of a spectrum are distributed, as its file tells, and what of it a fit refuses."""

from __future__ import annotations

import warnings

import numpy as np

from skyfold.errors import FileFormatError, SkyfoldWarning
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.likelihood import Likelihood
from skyfold.likelihoods.poisson import Poisson
from skyfold.xray.files.records import Arf, Pha
from skyfold.xray.grouping import Groups

#: Stands for the error of a group whose file has none; a fit refuses it.
NO_ERROR = 1e150
#: Areas below zero by less than this part of the largest are rounding.
SMALL_AREA = 1e-6


def refuse_missing(likelihood: Likelihood, pha: Pha, divided: Groups, arf: Arf | None, energies: np.ndarray) -> None:
    """Refuse to fit groups without an error, and areas that make no sense at energies that reach the groups."""
    wrong = np.flatnonzero(np.sqrt(likelihood.variance) > 0.5 * NO_ERROR)
    if wrong.size:
        channel = pha.channels[divided.first[wrong[0]]]
        raise FileFormatError(
            f"{pha.path}: column STAT_ERR: the error of the group that begins at channel {channel} is not "
            f"positive ({wrong.size} such groups). Leave it out with notice(low, high), mark the channel bad in "
            "QUALITY or give its error"
        )
    if arf is None:
        return
    area = arf.area
    least = -SMALL_AREA * np.max(area, where=np.isfinite(area), initial=0.0)
    wrong = np.intersect1d(np.flatnonzero(~(np.isfinite(area) & (area >= least))), energies)
    if wrong.size:
        row = int(wrong[0])
        low, high = arf.edges[row : row + 2]
        raise FileFormatError(
            f"{arf.path}: column SPECRESP, row {row + 1} in order of energy: the area {area[row]:g} of {low:.4g} "
            f"to {high:.4g} keV is negative or not a number, and reaches noticed channels ({wrong.size} such rows). "
            "Leave them out with notice(low, high), or make the file again"
        )


def likelihood_of(pha: Pha, divided: Groups) -> Likelihood:
    """Counts of each group and their distribution: Poisson, or normal where the file says so."""
    counts = divided.sum(pha.counts)
    part = np.zeros(len(pha.counts)) if pha.sys_err is None else pha.sys_err
    systematic = part * pha.counts
    if pha.poisson:
        if np.any(divided.sum(systematic) > 0):
            warnings.warn(
                f"{pha.path}: SYS_ERR (up to {part.max():.3g} of the data) is unused: the counts are Poisson",
                SkyfoldWarning,
                stacklevel=4,
            )
        return Poisson(counts)
    if pha.stat_err is None:
        raise FileFormatError(
            f"{pha.path}: a rate or net spectrum without Poisson errors needs the column STAT_ERR. Use the spectrum "
            "before background subtraction, or add STAT_ERR"
        )
    # an error below zero is none
    own = np.where(pha.stat_err < 0, np.nan, pha.stat_err)
    sigma = np.sqrt(divided.sum(own**2 + systematic**2))
    wrong = ~(np.isfinite(sigma) & (sigma > 0))
    if wrong.any():
        warnings.warn(
            f"{pha.path}: column STAT_ERR: the errors of {wrong.sum()} of {len(sigma)} groups are not positive; leave "
            "these out before a fit, which refuses them",
            SkyfoldWarning,
            stacklevel=4,
        )
    return Gaussian(counts, np.where(wrong, NO_ERROR, sigma))
