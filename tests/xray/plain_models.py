"""Models written without skyfold, for reference values."""

from __future__ import annotations

from typing import Any

import numpy as np


class Power:
    """Power law integrated over bins, in numpy: the reference values need nothing else."""

    def __init__(self, index: float, norm: float) -> None:
        self.index, self.norm = index, norm

    def evaluate(self, edges: Any) -> np.ndarray:
        edges, slope = np.asarray(edges), 1.0 - self.index
        return self.norm * (np.diff(np.log(edges)) if slope == 0 else np.diff(edges**slope) / slope)


class Flat:
    """One photon in every bin."""

    def evaluate(self, edges: Any) -> Any:
        return 0.0 * edges[1:] + 1.0
