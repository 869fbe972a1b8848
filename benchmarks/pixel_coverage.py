"""Coverage against the width of the PSF in pixels: where the likelihood of independent pixels is over-confident.

Skies of isotropic emission and of point sources in a disk (nside 64, within 12 degrees of the Galactic centre, |b| > 2
degrees, 416 pixels) are drawn from the prior, photon by photon, and fitted as they are and with the Godambe adjustment
(`skyfold.gammaray.godambe`). The PSF is a King function of gamma = 2.5; its width is the one thing that varies. Every
sky is a line in a small file, and what is there is not done again.

    python benchmarks/pixel_coverage.py --out docs/gammaray_calibration -n 300 0.4
    python benchmarks/pixel_coverage.py --out docs/gammaray_calibration --factors 0 0.05 0.1 0.2 0.4 0.8
    python benchmarks/pixel_coverage.py --out docs/gammaray_calibration --page docs/gammaray_calibration.md

The numbers are sigma of the King function in degrees. ``--factors`` fits nothing: it finds by how much the adjustment
widens intervals for ten models drawn from the prior.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import cache
from math import erf
from pathlib import Path
from typing import Any

import numpy as np

import skyfold as sf
from skyfold import gammaray as g
from skyfold.gammaray.composite import adjustment
from skyfold.gammaray.simulation import Simulator

NSIDE, REGION, GAMMA = 64, g.Disc(12) & ~g.Band(2), 2.5
#: Skies that are simulated for each adjustment; skies whose counts decide how much room all have;
#: models for the factors.
SKIES, ROOM, MODELS = 100, 300, 10
#: Unimodal posteriors of three dimensions, close to normal: a small search, and normal draws with weights.
METHOD = sf.Laplace(draws=1024, corrected=True, screen=512, starts=4)
LEVELS = (0.68, 0.95)
MARKS = ("<!-- pixels begin -->", "<!-- pixels end -->")


@cache
def model() -> Any:
    """Three free numbers: isotropic emission, and counts and brightness of sources in a disk."""
    everywhere = g.Pixels.of(NSIDE, np.arange(12 * NSIDE**2))
    shape = g.Template(g.Disk(0.5, 3.0, exposure=False).template(everywhere), name="disk")
    break_ = sf.Uniform(5, 40)
    sources = g.PointSources(shape, sf.Uniform(1, 8), n1=4.0, n2=1.2, n3=-2.0, Sb1=break_, lam=0.5, name="ps")
    return g.Isotropic(sf.Uniform(1, 10), exposure=False) + sources


def pixel() -> float:
    """Side of a pixel, degrees."""
    return float(np.degrees(np.sqrt(np.pi / 3.0) / NSIDE))


def blurred(sigma: float) -> tuple[Any, Any]:
    """PSF, and a map without a sky that knows it."""
    psf = g.King(np.radians(sigma), GAMMA) if sigma > 0 else None
    sky = g.CountsMap.read(np.zeros(12 * NSIDE**2), name="sky").within(REGION)
    f, weights = g.fraction_distribution(psf, NSIDE, sky.pixels.index)[:2] if psf else (np.ones(1), np.ones(1))
    return psf, sky.with_point_sources(f, weights)


def drawn(sky: Any, psf: Any) -> tuple[Any, list[dict[str, float]], np.ndarray]:
    """Models drawn from the prior, skies of theirs, and the map with room for all of these: they share executables."""
    prior = sf.Posterior((model(), sky))
    values = {name: np.asarray(v) for name, v in prior.values(prior.draw_prior(ROOM, seed=0)).items()}
    named = [{name: float(v[i]) for name, v in values.items()} for i in range(ROOM)]
    skies = np.stack([Simulator.of(model().with_values(t), sky, psf).draw([1, i])[0] for i, t in enumerate(named)])
    room = np.ceil(1.3 * np.sort(skies, axis=1).max(axis=0))
    return sky.with_data(room).bound(model()), named, skies


def factors(sigma: float, path: Path) -> None:
    """By how much the adjustment widens intervals, for models drawn from the prior."""
    if any(row["sigma"] == sigma for row in rows(path)):
        return
    psf, sky = blurred(sigma)
    posterior = sf.Posterior((model(), drawn(sky, psf)[0]))
    wider = [
        adjustment(posterior, z, psf, skies=SKIES, seed=i).widening
        for i, z in enumerate(posterior.draw_prior(MODELS, 1))
    ]
    share = float(np.asarray(sky.blur.weights) @ np.asarray(sky.blur.f) ** 2)
    ratio = float(np.degrees(psf.radius(0.32))) / pixel() if psf else 0.0
    row = {"sigma": sigma, "ratio": ratio, "share": share, "factors": np.transpose(wider).tolist()}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row | {"names": list(posterior.names)}) + "\n")


def factor_table(path: Path) -> list[str]:
    """Median of the factors and their range, and the coverage of an interval that is too narrow by the median."""
    found = sorted(rows(path), key=lambda row: row["sigma"])
    names = found[0]["names"]
    head = ["sigma, degrees", "68% radius / pixel", "share of a source in one pixel"]
    head += [f"`{name}`: factor, 95% interval holds" for name in names]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in found:
        cells = [f"{row['sigma']:g}", f"{row['ratio']:.2f}", f"{row['share']:.2f}"]
        for own in row["factors"]:
            holds = erf(1.959964 / np.median(own) / np.sqrt(2.0))
            cells.append(f"{np.median(own):.2f} ({min(own):.2f} to {max(own):.2f}), {100 * holds:.0f}%")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def fitted(sigma: float, first: int, n: int, path: Path) -> None:
    """Fit those of the skies from `first` to `n` that the file does not have."""
    done = {row["sky"] for row in rows(path)}
    if done >= set(range(first, n)):
        return
    psf, sky = blurred(sigma)
    sky, named, skies = drawn(sky, psf)
    for number in range(first, n):
        if number in done:
            continue
        start = time.process_time()
        posterior = sf.Posterior((model(), sky.with_data(skies[number])))
        draws = posterior.fit(METHOD, seed=number, progress=False).draws
        middle = time.process_time()
        weights, latent = draws.weights().ravel(), draws.latent.reshape(-1, posterior.ndim)
        found = adjustment(posterior, weights @ latent, psf, skies=SKIES, seed=number)
        row: dict[str, Any] = {"sky": number, "converged": bool(draws.converged), "truth": named[number]}
        for label, z in (("before", latent), ("after", found(latent))):
            own = {name: np.asarray(v) for name, v in posterior.values(z).items()}
            mean = {name: float(weights @ v) for name, v in own.items()}
            row[label] = {
                name: [
                    mean[name],
                    float(np.sqrt(weights @ (v - mean[name]) ** 2)),
                    float(weights @ (v < named[number][name])),
                ]
                for name, v in own.items()
            }
        row["seconds"] = [round(middle - start, 2), round(time.process_time() - middle, 2)]
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if number % 20 == 0:
            print(f"sigma {sigma}, sky {number}: {row['seconds']} s of CPU", flush=True)


def rows(path: Path) -> list[dict[str, Any]]:
    """Skies that a file has."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def table(folder: Path) -> list[str]:
    """Coverage before and after, one row for each PSF and parameter."""
    head = ["sigma, degrees", "parameter", "skies"]
    head += [f"{level:.0%}: before, after" for level in LEVELS] + ["r.m.s. z: before, after", "width after / before"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for path in sorted(folder.glob("pixels_*.jsonl"), key=lambda p: float(p.stem.split("_")[1])):
        sigma, found = float(path.stem.split("_")[1]), rows(path)
        for name in found[0]["truth"]:
            truth = np.array([r["truth"][name] for r in found])
            (m0, s0, r0), (m1, s1, r1) = (np.array([r[k][name] for r in found]).T for k in ("before", "after"))
            inside = [[np.mean(np.abs(r - 0.5) < 0.5 * level) for r in (r0, r1)] for level in LEVELS]
            rms = [np.sqrt(np.mean(((m - truth) / s) ** 2)) for m, s in ((m0, s0), (m1, s1))]
            cells = [f"{sigma:g}", f"`{name}`", str(len(found))]
            cells += [f"{100 * a:.0f}%, {100 * b:.0f}%" for a, b in inside]
            cells += [f"{rms[0]:.2f}, {rms[1]:.2f}", f"{np.median(s1 / s0):.2f}"]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Run or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sigma", nargs="*", type=float, help="of the King function, degrees; 0 for no PSF")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("-n", type=int, default=ROOM, help=f"skies, at most {ROOM}")
    parser.add_argument("--first", type=int, default=0, help="where to begin, so that several processes share the work")
    parser.add_argument("--factors", action="store_true", help="find the factors of the adjustment, and fit nothing")
    parser.add_argument("--page", type=Path, help="page whose marks the table is put between")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    widths = options.out / "pixel_factors.jsonl"
    for sigma in options.sigma:
        if options.factors:
            factors(sigma, widths)
        else:
            fitted(sigma, options.first, min(options.n, ROOM), options.out / f"pixels_{sigma:g}.jsonl")
    lines = [*table(options.out), "", *(factor_table(widths) if widths.exists() else [])]
    print("\n".join(lines))
    if options.page:
        before, rest = options.page.read_text(encoding="utf-8").split(MARKS[0])
        text = "\n".join([before + MARKS[0], "", *lines, "", MARKS[1] + rest.split(MARKS[1])[1]])
        options.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
