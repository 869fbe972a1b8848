"""Intervals: the table of symmetric errors, profile-likelihood intervals and correlations of a best fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from skyfold.results.notation import interval, with_errors
from skyfold.wording import text_table, unknown_name


@dataclass(frozen=True)
class ProfileInterval:
    """Profile-likelihood interval of one parameter.

    Attributes
    ----------
    name, unit : as in tables.
    best : value at the maximum of the likelihood.
    sd : symmetric standard error from the Fisher information; NaN at a bound and where nothing constrains it.
    lower, upper : where the statistic has risen by delta; the prior's bound where it does not rise that far before it,
        infinite where it never does.
    bounded : whether `lower` and `upper` are such bounds, so that the interval is one-sided.
    monotonic : whether the statistic only rises away from the best fit, wherever it was looked at.
    converged : whether both ends were found.
    notes : what a reader must know.
    """

    name: str
    unit: str
    best: float
    sd: float
    lower: float
    upper: float
    bounded: tuple[bool, bool]
    monotonic: bool
    converged: bool
    notes: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[float, float]:
        """Distance from the best value to the lower and to the upper end."""
        return self.best - self.lower, self.upper - self.best


@dataclass(frozen=True)
class ProfileIntervals:
    """Profile-likelihood intervals of a best fit; printing gives the table.

    Attributes
    ----------
    intervals : one per parameter.
    delta : rise of the statistic at their ends.
    statistic, statistic_name, dof : at the best fit.
    covariance : (n, n) of the parameters of `intervals`, from the Fisher information; NaN where it is not known.
    latent : (ndim,) latent vector of the best fit.
    restarts : how often a better fit was found on the way.
    converged : whether everything was found as it should be; `messages` says what not.
    messages : what a user must know.
    fits : constrained fits made.
    """

    intervals: tuple[ProfileInterval, ...]
    delta: float
    statistic: float
    statistic_name: str
    dof: int
    covariance: np.ndarray
    latent: np.ndarray
    restarts: int
    converged: bool
    messages: tuple[str, ...] = ()
    fits: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(i.name for i in self.intervals)

    @property
    def correlation(self) -> np.ndarray:
        """Correlation matrix (n, n) that belongs to `covariance`."""
        sd = np.sqrt(np.diagonal(self.covariance))
        return self.covariance / np.outer(sd, sd)

    @property
    def probability(self) -> float:
        """Coverage of each interval by Wilks's theorem, for one parameter."""
        return math.erf(math.sqrt(self.delta / 2.0))

    def __getitem__(self, name: str) -> ProfileInterval:
        for one in self.intervals:
            if one.name == name:
                return one
        raise unknown_name(name, self.names, "parameter")

    def __iter__(self) -> Iterator[ProfileInterval]:
        return iter(self.intervals)

    def __len__(self) -> int:
        return len(self.intervals)

    def to_astropy(self) -> Any:
        """Return an astropy Table: name, unit, best, sd, lower, upper, one_sided, note."""
        from astropy.table import Table

        columns: dict[str, list[Any]] = {
            "name": [i.name for i in self],
            "unit": [i.unit for i in self],
            **{key: [getattr(i, key) for i in self] for key in ("best", "sd", "lower", "upper")},
            "one_sided": [any(i.bounded) for i in self],
            "note": ["; ".join(i.notes) for i in self],
        }
        meta = {
            "delta": self.delta,
            "statistic": {"name": self.statistic_name, "value": self.statistic, "dof": self.dof},
            "converged": self.converged,
            "messages": list(self.messages),
        }
        return Table(columns, meta=meta)

    def __str__(self) -> str:
        lines = [] if self.converged else ["*** NOT CONVERGED: do not use these numbers ***"]
        lines += [("*** " if not self.converged else "note: ") + m for m in self.messages]
        lines.append(
            f"{self.statistic_name} {self.statistic:.3f} for {self.dof} dof; intervals to Delta {self.statistic_name} "
            f"= {self.delta:g} ({100 * self.probability:.3g}% for one parameter)"
        )
        header = ("parameter", "unit", "best fit", "standard error", "profile error", "interval", "note")
        rows = [_row(i) for i in self]
        kept = [k for k in range(len(header)) if any(r[k] for r in rows)]
        lines += ["", text_table([header[k] for k in kept], [[r[k] for k in kept] for r in rows])]
        if len(self) > 1 and np.any(np.isfinite(self.covariance)):
            lines += ["", "correlation", _matrix(self.names, self.correlation)]
        return "\n".join(lines)


def _row(one: ProfileInterval) -> tuple[str, ...]:
    below, above = one.errors
    sides = [abs(e) for e in (below, above) if math.isfinite(e) and e != 0]
    size = one.sd if math.isfinite(one.sd) else max(sides, default=math.nan)
    shown, errors = with_errors(one.best, above, below)
    if shown == "-" or errors == "-" or not all(map(math.isfinite, (below, above))):
        shown, errors = with_errors(one.best, size, size)[0], ""
    symmetric = with_errors(one.best, one.sd, one.sd)[1]
    symmetric = "" if symmetric == "-" else f"+- {symmetric.split()[0][1:]}"
    if all(one.bounded):
        errors, where = "", "not constrained"
    elif one.bounded[0]:
        errors, where = "", f"< {_limit(one.upper, size)}"
    elif one.bounded[1]:
        errors, where = "", f"> {_limit(one.lower, size)}"
    else:
        where = interval(one.lower, one.upper, size)
    return one.name, one.unit, shown, symmetric, errors, where, "; ".join(one.notes)


def _limit(value: float, size: float) -> str:
    """Write a limit with one digit more than a value with an error of this size has."""
    return with_errors(value, 0.1 * size, 0.1 * size)[0]


def _matrix(names: tuple[str, ...], correlation: np.ndarray) -> str:
    rows = [
        [str(i + 1), name, *(f"{c:+.3f}" if math.isfinite(c) else "-" for c in correlation[i, : i + 1])]
        + [""] * (len(names) - i - 1)
        for i, name in enumerate(names)
    ]
    return text_table(["", "", *(str(i + 1) for i in range(len(names)))], rows)
