"""Terms: the pieces of light that a model is made of, each with the factors on it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from skyfold.component import Component, Product, Sum


@dataclass(frozen=True)
class Term:
    """An additive component inside a model: its path in the tree, itself, and the factors that multiply it."""

    path: tuple[Any, ...]
    component: Component
    factors: tuple[Component, ...]

    def model(self, *, factors: bool = True) -> Component:
        """Model of this component alone.

        Parameters
        ----------
        factors : keep all multiplicative components; without, only those with a true attribute ``intrinsic``, which
            belong to the source (a cutoff) and not to what lies before it (absorption).
        """
        kept = [f for f in self.factors if factors or getattr(f, "intrinsic", False)]
        return functools.reduce(operator.mul, [*kept, self.component])


def terms(model: Component, path: tuple[Any, ...] = (), factors: tuple[Component, ...] = ()) -> Iterator[Term]:
    """Additive components of a model, in order, each with its factors; what a Product or Sum holds is opened."""
    if isinstance(model, Product):
        outer = tuple(p for p in model.parts if p.kind != "additive")
        for index, part in enumerate(model.parts):
            if part.kind == "additive":
                yield from terms(part, (*path, "parts", index), (*factors, *outer))
    elif isinstance(model, Sum):
        for index, part in enumerate(model.parts):
            yield from terms(part, (*path, "parts", index), factors)
    else:
        yield Term(path, model, factors)


def select(model: Component, path: tuple[Any, ...] | None, *, factors: bool = True) -> Component:
    """Part of a model: one additive component (all where `path` is None), with or without its factors."""
    if path is None and factors:
        return model
    chosen = [t.model(factors=factors) for t in terms(model) if path is None or t.path == path]
    return functools.reduce(operator.add, chosen)
