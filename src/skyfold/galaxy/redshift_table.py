r"""Table of populations seen through filters at every redshift: photometry of a free redshift without spectra.

At each node of a grid in :math:`x = \ln(1 + z)` every population is contracted with the filters (and with what lies on
the way), the dust inside a band standing as a polynomial through k wavelengths, as in `skyfold.galaxy.bands`. Between
the nodes the table is cubic in x. Distance and the age of the Universe stay outside of it. What both leave out is
measured beforehand, for every population, between the nodes of redshift and for dust that the prior allows: the light
of a galaxy is a sum of populations with positive weights, so its error is at most that of the worst population. Errors
are relative to the flux in the band, or to a hundredth of that in the population's brightest band where that is more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.galaxy.bands import Curves
from skyfold.galaxy.coverage import check_bands
from skyfold.galaxy.filters import Filter
from skyfold.galaxy.galaxy import Galaxy
from skyfold.galaxy.metallicity import ConstantMetallicity
from skyfold.parameters import Parameter, is_symbol, parameters_in

#: Steps in ln(1 + z) that are tried, and numbers of dust nodes per band and on either side of it.
_STEPS = (8e-3, 4e-3, 3e-3, 2e-3, 1.5e-3)
_NODES = ((2, 0), (3, 0), (3, 2), (4, 2), (4, 6))
#: Redshifts between the nodes and draws of dust that errors are measured at.
_CHECKS, _TRIALS = 40, 12
#: Share of a filter's light on either side of the range that its dust nodes span.
_TAIL = 0.002
#: Share of a population's brightest band that a fainter band's errors are relative to.
_DARK = 1e-2
#: Largest table, in numbers.
_LARGEST = 2.5e8


class RedshiftTable(eqx.Module):
    """Populations contracted with filters on a grid of redshifts.

    Attributes
    ----------
    light : (n_z, n_met, n_age, n_node) Lsun/Hz per Msun formed, seen through the bands, for dust that is one at a node;
        32-bit floats, which hold it to 6e-8.
    nodes : (n_node,) ln of the observed wavelengths at which the dust is evaluated, Angstrom.
    members : (n_node, n_band) one for the nodes of a band.
    start, step : ln(1 + z) of the first node that may be interpolated from, and the grid's step.
    error : largest relative error of any population's flux that was found, see the module.
    redshifts : range of redshifts in which it holds.
    """

    light: Any
    nodes: Any
    members: Any
    start: Any
    step: Any
    error: float = eqx.field(static=True)
    redshifts: tuple[float, float] = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        model: Galaxy,
        filters: Sequence[Any],
        *,
        redshifts: tuple[float, float] | None = None,
        tolerance: float = 5e-4,
    ) -> Self:
        """Contract the populations of a galaxy with filters.

        Parameters
        ----------
        model : galaxy; of its parameters only those of the gas on the way matter, which must be fixed.
        filters : names, files or `Filter` objects, one per band.
        redshifts : lowest and highest redshift; default the support of the model's prior.
        tolerance : largest relative error of any population's flux.

        Raises
        ------
        SkyfoldError
            If dust or gas send out light, what lies on the way has free parameters, the redshifts have no limits, a
            filter reaches beyond the populations, or the tolerance cannot be met.
        """
        low, high = _checked(model, redshifts)
        curves = tuple(Filter.load(f) for f in ([filters] if isinstance(filters, str) else filters))
        check_bands(model, curves, (low, high))
        exact = _Exact(model, curves, low, high)
        dust, dust_error = exact.dust_nodes(0.5 * tolerance)
        for step in _STEPS:
            step_error = exact.step_error(step)
            if step_error < 0.5 * tolerance:
                break
        error, grid = dust_error + step_error, exact.grid(step)
        at = np.concatenate([d.at for d in dust])
        size = len(grid) * len(exact.flux) * len(at)
        if error > tolerance or size > _LARGEST:
            raise SkyfoldError(
                f"A table of redshifts {low:g} to {high:g} would have {size:.1e} numbers and an error of {error:.1e} "
                f"({dust_error:.1e} by the dust, {step_error:.1e} by the steps), and {tolerance:.1e} is allowed. Allow "
                "a larger tolerance=, or use fewer redshifts."
            )
        light = np.stack([exact.contracted(float(x), dust).astype(np.float32) for x in grid])
        members = np.concatenate([np.tile(row, (len(d.at), 1)) for row, d in zip(np.eye(len(dust)), dust, strict=True)])
        n_met, n_age = np.shape(model.ssp.flux)[:2]
        return cls(
            jnp.asarray(light.reshape(len(grid), n_met, n_age, -1)),
            at,
            members,
            float(grid[1]),
            float(step),
            float(error),
            (float(low), float(high)),
        )

    @property
    def n_band(self) -> int:
        """Number of bands."""
        return int(self.members.shape[1])

    def fold(self, model: Any) -> jax.Array:
        """Flux densities of a galaxy, nJy, (n_band,)."""
        u = (jnp.log1p(model.redshift) - self.start) / self.step
        i = jnp.clip(jnp.floor(u), 0, self.light.shape[0] - 4).astype(int)
        u = u - i
        cubic = jnp.stack(
            [
                -u * (u - 1.0) * (u - 2.0) / 6.0,
                (u + 1.0) * (u - 1.0) * (u - 2.0) / 2.0,
                -(u + 1.0) * u * (u - 2.0) / 2.0,
                (u + 1.0) * u * (u - 1.0) / 6.0,
            ]
        )
        weights = model.weights()
        n_met, n_age, n_node = self.light.shape[1:]
        if isinstance(model.metallicity, ConstantMetallicity) and n_met > 2:
            # of the hat functions two are not zero
            below = jnp.sum(jnp.asarray(model.ssp.log_z_solar)[1:-1] <= model.metallicity.logzsol)
            weights = jax.lax.dynamic_slice_in_dim(weights, below, 2, axis=1)
            light = jax.lax.dynamic_slice(self.light, (i, below, 0, 0), (4, 2, n_age, n_node))
        else:
            light = jax.lax.dynamic_slice_in_dim(self.light, i, 4, axis=0)
        both = jnp.einsum("ypq,cpqn->ycn", weights.astype(self.light.dtype), light).astype(weights.dtype)
        pieces = jnp.einsum("c,ycn->yn", cubic, both)
        if model.dust is not None:
            pieces = pieces * jnp.stack(model.dust.transmission(jnp.exp(self.nodes) / (1.0 + model.redshift)))
        return model.dimming() * (pieces.sum(axis=0) @ self.members)

    def serves(self, model: Any) -> bool:
        """Whether the redshifts of a model lie in the table."""
        low, high = _limits(model.redshift)
        return bool(low >= self.redshifts[0] - 1e-12 and high <= self.redshifts[1] + 1e-12)


class _Exact:
    """Populations through filters at one redshift, by the weights of `Curves`."""

    def __init__(self, model: Galaxy, filters: Sequence[Filter], low: float, high: float) -> None:
        wave = np.asarray(model.ssp.wave)
        reach = (
            min(f.wave[0] for f in filters) / (1.0 + high) / 1.05,
            max(f.wave[-1] for f in filters) / (1.0 + low) * 1.05,
        )
        inside = np.flatnonzero((wave > reach[0]) & (wave < reach[1]))
        keep = slice(max(inside[0] - 2, 0), inside[-1] + 3)
        self.wave = wave[keep]
        self.flux = np.asarray(model.ssp.flux)[..., keep].reshape(-1, len(self.wave))
        self.curves = jax.tree.map(jnp.asarray, Curves.of(filters))
        self.igm = model.igm
        self.low, self.high = float(np.log1p(low)), float(np.log1p(high))
        self.bands = [_Band.of(f) for f in filters]
        self.dusts = [] if model.dust is None else _dusts(model.dust)

    def grid(self, step: float) -> np.ndarray:
        """Nodes in ln(1 + z), one more than needed at either end."""
        n = int(np.ceil((self.high - self.low) / step)) + 4
        return self.low + step * (np.arange(n) - 1.0)

    def matrix(self, x: float) -> np.ndarray:
        """Weights (n_band, n_wave) at ln(1 + z) = x, what lies on the way included."""
        observed = self.wave * np.exp(x)
        rows = np.asarray(_weights(self.curves, jnp.asarray(observed)))
        return rows if self.igm is None else rows * np.asarray(self.igm.transmission(observed, max(np.expm1(x), 0.0)))

    def contracted(self, x: float, dust: Sequence[_DustNodes] | None = None) -> np.ndarray:
        """Light of the populations (n_pop, n_node), or (n_pop, n_band) without dust."""
        rows = self.matrix(x)
        if dust is not None:
            observed = np.log(self.wave) + x
            rows = np.concatenate([row * d.basis(observed) for row, d in zip(rows, dust, strict=True)])
        return self.flux @ rows.T

    def dust_nodes(self, goal: float) -> tuple[list[_DustNodes], float]:
        """Nodes for the dust in every band, the fewest that meet a goal, and the largest error that is left."""
        if not self.dusts:
            return [_DustNodes(band, 1, 0) for band in self.bands], 0.0
        at = np.linspace(self.low, self.high, 9)
        matrices = np.stack([self.matrix(x) for x in at])
        rest = jnp.asarray(self.wave)
        left = np.stack([np.stack(d.transmission(rest)) for d in self.dusts])
        # (redshift, population, dust, young or old), over the brightest band of each
        shape = (len(at), len(self.flux), *left.shape[:2])
        exact = [np.empty(shape) for _ in self.bands]
        for i, matrix in enumerate(matrices):
            for b, row in enumerate(matrix):
                exact[b][i] = np.tensordot(self.flux, left * row, axes=(1, 2))
        floor = _DARK * np.max(exact, axis=0)
        chosen, worst = [], 0.0
        for b, band in enumerate(self.bands):
            best: tuple[float, _DustNodes | None] = (np.inf, None)
            for k, wings in _NODES:
                nodes = _DustNodes(band, k, wings)
                where = jnp.asarray(np.exp(nodes.at - at[:, None]))
                near = np.stack([np.stack(d.transmission(where)) for d in self.dusts])
                error = 0.0
                for i, x in enumerate(at):
                    model = near[:, :, i] @ nodes.basis(np.log(self.wave) + x)
                    approximate = np.tensordot(self.flux, model * matrices[i, b], axes=(1, 2))
                    error = max(error, _largest(approximate - exact[b][i], exact[b][i], floor[i]))
                if error < best[0]:
                    best = (error, nodes)
                if error < goal:
                    break
            assert best[1] is not None
            chosen.append(best[1])
            worst = max(worst, best[0])
        return chosen, worst

    def step_error(self, step: float) -> float:
        """Largest relative error of the cubic between nodes, at redshifts half-way between them."""
        worst = 0.0
        n = max(int((self.high - self.low) / step) - 1, 1)
        for i in np.unique(np.linspace(0, n - 1, _CHECKS).astype(int)):
            around = [self.contracted(self.low + step * (i + j)) for j in (-1, 0, 1, 2)]
            near = (9.0 * (around[1] + around[2]) - around[0] - around[3]) / 16.0
            exact = self.contracted(self.low + step * (i + 0.5))
            worst = max(worst, _largest(near - exact, exact, _DARK * exact.max(axis=1, keepdims=True)))
        return worst


class _Band(NamedTuple):
    """Range in ln(wavelength) that holds all but a small share of a filter's light, and its ends."""

    first: float
    start: float
    stop: float
    last: float

    @classmethod
    def of(cls, f: Filter) -> _Band:
        x = np.log(f.wave)
        light = np.append(0.0, np.cumsum(0.5 * (f.transmission[1:] + f.transmission[:-1]) * np.diff(x)))
        start, stop = np.interp([_TAIL, 1.0 - _TAIL], light / light[-1], x)
        return cls(float(x[0]), float(start), float(max(stop, start + 1e-6)), float(x[-1]))


