"""Catalog: what a fit to many objects found."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skyfold.catalogs.judge import QUANTILES
from skyfold.catalogs.work import STAGES
from skyfold.errors import SkyfoldError
from skyfold.whole_file import whole_file


@dataclass(frozen=True)
class Catalog:
    """Objects of a catalogue, fitted.

    Attributes
    ----------
    ids : (n,) names or numbers of the objects.
    names : parameters, and after them what was integrated out.
    units : their units.
    results : arrays with an entry per object, see `table`; ``draws`` are equally weighted, (n, kept, parameters).
    kind : what an object is.
    """

    ids: np.ndarray
    names: tuple[str, ...]
    units: tuple[str, ...]
    results: dict[str, np.ndarray]
    kind: str = "object"

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def table(self) -> Any:
        """Astropy table with a row per object.

        For every parameter mean, standard deviation and quantiles (``NAME_mean``, ``_sd``, ``_median``, ``_p16``,
        ``_p84``, ``_p025``, ``_p975``); ``converged``: whether the draws passed every test; ``stage``: how they came
        about; ``khat``, ``effective``, ``rhat``, ``uncovered`` (see `CatalogSettings`); ``log_evidence``; the statistic
        by its name (``chi2``), the least among the draws; ``seconds`` of work; ``problem``: why it was not fitted.
        """
        from astropy.table import Table

        columns: dict[str, Any] = {"id": self.ids}
        for i, name in enumerate(self.names):
            for where, end in enumerate(QUANTILES):
                columns[f"{name}_{end}"] = self.results["quantiles"][:, i, where]
            columns[f"{name}_mean"] = self.results["mean"][:, i]
            columns[f"{name}_sd"] = self.results["sd"][:, i]
        columns["converged"] = self.results["passed"]
        columns["stage"] = np.array(STAGES)[self.results["stage"]]
        rest = [name for name, values in self.results.items() if values.ndim == 1 and name not in ("passed", "stage")]
        columns |= {name: self.results[name] for name in rest}
        found = Table(columns)
        for name, unit in zip(self.names, self.units, strict=True):
            for column in found.colnames:
                if unit and column.rsplit("_", 1)[0] == name:
                    found[column].unit = unit
        return found

    def draws(self, which: Any = None, **named: Any) -> dict[str, np.ndarray]:
        """Equally weighted draws (kept,) of every parameter of one object.

        Parameters
        ----------
        which : its id; it may be called by the `kind` of the objects as well.

        Raises
        ------
        SkyfoldError
            If there is no object of that id, or several.
        """
        if list(named) == [self.kind] and which is None:
            which = named[self.kind]
        elif named or which is None:
            raise TypeError(f"draws() takes the id of one {self.kind}, as in draws({self.kind}=...).")
        ids = self.ids.tolist()
        # files of former versions hold whole numbers as text
        where = [i for i, own in enumerate(ids) if own == which] or [
            i for i, own in enumerate(ids) if str(own) == str(which)
        ]
        if not where:
            raise SkyfoldError(f"There is no {self.kind} {which!r} in this catalogue of {len(self)}.")
        if len(where) > 1:
            raise SkyfoldError(f"{which!r} names several {self.kind}s here: those number {where}.")
        return dict(zip(self.names, self.results["draws"][where[0]].T, strict=True))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a file: the table for ``.ecsv``, ``.fits`` or ``.csv``; table and draws for ``.nc`` (netCDF).

        Raises
        ------
        SkyfoldError
            If the name ends otherwise.
        """
        path = Path(path)
        formats = {".ecsv": "ascii.ecsv", ".fits": "fits", ".csv": "ascii.csv"}
        with whole_file(path) as temporary:
            if path.suffix in formats:
                self.table.write(temporary, format=formats[path.suffix], overwrite=True)
            elif path.suffix == ".nc":
                self._write_netcdf(temporary)
            else:
                raise SkyfoldError(f"{path}: a catalogue is written as .ecsv, .fits, .csv or .nc.")

    def _write_netcdf(self, path: Path) -> None:
        from netCDF4 import Dataset

        n, kept, width = self.results["draws"].shape
        with Dataset(path, "w") as file:
            for name, size in ((self.kind, n), ("draw", kept), ("parameter", width), ("quantile", len(QUANTILES))):
                file.createDimension(name, size)
            _put(file, "id", (self.kind,), self.ids)
            _put(file, "parameter", ("parameter",), self.names)
            _put(file, "unit", ("parameter",), self.units)
            _put(file, "quantile", ("quantile",), list(QUANTILES))
            shapes = {
                "draws": (self.kind, "draw", "parameter"),
                "quantiles": (self.kind, "parameter", "quantile"),
                "mean": (self.kind, "parameter"),
                "sd": (self.kind, "parameter"),
            }
            for name, values in self.results.items():
                _put(file, name, shapes.get(name, (self.kind,)), values)
            file.stages = ", ".join(STAGES)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Catalog:
        """Read a netCDF file that `write` made."""
        from netCDF4 import Dataset

        if not Path(path).is_file():
            raise SkyfoldError(f"{path}: there is no such file of a catalogue.")
        with Dataset(path) as file:
            held = {name: np.asarray(file[name][:]) for name in file.variables}
            kind = file["id"].dimensions[0]
        held = {name: values.astype(str) if values.dtype == object else values for name, values in held.items()}
        ids, names, units, _ = (held.pop(name) for name in ("id", "parameter", "unit", "quantile"))
        held["passed"] = held["passed"].astype(bool)
        return cls(ids, tuple(map(str, names)), tuple(map(str, units)), held, kind)

    def __repr__(self) -> str:
        stage, good = self.results["stage"], self.results["passed"]
        numbers = np.bincount(stage.astype(int), minlength=len(STAGES))
        counts = [f"{n} by {name}" for n, name in zip(numbers[:-1], STAGES[:-1], strict=True)]
        counts += [f"{numbers[-1]} {STAGES[-1]}"] if numbers[-1] else []
        return f"Catalogue of {len(self)}, {int(good.sum())} converged ({', '.join(counts)})"


def _put(file: Any, name: str, dimensions: Sequence[str], given: Any) -> None:
    """Write a variable of numbers, of booleans as bytes, or of text."""
    values = np.asarray(given)
    if values.dtype.kind not in "biuf":
        variable = file.createVariable(name, str, dimensions)
        for i, value in enumerate(values):
            variable[i] = str(value)
        return
    values = values.astype(np.int8) if values.dtype == bool else values
    file.createVariable(name, values.dtype, dimensions, zlib=True)[:] = values
