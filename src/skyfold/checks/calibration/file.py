"""Fits of a calibration, and the CSV file that keeps them, one row each, so that a killed calibration goes on."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from skyfold.errors import SkyfoldError

#: How the first line of a file begins; settings follow in JSON.
_MARK = "# skyfold calibration "
_FIELDS = ("number", "converged", "sampler", "evaluations", "compile_seconds", "sample_seconds")


@dataclass(frozen=True)
class Fit:
    """One simulated data set and its fit.

    Attributes
    ----------
    number : of the data set.
    converged : whether the method calls the fit converged.
    sampler : what drew, where the method decides among several.
    evaluations : of the likelihood.
    compile_seconds, sample_seconds : what the fit took.
    ranks : of the true quantities among the draws, NaN without a result.
    truth : the true quantities.
    message : what the method says.
    """

    number: int
    converged: bool
    sampler: str
    evaluations: int
    compile_seconds: float
    sample_seconds: float
    ranks: tuple[float, ...]
    truth: tuple[float, ...]
    message: str


@dataclass(frozen=True)
class Fits:
    """Fits of one calibration.

    Attributes
    ----------
    method, settings : name of the method and all of its settings, as text.
    seed : of the calibration.
    quantities : names of what is ranked.
    rows : the fits.
    """

    method: str
    settings: str
    seed: int
    quantities: tuple[str, ...]
    rows: tuple[Fit, ...] = ()


class FitsFile:
    """The file of a calibration.

    Parameters
    ----------
    path : where; None keeps nothing.
    fits : what it is of, without rows.
    fingerprint : of posterior, method and seed; a file with another one is refused.
    """

    def __init__(self, path: str | Path | None, fits: Fits, fingerprint: str) -> None:
        self.path = None if path is None else Path(path)
        self.fits = fits
        self.fingerprint = fingerprint

    def load(self) -> tuple[Fit, ...]:
        """Rows that are there already; a last one that was not finished is cut off.

        Raises
        ------
        SkyfoldError
            If the file is none of a calibration, or of another one.
        """
        if self.path is None:
            return ()
        if not self.path.exists() or self.path.stat().st_size == 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            f = self.fits
            head = {
                "method": f.method,
                "settings": f.settings,
                "seed": f.seed,
                "quantities": f.quantities,
                "fingerprint": self.fingerprint,
            }
            columns = [*_FIELDS, *(f"rank {q}" for q in f.quantities), *(f"true {q}" for q in f.quantities), "message"]
            self.path.write_text(f"{_MARK}{json.dumps(head)}\n{_line(columns)}", encoding="utf-8")
            return ()
        found, head = _read(self.path)
        if head.get("fingerprint") != self.fingerprint:
            raise SkyfoldError(
                f"{self.path} is of another calibration: other models, priors, method, settings or seed. Name another "
                "file, or delete it to start afresh."
            )
        whole = self.path.read_bytes()
        if not whole.endswith(b"\n"):
            self.path.write_bytes(whole[: whole.rfind(b"\n") + 1])
        return found.rows

    def add(self, fit: Fit) -> None:
        """Add a row; it is on disk when this returns."""
        if self.path is None:
            return
        cells = [
            str(fit.number),
            str(int(fit.converged)),
            fit.sampler,
            str(fit.evaluations),
            f"{fit.compile_seconds:.3f}",
            f"{fit.sample_seconds:.3f}",
            *(f"{u:.6f}" for u in fit.ranks),
            *(f"{t:.6g}" for t in fit.truth),
            " ".join(fit.message.split()),
        ]
        with open(self.path, "ab") as file:
            file.write(_line(cells).encode())
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def read(path: str | Path) -> Fits:
        """Read a file without knowing what it is of; errors as in `load`."""
        return _read(Path(path))[0]


def _line(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _read(path: Path) -> tuple[Fits, dict[str, object]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        if not lines or not lines[0].startswith(_MARK):
            raise ValueError("its first line is not that of a calibration")
        head = json.loads(lines[0].removeprefix(_MARK))
        fits = Fits(head["method"], head["settings"], int(head["seed"]), tuple(head["quantities"]))
        # a row without its end was being written when the run was killed
        rows = [_fit(cells, len(fits.quantities)) for cells in csv.reader(x for x in lines[2:] if x.endswith("\n"))]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise SkyfoldError(f"{path} is not a file of a calibration ({error}); name another.") from error
    latest = {fit.number: fit for fit in rows}
    return replace(fits, rows=tuple(latest[i] for i in sorted(latest))), head


def _fit(cells: list[str], n: int) -> Fit:
    start = len(_FIELDS)
    if len(cells) != start + 2 * n + 1:
        raise ValueError(f"a row has {len(cells)} columns, not {start + 2 * n + 1}")
    return Fit(
        number=int(cells[0]),
        converged=cells[1] == "1",
        sampler=cells[2],
        evaluations=int(cells[3]),
        compile_seconds=float(cells[4]),
        sample_seconds=float(cells[5]),
        ranks=tuple(float(c) for c in cells[start : start + n]),
        truth=tuple(float(c) for c in cells[start + n : start + 2 * n]),
        message=cells[-1],
    )
