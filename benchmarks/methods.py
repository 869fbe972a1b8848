"""Every method on every standard problem: how right, how sure of itself, at what price; as a Markdown table.

Each run is a process of its own with a time limit, and is kept in a folder as one small JSON file; what is there
already is not done again. Marginals are compared with exact moments where the problem has them, otherwise with a long
reference run that is kept in the same folder. Evidence is compared with the exact one, or with that of a long run of an
independent nested sampler. The table is written between two marks of the page.

    python benchmarks/methods.py --out docs/methods --data FOLDER                        # everything: hours
    python benchmarks/methods.py --out docs/methods --problems banana --methods auto nuts
    python benchmarks/methods.py --out docs/methods --table --page docs/methods_table.md # what there is
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import signal
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
#: Errors of both by which an evidence may be away from the reference's.
ERRORS = 3.0
#: Seconds of waiting, over the seconds of a processor that a run may take, on a machine with other work.
_PATIENCE = 20.0
#: Effective draws below which a flagged run is not judged: almost nothing could be wrong.
FEW = 100
#: Problems whose reference has no evidence, that another run must give.
EVIDENCE = ("ulx4", "perseus")
#: Marks of a page between which the table is put.
MARKS = ("<!-- table begins -->", "<!-- table ends -->")
#: Problems that a method does not claim, with the reason.
NOT_CLAIMED: dict[tuple[str, str], str] = {
    (
        method,
        "field",
    ): "one likelihood after the other, or regions around live points, are of no use in 1,004 dimensions"
    for method in ("dynesty", "nautilus", "ultranest")
}


# -- one run -----------------------------------------------------------------------------------------------------------


def reference_method(name: str) -> Any:
    """Return the settings of the long run that the others are compared with.

    Of `spectrum` and the two modes that is an independent package's nested sampler: chains that pass every test may
    still not have gone to a far tail of a few thousandths of the mass, and do not jump between modes.
    """
    import skyfold as sf

    if name == "ulx4":
        return sf.NUTS(chains=8, warmup=1000, draws=5000, max_draws=40_000, target_accept=0.9)
    if name == "perseus":
        return sf.NUTS(chains=8, warmup=1000, draws=2000, max_draws=8000, target_accept=0.9)
    if name == "field":
        return sf.NUTS(chains=8, warmup=1000, draws=4000, max_draws=16_000)
    return sf.Nautilus(live=3000, effective=40_000)


def evidence_method(name: str) -> Any:
    """Return the settings of the nested sampler that gives the evidence where the reference does not."""
    import skyfold as sf

    return sf.Dynesty(live=150) if name == "perseus" else sf.UltraNest(live=400)


def one(name: str, method: Any, seed: int, data: Path | None) -> dict[str, Any]:
    """Fit one problem with one method, and return what the table needs."""
    from skyfold.errors import SkyfoldError
    from skyfold.inference import find
    from skyfold.inference.running.progress import Progress

    case = problem(name, data)
    settings = find(method)
    start = time.perf_counter()
    try:
        draws = settings(case.posterior, seed, Progress(False))
    except (SkyfoldError, ImportError) as error:
        return {"refused": str(error)}
    total = time.perf_counter() - start
    latent, weights = draws.latent.reshape(-1, case.posterior.ndim), draws.weights().ravel()
    share = None if case.mirror is None else float(weights[latent[:, case.mirror[1]] > latent[:, 1]].sum())
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
        "share": share,
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
    from skyfold.checks.calibration.ranks import flat_values
    from skyfold.results.description import Description

    names = list(Description.of(case.posterior).entries)
    if not case.moments:
        return names, latent
    kept = [names.index(n) for n in case.moments]
    return [names[i] for i in kept], flat_values(case.posterior, latent)[:, kept]


def effective(draws: Any) -> float:
    """Effective draws: Kish's of weighted ones, the smallest bulk-ESS of chains."""
    from skyfold.inference.convergence.mixing import measure

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
        if "mean" not in found:
            raise SystemExit(str(found))
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


def spawn(path: Path, name: str, method: str, seed: int, options: argparse.Namespace, limit: float) -> None:
    """Do one run in a process of its own, unless it is there."""
    if path.exists():
        return
    print(f"{name}: {method}, seed {seed} ...", end=" ", flush=True)
    command = [sys.executable, __file__, "--out", str(path), "--one", name, method, str(seed)]
    if options.data:
        command += ["--data", str(options.data)]
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            timeout=_PATIENCE * limit,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (round(limit), round(limit) + 5)),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            path.write_text(json.dumps({"late": limit}) + "\n", encoding="utf-8")
        elif done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"ended with {done.returncode}"]
            path.write_text(json.dumps({"broken": last[0][:300]}) + "\n", encoding="utf-8")
    except subprocess.TimeoutExpired:
        path.write_text(json.dumps({"late": limit}) + "\n", encoding="utf-8")
    print(f"{time.perf_counter() - start:.0f} s", flush=True)


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


