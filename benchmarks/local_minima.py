"""Count the fits that end in a local minimum: `mle` and, where it is installed, Sherpa's optimisers.

Spectra of tbabs*(powerlaw+bbodyrad) are simulated through a CCD with truth from broad priors, from a few counts to some
1e8. For each, `mle` is compared with the best maximum of the likelihood that anything found: 256 climbs from draws of
the prior, a climb from the truth, `mle` itself and Sherpa. A fit fails if its C lies higher than that by 0.1 or more.
Every spectrum is added to a CSV file as soon as it is done; started again, the script goes on where it was.

    python benchmarks/local_minima.py -n 1000 --out docs/local_minima
    python benchmarks/local_minima.py --sherpa -n 200 --out docs/local_minima
    python benchmarks/local_minima.py --report --out docs/local_minima
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import skyfold as sf
from skyfold import xray
from skyfold.inference import find
from skyfold.inference.running.progress import Progress
from skyfold.inference.search.scoring import climb
from skyfold.simulated import simulate
from skyfold.xray.models import BlackbodyRad, PowerLaw, TBabs

#: Difference in C from which on a fit has failed.
FAILED = 0.1
#: Starts of the reference, and the size of its batches: that of `mle`, so that they share its executable.
STARTS, BATCH = 256, 32
#: Steps that each climb of the reference is given.
STEPS = 400
#: Where Sherpa starts: XSPEC's defaults of nH, PhoIndex and kT, the middle of their (logarithmic) ranges for norms.
DEFAULTS = {"tbabs.nH": 1.0, "powerlaw.PhoIndex": 1.0, "powerlaw.norm": 1e-4, "bbodyrad.kT": 3.0, "bbodyrad.norm": 3.0}
#: Ranges of the priors.
RANGES = {
    "tbabs.nH": (0.0, 2.0),
    "powerlaw.PhoIndex": (0.0, 5.0),
    "powerlaw.norm": (1e-6, 1e-2),
    "bbodyrad.kT": (0.05, 4.0),
    "bbodyrad.norm": (1e-2, 1e3),
}


def posterior() -> sf.Posterior:
    """Absorbed power law and black body with broad priors, seen by a CCD for 20 ks, 0.5-8 keV in 150 channels."""
    source = TBabs(nH=sf.Uniform(*RANGES["tbabs.nH"])) * (
        PowerLaw(PhoIndex=sf.Uniform(*RANGES["powerlaw.PhoIndex"]), norm=sf.LogUniform(*RANGES["powerlaw.norm"]))
        + BlackbodyRad(kT=sf.Uniform(*RANGES["bbodyrad.kT"]), norm=sf.LogUniform(*RANGES["bbodyrad.norm"]))
    )
    rmf, arf = xray.ccd_response(energies=(0.3, 9.0), energy_step=0.02, channel_width=0.05, n_channels=200)
    nothing = xray.fakeit(PowerLaw(PhoIndex=2.0, norm=0.0), rmf, arf, 20000.0).source
    spectrum = xray.Spectrum.assemble(nothing, rmf, arf, name="ccd").notice(0.5, 8.0)
    return sf.Posterior((source, spectrum))


def simulated(base: sf.Posterior, number: int) -> tuple[np.ndarray, sf.Posterior, int]:
    """Truth (latent), posterior of the data simulated from it, and the seed of the fit."""
    seeds = np.random.SeedSequence([2017, number]).generate_state(3)
    latent, data = simulate(base, int(seeds[0]), int(seeds[1]))
    return latent, data, int(seeds[2])


def compare(base: sf.Posterior, number: int) -> dict[str, Any]:
    """Log-likelihoods that `mle` and the reference reach on one spectrum."""
    latent, data, seed = simulated(base, number)
    begun = time.perf_counter()
    draws = find("mle")(data, seed, Progress(False))
    seconds = time.perf_counter() - begun
    reached = float(draws.log_likelihood[0, 0])
    starts = np.random.default_rng([seed, 256]).standard_normal((STARTS, data.ndim))
    pieces = [
        climb(data, piece, with_prior=False, max_steps=STEPS, patience=STEPS)
        for piece in starts.reshape(-1, BATCH, data.ndim)
    ]
    truth = climb(data, np.tile(latent, (BATCH, 1)), with_prior=False, max_steps=STEPS)
    counts = float(sum(np.sum(o.likelihood.data) for _, o in data.pairs.values()))
    return {
        "number": number,
        "counts": int(counts),
        "mle": reached,
        "reference": max(float(p.value[0]) for p in pieces),
        "from_truth": float(truth.value[0]),
        "converged": int(draws.converged),
        "evaluations": draws.evaluations,
        "seconds": round(seconds, 3),
    }


# -- Sherpa ------------------------------------------------------------------------------------------------------------


def sherpa_fits(base: sf.Posterior, number: int) -> dict[str, Any]:
    """Log-likelihoods that Sherpa's optimisers reach on one spectrum, of our own expected counts."""
    from sherpa.data import Data1D
    from sherpa.fit import Fit
    from sherpa.models.model import ArithmeticModel
    from sherpa.models.parameter import Parameter
    from sherpa.optmethods import LevMar, NelderMead
    from sherpa.stats import CStat

    _, data, _ = simulated(base, number)
    names, expected = list(RANGES), forward(data)
    counts = np.asarray(next(iter(data.pairs.values()))[1].likelihood.data, dtype=float)

    class Folded(ArithmeticModel):  # type: ignore[misc]
        """Expected counts of the channels."""

        def __init__(self) -> None:
            self.parameters = [
                Parameter("folded", n.replace(".", "_"), DEFAULTS[n], *RANGES[n], *RANGES[n]) for n in names
            ]
            super().__init__("folded", self.parameters)

        def calc(self, p: Any, *args: Any, **kwargs: Any) -> np.ndarray:
            return expected(np.asarray(p, dtype=float))

    row: dict[str, Any] = {"number": number}
    for method in (LevMar(), NelderMead()):
        begun = time.perf_counter()
        model = Folded()
        result = Fit(Data1D("ccd", np.arange(len(counts)), counts), model, stat=CStat(), method=method).fit()
        name = type(method).__name__.lower()
        row[name] = log_likelihood(data, expected(np.array(result.parvals)))
        row[f"{name}_succeeded"] = int(result.succeeded)
        row[f"{name}_evaluations"] = int(result.nfev)
        row[f"{name}_seconds"] = round(time.perf_counter() - begun, 3)
    return row


