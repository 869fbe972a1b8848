"""Tables: the numbers behind a figure, by column; a figure is drawn from its table alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class PlotTable:
    """Columns of equal length with units, and what a figure must know besides.

    Attributes
    ----------
    columns : arrays (n_rows,) of numbers or text, by name.
    units : unit of a column in words that astropy reads, by name; absent where it has none.
    meta : plain numbers, text, lists and dicts.
    """

    columns: dict[str, np.ndarray]
    units: dict[str, str] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def where(self, kept: np.ndarray) -> PlotTable:
        """Return the rows where `kept` holds."""
        return PlotTable({k: v[kept] for k, v in self.columns.items()}, self.units, self.meta)

    def to_astropy(self) -> Any:
        """Return an astropy Table, which writes ECSV: ``table.write("spectrum.ecsv")``."""
        import warnings

        import astropy.units as u
        from astropy.table import Table

        table = Table(dict(self.columns), meta=dict(self.meta))
        for name, unit in self.units.items():
            if unit:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", u.UnitsWarning)
                    table[name].unit = u.Unit(unit, parse_strict="silent")
        return table


def stack(tables: list[PlotTable], meta: dict[str, Any]) -> PlotTable:
    """Put tables below one another; a column that one of them lacks is NaN there."""
    names = list(dict.fromkeys(n for t in tables for n in t.columns))
    columns = {n: np.concatenate([t[n] if n in t else np.full(len(t), np.nan) for t in tables]) for n in names}
    units = {k: v for t in tables for k, v in t.units.items()}
    return PlotTable(columns, units, meta)
