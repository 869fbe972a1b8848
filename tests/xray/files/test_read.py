"""OGIP files as they come: every layout of the matrix, odd headers, old numbering."""

from __future__ import annotations

import gzip
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from broken_files import edit, records, write

from skyfold.errors import FileFormatError
from skyfold.xray.files import locate
from skyfold.xray.files.read import read_arf, read_pha, read_rmf

N_CHANNELS = 12
EDGES = np.array([0.5, 0.75, 1.0, 1.5, 2.0, 3.0])


def known_matrix() -> np.ndarray:
    """Five energies by twelve channels: no, one and two stretches of channels."""
    matrix = np.zeros((5, N_CHANNELS))
    matrix[1, 0:3] = [0.1, 0.5, 0.2]
    matrix[2, 2:6] = [0.1, 0.4, 0.3, 0.1]
    matrix[3, 1:3] = 0.05
    matrix[3, 6:9] = [0.2, 0.5, 0.1]
    matrix[4, 9:12] = [0.3, 0.6, 0.1]
    return matrix


def stretches(row: np.ndarray) -> list[tuple[int, int]]:
    ends = np.flatnonzero(np.diff(np.concatenate([[0], row > 0, [0]])))
    return [(int(a), int(b - a)) for a, b in ends.reshape(-1, 2)]


def objects(rows: list[np.ndarray]) -> np.ndarray:
    out = np.empty(len(rows), object)
    out[:] = rows
    return out


def layout(kind: str, first: int, order: np.ndarray) -> fits.BinTableHDU:
    """Write the known matrix in one of the layouts in use."""
    matrix = known_matrix()
    if kind == "scalar":
        matrix_rows = [matrix[i] for i in order]
        groups = [[(0, N_CHANNELS)] for _ in order]
    else:
        groups = [stretches(matrix[i]) for i in order]
        matrix_rows = [
            np.concatenate([matrix[i][a : a + n] for a, n in g]) if g else np.zeros(0)
            for i, g in zip(order, groups, strict=True)
        ]
    count = np.array([len(g) for g in groups])
    starts = [np.array([a + first for a, _ in g], np.int16) for g in groups]
    lengths = [np.array([n for _, n in g], np.int16) for g in groups]
    if kind == "variable":
        forms = ("PI()", "PI()", "PE()")
        data = objects(starts), objects(lengths), objects([r.astype(np.float32) for r in matrix_rows])
    elif kind == "scalar":
        forms = ("I", "I", f"{N_CHANNELS}E")
        data = np.concatenate(starts), np.concatenate(lengths), np.array(matrix_rows)
    else:
        width = {"fixed": 2, "padded": 5}[kind]
        longest = max(map(len, matrix_rows)) + (3 if kind == "padded" else 0)

        def pad(rows: list[np.ndarray], to: int) -> np.ndarray:
            return np.array([np.pad(r, (0, to - len(r))) for r in rows])

        forms = (f"{width}I", f"{width}I", f"{longest}E")
        data = pad(starts, width), pad(lengths, width), pad(matrix_rows, longest)
    columns = [
        fits.Column("energ_lo", "E", unit="keV", array=EDGES[:-1][order]),
        fits.Column("energ_hi", "E", unit="keV", array=EDGES[1:][order]),
        fits.Column("n_grp", "I", array=count),
        *(fits.Column(n, f, array=d) for n, f, d in zip(("f_chan", "n_chan", "matrix"), forms, data, strict=True)),
    ]
    return fits.BinTableHDU.from_columns(columns)


@pytest.mark.parametrize("kind", ["scalar", "fixed", "padded", "variable"])
@pytest.mark.parametrize("first", [0, 1, None])
@pytest.mark.parametrize("order", [np.arange(5), np.arange(5)[::-1]], ids=["ascending", "descending"])
def test_every_layout_of_the_matrix(kind: str, first: int | None, order: np.ndarray, tmp_path: Path) -> None:
    number = 1 if first is None else first
    table = layout(kind, number, order)
    table.header.update(HDUCLAS1="RESPONSE", HDUCLAS2="RSP_MATRIX", EXTNAME="Matrix")
    if first is not None:
        table.header["TLMIN4"] = first
    bounds = fits.BinTableHDU.from_columns(
        [
            fits.Column("CHANNEL", "E", array=number + np.arange(N_CHANNELS)),
            fits.Column("E_MIN", "E", array=np.arange(N_CHANNELS) * 0.25),
            fits.Column("E_MAX", "E", array=np.arange(1, N_CHANNELS + 1) * 0.25),
        ],
        name="EBOUNDS",
    )
    other = fits.BinTableHDU.from_columns([fits.Column("START", "D", array=np.zeros(2))], name="GTI")
    for name, hdus in (("a.rmf", [table, bounds]), ("b.rmf", [other, bounds, table])):
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / name)
        rmf = read_rmf(tmp_path / name)
        np.testing.assert_allclose(rmf.dense(), known_matrix().T, rtol=1e-6)
        np.testing.assert_allclose(rmf.edges, EDGES)
        assert rmf.first_channel == number
        assert not rmf.complete