def distance(run: dict[str, Any], evidence: dict[str, Any] | None) -> tuple[float, float] | None:
    """Difference of the log evidence from the reference's, and how many errors of both that is; None without either."""
    if run["log_evidence"] is None or run["log_evidence_error"] is None:
        return None
    if evidence is None or evidence.get("log_evidence") is None:
        return None
    apart = run["log_evidence"] - evidence["log_evidence"]
    error = math.hypot(run["log_evidence_error"], evidence["log_evidence_error"])
    return apart, abs(apart) / max(error, 1e-9)


def verdict(run: dict[str, Any], found: dict[str, Any], evidence: dict[str, Any] | None) -> str:
    """Whether the run is right, and whether it says so."""
    if run["point"]:
        return "point" if run["converged"] else "point, flagged"
    if not run["converged"] and run["ess"] < FEW:
        return "too few draws, flagged"
    apart = distance(run, evidence)
    if not found["right"]:
        return "**SILENTLY WRONG**" if run["converged"] else "wrong, flagged"
    if apart is not None and apart[1] > ERRORS:
        return "**EVIDENCE SILENTLY WRONG**" if run["converged"] else "evidence wrong, flagged"
    return "right" if run["converged"] else "right, flagged"


def row(method: str, run: dict[str, Any], true: dict[str, Any] | None, evidence: dict[str, Any] | None) -> list[str]:
    """One line of the table of a problem."""
    for key, text in (("refused", "refuses"), ("broken", "**BROKEN**"), ("late", "not done in time")):
        if key in run:
            return [method, text, *[""] * 7]
    assert true is not None
    found = judge(run, true)
    bias, width = found["bias"], found["width"]
    evaluations = f"{run['evaluations']:,}"
    worst = int(np.argmax(np.abs(bias)))
    by = f" ({run['sampler']})" if run["sampler"] and run["sampler"] != method else ""
    if run["point"]:
        return [f"{method}{by}", verdict(run, found, None), f"{bias[worst]:+.2f}", "", "", evaluations, "", "", ""]
    shown = ""
    if run["log_evidence"] is not None:
        error = run["log_evidence_error"]
        shown = f"{run['log_evidence']:.2f}" + ("" if error is None else f" ± {error:.2f}")
        apart = distance(run, evidence)
        if apart is not None:
            shown += f" ({apart[0]:+.2f}, {apart[1]:.1f} errors)"
    share = "" if run.get("share") is None else f"; {100 * run['share']:.0f}% in the first mode"
    return [
        f"{method}{by}",
        verdict(run, found, evidence) + share,
        f"{bias[worst]:+.2f}",
        f"{width.min():.2f} - {width.max():.2f}",
        f"{run['ess']:,.0f}",
        evaluations,
        f"{1000.0 * run['ess'] / max(run['evaluations'], 1):.3g}",
        f"{run['ess'] / max(run['sample'], 1e-9):.0f}",
        shown,
    ]


HEADER = ["method", "verdict", "bias", "widths", "ESS", "evaluations", "ESS per 1,000", "ESS/s", "ln Z"]


