"""Terms: the pieces of light that a model is made of, each with the factors on it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax.numpy as jnp

from skyfold.component import Component, Operator, Product, Sum


@dataclass(frozen=True)
class Term:
    """An additive component inside a model: its path in the tree, itself, and what acts on it.

    Attributes
    ----------
    path : fields and numbers that lead to it.
    component : the light.
    around : factors and operators that act on it, the outermost first.
    """

    path: tuple[Any, ...]
    component: Component
    around: tuple[Component, ...]

    @property
    def factors(self) -> tuple[Component, ...]:
        """The factors that multiply it, inside operators or outside."""
        return tuple(a for a in self.around if a.kind != "operator")

    def model(self, *, factors: bool = True) -> Component:
        """Model of this component alone.

        Parameters
        ----------
        factors : keep all multiplicative components; without, only those with a true attribute ``intrinsic``, which
            belong to the source (a cutoff) and not to what lies before it (absorption). Operators stay.
        """
        model = self.component
        for one in reversed(self.around):
            if one.kind == "operator" or factors or getattr(one, "intrinsic", False):
                model = one * model
        return model


class Share(Operator):
    """Share of a component in what an operator that is not linear makes of the sum it stands in."""

    name: ClassVar[str] = "share"
    whole: Operator

    def evaluate(self, grid: Any) -> Any:
        assert self.inner is not None and self.whole.inner is not None
        total = self.whole.inner.evaluate(grid)
        some = total != 0
        return jnp.where(some, self.inner.evaluate(grid) / jnp.where(some, total, 1.0), 0.0) * self.whole.evaluate(grid)


def terms(model: Component, path: tuple[Any, ...] = (), around: tuple[Component, ...] = ()) -> Iterator[Term]:
    """Additive components of a model, in order, each with what acts on it; products, sums and operators are opened."""
    if isinstance(model, Product):
        outer = tuple(p for p in model.parts if p.kind != "additive")
        for index, part in enumerate(model.parts):
            if part.kind == "additive":
                yield from terms(part, (*path, "parts", index), (*around, *outer))
    elif isinstance(model, Sum):
        for index, part in enumerate(model.parts):
            yield from terms(part, (*path, "parts", index), around)
    elif isinstance(model, Operator) and model.inner is not None:
        own = replace(model, inner=None) if model.linear else Share(model)
        yield from terms(model.inner, (*path, "inner"), (*around, own))
    else:
        yield Term(path, model, around)


def select(model: Component, path: tuple[Any, ...] | None, *, factors: bool = True) -> Component:
    """Part of a model: one additive component (all where `path` is None), with or without its factors."""
    if path is None and factors:
        return model
    chosen = [t.model(factors=factors) for t in terms(model) if path is None or t.path == path]
    return functools.reduce(operator.add, chosen)
