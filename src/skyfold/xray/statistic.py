"""How the data of a spectrum are distributed, as its file tells, and what of it a fit refuses."""

from __future__ import annotations

import warnings

import numpy as np

from skyfold.errors import FileFormatError, SkyfoldError, SkyfoldWarning
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.likelihood import Likelihood
from skyfold.likelihoods.marginal import MarginalBackground
from skyfold.likelihoods.on_off import OnOff, PoissonGauss
from skyfold.likelihoods.poisson import Cash, Poisson
from skyfold.likelihoods.weighted_counts import WeightedCounts
from skyfold.xray.background import Beside, beside
from skyfold.xray.files.records import Arf, Pha
from skyfold.xray.grouping import Groups

#: Stands for the error of a group whose file has none; a fit refuses it.
NO_ERROR = 1e150
#: Areas below zero by less than this part of the largest are rounding.
SMALL_AREA = 1e-6

#: Statistics by name, and what each is.
STATISTICS = {
    "cstat": "Poisson; with a background of counts W-stat, with one that has errors PG-stat, as XSPEC has it",
    "cash": "Poisson as Cash wrote it, without the constant; a background takes no part",
    "wstat": "Poisson, the background of counts at its best in each group",
    "marginal": "Poisson, the background of counts integrated out, told by its own counts and those of its neighbours",
    "pgstat": "Poisson, the background with normal errors at its best in each group",
    "chi2-file": "normal, errors of the file (STAT_ERR and SYS_ERR)",
    "chi2-data": "normal, variance the counts, 1 where there are none",
    "chi2-xspec": "normal, variance the counts, the smallest of the others where there are none",
    "chi2-gehrels": "normal, error 1 + sqrt(counts + 3/4)",
    "chi2-const": "normal, variance the mean of the counts",
    "chi2-model": "normal, variance what is expected, 1 at least",
}
#: Statistics of counts that cannot be had without a background.
BESIDE = ("wstat", "marginal", "pgstat")
#: How the variance of counts is told.
WEIGHTS = {
    "chi2-data": "data",
    "chi2-xspec": "least",
    "chi2-gehrels": "gehrels",
    "chi2-const": "const",
    "chi2-model": "model",
}


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


def likelihood_of(
    pha: Pha, divided: Groups, background: Pha | None = None, statistic: str | None = None, *, subtract: bool = False
) -> Likelihood:
    """Data of each group and how they are distributed.

    Parameters
    ----------
    pha, divided : the spectrum and its groups.
    background : what was measured beside.
    statistic : a key of `STATISTICS`; None: ``"cstat"``, or ``"chi2-file"`` where the file has errors of its own.
    subtract : take the background off the data.

    Raises
    ------
    SkyfoldError
        If there is no such statistic, or the files have not what it needs.
    """
    if statistic is not None and statistic not in STATISTICS:
        raise SkyfoldError(f"There is no statistic {statistic!r}; choose one of {', '.join(STATISTICS)}.")
    if statistic is None:
        statistic = "cstat" if pha.poisson else "chi2-file"
    elif not pha.poisson and statistic != "chi2-file":
        raise SkyfoldError(
            f"{pha.path}: the spectrum holds no counts but what has errors of its own (a rate, or a background was "
            f"subtracted); {statistic!r} is for counts: use 'chi2-file'."
        )
    chi_squared = statistic.startswith("chi2")
    if subtract and (background is None or not chi_squared):
        needed = "a background" if chi_squared else f"a chi-squared, not {statistic!r}"
        raise SkyfoldError(f"{pha.path}: to subtract the background needs {needed}.")
    if statistic == "cstat":
        # as XSPEC does
        statistic = "" if background is None else "wstat" if background.poisson else "pgstat"
    counts = divided.sum(pha.counts)
    if statistic in BESIDE:
        return _on_off(pha, background, divided, statistic)
    part = np.zeros(len(pha.counts)) if pha.sys_err is None else pha.sys_err
    systematic = divided.sum((part * pha.counts) ** 2)
    if not chi_squared:
        _say_unused(pha, systematic)
        return Cash(counts) if statistic == "cash" else Poisson(counts)  # type: ignore[call-arg]
    none = Beside(*(np.zeros(len(counts)),) * 4)
    other = beside(pha, background, divided) if subtract and background is not None else none
    systematic = systematic + other.worth**2 * other.systematic
    if statistic != "chi2-file":
        return WeightedCounts(counts, WEIGHTS[statistic], other.counts, other.worth, systematic)
    if pha.stat_err is None:
        raise FileFormatError(
            f"{pha.path}: a rate or net spectrum without Poisson errors needs the column STAT_ERR. Use the spectrum "
            "before background subtraction, or add STAT_ERR"
        )
    sigma = np.sqrt(divided.sum(pha.stat_err**2) + systematic + other.worth**2 * other.variance)
    wrong = ~(np.isfinite(sigma) & (sigma > 0))
    if wrong.any():
        warnings.warn(
            f"{pha.path}: column STAT_ERR: the errors of {wrong.sum()} of {len(sigma)} groups are not positive; leave "
            "these out before a fit, which refuses them",
            SkyfoldWarning,
            stacklevel=4,
        )
    return Gaussian(counts - other.worth * other.counts, np.where(wrong, NO_ERROR, sigma))


def _say_unused(pha: Pha, systematic: np.ndarray) -> None:
    """Warn of systematic errors that a Poisson statistic does not use."""
    if np.any(systematic > 0) and pha.sys_err is not None:
        warnings.warn(
            f"{pha.path}: SYS_ERR (up to {pha.sys_err.max():.3g} of the data) is unused: the counts are Poisson",
            SkyfoldWarning,
            stacklevel=5,
        )


def _on_off(pha: Pha, background: Pha | None, divided: Groups, statistic: str) -> Likelihood:
    """Likelihood of counts with a background at its best in each group."""
    if background is None:
        raise SkyfoldError(
            f"{pha.path}: {statistic!r} needs a background, and there is none. Name its file, or use 'cstat'."
        )
    _say_unused(pha, np.zeros(1) if pha.sys_err is None else pha.sys_err)
    if statistic != "pgstat" and not background.poisson:
        raise SkyfoldError(
            f"{background.path}: {statistic!r} is for a background of counts, and this one has errors of its own; use "
            "'pgstat'."
        )
    counts, other = divided.sum(pha.counts), beside(pha, background, divided)
    if statistic == "wstat":
        # groups of which the background says nothing are refused where they are fitted
        return OnOff(counts, other.counts, np.where(other.worth > 0, other.worth, 1.0))
    if statistic == "marginal":
        return MarginalBackground(counts, other.counts, np.where(other.worth > 0, other.worth, 1.0))
    sigma = other.worth * np.sqrt(other.variance + other.systematic)
    # groups whose background has no error are refused where they are fitted
    return PoissonGauss(counts, other.worth * other.counts, np.where(np.isfinite(sigma), sigma, NO_ERROR))
