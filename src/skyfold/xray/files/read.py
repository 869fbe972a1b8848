"""Read OGIP spectra and responses (PHA, RMF, RSP, ARF) into plain frozen records.

References
----------
Arnaud, George & Tennant, OGIP Memo OGIP/92-007 (spectra); George et al. 1992, Legacy 2, 51, and OGIP Memo
CAL/GEN/92-002 (responses).
"""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from skyfold.errors import ResponseWarning
from skyfold.xray.files.energy_grid import energy_grid
from skyfold.xray.files.fits_tables import Table, Tables, open_tables
from skyfold.xray.files.matrix import elements
from skyfold.xray.files.records import Arf, Pha, Rmf
from skyfold.xray.files.type_two import is_type_two, of_row

_KEPT = ("TELESCOP", "INSTRUME", "DETNAM", "FILTER", "OBJECT", "DATE-OBS", "CHANTYPE")


def read_pha(path: str | os.PathLike[str], row: int | None = None) -> Pha:
    """Read a spectrum of a PHA file.

    Parameters
    ----------
    path : the file; of spectra of a source and of its background (HDUCLAS2 = BKG) in one file, that of the source.
    row : which spectrum of a type II file (several spectra in one table), from 1.

    Raises
    ------
    FileFormatError
        Where the file is not one, or a row must be chosen.
    """
    with open_tables(Path(path)) as tables:
        return _pha(_single(tables, _spectrum(tables), row))


def _spectrum(tables: Tables) -> Table:
    """The table of spectra of a source."""
    return tables.one(
        "PHA spectrum",
        lambda t: _is_spectrum(t) and not _is_background(t),
        _is_spectrum,
        lambda t: t.has("CHANNEL") and (t.has("COUNTS") or t.has("RATE")),
        lambda t: t.name.upper() == "SPECTRUM",
        selector="" if tables.selector.startswith("{") else None,
    )


def read_background(path: str | os.PathLike[str], source: Pha, row: int | None = None) -> Pha:
    """Read the background of a spectrum: the one whose class says so (HDUCLAS2 = BKG), and never the source itself.

    Parameters
    ----------
    path : the file, which may be the source's own.
    source : the spectrum of the source.
    row : which spectrum of a type II file, from 1.

    Raises
    ------
    FileFormatError
        As for `read_pha`, and where the file holds the source only.
    """
    with open_tables(Path(path)) as tables:
        same = source.path is not None and tables.path.resolve() == source.path.resolve()

        def other(table: Table) -> bool:
            return _is_spectrum(table) and not (same and table.position == source.extension)

        return _pha(
            _single(
                tables,
                tables.one(
                    "background other than the source itself" if same else "PHA spectrum",
                    lambda t: other(t) and _is_background(t),
                    other,
                    lambda t: not same and t.has("CHANNEL") and (t.has("COUNTS") or t.has("RATE")),
                    selector="" if tables.selector.startswith("{") else None,
                ),
                row,
            )
        )


def _single(tables: Tables, table: Table, row: int | None) -> Table:
    """The table of one spectrum: of type II that of a row, which ``{n}`` behind the file's name may choose as well."""
    selector = tables.selector
    if is_type_two(table):
        if row is None and selector.startswith("{") and selector[1:-1].strip().isdigit():
            row = int(selector[1:-1])
        return of_row(table, row)
    if row not in (None, 1) or (selector.startswith("{") and selector[1:-1].strip() != "1"):
        asked = f"row {row}" if row is not None else f"the selector {selector}"
        raise table.fault(f"{asked} names no single PHA spectrum: the file holds one", "Leave it out")
    return table


def count_spectra(path: str | os.PathLike[str]) -> int:
    """Number of spectra in a PHA file: the rows of type II, else one."""
    with open_tables(Path(path)) as tables:
        table = _spectrum(tables)
        return len(table) if is_type_two(table) else 1


