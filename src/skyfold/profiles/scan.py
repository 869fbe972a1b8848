"""Scan: the best statistic on a grid of held values, as XSPEC's ``steppar``.

All points of the grid are fitted side by side, from the best fit and from the other maxima of the likelihood; then
every point starts once more from the fits of its neighbours, until none of them gets better. So the grid does not
depend on the direction in which it is walked, and no point is left in a maximum that a neighbour has left behind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.posterior import Posterior
from skyfold.profiles.held_fits import Entry, best_fit, climb_held, entries, latent_of
from skyfold.results.description import ParameterDescription
from skyfold.results.predictive import flat_values
from skyfold.wording import unknown_name

#: Fall of the statistic that counts as better.
_BETTER = 1e-3
#: Most rounds of starts from neighbours, and most maxima that every point starts from.
_MAX_ROUNDS, _MAX_MODES = 50, 4


@dataclass(frozen=True)
class ScanResult:
    """Statistic on a grid of held values, everything else being fitted.

    Attributes
    ----------
    grid : values of the held parameters by name, each (n_i,), in the order of the axes.
    statistic : (n_1, n_2, ...) best statistic at every point; infinite where no fit is possible.
    best_statistic : the lowest statistic there is, on the grid or off it.
    best : values of all parameters there, by entry.
    fitted : values (n_1, n_2, ...) of all parameters at every point, by entry.
    units : by entry.
    statistic_name : such as ``"C-stat"``.
    latent : (n_1, n_2, ..., ndim) latent vectors.
    fits_converged : (n_1, n_2, ...) which fits are stationary.
    converged, messages : whether the scan is to be trusted, and what a user must know.
    fits : held fits made.
    """

    grid: dict[str, np.ndarray]
    statistic: np.ndarray
    best_statistic: float
    best: dict[str, float]
    fitted: dict[str, np.ndarray]
    units: dict[str, str]
    statistic_name: str
    latent: np.ndarray
    fits_converged: np.ndarray
    converged: bool
    messages: tuple[str, ...] = ()
    fits: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the held parameters."""
        return tuple(self.grid)

    @property
    def delta(self) -> np.ndarray:
        """Rise of the statistic (n_1, n_2, ...) over the best one."""
        return self.statistic - self.best_statistic

    def table(self) -> Any:
        """Return one row per point: the values of all parameters, ``statistic``, ``delta``, ``fitted``.

        Returns
        -------
        skyfold.results.tables.PlotTable
        """
        from skyfold.results.tables import PlotTable

        columns = {name: values.ravel() for name, values in self.fitted.items()}
        columns.update(
            statistic=self.statistic.ravel(), delta=self.delta.ravel(), fit_converged=self.fits_converged.ravel()
        )
        meta = {
            "grid": {k: v.tolist() for k, v in self.grid.items()},
            "best": dict(self.best),
            "best_statistic": self.best_statistic,
            "statistic_name": self.statistic_name,
            "converged": self.converged,
            "messages": list(self.messages),
        }
        return PlotTable(columns, {k: u for k, u in self.units.items() if u}, meta)

    def plot(self, **options: Any) -> Any:
        """Draw the scan; see `skyfold.plots.scan.scan`."""
        from skyfold.results.figures import draw

        return draw("scan", self, **options)

    def __str__(self) -> str:
        axes = ", ".join(f"{n} {v.min():g} .. {v.max():g} ({len(v)})" for n, v in self.grid.items())
        where = np.unravel_index(int(np.argmin(self.statistic)), self.statistic.shape)
        least = ", ".join(f"{n} = {v[i]:g}" for (n, v), i in zip(self.grid.items(), where, strict=True))
        lines = [] if self.converged else ["*** NOT CONVERGED: do not use these numbers ***"]
        lines += [("*** " if not self.converged else "note: ") + m for m in self.messages]
        lines += [
            f"scan of {axes}: {self.statistic_name} {self.best_statistic:.3f} at best",
            f"lowest on the grid: {self.statistic.min():.3f} at {least}; {self.fits} fits",
        ]
        return "\n".join(lines)


def scan(
    posterior: Posterior, grid: Mapping[str, Any], seed: int = 0, *, start: np.ndarray | None = None
) -> ScanResult:
    """Best statistic at every point of a grid of held values.

    Priors count by their support only.

    Parameters
    ----------
    posterior : Posterior
    grid : mapping of str to values
        Values, in the parameter's unit, of the one, two or more parameters to hold; entries of vector parameters are
        named as in tables, ``"lines.norm[2]"``.
    seed : int
        Of the search for the best fit.
    start : (ndim,) array, optional
        Latent vector near the best fit, such as ``result.draws.best``; saves the search.

    Returns
    -------
    ScanResult

    Raises
    ------
    SkyfoldError
        If a parameter is not known or cannot be held, or values lie outside its prior.

    Examples
    --------
    >>> sf.scan(posterior, {"powerlaw.norm": np.linspace(1e-4, 4e-4, 31)}).plot()  # doctest: +SKIP
    """
    held, axes = _axes(posterior, grid)
    shape = tuple(len(a) for a in axes.values())
    mesh = np.meshgrid(*[latent_of(posterior, e, a) for e, a in zip(held, axes.values(), strict=True)], indexing="ij")
    at = np.zeros((int(np.prod(shape)), posterior.ndim))
    mask = np.zeros(at.shape, dtype=bool)
    for entry, values in zip(held, mesh, strict=True):
        at[:, entry.index], mask[:, entry.index] = values.ravel(), True
    modes = best_fit(posterior, seed, start)
    z, value, good, fits = _fit(posterior, shape, mask, at, modes.z)
    messages: list[str] = []
    settled = fits >= 0
    highest, best = modes.log_likelihood[0], modes.z[0]
    if 2.0 * (value.max() - highest) > _BETTER:
        again = best_fit(posterior, seed, z[int(np.argmax(value))])
        gain = 2.0 * (again.log_likelihood[0] - highest)
        messages.append(f"the grid led to a fit that is better by {gain:.3g} than the one it started from")
        best = again.z[0]
        z, value, good, more = _fit(posterior, shape, mask, at, again.z, (z, value, good))
        settled, fits = more >= 0, abs(fits) + abs(more)
    bad = ~good & np.isfinite(value)
    relevant = bad & (2.0 * (value.max() - value) < 25.0)
    if relevant.any():
        messages.append(f"{relevant.sum()} of {len(value)} fits of the grid are not stationary to working precision")
    if not settled:
        messages.append(f"after {_MAX_ROUNDS} rounds points still got better from their neighbours")
    if not np.all(np.isfinite(value)):
        messages.append(f"at {np.sum(~np.isfinite(value))} points of the grid the likelihood is not finite")
    return _result(posterior, axes, shape, z, value, good, best, bool(settled and not relevant.any()), messages, fits)


