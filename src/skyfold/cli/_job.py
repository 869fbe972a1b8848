"""A job: spectra, a model and a method; reading, fitting, printing and writing them."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from skyfold.cli._clock import IMPORT_SECONDS, process_age
from skyfold.cli._folder import check_folder, written_whole
from skyfold.cli._models import build_models
from skyfold.cli._program import CONVERGED, INTERRUPTED, NOT_CONVERGED
from skyfold.errors import SkyfoldError, SkyfoldWarning

if TYPE_CHECKING:
    from skyfold.posterior import Posterior
    from skyfold.results.result import Result


@dataclass(frozen=True)
class Source:
    """A spectrum and what of it is used.

    Parameters
    ----------
    spectrum : PHA file.
    response, arf, background : files to use instead of those that its header names.
    name : name in tables and figures.
    energies : ranges in keV; none for everything.
    """

    spectrum: Path
    response: str | Path | None = None
    arf: str | Path | None = None
    background: str | Path | None = None
    name: str | None = None
    energies: tuple[tuple[float, float], ...] = ()

    def read(self) -> Any:
        """Read the spectrum and notice its energies."""
        from skyfold import xray

        spectrum = xray.Spectrum.read(self.spectrum, self.response, self.arf, self.background, self.name)
        return spectrum.notice(*self.energies) if self.energies else spectrum


@dataclass(frozen=True)
class Job:
    """Everything that the command line can be told about a fit.

    Parameters
    ----------
    sources : spectra, fitted jointly.
    model : expression in XSPEC's language.
    priors, values : by name of the parameter.
    tables : abundances and cross-sections, as `skyfold.xray.model` takes them.
    redshift : value of every parameter called ``Redshift``.
    method : name or settings object.
    seed : of every random act.
    folder : where results go; None writes nothing.
    figures : whether figures are drawn.
    checkpoint : file that a long run keeps its state in, and goes on from; None keeps nothing.
    """

    sources: tuple[Source, ...]
    model: str
    priors: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    redshift: float | None = None
    method: Any = "auto"
    seed: int = 0
    folder: Path | None = None
    figures: bool = True
    checkpoint: Path | None = None

    def run(self) -> tuple[int, Result | None]:
        """Read, fit, print and write; return the exit code and the result, None where nothing is free."""
        from skyfold.inference import find

        if self.folder is not None:
            check_folder(self.folder)
        if self.checkpoint is not None:
            _check_checkpoint(self.checkpoint)
        for note in _precision():
            warnings.warn(note, SkyfoldWarning, stacklevel=1)
        method = find(self.method)
        models = build_models(self.model, len(self.sources), self.priors, self.values, self.redshift, **self.tables)
        start = time.perf_counter()
        spectra = [source.read() for source in self.sources]
        load = time.perf_counter() - start
        posterior = _posterior(models, spectra)
        if posterior.ndim == 0:
            return self._report_statistic(posterior, load), None
        result = posterior.fit(method, seed=self.seed, checkpoint=self.checkpoint)
        click.echo(str(result))
        code = CONVERGED if result.converged else NOT_CONVERGED
        if self.folder is not None:
            self._write(result, load)
        return (INTERRUPTED if "interrupted" in result.draws.diagnostics else code), result

    def _write(self, result: Result, load: float) -> None:
        """Write everything; a figure that fails costs no result, and is an error when they are written."""
        assert self.folder is not None
        failed: Exception | None = None
        with written_whole(self.folder, _own_files()) as folder:
            if self.figures:
                try:
                    result.save_figures(folder)
                except Exception as error:
                    failed = error
            result.save(folder / "posterior.nc")  # after the figures, whose tables it keeps
            content = result.to_dict()
            content["seconds"] |= _seconds(load)
            content["warnings"] = [*_precision(), *content["warnings"]]
            _write_json(folder / "summary.json", content)
        click.echo(f"written to {self.folder}")
        if failed is not None:
            reason = f"{type(failed).__name__}: {failed}"
            raise RuntimeError(f"the results are written, but not every figure could be drawn ({reason})") from failed

    def _report_statistic(self, posterior: Posterior, load: float) -> int:
        """Print the statistic of a posterior without free parameters.

        Raises
        ------
        SkyfoldError
            If it is not finite: the model cannot be evaluated at the values given.
        """
        values = {name: float(v) for name, v in posterior.statistics(np.zeros(0)).items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise _not_finite(posterior, name, value)
        for name, value in values.items() if len(values) > 1 else ():
            observation = posterior.pairs[name][1]
            click.echo(f"{name}: {observation.likelihood.statistic_name} {value:.2f} for {observation.n_data} data")
        total = sum(values.values())
        click.echo(f"{posterior.statistic_name} {total:.2f} for {posterior.n_data} data")
        if self.folder is not None:
            with written_whole(self.folder, _own_files()) as folder:
                _write_json(folder / "summary.json", _fixed_summary(posterior, values, self.seed, load))
            click.echo(f"written to {self.folder}")
        return CONVERGED


def _posterior(models: list[Any], spectra: list[Any]) -> Posterior:
    from skyfold.posterior import Posterior

    return Posterior(*zip(models, spectra, strict=True))


def _not_finite(posterior: Posterior, name: str, value: float) -> SkyfoldError:
    from skyfold.component import parameter_names

    model, observation = posterior.pairs[name]
    values = [
        f"{n} = {float(entry.value):g}" for n, entry in parameter_names([model]).items() if np.shape(entry.value) == ()
    ]
    return SkyfoldError(
        f"{observation.likelihood.statistic_name} of '{model!r}' for '{name}' is {value} at {', '.join(values)}: the "
        "model expects no finite, positive data there. Choose values for which it does; 'skyfold models' lists what "
        "each parameter may be."
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
    """Names of all files that a job may write into its folder."""
    from skyfold.plots import saved_names

    return [*saved_names(), "posterior.nc", "summary.json"]


def _fixed_summary(posterior: Posterior, values: dict[str, float], seed: int, load: float) -> dict[str, Any]:
    """Return the summary of a posterior without free parameters; the keys are those of `Result.to_dict`."""
    from skyfold.results.description import Description

    known = Description.of(posterior)
    n_data = posterior.n_data
    statistic = {"name": posterior.statistic_name, "value": sum(values.values()), "n_data": n_data, "dof": n_data}
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
