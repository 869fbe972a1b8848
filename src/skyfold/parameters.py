"""Parameters: what is free, what is fixed, what is tied.

A `Parameter` is a prior with an identity. The same `Parameter` in two places of a model is one parameter: it carries
a token, made at construction and kept by copies and pytree operations. Arithmetic on parameters gives an
`Expression`, which ties. A prior's own arguments may be parameters or expressions (hierarchical models).
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from skyfold.compiled.annotation import Annotation
from skyfold.errors import SkyfoldError

_tokens = itertools.count()

#: What a parameter field may hold: a prior, a number, a `Parameter` or an `Expression`; inside `evaluate`, an array.
Value = Any

#: Where the tail of a prior without an end counts as its end, in latent coordinates.
_TAIL = 5.0

_OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "exp": jnp.exp,
    "log": jnp.log,
    "log10": jnp.log10,
    "sqrt": jnp.sqrt,
    "abs": jnp.abs,
}
_UFUNCS = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "power": "**",
    "exp": "exp",
    "log": "log",
    "log10": "log10",
    "sqrt": "sqrt",
    "absolute": "abs",
}


class Symbol(eqx.Module, NDArrayOperatorsMixin):
    """Something that stands for a number which is not known yet; arithmetic on it gives an `Expression`."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Let ``2 * p``, ``np.exp(p)`` or ``np.float64(2) * p`` build an expression."""
        if ufunc is np.negative:
            return Expression("*", (-1.0, *inputs))
        if method != "__call__" or kwargs or ufunc.__name__ not in _UFUNCS:
            return NotImplemented
        return Expression(_UFUNCS[ufunc.__name__], inputs)


class Expression(Symbol):
    """Arithmetic on parameters: a tie. Not free itself."""

    operation: str = eqx.field(static=True)
    operands: tuple[Any, ...]

    def __init__(self, operation: str, operands: tuple[Any, ...]) -> None:
        if operation not in _OPERATIONS:
            raise SkyfoldError(f"'{operation}' is not an operation that can tie parameters.")
        self.operation = operation
        self.operands = tuple(o if isinstance(o, Symbol) else as_number(o) for o in operands)

    def evaluate(self, operands: tuple[Any, ...]) -> Any:
        """Value of the expression for known operands."""
        return _OPERATIONS[self.operation](*operands)

    def __repr__(self) -> str:
        return written(self)


def normal_cdf(z: jax.Array) -> jax.Array:
    r""":math:`\Phi(z)`: a single complementary error function, where JAX's ``ndtr`` compiles three."""
    return 0.5 * jax.lax.erfc(-np.sqrt(0.5) * z)


class Prior(eqx.Module):
    """A distribution as a small frozen specification: its name and its arguments.

    Concrete priors live in `skyfold.priors`. Arguments are numbers, parameters or expressions. A prior is used
    through its normal transport: `transport` maps coordinates that are a priori independent standard normal to a
    draw of the prior.
    """

    def transport(self, z: jax.Array) -> jax.Array:
        """Map standard normal coordinates of shape `latent_shape` to a value of the prior."""
        raise NotImplementedError

    def quantile(self, t: jax.Array) -> jax.Array | None:
        """Value at the cumulative probability t = Phi(z), for priors whose `transport` goes that way; else None."""
        return None

    def correction(self, z: jax.Array) -> jax.Array | float:
        """Log density to add where the transport is not an exact one; 0 for every prior skyfold ships."""
        return 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a value."""
        return np.broadcast_shapes(*(shape_of(getattr(self, f.name)) for f in fields(self)))

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of the standard normal coordinates."""
        return self.shape

    @property
    def exact(self) -> bool:
        """Whether the transport is exact, so that the unit cube may be used."""
        return True

    def check(self) -> None:
        """Raise `SkyfoldError` where the arguments describe no distribution."""

    def support(self) -> tuple[Any, Any]:
        """Lower and upper limit of the values, infinite where there is none."""
        return -np.inf, np.inf

    @property
    def bounded(self) -> tuple[bool, bool]:
        """Whether values are at a lower and an upper limit, to double precision, 8.3 latent units from the middle.

        A limit that lies further out (that of a normal cut at 50 standard deviations, say) is none here: the way to it
        is open.
        """
        return False, False

    def arguments(self) -> tuple[tuple[str, Any], ...]:
        """Names and values of the arguments."""
        return tuple((f.name, getattr(self, f.name)) for f in fields(self))

    def __repr__(self) -> str:
        return written(self)