def background_of_row(path: str | os.PathLike[str], row: int) -> Pha | None:
    """Background on both sides of a grating's spectrum that its row holds, None where it holds none."""
    with open_tables(Path(path)) as tables:
        table = _spectrum(tables)
        held = of_row(table, row) if is_type_two(table) else None
        sides = None if held is None else held.sides()
        if held is None or sides is None:
            return None
        source = _pha(held)
        channels = _channels(held, len(held), source.detector_channels)[0]
        counts = np.asarray(sides[0])[np.argsort(channels, kind="stable")]
        scaling = np.full(len(counts), sides[1])
        return replace(source, counts=counts, back_scaling=scaling, stat_err=None, poisson=True, background_file="")


def _pha(table: Table) -> Pha:
    kind = "RATE" if table.has("RATE") and not table.has("COUNTS") else "COUNTS"
    unit = "1/s" if kind == "RATE" else ""
    values = table.column(kind) * table.factor(kind, unit)
    if len(values) == 0:
        raise table.fault("the table has no rows", "Give a spectrum with at least one channel")
    detector = int(table.number("DETCHANS", len(values)))
    channels, first = _channels(table, len(values), detector)
    quality = table.per_row("QUALITY", 0, int)
    exposure = _exposure(table, quality)
    net = str(table.keyword("HDUCLAS2", "")).upper() == "NET"
    factor = exposure if kind == "RATE" else np.ones(len(values))
    errors = table.column("STAT_ERR") * table.factor("STAT_ERR", unit) if table.has("STAT_ERR") else None
    if errors is not None:
        # an error below zero is none
        errors = np.where(errors < 0, np.nan, errors)
    poisson = not net and (
        table.truth("POISSERR", errors is None)
        or (kind == "COUNTS" and (errors is None or _of_counts(errors[quality == 0], values[quality == 0])))
    )
    _require_counts(table, kind, values, quality, poisson)
    stat_err = None if errors is None else errors * factor
    scalings = [_scaling(table, name, quality) for name in ("AREASCAL", "BACKSCAL")]
    order = np.argsort(channels, kind="stable")
    grouping = table.per_row("GROUPING", 0, int)
    return Pha(
        path=table.path,
        channels=channels[order],
        first_channel=first,
        detector_channels=detector,
        counts=(np.where(np.isfinite(values), values, 0.0) * factor)[order],
        exposure=float(exposure[0]) if np.all(exposure == exposure[0]) else exposure[order],
        area_scaling=scalings[0][order],
        back_scaling=scalings[1][order],
        quality=quality[order],
        grouping=grouping[order],
        stat_err=None if stat_err is None else stat_err[order],
        sys_err=_scaling(table, "SYS_ERR", quality, 0.0)[order],
        poisson=poisson,
        net=net,
        background_file=str(table.keyword("BACKFILE", "")),
        response_file=str(table.keyword("RESPFILE", "")),
        arf_file=str(table.keyword("ANCRFILE", "")),
        keywords=table.description(_KEPT),
        extension=table.position,
    )


def _of_counts(errors: np.ndarray, counts: np.ndarray) -> bool:
    """Whether errors are those of Poisson counts: their root, Gehrels' approximation to it, or none at all."""
    held = counts > 0
    if np.any(counts[np.isfinite(counts)] % 1):
        return False
    usual = (0.0, np.sqrt(counts[held]), 1.0 + np.sqrt(counts[held] + 0.75))
    return any(np.allclose(errors[held], one, rtol=1e-3, atol=0.0) for one in usual)


