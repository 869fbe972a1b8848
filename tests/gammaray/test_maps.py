"""Counts maps: files, regions, masks, coarser maps, likelihoods against published numbers, bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import skyfold as sf
from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.gammaray.healpix import children, downgrade, parents, to_ring
from skyfold.gammaray.map_files import read_map
from skyfold.gammaray.maps import CountsMap
from skyfold.gammaray.nfw import NFWSquared
from skyfold.gammaray.plate_carree import _read, bulge, read_plate_carree
from skyfold.gammaray.regions import Band, Disc, Discs
from skyfold.gammaray.templates import Isotropic, Template

pytest.importorskip("astropy_healpix")

NSIDE = 16
N = 12 * NSIDE**2
ROI = Disc(25) & ~Band(2)
FILES = {"pib": "Opi", "ics": "Oic", "iso": "iso", "bub": "bub", "psc": "psc_3fgl", "nfw": "nfw_g1p0"}


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "data/gammaray/fermi_573w_nside128"


@pytest.fixture(scope="module")
def fermi(folder: Path) -> CountsMap:
    sky = CountsMap.read(
        folder / "fermidata_counts.npy",
        exposure=folder / "fermidata_exposure.npy",
        mask=folder / "mask_3fgl_0p8deg.npy",
    )
    return sky.within(ROI)


@pytest.fixture(scope="module")
def arrays(shared: Path) -> Any:
    return np.load(shared / "reference/gammaray/arrays.npz")


@pytest.fixture
def counts() -> np.ndarray:
    return np.random.default_rng(1).poisson(3.0, N).astype(float)


def test_region_of_the_reference(fermi: CountsMap, arrays: Any) -> None:
    assert np.array_equal(fermi.pixels.index, arrays["pixel"])
    assert np.array_equal(fermi.pixels.index[fermi.kept], arrays["pixel"][~arrays["mask_3fgl"]])
    assert np.array_equal(fermi.data, arrays["counts"][~arrays["mask_3fgl"]])
    assert (fermi.n_data, fermi.data.sum(), fermi.data.max()) == (6839, 135202, 103)
    assert np.isnan(fermi.counts).sum() == 8292 - 6839


def test_templates_of_the_reference(fermi: CountsMap, folder: Path, arrays: Any) -> None:
    for name, file in FILES.items():
        found = np.asarray(Template.read(folder / f"template_{file}.npy").template(fermi.pixels))
        np.testing.assert_allclose(found, arrays[f"poisson_{name}"], rtol=1e-12)


@pytest.mark.parametrize("number", [0, 1])
def test_poisson_cases(fermi: CountsMap, folder: Path, shared: Path, number: int) -> None:
    case = json.loads((shared / "reference/gammaray/nptf_cases.json").read_text())["cases"][number]
    assert case["np"] == []
    parts = [Template.read(folder / f"template_{FILES[k]}.npy", v, name=k) for k, v in case["poisson"].items()]
    model = sum(parts[1:], start=parts[0])
    pointwise = np.asarray(fermi.pointwise(fermi.predict(model)))
    np.testing.assert_allclose(pointwise[:5], case["first5_pixel_loglike"], rtol=1e-12)
    assert pointwise.sum() == pytest.approx(case["loglike_reference"], abs=1e-9)


def published(folder: Path) -> Any:
    free = {"pib": 14, "ics": 14, "iso": 5, "bub": 5, "psc": 5}
    parts = [
        Template.read(folder / f"template_{FILES[k]}.npy", sf.Uniform(1e-3, high), name=k) for k, high in free.items()
    ]
    return sum(parts[1:], start=parts[0]) + NFWSquared(0.9, sf.Uniform(1e-5, 4), exposure=False)


def test_posterior_against_long_chains(fermi: CountsMap, folder: Path, shared: Path) -> None:
    text = (shared / "reference/gammaray/posterior_small_models_nuts.json").read_text()
    wanted = json.loads(text)["poisson"]
    result = sf.Posterior((published(folder), fermi)).fit("auto", seed=1)
    assert result.converged
    for name, values in result.samples.items():
        reference = wanted["S_" + name.removesuffix(".norm")]
        mean = np.average(values.ravel(), weights=result.weights.ravel())
        sd = np.sqrt(np.average((values.ravel() - mean) ** 2, weights=result.weights.ravel()))
        print(name, mean, (mean - reference["mean"]) / reference["sd"], sd / reference["sd"])
        assert abs(mean - reference["mean"]) < 0.1 * reference["sd"], name
        assert sd == pytest.approx(reference["sd"], rel=0.05), name


def test_shapes_share_executables(fermi: CountsMap) -> None:
    from skyfold.posterior import _jitted

    other = replace(fermi, likelihood=fermi.likelihood.with_data(fermi.data + 1.0))
    for sky, executables in ((fermi, None), (other, 0)):
        posterior = sf.Posterior((Isotropic(sf.Uniform(0, 5)), sky))
        before = _jitted.executables()
        posterior.log_likelihood(np.zeros(1))
        assert executables is None or _jitted.executables() - before == executables


def test_region_and_mask(counts: np.ndarray) -> None:
    sky = CountsMap.read(counts, exposure=np.ones(N), name="toy")
    inside = sky.within(Disc(40))
    masked = inside.masked(Discs([0.0, 20.0], [10.0, -5.0], 8.0))
    assert masked.pixels.n_pix == inside.pixels.n_pix and masked.n_data < inside.n_data
    assert np.array_equal(masked.data, inside.counts[masked.kept])
    # the norm is the mean over the region, whatever is masked
    model = Isotropic(2.0) + NFWSquared(1.0, 3.0)
    expected = np.asarray(model.evaluate(masked.pixels).smooth)
    assert expected.mean() == pytest.approx(5.0)
    np.testing.assert_allclose(masked.predict(model), expected[masked.kept])
    # masks of the sphere and of the region, of booleans and of numbers
    full = np.zeros(N)
    full[np.setdiff1d(inside.pixels.index, masked.pixels.index[masked.kept])] = 1
    assert np.array_equal(inside.masked(full).kept, masked.kept)
    assert np.array_equal(inside.masked(full.astype(bool)[inside.pixels.index]).kept, masked.kept)
    assert np.array_equal(sky.masked(full.astype(int)).within(Disc(40)).kept, masked.kept)


def test_regions() -> None:
    longitude, latitude = np.radians([0.0, 24.9, 0.0, 359.0, 180.0]), np.radians([2.0, 0.0, 25.1, -3.0, 0.0])
    assert ROI.inside(longitude, latitude).tolist() == [True, False, False, True, False]
    assert (Disc(5, 180.0, 0.0) | Band(2.0)).inside(longitude, latitude).tolist() == [False, True, False, False, True]
    discs = Discs([359.5, 180.0], [-3.0, 0.5], [0.6, 0.1])
    assert discs.inside(longitude, latitude).tolist() == [False, False, False, True, False]


def test_downgrade(counts: np.ndarray) -> None:
    sky = CountsMap.read(counts, exposure=1.0 + np.arange(N) / N)
    coarse = sky.downgrade(4)
    assert coarse.data.sum() == counts.sum() and coarse.n_data == 192
    np.testing.assert_allclose(coarse.data, downgrade(counts, 4))
    np.testing.assert_allclose(coarse.pixels.exposure, downgrade(1.0 + np.arange(N) / N, 4, mean=True))
    inside = sky.within(Disc(50)).masked(Disc(10)).downgrade(8)
    nested = children(8, inside.pixels.index[inside.kept], NSIDE)
    np.testing.assert_allclose(inside.data, counts[nested].sum(axis=1))
    assert np.array_equal(parents(NSIDE, nested[:, 0], 8), inside.pixels.index[inside.kept])
    assert Disc(50).inside(*np.moveaxis(np.array([sky.pixels.longitude, sky.pixels.latitude]), 0, 0))[nested].all()
    with pytest.raises(SkyfoldError, match="finer"):
        sky.downgrade(32)


def test_energy_bins() -> None:
    rng = np.random.default_rng(4)
    counts = rng.poisson(2.0, (3, N)).astype(float)
    sky = CountsMap.read(counts, exposure=np.ones((3, N)), energies=[1.0, 2.0, 4.0, 8.0]).within(Disc(60))
    sky = sky.masked(Disc(5))
    model = Isotropic(np.array([1.0, 2.0, 3.0]))
    expected = np.asarray(sky.predict(model)).reshape(3, -1)
    np.testing.assert_allclose(expected.mean(axis=1), [1.0, 2.0, 3.0])
    assert sky.n_data == 3 * len(sky.kept) and sky.counts.shape == (3, sky.pixels.n_pix)
    assert np.array_equal(sky.data.reshape(3, -1), counts[:, sky.pixels.index[sky.kept]])
    assert sky.downgrade(8).counts.shape[0] == 3
    with pytest.raises(SkyfoldError, match="energy bins"):
        sky.with_point_sources([1.0], [1.0])
    with pytest.raises(SkyfoldError, match="same energy bins"):
        sky.predict(Isotropic(np.ones(2), exposure=False))


def test_files(tmp_path: Path, counts: np.ndarray) -> None:
    from astropy.io import fits

    nested = np.empty(N)
    nested[to_ring(np.arange(N)).astype(int)] = counts
    assert np.array_equal(to_ring(nested), counts)
    np.save(tmp_path / "ring.npy", counts)
    np.save(tmp_path / "nest.npy", nested)

    def table(name: str, values: np.ndarray, ordering: str, **more: Any) -> Path:
        columns = [fits.Column("COUNTS", "E", array=values)]
        if "pixel" in more:
            columns.insert(0, fits.Column("PIXEL", "J", array=more.pop("pixel")))
        hdu = fits.BinTableHDU.from_columns(columns)
        hdu.header.update({"PIXTYPE": "HEALPIX", "ORDERING": ordering, "NSIDE": NSIDE, "COORDSYS": "G", **more})
        hdu.writeto(tmp_path / name)
        return tmp_path / name

    assert np.array_equal(CountsMap.read(tmp_path / "ring.npy").data, counts)
    assert np.array_equal(CountsMap.read(tmp_path / "nest.npy", nest=True).data, counts)
    assert np.array_equal(CountsMap.read(table("r.fits", counts, "RING")).data, counts)
    assert np.array_equal(read_map(table("n.fits", nested, "NESTED", COORDSYS="G")), counts)
    some = np.arange(0, N, 3)
    partial = read_map(table("p.fits", counts[some], "RING", pixel=some, INDXSCHM="EXPLICIT"))
    assert np.array_equal(partial[some], counts[some]) and partial.sum() == counts[some].sum()
    with pytest.raises(FileFormatError, match="contradicts"):
        read_map(tmp_path / "n.fits", nest=False)
    with pytest.raises(FileFormatError, match="COORDSYS"):
        read_map(table("c.fits", counts, "RING", COORDSYS="C"))
    with pytest.raises(FileFormatError, match="no such file"):
        read_map(tmp_path / "absent.npy")
    for content in ("no array", ""):
        (tmp_path / "text.npy").write_text(content)
        with pytest.raises(FileFormatError, match="not a NumPy array"):
            read_map(tmp_path / "text.npy")
    np.save(tmp_path / "short.npy", counts[:100])
    with pytest.raises(FileFormatError, match="no full HEALPix sphere"):
        read_map(tmp_path / "short.npy")


def test_wrong_order_is_noticed(counts: np.ndarray) -> None:
    sky = CountsMap.read(counts)
    plane = np.where(np.abs(sky.pixels.latitude) < np.radians(6), 40.0, 2.0)
    nested = np.empty(N)
    nested[to_ring(np.arange(N)).astype(int)] = plane
    assert CountsMap.read(plane).n_data == N
    with pytest.raises(SkyfoldError, match="nest=True"):
        CountsMap.read(nested)


def wrong(counts: np.ndarray, value: float) -> np.ndarray:
    counts = counts.copy()
    counts[7] = value
    return counts


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: CountsMap.read(wrong(c, -1.0)), "pixel 7 holds -1.0 counts"),
        (lambda c: CountsMap.read(wrong(c, np.nan)), "pixel 7 holds nan counts"),
        (lambda c: CountsMap.read(wrong(c, 0.5)), "whole numbers"),
        (lambda c: CountsMap.read(c[:-1]), "no full HEALPix sphere"),
        (lambda c: CountsMap.read(c[None, None]), "n_bins, n_pix"),
        (lambda c: CountsMap.read("absent.npy"), "no such file"),
        (lambda c: CountsMap.read({"a": 1}), "array of numbers"),
        (lambda c: CountsMap.read(c, exposure=wrong(np.ones(N), np.nan)), "exposure of pixel 7 is nan"),
        (lambda c: CountsMap.read(c + 1, exposure=wrong(np.ones(N), 0.0)), "counts and no exposure"),
        (lambda c: CountsMap.read(c, exposure=np.ones(48)), "exposure has the shape"),
        (lambda c: CountsMap.read(c, mask=np.full(N, 2)), "True"),
        (lambda c: CountsMap.read(c, mask=np.ones(48)), "mask has the shape"),
        (lambda c: CountsMap.read(c, mask=np.ones(N)), "no pixel to fit"),
        (lambda c: CountsMap.read(c, energies=[2.0, 1.0]), "increasing edges"),
        (lambda c: CountsMap.read(c).within(Disc(0.01, 40, 40)), "no pixel"),
        (lambda c: CountsMap.read(c).with_data(c[:-1]), "one number per fitted pixel"),
        (lambda c: CountsMap.read(c).predict(_factor()), "multiplicative"),
        (lambda c: CountsMap.read(c).predict(NFWSquared(1.0)), "has no exposure"),
        (lambda c: Disc(-1), "positive"),
        (lambda c: Discs([1, 2, 3], [1, 2], 1.0), "one length"),
    ],
)
def test_bad_input(counts: np.ndarray, call: Any, message: str) -> None:
    with pytest.raises(SkyfoldError, match=message):
        call(counts)


def _factor() -> Any:
    from skyfold.gammaray.harmonics import Harmonics

    return Harmonics(np.zeros(5))


def test_gradient_of_the_likelihood(fermi: CountsMap, folder: Path) -> None:
    posterior = sf.Posterior((published(folder).with_priors({"nfw.gamma": sf.Uniform(0.2, 2)}), fermi))
    z = np.linspace(-0.5, 0.5, posterior.ndim)
    gradient = np.asarray(jax.grad(posterior.kernel.log_likelihood)(jnp.asarray(z)))
    step = 1e-5 * np.eye(posterior.ndim)
    values = np.asarray(posterior.log_likelihood(np.concatenate([z + step, z - step])))
    wanted = (values[: posterior.ndim] - values[posterior.ndim :]) / 2e-5
    np.testing.assert_allclose(gradient, wanted, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize(
    "file", ["BoxyBulge_arxiv1901.03822_Normalized", "Bulge_modulated_Coleman_etal_2019_Normalized"]
)
def test_bulge_conserves_flux(shared: Path, fermi: CountsMap, file: str) -> None:
    path = shared / f"data/gammaray/bulge/{file}.fits"
    image, start, step = _read(path)
    latitude = np.radians(start[1] + step[1] * (np.arange(len(image))[:, None] + np.array([-0.5, 0.5])))
    area = np.radians(abs(step[0])) * np.diff(np.sin(latitude), axis=1)
    reprojected = read_plate_carree(path, 128)
    assert reprojected.sum() * 4 * np.pi / reprojected.size == pytest.approx((image * area).sum(), rel=3e-4)
    # outside of the image nothing; inside, far from where it is steep, what a line between its pixels gives
    pixels = CountsMap.read(np.zeros(reprojected.size)).pixels
    outside = (np.abs(pixels.longitude) > np.radians(21)) | (np.abs(pixels.latitude) > np.radians(21))
    assert not reprojected[outside].any()
    inside = np.flatnonzero(Disc(18).inside(pixels.longitude, pixels.latitude) & ~Band(4).inside(0, pixels.latitude))
    column = (np.degrees(pixels.longitude[inside]) - start[0]) / step[0]
    row = (np.degrees(pixels.latitude[inside]) - start[1]) / step[1]
    from scipy.ndimage import map_coordinates

    np.testing.assert_allclose(reprojected[inside], map_coordinates(image, [row, column], order=1), rtol=0.05)
    template = bulge(path, 128)
    assert template.exposure and np.asarray(template.template(fermi.pixels)).mean() == pytest.approx(1.0)


def test_bulge_files(tmp_path: Path) -> None:
    from astropy.io import fits

    hdu = fits.PrimaryHDU(np.ones((4, 4)))
    hdu.writeto(tmp_path / "plain.fits")
    with pytest.raises(FileFormatError, match="CTYPE1"):
        read_plate_carree(tmp_path / "plain.fits", 16)
    with pytest.raises(FileFormatError, match="no such file"):
        read_plate_carree(tmp_path / "absent.fits", 16)
    for i, name in ((1, "GLON"), (2, "GLAT")):
        hdu.header.update({f"CTYPE{i}": f"{name}-CAR", f"CRVAL{i}": 0.0, f"CRPIX{i}": 2.5, f"CDELT{i}": 1.0})
    hdu.data[1, 2] = np.nan
    hdu.writeto(tmp_path / "hole.fits")
    with pytest.raises(FileFormatError, match="row 1, column 2"):
        read_plate_carree(tmp_path / "hole.fits", 16)


def car(path: Path, columns: int = 72, first: float = -177.5, step: float = 5.0) -> Path:
    from astropy.io import fits

    hdu = fits.PrimaryHDU(np.ones((36, columns)) * (1.0 + np.arange(columns)))
    keys = {"CTYPE1": "GLON-CAR", "CRVAL1": first, "CRPIX1": 1.0, "CDELT1": step}
    hdu.header.update(keys | {"CTYPE2": "GLAT-CAR", "CRVAL2": 0.0, "CRPIX2": 18.5, "CDELT2": 5.0})
    hdu.writeto(path)
    return path


@pytest.mark.parametrize(("first", "step"), [(-177.5, 5.0), (2.5, 5.0), (177.5, -5.0), (357.5, -5.0), (92.5, 5.0)])
def test_image_of_all_longitudes_goes_round_the_sky(tmp_path: Path, first: float, step: float) -> None:
    found = read_plate_carree(car(tmp_path / "all.fits", 72, first, step), 16)
    pixels = CountsMap.read(np.zeros(N)).pixels
    column = np.floor((np.degrees(pixels.longitude) - first) / step + 0.5) % 72
    inside = np.abs(((np.degrees(pixels.longitude) - first) / step + 0.5) % 1 - 0.5) < 0.1
    away = np.abs(pixels.latitude) < np.radians(30)
    assert found.min() >= 1.0
    # at the join the first and the last column meet; elsewhere neighbours differ by one
    far = inside & away & (column > 1) & (column < 70)
    np.testing.assert_allclose(found[far], 1.0 + column[far], atol=0.5)


def test_image_beyond_180_degrees_of_longitude_is_where_it_says(tmp_path: Path) -> None:
    found = read_plate_carree(car(tmp_path / "part.fits", 8, 162.5, 5.0), 16)
    pixels = CountsMap.read(np.zeros(N)).pixels
    longitude = np.degrees(pixels.longitude) % 360
    lit = (longitude > 164) & (longitude < 196) & (np.abs(pixels.latitude) < 1.2)
    dark = ((longitude < 156) | (longitude > 204)) & (np.abs(pixels.latitude) < 1.2)
    assert np.all(found[lit] > 0) and not found[dark].any()


def test_map_near_a_pole_is_not_taken_for_nested(tmp_path: Path) -> None:
    pixels = CountsMap.read(np.zeros(N)).pixels
    near = pixels.latitude > np.radians(75)
    counts = np.where(near, 30.0, 0.0)
    assert CountsMap.read(counts).data.sum() == counts.sum()
    nested = np.empty(N)
    nested[to_ring(np.arange(N)).astype(int)] = np.where(np.abs(pixels.latitude) < np.radians(6), 40.0, 0.0)
    with pytest.raises(SkyfoldError, match="nest=True"):
        CountsMap.read(nested)


def healpix(path: Path, columns: dict[str, np.ndarray], ordering: str = "RING", **keys: Any) -> Path:
    from astropy.io import fits

    units = keys.pop("units", {})
    made = [fits.Column(k, "D" if v.dtype.kind == "f" else "K", array=v, unit=units.get(k)) for k, v in columns.items()]
    hdu = fits.BinTableHDU.from_columns(made)
    header = {"PIXTYPE": "HEALPIX", "ORDERING": ordering, "NSIDE": NSIDE, "COORDSYS": "G", **keys}
    hdu.header.update({k: v for k, v in header.items() if v is not None})
    hdu.writeto(path)
    return path


def test_pixels_that_a_file_leaves_out_are_not_fitted(tmp_path: Path, counts: np.ndarray) -> None:
    some = np.arange(0, N, 3)
    path = healpix(tmp_path / "p.fits", {"PIXEL": some, "COUNTS": counts[some]}, INDXSCHM="EXPLICIT")
    sky = CountsMap.read(path, exposure=np.ones(N))
    assert np.array_equal(sky.kept, some) and np.array_equal(sky.data, counts[some]) and sky.pixels.n_pix == N
    unseen = np.where(np.arange(N) % 3 == 0, counts, -1.6375e30)
    assert np.array_equal(CountsMap.read(unseen).data, counts[some])
    assert np.array_equal(CountsMap.read(np.ma.array(counts, mask=np.arange(N) % 3 != 0)).data, counts[some])
    # what is masked need not be counts; rounding is no fraction
    hole = wrong(wrong(counts, np.nan), np.nan)
    assert CountsMap.read(hole, mask=np.arange(N) == 7).n_data == N - 1
    assert CountsMap.read(hole, mask=np.isnan(hole)).n_data == N - 1
    assert CountsMap.read(wrong(counts, -1e-12)).data[7] == 0.0


def test_templates_say_nothing_of_pixels_outside_the_region(counts: np.ndarray) -> None:
    sky = CountsMap.read(counts).within(Disc(40))
    shape = np.full(N, -1.6375e30)
    shape[sky.pixels.index] = 2.0
    assert np.allclose(Template(shape).template(sky.pixels), 1.0)
    shape[sky.pixels.index[3]] = -1.6375e30
    with pytest.raises(SkyfoldError, match=f"pixel {sky.pixels.index[3]} of the region holds no number"):
        sf.Posterior((Template(shape, sf.Uniform(0, 5)), sky))
    with pytest.raises(SkyfoldError, match="zero in all of the region"):
        sf.Posterior((Template(np.where(sky.pixels.index[0] == np.arange(N), 0.0, 0.0), sf.Uniform(0, 5)), sky))
    with pytest.raises(SkyfoldError, match="pixel 7 holds nan"):
        Template(wrong(np.ones(N), np.nan))


def test_coordinates_that_a_file_does_not_state_are_asked_for(tmp_path: Path, counts: np.ndarray) -> None:
    path = healpix(tmp_path / "n.fits", {"COUNTS": counts}, COORDSYS=None)
    for read in (CountsMap.read, read_map, Template.read):
        with pytest.raises(FileFormatError, match="no COORDSYS"):
            read(path)
    assert np.array_equal(CountsMap.read(path, frame="galactic").data, counts)
    assert np.array_equal(Template.read(path, frame="galactic").map, counts)
    with pytest.raises(SkyfoldError, match="frame is 'galactic'"):
        CountsMap.read(path, frame="icrs")


def test_order_reaches_every_map(tmp_path: Path, counts: np.ndarray) -> None:
    from skyfold.gammaray.job import SkyJob
    from skyfold.gammaray.models import read_templates

    nested = np.empty((3, N))
    ring = np.array([counts, 1.0 + np.arange(N), 2.0 + np.cos(np.arange(N))])
    nested[:, to_ring(np.arange(N)).astype(int)] = ring
    for name, values in zip(("counts", "exposure", "template_one"), nested, strict=True):
        np.save(tmp_path / f"{name}.npy", values)
    (tmp_path / "job.toml").write_text(
        '[data]\ncounts = "counts.npy"\nexposure = "exposure.npy"\nnest = true\n[[component]]\nname = "one"\n'
        'kind = "template"\nmap = "template_one.npy"\nnorm = 2.0\n'
    )
    ((model, sky),) = SkyJob.read(tmp_path / "job.toml").posterior().pairs.values()
    assert np.array_equal(sky.data, ring[0]) and np.array_equal(sky.pixels.exposure, ring[1])
    np.testing.assert_allclose(model.evaluate(sky.pixels).smooth, 2.0 * ring[2] / ring[2].mean())
    assert np.array_equal(Template.read(tmp_path / "template_one.npy", nest=True).map, ring[2])
    assert np.array_equal(read_templates(tmp_path, ["one"], nest=True)["one"], ring[2])


def test_source_template_of_counts_is_divided_by_the_exposure(tmp_path: Path) -> None:
    from skyfold.gammaray.point_sources import PointSources

    exposure, flux = 1.0 + np.arange(N) / N, 1.0 + np.cos(np.arange(N)) ** 2
    pixels = CountsMap.read(np.zeros(N), exposure).within(Disc(60)).pixels
    wanted = flux[pixels.index] / flux[pixels.index].mean()
    for given in (
        Template(flux * exposure),
        Template(flux * exposure, units="counts"),
        Template(flux, exposure=True),
        Template(flux, units="flux"),
        Template(flux, exposure=False, units="flux"),
    ):
        found = PointSources(given, 1.0, 4.0, 1.0, -2.0, 10.0, 0.5).evaluate(pixels).populations[0].template
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    with pytest.raises(SkyfoldError, match="holds the exposure already"):
        Template(flux, exposure=True, units="counts")
    path = healpix(tmp_path / "f.fits", {"MAP": flux}, units={"MAP": "1 / (cm2 s sr)"})
    assert Template.read(path).exposure
    with pytest.raises(SkyfoldError, match="so it is a flux"):
        Template.read(path, units="counts")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: CountsMap.read(np.zeros(12 * 100**2)), "nside 100, which is no power of two"),
        (lambda c: CountsMap.read(c, mask=np.ma.array(np.zeros(N), mask=np.arange(N) == 3)), "1 pixels of the mask"),
        (lambda c: CountsMap.read(c, energies=[1.0, np.inf]), "increasing edges"),
        (lambda c: Discs([0.0], [120.0], 1.0), "latitudes end at 90"),
        (lambda c: sources(c, 0.0), "no source can be seen there"),
        (lambda c: sources(np.where(np.arange(N) == 7, 30_000.0, c), 1.0), "Pixel 7 has 30000 counts"),
    ],
)
def test_refusals_say_what_is_the_matter(counts: np.ndarray, call: Any, message: str) -> None:
    with pytest.raises(SkyfoldError, match=message):
        call(counts)


def sources(counts: np.ndarray, exposure: float) -> Any:
    from skyfold.gammaray.point_sources import PointSources

    lit = np.ones(N)
    lit[9] = exposure
    sky = CountsMap.read(np.where(lit > 0, counts, 0.0), lit).with_point_sources([1.0], [1.0])
    return sf.Posterior((PointSources(Isotropic()), sky))