class Parameter(Symbol):
    """A free parameter: a prior with an identity.

    Parameters
    ----------
    prior : Prior
        Prior distribution; its arguments may be parameters themselves.
    name : str, optional
        Name to use instead of the one that follows from the place in the model.
    unit, description : str, optional
        Shown in tables and on axes.
    """

    prior: Prior
    token: int = eqx.field(static=True)
    label: Annotation = eqx.field(static=True)

    def __init__(self, prior: Prior, name: str | None = None, unit: str = "", description: str = "") -> None:
        checked = as_prior(prior)
        if checked is None:
            raise SkyfoldError(
                "A Parameter needs a prior, such as sf.Uniform(0, 1); write a plain number to fix a value."
            )
        self.prior = checked
        self.token = next(_tokens)
        self.label = Annotation(Label(name, unit, description))

    @property
    def name(self) -> str | None:
        """Explicit name, None when the place in the model gives it."""
        return self.label.value.name

    def __repr__(self) -> str:
        return f"{self.name}~{self.prior!r}" if self.name else repr(self.prior)


class Reference(Symbol):
    """A parameter by its place in a list: what `Parameter` becomes inside a compiled posterior."""

    index: int = eqx.field(static=True)


@dataclass(frozen=True)
class Label:
    """What a table shows of a parameter, and the lowest and highest value that it may have."""

    name: str | None = None
    unit: str = ""
    description: str = ""
    limits: tuple[float, float] = (-np.inf, np.inf)


