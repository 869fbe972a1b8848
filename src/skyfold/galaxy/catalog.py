"""Catalogues of galaxies: the problem that `skyfold.catalogs` is handed, its masses integrated out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.catalogs.catalog import Catalog
from skyfold.catalogs.fit import fit_objects
from skyfold.catalogs.problem import Target
from skyfold.catalogs.settings import CatalogSettings
from skyfold.errors import SkyfoldError
from skyfold.galaxy.catalog_rows import Rows, read_rows
from skyfold.galaxy.filters import Filter
from skyfold.galaxy.galaxy import Galaxy
from skyfold.galaxy.limited_mass import Fluxes, draw_mass, log_marginal, single_posterior, with_fluxes
from skyfold.galaxy.mass_marginal import mass_prior
from skyfold.galaxy.redshift_table import RedshiftTable
from skyfold.inference.running import Progress
from skyfold.parameters import Prior, is_symbol
from skyfold.posterior import Posterior
from skyfold.results.evaluation import apply


class GalaxyTarget(Target):
    """Fluxes of one solar mass as expected data; the data of a galaxy are its `Fluxes`."""

    @property
    def prior(self) -> Prior:
        """Prior of the mass."""
        own: Prior = self.kernel.pairs[0][1].prior  # type: ignore[attr-defined]
        return own

    def linearised(self, data: Fluxes, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return with_fluxes(self.kernel, data).linearised(z)

    def log_likelihood(self, data: Fluxes, expected: jax.Array) -> jax.Array:
        return log_marginal(self.prior, data, expected)

    def perturbed(self, data: Fluxes, key: jax.Array, n: int) -> Fluxes:
        sigma = jnp.where(jnp.isfinite(data.sigma), data.sigma, 0.0)
        noise = sigma * jax.random.normal(key, (n, *sigma.shape))
        changed: Fluxes = eqx.tree_at(lambda f: f.data, data, data.data + (jnp.arange(n) > 0)[:, None] * noise)
        return changed

    def told(self, data: Fluxes, expected: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
        mass = draw_mass(self.prior, data, expected, u)
        chi2 = jnp.sum(((data.data - mass[:, None] * expected) / data.sigma) ** 2, axis=1)
        return jnp.log10(mass)[:, None], chi2


@dataclass(frozen=True)
class Galaxies:
    """Galaxies of a catalogue, see `skyfold.catalogs.problem.Problem`.

    Attributes
    ----------
    rows : their fluxes.
    model : galaxy of one solar mass.
    filters : bands.
    mass : prior of the mass, Msun.
    table : populations seen through the bands at every redshift, None where the redshift is fixed.
    template, target : what all share; no galaxy's data are in them.
    """

    kind: ClassVar[str] = "galaxy"
    columns: ClassVar[tuple[tuple[str, str], ...]] = (("log_mass", "dex(Msun)"),)
    statistic: ClassVar[str] = "chi2"
    rows: Rows
    model: Galaxy
    filters: tuple[Filter, ...]
    mass: Prior
    table: RedshiftTable | None
    template: Posterior
    target: GalaxyTarget

    @classmethod
    def of(
        cls,
        rows: Rows,
        model: Galaxy,
        filters: tuple[Filter, ...],
        *,
        mass: Prior | None = None,
        table: RedshiftTable | None = None,
        tolerance: float = 5e-3,
    ) -> Galaxies:
        """Make the table of redshifts, unless it is there, and the posterior whose kernel all share."""
        if table is None and is_symbol(model.redshift):
            table = RedshiftTable.of(model, filters, tolerance=tolerance)
        prior = mass_prior(mass)
        one = np.ones((1, len(filters)))
        template = single_posterior(model, filters, prior, table, Rows(np.arange(1), one, one, one < 0))
        _check_unit_mass(template)
        return cls(rows, model, filters, prior, table, template, GalaxyTarget(template.kernel))

    @property
    def ids(self) -> np.ndarray:
        return self.rows.ids

    @property
    def problems(self) -> Any:
        """What is wrong with rows that are not fitted, (n,), or None."""
        return self.rows.problems

    def data(self, numbers: np.ndarray) -> Fluxes:
        rows = self.rows.part(numbers)
        return Fluxes.of(rows.data, rows.sigma, rows.limit, bool(self.rows.limit.any()))

    def guide(self, numbers: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Two matrix products.

        The mass is integrated over a density of equal mass per ln M by Laplace's rule, and kept within limits.
        """
        rows = self.rows.part(numbers)
        low, high = (float(x) for x in self.mass.support())
        inverse = 1.0 / np.where(rows.limit, np.inf, rows.sigma)
        precision = np.maximum((inverse**2) @ (expected**2).T, 1e-250)
        cross = (rows.data * inverse**2) @ expected.T
        mass = np.clip(cross / precision, low, high)
        signal = np.maximum(mass * np.sqrt(precision), 1.0)
        return mass * cross - 0.5 * mass**2 * precision - np.log(signal)

    def posterior(self, number: int) -> Posterior:
        return single_posterior(self.model, self.filters, self.mass, self.table, self.rows.part([number]))


