"""Where the files that a spectrum names are on this disk."""

from __future__ import annotations

import os
import re
from pathlib import Path

_NOTHING = ("", "none", "%match%", "null")


def named(text: str | os.PathLike[str] | None) -> str | None:
    """Return a file name as a header gives it, without selectors; None for blank, ``none`` and ``%match%``."""
    if text is None:
        return None
    name = os.fspath(text).strip().strip("'\"").strip()
    name = re.sub(r"(\{[^{}]*\}|\[[^\[\]]*\])+$", "", name).strip()
    return None if name.lower() in _NOTHING else os.path.expanduser(os.path.expandvars(name))


def find(name: str, folder: Path, *, remembered: bool = True) -> Path | None:
    """Find a file by the name a header gives, relative to `folder`.

    Tried in order: the path as written, the same with ``.gz`` added or taken away, the same in any case, and the
    bare file name in `folder` where `remembered` (for headers that remember a path of another machine).
    """
    written = Path(name)
    for candidate in (folder / written, folder / written.name)[: 1 + remembered]:
        found = _variants(candidate)
        if found is not None:
            return found
    return None


def _variants(path: Path) -> Path | None:
    if not path.name:  # the folder itself, or the root
        return None
    other = path.with_suffix("") if path.suffix.lower() == ".gz" else path.with_name(path.name + ".gz")
    for candidate in (path, other):
        if candidate.is_file():
            return candidate
    if not path.parent.is_dir():
        return None
    wanted = (path.name.lower(), other.name.lower())
    matches = [entry for entry in sorted(path.parent.iterdir()) if entry.name.lower() in wanted and entry.is_file()]
    return min(matches, key=lambda entry: wanted.index(entry.name.lower()), default=None)
