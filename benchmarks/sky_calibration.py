"""Are posteriors of the inner Galaxy as wide as they should be? Skies simulated photon by photon, fitted by skyfold.

True parameters are drawn from the priors of the fit. The simulator puts single sources into pixels and scatters every
photon by the PSF: unlike the likelihood it knows nothing of rho(f), and its pixels are correlated by sources that shine
into several. Every fit is a small JSON file, and what is there is not done again.

    python benchmarks/sky_calibration.py --data DATA --out FOLDER -n 100 vi adaptive
    python benchmarks/sky_calibration.py --data DATA --out FOLDER -n 40 nuts nuts15
    python benchmarks/sky_calibration.py --out FOLDER --page docs/gammaray_calibration.md

``vi`` is variational inference with a flow, ``adaptive`` the same flow corrected by adaptive importance sampling;
``nuts15`` are the draws of NUTS weighted for a likelihood with rho(f) in the 15 linear bins of the literature. ``DATA``
holds ``fermi_573w_nside128`` with the templates.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from galactic_centre import lat_psf

import skyfold as sf
from skyfold import gammaray as g
from skyfold.checks.calibration.ranks import flat_values
from skyfold.inference.running.checkpoint import Checkpoint
from skyfold.inference.running.draws import Draws
from skyfold.inference.running.progress import Progress
from skyfold.results.description import Description

NSIDE, REGION, SOURCES = 128, g.Disc(10) & ~g.Band(2), (0.1, 100.0)
#: Files and ranges of the norms of the smooth templates, mean counts per pixel of the region.
TEMPLATES = {
    "pib": ("Opi", (5.0, 15.0)),
    "ics": ("Oic", (2.0, 10.0)),
    "iso": ("iso", (1e-3, 2.0)),
    "bub": ("bub", (1e-3, 2.0)),
    "psc": ("psc_3fgl", (1e-3, 5.0)),
}
#: Masses of central intervals, and what is counted together.
LEVELS = (0.50, 0.68, 0.95)
SHOWN = {
    "gce.norm": r"$S_\mathrm{gce}$",
    "gce_ps.Sps": r"$S_\mathrm{ps,gce}$",
    "gce_ps.n1": "$n_1$",
    "gce_ps.n2": "$n_2$",
    "gce_ps.n3": "$n_3$",
    "gce_ps.Sb1": r"$S_\mathrm{b1}$",
    "gce_ps.lambda": r"$\lambda$",
}
#: Effective draws below which weighted ones are not to be trusted.
LEAST = 100.0
LABELS = {"vi": "flow", "adaptive": "flow, corrected", "nuts": "NUTS", "nuts15": "NUTS, 15 bins of f"}
MARKS = ("<!-- skies begin -->", "<!-- skies end -->")


@cache
def model(data: Path) -> Any:
    """Five foregrounds, smooth emission that follows a squared NFW profile, and point sources that do: 12 numbers."""
    folder = data / "fermi_573w_nside128"
    maps = g.models.read_templates(folder, [file for file, _ in TEMPLATES.values()])
    parts = [
        g.Template(maps[file.split("_")[0]], sf.Uniform(*limits), name=name)
        for name, (file, limits) in TEMPLATES.items()
    ]
    smooth = sum(parts[1:], start=parts[0]) + g.NFWSquared(1.2, sf.Uniform(1e-5, 4), exposure=False, name="gce")
    shape = g.NFWSquared(1.2, exposure=False, name="shape")
    return smooth + g.PointSources(shape, sf.Uniform(1e-5, 4), name="gce_ps", s_range=SOURCES)


def fractions(bins: int | None, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distribution rho(f), accurate, or in linear bins at whose middles f is taken, fractions below 0.01 left out.

    The latter is what NPTFit makes of simulated photons by default; here it has no noise.
    """
    if bins is None:
        return g.fraction_distribution(lat_psf(), NSIDE, index)[:2]
    f, weights, _ = g.fraction_distribution(lat_psf(), NSIDE, index, bins=1000)
    number, edges = np.histogram(f[f > 0.01], bins, (0.0, 1.0), weights=weights[f > 0.01])
    middle = 0.5 * (edges[1:] + edges[:-1])
    return middle, number / np.sum(middle * number)


@cache
def counts(data: Path, n: int) -> tuple[np.ndarray, ...]:
    """True latent vectors (n, 12), and counts (n, n_pixels) of the skies."""
    prior = sf.Posterior((model(data), prepared(data, None, None)))
    z = prior.draw_prior(n, seed=0)
    truths = [{k: float(v[i]) for k, v in prior.values(z).items()} for i in range(n)]
    empty = prepared(data, None, None)
    skies = [
        g.simulate(model(data).with_values(t), empty, lat_psf(), seed=i, s_range=SOURCES).data
        for i, t in enumerate(truths)
    ]
    return np.asarray(z), np.array(skies)


