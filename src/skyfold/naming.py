"""Names of parameters in any module that holds them: models, observations, and what these hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
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
    """Every module that owns parameters, depth first, with its path inside the tree."""
    if isinstance(module, eqx.Module) and not is_symbol(module):
        if any(True for _ in parameter_fields(module)):
            yield module, path
        for field in fields(module):
            if not field.metadata.get("static", False):
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


def _identity(component: Any) -> Any:
    values = []
    for _, _, value in parameter_fields(component):
        names = {p.token: f"#{p.token}" for p in parameters_in(value)}
        values.append(written(value, names) if is_symbol(value) else repr(np.asarray(value).tolist()))
    return type(component), component.name, tuple(values)


def tokens_by_name(names: Mapping[str, Named]) -> dict[int, str]:
    """Names of the free parameters by token."""
    return {entry.value.token: name for name, entry in names.items() if isinstance(entry.value, Parameter)}


def _follow(module: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        module = module[step] if isinstance(step, int) else getattr(module, step)
    return module
