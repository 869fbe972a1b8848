"""Priors as text: ``Uniform(0, 1)``, parsed with `ast` against a white list; nothing is evaluated."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any

from skyfold.errors import SkyfoldError
from skyfold.parameters import Prior

#: Names of the priors that may be written.
NAMES = (
    "Beta",
    "Dirichlet",
    "Gamma",
    "HalfNormal",
    "LogNormal",
    "LogUniform",
    "MultivariateNormal",
    "Normal",
    "StudentT",
    "TruncatedNormal",
    "Uniform",
)
_LONGEST = 10_000


def parse_prior(text: str) -> Prior:
    """Turn ``Name(argument, ..., keyword=argument)`` into a prior.

    Arguments are numbers, ``inf``, and lists of them (of lists, for a covariance).

    Parameters
    ----------
    text : the prior as it would stand in Python; a leading ``sf.`` is allowed.

    Raises
    ------
    SkyfoldError
        If the text is anything else, or its arguments describe no distribution.
    """
    from skyfold import priors
    from skyfold.wording import unknown_name

    call = _parsed(text)
    name = _called(call, text)
    if name not in NAMES:
        raise unknown_name(name, NAMES, "prior")
    kind = getattr(priors, name)
    try:
        arguments = [_argument(node, text) for node in call.args]
        keywords = _keywords(call, text)
    except RecursionError:
        raise _unreadable(text) from None
    signature = inspect.signature(kind)
    try:
        signature.bind(*arguments, **keywords)
    except TypeError as error:
        takes = ", ".join(signature.parameters)
        raise SkyfoldError(f"The prior '{text}' cannot be made: {error}. It is {name}({takes}).") from None
    return kind(*arguments, **keywords)


def parse_number(text: str, what: str) -> float:
    """Turn text into a finite number.

    Raises
    ------
    SkyfoldError
        If it is none; `what` says what it is for.
    """
    try:
        number = float(text)
    except ValueError:
        raise SkyfoldError(f"{what}: '{text}' is not a number.") from None
    if number - number != 0.0:
        raise SkyfoldError(f"{what}: '{text}' is not finite.")
    return number


def parse_pairs(given: tuple[str, ...], option: str, parse: Callable[[str, str], Any]) -> dict[str, Any]:
    """Split each ``NAME=VALUE`` of an option and parse the values.

    Raises
    ------
    SkyfoldError
        If a text is none of this form, or a name is given twice.
    """
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            form = "DIST" if option == "--prior" else "VALUE"
            raise SkyfoldError(f"{option} takes NAME={form}, as in powerlaw.norm=...; got '{text}'.")
        if name in found:
            raise SkyfoldError(f"{option} names '{name}' twice.")
        found[name] = parse(value, f"{option} {name}")
    return found


def _parsed(text: str) -> ast.Call:
    if len(text) > _LONGEST:
        raise SkyfoldError(f"A prior of {len(text)} characters is too long to read.")
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _unreadable(text) from None
    if not isinstance(node, ast.Call):
        raise _unreadable(text)
    return node


def _called(call: ast.Call, text: str) -> str:
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "sf":
        return function.attr
    if isinstance(function, ast.Name):
        return function.id
    raise _unreadable(text)


def _keywords(call: ast.Call, text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in found:
            raise _unreadable(text)
        found[keyword.arg] = _argument(keyword.value, text)
    return found


def _argument(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.List | ast.Tuple):
        return _rectangular([_argument(item, text) for item in node.elts], text)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _argument(node.operand, text)
        if isinstance(value, list):
            raise _unreadable(text)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Name) and node.id == "inf":
        return float("inf")
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        try:
            return float(node.value)
        except OverflowError:
            raise _unreadable(text) from None
    raise _unreadable(text)


def _rectangular(items: list[Any], text: str) -> list[Any]:
    shapes = {len(item) if isinstance(item, list) else -1 for item in items}
    if len(shapes) != 1 or 0 in shapes:
        raise SkyfoldError(f"The prior '{text}' holds a list that is empty or whose rows differ in length.")
    return items


def _unreadable(text: str) -> SkyfoldError:
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return SkyfoldError(
        f"'{shown}' is not a prior. Write it as in Python, with numbers or lists of numbers: Uniform(0, 1), "
        f"LogUniform(1e-6, 1e-3), Normal(loc=1, scale=0.1). Known: {', '.join(NAMES)}."
    )
