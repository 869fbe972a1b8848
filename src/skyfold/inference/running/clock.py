"""Clock: how much of a run went into tracing and compiling, and how much into sampling."""

from __future__ import annotations

import time

_compiling = {"seconds": 0.0, "registered": 0.0}
_EVENTS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


def _listen(event: str, duration_secs: float, **_: str | int) -> None:
    if event in _EVENTS:
        _compiling["seconds"] += duration_secs


class Clock:
    """Starts when made; `seconds` splits what has passed since."""

    def __init__(self) -> None:
        if not _compiling["registered"]:
            import jax.monitoring

            jax.monitoring.register_event_duration_secs_listener(_listen)
            _compiling["registered"] = 1.0
        self._start = time.perf_counter()
        self._compiled = _compiling["seconds"]

    def seconds(self) -> dict[str, float]:
        """Seconds of tracing and compiling (or loading from the cache), and of everything else."""
        total = time.perf_counter() - self._start
        compiled = min(_compiling["seconds"] - self._compiled, total)
        return {"compile": compiled, "sample": total - compiled}
