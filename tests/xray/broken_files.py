"""Broken X-ray files of every kind that readers must refuse with a clear error.

Each case writes a complete, good set of files into a folder and then damages one of them. `CASES` serves the tests
of the readers and of the command line alike.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from skyfold.xray.files.records import Arf, Pha, Rmf
from skyfold.xray.simulate import ccd_response, fakeit, write_arf, write_pha, write_rmf


@dataclass(frozen=True)
class Case:
    """One kind of broken input: `build` writes it and returns what to read; `words` must stand in the message."""

    name: str
    build: Callable[[Path], Path]
    words: tuple[str, ...]
    notice: tuple[float, float] | None = None


class PowerLaw:
    """Photon power law with index 2 that needs no other part of the package."""

    def evaluate(self, edges: Any) -> np.ndarray:
        return -1e-3 * np.diff(1.0 / np.asarray(edges))


def records() -> tuple[Pha, Rmf, Arf]:
    """Small source spectrum and response."""
    rmf, arf = ccd_response(energies=(0.3, 8.0), energy_step=0.05, channel_width=0.1, n_channels=80)
    fake = fakeit(PowerLaw(), rmf, arf, 2e3, min_counts=10, seed=1, response_file="good.rmf", arf_file="good.arf")
    return fake.source, rmf, arf


def write(folder: Path, pha: Pha | None = None, rmf: Rmf | None = None, arf: Arf | None = None) -> Path:
    """Write a complete set, with one record replaced, and return the spectrum's path."""
    good = records()
    write_pha(folder / "good.pha", pha or good[0])
    write_rmf(folder / "good.rmf", rmf or good[1])
    write_arf(folder / "good.arf", arf or good[2])
    return folder / "good.pha"


def edit(path: Path, change: Callable[[fits.HDUList], None]) -> None:
    """Change a FITS file in place."""
    with fits.open(path, memmap=False) as file:
        for hdu in file[1:]:
            _ = hdu.data
        change(file)
        file.writeto(path, overwrite=True)


def drop_column(path: Path, column: str, hdu: int = 1) -> None:
    """Take one column out of a table."""

    def change(file: fits.HDUList) -> None:
        kept = [c for c in file[hdu].columns if c.name != column]
        header = fits.Header(
            [card for card in file[hdu].header.cards if card.keyword[:5] not in ("TTYPE", "TFORM", "TUNIT")]
        )
        file[hdu] = fits.BinTableHDU.from_columns(kept, header=header, name=file[hdu].name)

    edit(path, change)


def _header(name: str, hdu: int = 1, **values: Any) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        source = write(folder)

        def change(file: fits.HDUList) -> None:
            for key, value in values.items():
                if value is None:
                    del file[hdu].header[key]
                else:
                    file[hdu].header[key] = value

        edit(folder / name, change)
        return source

    return build


def _cell(name: str, column: str, row: int, value: Any, hdu: int = 1) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        source = write(folder)
        edit(folder / name, lambda file: file[hdu].data[column].__setitem__(row, value))
        return source

    return build


def _without(name: str, column: str, hdu: int = 1) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        source = write(folder)
        drop_column(folder / name, column, hdu)
        return source

    return build


def _cut(name: str, keep: float) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        source = write(folder)
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: int(keep * len(whole))])
        return source

    return build


def _pha(**changes: Any) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        pha = records()[0]
        return write(folder, pha=replace(pha, **{k: v(pha) if callable(v) else v for k, v in changes.items()}))

    return build


def _rmf(**changes: Callable[[Rmf], Any]) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        rmf = records()[1]
        return write(folder, rmf=replace(rmf, **{k: v(rmf) for k, v in changes.items()}))

    return build


def _arf(**changes: Callable[[Arf], Any]) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        arf = records()[2]
        return write(folder, arf=replace(arf, **{k: v(arf) for k, v in changes.items()}))

    return build


def _exposures(row: int, value: float) -> Callable[[Path], Path]:
    return _pha(exposure=lambda p: _put(np.linspace(1e3, 2e3, len(p.channels)), row, value))


def _put(array: np.ndarray, index: int, value: float) -> np.ndarray:
    changed = array.astype(float)
    changed[index] = value
    return changed


def _absent(folder: Path) -> Path:
    write(folder)
    return folder / "nothing.pha"


def _folder(folder: Path) -> Path:
    write(folder)
    (folder / "set").mkdir()
    return folder / "set"


def _content(content: bytes, name: str = "good.pha") -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        source = write(folder)
        (folder / name).write_bytes(content)
        return source

    return build


