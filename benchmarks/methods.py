"""Every method on every standard problem: how right, how sure of itself, at what price; as a Markdown table.

Each run is a process of its own with a time limit, and is kept in a folder as one small JSON file; what is there
already is not done again. Marginals are compared with exact moments where the problem has them, otherwise with a long
reference run that is kept in the same folder. Evidence is compared with the exact one, or with a nested sampler's.

    python benchmarks/methods.py --out docs/methods --data FOLDER                        # everything: hours
    python benchmarks/methods.py --out docs/methods --problems banana --methods auto nuts
    python benchmarks/methods.py --out docs/methods --table                              # what there is
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from problems import PROBLEMS, Problem, problem

#: Bias in reference widths, and deviation of a width from the reference's, that are allowed besides the noise.
BIAS, WIDTH = 0.10, 0.05
#: Standard deviations of noise that are allowed; there are hundreds of comparisons.
NOISE = 4.0
#: Methods that give a point: their distance from the reference is shown and not judged.
POINTS = ("mle", "map")
#: Problems that a method does not claim, with the reason.
NOT_CLAIMED: dict[tuple[str, str], str] = {}


# -- one run -----------------------------------------------------------------------------------------------------------


def reference_method(name: str) -> Any:
    """Return the settings of the long run that the others are compared with."""
    import skyfold as sf

    if name == "two temperatures":
        return sf.Auto(effective=100_000, max_evaluations=1_000_000)
    if name == "field":
        return sf.NUTS(chains=4, warmup=1000, draws=2000, max_draws=8000)
    return sf.NUTS(chains=8, warmup=1000, draws=5000, max_draws=40_000, target_accept=0.9)


def one(name: str, method: Any, seed: int, data: Path | None) -> dict[str, Any]:
    """Fit one problem with one method, and return what the table needs."""
    from skyfold.errors import SkyfoldError
    from skyfold.inference import find
    from skyfold.inference.progress import Progress

    case = problem(name, data)
    settings = find(method)
    start = time.perf_counter()
    try:
        draws = settings(case.posterior, seed, Progress(False))
    except (SkyfoldError, ImportError) as error:
        return {"refused": str(error)}
    total = time.perf_counter() - start
    latent, weights = draws.latent.reshape(-1, case.posterior.ndim), draws.weights().ravel()
    if case.mirror is not None:
        weights_of_first = float(weights[latent[:, case.mirror[1]] > latent[:, 1]].sum())
    names, values = marginals(case, latent)
    mean = weights @ values
    sd = np.sqrt(np.maximum(weights @ (values - mean) ** 2, 0.0))
    return {
        "settings": repr(settings),
        "sampler": draws.sampler,
        "converged": bool(draws.converged),
        "messages": list(draws.messages),
        "names": names,
        "mean": mean.tolist(),
        "sd": sd.tolist(),
        "share": weights_of_first if case.mirror is not None else None,
        "ess": effective(draws),
        "point": draws.is_point,
        "evaluations": int(draws.evaluations),
        "gradients": int(draws.gradients),
        "log_evidence": draws.log_evidence,
        "log_evidence_error": draws.log_evidence_error,
        "compile": draws.seconds.get("compile", 0.0),
        "sample": draws.seconds.get("sample", total),
    }


def marginals(case: Problem, latent: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Names and values (n, entries) of what is compared: entries with exact moments, else latent coordinates."""
    from skyfold.calibration.ranks import flat_values
    from skyfold.results.description import Description

    names = list(Description.of(case.posterior).entries)
    if not case.moments:
        return names, latent
    kept = [names.index(n) for n in case.moments]
    return [names[i] for i in kept], flat_values(case.posterior, latent)[:, kept]


def effective(draws: Any) -> float:
    """Effective draws: Kish's of weighted ones, the smallest bulk-ESS of chains."""
    from skyfold.inference.chains import measure

    if draws.is_point:
        return 1.0
    if draws.log_weights is not None:
        return float(1.0 / np.sum(draws.weights() ** 2))
    return float(measure(draws.latent)["ess"])


