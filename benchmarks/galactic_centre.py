"""The inner Galaxy: published posteriors reproduced, and a continuum of excess morphologies.

Every fit is a small JSON file in a folder, and what is there is not done again; a fit that is killed goes on from its
checkpoint. ``--data`` holds ``fermi_573w_nside128`` and ``bulge``, ``--reference`` the files ``arrays.npz`` and
``posterior_small_models_nuts.json``.

    python benchmarks/galactic_centre.py --data DATA --reference REFERENCE --out FOLDER poisson.auto disk.nuts
    python benchmarks/galactic_centre.py --data DATA --reference REFERENCE --out FOLDER full.vi full.mcmc full.nuts
    python benchmarks/galactic_centre.py --out FOLDER --table docs/gammaray_inference.md

The models: ``poisson``, 6 norms of smooth templates; ``disk``, these and a population of point sources in the disk, 12
parameters; ``full``, 35 dimensions.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import skyfold as sf
from skyfold import gammaray as g
from skyfold.checks.calibration.ranks import flat_values
from skyfold.inference import find
from skyfold.inference.convergence.mixing import measure
from skyfold.inference.running.checkpoint import Checkpoint
from skyfold.inference.running.progress import Progress
from skyfold.inference.variational.elbo import Ascent
from skyfold.inference.vi import _push
from skyfold.results.description import Description

#: Files and upper ends of the priors of the smooth templates.
TEMPLATES = {
    "pib": ("Opi", 14.0),
    "ics": ("Oic", 14.0),
    "iso": ("iso", 5.0),
    "bub": ("bub", 5.0),
    "psc": ("psc_3fgl", 5.0),
}
#: Published images of the bulge.
BULGES = {
    "macias": "BoxyBulge_arxiv1901.03822_Normalized.fits",
    "coleman": "Bulge_modulated_Coleman_etal_2019_Normalized.fits",
}
#: Range of counts of a source in the published analyses.
PUBLISHED = (0.1, 100.0)
QUANTILES = (0.005, 0.025, 0.16, 0.5, 0.84, 0.975, 0.995)
#: Names in the reference file.
REFERENCES = {
    "nfw.norm": "S_nfw",
    "dsk.Sps": "Sps_dsk",
    "dsk.n1": "n1_dsk",
    "dsk.n2": "n2_dsk",
    "dsk.n3": "n3_dsk",
    "dsk.Sb1": "sb1_dsk",
    "dsk.lambda": "lambdas_dsk",
}
#: What stands in place of a table without rows.
NOTHING = "No fit has been run to its end yet."
#: Marks of a page between which tables are put.
MARKS = ("<!-- {} begins -->", "<!-- {} ends -->")


# -- what is fitted ----------------------------------------------------------------------------------------------------


def observed(data: Path) -> Any:
    """Fermi-LAT's counts of the inner 25 degrees without the plane and the sources of the 3FGL."""
    folder = data / "fermi_573w_nside128"
    files = [folder / f"{name}.npy" for name in ("fermidata_counts", "fermidata_exposure", "mask_3fgl_0p8deg")]
    return g.CountsMap.read(*files, name="fermi").within(g.Disc(25) & ~g.Band(2))


def smooth(data: Path) -> Any:
    """Six templates whose norms are free."""
    folder = data / "fermi_573w_nside128"
    maps = g.models.read_templates(folder, [file for file, _ in TEMPLATES.values()])
    parts = [
        g.Template(maps[file.split("_")[0]], sf.Uniform(1e-3, high), name=name)
        for name, (file, high) in TEMPLATES.items()
    ]
    return sum(parts[1:], start=parts[0]) + g.NFWSquared(0.9, sf.Uniform(1e-5, 4), exposure=False)


def with_disk(data: Path, **settings: Any) -> Any:
    """The same and unresolved sources in a disk, 12 parameters."""
    disk = g.Disk(0.5, 3.0, exposure=False, published=True, name="shape")
    return smooth(data) + g.PointSources(disk, sf.Uniform(1e-5, 4), name="dsk", **settings)