def _channels(table: Table, rows: int, detector: int) -> tuple[np.ndarray, int | None]:
    """Return the channel numbers and the lowest legal one, where the file says."""
    lowest = table.first_channel("CHANNEL")
    if not table.has("CHANNEL"):
        if rows != detector:
            raise table.fault(
                f"there is no column CHANNEL, and {rows} rows are not the {detector} channels of DETCHANS",
                "Add the column CHANNEL",
            )
        return np.arange(1, rows + 1), 1
    channels = table.column("CHANNEL", int)
    unique, times = np.unique(channels, return_counts=True)
    if len(unique) != rows:
        twice = int(np.flatnonzero(channels == unique[times > 1][0])[1])
        raise table.fault(
            f"channel {channels[twice]} occurs twice", "Give each channel once", column="CHANNEL", row=twice
        )
    if rows == detector and unique[-1] - unique[0] == rows - 1:
        return channels, int(unique[0])
    return channels, None if lowest is None or lowest > unique[0] else lowest


def _require_counts(table: Table, kind: str, values: np.ndarray, quality: np.ndarray, poisson: bool) -> None:
    good = quality == 0
    for wrong, problem in (
        (~np.isfinite(values), "is not a finite number"),
        (poisson & (values < 0), "is negative"),
    ):
        rows = np.flatnonzero(wrong & good)
        if rows.size:
            row = int(rows[0])
            raise table.fault(
                f"the value {values[row]} {problem} in a channel of good quality ({rows.size} such rows)",
                "Extract the spectrum again, or mark the channel bad in QUALITY (a background-subtracted spectrum says "
                "HDUCLAS2 = NET)",
                column=kind,
                row=row,
            )


def _exposure(table: Table, quality: np.ndarray) -> np.ndarray:
    """Return the exposure of each row, whether it is a column or a keyword; zero in bad channels without one."""
    column = table.has("EXPOSURE")
    if column:
        values = table.column("EXPOSURE") * table.factor("EXPOSURE", "s")
    else:
        values = np.full(len(quality), table.seconds("EXPOSURE"))
    positive = np.isfinite(values) & (values > 0)
    wrong = np.flatnonzero(~positive & ((quality == 0) if column else True))
    if wrong.size:
        row = int(wrong[0])
        more = f" in a channel of good quality ({wrong.size} such rows)" if column else ""
        raise table.fault(
            f"EXPOSURE = {values[row]:g} s{more}",
            "The exposure must be above zero",
            column="EXPOSURE" if column else "",
            row=row if column else None,
        )
    return np.where(positive, values, 0.0)


def _scaling(table: Table, name: str, quality: np.ndarray, default: float = 1.0) -> np.ndarray:
    values = table.per_row(name, default)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)) & (quality == 0))
    if wrong.size:
        row = int(wrong[0])
        raise table.fault(
            f"{name} = {values[row]}",
            f"{name} must be zero or above",
            column=name if table.has(name) else "",
            row=row if table.has(name) else None,
        )
    return np.where(np.isfinite(values), values, 0.0)


def read_arf(path: str | os.PathLike[str]) -> Arf:
    """Read an ancillary response (SPECRESP in cm^2 on a grid in keV).

    Parameters
    ----------
    path : the file.

    Raises
    ------
    FileFormatError
        Where the file is not one. Areas that are negative or no numbers are refused where they are fitted.
    """
    with open_tables(Path(path)) as tables:
        table = tables.one(
            "effective area (ARF)",
            lambda t: t.has("SPECRESP") and t.has("ENERG_LO"),
            lambda t: t.name.upper() == "SPECRESP" or str(t.keyword("HDUCLAS2", "")).upper() == "SPECRESP",
        )
        area = table.column("SPECRESP") * table.factor("SPECRESP", "cm2")
        edges, order = energy_grid(table)
        return Arf(table.path, edges, area[order])


