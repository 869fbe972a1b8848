"""X-ray domain: spectra, responses, and models in XSPEC's language.

The names below are imported when first asked for, so that importing the domain costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skyfold.xray import models
    from skyfold.xray.expression import model
    from skyfold.xray.ogip import Arf, Pha, Rmf, read_arf, read_pha, read_rmf
    from skyfold.xray.response import Response, SparseResponse
    from skyfold.xray.simulate import ccd_response, expected_counts, fakeit
    from skyfold.xray.spectrum import Spectrum
    from skyfold.xray.write import write_arf, write_pha, write_rmf

#: Where each public name lives.
_HOMES = {
    "Arf": "skyfold.xray.ogip",
    "Pha": "skyfold.xray.ogip",
    "Response": "skyfold.xray.response",
    "Rmf": "skyfold.xray.ogip",
    "SparseResponse": "skyfold.xray.response",
    "Spectrum": "skyfold.xray.spectrum",
    "ccd_response": "skyfold.xray.simulate",
    "expected_counts": "skyfold.xray.simulate",
    "fakeit": "skyfold.xray.simulate",
    "model": "skyfold.xray.expression",
    "read_arf": "skyfold.xray.ogip",
    "read_pha": "skyfold.xray.ogip",
    "read_rmf": "skyfold.xray.ogip",
    "write_arf": "skyfold.xray.write",
    "write_pha": "skyfold.xray.write",
    "write_rmf": "skyfold.xray.write",
}

__all__ = [*_HOMES, "models"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "models":
        return importlib.import_module("skyfold.xray.models")
    raise AttributeError(f"module 'skyfold.xray' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
