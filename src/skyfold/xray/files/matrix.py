"""Unpack the compressed redistribution matrix of an RMF, in whatever layout, without a loop over its rows."""

from __future__ import annotations

import warnings

import numpy as np

from skyfold.errors import ResponseWarning
from skyfold.xray.files.fits_tables import Table

#: Rows whose negative elements outweigh the positive ones are refused, unless by less than this part of the fullest
#: row.
NEGATIVE = 1e-3


def elements(table: Table, bounds: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unpack the compressed matrix.

    Parameters
    ----------
    table : MATRIX table.
    bounds : (n_channels, 2) energies of the channels, keV.
    label : number of the first channel in EBOUNDS.

    Returns
    -------
    energy, channel, values : (n_elements,) table row, channel index and value of every stored element.
    """
    groups = table.column("N_GRP", int)
    if (groups < 0).any():
        raise table.fault(
            "a negative count of groups",
            "N_GRP must be zero or above",
            column="N_GRP",
            row=int(np.flatnonzero(groups < 0)[0]),
        )
    start = _leading(table, "F_CHAN", groups)
    length = _leading(table, "N_CHAN", groups)
    row_of_group = np.repeat(np.arange(len(groups)), groups)
    if (length < 0).any():
        row = int(row_of_group[np.flatnonzero(length < 0)[0]])
        raise table.fault("a negative count of channels", "N_CHAN must be zero or above", column="N_CHAN", row=row)
    stored = np.bincount(row_of_group, weights=length, minlength=len(groups)).astype(np.int64)
    values = _leading(table, "MATRIX", stored, np.float64) * table.factor("MATRIX", "", "cm2")
    energy = np.repeat(row_of_group, length)
    number = np.repeat(start, length) + np.arange(len(energy)) - np.repeat(np.cumsum(length) - length, length)
    first = _counted_from(table, bounds, label, energy, number, values)
    outside = np.flatnonzero((number < first) | (number >= first + len(bounds)))
    if outside.size:
        raise table.fault(
            f"a group reaches channel {number[outside[0]]}, outside the {len(bounds)} channels of EBOUNDS counted from "
            f"{first}",
            "Correct TLMIN of the column F_CHAN (the number of the first channel), or make the response again",
            column="F_CHAN",
            row=int(energy[outside[0]]),
        )
    _mostly_positive(table, energy, number, values)
    return energy, number - first, values


def _counted_from(
    table: Table, bounds: np.ndarray, label: int, energy: np.ndarray, number: np.ndarray, values: np.ndarray
) -> int:
    """Return the channel number from which F_CHAN counts.

    TLMIN of F_CHAN says it. Where it is missing, or is off by one and puts elements outside the channels, it is the
    number of the first channel in EBOUNDS, or 1 (OGIP's default) where only so the rows peak at their own energies.
    """
    said = table.first_channel("F_CHAN")
    if number.size == 0:
        return label if said is None else said

    def inside(first: int) -> bool:
        return bool(first <= number.min() and number.max() < first + len(bounds))

    if said is not None and (inside(said) or not inside(label) or abs(said - label) > 1):
        return said
    chosen = label
    if said is None and inside(1) and label != 1:
        near = _aside(table, bounds, energy, number - 1, values)
        if not inside(label) or near < _aside(table, bounds, energy, number - label, values) - 0.5:
            chosen = 1
    if chosen != (label if said is None else said):
        why = "it has no TLMIN" if said is None else f"its TLMIN = {said} would put elements outside the channels"
        warnings.warn(
            f"{table.path}: HDU {table.name}, column F_CHAN: {why}; it is counted from {chosen}, which fits EBOUNDS",
            ResponseWarning,
            stacklevel=5,
        )
    return chosen


def _aside(table: Table, bounds: np.ndarray, energy: np.ndarray, channel: np.ndarray, values: np.ndarray) -> float:
    """Return how many channels the peaks of the rows lie from the rows' own energies, in the median."""
    order = np.lexsort((-values, energy))
    peak = order[np.flatnonzero(np.diff(energy[order], prepend=-1))]
    peak = peak[values[peak] > 0]
    ends = [table.column(name) * table.factor(name, "keV") for name in ("ENERG_LO", "ENERG_HI")]
    middle, width = bounds[channel[peak]].mean(axis=1), np.ptp(bounds[channel[peak]], axis=1)
    apart = np.abs(middle - np.mean(ends, axis=0)[energy[peak]]) / np.where(width > 0, width, np.inf)
    return float(np.median(apart)) if apart.size else np.inf


def _mostly_positive(table: Table, energy: np.ndarray, number: np.ndarray, values: np.ndarray) -> None:
    """Refuse elements that are no numbers and rows below zero as a whole; say how much is below zero otherwise."""
    wrong, below = ~np.isfinite(values), values < 0
    share = 0.0
    if below.any():
        lost, held = (np.bincount(energy, np.maximum(sign * values, 0)) for sign in (-1, 1))
        wrong |= below & (lost - held > NEGATIVE * np.max(held, where=np.isfinite(held), initial=0.0))[energy]
        share = float(np.max(lost[lost > 0] / np.maximum(held[lost > 0], 1e-300)))
    if wrong.any():
        bad = int(np.flatnonzero(wrong)[0])
        raise table.fault(
            f"the element {values[bad]} of channel {number[bad]} is not a number, or negative in a row whose negative "
            "elements outweigh the positive ones",
            "Make the response again",
            column="MATRIX",
            row=int(energy[bad]),
        )
    if below.any():
        warnings.warn(
            f"{table.path}: HDU {table.name}, column MATRIX: {below.sum()} elements are negative, the lowest "
            f"{values.min():.3g}, and take up to {share:.2g} of what is positive in their row; they are kept",
            ResponseWarning,
            stacklevel=4,
        )


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
