"""Notation: how numbers with errors, units and parameter names are written in text and on axes."""

from __future__ import annotations

import importlib
import math
import re
from functools import cache

_FACTOR = re.compile(r"^([A-Za-z%]+|10|1)(?:\^|\*\*)?\(?([+-]?\d+(?:\.\d+)?)?\)?$")
_NUMBER = re.compile(r"^\d+(?:\.\d+)?$")
_POWER = re.compile(r"(?:\^|\*\*)([+-]?\d+)")
#: Length of a unit from which an axis label breaks it.
_LONG = 16
_SYMBOLS = {"alpha": r"\alpha", "beta": r"\beta", "Sigma": r"\sigma"}


def with_errors(value: float, plus: float, minus: float) -> tuple[str, str]:
    """Write a value and its upper and lower error, the errors to two significant digits.

    Returns
    -------
    value, errors : such as ``"0.745"`` and ``"+0.036 -0.034"``.
    """
    error = max(abs(plus), abs(minus))
    if not math.isfinite(value):
        return "-", "-"
    if not (math.isfinite(error) and error > 0):
        return f"{value:.5g}", "-"
    top = max(abs(value), error)
    shown = _to_digits(value, error, top)
    if _plainly(top):
        return shown, f"+{_to_digits(abs(plus), error, top)} -{_to_digits(abs(minus), error, top)}"
    return shown, f"+{abs(plus):.1e} -{abs(minus):.1e}"


def interval(low: float, high: float, error: float) -> str:
    """Write an interval to the digits that an error of this size deserves: ``"0.691 .. 0.805"``."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return "-"
    if not (math.isfinite(error) and error > 0):
        return f"{low:.5g} .. {high:.5g}"
    top = max(abs(low), abs(high), error)
    return f"{_to_digits(low, error, top)} .. {_to_digits(high, error, top)}"


def _plainly(top: float) -> bool:
    return 1e-3 <= top < 1e5


def _to_digits(value: float, error: float, top: float) -> str:
    """Write a number to the second digit of an error; plainly or not as a number of size `top` is."""
    last = math.floor(math.log10(error))
    if _plainly(top):
        return f"{value:.{_between(1 - last)}f}"
    size = abs(value) if value else error
    return f"{value:.{_between(math.floor(math.log10(size)) - last + 1)}e}"


def scale_of(low: float, high: float) -> int:
    """Power of ten to take out of the numbers on an axis, 0 where they read well as they are."""
    top = max(abs(low), abs(high))
    if not math.isfinite(top) or top == 0.0:
        return 0
    exponent = math.floor(math.log10(top))
    return 0 if -2 <= exponent <= 3 else exponent


def unit_latex(unit: str, scale: int = 0) -> str:
    """Write a unit for an axis, ``"photons/cm^2/s"`` as products of powers, after an optional power of ten."""
    shown = _unit(unit)
    if scale:
        shown = rf"$10^{{{scale}}}$ {shown}".strip()
    return shown


def name_latex(name: str) -> tuple[str, str]:
    """Split and write a parameter's name: the component (plain text, may be empty) and the symbol."""
    component, _, field = name.rpartition(".")
    base, bracket, index = field.partition("[")
    known = _symbols()
    symbol = f"${known[base]}$" if base in known else plain(base)
    return plain(component), symbol + (f"[{index}" if bracket else "")


@cache
def _symbols() -> dict[str, str]:
    """Symbols of parameters, those that the domains' figures have included."""
    from skyfold import FIGURE_MODULES

    return {k: v for m in FIGURE_MODULES for k, v in importlib.import_module(m).SYMBOLS.items()} | _SYMBOLS


def axis_label(name: str, unit: str, scale: int = 0, *, logarithm: bool = False, lines: bool = True) -> str:
    """Label of an axis: component, symbol and unit."""
    component, symbol = name_latex(name)
    if logarithm:
        symbol = rf"$\log_{{10}}$ {symbol}"
    shown = unit_latex(unit, scale)
    if lines and len(re.sub(r"[${}^]", "", shown)) > _LONG:
        # a long unit goes on two lines, parted at the space nearest to its middle
        space = min((i for i, c in enumerate(shown) if c == " "), key=lambda i: abs(i - len(shown) // 2), default=None)
        shown = shown if space is None else f"{shown[:space]}\n{shown[space + 1 :]}"
    parts = [p for p in (component, symbol, f"[{shown}]" if shown else "") if p]
    return "\n".join(parts) if lines else " ".join(parts)


def plain(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


def _between(digits: int) -> int:
    return min(max(digits, 0), 12)


def _unit(unit: str) -> str:
    found: list[str] = []
    if ")^" in unit or ")**" in unit:
        return _POWER.sub(r"$^{\1}$", plain(unit))
    bare = unit.replace("**", "^").replace("*", " ").replace("(", " ").replace(")", " ")
    # every slash divides by the factors up to the next one
    for number, group in enumerate(bare.split("/")):
        for factor in group.split():
            match = _FACTOR.match(re.sub(r"^1e\+?(?=-?\d)", "10^", factor))
            if match is None and not number and _NUMBER.match(factor):
                found.append(factor)
                continue
            if match is None:
                return _POWER.sub(r"$^{\1}$", plain(unit))
            base, power = match.group(1), float(match.group(2) or 1)
            power = -power if number else power
            if base != "1":
                found.append(f"{base}$^{{{power:g}}}$" if power != 1 else base)
    return " ".join(found)
