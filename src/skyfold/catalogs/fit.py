"""Fit a catalogue: chunk by chunk, on several threads, with files that a killed run goes on from."""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from skyfold.catalogs.catalog import Catalog
from skyfold.catalogs.library import Library
from skyfold.catalogs.settings import CatalogSettings
from skyfold.catalogs.work import Work
from skyfold.errors import SkyfoldError
from skyfold.galaxy.catalog_rows import Rows, read_rows
from skyfold.galaxy.filters import Filter
from skyfold.galaxy.galaxy import Galaxy
from skyfold.galaxy.limited_mass import single_posterior
from skyfold.galaxy.mass_marginal import mass_prior
from skyfold.galaxy.redshift_table import RedshiftTable
from skyfold.inference.running.checkpoint import fingerprint
from skyfold.inference.running.progress import Progress
from skyfold.parameters import Prior, is_symbol

#: Held while a file is read: NumPy parses headers as Python, and Python 3.11's parser fails when two threads are in it.
_READING = threading.Lock()


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
    table : astropy table, mapping of columns, or a file that astropy reads; NaN and masked entries are bands that were
        not observed.
    model : galaxy with priors, of mass one: fix the mass of its star-formation history at one Msun (``log_mass=0``).
        The redshift may be free.
    filters : names, files or `Filter` objects; the columns are called by their names.
    mass : prior of the mass formed, Msun; default ``LogUniform(1e5, 1e13)``. See `MassMarginal`.
    flux, error : names of the columns, with ``{}`` for the filter's name.
    limit : names of columns of booleans, true where the flux is an upper limit and the error that of the noise.
    ids : column of names.
    unit : of fluxes and errors; default the columns' own, nJy where they have none. See `Photometry`.
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

    Raises
    ------
    SkyfoldError
        If columns are absent or their numbers are wrong, the model's priors are not exact transports, or there is no
        table of redshifts for this model.

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
    progress_bar = Progress(progress)
    with progress_bar:
        progress_bar.stage("preparing")
        work = prepare(
            model, curves, mass=mass, settings=settings, table=redshift_table, tolerance=tolerance, seed=seed
        )
        starts = range(0, len(rows), settings.chunk)
        place = None if folder is None else Path(folder)
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
        work = replace(work, limits=bool(rows.limit.any()))
        mark = f"{fingerprint(work.template, replace(settings, chunk=1), seed)} {work.limits}"

        def one(start: int) -> dict[str, np.ndarray]:
            return _kept(work, rows.part(slice(start, start + settings.chunk)), start, place, mark)

        pieces: dict[int, dict[str, np.ndarray]] = {}
        progress_bar.stage("fitting", len(rows))
        with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
            futures = {pool.submit(one, start): start for start in starts}
            try:
                for future in as_completed(futures):
                    pieces[futures[future]] = future.result()
                    good = sum(int(p["passed"].sum()) for p in pieces.values())
                    done = sum(len(p["passed"]) for p in pieces.values())
                    progress_bar.update(done, f"{good} of {done} converged")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    results = {name: np.concatenate([pieces[s][name] for s in starts]) for name in pieces[0]}
    names, units = _columns(work)
    catalog = Catalog(rows.ids, names, units, results)
    if place is not None:
        catalog.write(place / "catalog.ecsv")
        catalog.write(place / "catalog.nc")
    return catalog


def prepare(
    model: Galaxy,
    filters: tuple[Filter, ...],
    *,
    mass: Prior | None,
    settings: CatalogSettings,
    table: RedshiftTable | None,
    tolerance: float,
    seed: int,
) -> Work:
    """Make what all chunks share: the table of redshifts, the library, the posterior whose kernel they use."""
    if table is None and is_symbol(model.redshift):
        table = RedshiftTable.of(model, filters, tolerance=tolerance)
    prior = mass_prior(mass)
    # no galaxy's data: chunks must not depend on them
    one = np.ones((1, len(filters)))
    template = single_posterior(model, filters, prior, table, Rows(np.arange(1), one, one, one < 0))
    if not template.exact:
        raise SkyfoldError("fit_catalog needs priors of skyfold's own; one of NumPyro's has no exact transport.")
    if not template.ndim:
        raise SkyfoldError("fit_catalog: the model has no free parameter besides the mass.")
    library = Library.of(template, settings.library, seed)
    return Work(model, filters, prior, table, library, template, settings, seed)


def _kept(work: Work, rows: Rows, start: int, folder: Path | None, mark: str) -> dict[str, np.ndarray]:
    """Result of a chunk: from its file where that is there and of the same work, else made and kept."""
    if folder is None:
        return work.chunk(rows, start)
    own = hashlib.sha256(mark.encode())
    for array in (rows.data, rows.sigma, rows.limit):
        own.update(np.ascontiguousarray(array).tobytes())
    path, digest = folder / f"chunk_{start:08d}.npz", own.hexdigest()
    if path.is_file():
        try:
            with _READING, np.load(path) as file:
                if str(file["mark"]) == digest:
                    return {name: file[name] for name in file.files if name != "mark"}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            pass
    found = work.chunk(rows, start)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        with open(temporary, "wb") as file:
            arrays: dict[str, Any] = {**found, "mark": np.array(digest)}
            np.savez(file, **arrays)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return found


def _columns(work: Work) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and units of the parameters' entries and of the mass."""
    from skyfold.results.description import Description

    names: list[str] = []
    units: list[str] = []
    for parameter in Description.of(work.template).parameters:
        names.extend(parameter.entries)
    for p in work.template.parameters:
        units.extend([p.label.unit] * int(np.prod(p.shape)))
    return (*names, "log_mass"), (*units, "dex(Msun)")
