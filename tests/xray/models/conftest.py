"""Reference numbers of the components' tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest


@dataclass(frozen=True)
class ReferenceSet:
    """Output of an XSPEC model at one parameter set, norm = 1."""

    parameters: tuple[float, ...]
    grid: str
    edges: np.ndarray
    output: np.ndarray

    def deviation(self, ours: np.ndarray) -> np.ndarray:
        """Difference over the peak, in each bin."""
        return np.abs(ours - self.output) / np.max(np.abs(self.output))


@pytest.fixture(scope="session")
def xspec(reference_numbers: Path) -> Callable[[str], list[ReferenceSet]]:
    """Reference sets of an XSPEC model, by its name; those where XSPEC returns zeros only are left out."""
    content = json.loads((reference_numbers / "xspec_models.json").read_text())

    def sets(name: str) -> list[ReferenceSet]:
        found = [
            ReferenceSet(tuple(s["par"]), s["grid"], np.array(content["grids"][s["grid"]]["edges"]), np.array(s["out"]))
            for s in content["models"][name]["sets"]
        ]
        return [s for s in found if np.any(s.output != 0)]

    return sets
