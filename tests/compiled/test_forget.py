"""Memory of a long process: what was compiled can be let go of, and is compiled anew when it is needed."""

from __future__ import annotations

import gc
import weakref

import jax.numpy as jnp
import numpy as np

from skyfold.compiled.jit import forget, jit


def test_what_was_compiled_is_let_go_and_made_anew() -> None:
    twice = jit(lambda x: 2.0 * jnp.sin(x))
    first = twice(np.ones(3))
    assert twice.executables() == 1
    forget()
    assert twice.executables() == 0
    np.testing.assert_array_equal(twice(np.ones(3)), first)
    alive = weakref.ref(twice)
    del twice
    gc.collect()
    assert alive() is None, "the list of functions keeps them"
