"""Fetching public data by name: downloaded once, checked, and kept."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skyfold.data.registry import DATA_SETS, DataSet, PublicFile
from skyfold.errors import SkyfoldError

#: File of a folder with the checksums of files whose owners publish none, as they were at the first download.
PINS = "sha256.json"
#: Seconds without an answer after which a download is given up.
_TIMEOUT = 60


@dataclass(frozen=True)
class Fetched:
    """What a call of `fetch` did.

    Attributes
    ----------
    folder : where the files are.
    downloaded : names of the files that were not there before.
    pinned : names of the files of which no checksum is known, so that they were taken as they came (or lay there).
    """

    folder: Path
    downloaded: tuple[str, ...]
    pinned: tuple[str, ...]


def data_folder() -> Path:
    """Folder of fetched data: ``skyfold/data`` in the user's cache directory, or SKYFOLD_DATA."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("SKYFOLD_DATA", "").strip()
    return Path(chosen) if chosen else user_cache_path("skyfold", appauthor=False) / "data"


def find(name: str) -> DataSet:
    """Entry of the table of public data.

    Raises
    ------
    SkyfoldError
        If there is none of this name.
    """
    from skyfold.wording import unknown_name

    if name not in DATA_SETS:
        raise unknown_name(name, DATA_SETS, "public data set")
    return DATA_SETS[name]


def fetch(name: str, folder: str | Path | None = None, *, progress: bool = False) -> Fetched:
    """Download the files of a data set, except those that are there and unchanged.

    Parameters
    ----------
    name : of the table `skyfold.data.registry.DATA_SETS`.
    folder : where the files go; by default a folder of that name in `data_folder`.
    progress : say on standard error what is downloaded.

    Raises
    ------
    SkyfoldError
        If there is no such data set, pooch is not installed, a server does not answer, or a file is not the one that
        its checksum says.
    """
    chosen = find(name)
    place = Path(folder) if folder is not None else data_folder() / name
    pooch = _pooch()
    pins = _read_pins(place)
    downloaded, pinned = [], []
    for number, file in enumerate(chosen.files, start=1):
        known = file.sha256 or pins.get(file.url)
        there = (place / file.name).is_file()
        if there and known is not None and pooch.file_hash(str(place / file.name)) == known:
            continue
        if there and known is not None:
            raise SkyfoldError(
                f"{place / file.name}: the file has changed since it was downloaded (another sha256); delete it to "
                "download it again, or choose another folder."
            )
        if not there:
            if progress:
                print(f"{number}/{len(chosen.files)} {file.url}", file=sys.stderr, flush=True)
            _download(pooch, file, place, known)
            downloaded.append(file.name)
        if known is None:
            pins[file.url] = pooch.file_hash(str(place / file.name))
            _write_pins(place, pins)
            pinned.append(file.name)
    return Fetched(place, tuple(downloaded), tuple(pinned))


def _download(pooch: Any, file: PublicFile, place: Path, known: str | None) -> None:
    """Download one file to its place, whole or not at all."""
    import requests

    try:
        place.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(
            file.url,
            known_hash=None if known is None else f"sha256:{known}",
            fname=file.name,
            path=place,
            downloader=pooch.HTTPDownloader(timeout=_TIMEOUT, progressbar=False),
        )
    except requests.exceptions.HTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise SkyfoldError(
            f"{file.url}: the server answers {status}; the file may have moved. Look for '{file.name}' where its "
            "owners publish it, and report the address."
        ) from None
    except requests.exceptions.RequestException as error:
        raise SkyfoldError(
            f"{file.url}: the server cannot be reached ({type(error).__name__}); check the connection to the internet, "
            f"or download the file elsewhere and put it into {place}."
        ) from None
    except ValueError as error:
        if "hash" not in str(error).lower():
            raise
        raise SkyfoldError(
            f"{file.url}: what was downloaded is not the file that is known (another sha256), so it was not kept. "
            f"Try again; if it stays so and you trust the server, delete {PINS} in {place}."
        ) from None
    except OSError as error:
        raise SkyfoldError(f"{place}: the file cannot be written ({error.strerror}); name another folder.") from None
    if file.size is not None and (place / file.name).stat().st_size != file.size:
        found = (place / file.name).stat().st_size
        (place / file.name).unlink()
        raise SkyfoldError(f"{file.url}: {found} bytes came, and the file has {file.size}; try again.")


def _read_pins(place: Path) -> dict[str, str]:
    path = place / PINS
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(url): str(value) for url, value in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise SkyfoldError(
            f"{path}: the checksums of earlier downloads cannot be read ({error}); delete the folder and fetch again."
        ) from None


def _write_pins(place: Path, pins: dict[str, str]) -> None:
    handle, temporary = tempfile.mkstemp(dir=place, prefix=f".{PINS}")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(json.dumps(pins, indent=2, sort_keys=True) + "\n")
    os.replace(temporary, place / PINS)


def _pooch() -> Any:
    try:
        import pooch
    except ImportError:
        raise SkyfoldError(
            "Fetching data needs the package pooch; install it with pip install 'skyfold[fetch]'."
        ) from None
    import logging

    pooch.get_logger().setLevel(logging.WARNING)
    return pooch
