"""Histories in bins of lookback time, the rate constant in each: continuity and Dirichlet priors."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.galaxy.columns import plain
from skyfold.galaxy.sfh.base import GYR, StarFormationHistory
from skyfold.parameters import Value, parameter, shape_of
from skyfold.priors import Dirichlet, StudentT, Uniform

#: Upper edges of the two youngest bins, Gyr, and the beginning of the oldest in ages of the Universe (Leja 2019).
_YOUNG, _OLDEST = (0.03, 0.1), 0.85


def standard_edges(n_bins: int, age: Any) -> jax.Array:
    """Edges (n_bins + 1,) in lookback time, Gyr: 0, 30 Myr, 100 Myr, equal logarithmic steps to 0.85 age, age."""
    steps = jnp.linspace(0.0, 1.0, n_bins - 2)
    low = jnp.log(_YOUNG[1])
    middle = jnp.exp(low + (jnp.log(_OLDEST * age) - low) * steps)
    return jnp.concatenate([jnp.array([0.0, _YOUNG[0]]), middle, jnp.reshape(jnp.asarray(age, dtype=float), (1,))])


class _Binned(StarFormationHistory):
    """Rate constant between edges in lookback time; a subclass says in which proportion."""

    log_mass: Value = parameter(Uniform(6.0, 12.5), unit="dex(Msun)", description="log10 of the mass formed")
    edges: Any = None

    def _relative(self) -> jax.Array:
        """Rates of the bins in any unit, youngest first."""
        raise NotImplementedError

    def _n_bins(self) -> int:
        raise NotImplementedError

    def _check_edges(self) -> None:
        if self._n_bins() < 4 and self.edges is None:
            raise SkyfoldError(
                f"'{self.name}' has {self._n_bins()} bins; the standard edges need 4 or more. Give edges."
            )
        if self.edges is None or not isinstance(self.edges, np.ndarray):
            return
        good = self.edges.shape == (self._n_bins() + 1,) and self.edges[0] >= 0 and np.all(np.diff(self.edges) > 0)
        if not good:
            raise SkyfoldError(
                f"'{self.name}' has {self._n_bins()} bins; edges must be that number plus one of increasing lookback "
                f"times "
                f"in Gyr, not {self.edges!r}."
            )

    def _table(self, age: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Beginning and end of the bins since the Big Bang, and their rates in Msun/Gyr."""
        back = standard_edges(self._n_bins(), age) if self.edges is None else jnp.minimum(jnp.asarray(self.edges), age)
        start, stop = age - back[1:], age - back[:-1]
        relative = self._relative()
        total = jnp.sum(relative * (stop - start))
        return start, stop, 10.0**self.log_mass * relative / total

    def formed(self, t: jax.Array, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        start, stop, rate = self._table(age)
        x = jnp.clip(t[:, None], start, stop)
        return (x - start) @ rate, 0.5 * (x**2 - start**2) @ rate

    def rate(self, t: jax.Array, age: jax.Array) -> jax.Array:
        start, stop, rate = self._table(age)
        inside = (t[:, None] > start) & (t[:, None] <= stop)
        return jnp.where(inside, rate, 0.0).sum(axis=1) / GYR


def _alike(n: int) -> StudentT:
    """Prior of n ratios of neighbouring rates, dex."""
    return StudentT(2.0, 0.0, np.full(n, 0.3))


class Continuity(_Binned):
    r"""Bins whose rates change little from one to the next.

    .. math:: \log_{10} \frac{\psi_i}{\psi_{i+1}} = r_i, \qquad r_i \sim \mathrm{StudentT}(\nu = 2, 0, 0.3)

    Parameters
    ----------
    log_mass : log10 of the mass formed, Msun.
    log_ratios : (n - 1,) ratios r of neighbouring rates, dex, youngest first; positive where the younger bin forms
        more.
    edges : (n + 1,) lookback times, Gyr, cut at the Big Bang; default 0, 30 Myr, 100 Myr, then equal logarithmic
        steps, the oldest bin from 0.85 of the Universe's age to its beginning. n = 7 by default.

    References
    ----------
    Leja et al. 2019, ApJ 876, 3.
    """

    name: ClassVar[str] = "continuity"
    log_ratios: Value = parameter(
        _alike(6),
        unit="dex",
        description="log10 of the ratio of a bin's rate to the next older",
    )

    def __init__(self, log_mass: Any = None, log_ratios: Any = None, edges: Any = None) -> None:
        self.edges = None if edges is None else plain(f"'{self.name}': edges", edges, "Gyr")
        self.log_mass = self.log_mass if log_mass is None else log_mass
        n = 7 if edges is None else len(self.edges) - 1
        self.log_ratios = _alike(n - 1) if log_ratios is None else log_ratios

    def __check_init__(self) -> None:
        self._check_edges()

    def _n_bins(self) -> int:
        return int(_length(self.log_ratios)) + 1

    def _relative(self) -> jax.Array:
        ratios = jnp.asarray(self.log_ratios)
        return 10.0 ** -jnp.concatenate([jnp.zeros(1), jnp.cumsum(ratios)])


class DirichletBins(_Binned):
    r"""Bins whose shares of the summed rate are Dirichlet.

    .. math:: \psi_i \propto x_i, \qquad x \sim \mathrm{Dirichlet}(\alpha, \ldots, \alpha)

    Parameters
    ----------
    log_mass : log10 of the mass formed, Msun.
    fractions : (n,) shares x of the rates, youngest first; concentration 1 by default.
    edges : as those of `Continuity`.

    References
    ----------
    Leja et al. 2017, ApJ 837, 170.
    """

    name: ClassVar[str] = "dirichlet"
    fractions: Value = parameter(Dirichlet(np.ones(7)), description="share of a bin in the summed rate")

    def __init__(self, log_mass: Any = None, fractions: Any = None, edges: Any = None) -> None:
        self.edges = None if edges is None else plain(f"'{self.name}': edges", edges, "Gyr")
        self.log_mass = self.log_mass if log_mass is None else log_mass
        n = 7 if edges is None else len(self.edges) - 1
        self.fractions = Dirichlet(np.ones(n)) if fractions is None else fractions

    def __check_init__(self) -> None:
        self._check_edges()

    def _n_bins(self) -> int:
        return int(_length(self.fractions))

    def _relative(self) -> jax.Array:
        return jnp.asarray(self.fractions)


def _length(value: Any) -> int:
    shape = shape_of(value)
    if len(shape) != 1:
        raise SkyfoldError(
            f"A history in bins needs a vector parameter, such as sf.StudentT(2, 0, np.full(6, 0.3)), not "
            f"one of shape {shape}."
        )
    return shape[0]
