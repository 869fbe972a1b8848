"""RunState: what a long run needs to go on after it was killed."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from skyfold.inference.running.checkpoint import Checkpoint

_NUMBERS: dict[str, Any] = {"int": int, "float": float, "bool": bool}


class RunState:
    """Arrays and numbers of a run, under the names and types that a subclass annotates.

    A subclass adds what makes the first state and what moves it on. All that is annotated goes into a checkpoint and
    comes back from there; what the run can make anew is not annotated.
    """

    _kinds: ClassVar[dict[str, Any]]

    def __init_subclass__(cls) -> None:
        own = {n: _NUMBERS.get(kind, np.array) for n, kind in cls.__annotations__.items()}
        cls._kinds = {**getattr(cls, "_kinds", {}), **own}

    def __init__(self, **state: Any) -> None:
        for name, kind in self._kinds.items():
            setattr(self, name, kind(state[name]))

    def state(self) -> dict[str, Any]:
        """What goes into the checkpoint."""
        return {name: getattr(self, name) for name in self._kinds}

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep the state on disk, in place of the last one."""
        checkpoint.save(**self.state())

    @classmethod
    def restored(cls, checkpoint: Checkpoint) -> Self | None:
        """State that was saved last, None where there is none."""
        state = checkpoint.load()
        return cls(**state) if state else None
