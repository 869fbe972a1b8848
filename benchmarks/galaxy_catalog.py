"""Simulated catalogue of galaxies in ugrizyJHK: how many a minute pass the tests of convergence, and are they right.

Truths are drawn from the priors, mass included, so that intervals must cover them as often as they say. A tenth of the
bands is missing. Chunks are kept in a folder; a killed run goes on. Time is summed over all runs on the folder, as
elapsed and as processor seconds, compilation and preparation apart.

    python benchmarks/galaxy_catalog.py --out FOLDER -n 10000                  # the synthetic grid
    python benchmarks/galaxy_catalog.py --out FOLDER -n 1000 --grid ssp.h5 --solar-z 0.02
    python benchmarks/galaxy_catalog.py --out FOLDER -n 10000 --limit 320      # the first 320 of them
    python benchmarks/galaxy_catalog.py --out FOLDER --table --page docs/catalogues.md
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

NAMES = [*(f"lsst_baseline_{b}" for b in "ugrizy"), "twomass_J", "twomass_H", "twomass_Ks"]
#: Noise of every band, nJy, and the share of the flux that is added in quadrature; share of bands that is missing.
NOISE, FLOOR, MISSING = 30.0, 0.05, 0.1
#: Limits of the mass formed, Msun.
MASS = (3e9, 1e12)
#: Marks of a page between which the table is put.
MARKS = ("<!-- catalogue begins -->", "<!-- catalogue ends -->")


def model_of(grid: str | None, solar_z: float) -> Any:
    """Return a galaxy of seven parameters besides the mass: redshift, history, metallicity, dust."""
    import skyfold as sf
    from skyfold import galaxy

    ssp = galaxy.SSP.read(grid, solar_z=solar_z) if grid else galaxy.synthetic_ssp()
    return galaxy.Galaxy(
        ssp,
        galaxy.DoublePowerLawMass(log_mass=0.0),
        sf.Uniform(-1.5, 0.2),
        galaxy.CharlotFall(tau_bc=sf.Uniform(0.0, 2.0), tau_diff=sf.Uniform(0.0, 1.5)),
        redshift=sf.Uniform(0.05, 2.5),
    )


def simulated(problem: Any, n: int, seed: int) -> tuple[Any, dict[str, np.ndarray]]:
    """Table of `n` galaxies with parameters drawn from the priors, and these parameters."""
    from astropy.table import Table

    from skyfold.catalogs.engine import expected_at

    template = problem.template
    rng = np.random.default_rng([seed, 1])
    z = rng.standard_normal((n, template.ndim))
    mass = np.exp(rng.uniform(*np.log(MASS), n))
    pieces = [np.asarray(expected_at(problem.target, p)) for p in np.array_split(z, max(n // 500, 1))]
    flux = np.concatenate(pieces) * mass[:, None]
    error = np.hypot(NOISE, FLOOR * flux)
    data = flux + error * rng.standard_normal(flux.shape)
    missing = rng.random(flux.shape) < MISSING
    missing[missing.all(axis=1), 0] = False
    columns: dict[str, Any] = {"id": np.arange(n)}
    for b, name in enumerate(NAMES):
        columns[name] = np.where(missing[:, b], np.nan, data[:, b])
        columns[f"{name}_err"] = error[:, b]
    truth = {name: np.asarray(v) for name, v in template.values(z).items()}
    return Table(columns), {**truth, "log_mass": np.log10(mass)}


def run(args: argparse.Namespace) -> None:
    """Fit, and write what the table needs."""
    import skyfold as sf
    from skyfold import galaxy
    from skyfold.catalogs.fit import prepare
    from skyfold.galaxy.catalog import Galaxies
    from skyfold.galaxy.catalog_rows import read_rows

    model = model_of(args.grid, args.solar_z)
    settings = galaxy.CatalogSettings()
    mass = sf.LogUniform(*MASS)
    filters = tuple(galaxy.Filter.load(n) for n in NAMES)
    begin = time.perf_counter(), time.process_time()
    table = galaxy.RedshiftTable.of(model, filters, tolerance=5e-3)
    ones = read_rows({f"{name}{end}": [1.0] for name in NAMES for end in ("", "_err")}, filters)
    problem = Galaxies.of(ones, model, filters, mass=mass, table=table)
    prepare(problem, settings, args.seed)
    prepared = time.perf_counter() - begin[0], time.process_time() - begin[1]
    data, truth = simulated(problem, args.n, args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    np.savez(args.out / "truth.npz", **truth)
    common = {"mass": mass, "settings": settings, "redshift_table": table, "seed": args.seed}
    # one chunk and one single fit, not counted, so that little is left to compile
    galaxy.fit_catalog(data[: settings.chunk], model, filters, workers=1, **common)
    replace(problem, rows=read_rows(data[:1], filters)).posterior(0).fit("auto", seed=0, progress=False)
    clock = args.out / "clock.json"
    spent = json.loads(clock.read_text()) if clock.is_file() else {"wall": 0.0, "cpu": 0.0, "galaxies": 0}
    limit = min(args.limit or args.n, args.n)
    # groups of chunks, so that the clock is kept when a run is killed
    step = settings.chunk * 16
    for stop in [*range(step, limit, step), limit]:
        done = {p.name for p in args.out.glob("chunk_*.npz")}
        start = time.perf_counter(), time.process_time()
        catalog = galaxy.fit_catalog(
            data[:stop], model, filters, folder=args.out, workers=args.workers, progress=False, **common
        )
        fresh = len([p for p in args.out.glob("chunk_*.npz") if p.name not in done])
        if fresh:
            spent["wall"] += time.perf_counter() - start[0]
            spent["cpu"] += time.process_time() - start[1]
            spent["galaxies"] += min(fresh * settings.chunk, stop)
        spent |= {"grid": model.ssp.name, "prepare_wall": prepared[0], "prepare_cpu": prepared[1]}
        spent |= {"table_error": table.error, "workers": args.workers}
        clock.write_text(json.dumps(spent))
        print(stop, catalog, f"{spent['cpu']:.0f} processor seconds, {spent['wall']:.0f} s", flush=True)


def report(folder: Path) -> list[str]:
    """Lines of the page: rates, tests, coverage."""
    from skyfold import galaxy

    catalog = galaxy.Catalog.read(folder / "catalog.nc")
    spent = json.loads((folder / "clock.json").read_text())
    with np.load(folder / "truth.npz") as file:
        truth = {name: file[name][: len(catalog)] for name in file.files}
    n, good, stage = len(catalog), catalog.results["passed"], catalog.results["stage"]
    cpu = spent["cpu"] / max(spent["galaxies"], 1)
    per_minute = spent["galaxies"] / spent["wall"] * 60.0 * good.mean()
    lines = [
        f"Grid {spent['grid']}, {n} galaxies, error of the table of redshifts at most {spent['table_error']:.1e}.",
        "",
        "| quantity | value |",
        "|---|---|",
        f"| pass every test | {good.sum()} ({100 * good.mean():.1f}%) |",
        f"| tried again with more draws | {100 * np.mean(stage >= 1):.1f}% |",
        f"| fitted alone by `auto` | {100 * np.mean(stage == 2):.1f}% |",
        f"| processor seconds per galaxy | {cpu:.3f} |",
        f"| passing galaxies per minute of two processors | {120.0 / cpu * good.mean():.0f} |",
        f"| passing galaxies per minute as run, elapsed | {per_minute:.0f} |",
        f"| preparation, processor seconds | {spent['prepare_cpu']:.0f} |",
        "",
        "| parameter | in 68% | in 95% | bias / sd |",
        "|---|---|---|---|",
    ]
    quantiles = catalog.results["quantiles"][good]
    for i, name in enumerate(catalog.names):
        x = truth[name][good]
        shares = [np.mean((x >= quantiles[:, i, a]) & (x <= quantiles[:, i, b])) for a, b in ((1, 3), (0, 4))]
        errors = [np.sqrt(p * (1 - p) / good.sum()) for p in (0.68, 0.95)]
        pull = (catalog.results["mean"][good, i] - x) / catalog.results["sd"][good, i]
        lines.append(
            f"| `{name}` | {shares[0]:.3f} ± {errors[0]:.3f} | {shares[1]:.3f} ± {errors[1]:.3f} "
            f"| {pull.mean():+.3f} ± {1 / np.sqrt(good.sum()):.3f} |"
        )
    return lines


def main() -> None:
    """Run or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("-n", type=int, default=10_000, help="galaxies in the catalogue")
    parser.add_argument("--limit", type=int, help="fit the first so many of them")
    parser.add_argument("--grid", help="grid of populations in the layout of DSPS; default the synthetic one")
    parser.add_argument("--solar-z", type=float, default=0.02)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only write the table of what there is")
    parser.add_argument("--page", type=Path, help="page whose marks the table is put between")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if not args.table:
        run(args)
    lines = report(args.out)
    print("\n".join(lines))
    if args.page:
        before, rest = args.page.read_text().split(MARKS[0])
        args.page.write_text("\n".join([before + MARKS[0], "", *lines, "", MARKS[1] + rest.split(MARKS[1])[1]]))


if __name__ == "__main__":
    main()
