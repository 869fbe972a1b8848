"""Tables of text, and the error for a name that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from skyfold.errors import SkyfoldError


def unknown_name(name: str, known: Any, what: str) -> SkyfoldError:
    """Error for a name that is not among `known`, with the nearest ones."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(repr(c) for c in close)}? " if close else ""
    return SkyfoldError(f"'{name}' is no {what} here. {hint}Known: {', '.join(known) or 'none'}.")


def p_text(p: float, n: int) -> str:
    """Write a probability that `n` replicates tell: none below what they can."""
    return f"p < {1 / n:.2g}" if p * n < 0.5 else f"p = {p:.3f}"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text under a header, aligned."""
    widths = [max(len(r[i]) for r in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in [header, *rows]]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
