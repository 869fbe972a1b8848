"""The excess under a foreground that no template has: fixed templates against a Gaussian-process factor.

Each sky is of nside 32 and Poisson: the excess, isotropic emission, the Fermi bubbles, inverse Compton emission, and a
pi0-decay foreground whose map is a mixture of the models O, A and F times exp(a h). The factor's logarithm h is a sum
of random plane waves, scaled to mean 0 and standard deviation 1 over the region: no draw of the process that is fitted.
The same sky is fitted with the foreground of the published analysis (``templates``: free mixtures of O, A and F, low
spherical harmonics) and with a Gaussian process in place of the harmonics (``field``).

Every sky is a JSON file in a folder, and what is there is not done again; fits with other correlation lengths have
folders of their own in it.

    python benchmarks/gaussian_process_foreground.py --data DATA --out FOLDER --skies 20 --controls 10
    python benchmarks/gaussian_process_foreground.py --data DATA --out FOLDER --skies 10 --lengths 12.5 50 free
    python benchmarks/gaussian_process_foreground.py --out FOLDER --table PAGE
    python benchmarks/gaussian_process_foreground.py --out FOLDER --figure STEM --shown sky-0
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

# matrices of the process are small: threads of BLAS would cost twenty times what they do
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import skyfold as sf
from skyfold import gammaray as g

#: Resolution of the sky and of the Gaussian process.
NSIDE, FIELD_NSIDE = 32, 8
#: Radius of the region, and correlation length that the Gaussian process is given, degrees.
RADIUS, LENGTH = 18.0, 25.0
#: Standard deviation a of the logarithm of what the templates lack.
AMPLITUDE = 0.15
#: Plane waves, and their shortest and longest wavelengths, degrees.
WAVES, SHORTEST, LONGEST = 300, 40.0, 120.0
#: True mean counts per pixel, roughly those of a quarter of the exposure of the real sky, and a dimmer excess.
TRUTH = {"pib": 45.0, "ics": 20.0, "iso": 2.5, "bub": 3.5, "gce": 7.5}
#: Inner slope of the excess.
GAMMA = 1.2
FOREGROUNDS = "OAF"
METHODS = ("templates", "field")
#: Draws with which the fitted factor is mapped.
DRAWS = 400
#: Columns on how well fits hold the truth.
HEADS = "| within 68% | within 95% | off by more than 2 sd | r.m.s. of (mean - truth)/sd | mean sd |"
MARKS = ("<!-- field begins -->", "<!-- field ends -->")


def empty() -> Any:
    """Pixels of the inner 18 degrees without the plane, of uniform exposure."""
    sky = g.CountsMap.read(np.zeros(12 * NSIDE**2), np.full(12 * NSIDE**2, 1e11), name="sky")
    return sky.within(g.Disc(RADIUS) & ~g.Band(2))


def templates(data: Path) -> dict[str, np.ndarray]:
    """Maps of foregrounds at the resolution of the skies."""
    maps = g.models.read_templates(data / "fermi_573w_nside128")
    return {name: g.downgrade(values, NSIDE) for name, values in maps.items()}


def unknown(directions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Factor's logarithm h (n_pix,) in these directions (3, n_pix), of mean 0 and standard deviation 1."""
    wavelength = np.radians(np.exp(rng.uniform(np.log(SHORTEST), np.log(LONGEST), WAVES)))
    towards = rng.standard_normal((WAVES, 3))
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    phase = (2.0 * np.pi / wavelength)[:, None] * (towards @ directions) + rng.uniform(0, 2 * np.pi, (WAVES, 1))
    h = wavelength @ np.cos(phase)
    return np.asarray((h - h.mean()) / h.std())


def drawn(seed: int, amplitude: float, maps: dict[str, np.ndarray]) -> tuple[Any, np.ndarray]:
    """Counts of a sky, and the logarithm of its foreground over that of the mixture of templates."""
    rng = np.random.default_rng([seed, 41])
    sky = empty()
    pixels = sky.pixels
    factor = amplitude * unknown(np.asarray(pixels.direction), rng)
    kinds = {"pib": "pi", "ics": "ic"}
    shapes = {}
    for name, kind in kinds.items():
        members = np.stack([maps[f + kind][pixels.index] for f in FOREGROUNDS])
        shapes[name] = rng.dirichlet(np.full(len(FOREGROUNDS), 2.0)) @ (members / members.mean(axis=1, keepdims=True))
    shapes["pib"] = shapes["pib"] * np.exp(factor)
    shapes |= {name: maps[name][pixels.index] for name in ("iso", "bub")}
    shapes["gce"] = np.asarray(g.NFWSquared(GAMMA, 1.0).template(pixels))
    mean = sum(TRUTH[name] * shape / shape.mean() for name, shape in shapes.items())
    return sky.with_data(rng.poisson(mean).astype(float)), factor


