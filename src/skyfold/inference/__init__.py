"""Inference: one method per file, each a frozen dataclass of settings called on a posterior."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skyfold.component import unknown_name
from skyfold.errors import SkyfoldError

if TYPE_CHECKING:
    from skyfold.posterior import Posterior
    from skyfold.results.result import Result

#: Where each method lives, by the name that `Posterior.fit` takes.
METHODS = {
    "auto": ("skyfold.inference.auto", "Auto"),
    "hmc": ("skyfold.inference.hmc", "HMC"),
    "map": ("skyfold.inference.maximum", "MAP"),
    "mle": ("skyfold.inference.maximum", "MLE"),
    "nuts": ("skyfold.inference.nuts", "NUTS"),
}


def find(method: Any) -> Any:
    """Settings object for a method's name; an object that is one already is returned as it is.

    Raises
    ------
    SkyfoldError
        If there is no such method.
    """
    if callable(method) and not isinstance(method, type):
        return method
    if isinstance(method, str) and method in METHODS:
        import importlib

        module, name = METHODS[method]
        return getattr(importlib.import_module(module), name)()
    if isinstance(method, str):
        raise unknown_name(method, METHODS, "method")
    raise SkyfoldError(f"A method is a name ({', '.join(METHODS)}) or a settings object such as sf.NUTS(chains=4).")


def run(
    posterior: Posterior,
    method: Any = "auto",
    *,
    seed: int = 0,
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
) -> Result:
    """Run a method on a posterior; see `Posterior.fit`."""
    from skyfold.inference.checkpoint import Checkpoint, fingerprint
    from skyfold.inference.progress import Progress
    from skyfold.results.result import Result

    settings = find(method)
    if posterior.ndim == 0:
        raise SkyfoldError("Nothing is free in this posterior: give at least one parameter a prior.")
    kept = Checkpoint(checkpoint, fingerprint(posterior, settings, seed)) if checkpoint else Checkpoint()
    with Progress(progress) as bar:
        draws = settings(posterior, seed, bar, kept)
    notes = tuple(n for _, o in posterior.pairs.values() for n in getattr(o, "notes", ()))
    return Result(posterior, replace(draws, messages=(*draws.messages, *notes)))
