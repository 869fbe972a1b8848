"""X-ray domain: spectra, responses, and models in XSPEC's language.

The names below are imported when first asked for, so that importing the domain costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skyfold.xray import models
    from skyfold.xray.expression import model
    from skyfold.xray.files.read import read_arf, read_pha, read_rmf
    from skyfold.xray.files.records import Arf, Pha, Rmf
    from skyfold.xray.files.write import write_arf, write_pha, write_rmf
    from skyfold.xray.response import Response, SparseResponse
    from skyfold.xray.simulate import ccd_response, expected_counts, fakeit
    from skyfold.xray.spectrum import Spectrum

#: Where each public name lives.
_HOMES = {
    "Arf": "skyfold.xray.files.read",
    "Pha": "skyfold.xray.files.read",
    "Response": "skyfold.xray.response",
    "Rmf": "skyfold.xray.files.read",
    "SparseResponse": "skyfold.xray.response",
    "Spectrum": "skyfold.xray.spectrum",
    "ccd_response": "skyfold.xray.simulate",
    "expected_counts": "skyfold.xray.simulate",
    "fakeit": "skyfold.xray.simulate",
    "model": "skyfold.xray.expression",
    "read_arf": "skyfold.xray.files.read",
    "read_pha": "skyfold.xray.files.read",
    "read_rmf": "skyfold.xray.files.read",
    "write_arf": "skyfold.xray.files.write",
    "write_pha": "skyfold.xray.files.write",
    "write_rmf": "skyfold.xray.files.write",
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
