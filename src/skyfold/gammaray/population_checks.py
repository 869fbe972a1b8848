"""Whether the parameters of a population of point sources make sense everywhere in the support of their priors."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.gammaray.point_sources import PointSources
from skyfold.naming import walk
from skyfold.parameters import Expression, Parameter, is_symbol

_INFINITE = (
    "or limit S, by the same s_range=(0.1, 100) of the point sources and of the map ([point_sources] s_range in a file)"
)


def check_populations(model: Any) -> None:
    """Raise `SkyfoldError` where a population has infinite flux, breaks out of order, or negative counts.

    Such a function of S cannot be brought to the mean counts Sps: without this the sources would silently be off.
    """
    for component, _ in walk(model):
        if isinstance(component, PointSources):
            _check(component)


def _check(sources: PointSources) -> None:
    limits: list[tuple[str, float, float, str, str]] = [
        ("Sps", 0.0, np.inf, "mean counts are not negative", "cut the prior at zero"),
        ("Sb1", 0.0, np.inf, "a break in counts is positive", "cut the prior at zero"),
        ("lam", 0.0, 1.0, "the breaks Sb1 and lambda Sb1 must fall in this order", "keep lambda between 0 and 1"),
    ]
    if sources.s_range is None:
        bright = "over all S the flux of bright sources is infinite unless n1 is above 2"
        faint = "over all S the flux of faint sources is infinite unless n3 is below 2"
        limits.append(("n1", 2.0, np.inf, bright, f"keep n1 above 2, as in sf.Uniform(2.1, 8), {_INFINITE}"))
        limits.append(("n3", -np.inf, 2.0, faint, f"keep n3 below 2, as in sf.Uniform(-8, 1.9), {_INFINITE}"))
    for field, low, high, why, cure in limits:
        value = getattr(sources, field)
        smallest, largest = reach(value)
        # the end itself has no mass under a prior
        inside = low <= smallest <= largest <= high if is_symbol(value) else low < smallest <= largest < high
        if field == "Sps":
            inside = smallest >= 0
        if not inside:
            at = smallest if smallest < low or (smallest == low and not is_symbol(value)) else largest
            name = "lambda" if field == "lam" else field
            raise SkyfoldError(
                f"'{sources.name}': {name} {'reaches' if is_symbol(value) else 'is'} {at:g}, but {why}; {cure}."
            )


def reach(value: Any) -> tuple[float, float]:
    """Lowest and highest value that a number, parameter or expression takes in the support of its priors.

    Of an expression, over the corners of the support of what stands in it.
    """
    if isinstance(value, Parameter):
        low, high = (reach(limit) for limit in value.prior.support())
        return low[0], high[1]
    if isinstance(value, Expression):
        with np.errstate(all="ignore"):
            corners = [
                float(np.asarray(value.evaluate(corner))) for corner in product(*(reach(v) for v in value.operands))
            ]
        return float(np.nanmin(corners)), float(np.nanmax(corners))
    numbers = np.asarray(value, dtype=np.float64)
    return float(numbers.min()), float(numbers.max())
