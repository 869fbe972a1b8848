"""Every reader of the gamma-ray sky, given what it should not be given: right, or an error that says where; no "
"number."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skyfold.errors import SkyfoldError
from skyfold.gammaray.maps import CountsMap
from skyfold.gammaray.plate_carree import read_plate_carree
from skyfold.gammaray.psf import LatPsf
from skyfold.gammaray.regions import Discs
from skyfold.gammaray.templates import Template

pytest.importorskip("astropy_healpix")
hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

NSIDE = 2
N = 12 * NSIDE**2
COUNTS = np.arange(N) % 5.0
#: What happens to a value of a column.
VALUES = {"nan": np.nan, "infinite": np.inf, "negative": -3.0, "unseen": -1.6375e30, "fraction": 0.5}
#: What happens to a keyword; None takes it away.
KEYWORDS = [None, "", "abc", -1, 0, 3, 1e300, "NaN", True]
quick = settings(max_examples=60, deadline=None, derandomize=True)


def table(
    path: Path, name: str, values: np.ndarray, unit: str | None = None, damage: Any = None, explicit: bool = False
) -> None:
    """HEALPix table, damaged: ("value", row, number), ("null", row), ("rows",) or ("keyword", key, value)."""
    from astropy.io import fits

    values = np.array(values, dtype=np.float64)
    kind, null = "D", None
    if damage and damage[0] == "value":
        values[damage[1]] = damage[2]
    if damage and damage[0] == "null":
        kind, null = "J", -99
        values[damage[1]] = -99
    columns = [fits.Column(name, kind, array=values, unit=unit, null=null)]
    if explicit:
        pixels = np.arange(len(values), dtype=np.float64)
        if damage and damage[0] == "pixel":
            pixels[damage[1]] = damage[2]
        columns.insert(0, fits.Column("PIXEL", "D", array=pixels))
    hdu = fits.BinTableHDU.from_columns(columns)
    keys = {"PIXTYPE": "HEALPIX", "ORDERING": "RING", "NSIDE": NSIDE, "COORDSYS": "G", "INDXSCHM": "IMPLICIT"}
    if explicit:
        keys |= {"INDXSCHM": "EXPLICIT", "OBS_NPIX": len(values)}
    hdu.header.update(keys)
    if damage and damage[0] == "rows":
        hdu = fits.BinTableHDU(hdu.data[:-1], hdu.header)
    if damage and damage[0] == "keyword":
        hdu.header.pop(damage[1])
        if damage[2] is not None:
            hdu.header[damage[1]] = damage[2]
    hdu.writeto(path)


def outcome(read: Callable[[Path], Any], write: Callable[[Path], None], *named: str) -> Any:
    """What a reader makes of a file; None where it refuses and says where."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.fits"
        write(path)
        try:
            return read(path)
        except SkyfoldError as error:
            assert "damaged" in str(error), error
            for word in named:
                assert word in str(error), (word, str(error))
            return None


damages = st.one_of(
    st.tuples(st.just("value"), st.integers(0, N - 1), st.sampled_from(sorted(VALUES.values(), key=str))),
    st.tuples(st.just("null"), st.integers(0, N - 1)),
    st.just(("rows",)),
    st.tuples(
        st.just("keyword"),
        st.sampled_from(["PIXTYPE", "ORDERING", "NSIDE", "COORDSYS", "INDXSCHM"]),
        st.sampled_from(KEYWORDS),
    ),
)


@quick
@given(
    damage=damages, explicit=st.booleans(), unit=st.sampled_from([None, "ct", "photon", "MJy/sr", "cm2 s", "furlong"])
)
def test_counts_of_a_damaged_file_are_right_or_refused(damage: Any, explicit: bool, unit: str | None) -> None:
    words = ("HDU 1",) if damage[0] != "keyword" else ()
    if damage[0] == "value" and unit in (None, "ct", "photon"):
        words = ("HDU 1", "COUNTS", f"row {damage[1] + 1}")
    sky = outcome(CountsMap.read, lambda path: table(path, "COUNTS", COUNTS, unit, damage, explicit), *words)
    if sky is None:
        return
    assert unit in (None, "ct", "photon")
    # what is fitted is what was written there: a pixel without a number is left out
    assert np.array_equal(sky.data, COUNTS[sky.kept])
    gone = {damage[1]} if damage[0] in ("value", "null") else {N - 1} if damage[0] == "rows" else set()
    assert set(range(N)) - set(sky.kept.tolist()) == gone


@quick
@given(row=st.integers(0, N - 1), number=st.sampled_from([-1.0, N, 1.5, np.nan, np.inf, -np.inf, 3.0]))
def test_numbers_of_pixels_are_right_or_refused(row: int, number: float) -> None:
    damage = ("pixel", row, number)
    sky = outcome(
        CountsMap.read, lambda path: table(path, "COUNTS", COUNTS, None, damage, True), "HDU 1", "PIXEL", "row"
    )
    assert sky is None or (number == row and np.array_equal(sky.data, COUNTS))