class _DustNodes:
    """Functions of wavelength that stand for the dust in one band, and the wavelengths at which it is evaluated.

    A polynomial through the zeros of Chebyshev's over the range that holds nearly all of the light, and, with wings,
    straight lines through more nodes on either side; without, the polynomial's value at the ends holds there.
    """

    def __init__(self, band: _Band, k: int, wings: int) -> None:
        first, start, stop, last = band
        self.band = band
        self.core = 0.5 * (start + stop) - 0.5 * (stop - start) * np.cos(np.pi * (np.arange(k) + 0.5) / k)
        self.blue = np.linspace(first, start, wings + 1)[:-1]
        self.red = np.linspace(stop, last, wings + 1)[1:]
        self.at = np.concatenate([self.core, self.blue, self.red])

    def basis(self, x: np.ndarray) -> np.ndarray:
        """Value (n_node, n) of every node's function at ln(observed wavelength) x (n,)."""
        _, start, stop, _ = self.band
        k, n = len(self.core), len(self.blue)
        y = np.clip(x, start, stop)
        values = np.zeros((len(self.at), len(x)))
        for j in range(k):
            others = np.delete(self.core, j)
            values[j] = np.prod((y[:, None] - others) / (self.core[j] - others), axis=1)
        for outside, nodes, index in (
            (x < start, np.append(self.blue, self.core[0]), [*range(k, k + n), 0]),
            (x > stop, np.append(self.core[-1], self.red), [k - 1, *range(k + n, k + 2 * n)]),
        ):
            if n:
                hats = np.stack([np.interp(x[outside], nodes, row) for row in np.eye(n + 1)])
                values[:, outside] = 0.0
                values[np.ix_(index, outside)] = hats
        return values


