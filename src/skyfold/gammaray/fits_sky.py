"""FITS files of the sky: opened, and their columns as numbers, with errors that name file, HDU, column and row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from skyfold.errors import FileFormatError


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """HDUs of a FITS file; whatever astropy raises inside becomes an error that names the file."""
    from astropy.io import fits
    from astropy.io.fits.verify import VerifyError

    if not path.is_file():
        raise FileFormatError(f"{path}: there is no such file. Check the name and the folder")
    try:
        with fits.open(path, memmap=False) as hdus:
            yield hdus
    except FileFormatError:
        raise
    except (OSError, ValueError, TypeError, IndexError, KeyError, MemoryError, VerifyError) as error:
        raise FileFormatError(
            f"{path}: not a readable FITS file ({error}). Check the file, or fetch it anew"
        ) from error


def column(table: Any, name: str, where: str) -> np.ndarray:
    """Numbers of a column as floats; NaN where its TNULL says that there is none.

    Raises
    ------
    FileFormatError
        If the column is not there or holds no numbers.
    """
    if name not in table.columns.names:
        raise FileFormatError(f"{where}: there is no column {name}. Give a file that has it")
    values = np.asarray(table.data[name])
    if values.dtype.kind not in "biuf":
        raise FileFormatError(f"{where}, column {name}: holds {values.dtype}, not numbers. Write it as numbers")
    null = table.columns[name].null
    numbers = values.astype(np.float64)
    if null is not None and values.dtype.kind in "iu":
        numbers[values == null] = np.nan
    return numbers


def factor(unit: Any, wanted: str, where: str, what: str) -> float:
    """Factor from a unit to another; 1 where none is written.

    Raises
    ------
    FileFormatError
        If it is no such unit.
    """
    if unit is None or not str(unit).strip():
        return 1.0
    parsed = parse(unit, where)
    try:
        return float(parsed.to(wanted))
    except ValueError:
        raise FileFormatError(
            f"{where}: the unit '{unit}' is not that of {what}, '{wanted or 'a plain number'}'. Convert the values, or "
            "correct the unit if it is wrong"
        ) from None


def parse(unit: Any, where: str) -> Any:
    """Unit of astropy; ``counts`` and ``photons`` are read as ct and ph."""
    import astropy.units as u

    text = str(unit).strip()
    try:
        return u.Unit({"counts": "ct", "count": "ct", "photons": "ph", "photon": "ph"}.get(text.lower(), text))
    except ValueError:
        raise FileFormatError(
            f"{where}: '{text}' is no unit that is known. Write it as FITS does, as in 'cm2 s'"
        ) from None


def number(header: Any, key: str, where: str, default: float | None = None) -> float:
    """Value of a keyword as a finite number.

    Raises
    ------
    FileFormatError
        If it is missing without a default, or no finite number.
    """
    value = header.get(key, default)
    if value is None:
        raise FileFormatError(f"{where}: the keyword {key} is missing. Add it to the header")
    if isinstance(value, bool | str) or not isinstance(value, int | float) or not np.isfinite(value):
        raise FileFormatError(f"{where}: the keyword {key} = {value!r} is no finite number. Correct it")
    return float(value)
