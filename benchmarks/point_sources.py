"""Time of the point-source likelihood and of its gradient on reference cases: the compiled functions alone.

``python benchmarks/point_sources.py --reference FOLDER`` where FOLDER holds ``arrays.npz`` and ``nptf_cases.json``: the
inner Galaxy as Fermi-LAT sees it, 6,839 pixels, 135,202 counts. The gradient is by every parameter of the source counts
and by the normalisation of every smooth template; "all" is by the source counts and by mu and templates in every pixel;
"fisher" is the Jacobian of the log-likelihood of every pixel by the same parameters as the gradient, in forward mode.
Minimum and median over repetitions.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import skyfold  # noqa: F401  (64-bit floats)


def measure(function: Callable[..., Any], *arguments: Any, repeat: int) -> tuple[float, float, float]:
    """Seconds of the first call, the minimum and the median of the later ones."""
    import jax

    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    first, seconds = time.perf_counter() - start, []
    for _ in range(repeat):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - start)
    return first, min(seconds), float(np.median(seconds))


def main() -> None:
    """Print one line per case and kind of evaluation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--cases", nargs="+", default=["N1_delta_1np2b", "N2_king_1np2b", "N3_king_2np2b"])
    parser.add_argument("--repeat", type=int, default=100)
    parser.add_argument("--exposure", choices=["uniform", "continuous", "regions"], default="uniform")
    chosen = parser.parse_args()

    import jax
    import jax.numpy as jnp

    from skyfold.compiled.jit import jit
    from skyfold.gammaray.point_sources import log_likelihood, prepare
    from skyfold.gammaray.source_counts import BrokenPowerLaw

    arrays = np.load(chosen.reference / "arrays.npz")
    cases = {c["name"]: c for c in json.loads((chosen.reference / "nptf_cases.json").read_text())["cases"]}
    seen = ~arrays["mask_3fgl"]
    print(f"{'case':24s} {'what':10s} {'first / s':>10s} {'min / ms':>9s} {'median / ms':>12s}")
    for name in chosen.cases:
        case = cases[name]
        f, w = np.ones(1), np.ones(1)
        if case["psf"] == "king":
            f, w = arrays["king_f"], arrays["king_f"] * arrays["king_df_rho_div_f"]
        exposure = None if chosen.exposure == "uniform" else arrays["exposure_cm2_s"][seen]
        regions = 7 if chosen.exposure == "regions" else None
        pixels = jax.tree.map(jnp.asarray, prepare(arrays["counts"][seen], f, w, exposure=exposure, regions=regions))
        smooth = jnp.asarray(np.stack([arrays[f"poisson_{k}"][seen] for k in case["poisson"]]))
        norms = jnp.asarray(list(case["poisson"].values()))
        templates = jnp.asarray(np.stack([arrays[n["template"]][seen] for n in case["np"]]))
        theta = [jnp.asarray(n["theta"]) for n in case["np"]]

        def pointwise(pixels: Any, theta: Any, mu: Any, templates: Any) -> Any:
            return log_likelihood(pixels, mu, templates, [BrokenPowerLaw.from_theta(t) for t in theta])

        def total(parameters: Any, pixels: Any, smooth: Any, templates: Any) -> Any:
            theta, norms = parameters
            return jnp.sum(pointwise(pixels, theta, norms @ smooth, templates))

        def everything(pixels: Any, theta: Any, mu: Any, templates: Any) -> Any:
            return jnp.sum(pointwise(pixels, theta, mu, templates))

        def each(parameters: Any, pixels: Any, smooth: Any, templates: Any) -> Any:
            return jax.jacfwd(lambda p: pointwise(pixels, p[0], p[1] @ smooth, templates))(parameters)

        parameters, mu = (theta, norms), norms @ smooth
        kinds = {
            "value": (jit(total), (parameters, pixels, smooth, templates)),
            "gradient": (jit(jax.value_and_grad(total)), (parameters, pixels, smooth, templates)),
            "all": (jit(jax.value_and_grad(everything, argnums=(1, 2, 3))), (pixels, theta, mu, templates)),
            "fisher": (jit(each), (parameters, pixels, smooth, templates)),
        }
        for what, (function, arguments) in kinds.items():
            first, least, median = measure(function, *arguments, repeat=chosen.repeat)
            print(f"{name:24s} {what:10s} {first:10.2f} {1e3 * least:9.2f} {1e3 * median:12.2f}", flush=True)


if __name__ == "__main__":
    main()
