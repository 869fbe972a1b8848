"""Compare skyfold with jaxspec and ELISA on one real spectrum, side by side on one core.

NGC 7793 ULX-4, EPIC-pn, 0.5-8 keV in the file's grouping, tbabs*(powerlaw+bbodyrad), Poisson statistic, no background,
the same five priors for every program. Every run is a fresh process pinned to one core; the programs take turns.
``benchmarks/README.md`` says what is measured and how. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ulx4_case import AREA, BAND, MODEL, NAMES, PRIORS, RESPONSE, SPECTRUM

#: Groups that lie wholly inside the band, and their counts.
EXPECTED = {"groups": 102, "counts": 10091}
#: Mean and standard deviation from 33,000 effective draws of an independent program.
REFERENCE = {
    "tbabs.nH": (0.0961, 0.0272),
    "powerlaw.PhoIndex": (2.035, 0.100),
    "powerlaw.norm": (2.625e-4, 2.62e-5),
    "bbodyrad.kT": (0.7458, 0.0348),
    "bbodyrad.norm": (0.1983, 0.0350),
}
#: Number compared, skyfold's run, and how many times better it is meant to be than jaxspec and than ELISA.
COMPARISONS = (
    ("ESS/s, sampling only", "ess_per_sample", "auto warm", 500, 150),
    ("ESS/s, compile (warm) + sampling", "ess_per_fit", "auto warm", 200, 60),
    ("ESS/s, compile (cold) + sampling", "ess_per_fit", "auto cold", None, None),
    ("ESS/s, sampling only", "ess_per_sample", "nuts warm", 70, 20),
    ("ESS/s, compile (warm) + sampling", "ess_per_fit", "nuts warm", None, None),
    ("1/s of the whole process, cold", "per_process", "cli auto cold", 12, None),
    ("1/s of the whole process, warm", "per_process", "cli auto warm", 20, None),
)
RUNS = (
    *("jaxspec", "auto cold", "auto warm", "elisa", "nuts cold", "nuts warm", "cli auto cold", "cli auto warm"),
    *("jaxspec cached", "elisa cached"),
)
_HERE = Path(__file__).resolve().parent


# -- starting them -----------------------------------------------------------------------------------------------------


@dataclass
class Bench:
    """What every run needs to know.

    Parameters
    ----------
    data : folder of the spectrum.
    pythons : Python of each program's environment.
    folder : scratch folder.
    tables : folder with the tables that jaxspec otherwise downloads.
    seed : of the current round.
    """

    data: Path
    pythons: dict[str, str]
    folder: Path
    tables: Path | None
    seed: int = 0
    failed: list[str] = field(default_factory=list)

    def environment(self, run: str) -> dict[str, str]:
        """Environment of a run: the caller's, without its settings of JAX, and with the cache that the run asks for."""
        mine = ("JAX_", "XLA_", "SKYFOLD_", "NPROC", "PYTHONPATH")
        skyfold = program(run) == "skyfold"
        env = {k: v for k, v in os.environ.items() if not k.startswith(mine) or (skyfold and k == "PYTHONPATH")}
        env |= {"JAX_PLATFORMS": "cpu", "MPLCONFIGDIR": str(self.folder / "matplotlib"), "MPLBACKEND": "agg"}
        if skyfold:
            env["XDG_CACHE_HOME"] = str(self.cache(run))
        elif run.endswith("cached"):
            env["JAX_COMPILATION_CACHE_DIR"] = str(self.folder / f"cache-{run}")
            env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
            env["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
        if program(run) == "jaxspec" and self.tables is not None:
            own = self.folder / "downloads"
            if not own.exists():
                (own / "jaxspec").mkdir(parents=True)
                for table in (path for path in self.tables.iterdir() if path.is_file()):
                    shutil.copy(table, own / "jaxspec")
            env["XDG_CACHE_HOME"] = str(own)
        return env

    def cache(self, run: str) -> Path:
        """Folder of skyfold's compilation cache: that of this round, empty before the cold run."""
        return self.folder / f"cache-{run.rpartition(' ')[0].replace(' ', '-')}-{self.seed}"

    def command(self, run: str, posterior: Path, report: Path) -> list[str]:
        """Command line of a run."""
        python = self.pythons[program(run)]
        if run.startswith("cli"):
            priors = (f"--prior={name}={kind}({low!r}, {high!r})" for name, (kind, low, high) in PRIORS.items())
            return [
                *(python, "-c", "from skyfold.cli import main; main()", "xray", str(self.data / SPECTRUM)),
                *("--model", MODEL, "--energies", *map(str, BAND), *priors, "--method", run.split()[1]),
                *("--background", "none", "--no-figures", "--seed", str(self.seed), "--out", str(posterior.parent)),
            ]
        worker = str(_HERE / f"ulx4_{program(run)}.py")
        files = ("--data", str(self.data), "--posterior", str(posterior), "--report", str(report))
        method = run.split()[0] if program(run) == "skyfold" else "nuts"
        return [python, worker, *files, "--seed", str(self.seed), "--method", method]

    def start(self, command: list[str], run: str, log: Path) -> tuple[float, float, int]:
        """Run a command; return its wall-clock seconds, processor seconds and exit code."""
        env = self.environment(run)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with log.open("wb") as output:
            start = time.perf_counter()
            code = subprocess.run(
                command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
            ).returncode
            wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, code

    def measure(self, run: str) -> dict[str, Any] | None:
        """Do one run and return its numbers, None where it failed."""
        out = self.folder / f"{run.replace(' ', '-')}-{self.seed}"
        out.mkdir(exist_ok=True)
        posterior, report = out / "posterior.nc", out / "report.json"
        wall, cpu, code = self.start(self.command(run, posterior, report), run, out / "log")
        if code not in ((0, 1) if run.startswith("cli") else (0,)) or not posterior.exists():  # 1: not converged
            log = (out / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            print(f"{run}: failed with exit code {code}\n    " + "\n    ".join(log[-15:]), file=sys.stderr)
            self.failed.append(run)
            return None
        numbers = _from_summary(out) if run.startswith("cli") else _from_report(report)
        numbers |= {"process": wall, "cpu": cpu, **read_posterior(posterior, program(run))}
        fit = numbers["compile"] + numbers["sample"]
        numbers["after"] = wall - numbers["import"] - numbers["load"] - fit
        ess = numbers["ess"]
        return numbers | {
            "ess_per_sample": ess / numbers["sample"],
            "ess_per_fit": ess / fit,
            "per_process": 1.0 / wall,
        }

    def warm_up(self, runs: list[str]) -> None:
        """Do once, unmeasured, what only a first run pays for: byte code, font lists, the disk's cache."""
        for name in dict.fromkeys(program(run) for run in runs):
            module = {"jaxspec": "jaxspec.fit", "skyfold": "blackjax"}.get(name, name)
            command = [self.pythons[name], "-c", f"import matplotlib.pyplot, arviz, netCDF4, jax.numpy, {module}"]
            run = name if name in NAMES else "cli auto cold"
            self.start(command, run, self.folder / "log")
            if run not in NAMES:
                self.measure(run)
                shutil.rmtree(self.cache(run))
        for run in runs:
            if run.endswith("cached"):
                self.measure(run)


def program(run: str) -> str:
    """Which program a run is of."""
    first = run.split()[0]
    return first if first in NAMES else "skyfold"


def _from_report(path: Path) -> dict[str, Any]:
    """Numbers that a worker wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    phases = content["phases"]
    compiling = phases["fit"]["compile"]
    return {
        "import": phases["import"]["seconds"],
        "load": phases["load"]["seconds"],
        "compile": compiling,
        "sample": phases["fit"]["seconds"] - compiling,
        **content,
    }


def _from_summary(folder: Path) -> dict[str, Any]:
    """Numbers that the command line wrote; here it is skyfold's own clock that tells compiling from sampling."""
    content = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    seconds = content["seconds"]
    numbers = {key: seconds[key] for key in ("import", "load", "compile", "sample")}
    return numbers | {"groups": content["statistic"]["n_data"], "versions": content["versions"]}


def read_posterior(path: Path, kind: str) -> dict[str, Any]:
    """Read mean and sd of the parameters and the smallest effective sample size: Kish's, or ArviZ's bulk-ESS."""
    import netCDF4
    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz as az
    found: dict[str, Any] = {}
    with netCDF4.Dataset(path) as file:
        file.set_auto_mask(False)
        weights = None
        if kind == "skyfold":
            group = file.groups["draws"].groups["values"]
            if "log_weights" in file.groups["draws"].variables:
                log_weights = file.groups["draws"].variables["log_weights"][...]
                weights = np.exp(log_weights - log_weights.max())
                weights /= weights.sum()
            summary = json.loads(file.getncattr("skyfold"))
            found |= {"method": summary["method"], "converged": summary["converged"]}
            found["counts"] = int(sum(np.sum(v[...]) for v in file.groups["observed_data"].variables.values()))
            names = tuple(PRIORS)
        else:
            group, names = file.groups["posterior"], NAMES[kind]
            found["method"] = "NumPyro NUTS"
        draws = {mine: np.asarray(group.variables[n][...], float) for mine, n in zip(PRIORS, names, strict=True)}
    if weights is None:
        found["ess"] = min(float(az.ess(x, method="bulk")) for x in draws.values())
        found["rhat"] = max(float(az.rhat(x)) for x in draws.values())
        weights = np.full(next(iter(draws.values())).shape, 1.0 / next(iter(draws.values())).size)
    else:
        found["ess"] = float(1.0 / np.sum(weights**2))
    means = {name: float(np.sum(weights * x)) for name, x in draws.items()}
    found["parameters"] = {
        name: {"mean": means[name], "sd": float(np.sqrt(np.sum(weights * (x - means[name]) ** 2)))}
        for name, x in draws.items()
    }
    return found


# -- tables ------------------------------------------------------------------------------------------------------------

_COLUMNS = ("import", "load", "compile", "sample", "after", "process", "cpu", "ess", "ess_per_sample", "ess_per_fit")


def medians(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over the rounds of the numbers of one kind of run."""
    return {key: statistics.median(r[key] for r in runs) for key in (*_COLUMNS, "per_process")}


def comparisons(typical: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """Ratios of skyfold's numbers to those of the others, with what they are meant to be."""
    rows = []
    for label, key, run, *targets in COMPARISONS:
        meant = dict(zip(NAMES, targets, strict=True))
        for other in typical:
            if run in typical and program(other) in NAMES:
                ratio = typical[run][key] / typical[other][key]
                rows.append({"what": label, "run": run, "other": other, "ratio": ratio, "target": meant.get(other)})
    return rows


def show(results: dict[str, list[dict[str, Any]]], typical: dict[str, dict[str, float]]) -> None:
    """Print the tables."""
    heads = (*_COLUMNS[:8], "ESS/s sampl", "ESS/s c+s")
    print(f"\nmedians, seconds\n{'run':15}" + "".join(f"{h:>12}" for h in heads))
    for run, numbers in typical.items():
        print(f"{run:15}" + "".join(f"{numbers[c]:12.{0 if numbers[c] > 100 else 2}f}" for c in _COLUMNS))
        busy = numbers["process"] / max(numbers["cpu"], 1e-9)
        if busy > 1.1:
            print(f"{'':15}  waited for the core or the disk: {busy:.2f} s of wall clock per processor second")
    print("\nlast round: mean (sd), distance from the reference in its sd")
    print(f"{'run':15}" + "".join(f"{n:>30}" for n in PRIORS))
    print(f"{'reference':15}" + "".join(f"{f'{m:.4g} ({s:.3g})':>30}" for m, s in REFERENCE.values()))
    for run, rounds in results.items():
        cells = []
        for name, (mean, sd) in REFERENCE.items():
            p = rounds[-1]["parameters"][name]
            cells.append(f"{p['mean']:.4g} ({p['sd']:.3g}) {(p['mean'] - mean) / sd:+.2f}")
        print(f"{run:15}" + "".join(f"{c:>30}" for c in cells))
        wrong = {k: rounds[-1].get(k) for k, v in EXPECTED.items() if rounds[-1].get(k) != v}
        if wrong:
            print(f"{'':15}  NOT THE SAME DATA: {wrong}, expected {EXPECTED}")
        if rounds[-1].get("converged") is False or rounds[-1].get("rhat", 1.0) > 1.01:
            print(f"{'':15}  not converged, R-hat {rounds[-1].get('rhat', float('nan')):.3f}")
    print(f"\n{'how many times better':36}{'skyfold run':16}{'than':16}{'ratio':>8}{'target':>8}")
    for row in comparisons(typical):
        target = "" if row["target"] is None else f"{row['target']}"
        print(f"{row['what']:36}{row['run']:16}{row['other']:16}{row['ratio']:8.1f}{target:>8}")


def machine(core: int) -> dict[str, Any]:
    """Describe what the numbers were measured on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        name = platform.processor()
    return {"processor": name, "cores": os.cpu_count(), "core": core, "load": os.getloadavg(), "time": time.ctime()}


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {SPECTRUM}, {RESPONSE} and {AREA}")
    parser.add_argument("--skyfold", metavar="PYTHON", default=sys.executable, help="default: this Python")
    parser.add_argument("--jaxspec", metavar="PYTHON", help="Python that has jaxspec; left out without it")
    parser.add_argument("--elisa", metavar="PYTHON", help="Python that has astro-elisa; left out without it")
    parser.add_argument("--tables", type=Path, help="folder with the tables that jaxspec downloads otherwise")
    parser.add_argument("--core", type=int, default=0, help="core to pin every run to")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="rounds; medians are shown")
    parser.add_argument("--cache-others", action="store_true", help="run the others with a warm compile cache, too")
    parser.add_argument("--only", metavar="RUN,...", help=f"some of: {', '.join(RUNS)}")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write all numbers")
    return parser.parse_args()


def main() -> int:
    """Measure and print; 1 where a run failed."""
    options = arguments()
    if not hasattr(os, "sched_setaffinity"):
        sys.exit("Pinning to one core needs Linux.")
    pythons = {"skyfold": options.skyfold, "jaxspec": options.jaxspec, "elisa": options.elisa}
    wanted = RUNS if options.only is None else tuple(name.strip() for name in options.only.split(","))
    wanted += tuple(name.replace("warm", "cold") for name in wanted)  # a warm run needs its cold one
    runs = [run for run in RUNS if run in wanted and pythons[program(run)]]
    runs = [run for run in runs if options.cache_others or not run.endswith("cached")]
    os.sched_setaffinity(0, {options.core})  # what is started inherits it
    facts = machine(options.core)
    results: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="ulx4-") as scratch:
        bench = Bench(options.data.resolve(), pythons, Path(scratch), options.tables)
        bench.warm_up(runs)
        for bench.seed in range(options.repeat):
            for run in runs:
                numbers = bench.measure(run)
                if numbers is not None:
                    results.setdefault(run, []).append(numbers)
                    seconds, ess = numbers["process"], numbers["ess"]
                    print(f"round {bench.seed + 1}, {run}: {seconds:.2f} s, ESS {ess:.0f}", flush=True)
    typical = {run: medians(rounds) for run, rounds in results.items()}
    show(results, typical)
    if options.out is not None:
        content = {"machine": facts, "medians": typical, "comparisons": comparisons(typical), "rounds": results}
        options.out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
