"""The case that ``ulx4.py`` compares programs on, and what its workers share: their clock and their reports.

Only the standard library is imported: this runs in every program's own environment.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SPECTRUM, RESPONSE, AREA = "PN_spectrum_grp20.fits", "PN.rmf", "PN.arf"
BAND = (0.5, 8.0)
MODEL = "tbabs*(powerlaw+bbodyrad)"
#: Prior and its bounds, by skyfold's names.
PRIORS = {
    "tbabs.nH": ("Uniform", 0.0, 1.0),
    "powerlaw.PhoIndex": ("Uniform", 0.0, 5.0),
    "powerlaw.norm": ("LogUniform", 1e-6, 1e-3),
    "bbodyrad.kT": ("Uniform", 0.0, 5.0),
    "bbodyrad.norm": ("LogUniform", 1e-2, 1e2),
}
#: What the others call the parameters.
NAMES = {
    "jaxspec": (
        "spectrum.tbabs_1.nh",
        "spectrum.powerlaw_1.alpha",
        "spectrum.powerlaw_1.norm",
        "spectrum.blackbodyrad_1.kT",
        "spectrum.blackbodyrad_1.norm",
    ),
    "elisa": ("TBAbs.nH", "PowerLaw.alpha", "PowerLaw.K", "BlackbodyRad.kT", "BlackbodyRad.K"),
}
#: Of NUTS in the other programs.
CHAINS, WARMUP, DRAWS = 4, 1000, 1000
_EVENTS = ("jaxpr_trace_duration", "jaxpr_to_mlir_module_duration", "backend_compile_duration")


class Stopwatch:
    """Seconds of named phases, and how much of each JAX spent on tracing, lowering and compiling.

    JAX reports these durations when they end. Traces nest, so the union of the intervals is counted, not their sum.
    """

    def __init__(self) -> None:
        self.phases: dict[str, dict[str, float]] = {}
        self._spans: list[tuple[float, float]] = []

    def listen(self) -> None:
        """Hear what JAX compiles from now on."""
        import jax.monitoring

        jax.monitoring.register_event_duration_secs_listener(self._hear)

    def _hear(self, event: str, seconds: float, **_: object) -> None:
        if event.startswith("/jax/core/compile/") and event.endswith(_EVENTS):
            now = time.perf_counter()
            self._spans.append((now - seconds, now))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase; phases may contain others."""
        start = time.perf_counter()
        yield
        end = time.perf_counter()
        compiling, reached = 0.0, start
        for first, last in sorted(self._spans):
            first, last = max(first, reached), min(last, end)
            if last > first:
                compiling, reached = compiling + last - first, last
        self.phases[name] = {"seconds": end - start, "compile": compiling}

    def time_mcmc(self) -> None:
        """Make every run of NumPyro's MCMC a phase ``fit``, which ends when its draws are there."""
        import jax
        from numpyro.infer import MCMC

        run = MCMC.run

        def timed(mcmc: Any, *args: Any, **kwargs: Any) -> None:
            with self.phase("fit"):
                run(mcmc, *args, **kwargs)
                jax.block_until_ready(mcmc.get_samples())

        MCMC.run = timed


def worker_arguments() -> argparse.Namespace:
    """Command line of the workers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True, help="folder of the spectrum and its responses")
    parser.add_argument("--posterior", type=Path, required=True, help="netCDF file to write")
    parser.add_argument("--report", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", default="nuts")
    return parser.parse_args()


def write_report(path: Path, watch: Stopwatch, groups: int, counts: float, *packages: str) -> None:
    """Write what a worker measured, for the parent."""
    from importlib.metadata import version

    versions = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    content = {"phases": watch.phases, "groups": int(groups), "counts": int(counts), "versions": versions}
    path.write_text(json.dumps(content), encoding="utf-8")