def test_bounds_without_channel_column_and_in_ev(tmp_path: Path) -> None:
    table = layout("variable", 1, np.arange(5))
    bounds = fits.BinTableHDU.from_columns(
        [
            fits.Column("E_MIN", "E", unit="eV", array=np.arange(N_CHANNELS)[::-1] * 250.0),
            fits.Column("E_MAX", "E", unit="eV", array=np.arange(1, N_CHANNELS + 1)[::-1] * 250.0),
        ],
        name="EBOUNDS",
    )
    fits.HDUList([fits.PrimaryHDU(), table, bounds]).writeto(tmp_path / "a.rmf")
    rmf = read_rmf(tmp_path / "a.rmf")
    np.testing.assert_allclose(rmf.bounds[0], [2.75, 3.0])
    np.testing.assert_allclose(rmf.dense(), known_matrix().T, rtol=1e-6)


def test_edges_that_miss_by_float32_rounding_are_joined(tmp_path: Path) -> None:
    write(tmp_path)

    def nudge(file: fits.HDUList) -> None:
        file[1].data["ENERG_LO"][10] = np.nextafter(file[1].data["ENERG_LO"][10], np.float32(9))

    edit(tmp_path / "good.rmf", nudge)
    assert np.all(np.diff(read_rmf(tmp_path / "good.rmf").edges) > 0)


def test_energy_of_zero_becomes_a_small_one_as_in_xspec(tmp_path: Path) -> None:
    write(tmp_path)
    edit(tmp_path / "good.arf", lambda file: file[1].data["ENERG_LO"].__setitem__(0, 0.0))
    edges = read_arf(tmp_path / "good.arf").edges
    assert edges[0] == pytest.approx(edges[1] / 1000)


def test_complete_response(tmp_path: Path) -> None:
    write(tmp_path)
    edit(tmp_path / "good.rmf", lambda file: file[1].header.__setitem__("EXTNAME", "SPECRESP MATRIX"))
    assert read_rmf(tmp_path / "good.rmf").complete


def test_several_matrices_are_refused(tmp_path: Path) -> None:
    bounds = fits.BinTableHDU.from_columns(
        [
            fits.Column("E_MIN", "E", array=np.arange(N_CHANNELS) * 0.25),
            fits.Column("E_MAX", "E", array=np.arange(1, N_CHANNELS + 1) * 0.25),
        ]
    )
    tables = [layout("fixed", 1, np.arange(5)) for _ in range(2)]
    fits.HDUList([fits.PrimaryHDU(), *tables, bounds]).writeto(tmp_path / "a.rmf")
    with pytest.raises(FileFormatError, match="2 extensions hold a redistribution matrix"):
        read_rmf(tmp_path / "a.rmf")


def test_spectrum_round_trip(tmp_path: Path) -> None:
    pha = records()[0]
    again = read_pha(write(tmp_path))
    for name in ("channels", "counts", "quality", "grouping", "area_scaling", "back_scaling"):
        np.testing.assert_array_equal(getattr(again, name), getattr(pha, name))
    assert (again.exposure, again.first_channel, again.detector_channels) == (2e3, 0, 80)
    assert again.response_file == "good.rmf"
    assert again.poisson and not again.net


def test_numbers_as_text_and_columns_instead_of_keywords(tmp_path: Path) -> None:
    path = write(tmp_path)

    def change(file: fits.HDUList) -> None:
        columns = [fits.Column(c.name.lower(), c.format, array=c.array) for c in file[1].columns]
        columns += [
            fits.Column("AreaScal", "E", array=np.linspace(0.5, 1, 80)),
            fits.Column("Sys_Err", "E", array=np.full(80, 0.02)),
        ]
        header = file[1].header
        file[1] = fits.BinTableHDU.from_columns(columns)
        for key in ("HDUCLAS1", "EXPOSURE", "RESPFILE", "DETCHANS"):
            file[1].header[key] = header[key]
        file[1].header["EXPOSURE"] = " 2000.0 "
        file[1].header["BACKSCAL"] = "0.25"

    edit(path, change)
    pha = read_pha(path)
    assert pha.exposure == 2000.0
    np.testing.assert_allclose(pha.area_scaling, np.linspace(0.5, 1, 80), rtol=1e-6)
    np.testing.assert_allclose(pha.sys_err, 0.02)
    np.testing.assert_allclose(pha.back_scaling, 0.25)


def test_rates_become_counts(tmp_path: Path) -> None:
    path = write(tmp_path)
    counts = records()[0].counts

    def change(file: fits.HDUList) -> None:
        columns = [c for c in file[1].columns if c.name != "COUNTS"]
        columns.append(fits.Column("RATE", "D", array=counts / 2e3))
        header = file[1].header
        file[1] = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
        for key in ("HDUCLAS1", "EXPOSURE", "RESPFILE", "DETCHANS", "POISSERR"):
            file[1].header[key] = header[key]

    edit(path, change)
    np.testing.assert_allclose(read_pha(path).counts, counts, atol=1e-9)