def reference(name: str, data: Path | None, seed: int) -> dict[str, Any]:
    """Return exact moments, or those of the long run (of a problem with a mirror: with its mirror image)."""
    case = problem(name, data)
    if case.moments:
        mean, sd = (np.array([m[i] for m in case.moments.values()]) for i in (0, 1))
        found: dict[str, Any] = {"converged": True, "messages": [], "ess": math.inf, "settings": "exact"}
        found |= {"names": list(case.moments), "mean": mean.tolist(), "sd": sd.tolist()}
    else:
        found = one(name, reference_method(name), seed, data)
        if case.mirror is not None:
            mean, sd = np.array(found["mean"]), np.array(found["sd"])
            other, spread = mean[list(case.mirror)], sd[list(case.mirror)]
            both = 0.5 * (mean + other)
            square = 0.5 * (sd**2 + mean**2 + spread**2 + other**2)
            found |= {"mean": both.tolist(), "sd": np.sqrt(square - both**2).tolist()}
    if case.log_evidence is not None:
        found |= {"log_evidence": case.log_evidence, "log_evidence_error": 0.0}
    return found


# -- all runs ----------------------------------------------------------------------------------------------------------


def file_of(folder: Path, name: str, method: str, seed: int) -> Path:
    """Where a run is kept."""
    return folder / f"{name.replace(' ', '-')}.{method}.{seed}.json"


def spawn(path: Path, name: str, method: str, seed: int, options: argparse.Namespace) -> None:
    """Do one run in a process of its own, unless it is there."""
    if path.exists():
        return
    print(f"{name}: {method}, seed {seed} ...", end=" ", flush=True)
    command = [sys.executable, __file__, "--out", str(path), "--one", name, method, str(seed)]
    if options.data:
        command += ["--data", str(options.data)]
    start = time.perf_counter()
    try:
        done = subprocess.run(command, timeout=options.limit, capture_output=True, text=True, check=False)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            path.write_text(json.dumps({"broken": last[0][:300]}), encoding="utf-8")
    except subprocess.TimeoutExpired:
        path.write_text(json.dumps({"late": options.limit}), encoding="utf-8")
    print(f"{time.perf_counter() - start:.0f} s")


# -- table -------------------------------------------------------------------------------------------------------------


def judge(run: dict[str, Any], true: dict[str, Any]) -> dict[str, Any]:
    """Compare the marginals of a run with those of the reference."""
    sd = np.array(true["sd"])
    bias = (np.array(run["mean"]) - true["mean"]) / sd
    width = np.array(run["sd"]) / sd
    noise = math.sqrt(1.0 / max(run["ess"], 1.0) + 1.0 / max(true["ess"], 1.0))
    right = bool(
        np.all(np.abs(bias) < BIAS + NOISE * noise) and np.all(np.abs(width - 1.0) < WIDTH + NOISE * noise / 2**0.5)
    )
    return {"bias": bias, "width": width, "right": right}


def verdict(run: dict[str, Any], found: dict[str, Any]) -> str:
    """Whether the run is right, and whether it says so."""
    if run["point"]:
        return "point"
    if found["right"]:
        return "right" if run["converged"] else "right, flagged"
    return "SILENTLY WRONG" if run["converged"] else "wrong, flagged"


def row(
    name: str, method: str, run: dict[str, Any], true: dict[str, Any], evidence: dict[str, Any] | None
) -> list[str]:
    """One line of the table."""
    for key, text in (("refused", "refuses"), ("broken", "BROKEN"), ("late", "not done in time")):
        if key in run:
            return [name, method, f"{text}: {run[key]}" if key != "late" else text, *[""] * 7]
    found = judge(run, true)
    bias, width = found["bias"], found["width"]
    spent = run["evaluations"] or math.nan
    difference = ""
    if run["log_evidence"] is not None:
        difference = f"{run['log_evidence']:.2f} ± {run['log_evidence_error']:.2f}"
        if evidence is not None and evidence.get("log_evidence") is not None:
            apart = run["log_evidence"] - evidence["log_evidence"]
            error = math.hypot(run["log_evidence_error"], evidence["log_evidence_error"])
            difference += f" ({apart:+.2f}, {abs(apart) / max(error, 1e-9):.1f} errors)"
    by = f" ({run['sampler']})" if run["sampler"] and run["sampler"] != method else ""
    worst = int(np.argmax(np.abs(bias)))
    share = "" if run["point"] or run.get("share") is None else f"; {100 * run['share']:.0f}% in the first mode"
    return [
        name,
        f"{method}{by}",
        verdict(run, found) + share,
        f"{bias[worst]:+.2f}",
        "" if run["point"] else f"{width.min():.2f} - {width.max():.2f}",
        "" if run["point"] else f"{run['ess']:.0f}",
        f"{run['evaluations']}",
        "" if run["point"] else f"{run['ess'] / spent:.3g}",
        "" if run["point"] else f"{run['ess'] / max(run['sample'], 1e-9):.0f}",
        difference,
    ]


