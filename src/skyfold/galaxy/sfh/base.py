"""Star-formation history: mass formed up to a time, and what every history can do with it."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn, Self

import equinox as eqx
import jax
import jax.numpy as jnp

from skyfold.component import Component
from skyfold.errors import SkyfoldError

#: Years in a Gyr: rates are Msun/yr, times Gyr, masses Msun.
GYR = 1e9


class StarFormationHistory(Component):
    r"""Base of the star-formation histories.

    A history says what mass was formed before the time t since the Big Bang, and the first moment of that mass,

    .. math:: M(<t) = \int_0^t \psi(t')\,dt', \qquad N(<t) = \int_0^t t' \psi(t')\,dt',

    in Msun and Msun Gyr. These two make the integral over every cell of a grid of populations exact
    (`skyfold.galaxy.sfh.weights`). Times are in Gyr; `age` is the age of the Universe at which the galaxy is seen. The
    mass formed is what stars had at their birth; what is left of it follows from the populations.

    Attributes
    ----------
    extensive : names of the parameters that are logarithms of what grows with the mass; the first of them says how much
        there is of all.
    """

    extensive: ClassVar[tuple[str, ...]] = ("log_mass",)

    def scales(self) -> tuple[Any, ...]:
        """What says how much there is of each part: numbers, parameters or expressions, logarithms."""
        return (getattr(self, self.extensive[0]),)

    def scaled(self, dex: Any) -> Self:
        """Same history with all masses and rates larger by `dex` in the logarithm."""
        own = [getattr(self, name) for name in self.extensive]
        return eqx.tree_at(lambda h: [getattr(h, name) for name in self.extensive], self, [x + dex for x in own])

    def formed(self, t: jax.Array, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mass formed before `t` (n,), 0 <= t <= age, and its first moment: Msun and Msun Gyr, (n,) each."""
        raise NotImplementedError

    def rate(self, t: jax.Array, age: jax.Array) -> jax.Array:
        """Star-formation rate at `t` (n,), Msun/yr."""
        raise NotImplementedError

    def evaluate(self, grid: tuple[Any, Any]) -> jax.Array:
        """Star-formation rate, Msun/yr, for `grid` = (times since the Big Bang (n,), age of the Universe), Gyr."""
        t, age = grid
        return self.rate(jnp.asarray(t, dtype=float), jnp.asarray(age, dtype=float))

    def mass_formed(self, age: Any) -> jax.Array:
        """Mass formed until the age of the Universe `age`, Gyr; Msun."""
        age = jnp.asarray(age, dtype=float)
        return self.formed(age[None], age)[0][0]

    def mean_rate(self, age: Any, span: float = 0.1) -> jax.Array:
        """Star-formation rate averaged over the last `span` Gyr, Msun/yr."""
        age = jnp.asarray(age, dtype=float)
        mass, _ = self.formed(jnp.stack([age, jnp.maximum(age - span, 0.0)]), age)
        return (mass[0] - mass[1]) / (span * GYR)

    @classmethod
    def _sum(cls, parts: tuple[Component, ...]) -> Component:
        for part in parts:
            if not isinstance(part, StarFormationHistory):
                raise SkyfoldError(f"'{part!r}' is no star-formation history and cannot be added to one.")
        return Histories(parts)

    @classmethod
    def _product(cls, parts: tuple[Component, ...]) -> NoReturn:
        raise SkyfoldError("Star-formation histories add up; a product of them has no meaning.")


class Histories(StarFormationHistory):
    """Sum of star-formation histories, as in ``DelayedTau() + Burst()``."""

    name: ClassVar[str] = "histories"
    parts: tuple[Any, ...]

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = tuple(q for p in parts for q in (p.parts if isinstance(p, Histories) else (p,)))

    def scales(self) -> tuple[Any, ...]:
        return tuple(scale for part in self.parts for scale in part.scales())

    def scaled(self, dex: Any) -> Self:
        return eqx.tree_at(lambda h: h.parts, self, tuple(part.scaled(dex) for part in self.parts))

    def formed(self, t: jax.Array, age: jax.Array) -> tuple[jax.Array, jax.Array]:
        pieces = [p.formed(t, age) for p in self.parts]
        return sum((m for m, _ in pieces[1:]), pieces[0][0]), sum((n for _, n in pieces[1:]), pieces[0][1])

    def rate(self, t: jax.Array, age: jax.Array) -> jax.Array:
        return sum((p.rate(t, age) for p in self.parts[1:]), self.parts[0].rate(t, age))

    def __repr__(self) -> str:
        return " + ".join(repr(p) for p in self.parts)


def normalised(log_mass: Any, shape: tuple[jax.Array, jax.Array], total: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mass and moment in Msun of a shape whose mass until the age of the Universe is `total`."""
    scale = 10.0**log_mass / jnp.maximum(total, 1e-280)
    return scale * shape[0], scale * shape[1]
