"""FITS binary tables as plain arrays, with errors that name file, HDU, column and row."""

from __future__ import annotations

import bz2
import gzip
import io
import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.xray.files.column_units import conversion, known
from skyfold.xray.files.locate import split

_ABSENT: Any = object()
#: Keywords that hold for every table of a file where its primary header gives them.
_INHERITED = ("EXPOSURE", "AREASCAL", "BACKSCAL", "BACKFILE", "RESPFILE", "ANCRFILE", "TELESCOP", "INSTRUME", "OBJECT")


@dataclass(frozen=True, eq=False)
class Table:
    """One binary table of a FITS file.

    Parameters
    ----------
    path : file it came from.
    hdu : astropy's table HDU.
    position : number of the HDU in the file; 0 is the primary one.
    primary : the primary header.
    """

    path: Path
    hdu: Any
    position: int
    primary: Any

    @property
    def name(self) -> str:
        """EXTNAME, or the HDU's class where it has no name."""
        return str(self.hdu.name or self.keyword("HDUCLAS1", "") or "unnamed")

    @property
    def label(self) -> list[str]:
        """EXTNAME and EXTVER as text."""
        return [self.name.upper(), str(self.hdu.ver)]

    def fault(self, problem: str, cure: str, *, column: str = "", row: int | None = None) -> FileFormatError:
        """Build the error for something wrong in this table; `row` counts from 0, the message from 1."""
        place = f"{self.path}: HDU {self.name}"
        if column:
            place += f", column {column}"
        if row is not None:
            place += f", row {row + 1}"
        return FileFormatError(f"{place}: {problem}. {cure}")

    def has(self, column: str) -> bool:
        """Whether the table has this column (in any case)."""
        return column.upper() in (name.upper() for name in self.hdu.columns.names)

    def keyword(self, key: str, default: Any = _ABSENT) -> Any:
        """Return a header value; absent or blank gives `default`."""
        value = self._header(key).get(key, _ABSENT)
        if value is _ABSENT or type(value).__name__ == "Undefined":
            if default is _ABSENT:
                raise self.fault(f"the keyword {key} is missing", f"Add {key} to the header (for example with fthedit)")
            return default
        return value.strip() if isinstance(value, str) else value

    def _header(self, key: str) -> Any:
        """Return the header that gives a keyword: the primary one for what a whole file may share."""
        return self.primary if key in _INHERITED and key not in self.hdu.header else self.hdu.header

    def description(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return those of some header values that are there and can be read; nothing depends on them."""
        from astropy.io.fits.verify import VerifyError

        found = {}
        for key in keys:
            with suppress(VerifyError):
                found[key] = self.keyword(key, None)
        return {key: value for key, value in found.items() if value is not None}

    def number(self, key: str, default: Any = _ABSENT) -> float:
        """Return a header value as a number; numbers written as text are read too."""
        value = self.keyword(key, default)
        if isinstance(value, str) and not value and default is not _ABSENT:
            value = default
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise self.fault(f"the keyword {key} = {value!r} is not a number", f"Write {key} as a number") from None
        if not np.isfinite(number):
            raise self.fault(f"the keyword {key} = {value!r} is not finite", f"Write {key} as a finite number")
        return number

    def seconds(self, key: str) -> float:
        """Return a header value that is a time, in s; its comment may begin with a unit in brackets."""
        value = self.number(key)
        begin = re.match(r"\s*\[([^\[\]]*)\]", str(self._header(key).comments[key]))
        unit = begin[1] if begin and known(begin[1]) else None
        factor = conversion(unit, "s")
        if factor is None:
            raise self.fault(f"the unit [{unit}] of the keyword {key} is no time", f"Give {key} in s")
        return value * factor

    def factor(self, column: str, *wanted: str) -> float:
        """Return the factor from a column's unit to the first of the units wanted that it can become; 1 without one.

        Raises
        ------
        FileFormatError
            If it can become none of them.
        """
        unit = self._column(column).unit
        found = [value for value in (conversion(unit, one) for one in wanted) if value is not None]
        if not found:
            expected = " or ".join(one or "a plain number" for one in wanted)
            raise self.fault(f"the unit {unit!r} is not {expected}", "Correct its TUNIT keyword", column=column)
        return found[0]

    def truth(self, key: str, default: bool) -> bool:
        """Return a header value as a logical: T, 'T', 'true' and 1 are true."""
        value = self.keyword(key, default)
        return value.upper()[:1] in ("T", "Y", "1") if isinstance(value, str) else bool(value)

    def first_channel(self, column: str) -> int | None:
        """TLMINn of a column, whichever number the column has; None where absent."""
        names = [name.upper() for name in self.hdu.columns.names]
        if column.upper() not in names:
            return None
        key = f"TLMIN{names.index(column.upper()) + 1}"
        return int(self.number(key)) if self.keyword(key, None) not in (None, "") else None

    def _column(self, column: str) -> Any:
        names = [name.upper() for name in self.hdu.columns.names]
        return self.hdu.columns[names.index(column.upper())]

    def raw(self, column: str) -> Any:
        """Return a column as astropy gives it."""
        if not self.has(column):
            have = ", ".join(self.hdu.columns.names)
            raise self.fault(
                f"the column {column} is missing (it has {have})", "Give a file that follows the OGIP format"
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self.hdu.data[column]
        except Exception as error:
            raise self.fault(
                f"the table cannot be read ({' '.join(str(error).split())})",
                "The file is cut short or damaged: copy it again",
                column=column,
            ) from error

    def column(self, name: str, dtype: type = np.float64) -> np.ndarray:
        """Return a column with one number per row."""
        values = np.asarray(self.raw(name))
        if values.dtype.kind not in "iufb":
            raise self.fault(f"the column holds {values.dtype}, not numbers", "Store it as numbers", column=name)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        null = self._column(name).null
        if null not in (None, "") and values.dtype.kind in "iu":
            values = np.where(values == null, np.nan, values)
        if values.ndim != 1:
            raise self.fault(f"one number per row is expected, got {values.shape[1:]}", "Store scalars", column=name)
        if np.issubdtype(dtype, np.integer) and values.dtype.kind == "f":
            whole = (np.abs(values) < 2**53) & (values == np.round(values))
            if not whole.all():
                row = int(np.flatnonzero(~whole)[0])
                raise self.fault(f"{values[row]} is not a whole number", "Store integers", column=name, row=row)
        with np.errstate(invalid="ignore"):
            return values.astype(dtype)

    def flat(self, name: str, dtype: type) -> tuple[np.ndarray, np.ndarray]:
        """Return a column of scalars, vectors or variable-length arrays as one flat array and each row's length."""
        values = self.raw(name)
        if getattr(values, "dtype", None) is not None and values.dtype == object:
            rows = [np.atleast_1d(row) for row in values]
            lengths = np.fromiter(map(len, rows), np.int64, len(rows))
            flat = np.concatenate(rows) if len(rows) else np.zeros(0)
            return flat.astype(dtype), lengths
        array = np.asarray(values)
        width = int(np.prod(array.shape[1:], dtype=np.int64))
        return array.reshape(-1).astype(dtype), np.full(len(array), width, np.int64)

    def per_row(self, name: str, default: float, dtype: type = np.float64) -> np.ndarray:
        """Return a plain number that OGIP allows as a column or as a keyword, one per row."""
        if self.has(name):
            return (self.column(name, dtype) * self.factor(name, "")).astype(dtype)
        return np.full(len(self), self.number(name, default)).astype(dtype)

    def __len__(self) -> int:
        return int(self.hdu.header.get("NAXIS2", 0))


@dataclass(frozen=True, eq=False)
class Tables:
    """The tables of one file.

    Parameters
    ----------
    path : the file.
    tables : its tables, in order.
    damaged : whether it was hard to read.
    selector : what stood in brackets behind the file's name: ``{1}``, ``[2]``, ``[SPECTRUM]``, ``[SPECTRUM,2]``.
    """

    path: Path
    tables: Sequence[Table]
    damaged: bool
    selector: str = ""

    def one(self, what: str, *wanted: Callable[[Table], bool], selector: str | None = None) -> Table:
        """Return the table that meets the first of the conditions that any table meets and that is selected.

        Raises
        ------
        FileFormatError
            If there is none, or more than one.
        """
        selector = self.selector if selector is None else selector
        for condition in wanted:
            found = [table for table in self.tables if condition(table)]
            if found:
                return self._selected(what, found, selector)
        have = ", ".join(table.name for table in self.tables) or "no table at all"
        cure = "It is cut short or damaged: copy it again" if self.damaged else f"Give the file that holds the {what}"
        raise FileFormatError(f"{self.path}: no {what} in this file (it has {have}). {cure}")

    def _selected(self, what: str, found: list[Table], selector: str) -> Table:
        chosen, name = found, selector[1:-1].strip().upper()
        if selector.startswith("{"):
            chosen = found if name == "1" and len(found) == 1 else []
        elif name:
            label = name.replace(" ", "").split(",")
            chosen = [t for t in found if name == str(t.position) or label in ([t.name.upper()], t.label)]
        if len(chosen) == 1:
            return chosen[0]
        have = ", ".join(f"{table.name} (HDU {table.position})" for table in found)
        if chosen:
            raise FileFormatError(
                f"{self.path}: {len(chosen)} extensions hold a {what}: {have}, and only one can be used. Write it to a "
                "file of its own, or join them"
            )
        raise FileFormatError(
            f"{self.path}: the selector {selector} names no single {what} (the file has {have}). Correct the selector"
        )


@contextmanager
def open_tables(path: Path) -> Iterator[Tables]:
    """Open a FITS file, packed or not, and yield its tables; a failure to read it becomes a `FileFormatError`."""
    from astropy.io import fits

    name, selector = split(str(path))
    path = Path(name)
    if path.is_dir():
        raise FileFormatError(f"{path}: this is a folder, not a FITS file. Name the file inside it")
    if not path.is_file():
        raise FileFormatError(f"{path}: no such file. Check the name and the folder")
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        elif content[:3] == b"BZh":
            content = bz2.decompress(content)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise FileFormatError(f"{path}: the file cannot be read ({error}). Copy it again") from error
    try:
        with warnings.catch_warnings(record=True) as doubts:
            warnings.simplefilter("always")
            file = fits.open(io.BytesIO(content), memmap=False)
            hdus = list(file)
            missing = hdus[-1].fileinfo()["datLoc"] + hdus[-1].size - len(content)
    except Exception as error:
        raise FileFormatError(
            f"{path}: this is not a FITS file. Give a FITS file; if it should be one, it is damaged: copy it again"
        ) from error
    with file:
        if missing > 0:
            place = hdus[-1].name or "unnamed"
            raise FileFormatError(f"{path}: HDU {place}: the file is cut short by {missing} bytes. Copy it again")
        tables = [Table(path, hdu, i, hdus[0].header) for i, hdu in enumerate(hdus) if _is_table(hdu)]
        damaged = bool(doubts) or len(tables) < sum(isinstance(hdu, fits.BinTableHDU) for hdu in hdus)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module="astropy")
                yield Tables(path, tables, damaged, selector)
        except SkyfoldError:
            raise
        except Exception as error:  # astropy fails in many ways on damaged headers and heaps
            reason = " ".join(str(error).split()) or type(error).__name__
            raise FileFormatError(f"{path}: the file is damaged ({reason}). Copy it again or make it anew") from error


def _is_table(hdu: Any) -> bool:
    """Whether an HDU is a table whose columns have names."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return all(isinstance(name, str) for name in hdu.columns.names)
    except Exception:  # not a table, or one whose header cannot be parsed
        return False