def table(folder: Path, names: list[str], methods: list[str], seeds: list[int]) -> str:
    """Markdown of everything that there is, marginals of small problems below."""
    header = ["problem", "method", "verdict", "worst bias", "widths", "ESS", "evaluations", "ESS/eval", "ESS/s", "ln Z"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    details: list[str] = []
    for name in names:
        path = file_of(folder, name, "reference", 0)
        if not path.exists():
            continue
        true = json.loads(path.read_text(encoding="utf-8"))
        if "mean" not in true:
            continue
        independent = file_of(folder, name, "nested", 1000)
        evidence = true if true.get("log_evidence_error") == 0.0 else None
        if evidence is None and independent.exists():
            evidence = json.loads(independent.read_text(encoding="utf-8"))
        state = "" if true["converged"] else "; THE REFERENCE IS FLAGGED: " + "; ".join(true["messages"])
        details += ["", f"{name}: reference {true['settings']}, {true['ess']:.0f} effective draws{state}", ""]
        shown = true["names"] if len(true["names"]) <= 12 else []
        if shown:
            details += ["| method | " + " | ".join(shown) + " |", "|---|" + "---|" * len(shown)]
        for method in methods:
            for seed in seeds:
                own = file_of(folder, name, method, seed)
                if not own.exists():
                    continue
                run = json.loads(own.read_text(encoding="utf-8"))
                lines.append("| " + " | ".join(row(name, method, run, true, evidence)) + " |")
                if shown and "mean" in run:
                    found = judge(run, true)
                    cells = (f"{b:+.2f}, {w:.2f}" for b, w in zip(found["bias"], found["width"], strict=True))
                    details.append(f"| {method} | " + " | ".join(cells) + " |")
    note = (
        "Bias in standard deviations of the reference, width over that of the reference, of the worst marginal; latent "
        "coordinates where no exact moments exist. Below, bias and width of each marginal."
    )
    return "\n".join([*lines, "", note, *details])


def main() -> None:
    """Run what is missing, print the table."""
    from skyfold.inference import METHODS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of table.md")
    parser.add_argument("--data", type=Path, help="folder of ULX-4's files")
    parser.add_argument("--problems", nargs="+", default=None)
    parser.add_argument("--methods", nargs="+", default=[m for m in METHODS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds that a run may take")
    parser.add_argument("--evidence", action="store_true", help="also a run of 'nested' to compare evidences with")
    parser.add_argument("--table", action="store_true", help="run nothing, print what there is")
    parser.add_argument("--one", nargs=3, metavar=("PROBLEM", "METHOD", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, method, seed = options.one
        found = (
            reference(name, options.data, 0) if method == "reference" else one(name, method, int(seed), options.data)
        )
        options.out.write_text(json.dumps(found), encoding="utf-8")
        return
    names = options.problems or [*(["ulx4"] if options.data else []), *PROBLEMS]
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.table:
        for name in names:
            spawn(file_of(options.out, name, "reference", 0), name, "reference", 0, options)
            if options.evidence:
                spawn(file_of(options.out, name, "nested", 1000), name, "nested", 1000, options)
            for method in options.methods:
                if (method, name) not in NOT_CLAIMED:
                    for seed in options.seeds:
                        spawn(file_of(options.out, name, method, seed), name, method, seed, options)
    text = table(options.out, names, options.methods, options.seeds)
    print(text)
    (options.out / "table.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
