"""One damage anywhere in a file of a spectrum: what is read is right, or refused with the place; never silent."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.xray.files.read import read_arf, read_pha, read_rmf
from skyfold.xray.spectrum import Spectrum

N = 6
EDGES = np.linspace(1.0, 2.5, N + 1)
NUMBER = np.arange(1, N + 1)
COUNTS = np.array([5, 8, 3, 9, 4, 7])


def pha(kind: str = "COUNTS") -> list[fits.BinTableHDU]:
    """Six channels, every column a float so that anything can stand in it; rates with errors are normal data."""
    rate = kind == "RATE"
    columns = [
        fits.Column("CHANNEL", "D", array=NUMBER),
        fits.Column(kind, "D", unit="count/s" if rate else "count", array=COUNTS / 100.0 if rate else COUNTS),
        fits.Column("QUALITY", "D", array=np.zeros(N)),
        fits.Column("GROUPING", "D", array=[1, 1, -1, 1, 1, -1]),
        fits.Column("AREASCAL", "D", array=np.ones(N)),
        fits.Column("BACKSCAL", "D", array=np.ones(N)),
        fits.Column("SYS_ERR", "D", array=np.zeros(N)),
    ]
    if rate:
        columns.append(fits.Column("STAT_ERR", "D", unit="count/s", array=np.sqrt(COUNTS) / 100.0))
    table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    for key, value in {
        "HDUCLASS": "OGIP",
        "HDUCLAS1": "SPECTRUM",
        "HDUCLAS2": "NET" if rate else "TOTAL",
        "EXPOSURE": 100.0,
        "DETCHANS": N,
        "POISSERR": not rate,
        "TLMIN1": 1,
        "CORRSCAL": 1.0,
    }.items():
        table.header[key] = value
    return [table]


def rmf() -> list[fits.BinTableHDU]:
    matrix = np.eye(N) * 0.7 + np.eye(N, k=1) * 0.2 + np.eye(N, k=-1) * 0.1
    columns = [
        fits.Column("ENERG_LO", "D", unit="keV", array=EDGES[:-1]),
        fits.Column("ENERG_HI", "D", unit="keV", array=EDGES[1:]),
        fits.Column("N_GRP", "D", array=np.ones(N)),
        fits.Column("F_CHAN", "D", array=np.ones(N)),
        fits.Column("N_CHAN", "D", array=np.full(N, N)),
        fits.Column("MATRIX", f"{N}D", array=matrix),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="MATRIX")
    table.header["TLMIN4"], table.header["DETCHANS"] = 1, N
    bounds = fits.BinTableHDU.from_columns(
        [
            fits.Column("CHANNEL", "D", array=NUMBER),
            fits.Column("E_MIN", "D", unit="keV", array=EDGES[:-1]),
            fits.Column("E_MAX", "D", unit="keV", array=EDGES[1:]),
        ],
        name="EBOUNDS",
    )
    bounds.header["TLMIN1"], bounds.header["DETCHANS"] = 1, N
    return [table, bounds]


def arf() -> list[fits.BinTableHDU]:
    columns = [
        fits.Column("ENERG_LO", "D", unit="keV", array=EDGES[:-1]),
        fits.Column("ENERG_HI", "D", unit="keV", array=EDGES[1:]),
        fits.Column("SPECRESP", "D", unit="cm2", array=np.linspace(100.0, 200.0, N)),
    ]
    return [fits.BinTableHDU.from_columns(columns, name="SPECRESP")]


MAKE: dict[str, Callable[[], list[fits.BinTableHDU]]] = {
    "a.pha": pha,
    "rate.pha": lambda: pha("RATE"),
    "a.rmf": rmf,
    "a.arf": arf,
}
READ = {"a.pha": read_pha, "rate.pha": read_pha, "a.rmf": read_rmf, "a.arf": read_arf}
UNITS = ["K", "m", "kg", "Jy", "keV", "cm2", "count/s", "nonsense"]
VALUES = {"nan": np.nan, "infinite": np.inf, "negative": -7.5, "mask": -99.0}
COLUMNS = [(name, i, c) for name, make in MAKE.items() for i, t in enumerate(make()) for c in t.columns.names]
KEYWORDS = [
    (name, i, key)
    for name, make in MAKE.items()
    for i, t in enumerate(make())
    for key in ("EXPOSURE", "DETCHANS", "POISSERR", "TLMIN1", "TLMIN4")
    if key in t.header
]


def written(folder: Path, name: str, hdus: list[fits.BinTableHDU]) -> Path:
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(folder / name, overwrite=True)
    return folder / name


@cache
def good(name: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return READ[name](written(Path(folder), name, MAKE[name]()))


def seen(folder: Path, name: str, hdus: list[fits.BinTableHDU]) -> dict[str, Any]:
    """What a fit sees of the three files, one of them as given."""
    names = (name if name.endswith("pha") else "a.pha", "a.rmf", "a.arf")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        records = [READ[name](written(folder, name, hdus)) if one == name else good(one) for one in names]
        made = Spectrum.assemble(*records)
        made.check()
    likelihood = made.likelihood
    return {
        "kind": type(likelihood).__name__,
        "counts": made.counts,
        "variance": np.asarray(likelihood.variance),
        "matrix": np.asarray(made.response.melted().matrix),
        "energies": made.energies,
        "edges": made.edges,
        "exposure": made.exposure,
        "background": made.files.pha.back_scaling * made.files.pha.area_scaling,
    }


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("right")
    return {name: seen(folder, name, make()) for name, make in MAKE.items()}


def behind(folder: Path, hdus: list[fits.BinTableHDU]) -> dict[str, Any]:
    """What a fit of PG-stat sees of a background with errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        back = read_pha(written(folder, "rate.pha", hdus))
        made = Spectrum.assemble(good("a.pha"), good("a.rmf"), good("a.arf"), back)
        made.check()
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(made.likelihood)]
    return {"kind": type(made.likelihood).__name__, **{str(i): leaf for i, leaf in enumerate(leaves)}}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(
        np.shape(one[k]) == np.shape(other[k]) and np.all(np.isclose(one[k], other[k], rtol=1e-12))
        if k != "kind"
        else one[k] == other[k]
        for k in one
    )


