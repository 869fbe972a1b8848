"""Measure what skyfold's XLA options do: compile seconds and speed against XLA's defaults (`skyfold.compiled.jit`).

Two functions are compiled, each many times in turn: the batched density that screening and importance sampling call,
and the climb of Fisher scoring, which linearises the model. The model is tbabs*(powerlaw+bbodyrad), the data are the
embedded demonstration or the spectrum given.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PRIORS = {
    "tbabs.nH": ("Uniform", 0.0, 1.0),
    "powerlaw.PhoIndex": ("Uniform", 0.0, 5.0),
    "powerlaw.norm": ("LogUniform", 1e-6, 1e-3),
    "bbodyrad.kT": ("Uniform", 0.0, 5.0),
    "bbodyrad.norm": ("LogUniform", 1e-2, 1e2),
}


@dataclass
class Case:
    """A function, its arguments, and how many evaluations of the model one call makes.

    Parameters
    ----------
    name : for the table.
    function : to compile.
    arguments : of a call.
    evaluations : of a call, from what it returned.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    evaluations: Callable[[Any], int]


@dataclass
class Timing:
    """Seconds of each repetition with one set of options, and what the last call returned."""

    trace: list[float] = field(default_factory=list)
    compile: list[float] = field(default_factory=list)
    call: list[float] = field(default_factory=list)
    value: Any = None


def posterior_of(spectrum: Path | None, energies: tuple[float, float]) -> Any:
    """Posterior of a spectrum; by default that of the embedded demonstration."""
    import skyfold as sf
    from skyfold import xray
    from skyfold.data import demo_spectrum

    path = demo_spectrum() if spectrum is None else spectrum
    data = xray.Spectrum.read(path, background="none").notice(*energies)
    priors = {name: getattr(sf, kind)(low, high) for name, (kind, low, high) in PRIORS.items()}
    return sf.Posterior((xray.model("tbabs*(powerlaw+bbodyrad)").with_priors(priors), data))


def cases(posterior: Any) -> list[Case]:
    """Return the two functions with the arguments that `Auto` gives them."""
    from skyfold.inference.auto import Auto
    from skyfold.inference.density import BLOCK, CHUNK, batch_density
    from skyfold.inference.search.scoring import climb_batch
    from skyfold.inference.search.screening import choose_starts, screen

    settings = Auto()
    points, density, _ = screen(posterior, settings.screen, 0)
    blocks = points[:CHUNK].reshape(-1, BLOCK, posterior.ndim)
    starts = choose_starts(points, density, settings.starts)
    low, high = posterior.latent_bounds()
    return [
        Case("density", batch_density.__wrapped__, (posterior.kernel, blocks), lambda _: CHUNK),
        Case(
            "climb",
            climb_batch.__wrapped__,
            (posterior.kernel, starts, low, high, 1.0, 200),
            lambda value: int(value[-1]) * settings.starts,
        ),
    ]


def repeat(case: Case, options: dict[str, Any], timing: Timing, seconds: float) -> None:
    """Trace, compile and call once more, calling for about `seconds`."""
    import jax

    jax.clear_caches()
    start = time.perf_counter()
    lowered = jax.jit(lambda *args: case.function(*args), compiler_options=options).lower(*case.arguments)
    traced = time.perf_counter()
    compiled = lowered.compile()
    timing.trace.append(traced - start)
    timing.compile.append(time.perf_counter() - traced)
    timing.value = jax.block_until_ready(compiled(*case.arguments))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        jax.block_until_ready(compiled(*case.arguments))
        timing.call.append(time.perf_counter() - start)


def difference(left: Any, right: Any) -> float:
    """Largest difference of log densities that are finite in both, absolute."""
    import numpy as np

    a, b = np.ravel(left), np.ravel(right)
    both = np.isfinite(a) & np.isfinite(b)
    return float(np.max(np.abs(a - b), where=both, initial=0.0))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spectrum", type=Path, help="PHA file; default: the embedded demonstration")
    parser.add_argument("--energies", type=float, nargs=2, default=(0.5, 8.0), metavar=("LO", "HI"), help="in keV")
    parser.add_argument("--core", type=int, help="core to run on (Linux); default: all")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="compilations with each set of options")
    parser.add_argument("--seconds", type=float, default=1.0, help="of calls after each compilation")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    os.environ |= {"SKYFOLD_CACHE": "off", "JAX_ENABLE_COMPILATION_CACHE": "false", "JAX_PLATFORMS": "cpu"}

    import jax

    from skyfold.compiled.jit import CPU_OPTIONS

    posterior = posterior_of(options.spectrum, tuple(options.energies))
    print(f"JAX {jax.__version__}, {posterior.n_data} data, {posterior.ndim} parameters; medians of {options.repeat}")
    print("skyfold's options: " + ", ".join(f"{k}={v}" for k, v in CPU_OPTIONS.items()))
    print(f"{'':9}{'options':10}{'trace, s':>10}{'compile, s':>12}{'us/evaluation':>15}{'evaluations':>13}")
    for case in cases(posterior):
        choices = {"defaults": ({}, Timing()), "skyfold": (CPU_OPTIONS, Timing())}
        repeat(case, {}, Timing(), 0.0)  # untimed: XLA sets itself up
        for _ in range(options.repeat):
            for xla, timing in choices.values():
                repeat(case, xla, timing, options.seconds)
        numbers = {}
        for name, (_, timing) in choices.items():
            count = case.evaluations(timing.value)
            each = 1e6 * statistics.median(timing.call) / count
            numbers[name] = (statistics.median(timing.trace), statistics.median(timing.compile), each)
            trace, compiling, each = numbers[name]
            print(f"{case.name:9}{name:10}{trace:10.3f}{compiling:12.3f}{each:15.2f}{count:13}")
        plain, ours = numbers["defaults"], numbers["skyfold"]
        print(f"{'':9}{'ratio':10}{plain[0] / ours[0]:10.2f}{plain[1] / ours[1]:12.2f}{plain[2] / ours[2]:15.2f}")
        index = 0 if case.name == "density" else 1  # of what is returned: log density; its value at the maxima
        values = [timing.value[index] for _, timing in choices.values()]
        print(f"{'':9}largest difference of the log density: {difference(*values):.2g}")


if __name__ == "__main__":
    main()