def lat_psf() -> Any:
    """PSF of the LAT at 2 GeV."""
    return g.DoubleKing(
        0.748988248179, 0.428653790656, 7.82363229341, 0.715962650769, 3.61883748683, scale=0.00456544262478
    )


def posterior(name: str, data: Path, reference: Path) -> sf.Posterior:
    """Posterior of a case."""
    sky = observed(data)
    if name == "poisson":
        return sf.Posterior((smooth(data), sky))
    if name == "disk":
        arrays = np.load(reference / "arrays.npz")
        f = arrays["king_f"]
        seen = sky.with_point_sources(f, f * arrays["king_df_rho_div_f"], s_range=PUBLISHED, exposure_regions=1)
        return sf.Posterior((with_disk(data, s_range=PUBLISHED), seen))
    bulges = [g.bulge(data / "bulge" / file, 128, name=label) for label, file in BULGES.items()]
    model = g.models.galactic_centre(g.models.read_templates(data / "fermi_573w_nside128"), bulges)
    f, weights, _ = g.fraction_distribution(lat_psf(), 128, sky.pixels.index)
    return sf.Posterior((model, sky.with_point_sources(f, weights)))


# -- how it is fitted --------------------------------------------------------------------------------------------------


def method(name: str, case: str) -> Any:
    """Settings of a method; those of variational inference share one optimisation."""
    if name in ("vi", "psis", "mcmc", "adaptive"):
        correction = {"vi": "none"}.get(name, name)
        draws = 16_384 if (case, name) == ("full", "psis") else 4096
        return sf.VI(family="flow", correction=correction, draws=draws, particles=8, patience=8, steps=10_000)
    if name == "nuts":
        return sf.NUTS(max_draws=12_000)
    return find(name)


def fit(case: str, name: str, seed: int, work: Path, data: Path, reference: Path) -> dict[str, Any]:
    """Fit, and return what the tables need."""
    target = posterior(case, data, reference)
    settings = method(name, case)
    kind = "vi" if isinstance(settings, sf.VI) else name
    work.mkdir(parents=True, exist_ok=True)
    checkpoint = Checkpoint(work / f"{case}.{kind}.{seed}.npz", f"{case} {kind} {seed}")
    resumed = checkpoint.load() is not None
    start, cpu = time.perf_counter(), time.process_time()
    draws = settings(target, seed, Progress(False), checkpoint)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    found = described(target, draws)
    np.savez(
        work / f"{case}.{name}.{seed}.draws.npz",
        names=list(Description.of(target).entries),
        values=flat_values(target, draws.latent.reshape(-1, target.ndim)),
        weights=draws.weights().ravel(),
    )
    found |= {"case": case, "method": name, "settings": repr(settings), "seed": seed, "resumed": resumed}
    found |= {"wall": wall, "cpu": cpu, "load": os.getloadavg()[1]}
    if kind == "vi":
        found |= drawn(target, settings, checkpoint, seed)
    if case in ("poisson", "disk"):
        found |= compared(found, json.loads((reference / "posterior_small_models_nuts.json").read_text()), case)
    return found


def described(target: sf.Posterior, draws: Any) -> dict[str, Any]:
    """Moments and quantiles of every parameter, and what the method says of itself."""
    weights = draws.weights().ravel()
    latent = draws.latent.reshape(-1, target.ndim)
    names, values = list(Description.of(target).entries), flat_values(target, latent)
    mean = weights @ values
    sd = np.sqrt(weights @ (values - mean) ** 2)
    numbers = {k: float(v) for k, v in draws.diagnostics.items() if np.ndim(v) == 0}
    if draws.log_weights is None and draws.latent.shape[0] > 1:
        numbers |= measure(draws.latent)
    return {
        "names": names,
        "mean": mean.tolist(),
        "sd": sd.tolist(),
        "quantiles": {str(q): [quantile(v, weights, q) for v in values.T] for q in QUANTILES},
        "converged": bool(draws.converged),
        "messages": list(draws.messages),
        "sampler": draws.sampler,
        "draws": int(weights.size),
        "effective": float(1.0 / np.sum(weights**2)),
        "evaluations": int(draws.evaluations),
        "gradients": int(draws.gradients),
        "log_evidence": draws.log_evidence,
        "log_evidence_error": draws.log_evidence_error,
        "seconds": draws.seconds,
        "diagnostics": numbers,
        "elbo": np.round(draws.diagnostics.get("elbo_history", np.empty(0)), 3).tolist(),
    }


