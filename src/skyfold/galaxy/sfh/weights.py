r"""Age weights: how much mass of a star-formation history each age of a grid stands for.

Luminosity is linear in age between the nodes :math:`a_i` of the grid, so node i carries the mass

.. math:: w_i = \int \psi(T - a)\, \Lambda_i(a)\, da

with the hat functions :math:`\Lambda_i`. The integral over a cell needs the mass formed in it and its mean age only,
and both follow from the two functions that a history gives in closed form: nothing is sampled. The weights add up to
the mass formed, whatever the grid. Stars younger than the first node shine as that node, older than the last as that
one.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def age_weights(history: Any, ages: Any, age: Any, t_birth: Any = 0.0) -> tuple[jax.Array, jax.Array]:
    """Mass that each node stands for, of stars younger and older than `t_birth`.

    Parameters
    ----------
    history : StarFormationHistory.
    ages : (n,) nodes of the grid, Gyr, increasing.
    age : age of the Universe at the galaxy's redshift, Gyr; no star is older.
    t_birth : age that divides young from old stars, Gyr; the cell that it lies in is cut there.

    Returns
    -------
    (n,), (n,) arrays
        Msun formed; their sum is the mass formed until `age`.
    """
    age, cut = jnp.asarray(age, dtype=float), jnp.asarray(t_birth, dtype=float)
    ages = jnp.asarray(ages)
    # barriers keep a compiler from working the history out again for each of its uses
    when = jax.lax.optimization_barrier(jnp.concatenate([ages, jnp.stack([cut, jnp.zeros(())])]))
    mass, moment = jax.lax.optimization_barrier(history.formed(jnp.maximum(age - when, 0.0), age))
    # F(a), the mass of stars younger than a, and its integral from 0 to a
    total = mass[-1]
    younger = total - mass
    running = when * younger - (age * younger - (moment[-1] - moment))
    born, until = younger[-2], running[-2]
    whole = _second_difference(ages, running[:-2], total)
    # of stars younger than the cut F grows no more beyond it
    is_young = ages < cut
    young = _second_difference(
        ages,
        jnp.where(is_young, running[:-2], until + born * (ages - cut)),
        born,
    )
    return young, whole - young


def _second_difference(ages: jax.Array, running: jax.Array, total: jax.Array) -> jax.Array:
    """Integrals of a mass over the hat functions: by parts, differences of the mean of F over each cell."""
    mean = jnp.diff(running) / jnp.diff(ages)
    edges = jax.lax.optimization_barrier(jnp.concatenate([jnp.zeros(1), mean, total[None]]))
    return jnp.diff(edges)
