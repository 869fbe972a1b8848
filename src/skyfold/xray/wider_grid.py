"""Energies beyond those that are asked for, which a model that smears light needs."""

from __future__ import annotations

import numpy as np

from skyfold.component import Component

#: Most bins that are offered to operators beyond an end of a band.
_MOST_BINS = 4096


def widened(model: Component, edges: np.ndarray) -> tuple[np.ndarray, slice]:
    """Edges that a model must be evaluated on for the bins between `edges`, and where among its bins these are.

    Without a detector there is no end to the energies: as many bins as a decade holds are offered on either side.
    """
    steps = np.diff(np.log(edges))
    below = edges[0] * np.exp(-steps[0] * np.arange(min(np.ceil(np.log(10.0) / steps[0]), _MOST_BINS), 0, -1))
    above = edges[-1] * np.exp(steps[-1] * np.arange(1, min(np.ceil(np.log(10.0) / steps[-1]), _MOST_BINS) + 1))
    wider = np.asarray(model.needs(edges, np.concatenate([below, edges, above])))
    start = int(np.searchsorted(wider, edges[0]))
    return wider, slice(start, start + len(edges) - 1)