def model(method: str, maps: dict[str, np.ndarray], pixels: Any, length: float | None = LENGTH) -> Any:
    """Model of the sky with one of the two foregrounds; the correlation length is free where none is given."""
    factor = g.Harmonics() if method == "templates" else g.GaussianField.on(pixels, FIELD_NSIDE, length=length)

    def mixture(name: str, kind: str, **settings: Any) -> Any:
        members = [g.Template(maps[f + kind], name=f + kind) for f in FOREGROUNDS]
        return g.Mixture(members, sf.Uniform(0.01, 100.0), name=name, **settings)

    return (
        mixture("pib", "pi", modulation=factor)
        + mixture("ics", "ic")
        + g.Template(maps["iso"], sf.Uniform(1e-3, 20.0), name="iso")
        + g.Template(maps["bub"], sf.Uniform(1e-3, 20.0), name="bub")
        + g.NFWSquared(GAMMA, sf.Uniform(1e-3, 40.0), name="gce")
    )


def sky_of(name: str, maps: dict[str, np.ndarray]) -> tuple[Any, np.ndarray]:
    """Sky of this name, "sky-0" or "control-0", and the logarithm of its foreground's factor."""
    kind, _, number = name.partition("-")
    return drawn(int(number), AMPLITUDE if kind == "sky" else 0.0, maps)


def fit(name: str, data: Path) -> dict[str, Any]:
    """Fit one sky with both foregrounds."""
    maps = templates(data)
    sky, factor = sky_of(name, maps)
    found: dict[str, Any] = {"name": name, "counts": float(np.sum(sky.data)), "factor": np.round(factor, 4).tolist()}
    for method in METHODS:
        result, found[method] = measured(name, sf.Posterior((model(method, maps, sky.pixels), sky)))
        found[method]["factor"] = np.round(fitted(method, result, maps, sky.pixels), 4).tolist()
    return found


def fit_length(name: str, data: Path, length: float | None) -> dict[str, Any]:
    """Fit one sky with a Gaussian process of this correlation length, in degrees."""
    maps = templates(data)
    sky, _ = sky_of(name, maps)
    result, found = measured(name, sf.Posterior((model("field", maps, sky.pixels, length), sky)))
    if length is None:
        found["length"] = np.quantile(result.samples["field.length"], (0.16, 0.5, 0.84)).tolist()
    return found


def measured(name: str, posterior: sf.Posterior) -> tuple[Any, dict[str, Any]]:
    """Fit, and what it says of the excess."""
    start, cpu = time.perf_counter(), time.process_time()
    result = posterior.fit(sf.NUTS(draws=500), seed=int(name.partition("-")[2]), progress=False)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    excess = result.samples["gce.norm"].ravel()
    low, middle, high = np.quantile(excess, (0.16, 0.5, 0.84))
    return result, {
        "dimensions": posterior.ndim,
        "mean": float(excess.mean()),
        "sd": float(excess.std()),
        "pull": float((excess.mean() - TRUTH["gce"]) / excess.std()),
        "68%": [float(low), float(high)],
        "95%": np.quantile(excess, (0.025, 0.975)).tolist(),
        "median": float(middle),
        "converged": result.converged,
        "messages": list(result.draws.messages),
        "rhat": float(np.max(result.draws.diagnostics["rhat"])),
        "ess": float(np.min(result.draws.diagnostics["ess"])),
        "gradients": int(result.draws.gradients),
        "wall": wall,
        "cpu": cpu,
        "deviance": float(sum(result.statistics.values())),
    }


def fitted(method: str, result: Any, maps: dict[str, np.ndarray], pixels: Any) -> np.ndarray:
    """Posterior mean (n_pix,) of the logarithm of the factor, its own mean over the region taken off."""
    prefix = "harmonics" if method == "templates" else "field"
    names = {n.rpartition(".")[2]: n for n in result.samples if prefix in n}
    values = {k: result.samples[n].reshape(-1, *result.samples[n].shape[2:]) for k, n in names.items()}
    chosen = np.linspace(0, len(next(iter(values.values()))) - 1, DRAWS).astype(int)
    base = g.Harmonics(np.zeros(5)) if method == "templates" else g.GaussianField.on(pixels, FIELD_NSIDE, length=LENGTH)
    total = np.zeros(pixels.n_pix)
    for i in chosen:
        numbers = {("coefficients" if k == "A" else k): v[i] for k, v in values.items()}
        log_factor = np.log(np.asarray(replace(base, **numbers).evaluate(pixels)))
        total += log_factor - log_factor.mean()
    return np.asarray(total / len(chosen))


