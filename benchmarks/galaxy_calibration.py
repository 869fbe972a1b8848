"""Calibrate a method on simulated galaxies, to see whether its posteriors are as wide as they should be.

Truths are drawn from the priors of a galaxy of seven parameters at redshift 0.1, seen in five bands whose errors are
those of the reference galaxy of ``galaxy_methods.posterior_of``, so that fainter galaxies have noisier fluxes. Every
fit is added to a CSV file as soon as it is done; started again, the script goes on where it was.

    python benchmarks/galaxy_calibration.py --method auto -n 200 --out docs/galaxy_calibration
    python benchmarks/galaxy_calibration.py --method nuts -n 200 --grid ssp.h5 --out docs/galaxy_calibration
    python benchmarks/galaxy_calibration.py --method auto --out docs/galaxy_calibration --report
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

from galaxy_methods import posterior_of

from skyfold.checks.calibration import Calibration, calibrate


def report(folder: Path, method: str, found: Calibration) -> None:
    """Print, and write summary and figure of what there is so far."""
    from skyfold.plots.calibration import calibration

    judged = found.among(len(found.quantities))
    print(judged, flush=True)
    (folder / f"{method}.txt").write_text(f"{judged}\n", encoding="utf-8")
    (folder / f"{method}.json").write_text(json.dumps(judged.to_dict(), indent=1), encoding="utf-8")
    calibration({method: judged}).savefig(folder / f"{method}.png", dpi=130)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="auto", help="name, as for Posterior.fit")
    parser.add_argument("-n", type=int, default=200, help="simulated galaxies")
    parser.add_argument("--grid", help="grid of populations in the layout of DSPS; default the synthetic one")
    parser.add_argument("--solar-z", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--step", type=int, default=50, help="report after so many")
    parser.add_argument("--report", action="store_true", help="fit nothing, report what there is")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.method}.csv"
    if options.report:
        report(options.out, options.method, Calibration.load(path))
        return
    posterior = posterior_of(options.grid, options.solar_z, rates=(3.0, 30.0))
    done = 0
    while done < options.n:
        done = min(done + options.step, options.n)
        report(options.out, options.method, calibrate(posterior, options.method, done, seed=options.seed, path=path))


if __name__ == "__main__":
    main()