def _axes(posterior: Posterior, grid: Mapping[str, Any]) -> tuple[list[Entry], dict[str, np.ndarray]]:
    if not grid:
        raise SkyfoldError('A scan holds at least one parameter: sf.scan(posterior, {"powerlaw.norm": values}).')
    axes = {name: np.atleast_1d(np.asarray(values, dtype=float)) for name, values in grid.items()}
    held = []
    for name, values in axes.items():
        found = entries(posterior, [name])
        if len(found) != 1:
            raise unknown_name(name, [e.name for e in found], "single parameter")
        if values.ndim != 1 or not len(values) or not np.all(np.isfinite(values)):
            raise SkyfoldError(f"The values of {name} in a scan must be a list of finite numbers.")
        held.append(found[0])
    return held, axes


def _fit(
    posterior: Posterior,
    shape: tuple[int, ...],
    mask: np.ndarray,
    at: np.ndarray,
    modes: np.ndarray,
    known: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Fit every point; the number of fits is negative when points still got better in the last round."""
    n, fits = len(at), 0
    value = np.full(n, -np.inf)
    z, good = np.where(mask, at, modes[0]), np.zeros(n, dtype=bool)
    if known is not None:
        z, value, good = (a.copy() for a in known)

    def improve(rows: np.ndarray, starts: np.ndarray) -> np.ndarray:
        new_z, new_value, new_good = climb_held(posterior, starts, mask[rows], at[rows])
        better = (new_value > value[rows] + 1e-9) | (new_good & ~good[rows] & (new_value > value[rows] - 1e-9))
        gained = 2.0 * (new_value - value[rows]) > _BETTER
        won = rows[better]
        z[won], value[won], good[won] = new_z[better], new_value[better], new_good[better]
        return rows[gained]

    changed = np.zeros(n, dtype=bool)
    for mode in modes[:_MAX_MODES]:
        changed[improve(np.arange(n), np.repeat(mode[None], n, axis=0))] = True
        fits += n
    if known is not None:
        changed[:] = True
    pairs = _neighbours(shape)
    for _ in range(_MAX_ROUNDS):
        # only a neighbour that has just become better can teach anything new
        teaching = pairs[changed[pairs[:, 1]]]
        if not len(teaching):
            return z, value, good, fits
        changed = np.zeros(n, dtype=bool)
        for direction in np.unique(teaching[:, 2]):
            rows, from_row = teaching[teaching[:, 2] == direction, :2].T
            changed[improve(rows, z[from_row])] = True
            fits += len(rows)
    return z, value, good, -fits if changed.any() else fits


def _neighbours(shape: tuple[int, ...]) -> np.ndarray:
    """Pairs of neighbouring points of a grid and the direction between them, (m, 3)."""
    number = np.arange(int(np.prod(shape))).reshape(shape)
    found = [np.empty((0, 3), dtype=int)]
    for axis in range(len(shape)):
        first = np.take(number, range(shape[axis] - 1), axis=axis).ravel()
        second = np.take(number, range(1, shape[axis]), axis=axis).ravel()
        for direction, (one, two) in enumerate(((first, second), (second, first))):
            found.append(np.stack([one, two, np.full(len(one), 2 * axis + direction)], axis=1))
    return np.concatenate(found)


def _result(
    posterior: Posterior,
    axes: dict[str, np.ndarray],
    shape: tuple[int, ...],
    z: np.ndarray,
    value: np.ndarray,
    good: np.ndarray,
    best: np.ndarray,
    converged: bool,
    messages: list[str],
    fits: int,
) -> ScanResult:
    described = [(name, p.label.unit) for p in posterior.parameters for name in ParameterDescription.of(p).entries]
    columns, own = flat_values(posterior, z).T, flat_values(posterior, best[None])[0]
    name_of = [name for name, _ in described]
    reference = float(np.asarray(posterior.log_likelihood(best)))
    statistic_there = float(sum(np.asarray(v) for v in posterior.statistics(best).values()))
    # the statistic and -2 ln L differ by what does not depend on the parameters
    statistic = statistic_there + 2.0 * (reference - value)
    return ScanResult(
        grid=axes,
        statistic=statistic.reshape(shape),
        best_statistic=min(statistic_there, float(statistic.min())),
        best=dict(zip(name_of, own.tolist(), strict=True)),
        fitted={name: column.reshape(shape) for name, column in zip(name_of, columns, strict=True)},
        units=dict(described),
        statistic_name=posterior.statistic_name,
        latent=z.reshape(*shape, -1),
        fits_converged=good.reshape(shape),
        converged=converged,
        messages=tuple(messages),
        fits=abs(fits),
    )
