"""Axis: along what the data of an observation lie, and what axes of a figure are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np


@dataclass(frozen=True, eq=False)
class Axis:
    """Where each datum lies, and in which units data and their places are shown.

    Attributes
    ----------
    low, high : (n_data,) ends of the stretch that each datum covers.
    label, unit : what is written along the axis; unit of its numbers in words that astropy reads.
    data_label, data_unit : the same of the data, as they are shown.
    factor : (n_data,) factor from a datum to what is shown, such as a rate; None: data are shown as they are.
    logarithmic : whether ratios count along the axis, not differences.
    """

    low: np.ndarray
    high: np.ndarray
    label: str = "datum"
    unit: str = ""
    data_label: str = "data"
    data_unit: str = ""
    factor: Any = None
    logarithmic: bool = False

    @classmethod
    def numbered(cls, n: int, label: str = "datum", data_label: str = "data", data_unit: str = "") -> Self:
        """Axis of data that have a number, from 1 to n, and no place."""
        place = np.arange(n)
        return cls(place + 0.5, place + 1.5, label, "", data_label, data_unit)

    @classmethod
    def joined(cls, axes: Sequence[Self]) -> Self:
        """Axis of the data of several observations, one after another; numbers where theirs differ."""
        first = axes[0]
        if any(a.described != first.described or a.factor is not None for a in axes):
            return cls.numbered(sum(len(a.low) for a in axes))
        low, high = (np.concatenate([getattr(a, end) for a in axes]) for end in ("low", "high"))
        return replace(first, low=low, high=high)

    @property
    def described(self) -> tuple[Any, ...]:
        """All but the numbers."""
        return self.label, self.unit, self.data_label, self.data_unit, self.logarithmic
