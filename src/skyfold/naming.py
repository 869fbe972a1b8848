"""Names of parameters in any module that holds them: models, observations, and what these hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

import equinox as eqx
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.parameters import Label, Parameter, is_symbol, parameters_in, written


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


def walk(module: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Every module that owns parameters, depth first, with its path inside the tree; nothing of static fields."""
    if isinstance(module, eqx.Module) and not is_symbol(module):
        if any(True for _ in parameter_fields(module)):
            yield module, path
        for field in fields(module):
            if not field.metadata.get("static", False):
                yield from walk(getattr(module, field.name), (*path, field.name))
    elif isinstance(module, tuple | list | Mapping):
        for step, item in module.items() if isinstance(module, Mapping) else enumerate(module):
            yield from walk(item, (*path, step))


def component_names(
    models: Sequence[Any], observations: Mapping[str, Any] = MappingProxyType({})
) -> dict[tuple[int, tuple[Any, ...]], str]:
    """Name of everything that owns parameters by (place, path); observations stand behind the models.

    Components are called ``powerlaw``, ``powerlaw_2``, ... whether models or observations hold them; one that stands in
    several with the very same parameters keeps the one name. What else an observation holds has the observation's name.
    """
    names: dict[tuple[int, tuple[Any, ...]], str] = {}
    known: dict[Any, str] = {}
    counts: dict[str, int] = {}
    titles = [None] * len(models) + list(observations)
    for index, module in enumerate((*models, *observations.values())):
        fresh: dict[Any, str] = {}
        for component, path in walk(module):
            title = titles[index]
            if title is not None and not _is_component(component):
                names[index, path] = title
                continue
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


def parameter_names(models: Sequence[Any], observations: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Named]:
    """Parameters of models, then of observations by name; shared ones once, in the order in which they are met.

    A parameter takes the name of the first field that holds it; one that stands only inside an expression or a
    prior takes that field's name with its place appended (``powerlaw.norm.loc``). Where observations inside an
    observation have fields of one name, they are counted (``spectrum.offset``, ``spectrum.offset_2``).
    """
    names: dict[str, Named] = {}
    seen: set[int] = set()
    titles = component_names(models, observations)
    _collect(names, seen, titles, list(enumerate(models)), observed=False)
    _collect(names, seen, titles, list(enumerate(observations.values(), len(models))), observed=True)
    return names


def _collect(
    names: dict[str, Named],
    seen: set[int],
    titles: Mapping[tuple[int, tuple[Any, ...]], str],
    modules: list[tuple[int, Any]],
    *,
    observed: bool,
) -> None:
    """Add the parameters of some modules, those inside of expressions and priors last."""
    inner: list[tuple[str, Any]] = []
    for index, module in modules:
        for owner, path in walk(module):
            for field, label, value in parameter_fields(owner):
                if isinstance(value, Parameter) and value.token in seen:
                    continue
                full = f"{titles[index, path]}.{label.name or field}"
                if observed and not _is_component(owner):
                    full = _counted(names, full, value)
                if isinstance(value, Parameter):
                    seen.add(value.token)
                    own = value.label.value
                    label = replace(label, name=own.name, unit=own.unit or label.unit)
                    label = replace(label, description=own.description or label.description)
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


def _is_component(module: Any) -> bool:
    """Whether a module stands in formulas by a name of its own; observations have theirs from the posterior."""
    return hasattr(module, "kind")


def _counted(names: Mapping[str, Named], name: str, value: Any) -> str:
    """Name, or the next one with a number where another value has it already."""
    number, found = 1, name
    while found in names and (isinstance(value, Parameter) or _written(names[found].value) != _written(value)):
        number += 1
        found = f"{name}_{number}"
    return found


def _add_name(names: dict[str, Named], name: str, entry: Named) -> None:
    if name in names:
        raise SkyfoldError(f"Two different parameters are called '{name}'; give one of them another name.")
    names[name] = entry


def _identity(component: Any) -> Any:
    return type(component), component.name, tuple(_written(value) for _, _, value in parameter_fields(component))


def _written(value: Any) -> str:
    """Text that tells values apart, parameters by their tokens."""
    if not is_symbol(value):
        return repr(np.asarray(value).tolist())
    return written(value, {p.token: f"#{p.token}" for p in parameters_in(value)})


def tokens_by_name(names: Mapping[str, Named]) -> dict[int, str]:
    """Names of the free parameters by token."""
    return {entry.value.token: name for name, entry in names.items() if isinstance(entry.value, Parameter)}


def follow(module: Any, path: tuple[Any, ...]) -> Any:
    """What stands at a path inside a tree."""
    for step in path:
        module = getattr(module, step) if isinstance(module, eqx.Module) else module[step]
    return module
