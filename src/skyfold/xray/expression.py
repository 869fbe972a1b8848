"""Models from XSPEC's expression language: ``model("tbabs*(powerlaw + bbodyrad)")``.

The grammar, with components as the only words::

    sum     = product { "+" product }
    product = factor { "*" factor | "(" sum ")" }
    factor  = component | operator "(" sum ")" | operator "*" product | "(" sum ")"

An operator (a convolution model) acts on the bracket that follows it or, after ``*``, on the whole rest of the product.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass

from skyfold.component import Component, Operator
from skyfold.errors import SkyfoldError
from skyfold.xray.models.abundances import SOURCES
from skyfold.xray.models.catalogue import component_class
from skyfold.xray.models.cross_sections import CROSS_SECTIONS
from skyfold.xray.models.spectral import SpectralModel

_TOKEN = re.compile(r"\s*(?:(?P<name>[A-Za-z_]\w*)|(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|(?P<sign>\S))")
_DEEPEST = 50


class ExpressionError(SkyfoldError):
    """An expression that is no model; the message shows where and says what to do."""


def model(expression: str, *, abundances: str = "wilm", cross_sections: str = "vern") -> SpectralModel:
    """Build a model from an expression in XSPEC's language.

    Every component that is named gets parameters of its own, under the default priors of its class; sharpen them
    with ``.with_priors``, fix values with ``.with_values``.

    Parameters
    ----------
    expression : str
        Components joined by ``+``, ``*`` and brackets, as in ``"tbabs*(powerlaw + bbodyrad)"``. Names may be in
        upper or lower case, and shortened while they stay unambiguous (``"pow"``). The ``*`` before a bracket may be
        left out.
    abundances : str
        Abundance table of the absorption models that take one (XSPEC's ``abund``).
    cross_sections : str
        Photo-electric cross-sections of the absorption models that take them (XSPEC's ``xsect``).

    Returns
    -------
    SpectralModel

    Raises
    ------
    ExpressionError
        If the expression is no model, or a table is unknown.
    """
    if not isinstance(expression, str):
        raise ExpressionError(f"A model expression is text such as 'tbabs*powerlaw', not {expression!r}.")
    tables = {
        "abundances": _known("abundance table", abundances, SOURCES),
        "cross_sections": _known("set of cross-sections", cross_sections, CROSS_SECTIONS),
    }
    return _Parser(" ".join(expression.split()), tables).model()


def _known(what: str, name: str, names: Iterable[str]) -> str:
    names = tuple(names)
    if str(name).lower() not in names:
        raise ExpressionError(f"There is no {what} {name!r}; choose one of {', '.join(names)}.")
    return str(name).lower()


@dataclass(frozen=True)
class _Token:
    kind: str  # "name", "number", "sign" or "end"
    text: str
    place: int


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, text: str, tables: dict[str, str]) -> None:
        self.text, self.tables = text, tables
        self.tokens = [
            _Token(str(m.lastgroup), m.group(str(m.lastgroup)), m.start(str(m.lastgroup)))
            for m in _TOKEN.finditer(text)
        ]
        self.tokens.append(_Token("end", "", len(text)))
        self.position = 0
        self.depth = 0

    def model(self) -> SpectralModel:
        if self.next.kind == "end":
            raise self.error("The expression is empty; name a component, such as powerlaw.", 0)
        result = self.sum()
        if self.next.kind != "end":  # only a bracket can be left over
            raise self.error("This ')' closes no bracket; remove it or open one before.", self.next.place)
        return result

    def sum(self) -> SpectralModel:
        result = self.product()
        while self.next.text == "+":
            sign = self.take()
            term = self.product()
            if result.kind != term.kind:
                factor = next(part for part in (result, term) if part.kind == "multiplicative")
                raise self.error(
                    f"'{factor!r}' is a factor and cannot be added to a spectrum; multiply it with one first.",
                    sign.place,
                )
            result = _joined(result + term)
        return result

    def product(self) -> SpectralModel:
        result = self.factor()
        while True:
            sign = self.next
            if sign.text == "*":
                self.take()
            elif sign.text != "(":
                self.check_joint(sign)
                return result
            right = self.factor()
            if result.kind == right.kind == "additive":
                raise self.error(
                    f"'{result!r}' and '{right!r}' are both spectra and cannot be multiplied; add them with +.",
                    sign.place,
                )
            result = _joined(result * right)

    def factor(self) -> SpectralModel:
        token = self.take()
        if token.kind == "name":
            named = self.component(token)
            return self.acting(named, token) if isinstance(named, Operator) else named
        if token.text == "(":
            return self.bracket(token)
        if token.kind == "number":
            raise self.number(token)
        if token.kind == "end" or token.text in ("+", "*", ")"):
            index = self.tokens.index(token)
            after = f" after '{self.tokens[index - 1].text}'" if index else ""
            raise self.error(f"A component or '(' is missing{after}.", token.place)
        raise self.sign(token)

    def acting(self, operator: Operator, token: _Token) -> SpectralModel:
        """What an operator makes of what follows it."""
        sign = self.next
        if sign.text not in ("*", "("):
            raise self.error(
                f"'{operator!r}' acts on a spectrum; write {operator!r}(powerlaw) or {operator!r}*powerlaw.",
                token.place,
            )
        self.take()
        inside = self.bracket(sign) if sign.text == "(" else self.product()
        if inside.kind != "additive":
            raise self.error(f"'{operator!r}' acts on a spectrum, and '{inside!r}' is a factor.", sign.place)
        return _joined(operator(inside))

    def bracket(self, opening: _Token) -> SpectralModel:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self.error(f"Brackets are nested more than {_DEEPEST} deep; leave some out.", opening.place)
        inside = self.sum()
        if self.take().text != ")":
            raise self.error("This '(' is never closed; add a ')'.", opening.place)
        self.depth -= 1
        return inside

    def component(self, token: _Token) -> SpectralModel:
        try:
            cls = component_class(token.text)
        except SkyfoldError as error:
            raise self.error(str(error), token.place) from None
        accepted = inspect.signature(cls).parameters
        return cls(**{name: table for name, table in self.tables.items() if name in accepted})

    def check_joint(self, token: _Token) -> None:
        """Raise unless what follows a factor may follow one."""
        if token.kind == "number":
            raise self.number(token)
        if token.kind == "name":
            raise self.error("A '+' or '*' is missing before this component.", token.place)
        if token.kind == "sign" and token.text not in ("+", "*", "(", ")"):
            raise self.sign(token)

    def number(self, token: _Token) -> ExpressionError:
        return self.error(
            f"A number cannot stand in an expression. For a factor write constant*... and fix it with "
            f".with_values({{'constant.factor': {token.text}}}).",
            token.place,
        )

    def sign(self, token: _Token) -> ExpressionError:
        return self.error(
            f"'{token.text}' has no meaning here; components are joined by +, * and brackets.", token.place
        )

    def error(self, message: str, place: int) -> ExpressionError:
        return ExpressionError(f"{message}\n    {self.text}\n    {' ' * place}^")

    @property
    def next(self) -> _Token:
        return self.tokens[self.position]

    def take(self) -> _Token:
        token = self.next
        self.position = min(self.position + 1, len(self.tokens) - 1)
        return token


def _joined(component: Component) -> SpectralModel:
    assert isinstance(component, SpectralModel)
    return component
