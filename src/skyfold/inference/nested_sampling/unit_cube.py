"""Cube: the posterior as samplers see it that know only a unit cube and a likelihood of arrays on the host."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from skyfold.errors import SkyfoldError
from skyfold.inference.density import batch_density, evaluate
from skyfold.inference.running import Checkpoint, Progress
from skyfold.posterior import Posterior

#: Shapes (blocks, points in a block) in which points are evaluated: one executable each.
_SHAPES = ((1, 1), (1, 8), (1, 64), (16, 64))
#: Log-likelihood where there is none: samplers want numbers.
FLOOR = -1e100


class Cube:
    """Log-likelihood of points in the unit cube, on which the prior is uniform.

    Parameters
    ----------
    posterior : Posterior
    method : str
        Name of the method that asks, for messages.
    progress : Progress
        Told how many evaluations there have been.

    Raises
    ------
    SkyfoldError
        If a prior has no exact transport from the unit interval.
    """

    def __init__(self, posterior: Posterior, method: str, progress: Progress) -> None:
        require_cube(posterior, method)
        self._posterior, self._progress = posterior, progress
        self.evaluations = 0
        self._warned = False
        progress.stage(method)

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """Log-likelihood (n,) of points (n, ndim)."""
        z = to_latent(u)
        result = np.empty(len(z))
        start = 0
        while start < len(z):
            left = len(z) - start
            blocks, size = next((s for s in _SHAPES if s[0] * s[1] >= left), _SHAPES[-1])
            piece = z[start : start + blocks * size]
            padded = np.zeros((blocks * size, z.shape[1]))
            padded[: len(piece)] = piece
            _, values = batch_density(self._posterior.kernel, padded.reshape(blocks, size, -1))
            result[start : start + len(piece)] = np.ravel(values)[: len(piece)]
            start += len(piece)
        self.evaluations += len(z)
        self._progress.update(self.evaluations, f"{self.evaluations} evaluations")
        if np.isnan(result).any() and not self._warned:
            evaluate(self._posterior, z[np.isnan(result)])  # warns of what is not a number
            self._warned = True
        return np.where(np.isfinite(result), result, FLOOR)


def to_latent(u: np.ndarray) -> np.ndarray:
    """Latent vectors of points in the unit cube, its faces included."""
    return ndtri(np.clip(u, 1e-16, 1.0 - 1e-16))


def require_cube(posterior: Posterior, method: str) -> None:
    """Refuse posteriors whose priors are not exactly transported from a normal variate."""
    if not posterior.exact:
        raise SkyfoldError(
            f"{method} draws from the prior, and not all priors of this posterior can be drawn exactly through a "
            "normal variate. Use auto or nuts, or priors of skyfold.priors."
        )


def require_package(package: str, extra: str) -> Any:
    """Import an optional package; where it is missing, say how it is installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise SkyfoldError(
            f"The method {extra} needs the package {package}, which cannot be imported ({error}): "
            f'pip install "skyfold[{extra}]".'
        ) from error


def checkpoint_folder(checkpoint: Checkpoint, method: str) -> Path | None:
    """Folder beside the checkpoint's file for what another program keeps; None where nothing is kept.

    Raises
    ------
    SkyfoldError
        If the folder is that of another fit, or there is no h5py, which such programs write it with.
    """
    if checkpoint.path is None:
        return None
    require_package("h5py", method)
    folder = checkpoint.path.with_name(f"{checkpoint.path.name}.{method}")
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "fingerprint.txt"
    if note.exists() and note.read_text() != checkpoint.fingerprint:
        raise SkyfoldError(
            f"{folder} is the checkpoint of another fit: other data, model, priors, method, settings or seed. Name "
            "another file, or delete it to start afresh."
        )
    note.write_text(checkpoint.fingerprint)
    return folder