def _largest(error: np.ndarray, exact: np.ndarray, floor: np.ndarray) -> float:
    return float(np.max(np.abs(error) / np.maximum(np.maximum(exact, floor), 1e-280)))


@jit
def _weights(curves: Curves, wave: jax.Array) -> jax.Array:
    return curves.weights(wave)


def _dusts(dust: Any) -> list[Any]:
    from skyfold.galaxy.bands import drawn

    return drawn(dust, _TRIALS)


def _limits(redshift: Any) -> tuple[float, float]:
    if isinstance(redshift, Parameter):
        low, high = redshift.prior.support()
        return (-np.inf, np.inf) if is_symbol(low) or is_symbol(high) else (float(np.min(low)), float(np.max(high)))
    return (-np.inf, np.inf) if is_symbol(redshift) else (float(redshift), float(redshift))


def _checked(model: Any, redshifts: tuple[float, float] | None) -> tuple[float, float]:
    reason = ""
    if not isinstance(model, Galaxy):
        reason = "the model is no single galaxy"
    elif model.emission is not None or model.nebular is not None:
        reason = "dust or gas send light out"
    elif any(True for _ in parameters_in(model.igm)):
        reason = "what lies on the way has free parameters"
    if reason:
        raise SkyfoldError(f"There is no table of redshifts: {reason}. Use Photometry(projected=False).")
    low, high = _limits(model.redshift) if redshifts is None else redshifts
    if not (np.isfinite(low) and np.isfinite(high) and 0.0 <= low < high):
        raise SkyfoldError(
            f"A table of redshifts needs limits, 0 or more, and has {low:g} to {high:g}. Give the redshift a prior "
            "with both, such as sf.Uniform(0.01, 3), or say redshifts=(low, high)."
        )
    return low, high
