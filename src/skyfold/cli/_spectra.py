"""Jobs of X-ray spectra: their files, an expression, priors and values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from skyfold.cli._job import Job
from skyfold.cli._models import build_models

if TYPE_CHECKING:
    from skyfold.posterior import Posterior


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


@dataclass(frozen=True, kw_only=True)
class SpectraJob(Job):
    """Everything that the command line can be told about a fit of spectra.

    Parameters
    ----------
    sources : spectra, fitted jointly.
    model : expression in XSPEC's language.
    priors, values : by name of the parameter.
    tables : abundances and cross-sections, as `skyfold.xray.model` takes them.
    redshift : value of every parameter called ``Redshift``.
    """

    hint: ClassVar[str] = "'skyfold models' lists what each parameter may be"
    sources: tuple[Source, ...]
    model: str
    priors: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    redshift: float | None = None

    def posterior(self) -> Posterior:
        from skyfold.posterior import Posterior

        models = build_models(self.model, len(self.sources), self.priors, self.values, self.redshift, **self.tables)
        return Posterior(*zip(models, [source.read() for source in self.sources], strict=True))
