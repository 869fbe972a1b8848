r"""Profile likelihood: intervals inside which the statistic rises by no more than delta.

The profile of a parameter is the best statistic that is left when it is held at a value,

.. math:: \Delta(x) = 2 \ln L(\hat\theta) - 2 \max_{\theta: \theta_i = x} \ln L(\theta) .

Its interval ends where the profile reaches delta (Wilks 1938, Ann. Math. Stat. 9, 60; in astronomy Lampton,
Margon & Bowyer 1976, ApJ 208, 177): what XSPEC's ``error`` and MINOS of Minuit compute. The square root of the profile
is nearly a straight line, along which both ends of all parameters are sought at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.posterior import Posterior
from skyfold.profiles.held_fits import (
    FARTHEST,
    Entry,
    at_bounds,
    best_fit,
    climb_held,
    entries,
    entry_names,
    jacobian,
    latent_covariance,
)
from skyfold.profiles.intervals import ProfileInterval, ProfileIntervals
from skyfold.results.predictive import flat_values

#: How closely the statistic must reach delta at the ends.
_CLOSE = 1e-4
#: How far the statistic must fall to be called better, or to be called not monotonic.
_BETTER, _DIP = 1e-3, 1e-2
#: Most trial values on each side, and most starts afresh from a better fit.
_MAX_TRIALS, _MAX_RESTARTS = 60, 10
#: Where the profile is looked at once more, in units of the distance from the best fit to the end of the interval.
_LOOKS = (0.5, 1.4, 2.0, 3.0)


def profile_intervals(
    posterior: Posterior,
    names: Sequence[str] | str | None = None,
    delta: float = 2.706,
    seed: int = 0,
    *,
    start: np.ndarray | None = None,
) -> ProfileIntervals:
    """Profile-likelihood intervals, with symmetric errors and correlations beside them.

    Priors count by their support only: a bound that the statistic does not exclude makes an interval one-sided. When a
    better fit turns up on the way everything starts again from there, and the result says so.

    Parameters
    ----------
    posterior : Posterior
    names : names of parameters or of entries of vector parameters, optional
        By default all that can be held at a value.
    delta : float
        Rise of the statistic (-2 ln L) at the ends: 1 for 68%, 2.706 for 90%, 6.635 for 99% of one parameter.
    seed : int
        Of the search for the best fit.
    start : (ndim,) array, optional
        Latent vector near the best fit, such as ``result.draws.best``; saves the search.

    Returns
    -------
    ProfileIntervals

    Raises
    ------
    SkyfoldError
        If there is no such parameter, or it cannot be held at a value.

    Examples
    --------
    >>> print(sf.profile_intervals(posterior, ["powerlaw.norm"], delta=2.706))  # doctest: +SKIP
    """
    if not delta > 0:
        raise SkyfoldError(f"delta is the rise of the statistic at the ends of an interval: {delta:g} is not positive.")
    chosen = entries(posterior, names)
    modes = best_fit(posterior, seed, start)
    fits, restarts = 0, 0
    while True:
        modes.z[0] = at_bounds(posterior, modes.z[0])
        sides = _sides(posterior, chosen, modes.z[0], delta)
        better, spent = _search(posterior, sides, modes.log_likelihood[0])
        fits += spent
        if better is None or restarts == _MAX_RESTARTS:
            break
        restarts += 1
        modes = best_fit(posterior, seed, better)
    return _table(posterior, chosen, sides, modes, delta, restarts, better is not None, fits, everything=names is None)


class _Side:
    """The search for one end of one interval, outwards from the best fit.

    Distances s are in the coordinate in which the entry is followed; `r` is the square root of the profile.
    """

    def __init__(self, entry: Entry, sign: int, z: np.ndarray, sd: float, delta: float) -> None:
        self.entry, self.sign, self.delta = entry, sign, delta
        self.origin = float(entry.to_follow(z[entry.index]))
        limit = entry.high if sign > 0 else entry.low
        self.has_bound = bool(np.isfinite(limit))
        self.farthest = abs(float(entry.to_follow(limit)) - self.origin) if self.has_bound else FARTHEST
        self.s, self.rise, self.z = [0.0], [0.0], [z]
        self.trials = 0
        self.end: float | None = None
        self.at_bound = self.jumps = self.lost = False
        guess = np.sqrt(delta) * sd
        self.first = min(guess if np.isfinite(guess) and guess > 0 else np.inf, 0.5 * self.farthest)
        self._widths: list[float] = []
        at_edge = self.has_bound and abs(z[entry.index] - limit) < 1e-9
        if at_edge or self.farthest <= 0:
            self.at_bound, self.end = True, 0.0

    def trial(self) -> float:
        """Distance at which to look next."""
        low, high = self._bracket()
        target = np.sqrt(self.delta)
        s, r = self.s[low], np.sqrt(max(self.rise[low], 0.0))
        if high is None:
            if s == 0:
                return self.first
            factor = 5.0 if r <= 0 else np.clip(1.02 * target / r, 1.1, 5.0)
            return float(min(factor * s, self.farthest))
        width = self.s[high] - s
        self._widths.append(width)
        slow = len(self._widths) > 3 and width > 0.5 * self._widths[-4]
        if slow or not np.isfinite(self.rise[high]):
            return s + 0.5 * width
        slope = np.sqrt(self.rise[high]) - r
        return float(s + np.clip((target - r) / slope, 1e-3, 1.0 - 1e-3) * width)

    def add(self, s: float, rise: float, z: np.ndarray) -> None:
        """Take a value of the profile in."""
        self.s.append(s)
        self.rise.append(rise)
        self.z.append(z)

    def judge(self) -> None:
        """See whether the end is found."""
        self.trials += 1
        s, rise = self.s[-1], self.rise[-1]
        low, high = self._bracket()
        if abs(rise - self.delta) < _CLOSE:
            self.end = s
        elif high is None and s >= self.farthest:
            self.at_bound, self.end = True, s
        elif high is not None and self.s[high] - self.s[low] < 1e-10 * max(self.s[high], 1e-10):
            self.jumps, self.end = True, s
        elif self.trials >= _MAX_TRIALS:
            self.lost, self.end = True, s

    def nearest(self, s: float) -> np.ndarray:
        """Latent vector of the fit nearest to this distance."""
        finite = [k for k in range(len(self.s)) if np.isfinite(self.rise[k])]
        return self.z[min(finite, key=lambda k: abs(self.s[k] - s))]

    def latent(self, s: float) -> float:
        """Latent coordinate of the entry at this distance."""
        if self.has_bound and s >= self.farthest:
            return self.entry.high if self.sign > 0 else self.entry.low
        return float(self.entry.to_latent(self.origin + self.sign * s))

    @property
    def rise_at_end(self) -> float:
        """Profile at the end."""
        return max(self.rise[int(np.argmin(np.abs(np.array(self.s) - (self.end or 0.0))))], 0.0)

    def dips(self) -> tuple[bool, bool]:
        """Whether the profile falls on its way out, and whether it does so below delta past the end."""
        order = np.argsort(self.s, kind="stable")
        s, rise = np.array(self.s)[order], np.array(self.rise)[order]
        falls = bool(np.any(np.minimum(rise[1:], 1e300) < np.maximum.accumulate(rise)[:-1] - _DIP))
        past = s > (self.end or 0.0) * (1.0 + 1e-9)
        return falls, bool(not self.at_bound and np.any(rise[past] < self.delta - _DIP))

    def _bracket(self) -> tuple[int, int | None]:
        """Farthest trial before the profile first reaches delta, and the nearest at which it has."""
        above = [k for k in range(len(self.s)) if self.rise[k] >= self.delta]
        high = min(above, key=lambda k: self.s[k]) if above else None
        reach = self.s[high] if high is not None else np.inf
        below = [k for k in range(len(self.s)) if self.s[k] < reach and self.rise[k] < self.delta]
        return max(below, key=lambda k: self.s[k]), high


def _sides(posterior: Posterior, chosen: list[Entry], z: np.ndarray, delta: float) -> list[_Side]:
    covariance = latent_covariance(posterior, z)
    sides = []
    for e in chosen:
        sd = np.sqrt(covariance[e.index, e.index])
        if e.sharp:
            sd = sd * np.exp(-0.5 * z[e.index] ** 2) / np.sqrt(2.0 * np.pi)
        sides += [_Side(e, sign, z, float(sd), delta) for sign in (-1, 1)]
    return sides


def _search(posterior: Posterior, sides: list[_Side], best: float) -> tuple[np.ndarray | None, int]:
    """Find all ends; return a better fit where one turned up (and give up), and the number of fits made."""
    fits = 0
    while active := [side for side in sides if side.end is None]:
        better = _look(posterior, active, [side.trial() for side in active], best)
        fits += len(active)
        if better is not None:
            return better, fits
        for side in active:
            side.judge()
    for factor in _LOOKS:
        found = [side for side in sides if side.end and not (side.at_bound and factor > 1)]
        where = [min(factor * (side.end or 0.0), side.farthest) for side in found]
        if found:
            better = _look(posterior, found, where, best)
            fits += len(found)
            if better is not None:
                return better, fits
    return None, fits


def _look(posterior: Posterior, sides: list[_Side], where: list[float], best: float) -> np.ndarray | None:
    """Take the profile in at one distance of each side; return a fit that is better than the best, if any."""
    held = np.zeros((len(sides), posterior.ndim), dtype=bool)
    at = np.zeros(held.shape)
    for row, (side, s) in enumerate(zip(sides, where, strict=True)):
        held[row, side.entry.index], at[row, side.entry.index] = True, side.latent(s)
    starts = np.stack([side.nearest(s) for side, s in zip(sides, where, strict=True)])
    z, value, _ = climb_held(posterior, starts, held, at)
    rise = 2.0 * (best - value)
    for row, side in enumerate(sides):
        side.add(where[row], float(rise[row]), z[row])
    least = int(np.argmin(rise))
    return z[least] if rise[least] < -_BETTER else None


# -- the table -------------------------------------------------------------------------------------------------------


def _table(
    posterior: Posterior,
    chosen: list[Entry],
    sides: list[_Side],
    modes: Any,
    delta: float,
    restarts: int,
    unfinished: bool,
    fits: int,
    *,
    everything: bool,
) -> ProfileIntervals:
    z = modes.z[0]
    latent = latent_covariance(posterior, z)
    rows = [e.position for e in chosen]
    index = [e.index for e in chosen]
    slope = jacobian(posterior, z[None])[0, rows, index]
    covariance = latent[np.ix_(index, index)] * np.outer(slope, slope)
    best = flat_values(posterior, z[None])[0, rows]
    sd = np.sqrt(np.diagonal(covariance))
    found = []
    for i, e in enumerate(chosen):
        found.append(_interval(posterior, e, sides[2 * i : 2 * i + 2], modes, float(best[i]), float(sd[i]), delta))
    messages = []
    left_out = [name for name in entry_names(posterior) if name not in {e.name for e in chosen}]
    if everything and left_out:
        messages.append(f"priors tie {', '.join(left_out)} to other parameters, so that they cannot be held at a value")
    if restarts:
        messages.append(
            f"a better fit was found {restarts} times on the way; everything is given for the last"
            if restarts > 1
            else "a better fit was found on the way; everything is given for that one"
        )
    if unfinished:
        messages.append(f"after {restarts} better fits there was still a better one: the best fit is not known")
    if not modes.converged[0]:
        messages.append("the best fit is not a stationary point to working precision")
    messages += [f"{one.name}: {'; '.join(one.notes)}" for one in found if not one.converged]
    statistic = float(sum(np.asarray(v) for v in posterior.statistics(z).values()))
    return ProfileIntervals(
        intervals=tuple(found),
        delta=delta,
        statistic=statistic,
        statistic_name=posterior.statistic_name,
        dof=posterior.n_data - posterior.ndim,
        covariance=covariance,
        latent=z,
        restarts=restarts,
        converged=bool(modes.converged[0]) and not unfinished and all(one.converged for one in found),
        messages=tuple(messages),
        fits=fits,
    )


def _interval(
    posterior: Posterior, entry: Entry, sides: list[_Side], modes: Any, best: float, sd: float, delta: float
) -> ProfileInterval:
    ends, notes, monotonic, converged = [], [], True, True
    for side in sides:
        word = "below" if side.sign < 0 else "above"
        z = modes.z[0].copy()
        z[entry.index] = side.latent(side.end or 0.0)
        value = float(flat_values(posterior, z[None])[0, entry.position])
        if side.at_bound and not side.has_bound:
            notes.append(f"not constrained {word}")
            value = side.sign * np.inf
        elif side.at_bound:
            value = entry.support[0 if side.sign < 0 else 1]
            notes.append(f"the prior's bound {value:.6g} is reached {word}, at Delta {side.rise_at_end:.3g}")
        if side.jumps:
            converged = False
            notes.append(f"the profile jumps past delta {word}")
        if side.lost:
            converged = False
            notes.append(f"no end was found {word} in {_MAX_TRIALS} trials")
        falls, again = side.dips()
        if again:
            notes.append(f"the profile falls below delta again further {word}: the interval is not the only one")
        elif falls:
            notes.append(f"the profile is not monotonic {word}")
        monotonic = monotonic and not (falls or again)
        ends.append((value, side))
    for k in range(1, len(modes.z)):
        drop = 2.0 * (modes.log_likelihood[0] - modes.log_likelihood[k])
        t = float(entry.to_follow(modes.z[k, entry.index]))
        away = sides[1] if t > sides[1].origin else sides[0]
        if drop < delta and abs(t - away.origin) > (away.end or 0.0) * (1.0 + 1e-6) and not away.at_bound:
            other = float(flat_values(posterior, modes.z[k : k + 1])[0, entry.position])
            notes.append(f"another maximum at {other:.4g}, at Delta {drop:.3g}, lies outside the interval")
            monotonic = False
    (lower, below), (upper, above) = sorted(ends, key=lambda end: end[0])
    bounded = (below.at_bound, above.at_bound)
    return ProfileInterval(entry.name, entry.unit, best, sd, lower, upper, bounded, monotonic, converged, tuple(notes))
