"""FITS binary tables as plain arrays, with errors that name file, HDU, column and row."""

from __future__ import annotations

import gzip
import io
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skyfold.errors import FileFormatError, SkyfoldError

_ABSENT: Any = object()


@dataclass(frozen=True, eq=False)
class Table:
    """One binary table of a FITS file.

    Parameters
    ----------
    path : file it came from.
    hdu : astropy's table HDU.
    """

    path: Path
    hdu: Any

    @property
    def name(self) -> str:
        """EXTNAME, or the HDU's class where it has no name."""
        return str(self.hdu.name or self.keyword("HDUCLAS1", "") or "unnamed")

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
        value = self.hdu.header.get(key, _ABSENT)
        if value is _ABSENT or type(value).__name__ == "Undefined":
            if default is _ABSENT:
                raise self.fault(f"the keyword {key} is missing", f"Add {key} to the header (for example with fthedit)")
            return default
        return value.strip() if isinstance(value, str) else value

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

    def per_row(self, name: str, default: float) -> np.ndarray:
        """Return a quantity that OGIP allows as a column or as a keyword, one number per row."""
        if self.has(name):
            return self.column(name)
        return np.full(len(self), self.number(name, default))

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
    """

    path: Path
    tables: Sequence[Table]
    damaged: bool

    def one(self, what: str, *wanted: Callable[[Table], bool]) -> Table:
        """Return the first table that meets the first of the conditions that any table meets."""
        for condition in wanted:
            for table in self.tables:
                if condition(table):
                    return table
        have = ", ".join(table.name for table in self.tables) or "no table at all"
        cure = "It is cut short or damaged: copy it again" if self.damaged else f"Give the file that holds the {what}"
        raise FileFormatError(f"{self.path}: no {what} in this file (it has {have}). {cure}")


@contextmanager
def open_tables(path: Path) -> Iterator[Tables]:
    """Open a FITS file, packed or not, and yield its tables; a failure to read it becomes a `FileFormatError`."""
    from astropy.io import fits

    if path.is_dir():
        raise FileFormatError(f"{path}: this is a folder, not a FITS file. Name the file inside it")
    if not path.is_file():
        raise FileFormatError(f"{path}: no such file. Check the name and the folder")
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
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
        tables = [Table(path, hdu) for hdu in hdus if _is_table(hdu)]
        damaged = bool(doubts) or len(tables) < sum(isinstance(hdu, fits.BinTableHDU) for hdu in hdus)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module="astropy")
                yield Tables(path, tables, damaged)
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