def read_rmf(path: str | os.PathLike[str]) -> Rmf:
    """Read a redistribution matrix (RMF) or a complete response (RSP).

    Every layout of F_CHAN, N_CHAN and MATRIX is read: scalars, vectors, variable-length arrays, padded or not.

    Parameters
    ----------
    path : the file.

    Raises
    ------
    FileFormatError
        Where the file is not one, or its matrix, channels or energies make no sense.
    """
    with open_tables(Path(path)) as tables:
        table = tables.one(
            "redistribution matrix (RMF)",
            lambda t: t.has("MATRIX") and t.has("ENERG_LO"),
            lambda t: t.name.upper() in ("MATRIX", "SPECRESP MATRIX"),
            lambda t: str(t.keyword("HDUCLAS2", "")).upper() == "RSP_MATRIX",
        )
        bounds, label = _bounds(
            tables.one(
                "table EBOUNDS (energies of the channels)",
                lambda t: t.has("E_MIN") and t.has("E_MAX"),
                lambda t: t.name.upper() == "EBOUNDS",
                selector="",
            ),
            table,
        )
        energy, channel, values = elements(table, bounds, label)
        empty = np.bincount(energy, weights=values, minlength=len(table)) == 0
        edges, order = energy_grid(table, empty)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        complete = table.name.upper().startswith("SPECRESP") or str(table.keyword("HDUCLAS3", "")).upper() == "FULL"
        keywords = table.description(_KEPT)
        return Rmf(table.path, edges, label, bounds, place[energy], channel, values, complete, keywords)


def _bounds(table: Table, matrix: Table) -> tuple[np.ndarray, int]:
    """Return the channels' energies in keV and the number of the first channel."""
    bounds = np.stack([table.column(name) * table.factor(name, "keV") for name in ("E_MIN", "E_MAX")], axis=1)
    if len(bounds) == 0:
        raise table.fault("the table has no rows", "Give the energies of the channels")
    bad = np.flatnonzero(~np.isfinite(bounds).all(axis=1))
    if bad.size:
        raise table.fault("E_MIN or E_MAX is not a number", "Every channel needs finite energies", row=int(bad[0]))
    # the gain may put the lowest channels a little below zero
    bad = np.flatnonzero(bounds.min(axis=1) < -2.0 * np.median(np.abs(np.diff(bounds))))
    if bad.size:
        column = ("E_MIN", "E_MAX")[int(np.argmin(bounds[bad[0]]))]
        energy = bounds[bad[0]].min()
        raise table.fault(f"the energy {energy:g} keV lies below zero", "Correct it", column=column, row=int(bad[0]))
    bounds = np.sort(bounds, axis=1)
    if not table.has("CHANNEL"):
        return bounds, 1
    lowest = table.first_channel("CHANNEL")
    lowest = matrix.first_channel("F_CHAN") if lowest is None else lowest
    numbers = table.column("CHANNEL")
    regular = np.sort(numbers)[:1] + np.arange(len(numbers))
    if lowest is not None and len(bounds) == table.number("DETCHANS", 0) and np.any(np.sort(numbers) != regular):
        warnings.warn(
            f"{table.path}: HDU {table.name}, column CHANNEL: the numbers make no sense; the {len(bounds)} rows are "
            f"counted from TLMIN = {lowest}",
            ResponseWarning,
            stacklevel=4,
        )
        return bounds, lowest
    channels = table.column("CHANNEL", int)
    order = np.argsort(channels, kind="stable")
    jumps = np.flatnonzero(np.diff(channels[order]) != 1)
    if jumps.size:
        row = int(order[jumps[0] + 1])
        raise table.fault(
            f"channel {channels[row]} follows channel {channels[order[jumps[0]]]}",
            "Give every channel once, in steps of 1",
            column="CHANNEL",
            row=row,
        )
    return bounds[order], int(channels[order[0]])


def _is_spectrum(table: Table) -> bool:
    return _is(table, "SPECTRUM") and (table.has("COUNTS") or table.has("RATE"))


def _is_background(table: Table) -> bool:
    return str(table.keyword("HDUCLAS2", "")).upper() == "BKG"


def _is(table: Table, name: str) -> bool:
    return table.name.upper() == name or str(table.keyword("HDUCLAS1", "")).upper() == name


__all__ = ["Arf", "Pha", "Rmf", "read_arf", "read_pha", "read_rmf"]
