"""Rows of a catalogue: from the columns of a table to arrays of fluxes, and what is wrong with which row."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.galaxy.columns import Measured, booleans, flux_densities
from skyfold.galaxy.filters import Filter


@dataclass(frozen=True)
class Rows:
    """Fluxes of galaxies, nJy.

    Attributes
    ----------
    ids : (n,) names or numbers.
    data, sigma : (n, n_band); sigma is infinite where a band is missing.
    limit : (n, n_band) whether it is an upper limit.
    problems : (n,) what is wrong with a row, so that it cannot be fitted; "" where nothing is. None: nothing anywhere.
    """

    ids: np.ndarray
    data: np.ndarray
    sigma: np.ndarray
    limit: np.ndarray
    problems: Any = None

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, where: Any) -> Rows:
        """Some of the rows."""
        problems = None if self.problems is None else self.problems[where]
        return Rows(self.ids[where], self.data[where], self.sigma[where], self.limit[where], problems)


def read_rows(
    table: Any,
    filters: Sequence[Filter],
    *,
    flux: str = "{}",
    error: str = "{}_err",
    limit: str | None = None,
    ids: str | None = "id",
    unit: str | None = None,
    floor: float = 0.0,
) -> Rows:
    """Read the rows of a table, see `fit_catalog`.

    Raises
    ------
    SkyfoldError
        If a column is absent or its unit is no flux density, the names of galaxies are not there, or no row can be
        fitted. One bad row is named in `Rows.problems`.
    """
    where, table = open_table(table)
    n = len(table)
    if not n:
        raise SkyfoldError(f"{where} has no rows; there is nothing to fit.")
    if not 0 <= floor < np.inf:
        raise SkyfoldError(f"floor = {floor!r}; it is a fraction of the fluxes, 0 or more.")
    data, sigma = np.empty((n, len(filters))), np.empty((n, len(filters)))
    is_limit = np.zeros(data.shape, dtype=bool)
    wrong: dict[int, str] = {}
    for b, f in enumerate(filters):
        names = flux.format(f.name), error.format(f.name)
        found = band(where, table, names, f, unit)
        data[:, b], sigma[:, b] = found.data, found.sigma
        bad = np.flatnonzero(np.isfinite(found.sigma) & ~(found.sigma > 0))
        told = {int(i): f"the error '{names[1]}' is {table[names[1]][i]}; errors must be positive" for i in bad}
        if limit is not None:
            given = booleans(where, _column(where, table, limit.format(f.name)))
            is_limit[:, b] = given > 0
            unclear = np.flatnonzero(np.isnan(given) & np.isfinite(found.data))
            told |= {int(i): f"the limit '{limit.format(f.name)}' is neither true nor false" for i in unclear}
        wrong = {**told, **found.wrong, **wrong}
    missing = np.isnan(data)
    empty = np.flatnonzero(~np.any(~missing & ~is_limit, axis=1))
    wrong = {**{int(i): "it has no measured band" for i in empty}, **wrong}
    problems = np.array([f"row {i}: {wrong[i]}" if i in wrong else "" for i in range(n)])
    if len(wrong) == n:
        raise SkyfoldError(
            f"{where}: no row can be fitted; {problems[0]}. Mark what was not observed by NaN or a mask, and leave out "
            "rows without any measured band."
        )
    sigma = np.where(is_limit, sigma, np.hypot(sigma, floor * np.abs(data)))
    missing |= (problems != "")[:, None]
    data, sigma = np.where(missing, 0.0, data), np.where(missing, np.inf, sigma)
    return Rows(_names(where, table, ids), data, sigma, is_limit & ~missing, problems)


def open_table(table: Any) -> tuple[str, Any]:
    """Name for messages, and astropy table, of a file, a table, a data frame, or a mapping of columns.

    Raises
    ------
    FileFormatError
        If astropy reads no table from the file.
    """
    from astropy.table import Table

    try:
        if isinstance(table, str | os.PathLike):
            return os.fspath(table), Table.read(table)
        if hasattr(table, "to_records"):
            return "the table", Table.from_pandas(table)
        return "the table", table if isinstance(table, Table) else Table(table)
    except Exception as problem:
        where = os.fspath(table) if isinstance(table, str | os.PathLike) else f"the {type(table).__name__} given"
        raise FileFormatError(f"{where}: astropy makes no table of it ({problem}).") from problem


def band(where: str, table: Any, names: tuple[str, str], f: Filter, unit: str | None) -> Measured:
    """Flux densities of one band, see `skyfold.galaxy.columns.flux_densities`, by the names of flux and error.

    Raises
    ------
    SkyfoldError
        If a column is absent or its unit is no flux density.
    """
    flux, error = (_column(where, table, name) for name in names)
    return flux_densities(where, (f"column '{names[0]}'", f"column '{names[1]}'"), flux, error, unit, f.pivot)


def _column(where: str, table: Any, name: str) -> Any:
    if name not in table.colnames:
        raise FileFormatError(
            f"{where} has no column '{name}' (it has {', '.join(table.colnames)}). Say how the columns are called: "
            "flux='{}_flux', error='{}_fluxerr'."
        )
    column = table[name]
    if np.ndim(column) != 1:
        raise FileFormatError(
            f"{where}: column '{name}' holds arrays of the shape {column.shape[1:]}; give one column for each band."
        )
    return column


def _names(where: str, table: Any, ids: str | None) -> np.ndarray:
    """Names of the rows as the column has them, whole numbers as such; numbers from 0 without one."""
    if ids is None or ids == "id" and ids not in table.colnames:
        return np.arange(len(table))
    column = _column(where, table, ids)
    names = np.asarray(np.ma.getdata(column))
    absent = np.ma.getmaskarray(column) if hasattr(column, "mask") else np.zeros(len(names), dtype=bool)
    if names.dtype.kind == "f":
        absent = absent | ~np.isfinite(names)
    if absent.any():
        raise FileFormatError(
            f"{where}: row {int(np.argmax(absent))} has no name in the column '{ids}'. Give it one, or say ids=None."
        )
    if names.dtype.kind == "O":
        whole = all(isinstance(x, int | np.integer) and not isinstance(x, bool) for x in names)
        return names.astype(np.int64 if whole else np.str_)
    return np.char.decode(names, "utf-8") if names.dtype.kind == "S" else names
