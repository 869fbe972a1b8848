"""Make the small gamma-ray sky that comes with skyfold: two maps of counts, with and without unresolved sources.

    python scripts/make_demo_sky.py [folder]

The whole sky is simulated, photon by photon, on a sphere of nside 32. The foregrounds are made of formulae and random
clouds: they look like the gamma-ray sky and are no model of it. Norms, and counts of sources, are those of the region
that sky.toml and sources.toml fit; the same seed gives the same files.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits

from skyfold.gammaray.disk import Disk
from skyfold.gammaray.maps import CountsMap
from skyfold.gammaray.nfw import NFWSquared
from skyfold.gammaray.point_sources import PointSources
from skyfold.gammaray.psf import King
from skyfold.gammaray.regions import Band, Disc
from skyfold.gammaray.simulation import simulate
from skyfold.gammaray.templates import Isotropic, Template

NSIDE = 32
SEED = 20260401
#: Region that is fitted: degrees from the Galactic centre, and half the height of the plane left out.
RADIUS, PLANE = 40.0, 4.0
PSF = {"sigma": 0.3, "gamma": 3.0}  # degrees; King function
#: Mean counts per pixel of the region before sources are added, and the shape of the halo.
SMOOTH = {"pib.norm": 9.0, "ics.norm": 5.0, "iso.norm": 1.5, "gce.norm": 1.2, "gce.gamma": 1.2}
SOURCES = {
    "sources.Sps": 2.5,
    "sources.n1": 4.0,
    "sources.n2": 1.3,
    "sources.n3": -2.0,
    "sources.Sb1": 30.0,
    "sources.lambda": 0.3,
}
DISK = {"zs": 0.8, "C": 3.0}


def main(folder: Path) -> None:
    """Write counts, exposure, foregrounds and truth."""
    folder.mkdir(parents=True, exist_ok=True)
    everywhere = CountsMap.read(np.zeros(12 * NSIDE**2), np.ones(12 * NSIDE**2))
    longitude, latitude = everywhere.pixels.longitude, everywhere.pixels.latitude
    exposure = np.round(100 + 18 * np.sin(latitude) ** 2 + 6 * np.sin(latitude) - 5 * np.cos(longitude)) * 1e9
    rng = np.random.default_rng(SEED)
    gas = _rounded(_gas(longitude, latitude, rng))
    glow = _rounded(_glow(longitude, latitude))
    sky = CountsMap.read(np.zeros(12 * NSIDE**2), exposure)
    region = sky.within(Disc(RADIUS) & ~Band(PLANE)).pixels.index

    parts = {
        "pib": Template(gas, name="pib", exposure=True),
        "ics": Template(glow, name="ics", exposure=True),
        "iso": Isotropic(),
        "gce": NFWSquared(SMOOTH["gce.gamma"], name="gce"),
    }
    smooth = None
    for name, part in parts.items():
        share = float(np.asarray(part.template(sky.pixels))[region].mean())
        whole = part.with_values({f"{name}.norm": SMOOTH[f"{name}.norm"] / share})
        smooth = whole if smooth is None else smooth + whole

    # counts of sources refer to the mean exposure: of the region in the truth, of the sky in the simulation
    relative = exposure[region].mean() / exposure.mean()
    disk = Disk(DISK["zs"], DISK["C"], nodes=None)
    population = PointSources(disk, name="sources")
    share = float(_shape(disk, sky)[region].mean())
    values = dict(SOURCES)
    values["sources.Sps"] /= share * relative
    values["sources.Sb1"] /= relative
    psf = King(np.radians(PSF["sigma"]), PSF["gamma"])
    plain = simulate(smooth, sky, seed=SEED)
    crowded = simulate(smooth + population.with_values(values), sky, psf, seed=SEED + 1)

    for name, counts in (("counts", plain), ("counts_sources", crowded)):
        np.save(folder / f"{name}.npy", np.asarray(counts.data).astype(np.uint16))
    np.save(folder / "template_pib.npy", gas)
    np.save(folder / "template_ics.npy", glow)
    _write_map(folder / "exposure.fits.gz", exposure)
    truth = {
        "sky": SMOOTH,
        "sources": {**SMOOTH, **SOURCES},
        "psf": PSF,
        "disk": DISK,
        "region": {"radius": RADIUS, "plane": PLANE},
        "seed": SEED,
        "counts": {"sky": int(plain.data[region].sum()), "sources": int(crowded.data[region].sum())},
        "made_by": "scripts/make_demo_sky.py",
    }
    (folder / "truth.json").write_text(json.dumps(truth, indent=2) + "\n")


def _gas(longitude: np.ndarray, latitude: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness of a layer of gas with clouds."""
    layer = (1.0 + 0.5 * np.cos(longitude)) / np.sqrt(np.sin(latitude) ** 2 + 0.05**2)
    direction = np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)])
    clouds = np.zeros_like(layer)
    for width, strength, number in ((0.35, 0.25, 60), (0.12, 0.4, 300)):
        centre = rng.normal(size=(3, number)) * np.array([[1.0], [1.0], [0.35]])
        centre /= np.sqrt(np.sum(centre**2, axis=0))
        cosine = direction.T @ centre
        clouds += (strength * rng.exponential(size=number) * np.exp((cosine - 1.0) / width**2)).sum(axis=1)
    return layer * (0.5 + clouds)


def _glow(longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
    """Brightness of a broad layer, brighter towards the Galactic centre."""
    return np.exp(-np.abs(np.degrees(latitude)) / 14.0) * (0.4 + np.exp(-((np.degrees(longitude) / 55.0) ** 2))) + 0.05


def _shape(disk: Disk, sky: CountsMap) -> np.ndarray:
    shape = np.asarray(disk.shape(sky.pixels))
    return shape / shape.mean()


def _rounded(values: np.ndarray) -> np.ndarray:
    return (values / values.mean()).astype(np.float16)


def _write_map(path: Path, values: np.ndarray) -> None:
    """Write a HEALPix table, compressed, without the time of writing."""
    table = fits.BinTableHDU.from_columns([fits.Column("EXPOSURE", "E", unit="cm2 s", array=values.astype(np.float32))])
    table.header.update(PIXTYPE="HEALPIX", ORDERING="RING", NSIDE=NSIDE, COORDSYS="G", INDXSCHM="IMPLICIT")
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(buffer)
    with open(path, "wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
        packed.write(buffer.getvalue())


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1] / "src/skyfold/data/sky"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else here)
