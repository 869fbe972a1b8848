"""Write OGIP files: spectra, redistribution matrices and effective areas.

A file is written beside its final name and then renamed, so that a half-written one never bears the name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.whole_file import whole_file
from skyfold.xray.files.records import Arf, Pha, Rmf


def write_pha(path: str | os.PathLike[str], pha: Pha, *, overwrite: bool = False) -> Path:
    """Write a type I spectrum (OGIP/92-007a).

    Parameters
    ----------
    path : file to write.
    pha : record; scalings and exposures that do not vary with the channel become keywords.
    overwrite : replace an existing file.
    """
    from astropy.io import fits

    first = int(pha.channels.min()) if pha.first_channel is None else pha.first_channel
    whole = bool(np.all(np.isfinite(pha.counts) & (pha.counts == np.round(pha.counts)) & (pha.counts < 2**31)))
    columns = [
        fits.Column("CHANNEL", "J", array=pha.channels),
        fits.Column("COUNTS", "J" if whole else "D", unit="count", array=pha.counts),
    ]
    if pha.stat_err is not None:
        columns.append(fits.Column("STAT_ERR", "D", unit="count", array=pha.stat_err))
    scalars: dict[str, Any] = {}
    sys_err = np.zeros(len(pha.counts)) if pha.sys_err is None else pha.sys_err
    for name, values, form in (
        ("SYS_ERR", sys_err, "E"),
        ("QUALITY", pha.quality, _integers(pha.quality)),
        ("GROUPING", pha.grouping, _integers(pha.grouping)),
        ("AREASCAL", pha.area_scaling, "D"),
        ("BACKSCAL", pha.back_scaling, "D"),
        ("EXPOSURE", np.broadcast_to(np.asarray(pha.exposure, float), len(pha.counts)), "D"),
    ):
        if len(values) and np.all(values == values[0]) and not (form in "IJ" and values[0]):
            scalars[name] = int(values[0]) if form in "IJ" else float(values[0])
        else:
            columns.append(fits.Column(name, form, array=values))
    hdu = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    _head(hdu, pha.keywords, HDUCLAS1="SPECTRUM", HDUVERS="1.2.1", HDUCLAS2="NET" if pha.net else "TOTAL")
    _head(hdu, {}, HDUCLAS3="COUNT", HDUCLAS4="TYPE:I", **scalars)
    _head(
        hdu,
        {},
        BACKFILE=pha.background_file or "none",
        RESPFILE=pha.response_file or "none",
        ANCRFILE=pha.arf_file or "none",
        CORRFILE="none",
        CORRSCAL=1.0,
        POISSERR=pha.poisson,
        DETCHANS=pha.detector_channels,
        TLMIN1=first,
        TLMAX1=first + pha.detector_channels - 1,
    )
    return _write(path, [hdu], overwrite)


def write_arf(path: str | os.PathLike[str], arf: Arf, *, overwrite: bool = False) -> Path:
    """Write an effective area (CAL/GEN/92-002a); parameters as in `write_pha`."""
    from astropy.io import fits

    columns = [*_energies(arf.edges), fits.Column("SPECRESP", "E", unit="cm**2", array=arf.area)]
    hdu = fits.BinTableHDU.from_columns(columns, name="SPECRESP")
    _head(hdu, {}, HDUCLAS1="RESPONSE", HDUVERS="1.1.0", HDUCLAS2="SPECRESP")
    return _write(path, [hdu], overwrite)


def write_rmf(path: str | os.PathLike[str], rmf: Rmf, *, overwrite: bool = False) -> Path:
    """Write a redistribution matrix (CAL/GEN/92-002a) as variable-length arrays of 32-bit floats.

    Parameters as in `write_pha`.
    """
    from astropy.io import fits

    n_energies, n_channels = len(rmf.edges) - 1, len(rmf.bounds)
    order = np.lexsort((rmf.channel_index, rmf.energy_index))
    energy, channel, values = rmf.energy_index[order], rmf.channel_index[order], rmf.values[order]
    begins = np.append(True, (np.diff(energy) != 0) | (np.diff(channel) != 1))[: len(energy)]
    start = np.flatnonzero(begins)
    length = np.diff(np.append(start, len(energy)))
    per_energy = np.bincount(energy[start], minlength=n_energies)
    cut = np.cumsum(per_energy)[:-1]
    rows = np.cumsum(np.bincount(energy, minlength=n_energies))[:-1]
    numbers = rmf.first_channel + np.arange(n_channels)
    form = _integers(np.append(numbers, n_channels))
    pointer = "P" if 4 * (len(values) + 2 * len(start)) < 2**31 else "Q"
    kind = np.int16 if form == "I" else np.int32
    matrix = fits.BinTableHDU.from_columns(
        [
            *_energies(rmf.edges),
            fits.Column("N_GRP", _integers(per_energy), array=per_energy),
            fits.Column("F_CHAN", f"{pointer}{form}()", array=_rows(channel[start] + rmf.first_channel, cut, kind)),
            fits.Column("N_CHAN", f"{pointer}{form}()", array=_rows(length, cut, kind)),
            fits.Column("MATRIX", f"{pointer}E()", array=_rows(values, rows, np.float32)),
        ],
        name="SPECRESP MATRIX" if rmf.complete else "MATRIX",
    )
    _head(
        matrix,
        rmf.keywords,
        HDUCLAS1="RESPONSE",
        HDUVERS="1.3.0",
        HDUCLAS2="RSP_MATRIX",
        HDUCLAS3="FULL" if rmf.complete else "REDIST",
        DETCHANS=n_channels,
        NUMGRP=len(start),
        NUMELT=len(values),
        LO_THRES=0.0,
        TLMIN4=rmf.first_channel,
        TLMAX4=rmf.first_channel + n_channels - 1,
    )
    bounds = fits.BinTableHDU.from_columns(
        [
            fits.Column("CHANNEL", form, array=numbers),
            fits.Column("E_MIN", "E", unit="keV", array=rmf.bounds[:, 0]),
            fits.Column("E_MAX", "E", unit="keV", array=rmf.bounds[:, 1]),
        ],
        name="EBOUNDS",
    )
    _head(
        bounds,
        rmf.keywords,
        HDUCLAS1="RESPONSE",
        HDUVERS="1.2.0",
        HDUCLAS2="EBOUNDS",
        DETCHANS=n_channels,
        TLMIN1=int(numbers[0]),
        TLMAX1=int(numbers[-1]),
    )
    return _write(path, [matrix, bounds], overwrite)


def _integers(values: np.ndarray) -> str:
    """Return the FITS format that holds some integers: 16 bits, or 32 where they need it."""
    return "J" if np.size(values) and np.max(np.abs(values)) > np.iinfo(np.int16).max else "I"


def _energies(edges: np.ndarray) -> list[Any]:
    from astropy.io import fits

    form = "E" if np.all(np.diff(edges.astype(np.float32)) > 0) else "D"
    return [
        fits.Column("ENERG_LO", form, unit="keV", array=edges[:-1]),
        fits.Column("ENERG_HI", form, unit="keV", array=edges[1:]),
    ]


def _rows(flat: np.ndarray, cut: np.ndarray, dtype: type) -> np.ndarray:
    """Cut a flat array into an array of rows of different length."""
    rows = np.empty(len(cut) + 1, object)
    rows[:] = [part.astype(dtype) for part in np.split(flat, cut)]
    return rows


def _head(hdu: Any, keywords: Any, **more: Any) -> None:
    hdu.header["HDUCLASS"] = "OGIP"
    for key, default in (("TELESCOP", "none"), ("INSTRUME", "none"), ("FILTER", "none"), ("CHANTYPE", "PI")):
        hdu.header.setdefault(key, default)
    for key, value in {**keywords, **more}.items():
        hdu.header[key] = value


def _write(path: str | os.PathLike[str], hdus: list[Any], overwrite: bool) -> Path:
    from astropy.io import fits

    path = Path(path)
    if path.exists() and not overwrite:
        raise SkyfoldError(f"{path}: the file exists already. Give another name, or overwrite=True")
    if not path.parent.is_dir():
        raise SkyfoldError(f"{path}: the folder {path.parent} does not exist. Make it first")
    with whole_file(path) as temporary:
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(temporary)
    return path
