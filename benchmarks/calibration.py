"""Calibrate a method on simulated spectra, to see whether its posteriors are as wide as they should be.

Truth is drawn from the prior of a 5-parameter spectrum (``problems.spectrum``), at three fixed exposures for which the
median number of counts over the prior is about 100, 1,000 and 10,000. Every fit is added to a CSV file as soon as it is
done; started again, the script goes on where it was, also to larger numbers. All settings of a method are judged
against one band, simultaneous over all parameters and exposures.

    python benchmarks/calibration.py --method auto -n 1000 --out docs/calibration
    python benchmarks/calibration.py --method nuts -n 300 --counts 1000 --out docs/calibration
    python benchmarks/calibration.py --method auto --out docs/calibration --report

Plain mean-field variational inference flags itself, so its fits must be counted all the same to be shown:

    python benchmarks/calibration.py --method vi --set 'family="meanfield"' --set 'correction="none"' \
        --label vi-meanfield --counts 1000 -n 200 --everything --out docs/calibration
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from problems import EXPOSURES, spectrum

from skyfold.checks.calibration import Calibration, calibrate
from skyfold.inference import find


def settings(name: str, changes: list[str]) -> Any:
    """Return the method with some settings changed, each as ``name=value`` with the value in JSON."""
    method = find(name)
    return dataclasses.replace(method, **{k: json.loads(v) for k, v in (c.split("=", 1) for c in changes)})


def report(folder: Path, label: str, found: dict[int, Calibration], *, everything: bool = False) -> None:
    """Print, and write summary and figure of what there is so far."""
    from skyfold.plots.calibration import calibration

    if everything:
        found = {counts: c.everything() for counts, c in found.items()}
    shared = sum(len(c.quantities) for c in found.values())
    judged = {counts: c.among(shared) for counts, c in found.items() if c.n}
    if not judged:
        return
    lines = []
    for counts, c in judged.items():
        lines.append(f"exposure {EXPOSURES[counts]:g} s, about {counts} counts\n{c}\n")
    print("\n".join(lines))
    (folder / f"{label}.txt").write_text("\n".join(lines), encoding="utf-8")
    content = {str(counts): c.to_dict() for counts, c in judged.items()}
    (folder / f"{label}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    figure = calibration({f"{label}, about {counts} counts": c for counts, c in judged.items()})
    figure.savefig(folder / f"{label}.png", dpi=130)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="auto", help="name, as for Posterior.fit")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the method")
    parser.add_argument("--label", help="of the files; default: the method's name")
    parser.add_argument("--counts", type=int, nargs="+", choices=list(EXPOSURES), default=list(EXPOSURES))
    parser.add_argument("-n", type=int, default=1000, help="simulated spectra at each exposure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--step", type=int, default=100, help="report, and go to the next exposure, after so many")
    parser.add_argument("--report", action="store_true", help="fit nothing, report what there is")
    parser.add_argument("--everything", action="store_true", help="count the fits that say they have not converged")
    options = parser.parse_args()
    label = options.label or options.method
    options.out.mkdir(parents=True, exist_ok=True)
    files = {counts: options.out / f"{label}-{counts}.csv" for counts in options.counts}
    if options.report:
        known = {c: Calibration.load(path) for c, path in files.items() if path.exists()}
        report(options.out, label, known, everything=options.everything)
        return
    method = settings(options.method, options.set)
    posteriors = {counts: spectrum(EXPOSURES[counts]).posterior for counts in options.counts}
    done = 0
    while done < options.n:
        done = min(done + options.step, options.n)
        found = {
            counts: calibrate(posterior, method, done, seed=options.seed + counts, path=files[counts])
            for counts, posterior in posteriors.items()
        }
        report(options.out, label, found, everything=options.everything)


if __name__ == "__main__":
    main()
