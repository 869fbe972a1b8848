"""Component: one piece of a model of the sky, and the algebra that joins pieces.

A component is a frozen dataclass that is a pytree: its parameters are fields declared with
`skyfold.parameters.parameter`, and one pure method, `evaluate`, computes. Sums and products of components are
components. What `evaluate` takes and returns (energies, pixels, wavelengths) is the domain's affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any, ClassVar, Self

import equinox as eqx
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.naming import Named, follow, parameter_fields, parameter_names, tokens_by_name
from skyfold.parameters import (
    Parameter,
    Value,
    as_parameter,
    check_limits,
    is_symbol,
    parameters_in,
    shape_of,
    substitute,
    written,
)
from skyfold.wording import text_table, unknown_name


class Component(eqx.Module):
    """Base of every component.

    The class attribute ``name`` is the field's name for it, as in ``powerlaw``; its parameters are then
    ``powerlaw.norm`` and so on. ``kind`` is ``"additive"`` (light) or ``"multiplicative"`` (a factor on light).
    """

    name: ClassVar[str] = ""
    kind: ClassVar[str] = "additive"

    def __check_init__(self) -> None:
        for field, label, value in parameter_fields(self):
            check_limits(f"{self.name}.{label.name or field}", value, label)

    def evaluate(self, grid: Any) -> Any:
        """Compute on `grid`; every parameter field is a plain number here."""
        raise NotImplementedError

    def needs(self, grid: np.ndarray, whole: np.ndarray) -> np.ndarray:
        """Grid to evaluate on, so that the values on `grid` are right.

        Parameters
        ----------
        grid : (n + 1,) where values are wanted, a stretch of `whole`.
        whole : (m + 1,) all there is, as a detector's file has it.

        Returns
        -------
        (k + 1,) array
            Holds `grid` as a stretch; operators that smear light ask for more on both sides, beyond `whole`, too.
        """
        wanted = grid
        for part, _ in _children(self):
            asked = part.needs(grid, whole)
            wanted = np.concatenate([asked[asked < wanted[0]], wanted, asked[asked > wanted[-1]]])
        return wanted

    # -- algebra -------------------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Component:
        if not isinstance(other, Component):
            return NotImplemented
        return self._sum((*_parts(self, Sum), *_parts(other, Sum)))

    def __mul__(self, other: Any) -> Component:
        if not isinstance(other, Component):
            return NotImplemented
        *before, last = _parts(self, Product)
        if isinstance(last, Operator) and last.kind == "operator":
            return self._product((*before, last(other))) if before else last(other)
        return self._product((*_parts(self, Product), *_parts(other, Product)))

    @classmethod
    def _sum(cls, parts: tuple[Component, ...]) -> Component:
        return Sum(parts)

    @classmethod
    def _product(cls, parts: tuple[Component, ...]) -> Component:
        return Product(parts)

    # -- parameters ----------------------------------------------------------------------------------------------

    def with_values(self, values: Mapping[str, float]) -> Self:
        """Copy with the named parameters fixed at numbers, wherever they stand.

        Raises
        ------
        SkyfoldError
            If a name is not a parameter of this model.
        """
        checked: dict[str, Any] = {}
        for name, value in _items(values, "with_values").items():
            try:
                checked[name] = float(value)
            except (TypeError, ValueError) as error:
                raise SkyfoldError(
                    f"with_values: '{name}' needs a number, not {value!r}; priors go to with_priors."
                ) from error
            if not np.isfinite(checked[name]):
                raise SkyfoldError(f"with_values: '{name}' must be finite, not {value!r}.")
        return self._with(checked)

    def with_priors(self, priors: Mapping[str, Any]) -> Self:
        """Copy with the named parameters under other priors; a fixed one becomes free, a number fixes.

        Raises
        ------
        SkyfoldError
            If a name is not a parameter of this model.
        """
        return self._with(_items(priors, "with_priors"))

    def _with(self, changes: dict[str, Any]) -> Self:
        names = parameter_names([self])
        tokens: dict[int, Any] = {}
        model = self
        for name, value in changes.items():
            entry = names.get(name)
            if entry is None:
                raise unknown_name(name, names, "parameter")
            new = _renewed(name, value, entry)
            if isinstance(entry.value, Parameter):
                tokens[entry.value.token] = new
            else:
                model = eqx.tree_at(partial(follow, path=entry.path), model, new, is_leaf=is_symbol)

        def renew(node: Any) -> Any:
            if not isinstance(node, Parameter):
                return node
            if node.token in tokens:
                return tokens[node.token]
            # the arguments of a prior may be parameters themselves
            inner = any(p.token in tokens for p in parameters_in(node.prior))
            return eqx.tree_at(lambda p: p.prior, node, substitute(node.prior, renew)) if inner else node

        return substitute(model, renew)

    @property
    def parameters(self) -> dict[str, Value]:
        """Parameters by name: a `Parameter`, an expression, or the number it is fixed at."""
        return {name: entry.value for name, entry in parameter_names([self]).items()}

    @property
    def free_parameters(self) -> tuple[str, ...]:
        """Names of the parameters that are not fixed."""
        return tuple(n for n, v in self.parameters.items() if isinstance(v, Parameter))

    # -- what it looks like --------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return self.name

    def latex(self) -> str:
        """Return the expression in LaTeX."""
        return rf"\mathrm{{{self.name}}}".replace("_", r"\_")

    def _repr_latex_(self) -> str:
        return f"${self.latex()}$"

    def __str__(self) -> str:
        """Return the expression, then the table of its parameters."""
        return f"{self!r}\n{self.table()}"

    def table(self) -> str:
        """Return the parameters as a text table: name, unit, prior or value, description."""
        names = parameter_names([self])
        tokens = tokens_by_name(names)
        rows = [
            (name, entry.label.unit, _shown(entry.value, tokens), entry.label.description)
            for name, entry in names.items()
        ]
        return text_table(("parameter", "unit", "prior or value", "description"), rows)

    def tree(self) -> str:
        """Return the structure of the model as an indented tree."""
        return "\n".join(_tree_lines(self, "", ""))


class _Composite(Component):
    parts: tuple[Component, ...]

    @property
    def kind(self) -> str:  # type: ignore[override]
        kinds = {p.kind for p in self.parts}
        return next((k for k in ("operator", "additive") if k in kinds), "multiplicative")


class Sum(_Composite):
    """Sum of components of one kind."""

    name: ClassVar[str] = "sum"

    def __check_init__(self) -> None:
        for part in self.parts:
            if part.kind == "operator":
                raise SkyfoldError(f"'{part!r}' acts on nothing yet; write {part!r}*component or {part!r}(component).")
        if len({p.kind for p in self.parts}) > 1:
            light = next(p for p in self.parts if p.kind == "additive")
            factor = next(p for p in self.parts if p.kind != "additive")
            raise SkyfoldError(
                f"'{light!r} + {factor!r}' adds light and a dimensionless factor; multiply the factor with an "
                "additive component first."
            )

    def evaluate(self, grid: Any) -> Any:
        return sum((p.evaluate(grid) for p in self.parts[1:]), start=self.parts[0].evaluate(grid))

    def __repr__(self) -> str:
        return " + ".join(repr(p) for p in self.parts)

    def latex(self) -> str:
        return " + ".join(p.latex() for p in self.parts)


class Product(_Composite):
    """Product of components, of which one at most is additive."""

    name: ClassVar[str] = "product"

    def __check_init__(self) -> None:
        light = [p for p in self.parts if p.kind == "additive"]
        if len(light) > 1:
            raise SkyfoldError(
                f"'{light[0]!r}' and '{light[1]!r}' are both additive: light times light has no meaning; add them."
            )

    def evaluate(self, grid: Any) -> Any:
        result = self.parts[0].evaluate(grid)
        for part in self.parts[1:]:
            result = result * part.evaluate(grid)
        return result

    def __repr__(self) -> str:
        return "*".join(f"({p!r})" if isinstance(p, Sum) else repr(p) for p in self.parts)

    def latex(self) -> str:
        shown = (rf"\left({p.latex()}\right)" if isinstance(p, Sum) else p.latex() for p in self.parts)
        return r" \times ".join(shown)


class Operator(Component):
    """Takes a component and gives one: a shift, a smoothing, a flux as a parameter.

    It acts on what it is called with or multiplied to, ``shift(powerlaw + gaussian)`` or ``shift*powerlaw``; several
    act one after the other, the rightmost first. A subclass declares its parameters and writes `evaluate`, which
    evaluates ``self.inner`` where it likes; one that smears light asks for a wider grid, see `needs`.

    Attributes
    ----------
    inner : what it acts on, None before.
    linear : whether it acts on a sum as on each of its terms.
    """

    linear: ClassVar[bool] = True
    inner: Component | None = eqx.field(default=None, kw_only=True)

    @property
    def kind(self) -> str:  # type: ignore[override]
        return "operator" if self.inner is None else self.inner.kind

    def __call__(self, component: Component) -> Self:
        """Act on a component.

        Raises
        ------
        SkyfoldError
            If it acts on something already, or `component` has no light.
        """
        if self.inner is not None and self.kind != "operator":
            raise SkyfoldError(f"'{self!r}' acts on something already; multiply with +, * and brackets instead.")
        if component.kind == "multiplicative":
            raise SkyfoldError(
                f"'{self!r}' acts on light, and '{component!r}' is a factor without any; write "
                f"{self!r}*({component!r}*...)."
            )
        return replace(self, inner=component if self.inner is None else self.inner * component)

    def __repr__(self) -> str:
        return self.name if self.inner is None else f"{self.name}({self.inner!r})"

    def latex(self) -> str:
        return super().latex() + ("" if self.inner is None else rf"\left({self.inner.latex()}\right)")


def _items(given: Any, method: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise SkyfoldError(f"{method} takes a dictionary of names, such as {{'powerlaw.norm': ...}}, not {given!r}.")
    return dict(given)


def _renewed(name: str, value: Any, entry: Named) -> Any:
    """What stands in a parameter's place from now on: of its unit, and under its own name where it had one."""
    try:
        new = as_parameter(value, entry.label.unit, entry.label.description)
    except SkyfoldError as error:
        raise SkyfoldError(f"'{name}': {error}") from error
    check_limits(name, new, entry.label)
    if shape_of(new) != shape_of(entry.value):
        raise SkyfoldError(
            f"'{name}' has the shape {shape_of(entry.value)}, but what is given for it has {shape_of(new)}; give a "
            "prior or number of the same shape."
        )
    if isinstance(new, Parameter) and new is not value and entry.label.name:
        return Parameter(new.prior, entry.label.name, entry.label.unit, entry.label.description)
    return new


def _parts(component: Component, of: type[_Composite]) -> tuple[Component, ...]:
    return component.parts if isinstance(component, of) else (component,)


# -- names -----------------------------------------------------------------------------------------------------------


# -- text ------------------------------------------------------------------------------------------------------------


def _shown(value: Any, tokens: Mapping[int, str]) -> str:
    if is_symbol(value):
        return written(value.prior if isinstance(value, Parameter) else value, tokens)
    return f"{value:g} (fixed)" if isinstance(value, float) else "fixed array"


def _tree_lines(component: Component, lead: str, branch: str) -> Iterator[str]:
    yield lead + component.name
    children = [c for c, _ in _children(component)]
    for number, child in enumerate(children, start=1):
        last = number == len(children)
        yield from _tree_lines(child, branch + ("└─ " if last else "├─ "), branch + ("   " if last else "│  "))


def _children(component: Component) -> Iterator[tuple[Component, str]]:
    for field in fields(component):
        value = getattr(component, field.name)
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, Component):
                yield item, field.name
