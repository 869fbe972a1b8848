"""Type II PHA files: several spectra in one table, each row of which reads like the table of a single one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skyfold.errors import FileFormatError
from skyfold.xray.files.column_units import conversion
from skyfold.xray.files.fits_tables import Table

#: Columns that say which spectrum a row is.
_TELLING = ("SPEC_NUM", "TG_M", "TG_PART", "TG_SRCID", "ROWID", "SPEC_ID", "TSTART", "TSTOP")
#: Backgrounds on both sides of a grating's spectrum, and the keywords of their sizes.
_SIDES = (("BACKGROUND_UP", "BACKSCUP"), ("BACKGROUND_DOWN", "BACKSCDN"))


def is_type_two(table: Table) -> bool:
    """Whether a table holds a spectrum in each row."""
    if table.has("SPEC_NUM"):
        return True
    kind = "COUNTS" if table.has("COUNTS") else "RATE"
    return table.has(kind) and _is_vector(table, kind)


def _is_vector(table: Table, name: str) -> bool:
    column = table.hdu.columns[[c.upper() for c in table.hdu.columns.names].index(name.upper())]
    return bool(column.dtype.shape) and column.dtype.shape != (1,) or column.format[:2].lstrip("1")[:1] in ("P", "Q")


@dataclass(frozen=True, eq=False)
class Row(Table):
    """One row of a table, as a table: vectors are columns, and what has one value is a keyword.

    Parameters
    ----------
    row : number of the row, from 0.
    """

    row: int

    def has(self, column: str) -> bool:
        return super().has(column) and _is_vector(self, column)

    def _scalar(self, key: str) -> bool:
        return super().has(key) and not _is_vector(self, key)

    def keyword(self, key: str, *default: Any) -> Any:
        if not self._scalar(key):
            return super().keyword(key, *default)
        value = self.hdu.data[key][self.row]
        return value.strip() if isinstance(value, str) else np.asarray(value).item()

    def seconds(self, key: str) -> float:
        if not self._scalar(key):
            return super().seconds(key)
        factor = conversion(self._column(key).unit, "s")
        if factor is None:
            raise self.fault(f"the unit {self._column(key).unit!r} is no time", "Give it in s", column=key)
        return self.number(key) * factor

    def raw(self, column: str) -> Any:
        return super().raw(column)[self.row]

    def fault(self, problem: str, cure: str, *, column: str = "", row: int | None = None) -> FileFormatError:
        element = "" if row is None else f"element {row + 1}: "
        return super().fault(element + problem, cure, column=column, row=self.row)

    def __len__(self) -> int:
        return len(self.raw("COUNTS" if self.has("COUNTS") else "RATE"))

    def sides(self) -> tuple[np.ndarray, float] | None:
        """Counts of the background on both sides of a grating's spectrum, and their BACKSCAL; None without these."""
        found = [(self.column(name), self.number(size)) for name, size in _SIDES if self.has(name)]
        if not found:
            return None
        counts, sizes = zip(*found, strict=True)
        return np.sum(counts, axis=0), float(np.sum(sizes))


def of_row(table: Table, row: int | None) -> Row:
    """Row of a type II table by its number, from 1.

    Raises
    ------
    FileFormatError
        If no row is named, or there is no such row; the error says which there are.
    """
    if row is None or not 1 <= row <= len(table):
        asked = "choose one of its spectra" if row is None else f"it has no row {row}"
        raise table.fault(
            f"this is a type II PHA file, {len(table)} spectra in one table: {asked}",
            f"Say row=N, or read them all with Spectrum.read_all; the rows are: {'; '.join(described(table))}",
        )
    return Row(table.path, table.hdu, table.position, table.primary, row - 1)


def described(table: Table) -> list[str]:
    """What each row says of itself."""
    telling = [name for name in _TELLING if table.has(name)]
    kind = "COUNTS" if table.has("COUNTS") else "RATE"
    lines = []
    for number in range(len(table)):
        said = ", ".join(f"{name} {table.raw(name)[number]}" for name in telling)
        total = float(np.sum(np.asarray(table.raw(kind)[number], float)))
        lines.append(
            f"{number + 1} ({said + ', ' if said else ''}{total:.6g} {'counts' if kind == 'COUNTS' else '/s'})"
        )
    return lines
