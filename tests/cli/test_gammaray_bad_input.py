"""Bad descriptions and files of a sky end in exit code 2, one paragraph, and nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from invocation import Run

from skyfold.data import folder

pytest.importorskip("astropy_healpix")

N = 12 * 32**2
DATA = '[data]\ncounts = "counts.npy"\nexposure = "exposure.fits.gz"\n'
REGION = "[region]\nradius = 40\nplane = 4\n"
ISO = '[[component]]\nname = "iso"\nkind = "isotropic"\nnorm = "Uniform(0, 50)"\n'
GOOD = DATA + REGION + ISO
SOURCES = '[[component]]\nname = "ps"\nkind = "point-sources"\ntemplate = {kind = "isotropic"}\n'
KING = '[psf]\nkind = "king"\nsigma = 0.3\ngamma = 3\n'


def component(lines: str) -> str:
    """Good data with one component."""
    return f'{DATA}{REGION}[[component]]\nname = "one"\n{lines}\n'


@pytest.fixture
def sky(tmp_path: Path) -> Path:
    """Copy of the embedded sky, in a folder of its own."""
    shutil.copytree(folder("sky"), tmp_path / "sky")
    return tmp_path / "sky"


def refused(run: Callable[..., Run], sky: Path, *arguments: object, words: tuple[str, ...]) -> None:
    """Run, and check what bad input must give."""
    before = sorted(sky.rglob("*"))
    found = run("gammaray", sky / "job.toml", *arguments, "--out", sky.parent / "out")
    assert found.code == 2, found.err
    assert found.out == ""
    for word in words:
        assert word in found.error
    assert sorted(sky.rglob("*")) == before
    assert sorted(sky.parent.iterdir()) == [sky]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[data", ("not TOML",)),
        ("", ("[data]", "counts")),
        ("dta = 3", ("dta", "data")),
        ("data = 3", ("'data' must be a table",)),
        ("[data]\ncounts = 3", ("data.counts", "in quotes")),
        ("[data]\ncounts = ''", ("data.counts", "empty")),
        ("[data]\ncount = 'counts.npy'", ("[data]", "counts")),
        ("[data]\ncounts = 'nothing.npy'" + ISO[:0], ("nothing.npy", "no such file")),
        (DATA.replace("exposure.fits.gz", "nothing.fits") + ISO, ("nothing.fits", "no such file")),
        (DATA + "mask = 'nothing.npy'\n" + ISO, ("data.mask", "nothing.npy")),
        (DATA + "mask = [3]\n" + ISO, ("data.mask", "in quotes")),
        (DATA + "mask = 'template_pib.npy'\n" + ISO, ("data.mask", "template_pib.npy", "True (1)")),
        (DATA + "nest = 'no'\n" + ISO, ("data.nest", "true or false")),
        (DATA + "nest = true\n" + ISO, ("exposure.fits.gz", "nest")),
        (DATA + "energies = [2, 20, 30]\n" + ISO, ("energy bins",)),
        (DATA + "energies = 'all'\n" + ISO, ("data.energies",)),
        (DATA + "nside = 30\n" + ISO, ("data.nside", "power of two")),
        (DATA + "nside = 64\n" + ISO, ("data.nside", "finer")),
        (DATA + "nside = '16'\n" + ISO, ("data.nside", "whole number")),
        (DATA + "[region]\nradius = -1\n" + ISO, ("region.radius", "positive")),
        (DATA + "[region]\nradius = 'far'\n" + ISO, ("region.radius", "number")),
        (DATA + "[region]\nradius = 3\nplane = 30\n" + ISO, ("[region]", "no pixel")),
        (DATA + "[region]\nradius = 10\ncentre = 3\n" + ISO, ("region.centre",)),
        (DATA + "[region]\ncentre = [0, 0]\n" + ISO, ("region", "radius")),
        (DATA + "[region]\nwidth = 10\n" + ISO, ("[region]", "width")),
        (DATA + REGION, ("[[component]]",)),
        (DATA + REGION + "component = 3\n", ("region", "component")),
        ("component = []\n" + DATA, ("[[component]]",)),
        (DATA + "[[component]]\nkind = 'isotropic'\nnorm = 1", ("component 1", "no name")),
        (DATA + "[[component]]\nname = 'a b'\nkind = 'isotropic'\nnorm = 1", ("component 1", "a b")),
        (DATA + ISO + ISO, ("two components", "iso")),
        (component("norm = 1"), ("component.one", "no kind")),
        (component("kind = 'isotropc'\nnorm = 1"), ("component.one", "isotropic")),
        (component("kind = 'isotropic'"), ("component.one", "norm")),
        (component("kind = 'isotropic'\nnorm = true"), ("component.one.norm", "True")),
        (component("kind = 'isotropic'\nnorm = nan"), ("component.one.norm", "finite")),
        (component("kind = 'isotropic'\nnorm = 'Uniform(2, 1)'"), ("component.one.norm", "low")),
        (component("kind = 'isotropic'\nnorm = 'uniform(0, 1)'"), ("component.one.norm", "Uniform")),
        (component("kind = 'isotropic'\nnorm = '__import__(\"os\")'"), ("component.one.norm",)),
        (component("kind = 'isotropic'\nnorm = 'Uniform(0, 1)'\nexposure = 'yes'"), ("component.one.exposure",)),
        (component("kind = 'isotropic'\nnorm = 'Uniform(0, 1)'\ncolour = 1"), ("component.one", "colour")),
        (component("kind = 'isotropic'\nnorm = 'Uniform([0, 0], [1, 1])'"), ("the model", "energy bins")),
        (component("kind = 'template'\nnorm = 1"), ("component.one", "map")),
        (component("kind = 'template'\nnorm = 1\nmap = 'nothing.npy'"), ("component.one.map", "nothing.npy")),
        (component("kind = 'template'\nnorm = 1\nmap = 'truth.json'"), ("component.one.map", "truth.json")),
        (component("kind = 'bulge'\nnorm = 1\nmap = 'exposure.fits.gz'"), ("component.one", "plate-carree")),
        (component("kind = 'nfw'\nnorm = 1\ngamma = 'Uniform([0, 1], [1, 2])'"), ("component.one.gamma", "single")),
        (component("kind = 'nfw'\nnorm = 1\ns_max = -3"), ("component.one", "s_max")),
        (component("kind = 'disk'\nnorm = 1\nzs = []"), ("component.one.zs",)),
        (component("kind = 'mixture'\nnorm = 1"), ("component.one.members",)),
        (component("kind = 'mixture'\nnorm = 1\nmembers = [3]"), ("component.one.members[0]",)),
        (component("kind = 'mixture'\nnorm = 1\nmembers = ['no.npy']"), ("component.one.members[0].map", "no.npy")),
        (
            component("kind = 'mixture'\nnorm = 1\nmembers = ['template_pib.npy', 'template_ics.npy']\nweights = [1]"),
            ("component.one", "weights"),
        ),
        (
            component("kind = 'mixture'\nnorm = 1\nmembers = [{kind = 'isotropic', norm = 2}]"),
            ("component.one.members[0]", "norm"),
        ),
        (component("kind = 'blend'\nnorm = 1\nfirst = 'template_pib.npy'"), ("component.one", "second")),
        (
            component("kind = 'isotropic'\nnorm = 1\nmodulation = {kind = 'harmonic'}"),
            ("component.one.modulation", "harmonics"),
        ),
        (
            component("kind = 'isotropic'\nnorm = 1\nmodulation = {kind = 'harmonics', order = 0}"),
            ("component.one.modulation", "order"),
        ),
        (
            component("kind = 'isotropic'\nnorm = 1\nmodulation = {kind = 'field', nside = 64}"),
            ("component.one.modulation", "coarser"),
        ),
        (component("kind = 'isotropic'\nnorm = 1\nmodulation = 'harmonics'"), ("component.one.modulation", "table")),
        (GOOD + SOURCES, ("[psf]",)),
        (GOOD + SOURCES.replace("template =", "shape ="), ("component.ps", "shape")),
        (GOOD + "[[component]]\nname = 'ps'\nkind = 'point-sources'\n", ("component.ps", "template")),
        (
            GOOD + SOURCES.replace('"isotropic"', '"isotropic", norm = 2') + KING,
            ("component.ps.template", "norm"),
        ),
        (GOOD + SOURCES + KING.replace("0.3", "-0.3"), ("[psf]", "positive")),
        (GOOD + SOURCES + KING.replace("0.3", "-0.3"), ("[psf]", "degrees, below 180, got -0.3")),
        (GOOD + SOURCES + KING.replace("= 3", "= 1"), ("[psf]", "gamma", "above 1")),
        (GOOD + SOURCES + KING.replace("0.3", "40"), ("[psf]", "68% of its photons within")),
        (GOOD + SOURCES.replace("template", "n1 = 'Uniform(1, 5)'\ntemplate") + KING, ("the model", "n1 reaches 1")),
        (DATA + "frame = 'icrs'\n" + ISO, ("frame", "galactic")),
        (component("kind = 'template'\nnorm = 1\nmap = 'template_pib.npy'\nunits = 'ct'"), ("component.one", "units")),
        (GOOD + SOURCES + KING.replace("sigma", "width"), ("[psf]", "width")),
        (GOOD + SOURCES + "[psf]\nkind = 'king'\n", ("[psf]", "sigma, gamma")),
        (GOOD + SOURCES + "[psf]\nkind = 'moffat'\n", ("[psf]", "moffat")),
        (GOOD + SOURCES + "[psf]\nkind = 'lat'\nenergy = 2\n", ("[psf]", "file")),
        (GOOD + SOURCES + "[psf]\nkind = 'lat'\nfile = 'exposure.fits.gz'\n", ("energy",)),
        (GOOD + SOURCES + "[psf]\nkind = 'lat'\nenergy = 2\nfile = 'exposure.fits.gz'\n", ("psf.file", "RPSF")),
        (GOOD + SOURCES + "[psf]\nkind = 'lat'\nenergy = 2\nfile = 'no.fits'\n", ("psf.file", "no.fits")),
        (GOOD + SOURCES + KING + "[point_sources]\ns_range = [100, 1]\n", ("point_sources.s_range",)),
        (GOOD + SOURCES + KING + "[point_sources]\nexposure_regions = 0\n", ("exposure_regions",)),
        (GOOD + SOURCES + KING + "[point_sources]\nregions = 3\n", ("[point_sources]", "regions")),
        (GOOD + "[parameters]\nunused = 'Uniform(0, 1)'\n", ("parameters.unused", "no component")),
        (GOOD + "[parameters]\na = 3\n", ("parameters.a",)),
        (GOOD + "[priors]\n'iso.nrom' = 'Uniform(0, 1)'\n", ("iso.norm",)),
        (GOOD + "[priors]\n'iso.norm' = 'Dirichlet([1, 1])'\n", ("iso.norm",)),
        (GOOD + "[values]\n'iso.norm' = 'a'\n", ("values.iso.norm", "number")),
        (GOOD + "[values]\n'iso.norm' = 1\n[priors]\n'iso.norm' = 'Uniform(0, 1)'\n", ("both a prior and a value",)),
        (GOOD + SOURCES + KING + "[values]\n'ps_shape.norm' = 2\n", ("priors and values", "ps_shape", "norm")),
        (GOOD + "[galactic_centre]\nmaps = '.'\n", ("whole model",)),
        (DATA + REGION + "[galactic_centre]\nmaps = '.'\n", ("galactic_centre.maps", "template_Opi")),
        (DATA + REGION + "[galactic_centre]\n", ("galactic_centre", "maps")),
        ("method = 'ntus'\n" + GOOD, ("method", "nuts")),
        ("seed = -1\n" + GOOD, ("seed",)),
        (GOOD + "[output]\nfigures = 1\n", ("output.figures",)),
        (GOOD + "[output]\nfolders = 'a'\n", ("[output]", "folder")),
    ],
)
def test_bad_description(text: str, words: tuple[str, ...], sky: Path, run: Callable[..., Run]) -> None:
    (sky / "job.toml").write_text(text)
    refused(run, sky, words=(str(sky / "job.toml"), *words))


def _save(values: np.ndarray) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with open(path, "wb") as file:
            np.save(file, values, allow_pickle=True)

    return write


COUNTS = np.ones(N)


@pytest.mark.parametrize(
    ("file", "write", "words"),
    [
        ("counts.npy", _save(COUNTS[:-1]), ("counts.npy", "no full HEALPix sphere")),
        ("counts.npy", _save(np.where(np.arange(N) == 5, -1.0, 1.0)), ("pixel 5", "not negative")),
        ("counts.npy", _save(np.where(np.arange(N) == 5, np.nan, 1.0)), ("pixel 5", "nan")),
        ("counts.npy", _save(COUNTS * 0.5), ("0.5 counts", "whole numbers")),
        ("counts.npy", _save(np.array(["a"] * N)), ("counts.npy", "not numbers")),
        ("counts.npy", _save(np.array([{"a": 1}], dtype=object)), ("counts.npy", "not a NumPy array")),
        ("counts.npy", lambda path: path.write_bytes(b""), ("counts.npy",)),
        ("counts.npy", lambda path: path.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'"), ("counts.npy",)),
        ("counts.npy", lambda path: (path.unlink(), path.mkdir()), ("counts.npy", "no such file")),
        ("exposure.fits.gz", lambda path: path.write_bytes(b"SIMPLE"), ("exposure.fits.gz", "not a readable FITS")),
        (
            "exposure.fits.gz",
            lambda path: (path.unlink(), fits.PrimaryHDU(np.ones((3, 3))).writeto(path)),
            ("exposure.fits.gz", "HEALPIX"),
        ),
        ("template_pib.npy", _save(-COUNTS), ("component.pib", "not negative")),
        ("template_pib.npy", _save(COUNTS * np.nan), ("component.pib", "nan")),
        ("template_pib.npy", _save(COUNTS * 0), ("component.pib.map", "zero in all of the region")),
        ("template_pib.npy", _save(np.ones(12 * 16**2)), ("nside 16", "downgrade")),
        ("template_pib.npy", _save(np.ones((2, N))), ("energy bins",)),
    ],
)
def test_bad_files(
    file: str, write: Callable[[Path], object], words: tuple[str, ...], sky: Path, run: Callable[..., Run]
) -> None:
    write(sky / file)
    (sky / "sky.toml").rename(sky / "job.toml")
    refused(run, sky, words=(str(sky / "job.toml"), *words))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--method", "ntus"), ("nuts",)),
        (("--seed", "-1"), ("-1",)),
        (("--set", "iso.norm=many"), ("many",)),
        (("--set", "isonorm=1"), ("iso.norm",)),
        (("--prior", "iso.norm=Uniform(0,1"), ("is not a prior",)),
        (("--prior", "iso.norm=Uniform(0,1)", "--set", "iso.norm=1"), ("both a prior and a value",)),
        (("--prior", "gce.gamma=Dirichlet([1,1])"), ("gce.gamma",)),
        (("--set", "iso.norm=-100", "--set", "pib.norm=0", "--set", "ics.norm=0", "--set", "gce.norm=0",
          "--set", "gce.gamma=1"), ("C-stat", "'sky'")),
        (("--checkpoint", "."), ("folder",)),
        (("--colour", "red"), ("--colour",)),
    ],
)  # fmt: skip
def test_bad_options(arguments: tuple[str, ...], words: tuple[str, ...], sky: Path, run: Callable[..., Run]) -> None:
    (sky / "sky.toml").rename(sky / "job.toml")
    refused(run, sky, *arguments, words=words)


def test_description_cannot_be_read(tmp_path: Path, run: Callable[..., Run]) -> None:
    assert "cannot be read" in run("gammaray", tmp_path / "nothing.toml").error
    (tmp_path / "job.toml").write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in run("gammaray", tmp_path / "job.toml").error
    assert run("gammaray").code == 2
