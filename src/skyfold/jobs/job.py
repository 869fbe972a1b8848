"""A job: what every fit that is described by text does, whatever its data: fitting, telling and writing."""

from __future__ import annotations

import json
import math
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from skyfold.errors import SkyfoldError, SkyfoldWarning
from skyfold.jobs.clock import IMPORT_SECONDS, process_age
from skyfold.jobs.folder import check_folder, written_whole
from skyfold.posterior import Posterior
from skyfold.results.result import Result

#: How a job ends, as exit codes of a process.
CONVERGED, NOT_CONVERGED, INTERRUPTED = 0, 1, 130
#: Where a job says what it found: a function of one text.
Say = Callable[[str], object]


@dataclass(frozen=True, kw_only=True)
class Job(ABC):
    """How a fit is done and where its results go; a domain's job adds what is fitted.

    Parameters
    ----------
    method : name or settings object.
    seed : of every random act.
    folder : where results go; None writes nothing.
    figures : whether figures are drawn.
    checkpoint : file that a long run keeps its state in, and goes on from; None keeps nothing.
    """

    #: Where to look when a model is not finite.
    hint: ClassVar[str] = "look at the priors and values"
    method: Any = "auto"
    seed: int = 0
    folder: Path | None = None
    figures: bool = True
    checkpoint: Path | None = None

    @abstractmethod
    def posterior(self) -> Posterior:
        """Read the data and build the model; raise `SkyfoldError` where either is wrong."""

    def draw(self, result: Result, folder: Path) -> None:
        """Write the figures."""
        result.save_figures(folder)

    def run(self, say: Say = print) -> tuple[int, Result | None]:
        """Read, fit, tell and write; return the exit code and the result, None where nothing is free."""
        from skyfold.inference import find

        if self.folder is not None:
            check_folder(self.folder)
        if self.checkpoint is not None:
            _check_checkpoint(self.checkpoint)
        for note in _precision():
            warnings.warn(note, SkyfoldWarning, stacklevel=1)
        method = find(self.method)
        start = time.perf_counter()
        posterior = self.posterior()
        load = time.perf_counter() - start
        if posterior.ndim == 0:
            return self._report_statistic(posterior, load, say), None
        result = posterior.fit(method, seed=self.seed, checkpoint=self.checkpoint)
        say(str(result))
        code = CONVERGED if result.converged else NOT_CONVERGED
        if self.folder is not None:
            self._write(result, load, say)
        return (INTERRUPTED if "interrupted" in result.draws.diagnostics else code), result

    def _write(self, result: Result, load: float, say: Say) -> None:
        """Write everything; a figure that fails costs no result, and is an error when they are written."""
        assert self.folder is not None
        failed: Exception | None = None
        with written_whole(self.folder, _own_files()) as folder:
            if self.figures:
                try:
                    self.draw(result, folder)
                except Exception as error:
                    failed = error
            result.save(folder / "posterior.nc")  # after the figures, whose tables it keeps
            content = result.to_dict()
            content["seconds"] |= _seconds(load)
            content["warnings"] = [*_precision(), *content["warnings"]]
            _write_json(folder / "summary.json", content)
        say(f"written to {self.folder}")
        if failed is not None:
            reason = f"{type(failed).__name__}: {failed}"
            raise RuntimeError(f"the results are written, but not every figure could be drawn ({reason})") from failed

    def _report_statistic(self, posterior: Posterior, load: float, say: Say) -> int:
        """Tell the statistic of a posterior without free parameters.

        Raises
        ------
        SkyfoldError
            If it is not finite: the model cannot be evaluated at the values given.
        """
        values = {name: float(v) for name, v in posterior.statistics(np.zeros(0)).items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise _not_finite(posterior, name, value, self.hint)
        for name, value in values.items() if len(values) > 1 else ():
            own = posterior.pairs[name][1].likelihood
            say(f"{name}: {own.statistic_name} {value:.2f} for {own.n_measured} data")
        total = sum(values.values())
        n_data = sum(o.likelihood.n_measured for _, o in posterior.pairs.values())
        say(f"{posterior.statistic_name} {total:.2f} for {n_data} data")
        if self.folder is not None:
            with written_whole(self.folder, _own_files()) as folder:
                _write_json(folder / "summary.json", _fixed_summary(posterior, values, self.seed, load))
            say(f"written to {self.folder}")
        return CONVERGED


def _not_finite(posterior: Posterior, name: str, value: float, hint: str) -> SkyfoldError:
    from skyfold.naming import parameter_names

    model, observation = posterior.pairs[name]
    values = [
        f"{n} = {float(entry.value):g}"
        for n, entry in parameter_names([model], {name: observation}).items()
        if np.shape(entry.value) == ()
    ]
    return SkyfoldError(
        f"{observation.likelihood.statistic_name} of '{model!r}' for '{name}' is {value} at {', '.join(values)}: the "
        f"model expects no finite, positive data there. Choose values for which it does; {hint}."
    )


def _check_checkpoint(path: Path) -> None:
    if path.is_dir():
        raise SkyfoldError(f"{path}: this is a folder; the checkpoint is a file, name one in it.")
    check_folder(path.parent, "a checkpoint")


def _precision() -> list[str]:
    """Say where JAX computes with 32-bit floats because the user has it so."""
    import jax

    if jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        return []
    return [
        "JAX computes with 32-bit floats (JAX_ENABLE_X64): statistics, likelihoods and the evidence are good to some "
        "six digits only. Unset JAX_ENABLE_X64, or set it to 1"
    ]


def _own_files() -> list[str]:
    """Names of all files that a job of any domain may write into its folder."""
    from skyfold.plots import saved_names

    return [*saved_names(), "posterior.nc", "summary.json"]


def _fixed_summary(posterior: Posterior, values: dict[str, float], seed: int, load: float) -> dict[str, Any]:
    """Return the summary of a posterior without free parameters; the keys are those of `Result.to_dict`."""
    from skyfold.results.description import Description

    known = Description.of(posterior)
    value, n_data = sum(values.values()), known.n_measured
    statistic = {"name": posterior.statistic_name, "value": value, "n_data": n_data, "dof": known.dof}
    return {
        "statistic": {**statistic, "observations": values},
        "parameters": {},
        "fixed": known.fixed,
        "method": "none",
        "converged": True,
        "warnings": _precision(),
        "evaluations": 1,
        "log_evidence": None,
        "seconds": {"compile": None, "sample": None, **_seconds(load)},
        "versions": known.versions,
        "seed": seed,
        "models": {o.name: o.model for o in known.observations},
    }


def _seconds(load: float) -> dict[str, float]:
    return {"import": IMPORT_SECONDS, "load": load, "total": process_age()}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
