"""Which components there are, by XSPEC's names, and what each has for parameters."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from skyfold.component import Operator
from skyfold.errors import SkyfoldError
from skyfold.parameters import Label
from skyfold.wording import text_table
from skyfold.xray.models.spectral import SpectralModel

_Kind = TypeVar("_Kind", bound=type[SpectralModel])

#: Component classes by name, families in the order in which the package imports them.
COMPONENTS: dict[str, type[SpectralModel]] = {}


def register(cls: _Kind) -> _Kind:
    """Class decorator: expressions, lists and the documentation know the component by its ``name`` from now on.

    Raises
    ------
    SkyfoldError
        If a component of another file has that name.
    """
    known = COMPONENTS.setdefault(cls.name, cls)
    if known.__module__ != cls.__module__:
        raise SkyfoldError(f"'{cls.name}' is the name of {known.__module__}.{known.__qualname__} already.")
    COMPONENTS[cls.name] = cls
    return cls


#: XSPEC's convolution models: their names are taken, but skyfold has none of them yet.
CONVOLUTIONS = frozenset(
    "cflux cglumin clumin cpflux gsmooth ireflect kdblur kdblur2 kerrconv kyconv lsmooth partcov rdblur reflect "
    "rfxconv rgsxsrc simpl thcomp vashift vmshift xilconv zashift zmshift".split()
)


def component_class(name: str) -> type[SpectralModel]:
    """Class of a component by its name; upper case and abbreviations of two letters or more will do.

    Parameters
    ----------
    name : str
        Such as ``"powerlaw"``, ``"TBabs"`` or ``"pow"``.

    Raises
    ------
    SkyfoldError
        If no component is called so, or an abbreviation fits several.
    """
    wanted = name.lower()
    if wanted in COMPONENTS:
        return COMPONENTS[wanted]
    if wanted in CONVOLUTIONS:
        raise SkyfoldError(f"'{wanted}' is a convolution model; those are not available yet.")
    fitting = [known for known in COMPONENTS if known.startswith(wanted)] if len(wanted) > 1 else []
    if len(fitting) == 1:
        return COMPONENTS[fitting[0]]
    if fitting:
        raise SkyfoldError(f"'{name}' may stand for {' or '.join(fitting)}; write more of the name.")
    near = difflib.get_close_matches(wanted, COMPONENTS, n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(COMPONENTS)}."
    raise SkyfoldError(f"There is no component '{name}'. {hint}")


@dataclass(frozen=True)
class ParameterDescription:
    """Name, unit, description and default (a prior or a number) of a component's parameter."""

    name: str
    unit: str
    description: str
    default: Any

    @property
    def shown(self) -> str:
        """The default as tables show it."""
        return f"{self.default:g} (fixed)" if isinstance(self.default, float) else repr(self.default)


def component_summary(cls: type[SpectralModel]) -> str:
    """One line that says what a component is."""
    return (cls.__doc__ or "").strip().splitlines()[0].rstrip(".")


def component_kind(cls: type[SpectralModel]) -> str:
    """Which of additive, multiplicative or operator a component is."""
    return "operator" if issubclass(cls, Operator) else cls.kind


def component_parameters(cls: type[SpectralModel]) -> tuple[ParameterDescription, ...]:
    """Parameters of a component in XSPEC's order."""
    described = []
    for field in fields(cls):
        label: Label | None = field.metadata.get("parameter")
        if label is not None:
            described.append(
                ParameterDescription(label.name or field.name, label.unit, label.description, field.default)
            )
    return tuple(described)


def component_list() -> str:
    """Table of all components: name, kind, what it is."""
    rows = [(name, component_kind(cls), component_summary(cls)) for name, cls in COMPONENTS.items()]
    return text_table(("component", "kind", "what it is"), rows)


def component_description(name: str) -> str:
    """Text on one component: summary, table of parameters with default priors, then its documentation.

    Raises
    ------
    SkyfoldError
        If no component is called so.
    """
    import inspect

    cls = component_class(name)
    rows = [(p.name, p.unit, p.shown, p.description) for p in component_parameters(cls)]
    table = text_table(("parameter", "unit", "default prior or value", "description"), rows)
    return f"{cls.name} ({component_kind(cls)}): {component_summary(cls)}\n\n{table}\n\n{inspect.getdoc(cls)}"
