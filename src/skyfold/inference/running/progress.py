"""Progress of long work on the terminal; silent where there is none."""

from __future__ import annotations

import sys
from typing import Any, Self


class Progress:
    """A bar on standard error, shown when that is a terminal or when asked for.

    Parameters
    ----------
    shown : bool or None
        None decides by the terminal.
    """

    def __init__(self, shown: bool | None = None) -> None:
        self._shown = sys.stderr.isatty() if shown is None else shown
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if self._shown:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=None, note="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def stage(self, name: str, total: float | None = None) -> None:
        """Say what is being done now, and how much of it there is."""
        if self._bar is not None:
            self._bar.reset(self._task, description=name, total=total, note="")

    def update(self, done: float, note: str = "") -> None:
        """Say how much is done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
