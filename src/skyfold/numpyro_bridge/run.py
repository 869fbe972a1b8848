"""Running a NumPyro program: who gives its sites their values, and what it observes."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import numpy as np

from skyfold.errors import SkyfoldError


class Site(NamedTuple):
    """A sample statement that was met: its name, distribution, value and the factor on its log density."""

    name: str
    distribution: Any
    value: Any
    scale: Any


class _Closed:
    """An argument that compilation takes as it is: numbers and texts equal their like, other things themselves only."""

    def __init__(self, value: Any) -> None:
        self.value = value
        plain = isinstance(value, bool | int | float | str | bytes | None)
        self._key = (type(value), value) if plain else (_Closed, id(value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Closed) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        # the same in every process: checkpoints are known by it
        if self._key[0] is not _Closed:
            return repr(self.value)
        code = getattr(self.value, "__code__", None)
        name = getattr(self.value, "__qualname__", type(self.value).__qualname__)
        return f"{name}#{zlib.crc32(code.co_code):x}" if code is not None else name


class Call(eqx.Module):
    """A program and its arguments; arrays among them are traced, so calls of one shape share one executable."""

    function: _Closed = eqx.field(static=True)
    arrays: tuple[Any, ...]
    rest: tuple[Any, ...] = eqx.field(static=True)
    structure: Any = eqx.field(static=True)

    @classmethod
    def of(cls, function: Any, args: Any, kwargs: Any, *, traced: bool = True) -> Self:
        """Separate arrays from everything else; with ``traced=False`` compilation sees constants."""
        leaves, structure = jax.tree.flatten((args, kwargs))
        is_array = [traced and isinstance(x, np.ndarray | jax.Array) and x.dtype.kind in "biufc" for x in leaves]
        return cls(
            _Closed(function),
            tuple(x for x, a in zip(leaves, is_array, strict=True) if a),
            tuple(None if a else _Closed(x) for x, a in zip(leaves, is_array, strict=True)),
            structure,
        )

    def run(self, draw: Callable[[str, Any], Any]) -> list[Site]:
        """Run the program with `draw` giving the value of each site; return its observed sites and factors."""
        arrays = iter(self.arrays)
        leaves = [next(arrays) if x is None else x.value for x in self.rest]
        args, kwargs = jax.tree.unflatten(self.structure, leaves)
        found: list[Site] = []
        with _handler()(draw, found):
            self.function.value(*args, **kwargs)
        return found


@cache
def _handler() -> Any:
    from numpyro.primitives import Messenger

    class Drawn(Messenger):
        """Draws the sites of a program and collects what it observes."""

        def __init__(self, draw: Callable[[str, Any], Any], found: list[Site]) -> None:
            self.draw, self.found, self.names = draw, found, set[str]()
            super().__init__(None)

        def process_message(self, msg: Any) -> None:
            kind, name = msg["type"], msg.get("name")
            if kind == "control_flow":
                raise SkyfoldError("from_numpyro: scan and cond with sites inside are not supported; unroll the loop.")
            if kind in ("param", "mutable"):
                raise SkyfoldError(
                    f"from_numpyro: '{name}' is a {kind} statement, which is for guides; give it a prior instead."
                )
            if kind == "plate":
                size, part = msg["args"]
                if part is not None and part != size:
                    raise SkyfoldError(f"from_numpyro: plate '{name}' takes a random subsample; use all of its data.")
            if kind != "sample":
                return
            if name in self.names:
                raise SkyfoldError(f"from_numpyro: two sites are called '{name}'.")
            self.names.add(name)
            if msg["is_observed"]:
                self.found.append(Site(name, msg["fn"], msg["value"], msg["scale"]))
            else:
                if msg["kwargs"].get("sample_shape"):
                    raise SkyfoldError(f"from_numpyro: site '{name}' has a sample_shape; expand its distribution.")
                if msg["scale"] is not None:
                    raise SkyfoldError(f"from_numpyro: site '{name}' is scaled, so its prior is no distribution.")
                msg["value"] = self.draw(name, msg["fn"])

    return Drawn


def innermost(distribution: Any) -> Any:
    """Take expansions and declarations of independence off."""
    while type(distribution).__name__ in ("ExpandedDistribution", "Independent"):
        distribution = distribution.base_dist
    return distribution


def is_factor(distribution: Any) -> bool:
    """Whether a distribution is that of ``numpyro.factor``."""
    return type(innermost(distribution)).__name__ == "Unit"