def test_missing_values_in_bad_channels_are_harmless(tmp_path: Path) -> None:
    pha = records()[0]
    counts, quality = pha.counts.copy(), pha.quality.copy()
    counts[3], quality[3] = np.nan, 1
    from dataclasses import replace

    assert read_pha(write(tmp_path, pha=replace(pha, counts=counts, quality=quality))).counts[3] == 0


@pytest.mark.parametrize("subset", [slice(3, 60), slice(0, 79)])
def test_part_of_the_channels(subset: slice, tmp_path: Path) -> None:
    path = write(tmp_path)
    edit(path, lambda file: file.__setitem__(1, fits.BinTableHDU(file[1].data[subset], header=file[1].header)))
    pha = read_pha(path)
    assert pha.detector_channels == 80
    assert pha.first_channel == 0
    assert pha.channels[0] == subset.start


def test_no_channel_column(tmp_path: Path) -> None:
    path = write(tmp_path)

    def change(file: fits.HDUList) -> None:
        header = fits.Header([("EXPOSURE", 1e3), ("HDUCLAS1", "SPECTRUM")])
        kept = [c for c in file[1].columns if c.name != "CHANNEL"]
        file[1] = fits.BinTableHDU.from_columns(kept, header=header, name="SPECTRUM")

    edit(path, change)
    pha = read_pha(path)
    np.testing.assert_array_equal(pha.channels - pha.first_channel, np.arange(80))


def test_packed_files(tmp_path: Path) -> None:
    path = write(tmp_path)
    for name in ("good.pha", "good.rmf", "good.arf"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    np.testing.assert_array_equal(read_pha(tmp_path / "good.pha.gz").counts, read_pha(path).counts)
    assert len(read_rmf(tmp_path / "good.rmf.gz").values) == len(read_rmf(tmp_path / "good.rmf").values)


def test_file_names_of_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for nothing in ("", "  ", "none", "NONE", "%match%", None):
        assert locate.named(nothing) is None
    monkeypatch.setenv("RESPONSES", str(tmp_path))
    assert locate.named("$RESPONSES/a.rmf") == f"{tmp_path}/a.rmf"
    assert locate.split("a.rmf{2}") == ("a.rmf", "{2}") and locate.split("a[1].rmf") == ("a[1].rmf", "")
    assert locate.split(locate.named(" a.rmf[MATRIX]") or "") == ("a.rmf", "[MATRIX]")
    (tmp_path / "Some.RMF").touch()
    (tmp_path / "packed.arf.gz").touch()
    (tmp_path / "plain.arf").touch()
    for name, found in (
        ("Some.RMF", "Some.RMF"),
        ("some.rmf", "Some.RMF"),
        ("SOME.RMF.gz", "Some.RMF"),
        ("packed.arf", "packed.arf.gz"),
        ("plain.arf.gz", "plain.arf"),
        ("/another/machine/plain.arf", "plain.arf"),
        ("sub/plain.arf", "plain.arf"),
        ("plain.arf{2}", "plain.arf{2}"),
    ):
        assert locate.find(name, tmp_path) == tmp_path / found
    assert locate.find("other.arf", tmp_path) is None


@pytest.mark.parametrize("suffix", [".pha", ".pi", ".rmf", ".rsp", ".arf", ".fits", ".gz"])
def test_every_real_file_reads_as_exactly_one_thing(suffix: str, shared: Path) -> None:
    other = ("3c120_pha2.gz", "pha2.gz", "pha2_bg.gz")  # type II
    found_there = sorted((shared / "data/xray").rglob(f"*{suffix}"))
    files = [p for p in found_there if p.name not in other and ".json" not in p.name]
    assert files
    for path in files:
        found = []
        for read in (read_pha, read_rmf, read_arf):
            try:
                found.append(read(path))
            except FileFormatError as error:
                assert ": no " in str(error), error
        assert len(found) == 1, path
        if hasattr(found[0], "bounds"):
            rmf = found[0]
            assert np.all(np.diff(rmf.edges) > 0) and rmf.edges[0] > 0
            assert np.all(rmf.bounds[:, 0] <= rmf.bounds[:, 1])
            sums = np.bincount(rmf.energy_index, weights=rmf.values)
            assert sums.max() < 1.01 or rmf.complete or "rmf22" in path.name


def test_type_two_is_named(shared: Path) -> None:
    with pytest.raises(FileFormatError, match="type II PHA file, 12 spectra"):
        read_pha(shared / "data/xray/sherpa/3c120_pha2.gz")


def test_a_large_matrix_reads_quickly(shared: Path) -> None:
    path = shared / "data/xray/ngc7793_ulx4/PN.rmf"
    took = []
    for _ in range(4):
        start = time.perf_counter()
        rmf = read_rmf(path)
        took.append(time.perf_counter() - start)
    assert len(rmf.values) > 900_000
    assert min(took) < 0.4  # some 0.05 s; the rest is for busy machines