def judged(name: str, hdus: list[fits.BinTableHDU], right: dict[str, Any], *words: str) -> None:
    """The same as without the damage, or a refusal with these words and the file's name."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = seen(Path(folder), name, hdus)
        except FileFormatError as error:
            for word in (name, *words):
                assert word in str(error), (word, str(error))
            return
        except SkyfoldError as error:
            assert name in str(error), str(error)
            return
    assert same(found, right), found


QUICK = settings(max_examples=120, deadline=None, derandomize=True, database=None)


@QUICK
@given(place=st.sampled_from(COLUMNS), kind=st.sampled_from(list(VALUES)), row=st.integers(0, N - 1))
def test_one_wrong_number(place: tuple[str, int, str], kind: str, row: int, right: dict[str, dict[str, Any]]) -> None:
    name, hdu, column = place
    if (column, kind) == ("RATE", "negative"):
        return  # what is left of a rate when its background is taken away may be negative
    hdus = MAKE[name]()
    if kind == "mask":
        # an integer column with the number that stands for a missing one
        old = hdus[hdu].columns[column]
        if old.format != "D" or np.any(old.array % 1):
            return
        columns = [c for c in hdus[hdu].columns if c.name != column]
        values = np.asarray(old.array, dtype=int)
        values[row] = -99
        header = hdus[hdu].header
        new = fits.BinTableHDU.from_columns(
            [*columns, fits.Column(column, "J", array=values, null=-99, unit=old.unit)], name=hdus[hdu].name
        )
        for key in ("HDUCLASS", "HDUCLAS1", "HDUCLAS2", "EXPOSURE", "DETCHANS", "POISSERR"):
            if key in header:
                new.header[key] = header[key]
        hdus[hdu] = new
    else:
        data = hdus[hdu].data[column]
        data[(row, row) if data.ndim > 1 else row] = VALUES[kind]
    judged(name, hdus, right[name], column)


@QUICK
@given(place=st.sampled_from(COLUMNS), unit=st.sampled_from(UNITS))
def test_one_wrong_unit(place: tuple[str, int, str], unit: str, right: dict[str, dict[str, Any]]) -> None:
    name, hdu, column = place
    hdus = MAKE[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hdus[hdu].columns.change_unit(column, unit)
    judged(name, hdus, right[name], column, hdus[hdu].name)


@QUICK
@given(
    column=st.sampled_from([c for c in pha("RATE")[0].columns.names if c not in ("QUALITY", "GROUPING")]),
    kind=st.sampled_from(["nan", "infinite", "negative"]),
    row=st.integers(0, N - 1),
)
def test_one_wrong_number_of_a_background(column: str, kind: str, row: int) -> None:
    hdus = pha("RATE")
    with tempfile.TemporaryDirectory() as folder:
        right = behind(Path(folder), hdus)
        hdus[0].data[column][row] = VALUES[kind]
        if (column, kind) == ("RATE", "negative"):
            return
        try:
            found = behind(Path(folder), hdus)
        except SkyfoldError as error:
            assert "rate.pha" in str(error) and column in str(error)
            return
    assert same(found, right)


@QUICK
@given(place=st.sampled_from(sorted({(name, hdu) for name, hdu, _ in COLUMNS})), row=st.integers(0, N - 1))
def test_one_row_too_few(place: tuple[str, int], row: int, right: dict[str, dict[str, Any]]) -> None:
    name, hdu = place
    hdus = MAKE[name]()
    kept = np.delete(np.arange(N), row)
    hdus[hdu] = fits.BinTableHDU(hdus[hdu].data[kept], header=hdus[hdu].header, name=hdus[hdu].name)
    if not name.endswith("pha"):
        judged(name, hdus, right[name])
        return
    # a spectrum may hold some of the channels: what is there is what was there
    with tempfile.TemporaryDirectory() as folder:
        found = seen(Path(folder), name, hdus)
    assert found["counts"].sum() == pytest.approx(np.delete(COUNTS, row).sum())
    assert set(np.ravel(found["edges"])) <= set(np.ravel(right[name]["edges"])) | set(EDGES)


@QUICK
@given(place=st.sampled_from(KEYWORDS), value=st.sampled_from(["NaN", "INF", -3.0, "", "many", None, 1e30, 2.5]))
def test_one_wrong_keyword(place: tuple[str, int, str], value: Any, right: dict[str, dict[str, Any]]) -> None:
    name, hdu, key = place
    if key == "EXPOSURE" and isinstance(value, float) and value > 0:
        return  # any time is as good as another
    hdus = MAKE[name]()
    hdus[hdu].header[key] = value
    judged(name, hdus, right[name], hdus[hdu].name)


@pytest.mark.parametrize("unit", ["m", "K", "keV"])
def test_the_wrong_unit_of_an_exposure(unit: str, right: dict[str, dict[str, Any]]) -> None:
    hdus = pha()
    hdus[0].header["EXPOSURE"] = (100.0, f"[{unit}] exposure")
    judged("a.pha", hdus, right["a.pha"], "EXPOSURE", "SPECTRUM")
