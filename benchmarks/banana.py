"""Auto against SMC, to which it hands over on the banana in 10 dimensions: in one process, once both are compiled.

python benchmarks/banana.py --seeds 8
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from problems import banana

import skyfold as sf


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    posterior = banana().posterior
    rows = []
    for seed in range(options.seeds + 1):
        row = []
        for method in (sf.Auto(), sf.SMC()):
            start = time.process_time()
            draws = posterior.fit(method, seed=seed, progress=False).draws
            row += [time.process_time() - start, draws.evaluations]
        if seed:  # the first compiles
            rows.append(row)
            print(f"seed {seed}: auto {row[0]:.2f} s, smc {row[2]:.2f} s", flush=True)
    auto_s, auto_n, smc_s, smc_n = np.mean(rows, axis=0)
    print(f"auto / smc: {auto_s / smc_s:.2f} of the processor seconds, {auto_n / smc_n:.2f} of the evaluations")


if __name__ == "__main__":
    main()
