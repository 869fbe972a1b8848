"""Component: one piece of a model of the sky, and the algebra that joins pieces.

A component is a frozen dataclass that is a pytree: its parameters are fields declared with
`skyfold.parameters.parameter`, and one pure method, `evaluate`, computes. Sums and products of components are
components. What `evaluate` takes and returns (energies, pixels, wavelengths) is the domain's affair.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar, Self

import equinox as eqx
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.parameters import (
    Label,
    Parameter,
    Value,
    as_parameter,
    is_symbol,
    parameters_in,
    shape_of,
    substitute,
    written,
)


class Component(eqx.Module):
    """Base of every component.

    The class attribute ``name`` is the field's name for it, as in ``powerlaw``; its parameters are then
    ``powerlaw.PhoIndex`` and so on. ``kind`` is ``"additive"`` (light) or ``"multiplicative"`` (a factor on light).
    """

    name: ClassVar[str] = ""
    kind: ClassVar[str] = "additive"

    def evaluate(self, grid: Any) -> Any:
        """Compute on `grid`; every parameter field is a plain number here."""
        raise NotImplementedError

    # -- algebra -------------------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Component:
        if not isinstance(other, Component):
            return NotImplemented
        return self._sum((*_parts(self, Sum), *_parts(other, Sum)))

    def __mul__(self, other: Any) -> Component:
        if not isinstance(other, Component):
            return NotImplemented
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
                model = eqx.tree_at(partial(_follow, path=entry.path), model, new, is_leaf=is_symbol)

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
        return "additive" if any(p.kind == "additive" for p in self.parts) else "multiplicative"


class Sum(_Composite):
    """Sum of components of one kind."""

    name: ClassVar[str] = "sum"

    def __check_init__(self) -> None:
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


def _items(given: Any, method: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise SkyfoldError(
            f"{method} takes a dictionary of names, such as {{'powerlaw.PhoIndex': ...}}, not {given!r}."
        )
    return dict(given)


def _renewed(name: str, value: Any, entry: Named) -> Any:
    """What stands in a parameter's place from now on: of its unit, and under its own name where it had one."""
    try:
        new = as_parameter(value, entry.label.unit, entry.label.description)
    except SkyfoldError as error:
        raise SkyfoldError(f"'{name}': {error}") from error
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


@dataclass(frozen=True)
class Named:
    """A parameter field as the names see it: its value, label and path inside the tree."""

    value: Any
    label: Label
    path: tuple[Any, ...]


def parameter_fields(module: eqx.Module) -> Iterator[tuple[str, Label, Any]]:
    """Fields of a component or observation that were declared with `parameter`: attribute, label, value."""
    for field in fields(module):
        label = field.metadata.get("parameter")
        if label is not None:
            yield field.name, label, getattr(module, field.name)


def walk(module: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Component, tuple[Any, ...]]]:
    """Every component that owns parameters, depth first, with its path inside the tree."""
    if isinstance(module, Component):
        if any(True for _ in parameter_fields(module)):
            yield module, path
        for field in fields(module):
            yield from walk(getattr(module, field.name), (*path, field.name))
    elif isinstance(module, tuple | list):
        for index, item in enumerate(module):
            yield from walk(item, (*path, index))


def component_names(models: list[Any]) -> dict[tuple[int, tuple[Any, ...]], str]:
    """Name of every component by (model, path): ``powerlaw``, ``powerlaw_2``, ...

    A component that stands in several models with the very same parameters keeps the one name.
    """
    names: dict[tuple[int, tuple[Any, ...]], str] = {}
    known: dict[Any, str] = {}
    counts: dict[str, int] = {}
    for index, model in enumerate(models):
        fresh: dict[Any, str] = {}
        for component, path in walk(model):
            identity = _identity(component)
            name = known.get(identity)
            if name is None or name in (n for (i, _), n in names.items() if i == index):
                counts[component.name] = counts.get(component.name, 0) + 1
                number = counts[component.name]
                name = component.name if number == 1 else f"{component.name}_{number}"
                fresh[identity] = name
            names[index, path] = name
        known.update(fresh)
    return names


def parameter_names(models: list[Any]) -> dict[str, Named]:
    """Parameters of several models by name, shared ones once, in the order in which they are met.

    A parameter takes the name of the first field that holds it; one that stands only inside an expression or a
    prior takes that field's name with its place appended (``powerlaw.norm.loc``).
    """
    names: dict[str, Named] = {}
    seen: set[int] = set()
    inner: list[tuple[str, Any]] = []
    components = component_names(models)
    for index, model in enumerate(models):
        for component, path in walk(model):
            for field, label, value in parameter_fields(component):
                full = f"{components[index, path]}.{label.name or field}"
                if isinstance(value, Parameter):
                    if value.token in seen:
                        continue
                    seen.add(value.token)
                    own = value.label.value
                    label = Label(own.name, own.unit or label.unit, own.description or label.description)
                    _add_name(names, own.name or full, Named(value, label, (*path, field)))
                    inner.extend((f"{full}.{a}", v) for a, v in value.prior.arguments() if is_symbol(v))
                elif full not in names:
                    names[full] = Named(value, label, (*path, field))
                    if is_symbol(value):
                        inner.append((full, value))
    for full, value in inner:
        free = [p for p in parameters_in(value) if p.token not in seen]
        for number, p in enumerate(dict((p.token, p) for p in free).values(), start=1):
            seen.add(p.token)
            own = p.label.value
            place = full if value is p else f"{full}.{number}"
            _add_name(names, own.name or place, Named(p, Label(own.name, own.unit, own.description), ()))
    return names


def _add_name(names: dict[str, Named], name: str, entry: Named) -> None:
    if name in names:
        raise SkyfoldError(f"Two different parameters are called '{name}'; give one of them another name.")
    names[name] = entry


def _identity(component: Component) -> Any:
    values = []
    for _, _, value in parameter_fields(component):
        names = {p.token: f"#{p.token}" for p in parameters_in(value)}
        values.append(written(value, names) if is_symbol(value) else repr(np.asarray(value).tolist()))
    return type(component), component.name, tuple(values)


def unknown_name(name: str, known: Any, what: str) -> SkyfoldError:
    """Error for a name that is not among `known`, with the nearest ones."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    return SkyfoldError(f"'{name}' is no {what} here. {hint}Known: {', '.join(known) or 'none'}.")


def _follow(module: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        module = module[step] if isinstance(step, int) else getattr(module, step)
    return module


# -- text ------------------------------------------------------------------------------------------------------------


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text under a header, aligned."""
    widths = [max(len(r[i]) for r in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in [header, *rows]]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def tokens_by_name(names: Mapping[str, Named]) -> dict[int, str]:
    """Names of the free parameters by token."""
    return {entry.value.token: name for name, entry in names.items() if isinstance(entry.value, Parameter)}


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
