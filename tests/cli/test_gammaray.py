"""``skyfold gammaray``: what is fitted, printed and written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from invocation import Run

from skyfold.data import demo_sky, demo_truth, folder
from skyfold.data.registry import DATA_SETS
from skyfold.gammaray.job import SkyJob
from skyfold.gammaray.likelihood import CompoundPoisson
from skyfold.gammaray.plots import SAVED
from skyfold.plots import style

pytest.importorskip("astropy_healpix")

#: Leaves two norms of the embedded sky free.
TWO_FREE = ("--set", "iso.norm=1.5", "--set", "gce.norm=1.2", "--set", "gce.gamma=1.2")
ALL_FIXED = (*TWO_FREE, "--set", "pib.norm=9", "--set", "ics.norm=5")


@pytest.fixture
def sky(tmp_path: Path) -> Path:
    """Copy of the embedded sky, in a folder of its own."""
    shutil.copytree(folder("sky"), tmp_path / "sky")
    return tmp_path / "sky"


def test_point_fit_writes_everything(tmp_path: Path, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "save", partial(style.save, dpi=40))
    out = tmp_path / "out"
    found = run("gammaray", demo_sky(), *TWO_FREE, "--method", "mle", "--out", out)
    assert found.code == 0, found.err
    assert "pib.norm" in found.out
    names = {p.name for p in out.iterdir()}
    drawn = {f"{figure}.{end}" for figure in SAVED if figure != "source_counts" for end in ("png", "pdf")}
    assert names == {"posterior.nc", "summary.json", *drawn}  # a point has no corner, this sky no point sources
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary["parameters"]) == ["pib.norm", "ics.norm"]
    for name, truth in demo_truth("sky")["sky"].items():
        if name in summary["parameters"]:
            numbers = summary["parameters"][name]
            assert abs(numbers["best"] - truth) < 4 * numbers["sd"]
    # the figures of this run go when the next one draws none
    found = run("gammaray", demo_sky(), *ALL_FIXED, "--out", out)
    assert found.code == 0
    assert [p.name for p in out.iterdir()] == ["summary.json"]


def test_nothing_free_reports_the_statistic(run: Callable[..., Run]) -> None:
    found = run("gammaray", demo_sky(), *ALL_FIXED)
    name, value, *rest = found.out.split()
    assert name == "C-stat" and rest == ["for", "1238", "data"]
    assert 0.85 * 1238 < float(value) < 1.15 * 1238  # at the truth: about one per pixel


def test_options_go_before_the_file(sky: Path, run: Callable[..., Run]) -> None:
    text = (sky / "sky.toml").read_text()
    (sky / "sky.toml").write_text(
        'seed = 3\nmethod = "nuts"\n' + text + "\n[values]\n'gce.gamma' = 0.9\n[output]\nfolder = 'there'\n"
        "figures = false\ncheckpoint = 'run.npz'\n[priors]\n'iso.norm' = 'Uniform(0, 3)'\n"
    )
    job = SkyJob.read(sky / "sky.toml")
    assert (job.seed, job.method.name, job.folder, job.figures) == (3, "nuts", sky / "there", False)
    assert job.checkpoint == sky / "run.npz"
    parameters = {p.name: p.prior for p in job.posterior().parameters}
    assert list(parameters) == ["pib.norm", "ics.norm", "iso.norm", "gce.norm"]
    assert repr(parameters["iso.norm"]) == "Uniform(0, 3)"
    found = run("gammaray", sky / "sky.toml", *ALL_FIXED, "--set", "gce.gamma=1.2", "--out", sky / "here")
    assert found.code == 2 and "twice" in found.error
    found = run("gammaray", sky / "sky.toml", *ALL_FIXED, "--out", sky / "here")
    assert found.code == 0, found.err
    assert json.loads((sky / "here" / "summary.json").read_text())["fixed"]["gce.gamma"] == 1.2
    assert not (sky / "there").exists()


def test_every_kind_of_component(sky: Path) -> None:
    """Mixtures, blends, bulges, disks, modulations, shared parameters, populations and a coarser sky in one file."""
    from astropy.io import fits

    header = fits.Header({"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRVAL1": 0.0, "CRVAL2": 0.0})
    header.update(CRPIX1=20.5, CRPIX2=20.5, CDELT1=-1.0, CDELT2=1.0)
    fits.PrimaryHDU(np.ones((40, 40)), header).writeto(sky / "bulge.fits")
    mask = np.zeros(12 * 32**2, dtype=bool)
    mask[5000:5400] = True
    np.save(sky / "mask.npy", mask)
    (sky / "job.toml").write_text(
        """
        [data]
        counts = "counts_sources.npy"
        exposure = "exposure.fits.gz"
        mask = ["mask.npy"]
        nside = 16
        energies = [2, 20]
        name = "mine"
        [region]
        radius = 30
        centre = [5, 0]
        plane = 3
        [psf]
        kind = "double-king"
        core = 0.7
        sigma_core = 0.2
        gamma_core = 5
        sigma_tail = 0.5
        gamma_tail = 3
        [point_sources]
        s_range = [0.1, 100]
        exposure_regions = 2
        [parameters]
        slope = "Uniform(0.5, 1.9)"
        [[component]]
        name = "fore"
        kind = "mixture"
        members = ["template_pib.npy", {kind = "template", map = "template_ics.npy", exposure = true, name = "glow"}]
        weights = "Dirichlet([1, 1])"
        norm = "Uniform(0, 50)"
        modulation = {kind = "harmonics", order = 1, sine = true, coefficients = "Uniform(-0.1, 0.1)"}
        [[component]]
        name = "iso"
        kind = "isotropic"
        norm = 6
        modulation = {kind = "field", nside = 4, amplitude = 0.1, length = "LogUniform(10, 60)"}
        [[component]]
        name = "gce"
        kind = "blend"
        first = {kind = "bulge", map = "bulge.fits", exposure = true}
        second = {kind = "nfw", gamma = "slope", r_s = 20, s_max = 30}
        fraction = "Uniform(0, 1)"
        norm = "LogUniform(1e-3, 10)"
        [[component]]
        name = "halo_ps"
        kind = "point-sources"
        template = {kind = "nfw", gamma = "slope"}
        Sb1 = 20
        [[component]]
        name = "disk_ps"
        kind = "point-sources"
        template = {kind = "disk", zs = "Uniform(0.1, 2)", C = 3, published = true}
        Sps = "Uniform(0, 5)"
        n3 = -2
        lambda = 0.5
        """
    )
    posterior = SkyJob.read(sky / "job.toml").posterior()
    (_, seen) = posterior.pairs["mine"]
    assert seen.pixels.nside == 16
    assert seen.kept.size < seen.pixels.n_pix
    assert isinstance(seen.likelihood, CompoundPoisson)
    assert seen.blur.s_range == (0.1, 100.0) and seen.blur.regions == 2
    assert posterior.names == (
        *("fore.norm", "fore.weights", "harmonics.A", "field.xi", "field.length", "gce.norm", "gce.fraction", "slope"),
        *("halo_ps.Sps", "halo_ps.n1", "halo_ps.n2", "halo_ps.n3", "halo_ps.lambda"),
        *("disk_ps.Sps", "disk_ps.n1", "disk_ps.n2", "disk_ps.Sb1", "disk_ps_shape.zs"),
    )
    assert np.isfinite(float(posterior.log_likelihood(np.zeros(posterior.ndim))))


def test_galactic_centre(shared: Path, tmp_path: Path) -> None:
    """The published model in a few lines: its dimensions, and its Poisson part without sources."""
    data = shared / "data" / "gammaray"
    (tmp_path / "job.toml").write_text(
        f"""
        [data]
        counts = "{data}/fermi_573w_nside128/fermidata_counts.npy"
        exposure = "{data}/fermi_573w_nside128/fermidata_exposure.npy"
        mask = "{data}/fermi_573w_nside128/mask_3fgl_0p8deg.npy"
        [region]
        radius = 25
        plane = 2
        [galactic_centre]
        maps = "{data}/fermi_573w_nside128"
        bulges = [
            "{data}/bulge/BoxyBulge_arxiv1901.03822_Normalized.fits",
            "{data}/bulge/Bulge_modulated_Coleman_etal_2019_Normalized.fits",
        ]
        point_sources = false
        """
    )
    posterior = SkyJob.read(tmp_path / "job.toml").posterior()
    assert posterior.ndim == 18
    assert posterior.n_data == 6839
    assert float(next(iter(posterior.pairs.values()))[1].data.sum()) == 135202


def test_example_names_what_can_be_fetched() -> None:
    job = SkyJob.read(Path(__file__).parents[2] / "examples" / "galactic_centre.toml")
    assert (job.method.name, job.seed) == ("nuts", 1)
    maps = {file.name for file in DATA_SETS["fermi-573w"].files}
    assert {Path(str(job.content["data"][key])).name for key in ("counts", "exposure", "mask")} <= maps
    assert {f"template_{f}{kind}.npy" for f in "OAF" for kind in ("pi", "ic")} <= maps
    bulges = {file.name for file in DATA_SETS["fermi-bulges"].files}
    assert {Path(name).name for name in job.content["galactic_centre"]["bulges"]} <= bulges


def test_method_with_settings(sky: Path) -> None:
    text = (sky / "sky.toml").read_text()
    (sky / "sky.toml").write_text(text + '\n[method]\nname = "nuts"\nchains = 2\n')
    job = SkyJob.read(sky / "sky.toml")
    assert job.method.chains == 2
    assert replace(job, method="mle").method == "mle"


def test_demo(tmp_path: Path, run: Callable[..., Run]) -> None:
    found = run("demo", "gammaray", "--no-figures", "--out", tmp_path / "out")
    assert found.code == 0, found.err
    assert "5 true values lie inside their 90% interval" in found.out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    for name, value in demo_truth("sky")["sky"].items():
        numbers = summary["parameters"][name]
        assert abs(numbers["mean"] - value) < 4 * numbers["sd"]
    assert "xray" in run("demo", "xary").error


def test_embedded_sky_is_small() -> None:
    files = list(folder("sky").iterdir())
    assert sum(path.stat().st_size for path in files) < 150_000
    assert {p.name for p in files} >= {"counts.npy", "counts_sources.npy", "exposure.fits.gz", "truth.json"}
