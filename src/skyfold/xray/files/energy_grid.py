"""One contiguous energy grid out of the ENERG_LO and ENERG_HI columns of a response."""

from __future__ import annotations

import numpy as np

from skyfold.xray.files.fits_tables import Table

#: Neighbouring edges that differ by less than this part of the energy differ by float32 rounding only.
ROUNDING = 1e-6
#: Nor does a gap below this part of the narrower of the two bins matter.
SLACK = 1e-2
#: Edges that rounding to float32 made equal are put this part of the energy apart, one step of float32.
STEP = 1.2e-7
#: A lowest edge of zero becomes this part of the bin's upper edge (XSPEC's choice).
LOWEST = 1e-3


def energy_grid(table: Table, empty: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Read ENERG_LO and ENERG_HI.

    Parameters
    ----------
    table : MATRIX or SPECRESP table.
    empty : (n,) bool, rows that carry no response; at the ends of the grid their edges may be nonsense.

    Returns
    -------
    edges : (n + 1,) strictly increasing, keV.
    order : (n,) the table's row of each bin.
    """
    low, high = (_finite(table, name) * table.factor(name, "keV") for name in ("ENERG_LO", "ENERG_HI"))
    if len(low) == 0:
        raise table.fault("the table has no rows", "Give a response with at least one energy bin")
    order = np.lexsort((low, high))
    low, high = low[order], high[order]
    if empty is not None:
        _mend_empty_ends(low, high, empty[order])
    if -ROUNDING * high[0] <= low[0] <= 0 < high[0]:
        low[0] = LOWEST * high[0]
    reversed_rows = np.flatnonzero(high < low - ROUNDING * np.abs(low))
    if reversed_rows.size:
        row = int(reversed_rows[0])
        raise table.fault(
            f"the bin runs from {low[row]:.7g} to {high[row]:.7g} keV",
            "ENERG_LO must lie below ENERG_HI in every row",
            column="ENERG_HI",
            row=int(order[row]),
        )
    if low[0] <= 0:
        raise table.fault(
            f"the energy {low[0]:.7g} keV is not positive",
            "Energies must be above zero",
            column="ENERG_LO",
            row=int(order[0]),
        )
    width = high - low
    gap = low[1:] - high[:-1]
    allowed = np.maximum(ROUNDING * low[1:], SLACK * np.minimum(width[1:], width[:-1]))
    open_rows = np.flatnonzero(np.abs(gap) > allowed)
    if open_rows.size:
        row = int(open_rows[0])
        kind = "a gap" if gap[row] > 0 else "an overlap"
        raise table.fault(
            f"{kind} of {abs(gap[row]):.4g} keV lies between {high[row]:.7g} and {low[row + 1]:.7g} keV",
            "Each energy bin must begin where the one before ends: make the response again on a contiguous grid",
            column="ENERG_LO",
            row=int(order[row + 1]),
        )
    return _ascending(np.append(low, high[-1])), order


def _ascending(edges: np.ndarray) -> np.ndarray:
    """Return the edges with those that rounding to float32 made equal a little apart."""
    for at in np.flatnonzero(np.diff(edges) <= 0) + 1:
        following = at
        while following < len(edges) and edges[following] <= edges[following - 1]:
            edges[following] = edges[following - 1] * (1 + STEP)
            following += 1
    return edges


def same_grid(one: np.ndarray, other: np.ndarray) -> int | None:
    """Return the first edge at which two grids differ by more than a tenth of a bin, None where they agree.

    The lowest edge may differ by itself: some files begin at 0 where others begin above it.
    """
    width = np.minimum(np.diff(one, append=2 * one[-1] - one[-2]), np.diff(one, prepend=2 * one[0] - one[1]))
    apart = np.flatnonzero((np.abs(one - other) > np.maximum(2 * ROUNDING * one, 0.1 * width))[1:]) + 1
    return int(apart[0]) if apart.size else None


def _mend_empty_ends(low: np.ndarray, high: np.ndarray, empty: np.ndarray) -> None:
    """Give bins without response at either end of the grid sensible edges, where theirs are not."""
    full = np.flatnonzero(~empty)
    if full.size == 0:
        return
    for row in range(full[0] - 1, -1, -1):
        high[row] = low[row + 1]
        if not 0 <= low[row] < high[row]:
            low[row] = high[row] * (LOWEST if row == 0 else 0.5)
    for row in range(full[-1] + 1, len(low)):
        low[row] = high[row - 1]
        if high[row] <= low[row]:
            high[row] = 1.001 * low[row]


def _finite(table: Table, column: str) -> np.ndarray:
    values = table.column(column)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise table.fault(
            "the energy is not a number", "Every row needs finite energies", column=column, row=int(bad[0])
        )
    return values
