"""Writing a folder of results: all of it or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from skyfold.errors import SkyfoldError


def check_folder(folder: Path, what: str = "results") -> None:
    """Raise before any work is done where a folder cannot be written.

    Whether it can is tried, by making a folder in it or in the nearest one above it that exists, and taking that away.

    Raises
    ------
    SkyfoldError
        If `folder` is a file, or it or the nearest folder above it that exists is not writable; `what` says what was
        to be written.
    """
    refused = f"{folder}: {what} cannot be written there"
    try:
        nearest = folder.absolute()
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        if not nearest.is_dir():
            raise SkyfoldError(f"{refused}, {nearest} is a file; name a folder.")
        os.rmdir(tempfile.mkdtemp(prefix=".skyfold-", dir=nearest))
    except OSError as error:
        raise SkyfoldError(f"{refused} ({error.strerror}); name another folder.") from None
    except ValueError as error:
        if isinstance(error, SkyfoldError):
            raise
        raise SkyfoldError(f"{folder!r}: this is no name of a folder ({error}).") from None


@contextmanager
def written_whole(folder: Path, own: Collection[str] = ()) -> Iterator[Path]:
    """Give a temporary folder to write into, whose files are moved into `folder` at the end.

    Files of the same names are replaced, and those named in `own` that were not written now are taken away: what is
    there afterwards comes from one run. Others stay. When an error or interrupt comes first, nothing changes.
    """
    folder = folder.absolute()
    check_folder(folder)
    base = folder if folder.is_dir() else folder.parent
    base.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=base))
    try:
        yield temporary
        folder.mkdir(exist_ok=True)
        written = sorted(temporary.iterdir())
        for path in written:
            os.replace(path, folder / path.name)
        for name in set(own) - {path.name for path in written}:
            if (folder / name).is_file():
                (folder / name).unlink()
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