def forward(data: sf.Posterior) -> Callable[[np.ndarray], np.ndarray]:
    """Compiled expected counts of values in the order of `RANGES`."""
    from scipy.special import ndtri

    low, high = np.array(list(RANGES.values())).T
    log = np.array([n.endswith("norm") for n in RANGES])
    place = [data.names.index(n) for n in RANGES]

    def expected(values: np.ndarray) -> np.ndarray:
        inside = np.clip(values, low, high)
        with np.errstate(divide="ignore"):
            linear = (inside - low) / (high - low)
            logarithmic = np.log(np.where(log, inside / np.where(log, low, 1.0), 1.0))
            share = np.where(log, logarithmic / np.log(np.where(log, high / np.where(log, low, 1.0), 2.0)), linear)
        z = np.empty(len(values))
        z[place] = ndtri(np.clip(share, 1e-16, 1.0 - 1e-16))
        return np.asarray(next(iter(_expected(data.kernel, z))))

    return expected


def _expected(kernel: Any, z: np.ndarray) -> Any:
    from skyfold.compiled.jit import jit

    if not _COMPILED:
        _COMPILED.append(jit(lambda kernel, z: kernel.expected(z)))
    return _COMPILED[0](kernel, z)


_COMPILED: list[Any] = []


def log_likelihood(data: sf.Posterior, expected: np.ndarray) -> float:
    """Log-likelihood of expected counts."""
    return float(next(iter(data.pairs.values()))[1].log_likelihood(expected))


# -- files -------------------------------------------------------------------------------------------------------------


def rows(path: Path) -> list[dict[str, float]]:
    """Rows of a CSV file that there may be; a line cut off by an interruption is dropped."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file) if None not in row.values()]


def run(path: Path, n: int, one: Callable[[sf.Posterior, int], dict[str, Any]]) -> None:
    """Add the spectra that a file lacks."""
    base = posterior()
    done = {int(row["number"]) for row in rows(path)}
    for number in range(n):
        if number in done:
            continue
        row = one(base, number)
        new = not path.exists()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow({k: repr(v) if isinstance(v, float) else v for k, v in row.items()})


def summary(own: list[dict[str, float]], sherpa: list[dict[str, float]]) -> dict[str, Any]:
    """Counts of failures of every method."""
    best = {int(r["number"]): max(r["mle"], r["reference"], r["from_truth"]) for r in own}
    for r in sherpa:
        number = int(r["number"])
        if number in best:
            best[number] = max(best[number], r["levmar"], r["neldermead"])

    def counted(found: list[dict[str, float]], name: str, seconds: str) -> dict[str, Any]:
        used = [r for r in found if int(r["number"]) in best]
        behind = {int(r["number"]): 2.0 * (best[int(r["number"])] - r[name]) for r in used}
        failed = {k: round(v, 3) for k, v in behind.items() if not v < FAILED}
        times = [r[seconds] for r in used]
        return {
            "spectra": len(used),
            "failed": len(failed),
            "share_right": 1.0 - len(failed) / max(len(used), 1),
            "median_seconds": float(np.median(times)) if times else None,
            "failures": {str(k): failed[k] for k in sorted(failed)},
        }

    found = {"mle": counted(own, "mle", "seconds")}
    first = [r for r in own if any(r["number"] == s["number"] for s in sherpa)]
    if first:
        found["mle, the spectra that Sherpa fitted"] = counted(first, "mle", "seconds")
        for name in ("levmar", "neldermead"):
            found[f"sherpa {name}"] = counted(sherpa, name, f"{name}_seconds")
    return found


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=1000, help="spectra")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--sherpa", action="store_true", help="fit with Sherpa")
    parser.add_argument("--report", action="store_true", help="fit nothing, report what there is")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    own, sherpa = options.out / "mle.csv", options.out / "sherpa.csv"
    if not options.report:
        run(sherpa if options.sherpa else own, options.n, sherpa_fits if options.sherpa else compare)
    found = summary(rows(own), rows(sherpa))
    (options.out / "summary.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
