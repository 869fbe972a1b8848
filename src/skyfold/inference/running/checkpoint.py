"""Checkpoint: the state of a long run on disk, so that a killed run goes on where it was.

Nothing in the file is executed: it holds plain arrays and the fingerprint of what is being run. A method saves after
every piece of work and, when started again with the same file, continues with the same random numbers that an
uninterrupted run would use.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.posterior import Posterior
from skyfold.whole_file import whole_file

#: Which states of which methods a file holds; it grows when an older file cannot be gone on from.
_FORMAT = 2


class Checkpoint:
    """A file that a method saves its state to.

    Parameters
    ----------
    path : str, Path or None
        Where; None keeps nothing.
    fingerprint : str
        What is being run (see `fingerprint`); a file of another run is refused.
    """

    def __init__(self, path: str | Path | None = None, fingerprint: str = "") -> None:
        self.path = None if path is None else Path(path)
        self.fingerprint = fingerprint

    def load(self) -> dict[str, np.ndarray] | None:
        """State that was saved last, None where there is none.

        Raises
        ------
        SkyfoldError
            If the file is none of ours, of a former version, or of another posterior, method or seed.
        """
        if self.path is None or not self.path.exists():
            return None
        try:
            with np.load(self.path) as file:
                state = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
            raise SkyfoldError(
                f"{self.path} is not a checkpoint of skyfold ({error}); delete it to start afresh."
            ) from error
        if int(state.pop("format", 1)) != _FORMAT:
            raise SkyfoldError(
                f"{self.path} was written by another version of skyfold, whose runs this one cannot go on with; finish "
                "the run with that version, or delete the file to start afresh."
            )
        if str(state.pop("fingerprint", "")) != self.fingerprint:
            raise SkyfoldError(
                f"{self.path} is the checkpoint of another fit: other data, model, priors, method, settings, seed or "
                "version of JAX. Name another file, or delete it to start afresh."
            )
        return state

    def save(self, **state: Any) -> None:
        """Replace what was saved, all or nothing."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {k: np.asarray(v) for k, v in state.items()}
        with whole_file(self.path) as temporary, open(temporary, "wb") as file:
            np.savez(file, fingerprint=np.array(self.fingerprint), format=np.array(_FORMAT), **arrays)

    def discard(self) -> None:
        """Delete the file: the run is over."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


#: Keeps nothing.
NO_CHECKPOINT = Checkpoint()


def fingerprint(posterior: Posterior, method: Any, seed: int) -> str:
    """Digest of everything that the draws depend on."""
    import jax

    from skyfold import __version__

    digest = hashlib.sha256()
    leaves, structure = jax.tree.flatten(posterior.kernel)
    # the structure holds the classes of priors and components: Uniform(a, b) and LogUniform(a, b) have the same leaves
    described = (posterior.names, method, seed, str(structure), jax.__version__, __version__)
    digest.update(repr(described).encode())
    for leaf in leaves:
        array = np.asarray(leaf)
        digest.update(repr((array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
