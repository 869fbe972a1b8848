"""Coverage of W-stat and of the marginal background on simulated spectra: a power law over a continuum with lines.

Usage: ``python benchmarks/xray_backgrounds.py [--sets 200] [--out
docs/xray_backgrounds/coverage.json]``. Every finished set is kept in the file beside ``--out`` with
the ending ``.jsonl``, so that a run that was stopped goes on. The background is drawn from no prior
of ours: a soft rise, a flat part, a rising one, and four fluorescence lines; its region is twice
the source's. ``source`` and ``background`` are expected counts: of the source, and of the
background in its own region, between 0.5 and 7 keV in 433 channels, none of them grouped.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import skyfold as sf
from skyfold import xray
from skyfold.xray.models import PowerLaw
from skyfold.xray.simulate import ccd_response, fakeit

CASES = ((3, 10), (20, 60), (200, 200))
STATISTICS = ("marginal", "wstat")
BAND, EXPOSURE, RATIO = (0.5, 7.0), 1e4, 2.0
#: Energy, height and width of the lines of the background, keV.
LINES = ((1.49, 4.0), (1.74, 2.5), (2.15, 2.0), (7.47, 3.0))
PRIORS = {"PhoIndex": sf.Uniform(0.5, 4.0), "norm": sf.LogUniform(1e-9, 1e-2)}


def background_shape(energy: np.ndarray) -> np.ndarray:
    """Expected counts of the background in each channel, one in all inside the band."""
    shape = 0.3 + 1.5 * np.exp(-energy / 0.4) + 0.15 * energy
    shape += sum(height * np.exp(-0.5 * ((energy - line) / 0.06) ** 2) for line, height in LINES)
    shape[(energy < 0.4) | (energy > 8.0)] = 0.0
    return shape / shape[(energy > BAND[0]) & (energy < BAND[1])].sum()


def one_set(number: int, source: int, background: int, rmf: Any, arf: Any, unit: xray.Spectrum) -> dict[str, Any]:
    """Ranks of the true index and of the true counts of the source in the posteriors of one simulated pair."""
    rng = np.random.default_rng([number, source, background])
    index, counts = rng.uniform(1.0, 3.5), source * 10.0 ** rng.uniform(-0.3, 0.3)
    norm = counts / expected(unit, index)
    shape = background_shape(rmf.bounds.mean(axis=1)) * background / RATIO / EXPOSURE
    seed = int(rng.integers(2**31))
    model = PowerLaw(PhoIndex=index, norm=norm)
    fake = fakeit(model, rmf, arf, EXPOSURE, background=shape, background_ratio=RATIO, seed=seed)
    whole = xray.Spectrum.assemble(fake.source, rmf, arf, fake.background, name="simulated").notice(*BAND)
    found: dict[str, Any] = {"source": source, "background": background, "number": number}
    for statistic in STATISTICS:
        posterior = sf.Posterior((PowerLaw(**PRIORS), whole.with_statistic(statistic)))
        result = posterior.fit("auto", seed=number, progress=False)
        draws = {name: np.ravel(values) for name, values in result.equal_weight.items()}
        ranks = (np.mean(draws["powerlaw.PhoIndex"] < index), np.mean(draws["powerlaw.norm"] < norm))
        best = float(result.best["powerlaw.norm"]) * expected(unit, float(result.best["powerlaw.PhoIndex"]))
        found[statistic] = [float(ranks[0]), float(ranks[1]), best / counts, bool(result.converged)]
    return found


def expected(unit: xray.Spectrum, index: float) -> float:
    """Counts inside the band of a power law of norm 1."""
    return float(np.asarray(unit.predict(PowerLaw(PhoIndex=index, norm=1.0))).sum())


def summary(sets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Coverage of central intervals for each case and statistic, with the counts of the best fits over the truth."""
    rows = []
    for source, background in CASES:
        own = [s for s in sets if (s["source"], s["background"]) == (source, background)]
        for statistic in STATISTICS if own else ():
            values = np.array([s[statistic] for s in own])
            row = {"source": source, "background": background, "statistic": statistic, "sets": len(own)}
            for column, name in ((0, "PhoIndex"), (1, "norm")):
                for share in (68, 95):
                    row[f"{name} {share}%"] = round(float(np.mean(abs(values[:, column] - 0.5) < share / 200)), 3)
            row["best counts / truth, median"] = round(float(np.median(values[:, 2])), 3)
            row["converged"] = round(float(values[:, 3].mean()), 3)
            rows.append(row)
    return rows


def main() -> None:
    """Run the sets that are missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=200, help="simulated pairs of each case")
    parser.add_argument("--out", type=Path, default=Path("docs/xray_backgrounds/coverage.json"))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    kept = options.out.with_suffix(".jsonl")
    sets = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(s["source"], s["background"], s["number"]) for s in sets}
    rmf, arf = ccd_response(energy_step=0.02, channel_width=0.015, n_channels=600)
    flat = fakeit(PowerLaw(PhoIndex=2.0, norm=1e-3), rmf, arf, EXPOSURE, seed=0).source
    unit = xray.Spectrum.assemble(flat, rmf, arf).notice(*BAND)
    with kept.open("a") as file:
        for number in range(options.sets):
            for case in CASES:
                if (*case, number) not in done:
                    sets.append(one_set(number, *case, rmf, arf, unit))
                    file.write(json.dumps(sets[-1]) + "\n")
                    file.flush()
    options.out.write_text(json.dumps({"skyfold": sf.__version__, "rows": summary(sets)}, indent=1) + "\n")
    for row in summary(sets):
        print(row)


if __name__ == "__main__":
    main()
