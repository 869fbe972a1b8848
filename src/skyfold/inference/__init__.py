"""Inference: one method per file, each a frozen dataclass of settings called on a posterior."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from skyfold.errors import NonFiniteModelWarning, SkyfoldError
from skyfold.inference.running import Checkpoint, Draws, Method, Progress, fingerprint
from skyfold.posterior import Posterior
from skyfold.wording import unknown_name

#: Where each method lives, by the name that `Posterior.fit` takes.
METHODS = {
    "aies": ("skyfold.inference.ensembles", "AIES"),
    "auto": ("skyfold.inference.auto", "Auto"),
    "chees": ("skyfold.inference.chees", "ChEES"),
    "dynesty": ("skyfold.inference.nested_sampling.dynesty", "Dynesty"),
    "ess": ("skyfold.inference.ensembles", "ESS"),
    "geovi": ("skyfold.inference.mgvi", "GeoVI"),
    "hmc": ("skyfold.inference.hmc", "HMC"),
    "laplace": ("skyfold.inference.laplace", "Laplace"),
    "map": ("skyfold.inference.maximum", "MAP"),
    "meads": ("skyfold.inference.meads", "MEADS"),
    "mgvi": ("skyfold.inference.mgvi", "MGVI"),
    "mle": ("skyfold.inference.maximum", "MLE"),
    "nautilus": ("skyfold.inference.nested_sampling.nautilus", "Nautilus"),
    "nested": ("skyfold.inference.nested", "Nested"),
    "nuts": ("skyfold.inference.nuts", "NUTS"),
    "pathfinder": ("skyfold.inference.pathfinder", "Pathfinder"),
    "smc": ("skyfold.inference.smc", "SMC"),
    "ultranest": ("skyfold.inference.nested_sampling.ultranest", "UltraNest"),
    "vi": ("skyfold.inference.vi", "VI"),
}


def find(method: str | Method) -> Method:
    """Settings object for a method's name; an object that is one already is returned as it is.

    Raises
    ------
    SkyfoldError
        If there is no such method.
    """
    if callable(method) and not isinstance(method, type):
        return method
    if isinstance(method, str) and method in METHODS:
        module, name = METHODS[method]
        found: Method = getattr(importlib.import_module(module), name)()
        return found
    if isinstance(method, str):
        raise unknown_name(method, METHODS, "method")
    raise SkyfoldError(f"A method is a name ({', '.join(METHODS)}) or a settings object such as sf.NUTS(chains=4).")


def run(
    posterior: Posterior,
    method: str | Method = "auto",
    *,
    seed: int = 0,
    progress: bool | None = None,
    checkpoint: str | Path | None = None,
) -> Draws:
    """Run a method on a posterior; see `Posterior.fit`."""
    settings = find(method)
    if posterior.ndim == 0:
        raise SkyfoldError("Nothing is free in this posterior: give at least one parameter a prior.")
    kept = Checkpoint(checkpoint, fingerprint(posterior, settings, seed)) if checkpoint else Checkpoint()
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise SkyfoldError(f"A seed is a whole number from 0 to 2^63 - 1, not {seed!r}.")
    with Progress(progress) as bar, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NonFiniteModelWarning)
        draws = settings(posterior, seed, bar, kept)
    undefined = [w for w in caught if issubclass(w.category, NonFiniteModelWarning)]
    for w in caught:
        if w not in undefined[1:]:
            warnings.warn(w.message, w.category, stacklevel=2)
    draws = replace(draws, messages=(*draws.messages, *(str(w.message) for w in undefined[:1])))
    notes = tuple(n for _, o in posterior.pairs.values() for n in getattr(o, "notes", ()))
    return replace(draws, messages=(*draws.messages, *notes))
