"""Settings of methods: what is checked of them."""

from __future__ import annotations

from typing import Any

from skyfold.errors import SkyfoldError


def check_positive(method: Any, *names: str) -> None:
    """Refuse settings that must be whole numbers above zero and are not."""
    for name in names:
        value = getattr(method, name)
        if not isinstance(value, int) or value < 1:
            raise SkyfoldError(f"{type(method).__name__}: {name} must be a whole number above 0, not {value!r}.")
