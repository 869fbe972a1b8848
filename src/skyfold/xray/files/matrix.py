"""Unpack the compressed redistribution matrix of an RMF, in whatever layout, without a loop over its rows."""

from __future__ import annotations

import numpy as np

from skyfold.xray.files.fits_tables import Table


def elements(table: Table, n_channels: int, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unpack the compressed matrix.

    Parameters
    ----------
    table : MATRIX table.
    n_channels : number of channels in EBOUNDS.
    first : channel number from which F_CHAN counts.

    Returns
    -------
    energy, channel, values : (n_elements,) table row, channel index and value of every stored element.
    """
    groups = table.column("N_GRP", int)
    rows = np.arange(len(groups))
    if (groups < 0).any():
        raise table.fault(
            "a negative count of groups",
            "N_GRP must be zero or above",
            column="N_GRP",
            row=int(np.flatnonzero(groups < 0)[0]),
        )
    start = _leading(table, "F_CHAN", groups)
    length = _leading(table, "N_CHAN", groups)
    row_of_group = np.repeat(rows, groups)
    if (length < 0).any():
        row = int(row_of_group[np.flatnonzero(length < 0)[0]])
        raise table.fault("a negative count of channels", "N_CHAN must be zero or above", column="N_CHAN", row=row)
    index = start - first
    outside = np.flatnonzero((length > 0) & ((index < 0) | (index + length > n_channels)))
    if outside.size:
        group = int(outside[0])
        raise table.fault(
            f"a group of {length[group]} channels begins at channel {start[group]}, outside the "
            f"{n_channels} channels of EBOUNDS counted from {first}",
            "Correct TLMIN of the column F_CHAN (the number of the first channel), or make the response again",
            column="F_CHAN",
            row=int(row_of_group[group]),
        )
    stored = np.bincount(row_of_group, weights=length, minlength=len(groups)).astype(np.int64)
    values = _leading(table, "MATRIX", stored, np.float64)
    energy = np.repeat(row_of_group, length)
    within = np.arange(len(energy)) - np.repeat(np.cumsum(length) - length, length)
    channel = np.repeat(index, length) + within
    if not np.isfinite(values.sum()) or (values.size and values.min() < 0):
        bad = int(np.flatnonzero(~np.isfinite(values) | (values < 0))[0])
        raise table.fault(
            f"the element {values[bad]} of channel {channel[bad] + first} is negative or not a number",
            "Make the response again",
            column="MATRIX",
            row=int(energy[bad]),
        )
    return energy, channel, values


def _leading(table: Table, column: str, wanted: np.ndarray, dtype: type = np.int64) -> np.ndarray:
    """Return the first `wanted[row]` values of each row of a column, one after the other."""
    flat, lengths = table.flat(column, dtype)
    short = np.flatnonzero(lengths < wanted)
    if short.size:
        row = int(short[0])
        raise table.fault(
            f"the row holds {lengths[row]} values, N_GRP and N_CHAN ask for {wanted[row]}",
            "Make the response again",
            column=column,
            row=row,
        )
    if np.array_equal(lengths, wanted):
        return flat
    position = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return flat[position < np.repeat(wanted, lengths)]