def _image(folder: Path) -> Path:
    write(folder)
    fits.PrimaryHDU(np.ones((4, 4))).writeto(folder / "image.fits")
    return folder / "image.fits"


def _swap(name: str, other: str) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        source = write(folder)
        (folder / name).write_bytes((folder / other).read_bytes())
        return source

    return build


def _gone(name: str) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        source = write(folder)
        (folder / name).unlink()
        return source

    return build


def _packed(folder: Path) -> Path:
    source = write(folder)
    packed = gzip.compress(source.read_bytes())
    source.unlink()
    (folder / "good.pha.gz").write_bytes(packed[: len(packed) // 2])
    return folder / "good.pha.gz"


def _other_channels(folder: Path) -> Path:
    rmf, _ = ccd_response(energies=(0.3, 8.0), energy_step=0.05, channel_width=0.05, n_channels=160)
    return write(folder, rmf=rmf)


def _type_two(folder: Path) -> Path:
    write(folder)
    counts = np.ones((3, 80), np.int32)
    columns = [
        fits.Column("SPEC_NUM", "I", array=np.arange(1, 4)),
        fits.Column("CHANNEL", "80J", array=np.tile(np.arange(80), (3, 1))),
        fits.Column("COUNTS", "80J", array=counts),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    table.header.update(EXPOSURE=1e3, DETCHANS=80, HDUCLAS1="SPECTRUM", HDUCLAS4="TYPE:II")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / "two.pha")
    return folder / "two.pha"


def _words_for_counts(folder: Path) -> Path:
    source = write(folder)

    def change(file: fits.HDUList) -> None:
        columns = [c for c in file[1].columns if c.name != "COUNTS"]
        columns.append(fits.Column("COUNTS", "4A", array=np.array(["many"] * 80)))
        header = fits.Header([("EXPOSURE", 1e3), ("HDUCLAS1", "SPECTRUM")])
        file[1] = fits.BinTableHDU.from_columns(columns, header=header, name="SPECTRUM")

    edit(source, change)
    return source


def _no_bounds(folder: Path) -> Path:
    source = write(folder)
    edit(folder / "good.rmf", lambda file: file.pop(2))
    return source


def _short_row(folder: Path) -> Path:
    source = write(folder)

    def change(file: fits.HDUList) -> None:
        file[1].data["N_CHAN"][7] = file[1].data["N_CHAN"][7] + 1

    edit(folder / "good.rmf", change)
    return source


def _fewer_energies(folder: Path) -> Path:
    arf = records()[2]
    return write(folder, arf=Arf(None, arf.edges[:-3], arf.area[:-3]))


def _bad_background(folder: Path) -> Path:
    pha = records()[0]
    source = write(folder, pha=replace(pha, background_file="back.pha"))
    half = {
        name: getattr(pha, name)[:40]
        for name in ("channels", "counts", "area_scaling", "back_scaling", "quality", "grouping", "sys_err")
    }
    write_pha(folder / "back.pha", replace(pha, detector_channels=40, **half))
    return source


CASES = [
    Case("no such file", _absent, ("nothing.pha", "no such file")),
    Case("a folder", _folder, ("set", "folder")),
    Case("empty file", _content(b""), ("good.pha", "not a FITS file")),
    Case("text file", _content(b"1 2 3\n" * 2000), ("good.pha", "not a FITS file")),
    Case("no table", _image, ("image.fits", "no PHA spectrum")),
    Case("truncated spectrum", _cut("good.pha", 0.7), ("good.pha", "copy it again")),
    Case("truncated in the last table", _cut("good.rmf", 0.9), ("good.rmf", "EBOUNDS", "cut short")),
    Case("truncated response", _cut("good.rmf", 0.7), ("good.rmf", "copy it again")),
    Case("truncated within the header", _cut("good.arf", 0.2), ("good.arf",)),
    Case("truncated gzip", _packed, ("good.pha.gz", "Copy it again")),
    Case("effective area as spectrum", _swap("good.pha", "good.arf"), ("good.pha", "no PHA spectrum")),
    Case("effective area as response", _swap("good.rmf", "good.arf"), ("good.rmf", "no redistribution matrix")),
    Case("spectrum as effective area", _swap("good.arf", "good.pha"), ("good.arf", "no effective area")),
    Case("response is not FITS", _content(b"not a response" * 500, "good.rmf"), ("good.rmf", "not a FITS file")),
    Case("type II spectrum", _type_two, ("two.pha", "type II")),
    Case("negative counts", _pha(counts=lambda p: _put(p.counts, 12, -1)), ("COUNTS", "row 13", "negative")),
    Case("NaN counts", _pha(counts=lambda p: _put(p.counts, 12, np.nan)), ("COUNTS", "row 13", "not a finite")),
    Case("infinite counts", _pha(counts=lambda p: _put(p.counts, 3, np.inf)), ("COUNTS", "row 4")),
    Case("words for counts", _words_for_counts, ("COUNTS", "not numbers")),
    Case("no COUNTS", _without("good.pha", "COUNTS"), ("good.pha", "COUNTS")),
    Case("no EXPOSURE", _header("good.pha", EXPOSURE=None), ("good.pha", "EXPOSURE is missing")),
    Case("zero exposure", _header("good.pha", EXPOSURE=0.0), ("good.pha", "EXPOSURE", "above zero")),
    Case("negative exposure", _header("good.pha", EXPOSURE=-3.0), ("good.pha", "EXPOSURE", "above zero")),
    Case("EXPOSURE in words", _header("good.pha", EXPOSURE="long"), ("good.pha", "EXPOSURE", "not a number")),
    Case("zero in the column EXPOSURE", _exposures(12, 0.0), ("EXPOSURE", "row 13", "above zero")),
    Case("NaN in the column EXPOSURE", _exposures(12, np.nan), ("EXPOSURE", "row 13", "above zero")),
    Case("negative AREASCAL", _header("good.pha", AREASCAL=-1.0), ("good.pha", "AREASCAL")),
    Case("channel twice", _cell("good.pha", "CHANNEL", 5, 4), ("CHANNEL", "row 6", "twice")),
    Case("all channels bad", _pha(quality=np.ones(80, int)), ("good.pha", "QUALITY")),
    Case("net without errors", _header("good.pha", HDUCLAS2="NET", POISSERR=False), ("good.pha", "STAT_ERR")),
    Case("response missing", _gone("good.rmf"), ("RESPFILE", "good.rmf", "response=")),
    Case("no response named", _header("good.pha", RESPFILE="none"), ("RESPFILE", "response=")),
    Case("effective area missing", _gone("good.arf"), ("ANCRFILE", "good.arf", "arf=")),
    Case("response of other channels", _other_channels, ("good.pha", "80 channels", "160")),
    Case("background of other channels", _bad_background, ("back.pha", "40 channels")),
    Case("NaN area", _arf(area=lambda a: _put(a.area, 20, np.nan)), ("good.arf", "SPECRESP", "row 21")),
    Case("negative area", _arf(area=lambda a: _put(a.area, 20, -1.0)), ("good.arf", "SPECRESP", "row 21")),
    Case("no SPECRESP", _without("good.arf", "SPECRESP"), ("good.arf", "SPECRESP")),
    Case("no area at all", _arf(area=lambda a: 0 * a.area), ("zero in every noticed channel",)),
    Case("area on fewer energies", _fewer_energies, ("good.arf", "151 energy bins", "154")),
    Case("area on other energies", _arf(edges=lambda a: 1.02 * a.edges), ("good.arf", "edge")),
    Case("gap between energies", _cell("good.rmf", "ENERG_LO", 30, 1.82), ("ENERG_LO", "row 31", "gap")),
    Case("overlapping energies", _cell("good.rmf", "ENERG_LO", 30, 1.78), ("ENERG_LO", "row 31", "overlap")),
    Case("reversed energies", _cell("good.rmf", "ENERG_LO", 30, 1.90), ("good.rmf", "row 31", "ENERG_LO")),
    Case("NaN energy", _cell("good.rmf", "ENERG_HI", 30, np.nan), ("ENERG_HI", "row 31")),
    Case("NaN channel energy", _cell("good.rmf", "E_MIN", 30, np.nan, hdu=2), ("EBOUNDS", "row 31")),
    Case("F_CHAN outside", _header("good.rmf", TLMIN4=40), ("F_CHAN", "row 1", "TLMIN")),
    Case("NaN matrix", _rmf(values=lambda r: _put(r.values, 100, np.nan)), ("MATRIX", "row", "not a number")),
    Case("negative matrix", _rmf(values=lambda r: _put(r.values, 100, -2.0)), ("MATRIX", "row", "negative")),
    Case("matrix row too short", _short_row, ("MATRIX", "row 8")),
    Case("no EBOUNDS", _no_bounds, ("good.rmf", "EBOUNDS")),
    Case("no N_CHAN", _without("good.rmf", "N_CHAN"), ("good.rmf", "N_CHAN")),
    Case("nothing in range", write, ("good.pha", "leaves no group", "keV"), notice=(20.0, 30.0)),
    Case("empty range", write, ("empty",), notice=(8.0, 0.5)),
    Case("range is NaN", write, ("not a number",), notice=(np.nan, 3.0)),
]