@cache
def prepared(data: Path, bins: int | None, most: tuple[int, ...] | None) -> Any:
    """Map without a sky; where the most counts are given, with room for any sky of no more, for one executable."""
    everywhere = np.zeros(12 * NSIDE**2)
    sky = g.CountsMap.read(everywhere, np.full(everywhere.size, 1e11), name="sky").within(REGION)
    sky = sky.with_point_sources(*fractions(bins, sky.pixels.index), s_range=SOURCES)
    return sky if most is None else sky.with_data(np.array(most)).bound(model(data))


def fit(method: str, number: int, data: Path, work: Path, skies: tuple[np.ndarray, ...]) -> dict[str, Any]:
    """Fit a sky."""
    z, all_counts = skies
    most = tuple(int(c) for c in np.sort(all_counts, axis=1).max(axis=0))
    sky, coarse = (prepared(data, bins, most).with_data(all_counts[number]) for bins in (None, 15))
    posterior = sf.Posterior((model(data), sky))
    start = time.perf_counter(), time.process_time()
    if method == "nuts15":
        draws = reweighted(number, work, posterior, sf.Posterior((model(data), coarse)))
    else:
        kind = "nuts" if method == "nuts" else "vi"
        correction = "none" if method == "vi" else "adaptive"
        fitted: Any = sf.NUTS() if kind == "nuts" else sf.VI(family="flow", particles=8, correction=correction)
        checkpoint = Checkpoint(work / f"{kind}.{number}.npz", f"{kind} {number}")
        draws = fitted(posterior, number, Progress(False), checkpoint)
        np.savez(work / f"{method}.{number}.draws.npz", latent=draws.latent)
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    weights = draws.weights().ravel()
    values, truth = (flat_values(posterior, x.reshape(-1, posterior.ndim)) for x in (draws.latent, z[number]))
    mean = weights @ values
    return {
        "names": list(Description.of(posterior).entries),
        "truth": truth[0].tolist(),
        "mean": mean.tolist(),
        "sd": np.sqrt(weights @ (values - mean) ** 2).tolist(),
        "rank": (weights @ (values < truth)).tolist(),
        "converged": bool(draws.converged),
        "messages": list(draws.messages),
        "gradients": int(draws.gradients),
        "seconds": draws.seconds,
        "wall": wall,
        "cpu": cpu,
    }


def reweighted(number: int, work: Path, posterior: sf.Posterior, coarse: sf.Posterior) -> Draws:
    """Draws of NUTS weighted for the coarse rho(f)."""
    latent = np.load(work / f"nuts.{number}.draws.npz")["latent"]
    latent = latent.reshape(1, -1, latent.shape[-1])[:, ::4]
    likelihood, other = (np.asarray(p.log_likelihood(latent[0])) for p in (posterior, coarse))
    change = other - likelihood
    weights = np.exp(change - change.max())
    effective = float(weights.sum() ** 2 / np.sum(weights**2))
    return Draws(
        method="nuts15",
        latent=latent,
        log_likelihood=other[None],
        log_weights=change[None],
        converged=effective > LEAST,
        messages=(f"{effective:.0f} effective draws; ln L changes by {change.mean():+.2f} on average",),
        seed=number,
        evaluations=2 * change.size,
        gradients=0,
        seconds={},
    )


# -- what is made of them ----------------------------------------------------------------------------------------------