@quick
@given(
    damage=damages,
    explicit=st.booleans(),
    unit=st.sampled_from([None, "cm2 s", "m2 s", "cm2 yr", "ct", "s", "furlong"]),
)
def test_exposure_of_a_damaged_file_is_right_or_refused(damage: Any, explicit: bool, unit: str | None) -> None:
    exposure = 1e11 * (1.0 + np.arange(N))
    if damage[0] == "null":
        exposure = exposure / 1e11
    words = ("HDU 1",) if damage[0] != "keyword" else ()
    if damage[0] == "value":
        words = ("HDU 1", "EXPOSURE")
    sky = outcome(
        lambda path: CountsMap.read(np.zeros(N), path),
        lambda path: table(path, "EXPOSURE", exposure, unit, damage, explicit),
        *words,
    )
    if sky is None:
        return
    wanted = exposure * {None: 1.0, "cm2 s": 1.0, "m2 s": 1e4, "cm2 yr": 365.25 * 86400}[unit]
    if damage[0] == "value" and damage[2] == 0.5:
        wanted[damage[1]] = 0.5 * wanted[0] / exposure[0]
    elif damage[0] in ("value", "null"):
        wanted[damage[1]] = 0.0
    elif damage[0] == "rows":
        wanted[-1] = 0.0
    np.testing.assert_allclose(sky.pixels.exposure, wanted)


@quick
@given(
    damage=damages,
    explicit=st.booleans(),
    units=st.sampled_from([(None, None), ("ct", "flux"), ("1 / (cm2 s sr)", "counts"), ("ct", None)]),
)
def test_template_of_a_damaged_file_is_right_or_refused(damage: Any, explicit: bool, units: Any) -> None:
    shape = 1.0 + np.arange(N)
    unit, said = units
    words = ("HDU 1",) if damage[0] in ("value", "rows") else ()
    sky = CountsMap.read(np.zeros(N), np.ones(N))
    template = outcome(
        lambda path: Template.read(path, units=said),
        lambda path: table(path, "MAP", shape, unit, damage, explicit),
        *words,
    )
    if template is None:
        return
    assert units in ((None, None), ("ct", None))
    try:
        found = np.asarray(template.template(sky.pixels))
    except SkyfoldError as error:
        assert damage[0] in ("value", "null") and f"pixel {damage[1]}" in str(error)
        return
    if damage[0] == "value":
        assert damage[2] == 0.5
        shape[damage[1]] = 0.5
    if damage[0] == "rows":
        assert explicit
        shape[-1] = 0.0
    np.testing.assert_allclose(found, shape / shape.mean())


@quick
@given(damage=damages, explicit=st.booleans(), unit=st.sampled_from([None, "ct"]))
def test_mask_of_a_damaged_file_is_right_or_refused(damage: Any, explicit: bool, unit: str | None) -> None:
    mask = (np.arange(N) % 3 == 0).astype(float)
    words = ("HDU 1",) if damage[0] != "keyword" else ()
    sky = outcome(
        lambda path: CountsMap.read(COUNTS, mask=path),
        lambda path: table(path, "MASK", mask, unit, damage, explicit),
        *words,
    )
    if sky is not None:
        assert unit is None and damage[0] == "keyword"
        assert np.array_equal(sky.kept, np.flatnonzero(mask == 0))


def image(path: Path, values: np.ndarray, keys: dict[str, Any]) -> None:
    from astropy.io import fits

    hdu = fits.PrimaryHDU(values)
    hdu.header.update({k: v for k, v in keys.items() if v is not None})
    hdu.writeto(path)


KEYS = {
    f"{k}{i}": v
    for k, pair in {
        "CTYPE": ("GLON-CAR", "GLAT-CAR"),
        "CRVAL": (0.0, 0.0),
        "CRPIX": (18.5, 9.5),
        "CDELT": (-10.0, 10.0),
    }.items()
    for i, v in zip((1, 2), pair, strict=True)
}


@quick
@given(
    key=st.sampled_from([*KEYS, "CUNIT1", "CUNIT2", "CROTA2", "PC1_2", "PC1_1"]),
    value=st.sampled_from([None, "abc", "rad", "deg", 90.0, 0.0, 1.0, True]),
)
def test_image_of_damaged_keywords_is_right_or_refused(key: str, value: Any) -> None:
    ones = np.ones((18, 36))
    keys = {**KEYS, key: value}
    read = outcome(lambda path: read_plate_carree(path, 4, parts=2), lambda path: image(path, ones, keys))
    usual = {"CUNIT1": "deg", "CUNIT2": "deg", "CROTA2": 0.0, "PC1_2": 0.0, "PC1_1": 1.0}.get(key)
    same = key not in KEYS and (value is None or (value == usual and value is not True))
    if read is not None and (same or key == "CRVAL1" or KEYS.get(key) == value):
        # the same brightness all round the sky, wherever the image begins
        assert np.allclose(read, 1.0)
    elif read is not None:
        # a place or a step that may be meant: the rest of the sky is dark, none of it is brighter
        assert key in ("CRPIX1", "CRPIX2", "CDELT1", "CDELT2", "CRVAL2") and isinstance(value, float)
        assert np.all((read >= 0) & (read <= 1.0))
    if same:
        assert read is not None