def parameter(
    default: Any = None,
    *,
    unit: str = "",
    description: str = "",
    name: str | None = None,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> Any:
    """Declare a parameter field of a component or observation.

    Parameters
    ----------
    default : Prior or float
        Used where the caller gives none; every instance gets a parameter of its own. In an ``__init__`` that a class
        writes itself, ``self.NAME`` is the default until it is set.
    unit, description : str
        Shown in tables; the unit converts astropy quantities given in its place.
    name : str, optional
        The field's own term, where the attribute must be called otherwise.
    limits : tuple
        Lowest and highest value for which the component has a meaning; others are refused (`check_limits`).
    """

    def convert(value: Any) -> Any:
        return as_parameter(value, unit, description)

    metadata = {"parameter": Label(name, unit, description, limits)}
    if default is None:
        return eqx.field(converter=convert, metadata=metadata)
    return eqx.field(default=default, converter=convert, metadata=metadata)


def check_limits(name: str, value: Any, label: Label) -> None:
    """Refuse a value, or a prior that reaches, outside of a parameter's limits.

    A prior without ends may have no more outside of them than what lies beyond `_TAIL` standard deviations of a normal
    one, and a prior of what is positive may begin at zero, which no draw is. Ties, and priors whose arguments are
    parameters, are not known yet and pass.

    Raises
    ------
    SkyfoldError
        With the name, the limits and the cure.
    """
    low, high = label.limits
    if low == -np.inf and high == np.inf:
        return
    given, reach = value, [value]
    if isinstance(value, Parameter):
        given, reach, low = value.prior, _reach(value.prior), min(low, 0.0)
    if all(_unknown(v) or np.all((np.asarray(v) >= low) & (np.asarray(v) <= high)) for v in reach):
        return
    unit = f" {label.unit}" if label.unit else ""
    low = label.limits[0]
    limits = f"the limits of '{name}' ({label.description}) are {low:g} and {high:g}{unit}"
    if isinstance(given, Prior):
        cut = f"sf.TruncatedNormal(loc, scale, {low:g}, {high:g})".replace("inf", "np.inf")
        raise SkyfoldError(f"{limits}, and its prior {given!r} reaches outside; end it there, for example with {cut}.")
    raise SkyfoldError(f"{limits}, and it is given {written(given)}; give a value inside of them.")


def _reach(prior: Prior) -> list[Any]:
    """Lowest and highest value of a prior: its ends, or its tails where it has none and these are known."""
    found = []
    known = prior.exact and not prior.latent_shape and not any(is_symbol(v) for _, v in prior.arguments())
    for end, z in zip(prior.support(), (-_TAIL, _TAIL), strict=True):
        if _unknown(end) or np.all(np.isfinite(end)):
            found.append(end)
        elif known:
            found.append(float(prior.transport(jnp.asarray(z))))
    return found


def _unknown(value: Any) -> bool:
    return is_symbol(value) or isinstance(value, jax.Array)


def as_parameter(value: Any, unit: str = "", description: str = "") -> Any:
    """Turn a prior into a new `Parameter`, a number into a float; keep parameters and expressions."""
    if isinstance(value, Symbol):
        return value
    prior = as_prior(value, unit)
    if prior is not None:
        return Parameter(prior, unit=unit, description=description)
    return as_number(value, unit)


def as_prior(value: Any, unit: str = "") -> Prior | None:
    """Return `value` as a `Prior` (NumPyro distributions are wrapped), None when it is not one."""
    if type(value).__module__.split(".")[0] == "numpyro":
        from skyfold.priors import NumPyroPrior

        return NumPyroPrior(value)
    if not isinstance(value, Prior):
        return None
    converted: Prior = jax.tree.map(
        lambda leaf: as_number(leaf, unit) if is_quantity(leaf) else leaf,
        value,
        is_leaf=lambda leaf: is_quantity(leaf) or isinstance(leaf, Symbol),
    )
    converted.check()
    return converted


def as_number(value: Any, unit: str = "") -> Any:
    """Return a float or a float64 array; astropy quantities are converted to `unit`."""
    if is_quantity(value):
        import astropy.units as u

        try:
            # energies may be given as wavelengths, frequencies or temperatures
            equivalent = [*u.spectral(), *u.temperature_energy()]
            value = value.to_value(u.Unit(unit) if unit else u.dimensionless_unscaled, equivalent)
        except u.UnitConversionError as error:
            raise SkyfoldError(f"A value in {value.unit} cannot stand here: the parameter is in '{unit}'.") from error
    if isinstance(value, jax.Array):
        return value
    if value is None:
        raise SkyfoldError("None is not a parameter: give a prior such as sf.Uniform(0, 1), or a number to fix it.")
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SkyfoldError(
            f"{value!r} is not a parameter: give a prior such as sf.Uniform(0, 1), a number to fix it, or arithmetic "
            "on parameters."
        ) from error
    if not np.all(np.isfinite(array) | np.isinf(array)):
        raise SkyfoldError("A parameter or an argument of a prior is NaN; give a number.")
    return float(array) if array.ndim == 0 else array


def is_symbol(node: Any) -> bool:
    """Whether a pytree node stands for a value that is not known yet."""
    return isinstance(node, Symbol)


def parameters_in(tree: Any) -> Iterator[Parameter]:
    """Every `Parameter` of a pytree, each as often as it stands there, those in priors' arguments included."""
    for node in jax.tree.leaves(tree, is_leaf=is_symbol):
        if isinstance(node, Parameter):
            yield from parameters_in(node.prior)
            yield node
        elif isinstance(node, Expression):
            yield from parameters_in(node.operands)


def substitute(tree: Any, replace: Callable[[Any], Any]) -> Any:
    """Copy of a pytree with every `Parameter` or `Reference` replaced, also inside expressions."""

    def visit(node: Any) -> Any:
        if isinstance(node, Expression):
            operands = tuple(visit(o) for o in node.operands)
            if any(is_symbol(o) for o in operands):
                return Expression(node.operation, operands)
            return node.evaluate(operands)
        return replace(node) if is_symbol(node) else node

    return jax.tree.map(visit, tree, is_leaf=is_symbol)


def shape_of(value: Any) -> tuple[int, ...]:
    """Shape of the value that a number, parameter or expression has or will have."""
    if isinstance(value, Parameter):
        return value.prior.shape
    if isinstance(value, Expression):
        return np.broadcast_shapes(*(shape_of(o) for o in value.operands))
    return np.shape(value)


def is_quantity(value: Any) -> bool:
    """Whether a value is an astropy quantity."""
    return hasattr(value, "to_value") and hasattr(value, "unit")


def written(value: Any, names: Mapping[int, str] | None = None) -> str:
    """Text of a number, prior, parameter or expression.

    Parameters
    ----------
    value : number, Prior or Symbol
    names : mapping of int to str, optional
        Names of parameters by token; a parameter without one is shown by its prior.
    """
    names = names or {}
    if isinstance(value, Prior):
        if not value.exact:
            return repr(value)
        return f"{type(value).__name__}({', '.join(written(v, names) for _, v in value.arguments())})"
    if isinstance(value, Parameter):
        return names.get(value.token) or value.name or written(value.prior, names)
    if isinstance(value, Expression):
        shown = [written(o, names) for o in value.operands]
        return f"{value.operation}({shown[0]})" if len(shown) == 1 else f"({shown[0]} {value.operation} {shown[1]})"
    if isinstance(value, Symbol):
        return f"#{value.index}" if isinstance(value, Reference) else type(value).__name__
    array = np.asarray(value)
    return f"{array:g}" if array.ndim == 0 else f"array{array.shape}"