# -- what is shown -----------------------------------------------------------------------------------------------------


def loaded(folder: Path) -> dict[str, dict[str, Any]]:
    """Skies that there are, in order."""
    found = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in folder.glob("*-*.json")}
    return dict(
        sorted(found.items(), key=lambda item: (item[0].partition("-")[0] != "sky", int(item[0].split("-")[1])))
    )


def table(found: dict[str, dict[str, Any]]) -> str:
    """Every sky, and how often the intervals hold the truth."""
    lines = ["| sky | templates: excess | off by | field: excess | off by | factor, r.m.s. error: templates, field |"]
    lines.append("|---|---|---|---|---|---|")
    for name, sky in found.items():
        cells = []
        for method in METHODS:
            r = sky[method]
            cells += [f"{r['mean']:.1f} ± {r['sd']:.1f}" + ("" if r["converged"] else " (not converged)")]
            cells += [f"{r['pull']:+.1f} sd"]
        errors = ", ".join(f"{rms(sky, method):.3f}" for method in METHODS)
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {errors} |")
    lines += ["", "| skies | model " + HEADS, "|---|---|---|---|---|---|---|"]
    for kind in ("sky", "control"):
        runs = [s for n, s in found.items() if n.startswith(kind + "-")]
        for method in METHODS:
            lines.append(f"| {kind} | {method} | " + held([s[method] for s in runs]) + " |")
    return "\n".join(lines)


def length_table(folder: Path, found: dict[str, dict[str, Any]]) -> str:
    """How the excess depends on the correlation length, on the skies that were fitted with all of them."""
    others = {p.name.partition("_")[2]: loaded(p) for p in folder.glob("length_*")}
    skies = [name for name in found if all(name in runs for runs in others.values())]
    if not others or not skies:
        return ""
    rows = {f"{LENGTH:g}": {n: s["field"] for n, s in found.items()}, **others}
    lines = ["", f"| length, degrees | {skies[0]} to {skies[-1]} " + HEADS, "|---|---|---|---|---|---|---|"]
    for length in sorted(rows, key=lambda x: (x == "free", float(x) if x != "free" else 0.0)):
        runs = [rows[length][name] for name in skies]
        fitted = [r["length"][1] for r in runs if "length" in r]
        cell = f"fitted: {min(fitted):.0f} to {max(fitted):.0f}" if fitted else "given"
        lines.append(f"| {length} | {cell} | " + held(runs) + " |")
    return "\n".join(lines) + "\n"


def held(runs: list[dict[str, Any]]) -> str:
    """Cells on how often the intervals of these fits hold the truth, and how wide they are."""
    pulls = np.array([r["pull"] for r in runs])
    within = [sum(r[level][0] <= TRUTH["gce"] <= r[level][1] for r in runs) for level in ("68%", "95%")]
    cells = [f"{w} of {len(runs)}" for w in within] + [f"{np.sum(np.abs(pulls) > 2)} of {len(runs)}"]
    cells += [f"{np.sqrt(np.mean(pulls**2)):.2f}", f"{np.mean([r['sd'] for r in runs]):.2f}"]
    flagged = sum(not r["converged"] for r in runs)
    return " | ".join(cells) + (f" ({flagged} not converged)" if flagged else "")


def tables(folder: Path) -> str:
    """All tables of the page."""
    found = loaded(folder)
    return (table(found) + "\n" + length_table(folder, found)).rstrip()


def rms(sky: dict[str, Any], method: str) -> float:
    """Root mean square difference of the logarithms of the fitted factor and the true one."""
    true = np.array(sky["factor"])
    return float(np.std(np.array(sky[method]["factor"]) - true))


