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
from skyfold.gammaray.healpix import children, downgrade, parents, read_map, to_ring
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
        hdu.header.update({"PIXTYPE": "HEALPIX", "ORDERING": ordering, "NSIDE": NSIDE, **more})
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
