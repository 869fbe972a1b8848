"""From an expression, priors and values to one model per spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx

from skyfold.component import Component, Product
from skyfold.errors import SkyfoldError
from skyfold.naming import parameter_names, walk
from skyfold.parameters import Parameter, as_prior, check_limits, is_symbol
from skyfold.wording import unknown_name


def build_models(
    expression: str,
    n: int,
    priors: Mapping[str, Any],
    values: Mapping[str, float],
    redshift: float | None = None,
    **tables: str,
) -> list[Component]:
    """Build the models of `n` spectra that are fitted jointly.

    All share every parameter, except that a leading ``constant`` factor of the expression belongs to each spectrum:
    that of the first is fixed to 1 unless a prior or value names it, those of the others are free and are called
    ``constant_2.factor`` and so on (counting on from further constants inside the expression).

    Parameters
    ----------
    expression : in XSPEC's language.
    n : number of spectra.
    priors, values : by name of the parameter.
    redshift : value of every parameter called ``Redshift``.
    tables : what `skyfold.xray.model` takes besides.

    Raises
    ------
    SkyfoldError
        If the expression or a name is wrong, or a parameter is given more than once.
    """
    from skyfold import xray

    twice = [name for name in priors if name in values]
    if twice:
        raise SkyfoldError(f"'{twice[0]}' is given both a prior and a value; give one of them.")
    for name, prior in priors.items():
        if prior.shape != ():
            raise SkyfoldError(f"The prior of '{name}' is one of {prior.shape[0]} values, {prior!r}; it is one number.")
    model = xray.model(expression, **tables)
    if model.kind != "additive":
        raise SkyfoldError(f"'{expression}' is a factor without any light; multiply it with an additive component.")
    inside = parameter_names([model])
    redshifts = _redshifts(model, redshift)
    twice = [name for name in redshifts if name in priors or name in values]
    if twice:
        kind = "prior" if twice[0] in priors else "value"
        raise SkyfoldError(
            f"'{twice[0]}' is given both by the redshift {redshift:g} of every component and by a {kind} of its own; "
            "give one of them."
        )
    changes: dict[str, Any] = {**redshifts, **priors, **values}
    scales = _scale_names(model, n)
    for name in changes:
        if name not in inside and name not in scales:
            raise unknown_name(name, [*inside, *scales], "parameter")
    if _has_scale(model):
        changes.setdefault("constant.factor", 1.0)
    shared = model.with_priors({name: value for name, value in changes.items() if name in inside})
    return [shared, *(_scaled(shared, name, changes.get(name)) for name in scales), *([shared] * (n - 1 - len(scales)))]


def _has_scale(model: Component) -> bool:
    return isinstance(model, Product) and model.parts[0].name == "constant"


def _scale_names(model: Component, n: int) -> list[str]:
    """Names of the leading constants of the second spectrum and those after it."""
    if not _has_scale(model):
        return []
    constants = sum(component.name == "constant" for component, _ in walk(model))
    return [f"constant_{constants + k}.factor" for k in range(1, n)]


def _scaled(model: Component, name: str, value: Any) -> Component:
    """Copy of a model with a leading constant of its own: a prior, a number, or the default prior."""
    from skyfold.xray.models import Constant

    default = Constant().value
    prior = default.prior if value is None else as_prior(value)
    label = default.label.value
    new = value if prior is None else Parameter(prior, name, label.unit, label.description)
    check_limits(name, new, parameter_names([Constant()])["constant.factor"].label)
    return eqx.tree_at(lambda m: m.parts[0].value, model, new, is_leaf=is_symbol)


def _redshifts(model: Component, redshift: float | None) -> dict[str, float]:
    if redshift is None:
        return {}
    found = {name: redshift for name in parameter_names([model]) if name.rpartition(".")[2].lower() == "redshift"}
    if not found:
        raise SkyfoldError(
            f"A redshift is given, but no component of '{model!r}' has the parameter Redshift; use one that has, such "
            "as ztbabs or zgauss."
        )
    return found