def quantile(values: np.ndarray, weights: np.ndarray, level: float) -> float:
    """Quantile of weighted draws."""
    order = np.argsort(values)
    below = np.cumsum(weights[order]) - 0.5 * weights[order]
    return float(np.interp(level, below, values[order]))


def drawn(target: sf.Posterior, settings: Any, checkpoint: Any, seed: int) -> dict[str, Any]:
    """Time that 50,000 draws of the guide and their parameters take, after compiling, by the wall and the processor."""
    ascent = Ascent(settings, checkpoint.load())
    seconds, cpu = [], []
    for repeat in range(3):
        start, begun = time.perf_counter(), time.process_time()
        base = np.random.default_rng([seed, repeat]).standard_normal((50_000, target.ndim))
        v = _push(ascent.guide, ascent.mean, ascent.root, base)
        z = jax.vmap(lambda v: ascent.bend.latent(v)[0])(v)
        flat_values(target, np.asarray(z))
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - begun)
    return {"seconds_50000_draws": min(seconds), "cpu_50000_draws": min(cpu)}


def compared(found: dict[str, Any], wanted: dict[str, Any], case: str) -> dict[str, Any]:
    """Distance from the published chains: of means in sds, and ratio of sds."""
    true = wanted["np" if case == "disk" else "poisson"]
    keys = [REFERENCES.get(n, "S_" + n.removesuffix(".norm")) for n in found["names"]]
    mean, sd = (np.array([true[k][what] for k in keys]) for what in ("mean", "sd"))
    return {
        "reference_mean": mean.tolist(),
        "reference_sd": sd.tolist(),
        "shift": ((np.array(found["mean"]) - mean) / sd).tolist(),
        "width": (np.array(found["sd"]) / sd).tolist(),
    }


# -- tables ------------------------------------------------------------------------------------------------------------


def loaded(folder: Path) -> dict[str, dict[str, Any]]:
    """Fits that there are, by case and method."""
    return {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))}


