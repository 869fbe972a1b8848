"""Jobs of X-ray spectra: their files, an expression, priors and values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from skyfold.jobs.job import Job
from skyfold.jobs.reading import Place, job_settings, load
from skyfold.posterior import Posterior
from skyfold.xray.joint_models import build_models


@dataclass(frozen=True)
class Source:
    """A spectrum and what of it is used.

    Parameters
    ----------
    spectrum : PHA file.
    response, arf, background : files to use instead of those that its header names.
    name : name in tables and figures.
    energies : ranges in keV; none for everything.
    channels : ranges of channel numbers, both ends included; none for everything.
    group : how the channels are joined, as `skyfold.xray.Spectrum.group` takes it; None for the file's groups.
    statistic, subtract : as `skyfold.xray.Spectrum.with_statistic` takes them.
    row : which spectrum of a type II file.
    """

    spectrum: Path
    response: str | Path | None = None
    arf: str | Path | None = None
    background: str | Path | None = None
    name: str | None = None
    energies: tuple[tuple[float, float], ...] = ()
    channels: tuple[tuple[float, float], ...] = ()
    group: str | None = None
    statistic: str | None = None
    subtract: bool = False
    row: int | None = None

    def read(self) -> Any:
        """Read the spectrum, notice its energies and channels, and join these."""
        from skyfold import xray

        spectrum = xray.Spectrum.read(self.spectrum, self.response, self.arf, self.background, self.name, self.row)
        if self.group is not None:
            # groups of the file must not decide which channels are noticed
            spectrum = spectrum.group("none")
        if self.energies:
            spectrum = spectrum.notice(*self.energies)
        if self.channels:
            spectrum = spectrum.notice(*self.channels, channels=True)
        if self.group is not None:
            spectrum = spectrum.group(self.group)
        if self.statistic is None and not self.subtract:
            return spectrum
        return spectrum.with_statistic(self.statistic, subtract=self.subtract)


@dataclass(frozen=True, kw_only=True)
class SpectraJob(Job):
    """Everything that can be said about a fit of spectra.

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
        models = build_models(self.model, len(self.sources), self.priors, self.values, self.redshift, **self.tables)
        return Posterior(*zip(models, [source.read() for source in self.sources], strict=True))


_TOP = (
    "model", "energies", "abund", "xsect", "redshift", "seed", "method", "observation", "priors", "values", "output"
)  # fmt: skip
_OBSERVATION = (
    "spectrum", "response", "arf", "background", "name", "energies", "channels", "group", "statistic", "subtract",
    "row"
)  # fmt: skip


def read_job(path: Path) -> SpectraJob:
    """Read a job from a TOML file.

    Raises
    ------
    SkyfoldError
        If the file is missing, not TOML, or says something unknown; the message names the file and the key.
    """
    content = load(path)
    at = Place(path)
    at.known(content, _TOP)
    settings = job_settings(at, content)
    observations = content.get("observation", [])
    if not (isinstance(observations, list) and observations and all(isinstance(o, dict) for o in observations)):
        raise at.error("at least one [[observation]] table is needed, with spectrum = 'FILE'")
    common = _ranges(at, content, "energies")
    priors = at.table(content, "priors")
    model = at.text(content, "model")
    if model is None:
        raise at.error("'model' is missing, as in model = 'tbabs*powerlaw'")
    tables = {"abundances": at.text(content, "abund"), "cross_sections": at.text(content, "xsect")}
    return SpectraJob(
        sources=tuple(_source(at, o, common) for o in observations),
        model=model,
        priors={name: at.prior(priors, name) for name in priors},
        values={name: at.number(v, f"values.{name}") for name, v in at.table(content, "values").items()},
        tables={k: v for k, v in tables.items() if v is not None},
        redshift=at.number(content["redshift"], "redshift") if "redshift" in content else None,
        **settings,
    )


def _source(at: Place, content: dict[str, Any], common: tuple[tuple[float, float], ...]) -> Source:
    at.known(content, _OBSERVATION, "observation")
    spectrum = at.file(content, "spectrum", "observation")
    if spectrum is None:
        raise at.error("an [[observation]] has no 'spectrum'")

    def optional(key: str) -> str | Path | None:
        written = at.text(content, key, "observation")
        nothing = written is not None and written.strip().lower() == "none"
        return "none" if nothing else at.file(content, key, "observation")

    response = optional("response")
    if response == "none":
        raise at.error("'observation.response' is 'none', and the fit needs a response; name its file")
    return Source(
        spectrum=spectrum,
        response=response,
        arf=optional("arf"),
        background=optional("background"),
        name=at.text(content, "name", "observation"),
        energies=_ranges(at, content, "energies", "observation") or common,
        channels=_ranges(at, content, "channels", "observation"),
        group=at.text(content, "group", "observation"),
        statistic=at.text(content, "statistic", "observation"),
        row=at.whole(content["row"], "observation.row") if "row" in content else None,
        subtract=at.switch(content.get("subtract", False), "observation.subtract"),
    )


def _ranges(at: Place, content: Mapping[str, Any], key: str, table: str = "") -> tuple[tuple[float, float], ...]:
    """Read ``[low, high]``, or a list of such pairs."""
    value = content.get(key, [])
    pairs = [value] if isinstance(value, list) and value and not isinstance(value[0], list) else value
    what = f"{table}.{key}" if table else key
    if not isinstance(pairs, list) or not all(isinstance(p, list) and len(p) == 2 for p in pairs):
        raise at.error(f"'{what}' must be [low, high] in keV, or a list of such pairs, got {value!r}")
    return tuple((at.number(low, what), at.number(high, what)) for low, high in pairs)