@quick
@given(place=st.tuples(st.integers(0, 17), st.integers(0, 35)), value=st.sampled_from([np.nan, np.inf, -1.0]))
def test_image_of_damaged_values_is_refused(place: tuple[int, int], value: float) -> None:
    ones = np.ones((18, 36))
    ones[place] = value
    where = (f"row {place[0]}", f"column {place[1]}", "HDU 0")
    assert outcome(lambda p: read_plate_carree(p, 4), lambda p: image(p, ones, KEYS), *where) is None


PSF = {
    "ENERG_LO": 1e3 * 2.0 ** np.arange(4),
    "ENERG_HI": 1e3 * 2.0 ** (1 + np.arange(4)),
    "NTAIL": np.full((8, 4), 0.1),
    "SCORE": np.full((8, 4), 0.5),
    "STAIL": np.full((8, 4), 0.9),
    "GCORE": np.full((8, 4), 3.0),
    "GTAIL": np.full((8, 4), 2.5),
    "PSFSCALE": np.array([5e-2, 6e-4, -0.8]),
}


def lat_file(path: Path, name: str, what: str, place: int) -> None:
    from astropy.io import fits

    values = {k: np.array(v) for k, v in PSF.items()}
    unit = {k: "MeV" if k.startswith("ENERG") else None for k in PSF}
    flat = values[name].reshape(-1)
    if what in VALUES:
        flat[place % flat.size] = VALUES[what]
    elif what == "short":
        values[name] = values[name][..., :-1]
    elif what not in ("none", "rows"):
        unit[name] = what

    def hdu(names: list[str], extension: str) -> Any:
        columns = []
        for k in names:
            v = values[k]
            dim = None if v.ndim == 1 else f"({v.shape[1]},{v.shape[0]})"
            columns.append(fits.Column(k, f"{v.size}D", array=v[None], dim=dim, unit=unit[k]))
        made = fits.BinTableHDU.from_columns(columns, name=extension)
        return fits.BinTableHDU(made.data[:0], made.header) if what == "rows" and name in names else made

    tables = hdu([k for k in PSF if k != "PSFSCALE"], "RPSF_PSF3"), hdu(["PSFSCALE"], "PSF_SCALING_PARAMS_PSF3")
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path)


@quick
@given(
    name=st.sampled_from(list(PSF)),
    what=st.sampled_from([*VALUES, "short", "rows", "none", "GeV", "keV", "s", "furlong"]),
    place=st.integers(0, 100),
)
def test_psf_of_a_damaged_file_is_right_or_refused(name: str, what: str, place: int) -> None:
    words = ("HDU", name[:6]) if what != "rows" else ("HDU", "row")
    psf = outcome(LatPsf.read, lambda path: lat_file(path, name, what, place), *words)
    if psf is None:
        return
    values = {k: np.array(v) for k, v in PSF.items()}
    if what != "none":
        # a positive number, or a negative exponent of the scaling: nothing says that it is not meant
        assert what in VALUES and (VALUES[what] == 0.5 or name == "PSFSCALE")
        flat = values[name].reshape(-1)
        flat[place % flat.size] = VALUES[what]
        assert np.all(np.isfinite(flat)) and np.all(values["PSFSCALE"][:2] >= 0)
    c0, c1, beta = psf.scaling
    np.testing.assert_allclose([c0, c1, beta], values["PSFSCALE"])
    np.testing.assert_allclose(psf.table[1], values["SCORE"][1:])


CATALOGUE = {"longitude": np.arange(5.0), "latitude": np.arange(5.0) - 2, "radius": np.full(5, 0.5)}


@quick
@given(
    name=st.sampled_from(list(CATALOGUE)),
    what=st.sampled_from(["nan", "infinite", "negative", "mask", "unit", "short", "far"]),
    place=st.integers(0, 4),
)
def test_mask_of_a_damaged_catalogue_is_right_or_refused(name: str, what: str, place: int) -> None:
    import astropy.units as u

    given_: dict[str, Any] = {k: np.array(v) for k, v in CATALOGUE.items()}
    if what == "mask":
        given_[name] = np.ma.array(given_[name], mask=np.arange(5) == place)
    elif what == "unit":
        given_[name] = given_[name] * u.s
    elif what == "short":
        given_[name] = given_[name][:-1]
    else:
        given_[name][place] = {"far": 200.0, **VALUES}[what]
    allowed = name == "longitude" and what in ("negative", "far") or name == "latitude" and what == "negative"
    allowed = allowed or (name == "radius" and what == "far")
    if not allowed:
        with pytest.raises(SkyfoldError, match=name if what != "short" else "one length"):
            Discs(**given_)
        return
    discs = Discs(**given_)
    assert np.array_equal(getattr(discs, name), given_[name])
