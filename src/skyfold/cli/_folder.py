"""Writing a folder of results: all of it or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skyfold.errors import SkyfoldError


def check_folder(folder: Path) -> None:
    """Raise before any work is done where a folder cannot be written.

    Raises
    ------
    SkyfoldError
        If `folder` is a file, or it or the nearest folder above it that exists is not writable.
    """
    nearest = folder.absolute()
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise SkyfoldError(f"{folder}: results cannot be written there, {nearest} is a file; name a folder.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise SkyfoldError(
            f"{folder}: results cannot be written there, {nearest} is not writable; name another folder."
        )


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to write into, whose files are moved into `folder` at the end.

    Files of the same names are replaced, others stay. When an error or interrupt comes first, nothing changes.
    """
    folder = folder.absolute()
    check_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        folder.mkdir(exist_ok=True)
        for path in sorted(temporary.iterdir()):
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
