"""Read OGIP spectra and responses (PHA type I, RMF, RSP, ARF) into plain frozen records.

References
----------
Arnaud, George & Tennant, OGIP Memo OGIP/92-007 (spectra); George et al. 1992, Legacy 2, 51, and OGIP Memo
CAL/GEN/92-002 (responses).
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from skyfold.errors import ResponseWarning
from skyfold.xray.files.energy_grid import _kev, energy_grid
from skyfold.xray.files.fits_tables import Table, open_tables
from skyfold.xray.files.matrix import elements
from skyfold.xray.files.records import Arf, Pha, Rmf

_KEPT = ("TELESCOP", "INSTRUME", "DETNAM", "FILTER", "OBJECT", "DATE-OBS", "CHANTYPE")


def read_pha(path: str | os.PathLike[str]) -> Pha:
    """Read a type I PHA file.

    Parameters
    ----------
    path : the file.

    Raises
    ------
    FileFormatError
        Where the file is not one; type II files (several spectra in one table) are named as such.
    """
    path = Path(path)
    with open_tables(path) as tables:
        table = tables.one(
            "PHA spectrum",
            lambda t: _is(t, "SPECTRUM") and (t.has("COUNTS") or t.has("RATE")),
            lambda t: t.has("CHANNEL") and (t.has("COUNTS") or t.has("RATE")),
            lambda t: t.name.upper() == "SPECTRUM",
        )
        _refuse_type_two(table)
        return _pha(table)


def _refuse_type_two(table: Table) -> None:
    kinds = {str(table.keyword(key, "")).upper() for key in ("HDUCLAS3", "HDUCLAS4")}
    several = False
    if table.has("COUNTS") or table.has("RATE"):
        column = table.hdu.columns[
            [c.upper() for c in table.hdu.columns.names].index("COUNTS" if table.has("COUNTS") else "RATE")
        ]
        several = bool(column.dtype.shape) and column.dtype.shape != (1,) or "P" in column.format
    if "TYPE:II" in kinds or table.has("SPEC_NUM") or several:
        raise table.fault(
            f"this is a type II PHA file, {len(table)} spectra in one table, which is not supported yet",
            "Split it into type I files, for example with CIAO's dmtype2split",
        )


def _pha(table: Table) -> Pha:
    kind = "RATE" if table.has("RATE") and not table.has("COUNTS") else "COUNTS"
    values = table.column(kind)
    if len(values) == 0:
        raise table.fault("the table has no rows", "Give a spectrum with at least one channel")
    detector = int(table.number("DETCHANS", len(values)))
    channels, first = _channels(table, len(values), detector)
    quality = table.per_row("QUALITY", 0).astype(int)
    exposure = _exposure(table, quality)
    net = str(table.keyword("HDUCLAS2", "")).upper() == "NET"
    _require_counts(table, kind, values, quality, net)
    factor = exposure if kind == "RATE" else np.ones(len(values))
    stat_err = table.column("STAT_ERR") * factor if table.has("STAT_ERR") else None
    scalings = [_scaling(table, name, quality) for name in ("AREASCAL", "BACKSCAL")]
    order = np.argsort(channels, kind="stable")
    grouping = table.per_row("GROUPING", 0).astype(int)
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
        sys_err=table.per_row("SYS_ERR", 0.0)[order],
        poisson=table.truth("POISSERR", stat_err is None) or (kind == "COUNTS" and not net),
        net=net,
        background_file=str(table.keyword("BACKFILE", "")),
        response_file=str(table.keyword("RESPFILE", "")),
        arf_file=str(table.keyword("ANCRFILE", "")),
        keywords=table.description(_KEPT),
    )


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


def _require_counts(table: Table, kind: str, values: np.ndarray, quality: np.ndarray, net: bool) -> None:
    good = quality == 0
    for wrong, problem in (
        (~np.isfinite(values), "is not a finite number"),
        (np.zeros(len(values), bool) if net else values < 0, "is negative"),
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
    values = table.column("EXPOSURE") if column else np.full(len(quality), table.number("EXPOSURE"))
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


def _scaling(table: Table, name: str, quality: np.ndarray) -> np.ndarray:
    values = table.per_row(name, 1.0)
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
        Where the file is not one, or holds negative or non-finite areas.
    """
    path = Path(path)
    with open_tables(path) as tables:
        table = tables.one(
            "effective area (ARF)",
            lambda t: t.has("SPECRESP") and t.has("ENERG_LO"),
            lambda t: t.name.upper() == "SPECRESP" or str(t.keyword("HDUCLAS2", "")).upper() == "SPECRESP",
        )
        area = _not_negative(table, "SPECRESP", table.column("SPECRESP"))
        edges, order = energy_grid(table)
        return Arf(path, edges, area[order])


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
    path = Path(path)
    with open_tables(path) as tables:
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
            )
        )
        matrices = sum(other.has("MATRIX") and other.has("ENERG_LO") for other in tables.tables)
        if matrices > 1:
            warnings.warn(
                f"{path}: the file holds {matrices} matrices and only the first is used. Write the others to files of "
                "their own, or join them",
                ResponseWarning,
                stacklevel=3,
            )
        first = table.first_channel("F_CHAN")
        first = label if first is None else first
        energy, channel, values = elements(table, len(bounds), first)
        empty = np.bincount(energy, weights=values, minlength=len(table)) == 0
        edges, order = energy_grid(table, empty)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        complete = table.name.upper().startswith("SPECRESP") or str(table.keyword("HDUCLAS3", "")).upper() == "FULL"
        keywords = table.description(_KEPT)
        return Rmf(path, edges, label, bounds, place[energy], channel, values, complete, keywords)


def _bounds(table: Table) -> tuple[np.ndarray, int]:
    """Return the channels' energies in keV and the number of the first channel."""
    bounds = np.stack([table.column(name) * _kev(table, name) for name in ("E_MIN", "E_MAX")], axis=1)
    if len(bounds) == 0:
        raise table.fault("the table has no rows", "Give the energies of the channels")
    bad = np.flatnonzero(~np.isfinite(bounds).all(axis=1))
    if bad.size:
        raise table.fault("E_MIN or E_MAX is not a number", "Every channel needs finite energies", row=int(bad[0]))
    bounds = np.sort(bounds, axis=1)
    if not table.has("CHANNEL"):
        return bounds, 1
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


def _not_negative(table: Table, column: str, values: np.ndarray) -> np.ndarray:
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if bad.size:
        row = int(bad[0])
        raise table.fault(
            f"the value {values[row]} is negative or not a number", "Make the file again", column=column, row=row
        )
    return values


def _is(table: Table, name: str) -> bool:
    return table.name.upper() == name or str(table.keyword("HDUCLAS1", "")).upper() == name


__all__ = ["Arf", "Pha", "Rmf", "read_arf", "read_pha", "read_rmf"]
