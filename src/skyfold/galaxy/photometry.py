"""Photometry: flux densities of a galaxy in bands, and magnitudes of a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.axis import Axis
from skyfold.compiled.annotation import Annotation
from skyfold.compiled.jit import jit
from skyfold.component import Sum
from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.galaxy.bands import Cropped, Curves, Seen, contract, contraction_error, drawn
from skyfold.galaxy.catalog_rows import band, open_table
from skyfold.galaxy.columns import AB_JY, flux_densities
from skyfold.galaxy.coverage import BEYOND, check_bands
from skyfold.galaxy.filters import WAVELENGTHS, Filter
from skyfold.galaxy.galaxy import Galaxy
from skyfold.galaxy.igm import warn_of_absorption
from skyfold.galaxy.redshift_table import RedshiftTable
from skyfold.likelihoods.limits import checked_likelihood
from skyfold.observation import Observation
from skyfold.parameters import is_symbol, parameters_in

#: Numbers of nodes per band that are tried for the dust, draws of dust that they are tried on.
_NODES, _TRIALS = (3, 4, 6), 48


@dataclass(frozen=True)
class Bands:
    """What people see of a set of bands.

    Parameters
    ----------
    name : name of the observation.
    filters : curves.
    how : how fluxes are computed, in words.
    error : bound on the relative error of the projection, 0 where it is exact.
    model : what the observation was bound to.
    """

    name: str
    filters: tuple[Filter, ...]
    how: str = "weights inside the trace"
    error: float = 0.0
    model: Any = None


class Photometry(Observation):
    """Flux densities of a galaxy through filters.

    Data and expected data are in nJy (AB magnitude 31.4; 1 maggie is 3.631e12 nJy).

    Parameters
    ----------
    filters : names, files or `Filter` objects, one per band; see `Filter.load`.
    flux, error : (n_band,) flux densities and standard deviations. What is masked or not finite in either, a magnitude
        or flux of -99, 99 and the like (see `skyfold.galaxy.columns.flux_densities`), or a true `missing`, marks a
        band that was not observed: shapes stay, and galaxies with other bands missing share one executable.
    unit : ``"nJy"``, ``"uJy"``, ``"mJy"``, ``"Jy"``, ``"maggies"``, ``"erg/s/cm2/Hz"``, ``"erg/s/cm2/Angstrom"``,
        ``"AB"`` (magnitudes and their errors, by derivatives) or a flux density of astropy's; default nJy. Quantities
        and columns carry their own, flux and error each.
    missing : (n_band,) booleans, optional; give it, even if all are false, where all of a catalogue shall share one
        executable with those that miss bands.
    upper_limits : (n_band,) booleans: there `flux` is an upper limit and `error` the standard deviation of the noise.
    floor : error of the calibration as a fraction of the observed flux, added in quadrature.
    outliers : degrees of freedom of Student's t in place of the normal distribution, 3 say; None for normal noise.
    name : name in tables and plots.
    projected : ``"auto"``: populations are contracted with the filters beforehand where the redshift is fixed, the
        dust sends nothing out, and the error stays below `tolerance`; exact otherwise. False: exact always. True: or
        an error, and with a free redshift from a `RedshiftTable` made beforehand, which takes some seconds. A
        `RedshiftTable` of the same filters: that one, for all galaxies of a catalogue.
    tolerance : largest relative error of a projected flux.

    Raises
    ------
    SkyfoldError
        If shapes differ, a unit is unknown, errors are not positive or nothing is left.

    Notes
    -----
    A posterior binds the observation to its model, and what does not change is then computed beforehand: see `bound`.
    """

    curves: Any
    ready: Any
    projected: Any = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)

    def __init__(
        self,
        filters: Sequence[Any],
        flux: Any,
        error: Any,
        unit: str | None = None,
        *,
        missing: Any = None,
        upper_limits: Any = None,
        floor: float = 0.0,
        outliers: float | None = None,
        name: str = "photometry",
        projected: Any = "auto",
        tolerance: float = 5e-4,
    ) -> None:
        curves = tuple(Filter.load(f) for f in ([filters] if isinstance(filters, str) else filters))
        table = projected if isinstance(projected, RedshiftTable) else None
        if table is not None and table.n_band != len(curves):
            raise SkyfoldError(f"'{name}': the table of redshifts has {table.n_band} bands, not {len(curves)}.")
        self.curves, self.ready = Curves.of(curves), table
        self.likelihood = _likelihood(name, curves, flux, error, unit, missing, upper_limits, floor, outliers)
        self.annotation = Annotation(Bands(name, curves))
        self.projected, self.tolerance = True if table is not None else projected, float(tolerance)

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        filters: Sequence[Any],
        row: int = 0,
        *,
        flux: str = "{}",
        error: str = "{}_err",
        unit: str | None = None,
        **settings: Any,
    ) -> Self:
        """Read one row of a table: FITS, VOTable, ECSV, CSV or whatever astropy reads.

        Parameters
        ----------
        path : table.
        filters : names, one per band, that the columns are called by.
        row : number of the row, from 0.
        flux, error : names of the columns, with ``{}`` for the filter's name.
        unit : of columns that have none of their own; default nJy.
        **settings : further arguments of the class. Masked entries are missing bands.

        Raises
        ------
        SkyfoldError
            If the file, a column or the row is not there, an entry is no number or a unit no flux density.
        """
        where, table = open_table(path)
        if not -len(table) <= row < len(table):
            raise FileFormatError(f"{where}: there is no row {row}; the table has {len(table)}.")
        names = [f.name if isinstance(f, Filter) else os.fspath(f) for f in filters]
        data, sigma = np.empty(len(names)), np.empty(len(names))
        for b, (name, curve) in enumerate(zip(names, map(Filter.load, filters), strict=True)):
            found = band(where, table[[row]], (flux.format(name), error.format(name)), curve, unit)
            if found.wrong:
                raise FileFormatError(f"{where}: row {row}: {found.wrong[0]}.")
            data[b], sigma[b] = found.data[0], found.sigma[0]
        own = {"name": str(table.meta.get("name", "photometry")), **settings}
        return cls(filters, data, sigma, **own)

    @property
    def filters(self) -> tuple[Filter, ...]:
        """Curves of the bands."""
        return self.annotation.value.filters

    @property
    def axis(self) -> Axis:
        return Axis(*np.array([f.span for f in self.filters]).T, **WAVELENGTHS)

    def predict(self, model: Any) -> jax.Array:
        """Return the expected flux densities, nJy, (n_band,), of a galaxy without free parameters, or a sum of such.

        A bound observation predicts for the model that it is bound to.
        """
        if self.ready is not None:
            return self.ready.fold(model)
        parts = model.parts if isinstance(model, Sum) else (model,)
        for part in parts:
            if not isinstance(part, Galaxy):
                raise SkyfoldError(f"Photometry sees galaxies, as of galaxy.Galaxy, or sums of them, not {part!r}.")
            check_bands(part, self.filters)
        return sum((self.curves.seen(p).fold(p) for p in parts[1:]), self.curves.seen(parts[0]).fold(parts[0]))

    def bound(self, model: Any) -> Self:
        """Do beforehand what does not depend on free parameters of a model.

        With a fixed redshift distance and age of the Universe become numbers, the weights of the filters (and of the
        gas on the way) a matrix, and the populations are cut to the wavelengths under the filters, or contracted with
        them (`skyfold.galaxy.bands`). A free redshift needs ``projected=True`` or a table. Nothing is done for free
        parameters of the gas on the way, and sums.

        Raises
        ------
        SkyfoldError
            If a filter reaches beyond the wavelengths of the populations at any redshift that the prior allows, or
            ``projected=True`` cannot be.

        Warns
        -----
        SkyfoldWarning
            Where nothing lies on the way to a galaxy whose light hydrogen would absorb there.
        """
        if self.annotation.value.model is model:
            return self
        for part in model.parts if isinstance(model, Sum) else (model,):
            check_bands(part, self.filters)
        _warn_of_absorption(self.name, model, self.filters)
        if isinstance(model, Galaxy) and is_symbol(model.redshift):
            return self._bound_in_redshift(model)
        if not isinstance(model, Galaxy):
            return self._insist("the model is no single galaxy", model)
        if any(True for _ in parameters_in(model.igm)):
            return self._insist("what lies on the way has free parameters", model)
        matrix = _matrix(model, self.filters)
        if model.nebular is not None or model.emission is not None and self.curves.dust.size:
            self._insist("dust or gas send light out", model)
            return self._with(_numbers(self.curves.seen(model, matrix)), "exact, all wavelengths", model)
        keep = np.any(matrix != 0, axis=0)
        flux = np.asarray(model.ssp.flux)[..., keep].reshape(-1, int(keep.sum()))
        wave = np.asarray(model.ssp.wave)[keep]
        cropped = Cropped(np.ascontiguousarray(matrix[:, keep]), wave, flux, float(model.universe_age()))
        if self.projected:
            table, error, k = self._projection(cropped, model.dust)
            if error <= self.tolerance:
                return self._with(table, f"projected, {k} nodes of dust per band", model, error)
            self._insist(f"its error may be {error:.1e}, more than the tolerance {self.tolerance:.1e}", model)
        return self._with(cropped, "exact, wavelengths under the filters", model)

    def _bound_in_redshift(self, model: Galaxy) -> Self:
        table = self.ready
        if table is None and self.projected is True:
            table = RedshiftTable.of(model, self.filters, tolerance=self.tolerance)
        if table is None:
            return self._with(None, Bands.how, model)
        if not table.serves(model):
            raise SkyfoldError(
                f"'{self.name}': the table holds for redshifts {table.redshifts[0]:g} to {table.redshifts[1]:g}, and "
                "the prior reaches beyond. Make one for this model: galaxy.RedshiftTable.of(model, filters)."
            )
        return self._with(table, f"projected at {table.light.shape[0]} redshifts", model, table.error)

    def _insist(self, reason: str, model: Any) -> Self:
        if self.projected is True:
            raise SkyfoldError(f"'{self.name}': projected=True, but {reason}. Let projected be 'auto' or False.")
        return self._with(None, Bands.how, model)

    def _with(self, ready: Any, how: str, model: Any, error: float = 0.0) -> Self:
        own = self.annotation.value
        changed = eqx.tree_at(lambda o: o.ready, self, ready, is_leaf=lambda x: x is None)
        # the annotation is static, so it is no leaf of the tree
        object.__setattr__(changed, "annotation", Annotation(Bands(own.name, own.filters, how, error, model)))
        return changed

    def _projection(self, cropped: Cropped, dust: Any) -> tuple[Any, float, int]:
        if dust is None:
            return contract(cropped, 1)[0], 0.0, 1
        dusts = drawn(dust, _TRIALS)
        both = np.concatenate([np.asarray(d.transmission(jnp.asarray(cropped.wave))) for d in dusts])
        for k in _NODES:
            table, polynomials = contract(cropped, k)
            near = np.concatenate([np.asarray(d.transmission(jnp.asarray(table.nodes))) for d in dusts])
            error = contraction_error(cropped, polynomials, both, near)
            if error <= self.tolerance:
                break
        return table, error, k

    def __repr__(self) -> str:
        own = self.annotation.value
        return f"{self.name}: {', '.join(f.name for f in own.filters)} ({own.how})"


def magnitudes(model: Galaxy, filters: Sequence[Any], *, absolute: bool = False) -> Any:
    """AB magnitudes, as observed or absolute; also inside `Result.derive`.

    Parameters
    ----------
    model : a galaxy without free parameters; see `Component.with_values`.
    filters : names, files or `Filter` objects.
    absolute : in the rest frame at 10 pc, with nothing on the way; the stars are as old as the galaxy shows them.

    Returns
    -------
    (n_band,) array
        Inside a trace NaN where a filter reaches beyond the populations, which cannot be refused there.

    Raises
    ------
    SkyfoldError
        If a parameter is free or a filter reaches beyond the wavelengths of the populations.

    Examples
    --------
    >>> galaxy.magnitudes(model, ["sdss_g0", "sdss_r0"])  # doctest: +SKIP
    >>> result.derive(lambda g: galaxy.magnitudes(g, ["sdss_r0"], absolute=True))  # doctest: +SKIP
    """
    curves = tuple(Filter.load(f) for f in ([filters] if isinstance(filters, str) else filters))
    traced = any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(model))
    if not traced and model.free_parameters:
        raise SkyfoldError(
            f"magnitudes needs numbers, and {', '.join(model.free_parameters)} are free; fix them: "
            "model.with_values({...})."
        )
    if absolute:
        model = eqx.tree_at(
            lambda g: (g.redshift, g.distance, g.age, g.igm),
            model,
            (0.0, 1e-5, model.universe_age(), None),
            is_leaf=lambda x: x is None,
        )
    if traced:
        bands = jax.tree.map(jnp.asarray, Photometry(curves, np.ones(len(curves)), np.ones(len(curves))))
        share = bands.curves.weights(jnp.asarray(model.ssp.wave) * (1.0 + model.redshift)).sum(axis=1)
        return -2.5 * jnp.log10(jnp.where(share > 1.0 - BEYOND, bands.predict(model), jnp.nan) / (AB_JY * 1e9))
    check_bands(model, curves)
    _warn_of_absorption("magnitudes", model, curves)
    flux = np.asarray(_fold(_numbers(Curves.of(curves).seen(model, _matrix(model, curves))), model))
    with np.errstate(divide="ignore"):
        return -2.5 * np.log10(flux / (AB_JY * 1e9))


@jit
def _fold(seen: Seen, model: Galaxy) -> jax.Array:
    return seen.fold(model)


def _matrix(model: Galaxy, filters: Sequence[Filter]) -> np.ndarray:
    """Weights (n_band, n_wave) of the populations' wavelengths at a fixed redshift, nJy for one Lsun/Hz."""
    z = float(model.redshift)
    gas = None if model.igm is None else partial(model.igm.transmission, z=z)
    wave = np.asarray(model.ssp.wave) * (1.0 + z)
    return float(model.dimming()) * np.array([f.weights(wave, gas) for f in filters])


def _numbers(seen: Seen) -> Seen:
    return jax.tree.map(np.asarray, seen)


def _warn_of_absorption(name: str, model: Any, filters: Sequence[Filter]) -> None:
    def seen(transmission: Any) -> np.ndarray:
        return np.array([f.weights(f.wave, transmission).sum() for f in filters])

    warn_of_absorption(name, model, seen, min(f.wave[0] for f in filters))


def _likelihood(
    name: str,
    curves: tuple[Filter, ...],
    flux: Any,
    error: Any,
    unit: str | None,
    missing: Any,
    upper_limits: Any,
    floor: float,
    outliers: float | None,
) -> Any:
    pivots = np.array([f.pivot for f in curves])
    labels = [f.name for f in curves]
    data, sigma, wrong = flux_densities(f"'{name}'", ("flux", "error"), flux, error, unit, pivots)
    if wrong:
        first = min(wrong)
        raise SkyfoldError(f"'{name}': in {labels[first]} the {wrong[first]}.")
    return checked_likelihood(name, "band", labels, data, sigma, missing, upper_limits, floor, outliers)