def _check_unit_mass(template: Posterior) -> None:
    """Raise `SkyfoldError` where the model forms another mass than one: what is integrated out would be no mass."""
    z = np.random.default_rng(0).standard_normal((64, template.ndim))
    formed = apply(template, z, lambda galaxy: galaxy.formed_mass(), next(iter(template.pairs)))
    nearest = formed[np.argmin(np.abs(np.log10(np.maximum(formed, 1e-300))))]
    if not 0.5 < nearest < 2.0:
        raise SkyfoldError(
            "The model of a catalogue forms a mass of one, which the mass that is integrated out multiplies; this one "
            f"forms {nearest:.3g} Msun. Fix log_mass=0 in its star-formation history, and use one that is normalised "
            "by the mass formed (DoublePowerLawMass, say)."
        )


def fit_catalog(
    table: Any,
    model: Galaxy,
    filters: Sequence[Any],
    *,
    mass: Prior | None = None,
    flux: str = "{}",
    error: str = "{}_err",
    limit: str | None = None,
    ids: str | None = "id",
    unit: str | None = None,
    floor: float = 0.0,
    settings: CatalogSettings | None = None,
    redshift_table: RedshiftTable | None = None,
    tolerance: float = 5e-3,
    folder: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> Catalog:
    r"""Fit every galaxy of a table with one model.

    The mass is integrated out, upper limits included. Each galaxy is explored by two halves, each on its own: Fisher
    scoring from starts all over the prior, each for data perturbed anew, Student-t mixtures that adapt in rounds of
    importance sampling, and draws of the mixture that these end with, which the library's prior draws join.
    Its draws are accepted where the Pareto k-hat of the weights, the effective number, the agreement of the halves, and
    a comparison with a library of prior draws say so (`CatalogSettings`); otherwise proposals and draws go on from
    there with 2, 4, 8 and 16 times the draws, and then it is fitted on its own by ``auto``, which falls back on SMC or
    NUTS. What fails all is marked as not converged.

    Parameters
    ----------
    table : astropy table, data frame, mapping of columns, or a file that astropy reads; masked entries, those that are
        not finite, ``n/a`` and the like, and -99 or 99 as far as no noise makes them are bands that were not observed.
        A row that is wrong otherwise is named, in a warning and the result, and the others are fitted.
    model : galaxy with priors, of mass one: fix the mass of its star-formation history at one Msun (``log_mass=0``).
        The redshift may be free.
    filters : names, files or `Filter` objects; the columns are called by their names.
    mass : prior of the mass formed, Msun; default ``LogUniform(1e5, 1e13)``. See `MassMarginal`.
    flux, error : names of the columns, with ``{}`` for the filter's name.
    limit : names of columns of booleans, true where the flux is an upper limit and the error that of the noise.
    ids : column of names, which differ from each other; None: rows are called by their numbers from 0.
    unit : of fluxes and errors that have none of their own; default nJy. See `Photometry`.
    floor : error of the calibration as a fraction of the flux, added in quadrature.
    settings : effort and limits.
    redshift_table : populations seen through the bands, made beforehand; else made here, with `tolerance`.
    tolerance : largest relative error of a population's flux in such a table.
    folder : where chunks are kept as they are done; a killed run goes on from there and gives the same result, which
        is also written there as ``catalog.ecsv`` and ``catalog.nc``.
    workers : chunks at a time; default the number of processors.
    seed : of all random numbers. A galaxy's result depends on its place in the table and, but for rounding, not on the
        chunks.
    progress : show a progress bar; by default when standard error is a terminal.

    Returns
    -------
    Catalog
        Its last parameter is ``log_mass``, log10 of the mass in Msun that the model's mass of one stands for.

    Raises
    ------
    SkyfoldError
        If columns are absent, a unit is no flux density, names are absent or stand for two rows, no row can be fitted,
        the model's priors are not exact transports, or there is no table of redshifts for this model.

    Warns
    -----
    SkyfoldWarning
        Of rows that are not fitted, and of chunks in the folder that are made anew.

    Examples
    --------
    >>> model = galaxy.Galaxy(  # doctest: +SKIP
    ...     ssp, galaxy.DoublePowerLawMass(log_mass=0.0), dust=galaxy.CharlotFall(), redshift=sf.Uniform(0.01, 3)
    ... )
    >>> galaxy.fit_catalog("survey.fits", model, ["hsc_g", "hsc_r", "hsc_i"], folder="fits").table  # doctest: +SKIP
    """
    settings = CatalogSettings() if settings is None else settings
    curves = tuple(Filter.load(f) for f in ([filters] if isinstance(filters, str) else filters))
    rows = read_rows(table, curves, flux=flux, error=error, limit=limit, ids=ids, unit=unit, floor=floor)
    with Progress(progress) as bar:
        bar.stage("preparing")
        problem = Galaxies.of(rows, model, curves, mass=mass, table=redshift_table, tolerance=tolerance)
        return fit_objects(problem, settings, folder=folder, workers=workers, seed=seed, progress=bar)
