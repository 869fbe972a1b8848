"""Rows of a catalogue: from the columns of a table to arrays of fluxes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.galaxy.filters import UNITS, Filter, in_njy


@dataclass(frozen=True)
class Rows:
    """Fluxes of galaxies, nJy.

    Attributes
    ----------
    ids : (n,) names or numbers.
    data, sigma : (n, n_band); sigma is infinite where a band is missing.
    limit : (n, n_band) whether it is an upper limit.
    """

    ids: np.ndarray
    data: np.ndarray
    sigma: np.ndarray
    limit: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, where: Any) -> Rows:
        """Some of the rows."""
        return Rows(self.ids[where], self.data[where], self.sigma[where], self.limit[where])


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
        If a column is absent, units differ, an error is not positive, or a galaxy has no measured band.
    """
    where, table = open_table(table)
    if not len(table):
        raise SkyfoldError(f"{where} has no rows; there is nothing to fit.")
    patterns = [flux, error, *([limit] if limit else [])]
    values, found = band_columns(where, table, [f.name for f in filters], patterns, unit)
    data, sigma = in_njy(where, values[0], values[1], found, np.array([f.pivot for f in filters]))
    is_limit = np.zeros(data.shape, dtype=bool) if limit is None else np.nan_to_num(values[2]) > 0
    missing = ~np.isfinite(data) | ~np.isfinite(sigma)
    bad = ~missing & ~(sigma > 0)
    if bad.any():
        row, band = np.argwhere(bad)[0]
        raise SkyfoldError(
            f"{where}: in row {row} the error '{error.format(filters[band].name)}' is {sigma[row, band]:g}; errors "
            "must be positive. Mark what was not observed by NaN or a mask."
        )
    empty = np.flatnonzero(~np.any(~missing & ~is_limit, axis=1))
    if len(empty):
        raise SkyfoldError(
            f"{where}: row {empty[0]} has no measured band ({len(empty)} rows have none). Leave such rows out."
        )
    sigma = np.where(is_limit, sigma, np.hypot(sigma, floor * np.abs(data)))
    names = np.asarray(table[ids]) if ids is not None and ids in table.colnames else np.arange(len(table))
    return Rows(names, np.where(missing, 0.0, data), np.where(missing, np.inf, sigma), is_limit & ~missing)


def open_table(table: Any) -> tuple[str, Any]:
    """Name for messages, and astropy table, of a file, a table, or a mapping of columns.

    Raises
    ------
    FileFormatError
        If astropy reads no table from the file.
    """
    from astropy.table import Table

    if not isinstance(table, str | os.PathLike):
        return "the table", table if isinstance(table, Table) else Table(table)
    where = os.fspath(table)
    try:
        return where, Table.read(table)
    except Exception as problem:
        raise FileFormatError(f"{where}: astropy reads no table from it ({problem}).") from problem


def band_columns(
    where: str, table: Any, names: Sequence[str], patterns: Sequence[str], unit: str | None
) -> tuple[list[Any], str]:
    """Columns (n, n_band) by each pattern, ``{}`` in it being the band, NaN where masked; and the unit of fluxes.

    The first two are fluxes and errors; they are astropy quantities where only astropy knows their unit.

    Raises
    ------
    SkyfoldError
        If a column is absent, or the fluxes have several units and none is said.
    """
    columns = [[pattern.format(name) for name in names] for pattern in patterns]
    for name in [c for group in columns for c in group]:
        if name not in table.colnames:
            raise FileFormatError(
                f"{where} has no column '{name}' (it has {', '.join(table.colnames)}). Say how the columns are called: "
                "flux='{}_flux', error='{}_fluxerr'."
            )
    own = {str(table[c].unit) for c in columns[0] if table[c].unit is not None}
    if unit is None and len(own) > 1:
        raise FileFormatError(
            f"{where}: the columns of fluxes have several units ({', '.join(sorted(own))}); say unit=."
        )
    found = unit or (own.pop() if own else "nJy")
    values: list[Any] = [
        np.stack([np.ma.filled(np.ma.asarray(np.ma.array(table[c]), dtype=float), np.nan) for c in group], axis=1)
        for group in columns
    ]
    if found not in (*UNITS, "AB", "erg/s/cm2/Angstrom"):
        import astropy.units as u

        values[:2] = [u.Quantity(v, found) for v in values[:2]]
    return values, found