def loaded(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Fits that there are, by method."""
    found: dict[str, list[dict[str, Any]]] = {}
    for method in LABELS:
        files = sorted(folder.glob(f"{method}.*.json"), key=lambda p: int(p.name.split(".")[1]))
        if files:
            found[method] = [json.loads(p.read_text(encoding="utf-8")) for p in files]
    return found


def ranks(runs: list[dict[str, Any]], names: Any) -> np.ndarray:
    """Posterior mass below the truth, (fits, names)."""
    return np.array([[run["rank"][run["names"].index(n)] for n in names] for run in runs])


def inside(ranks: np.ndarray, level: float) -> np.ndarray:
    """Whether central intervals of this mass hold the truth."""
    return np.abs(ranks - 0.5) < 0.5 * level


def pulls(runs: list[dict[str, Any]], name: str) -> np.ndarray:
    """(Mean - truth) / sd of every fit."""
    rows = [(r, r["names"].index(name)) for r in runs]
    return np.array([(r["mean"][i] - r["truth"][i]) / r["sd"][i] for r, i in rows])


def table(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Coverage of each shown parameter by each method."""
    head = ["parameter", "method", "skies", "own tests passed", *(f"in {level:.0%}" for level in LEVELS), "mean pull"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name in [*SHOWN, "all 12"]:
        for method, runs in found.items():
            names = runs[0]["names"] if name == "all 12" else [name]
            r = ranks(runs, names)
            good = sum(run["converged"] for run in runs)
            cells = [f"{inside(r, level).mean():.2f}" for level in LEVELS]
            pull = "" if name == "all 12" else f"{pulls(runs, name).mean():+.2f} ± {1 / np.sqrt(len(runs)):.2f}"
            label = "all 12 parameters" if name == "all 12" else f"`{name}`"
            lines.append(f"| {label} | {LABELS[method]} | {len(runs)} | {good} | " + " | ".join(cells) + f" | {pull} |")
    return [*lines, "", *against_nuts(found)] if "nuts" in found else lines


def against_nuts(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Means and widths of each method against those of NUTS on the same skies."""
    others = [m for m in found if m != "nuts"]
    lines = ["| parameter | " + " | ".join(f"{LABELS[m]}: shift, width" for m in others) + " |"]
    lines.append("|---" * (1 + len(others)) + "|")
    for name in SHOWN:
        cells = []
        for method in others:
            pairs = [(a, b) for a, b in zip(found[method], found["nuts"], strict=False) if b["converged"]]
            i = pairs[0][0]["names"].index(name)
            shift = [(a["mean"][i] - b["mean"][i]) / b["sd"][i] for a, b in pairs]
            width = [a["sd"][i] / b["sd"][i] for a, b in pairs]
            cells.append(f"{np.sqrt(np.mean(np.square(shift))):.2f}, {np.median(width):.2f} ({min(width):.2f})")
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return lines


def figure(found: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Coverage, one panel for each mass of the intervals; bands of one binomial error about it."""
    from skyfold.plots.style import SERIES, context, new_figure

    rows = [*SHOWN.values(), "all 12"]
    offsets = np.linspace(0.3, -0.3, len(found))
    with context():
        fig = new_figure(9.0, 5.0)
        axes = fig.subplots(1, len(LEVELS), sharey=True)
        for axis, level in zip(axes, LEVELS, strict=True):
            for size, shade in zip(sorted({len(runs) for runs in found.values()}), ("0.92", "0.82"), strict=False):
                error = np.sqrt(level * (1.0 - level) / size)
                axis.axvspan(
                    level - error, level + error, color=shade, lw=0, zorder=0, label=f"one error, {size} skies"
                )
            axis.axvline(level, color="0.3", lw=0.8)
            for (method, runs), offset, colour in zip(found.items(), offsets, SERIES, strict=False):
                share = [inside(ranks(runs, [n]), level).mean() for n in SHOWN]
                share.append(inside(ranks(runs, runs[0]["names"]), level).mean())
                y = np.arange(len(rows))[::-1] + offset
                axis.plot(share, y, "o", ms=5, color=colour, label=f"{LABELS[method]}, {len(runs)} skies")
            axis.set_xlabel(f"share in the {level:.0%} interval")
            widest = 3.2 * np.sqrt(level * (1.0 - level) / min(len(runs) for runs in found.values()))
            axis.set_xlim(level - widest, min(level + widest, 1.01))
        axes[0].set_yticks(np.arange(len(rows))[::-1], rows)
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
        fig.savefig(path, dpi=130)


def main() -> None:
    """Run or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", choices=[*LABELS, []], metavar="METHOD", help=", ".join(LABELS))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--work", type=Path, default=Path("sky_calibration_work"), help="folder of the checkpoints")
    parser.add_argument("-n", type=int, default=100, help="skies to fit")
    parser.add_argument("--first", type=int, default=0, help="where to begin, so that several processes share the work")
    parser.add_argument("--of", type=int, default=100, help="skies to simulate; the shape of the maps has room for all")
    parser.add_argument("--page", type=Path, help="page whose marks the table is put between")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.methods:
        options.work.mkdir(parents=True, exist_ok=True)
        skies = counts(options.data, options.of)
    for number in range(options.first, options.n):
        for method in options.methods:
            path = options.out / f"{method}.{number}.json"
            if path.exists():
                continue
            found = fit(method, number, options.data, options.work, skies)
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps(found) + "\n", encoding="utf-8")
            temporary.replace(path)
            print(
                f"{method} {number}: {found['wall']:.0f} s, {found['cpu']:.0f} s of CPU, {found['seconds']}, "
                f"{found['gradients']} gradients, converged: {found['converged']}",
                flush=True,
            )
    found = loaded(options.out)
    if not found:
        return
    lines = table(found)
    print("\n".join(lines))
    figure(found, options.out / "coverage.png")
    if options.page:
        before, rest = options.page.read_text(encoding="utf-8").split(MARKS[0])
        text = "\n".join([before + MARKS[0], "", *lines, "", MARKS[1] + rest.split(MARKS[1])[1]])
        options.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