def figure(found: dict[str, dict[str, Any]], shown: str) -> Any:
    """Draw the true factor and the fitted ones on one sky, and the excess on all."""
    from skyfold.gammaray.sky_image import image_of
    from skyfold.plots.style import BLACK, BLUE, VERMILION, context, new_figure

    sky = found[shown]
    image = image_of(empty().pixels, "cartesian")
    panels = [
        ("truth", sky["factor"]),
        ("harmonics", sky["templates"]["factor"]),
        ("Gaussian process", sky["field"]["factor"]),
    ]
    reach = np.ceil(20 * np.max(np.abs(sky["factor"]))) / 20
    with context():
        drawing = new_figure(7.1, 5.3)
        above, below = drawing.subfigures(2, 1, height_ratios=(1.0, 0.95))
        axes = above.subplots(1, 3, sharey=True)
        for axis, (title, values) in zip(axes, panels, strict=True):
            axis.set_facecolor("0.82")
            mapped = axis.imshow(
                np.ma.masked_invalid(image.show(np.array(values))),
                extent=image.extent,
                origin="lower",
                interpolation="nearest",
                cmap="RdBu_r",
                vmin=-reach,
                vmax=reach,
            )
            axis.set_title(title)
            axis.set_xlabel("$l$ [deg]")
            axis.set_xticks((15, 0, -15))
            axis.set_yticks((-15, 0, 15))
            axis.tick_params(direction="out", top=False, right=False)
        axes[0].set_ylabel("$b$ [deg]")
        above.colorbar(mapped, ax=axes, shrink=0.85, label="ln factor", pad=0.01)
        axis = below.subplots()
        names = list(found)
        for method, colour, marker, side in (("templates", VERMILION, "s", -0.13), ("field", BLUE, "o", 0.13)):
            label = {"templates": "mixtures, harmonics", "field": "mixtures, Gaussian process"}[method]
            for i, name in enumerate(names):
                r = found[name][method]
                ends = np.abs(np.array([r["95%"], r["68%"]]) - r["median"])
                for width, (low, high) in zip((0.9, 2.4), ends, strict=True):
                    axis.errorbar(i + side, r["median"], [[low], [high]], color=colour, lw=width)
                given = label if i == 0 else None
                axis.plot(i + side, r["median"], marker, ms=4.5, color=colour, label=given, ls="none")
        axis.axhline(TRUTH["gce"], color=BLACK, lw=0.9, ls="--", zorder=0, label="truth")
        skies = sum(n.startswith("sky-") for n in names)
        if skies < len(names):
            axis.axvline(skies - 0.5, color="0.6", lw=0.8)
        axis.set_xticks(range(len(names)), [n.partition("-")[2] for n in names])
        axis.tick_params(axis="x", length=0)
        axis.set_xlim(-0.6, len(names) - 0.4)
        low, high = axis.get_ylim()
        axis.set_ylim(low, high + 0.22 * (high - low))
        axis.set_xlabel("sky")
        axis.set_ylabel("excess [counts/pixel]")
        axis.text(0.01, 0.95, "foreground that no template has", transform=axis.transAxes, va="top", fontsize=9)
        if skies < len(names):
            place = (skies + 0.1) / len(names)
            axis.text(place, 0.95, "mixtures of the templates", transform=axis.transAxes, va="top", fontsize=9)
        axis.legend(
            loc="upper left", bbox_to_anchor=(0.0, 0.9), ncols=3, handletextpad=0.3, columnspacing=1.0, fontsize=8
        )
    return drawing


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of fermi_573w_nside128")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--skies", type=int, default=0, help="skies whose foreground no template has")
    parser.add_argument("--controls", type=int, default=0, help="skies whose foreground is a mixture of the templates")
    parser.add_argument("--lengths", nargs="+", default=[], help="other correlation lengths, in degrees, or 'free'")
    parser.add_argument("--table", type=Path, metavar="PAGE", help="write the table into this page")
    parser.add_argument("--figure", type=Path, metavar="STEM", help="save the figure as STEM.png")
    parser.add_argument("--shown", default="sky-0", help="sky whose factor the figure shows")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = [*(f"sky-{i}" for i in range(options.skies)), *(f"control-{i}" for i in range(options.controls))]
    for length in options.lengths:
        folder = options.out / f"length_{length}"
        folder.mkdir(exist_ok=True)
        for name in names:
            path = folder / f"{name}.json"
            if path.exists():
                continue
            r = fit_length(name, options.data, None if length == "free" else float(length))
            path.write_text(json.dumps(r) + "\n", encoding="utf-8")
            print(f"{name}, length {length}: {r['mean']:.2f} +- {r['sd']:.2f}, {r['wall']:.0f} s", flush=True)
    for name in [] if options.lengths else names:
        path = options.out / f"{name}.json"
        if path.exists():
            continue
        found = fit(name, options.data)
        path.write_text(json.dumps(found) + "\n", encoding="utf-8")
        for method in METHODS:
            r = found[method]
            print(f"{name} {method}: {r['mean']:.2f} +- {r['sd']:.2f}, off by {r['pull']:+.2f} sd", end=", ")
            print(f"{r['wall']:.0f} s, R-hat {r['rhat']:.4f}, ESS {r['ess']:.0f}", flush=True)
    if options.table:
        text = options.table.read_text(encoding="utf-8")
        head, _, rest = text.partition(MARKS[0])
        text = head + MARKS[0] + "\n\n" + tables(options.out) + "\n\n" + MARKS[1] + rest.partition(MARKS[1])[2]
        options.table.write_text(text, encoding="utf-8")
    if options.figure:
        figure(loaded(options.out), options.shown).savefig(f"{options.figure}.png", dpi=200)


if __name__ == "__main__":
    main()
