"""Former home of `skyfold.compiled.jit`, kept for what imports it from here."""

from skyfold.compiled.jit import jit  # noqa: F401
