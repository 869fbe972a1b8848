"""Where the files that a spectrum names are on this disk."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

from skyfold.errors import FileFormatError, MissingFileWarning

_NOTHING = ("", "none", "%match%", "null")
_PACKED = (".gz", ".bz2")


def split(name: str) -> tuple[str, str]:
    """Divide ``file{1}`` or ``file[EXTENSION]`` into the file and the selector; a file of that very name is one."""
    if Path(name).exists():
        return name, ""
    match = re.search(r"\s*((\{[^{}]*\}|\[[^\[\]]*\])+)$", name)
    return (name[: match.start()], match[1]) if match and match.start() else (name, "")


def named(text: str | os.PathLike[str] | None) -> str | None:
    """Return a file name as a header gives it; None for blank, ``none`` and ``%match%``."""
    if text is None:
        return None
    name = os.fspath(text).strip().strip("'\"").strip()
    return None if name.lower() in _NOTHING else os.path.expanduser(os.path.expandvars(name))


def find(name: str, folder: Path, *, remembered: bool = True) -> Path | None:
    """Find a file by the name a header gives, relative to `folder`.

    Tried in order: the path as written, the same with ``.gz`` or ``.bz2`` added or taken away, the same in any case,
    and the bare file name in `folder` where `remembered` (for headers that remember a path of another machine). A
    selector behind the name stays there.
    """
    bare, selector = split(name) if not (folder / name).exists() else (name, "")
    written = Path(bare)
    for candidate in (folder / written, folder / written.name)[: 1 + remembered]:
        found = _variants(candidate)
        if found is not None:
            return found.with_name(found.name + selector)
    return None


def chosen(spectrum: Path | None, given: str | os.PathLike[str] | None, header: str, keyword: str) -> Path | None:
    """Return the file that a user names, else the one that the header of a spectrum names; None for none.

    Raises
    ------
    FileFormatError
        Where it is not there.

    Warns
    -----
    MissingFileWarning
        Where that is a background that the header names, which a fit can do without.
    """
    folder = spectrum.parent if spectrum is not None else Path()
    name = named(header if given is None else given)
    if name is None:
        return None
    path = find(name, folder if given is None else Path(), remembered=given is None)
    if path is not None:
        return path
    if given is not None and Path(name).is_dir():
        raise FileFormatError(f"{name}: this is a folder, not a FITS file. Name the file inside it")
    if given is not None:
        raise FileFormatError(f"{name}: no such file. Check the name and the folder")
    problem = f"{spectrum}: {keyword} names {name!r}, which is not in {folder.resolve()}"
    if keyword == "BACKFILE":
        warnings.warn(f"{problem}. The spectrum is used without a background", MissingFileWarning, stacklevel=3)
        return None
    argument = {"RESPFILE": "response", "ANCRFILE": "arf"}[keyword]
    raise FileFormatError(f"{problem}. Put it there, or name another: Spectrum.read(..., {argument}='...')")


def _variants(path: Path) -> Path | None:
    if not path.name:  # the folder itself, or the root
        return None
    packed = path.suffix.lower() in _PACKED
    others = [path.with_suffix("")] if packed else [path.with_name(path.name + ending) for ending in _PACKED]
    for candidate in (path, *others):
        if candidate.is_file():
            return candidate
    if not path.parent.is_dir():
        return None
    wanted = [candidate.name.lower() for candidate in (path, *others)]
    matches = [entry for entry in sorted(path.parent.iterdir()) if entry.name.lower() in wanted and entry.is_file()]
    return min(matches, key=lambda entry: wanted.index(entry.name.lower()), default=None)