def small_table(found: dict[str, dict[str, Any]]) -> str:
    """Every parameter of the two small models against the published chains."""
    lines = ["| parameter | reference | " + " | ".join(f"`{m}`: shift/sd, sd ratio" for m in ("nuts", "auto")) + " |"]
    lines.append("|---|---|---|---|")
    for case in ("poisson", "disk"):
        runs = {m: found.get(f"{case}.{m}") for m in ("nuts", "auto")}
        first = next((r for r in runs.values() if r), None)
        if first is None:
            lines.append(f"| *{case}* | not run yet | | |")
            continue
        lines.append(f"| *{case}* | | | |")
        for i, name in enumerate(first["names"]):
            cells = [f"{r['shift'][i]:+.3f}, {r['width'][i]:.3f}" if r else "not run" for r in runs.values()]
            wanted = f"{first['reference_mean'][i]:.4g} ± {first['reference_sd'][i]:.3g}"
            lines.append(f"| {name} | {wanted} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cost_table(found: dict[str, dict[str, Any]]) -> str:
    """What every fit cost, and what it says of itself."""
    head = ["fit", "converged", "evaluations", "gradients", "compile s", "sample s", "CPU s", "k-hat: proposal, draws"]
    head += ["R-hat", "ESS: bulk, tail"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, r in found.items():
        d = r["diagnostics"]
        ess = ", ".join(f"{d[k]:.0f}" for k in ("ess", "ess_tail") if k in d)
        effective = ess or f"{d.get('effective_pool', r['effective']):.0f}"
        numbers = [f"{r['evaluations']:,}", f"{r['gradients']:,}"]
        numbers += [f"{r['seconds'][k]:.0f}" for k in ("compile", "sample")] + [f"{r['cpu']:.0f}"]
        numbers += [", ".join(f"{d[k]:.2f}" for k in ("khat", "khat_pool") if k in d)] + [
            f"{d['rhat']:.4f}" if "rhat" in d else ""
        ]
        lines.append(f"| {name} | {'yes' if r['converged'] else 'no'} | " + " | ".join(numbers) + f" | {effective} |")
    return "\n".join(lines)


def full_table(found: dict[str, dict[str, Any]]) -> str:
    """Marginals of the full model: variational inference against chains."""
    runs = {m: found.get(f"full.{m}") for m in ("nuts", "vi", "psis", "mcmc", "adaptive")}
    base = runs["nuts"]
    others = {m: r for m, r in runs.items() if r and m != "nuts"}
    if base is None and not others:
        return NOTHING
    if base is None:
        rows = ["| parameter | " + " | ".join(others) + " |", "|---" * (1 + len(others)) + "|"]
        for i, name in enumerate(next(iter(others.values()))["names"] if others else []):
            rows.append(
                f"| {name} | " + " | ".join(f"{r['mean'][i]:.4g} ± {r['sd'][i]:.3g}" for r in others.values()) + " |"
            )
        return "\n".join(rows)
    head = "| parameter | `nuts` | 95% | " + " | ".join(f"`{m}`: shift/sd, 68%, 95%, 99% widths" for m in others) + " |"
    rows = [head, "|---" * (3 + len(others)) + "|"]

    def width(run: dict[str, Any], low: str, high: str, i: int) -> float:
        return run["quantiles"][high][i] - run["quantiles"][low][i]

    pairs = (("0.16", "0.84"), ("0.025", "0.975"), ("0.005", "0.995"))
    for i, name in enumerate(base["names"]):
        cells = []
        for run in others.values():
            shift = (run["mean"][i] - base["mean"][i]) / base["sd"][i]
            cells.append(
                ", ".join([f"{shift:+.2f}", *(f"{width(run, *p, i) / width(base, *p, i):.2f}" for p in pairs)])
            )
        ends = f"{base['quantiles']['0.025'][i]:.3g} to {base['quantiles']['0.975'][i]:.3g}"
        rows.append(f"| {name} | {base['mean'][i]:.4g} ± {base['sd'][i]:.3g} | {ends} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def written(page: Path, found: dict[str, dict[str, Any]]) -> None:
    """Put the tables between their marks."""
    text = page.read_text(encoding="utf-8")
    tables = {"small": small_table, "cost": cost_table, "full": full_table}
    for name, table in tables.items():
        begin, end = (m.format(name) for m in MARKS)
        if begin in text:
            head, _, rest = text.partition(begin)
            text = head + begin + "\n\n" + table(found) + "\n\n" + end + rest.partition(end)[2]
    page.write_text(text, encoding="utf-8")


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fits", nargs="*", metavar="CASE.METHOD")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--work", type=Path, default=Path("galactic_centre_work"), help="folder of the checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", type=Path, metavar="PAGE", help="write the tables into this page, fit nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.table:
        written(options.table, loaded(options.out))
        return
    for name in options.fits:
        path = options.out / f"{name}.json"
        if path.exists():
            continue
        case, _, chosen = name.rpartition(".")
        found = fit(case, chosen, options.seed, options.work, options.data, options.reference)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(
            f"{name}: {found['wall']:.0f} s, {found['cpu']:.0f} s of CPU, converged: {found['converged']}", flush=True
        )


if __name__ == "__main__":
    main()