def load(path: Path) -> dict[str, Any] | None:
    """Read a run that is kept, None where there is none."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    reference_lost = path.name.split(".")[-3] in ("reference", "evidence") and found is not None and "mean" not in found
    return None if reference_lost else found


def table(folder: Path, names: list[str], methods: list[str], seeds: list[int]) -> str:
    """Markdown of everything that there is, problem by problem, with marginals and messages."""
    parts = []
    for name in names:
        true = load(file_of(folder, name, "reference", 0))
        evidence = load(file_of(folder, name, "evidence", 0)) or true
        parts += [f"### {name}", "", origin(true, evidence), ""]
        parts += ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
        said, cells = [], []
        for method in methods:
            if (method, name) in NOT_CLAIMED:
                parts.append("| " + " | ".join([method, "not claimed", *[""] * 7]) + " |")
                said.append(f"- `{method}`: {NOT_CLAIMED[method, name]}")
                continue
            for seed in seeds:
                run = load(file_of(folder, name, method, seed))
                if run is None or (true is None and "mean" in run):
                    parts.append(
                        "| " + " | ".join([method, "not run" if run is None else "not judged", *[""] * 7]) + " |"
                    )
                    continue
                parts.append("| " + " | ".join(row(method, run, true, evidence)) + " |")
                said += [f"- `{method}`: {text}" for text in remarks(run)]
                if "mean" in run and true is not None:
                    found = judge(run, true)
                    pairs = zip(found["bias"], found["width"], strict=True)
                    one_point = run["point"]
                    cells.append([method, *(f"{b:+.2f}" + ("" if one_point else f", {w:.2f}") for b, w in pairs)])
        parts += contest(folder, name, methods, seeds, true, evidence)
        if said:
            parts += ["", "What they say:", "", *said]
        if cells and true is not None and len(true["names"]) <= 12:
            shown = [f"`{n}`" for n in true["names"]]
            parts += ["", "Bias and width of each marginal:", ""]
            parts += ["| method | " + " | ".join(shown) + " |", "|" + "---|" * (len(shown) + 1)]
            parts += ["| " + " | ".join(line) + " |" for line in cells]
        parts.append("")
    return "\n".join(parts).rstrip()


def contest(
    folder: Path, name: str, methods: list[str], seeds: list[int], true: dict[str, Any] | None, evidence: Any
) -> list[str]:
    """Compare `auto` with the single method that is right, says so, and has most effective draws per second."""
    rates: dict[str, tuple[float, float]] = {}
    for method in methods:
        runs = [load(file_of(folder, name, method, seed)) for seed in seeds]
        good = [
            r
            for r in runs
            if true is not None and r is not None and "mean" in r and verdict(r, judge(r, true), evidence) == "right"
        ]
        if good:
            r = max(good, key=lambda r: r["ess"] / max(r["sample"], 1e-9))
            rates[method] = r["ess"] / max(r["sample"], 1e-9), r["ess"] / max(r["evaluations"], 1)
    single = [m for m in rates if m != "auto"]
    if "auto" not in rates or not single:
        return []
    fastest, thrifty = (max(single, key=lambda m: rates[m][i]) for i in (0, 1))
    return [
        "",
        f"Effective draws per second of sampling, `auto` over the fastest single method that is right (`{fastest}`): "
        f"{rates['auto'][0] / rates[fastest][0]:.2g}. Per evaluation, over the thriftiest (`{thrifty}`): "
        f"{rates['auto'][1] / rates[thrifty][1]:.2g}.",
    ]


def origin(true: dict[str, Any] | None, evidence: dict[str, Any] | None) -> str:
    """Say what a problem's runs are compared with."""
    if true is None or evidence is None:
        return "**No reference run was made yet, so that nothing can be judged.**"
    if true["settings"] == "exact":
        return f"Compared with exact moments and the exact log evidence, {true['log_evidence']:.3f}."
    text = f"Compared with `{true['settings']}`, {true['ess']:,.0f} effective draws, {state(true)}."
    if evidence.get("log_evidence") is None:
        return f"{text} No independent nested sampler gave an evidence to compare with."
    text += f" Log evidence {evidence['log_evidence']:.3f} ± {evidence['log_evidence_error']:.3f}"
    return text + ("." if evidence is true else f" by `{evidence['settings']}`, {state(evidence)}.")


def state(run: dict[str, Any]) -> str:
    """Whether a reference is to be relied on."""
    return "converged" if run["converged"] else "**flagged**: " + "; ".join(run["messages"])


def remarks(run: dict[str, Any]) -> list[str]:
    """What a run has to say of itself."""
    for key in ("refused", "broken"):
        if key in run:
            return [run[key]]
    if "late" in run:
        return [f"not done after {run['late']:.0f} processor seconds"]
    return [("" if run["converged"] else "(flagged) ") + "; ".join(run["messages"])] if run["messages"] else []


def write_page(page: Path, text: str) -> None:
    """Put the table between the marks of a page."""
    old = page.read_text(encoding="utf-8")
    before, after = old[: old.index(MARKS[0]) + len(MARKS[0])], old[old.index(MARKS[1]) :]
    page.write_text(f"{before}\n\n{text}\n\n{after}", encoding="utf-8")


def main() -> None:
    """Run what is missing, print the table."""
    from skyfold.inference import METHODS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--data", type=Path, help="folder of ULX-4's files")
    parser.add_argument("--problems", nargs="+", default=["ulx4", *PROBLEMS])
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--limit", type=float, default=300.0, help="processor seconds that a run may take")
    parser.add_argument("--long", type=float, default=3600.0, help="processor seconds that a reference may take")
    parser.add_argument("--table", action="store_true", help="run nothing, print what there is")
    parser.add_argument("--page", type=Path, help="page with the marks between which the table is put")
    parser.add_argument("--one", nargs=3, metavar=("PROBLEM", "METHOD", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        name, method, seed = options.one
        if method == "reference":
            found = reference(name, options.data, 0)
        else:
            settings = evidence_method(name) if method == "evidence" else method
            found = one(name, settings, int(seed), options.data)
        options.out.write_text(json.dumps(found) + "\n", encoding="utf-8")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.table:
        for name in options.problems:
            spawn(file_of(options.out, name, "reference", 0), name, "reference", 0, options, options.long)
            if name in EVIDENCE:
                spawn(file_of(options.out, name, "evidence", 0), name, "evidence", 0, options, options.long)
            for method in options.methods:
                if (method, name) not in NOT_CLAIMED:
                    for seed in options.seeds:
                        path = file_of(options.out, name, method, seed)
                        spawn(path, name, method, seed, options, options.limit)
    text = table(options.out, options.problems, options.methods, options.seeds)
    if options.page is None:
        print(text)
    else:
        write_page(options.page, text)


if __name__ == "__main__":
    main()
