"""Method: what `Posterior.fit` takes."""

from __future__ import annotations

from typing import ClassVar, Protocol

from skyfold.inference.running.checkpoint import Checkpoint
from skyfold.inference.running.draws import Draws
from skyfold.inference.running.progress import Progress
from skyfold.posterior import Posterior


class Method(Protocol):
    """A frozen dataclass of settings that is called on a posterior.

    Attributes
    ----------
    name : as in tables and in ``fit(name)``.
    """

    name: ClassVar[str]

    def __call__(self, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint = ...) -> Draws:
        """Explore the posterior.

        Parameters
        ----------
        posterior : what is explored.
        seed : the same seed gives the same draws.
        progress : is told what is being done; silent where there is no terminal.
        checkpoint : holds the state that a killed run left, and takes that of this one.

        Raises
        ------
        SkyfoldError
            If the method cannot explore this posterior.
        """
        ...
