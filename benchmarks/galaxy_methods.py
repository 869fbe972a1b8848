"""Every method on a fit of photometry, seven parameters of which one is integrated out, against a long run of NUTS.

Each run is kept in a folder as a small JSON file; what is there already is not done again.

    python benchmarks/galaxy_methods.py --out FOLDER
    python benchmarks/galaxy_methods.py --out FOLDER --methods auto nuts smc --grid ssp.h5 --solar-z 0.02
    python benchmarks/galaxy_methods.py --out FOLDER --table --page docs/galaxy_methods.md
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ["sdss_u0", "sdss_g0", "sdss_r0", "sdss_i0", "sdss_z0"]
PEAK = 1.0
TRUTH = {
    "dpl.tau": 3.0,
    "dpl.alpha": 2.0,
    "dpl.beta": 2.0,
    "metallicity.logzsol": -0.3,
    "charlot_fall.tau_bc": 0.8,
    "charlot_fall.tau_diff": 0.4,
}
METHODS = (
    "auto nuts hmc chees meads smc nested laplace pathfinder vi vi-adaptive mgvi geovi aies ess "
    "ultranest nautilus dynesty"
).split()
#: Deviation of a mean, in widths of the reference, and of a width from the reference's, that are allowed.
BIAS, WIDTH = 0.1, 0.1
MARKS = ("<!-- methods begin -->", "<!-- methods end -->")


def posterior_of(grid: str | None, solar_z: float, rates: tuple[float, float] = (0.1, 10**2.5)) -> Any:
    """Posterior of five bands at 5% of a galaxy of seven parameters at redshift 0.1.

    The highest rate of star formation only scales the light: it is integrated out, over a log-uniform prior between
    `rates`, Msun/yr, which leaves six latent dimensions.
    """
    import skyfold as sf
    from skyfold import galaxy

    def model(peak: float) -> Any:
        return galaxy.Galaxy(
            galaxy.SSP.read(grid, solar_z=solar_z) if grid else galaxy.synthetic_ssp(),
            sfh=galaxy.DoublePowerLaw(log_peak_sfr=peak),
            metallicity=sf.Uniform(-2.0, 0.2),
            dust=galaxy.CharlotFall(tau_bc=sf.Uniform(0.0, 2.0), tau_diff=sf.Uniform(0.0, 1.5)),
            redshift=0.1,
        )

    flux = 3631e9 * 10 ** (-0.4 * galaxy.magnitudes(model(PEAK).with_values(TRUTH), NAMES))
    noisy = flux * (1.0 + 0.05 * np.random.default_rng(7).standard_normal(len(NAMES)))
    photometry = galaxy.Photometry(NAMES, noisy, 0.05 * flux)
    return sf.Posterior((model(0.0), galaxy.MassMarginal(photometry, prior=sf.LogUniform(*rates))))


def one(posterior: Any, method: Any, seed: int) -> dict[str, Any]:
    """Run one method and return what the table needs."""
    from skyfold.errors import SkyfoldError
    from skyfold.inference.chains.gradient_chains import measure

    start = time.perf_counter(), time.process_time()
    try:
        draws = posterior.fit(method, seed=seed, progress=False).draws
    except (SkyfoldError, ImportError) as error:
        return {"refused": str(error)}
    spent = time.perf_counter() - start[0], time.process_time() - start[1]
    latent, weights = draws.latent.reshape(-1, posterior.ndim), draws.weights().ravel()
    mean = weights @ latent
    effective = 1.0 / np.sum(weights**2) if draws.log_weights is not None else measure(draws.latent)["ess"]
    return {
        "converged": bool(draws.converged),
        "messages": list(draws.messages),
        "mean": mean.tolist(),
        "sd": np.sqrt(weights @ (latent - mean) ** 2).tolist(),
        "effective": float(effective),
        "wall": spent[0],
        "cpu": spent[1],
    }


def table(folder: Path) -> list[str]:
    """Lines of the page."""
    reference = json.loads((folder / "reference.json").read_text())
    centre, width = np.array(reference["mean"]), np.array(reference["sd"])
    lines = [
        "| method | says converged | worst bias / sd | worst width | effective draws | within 0.1 sd and 10% "
        "| processor s, compilation included |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in METHODS:
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        found = json.loads(path.read_text())
        if "refused" in found:
            lines.append(f"| `{name}` | refused: {found['refused'].splitlines()[0][:60]} | | | | | |")
            continue
        bias = np.max(np.abs(np.array(found["mean"]) - centre) / width)
        ratio = np.array(found["sd"]) / width
        worst = ratio[np.argmax(np.abs(np.log(np.maximum(ratio, 1e-9))))]
        good = bias < BIAS and abs(worst - 1.0) < WIDTH
        lines.append(
            f"| `{name}` | {'yes' if found['converged'] else 'no'} | {bias:.3f} | {worst:.3f} "
            f"| {found['effective']:.0f} | {'yes' if good else 'no'} | {found['cpu']:.0f} |"
        )
    return [*lines, "", f"Reference: NUTS, {reference['effective']:.0f} effective draws."]


def main() -> None:
    """Run or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--grid")
    parser.add_argument("--solar-z", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--page", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.table:
        import skyfold as sf

        posterior = posterior_of(args.grid, args.solar_z)
        # full-rank variational inference from which adaptive importance sampling goes on
        special = {"vi-adaptive": sf.VI(correction="adaptive")}
        runs = {"reference": sf.NUTS(chains=8, draws=4000, max_draws=16_000)}
        runs |= {m: special.get(m, m) for m in args.methods}
        for name, method in runs.items():
            path = args.out / f"{name}.json"
            if path.is_file():
                continue
            found = one(posterior, method, 0 if name == "reference" else args.seed)
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_text(json.dumps(found))
            os.replace(temporary, path)
            print(name, found.get("converged"), f"{found.get('cpu', 0):.0f} processor seconds", flush=True)
    lines = table(args.out)
    print("\n".join(lines))
    if args.page:
        before, rest = args.page.read_text().split(MARKS[0])
        args.page.write_text("\n".join([before + MARKS[0], "", *lines, "", MARKS[1] + rest.split(MARKS[1])[1]]))


if __name__ == "__main__":
    main()
