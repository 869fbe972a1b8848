"""Fit a catalogue: chunk by chunk, on several threads, with files that a killed run goes on from."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from skyfold import __version__
from skyfold.catalogs.catalog import Catalog
from skyfold.catalogs.library import Library
from skyfold.catalogs.problem import Problem
from skyfold.catalogs.settings import CatalogSettings
from skyfold.catalogs.work import Work
from skyfold.errors import SkyfoldError, SkyfoldWarning
from skyfold.inference.running import Progress, fingerprint
from skyfold.parameters import parameters_in
from skyfold.results.description import Description
from skyfold.whole_file import whole_file

#: Held while a file is read: NumPy parses headers as Python, and Python 3.11's parser fails when two threads are in it.
_READING = threading.Lock()
#: What a chunk is kept by: of the program, and of what stands in the file.
_VERSION = f"{__version__}, chunk 2"


def fit_objects(
    problem: Problem,
    settings: CatalogSettings,
    *,
    folder: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress,
) -> Catalog:
    """Fit every object of a problem.

    Parameters
    ----------
    problem : objects and their model.
    settings : effort and limits.
    folder : where chunks are kept as they are done; a killed run goes on from there and gives the same result, which
        is also written there as ``catalog.ecsv`` and ``catalog.nc``.
    workers : chunks at a time; default the number of processors.
    seed : of all random numbers.
    progress : bar, already shown.

    Raises
    ------
    SkyfoldError
        If two objects have one name, the model's priors are not exact transports, nothing is free, or observations hold
        parameters.

    Warns
    -----
    SkyfoldWarning
        Of objects that could not be fitted, and of chunks in the folder that are made anew, with the reason.
    """
    work = prepare(problem, settings, seed)
    n = len(problem.ids)
    starts = range(0, n, settings.chunk)
    place = None if folder is None else Path(folder)
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
    mark = fingerprint(problem.template, replace(settings, chunk=1), seed)

    def one(start: int) -> dict[str, np.ndarray]:
        return _kept(work, np.arange(start, min(start + settings.chunk, n)), place, mark)

    pieces: dict[int, dict[str, np.ndarray]] = {}
    progress.stage("fitting", n)
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        futures = {pool.submit(one, start): start for start in starts}
        try:
            for future in as_completed(futures):
                pieces[futures[future]] = future.result()
                good = sum(int(p["passed"].sum()) for p in pieces.values())
                done = sum(len(p["passed"]) for p in pieces.values())
                progress.update(done, f"{good} of {done} converged")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    told = [text for start in starts for text in pieces[start]["problem"] if text]
    if told:
        few = "; ".join(told[:3]) + ("; ..." if len(told) > 3 else "")
        warnings.warn(
            f"{len(told)} of {n} were not fitted: {few}. The column 'problem' of the table says why.",
            SkyfoldWarning,
            stacklevel=3,
        )
    results = {name: np.concatenate([pieces[s][name] for s in starts]) for name in pieces[0]}
    names, units = _columns(problem)
    catalog = Catalog(problem.ids, names, units, results, problem.kind)
    if place is not None:
        catalog.write(place / "catalog.ecsv")
        catalog.write(place / "catalog.nc")
    return catalog


def prepare(problem: Problem, settings: CatalogSettings, seed: int) -> Work:
    """Make what all chunks share, see `fit_objects`."""
    template = problem.template
    names, counts = np.unique(problem.ids, return_counts=True)
    if np.any(counts > 1):
        twice = names[np.argmax(counts > 1)]
        where = ", ".join(map(str, np.flatnonzero(problem.ids == twice)))
        raise SkyfoldError(
            f"The {problem.kind}s number {where} have the same name {twice}; give each its own, or none, so that they "
            "are called by their numbers."
        )
    if not template.exact:
        raise SkyfoldError("A catalogue needs priors of skyfold's own; one of NumPyro's has no exact transport.")
    if not template.ndim:
        raise SkyfoldError("The model of a catalogue has no free parameter, but for what is integrated out.")
    for observation in (o for _, o in template.pairs.values() if any(True for _ in parameters_in(o))):
        raise SkyfoldError(f"'{observation.name}' has free parameters of its own; a catalogue's may have none.")
    return Work(problem, Library.of(problem, settings.library, seed), settings, seed)


def _kept(work: Work, numbers: np.ndarray, folder: Path | None, mark: str) -> dict[str, np.ndarray]:
    """Result of a chunk: from its file where that is there and of the same work, else made and kept."""
    if folder is None:
        return work.chunk(numbers)
    own = hashlib.sha256(f"{mark}{_VERSION}".encode())
    leaves, structure = jax.tree.flatten(work.problem.data(numbers))
    own.update(str(structure).encode() + repr(work.problems(numbers)).encode())
    for array in leaves:
        own.update(np.ascontiguousarray(array).tobytes())
    path, digest = folder / f"chunk_{numbers[0]:08d}.npz", own.hexdigest()
    if path.is_file():
        try:
            with _READING, np.load(path) as file:
                if str(file["mark"]) == digest:
                    return {name: file[name] for name in file.files if name not in ("mark", "version")}
                own_version = "version" in file.files and str(file["version"]) == _VERSION
            reason = "of other data, model, settings or seed" if own_version else "of another version of skyfold"
        except Exception as problem:
            # a file that lost power or space left behind breaks NumPy, zipfile and zlib in many ways
            reason = f"that cannot be read ({path.name}: {type(problem).__name__}: {problem})"
        warnings.warn(f"{folder}: chunks {reason} are made anew.", SkyfoldWarning, stacklevel=2)
    found = work.chunk(numbers)
    arrays: dict[str, Any] = {**found, "mark": np.array(digest), "version": np.array(_VERSION)}
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
    return found


def _columns(problem: Problem) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and units of the parameters' entries and of what the problem adds."""
    described = Description.of(problem.template)
    names, units = described.entries, [p.unit for p in described.parameters for _ in p.entries]
    return (*names, *(name for name, _ in problem.columns)), (*units, *(unit for _, unit in problem.columns))
