"""Jobs of the gamma-ray sky: counts, region, PSF and model, as a TOML file describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.gammaray.job_model import ModelReader
from skyfold.gammaray.maps import CountsMap
from skyfold.gammaray.psf import Psf
from skyfold.jobs.job import Job
from skyfold.jobs.reading import Place, job_settings, load
from skyfold.naming import parameter_names
from skyfold.parameters import Parameter
from skyfold.posterior import Posterior
from skyfold.results.result import Result
from skyfold.wording import unknown_name

_TOP = (
    "data", "region", "psf", "point_sources", "component", "galactic_centre", "parameters", "priors", "values",
    "seed", "method", "output",
)  # fmt: skip
_DATA = ("counts", "exposure", "mask", "nest", "frame", "energies", "name", "nside")
_REGION = ("radius", "centre", "plane")
_POINT_SOURCES = ("s_range", "exposure_regions")
_GALACTIC_CENTRE = (
    "maps",
    "bulges",
    "foregrounds",
    "point_sources",
    "sine",
    "field",
    "exposure",
    "published",
    "resolved",
)
_PSFS: dict[str, tuple[str, ...]] = {
    "none": (),
    "gaussian": ("sigma",),
    "king": ("sigma", "gamma"),
    "double-king": ("core", "sigma_core", "gamma_core", "sigma_tail", "gamma_tail"),
    "lat": ("file", "event_type", "energy", "index"),
}


@dataclass(frozen=True, kw_only=True)
class SkyJob(Job):
    """Everything that can be said about a fit of a counts map.

    Parameters
    ----------
    path : the TOML file.
    content : what it says.
    priors, values : by name of the parameter; they go before those of the file.
    truth : true values of parameters, which figures mark.
    """

    path: Path
    content: Mapping[str, Any]
    priors: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    truth: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> SkyJob:
        """Read a job from a TOML file.

        Raises
        ------
        SkyfoldError
            If the file is missing, not TOML, or says something unknown; the message names the file and the key.
        """
        content = load(path)
        at = Place(path)
        at.known(content, _TOP)
        return cls(path=path, content=content, **job_settings(at, content))

    def posterior(self) -> Posterior:
        at = Place(self.path)
        sources = at.table(self.content, "point_sources")
        at.known(sources, _POINT_SOURCES, "point_sources")
        s_range = _s_range(at, sources)
        sky = _counts(at, at.table(self.content, "data"), at.table(self.content, "region"))
        model = self._changed(at, _model(at, self.content, sky, s_range))
        if "psf" in self.content:
            sky = _blurred(at, at.table(self.content, "psf"), sources, s_range, sky)
        elif _has_sources(model):
            raise at.error(
                "the model has point sources and the file no [psf], which says how they are blurred; add the table, "
                'as in kind = "king", sigma = 0.3, gamma = 3, or kind = "none"'
            )
        posterior: Posterior = at.checked("the model", Posterior, (model, sky))
        at.checked("the model", _foreseen, posterior)
        return posterior

    def draw(self, result: Result, folder: Path) -> None:
        from skyfold.gammaray.plots import save_all

        save_all(result, folder, truth=self.truth)

    def _changed(self, at: Place, model: Component) -> Component:
        """Model with the priors and values that are given by name."""
        priors = {name: at.prior(table, name) for table in [at.table(self.content, "priors")] for name in table}
        values = {
            name: at.value(value, f"values.{name}") if isinstance(value, list) else at.number(value, f"values.{name}")
            for name, value in at.table(self.content, "values").items()
        }
        given: dict[str, Any] = {}
        for own_priors, own_values in ((priors, values), (self.priors, self.values)):
            twice = [name for name in own_priors if name in own_values]
            if twice:
                raise SkyfoldError(f"{self.path}: '{twice[0]}' is given both a prior and a value; give one of them.")
            given |= {**own_priors, **own_values}
        names = parameter_names([model])
        for name in given:
            if name not in names:
                raise SkyfoldError(f"{self.path}: {unknown_name(name, names, 'parameter')}")
        if not given:
            return model
        changed: Component = at.checked("priors and values", model.with_priors, given)
        at.checked("priors and values", _check_inner, changed)
        return changed


def _check_inner(model: Component) -> None:
    """Raise `SkyfoldError` where a template inside another component was given a norm, which has no effect."""
    from skyfold.gammaray.point_sources import PointSources
    from skyfold.gammaray.templates import Blend, Mixture, check_parts
    from skyfold.naming import walk

    for component, _ in walk(model):
        if isinstance(component, Mixture):
            check_parts(component.members, component.name)
        elif isinstance(component, Blend):
            check_parts((component.first, component.second), component.name)
        elif isinstance(component, PointSources):
            check_parts((component.template,), component.name)


def _foreseen(posterior: Posterior) -> None:
    """Trace the expected counts: complains where shapes of the model and the counts do not fit."""
    import jax

    jax.eval_shape(posterior.kernel.expected, jax.ShapeDtypeStruct((posterior.ndim,), float))


def _s_range(at: Place, content: Mapping[str, Any]) -> tuple[float, float] | None:
    if "s_range" not in content:
        return None
    given = content["s_range"]
    pair = isinstance(given, list) and len(given) == 2
    low, high = [at.number(v, "point_sources.s_range") for v in given] if pair else (0.0, 0.0)
    if not 0 < low < high:
        raise at.error(f"'point_sources.s_range' is [lowest, highest] counts of a source, got {given!r}")
    return low, high


def _counts(at: Place, content: Mapping[str, Any], region: Mapping[str, Any]) -> CountsMap:
    """Counts map of the region."""
    from skyfold.gammaray.maps import CountsMap
    from skyfold.gammaray.regions import Band, Disc, Region

    at.known(content, _DATA, "data")
    at.known(region, _REGION, "region")
    counts = at.file(content, "counts", "data")
    if counts is None:
        raise at.error("[data] names no counts; it needs counts = 'FILE'")
    energies = at.value(content["energies"], "data.energies") if "energies" in content else None
    sky: CountsMap = at.checked(
        "[data]",
        CountsMap.read,
        counts,
        at.file(content, "exposure", "data"),
        nest=_nest(at, content),
        frame=at.text(content, "frame", "data"),
        energies=energies,
        name=at.text(content, "name", "data"),
    )
    for path in at.files(content, "mask", "data"):
        sky = at.checked("data.mask", _masked, sky, path, _nest(at, content), at.text(content, "frame", "data"))
    if "nside" in content:
        sky = at.checked("data.nside", sky.downgrade, at.whole(content["nside"], "data.nside"))
    chosen: Region | None = None
    if "radius" in region:
        centre = at.value(region.get("centre", [0.0, 0.0]), "region.centre")
        if not (isinstance(centre, list) and len(centre) == 2):
            raise at.error(f"'region.centre' is [longitude, latitude] in degrees, got {centre!r}")
        radius = at.number(region["radius"], "region.radius")
        chosen = at.checked("region.radius", Disc, radius, *centre)
    elif "centre" in region:
        raise at.error("[region] has a centre and no radius; give both")
    if "plane" in region:
        off = ~at.checked("region.plane", Band, at.number(region["plane"], "region.plane"))
        chosen = off if chosen is None else chosen & off
    return sky if chosen is None else at.checked("[region]", sky.within, chosen)


def _nest(at: Place, content: Mapping[str, Any]) -> bool | None:
    return at.switch(content["nest"], "data.nest") if "nest" in content else None


def _masked(sky: CountsMap, path: Path, nest: bool | None, frame: str | None) -> CountsMap:
    from skyfold.gammaray.checked_maps import as_mask

    return sky.masked(as_mask(path, nest, sky.pixels.n_pix, str(path), frame))


def _model(at: Place, content: Mapping[str, Any], sky: CountsMap, s_range: tuple[float, float] | None) -> Component:
    shared = {
        name: Parameter(at.checked(f"parameters.{name}", at.prior, at.table(content, "parameters"), name), name)
        for name in at.table(content, "parameters")
    }
    tables, data = content.get("component", []), at.table(content, "data")
    order: dict[str, Any] = {"nest": _nest(at, data), "frame": at.text(data, "frame", "data")}
    if "galactic_centre" in content:
        if tables:
            raise at.error("[galactic_centre] is a whole model; leave it or the [[component]] tables out")
        return _galactic_centre(at, at.table(content, "galactic_centre"), sky, s_range, order)
    if not (isinstance(tables, list) and tables and all(isinstance(t, dict) for t in tables)):
        raise at.error("at least one [[component]] table is needed, with a name and a kind")
    reader = ModelReader(at, sky, shared, s_range, "nside" in data, **order)
    model = reader.model(tables)
    used = {p.name for p in _parameters(model)}
    for name in shared:
        if name not in used:
            raise at.error(f"'parameters.{name}' is used by no component; name it there in place of a prior")
    return model


def _galactic_centre(
    at: Place,
    content: Mapping[str, Any],
    sky: CountsMap,
    s_range: tuple[float, float] | None,
    order: dict[str, Any],
) -> Component:
    from skyfold.gammaray.field import GaussianField
    from skyfold.gammaray.models import PLAIN, RESOLVED, galactic_centre, read_templates
    from skyfold.gammaray.plate_carree import bulge

    where = "galactic_centre"
    at.known(content, _GALACTIC_CENTRE, where)
    folder = at.file(content, "maps", where)
    if folder is None:
        raise at.error("[galactic_centre] names no maps; it needs maps = 'FOLDER' with template_Opi.npy and others")
    letters = at.text(content, "foregrounds", where) or "OAF"
    resolved = at.text(content, "resolved", where) or "psc"
    if resolved not in ("psc", *RESOLVED):
        raise at.error(f"'{where}.resolved' is {' or '.join(RESOLVED)}, the catalogue of the mask, got {resolved!r}")
    names = [*(f"{f}{kind}" for f in letters for kind in ("pi", "ic")), *PLAIN[:2], resolved]
    maps = at.checked(f"{where}.maps", read_templates, folder, names, **order)
    nside = sky.pixels.nside
    bulges = [
        at.checked(f"{where}.bulges", bulge, path, nside, name=path.name.split("_")[0].split(".")[0])
        for path in at.files(content, "bulges", where)
    ]
    settings = {
        key: at.switch(content[key], f"{where}.{key}")
        for key in ("point_sources", "sine", "exposure", "published")
        if key in content
    }
    if settings.get("published") and s_range not in (None, (0.1, 100.0)):
        raise at.error("'galactic_centre.published' takes sources of 0.1 to 100 counts; leave out the s_range")
    if "field" in content:
        settings["field"] = at.checked(
            f"{where}.field", GaussianField.on, sky.pixels, at.whole(content["field"], f"{where}.field")
        )
    return at.checked(where, galactic_centre, maps, bulges, foregrounds=letters, s_range=s_range, **settings)


def _blurred(
    at: Place,
    content: Mapping[str, Any],
    sources: Mapping[str, Any],
    s_range: tuple[float, float] | None,
    sky: CountsMap,
) -> CountsMap:
    """Counts map that knows how sources are blurred."""
    from skyfold.gammaray.rho import fraction_distribution

    psf = _psf(at, content)
    f: Any = [1.0]
    weights: Any = [1.0]
    if psf is not None:
        f, weights, _ = at.checked("[psf]", fraction_distribution, psf, sky.pixels.nside, sky.pixels.index)
    regions = None
    if "exposure_regions" in sources:
        regions = at.whole(sources["exposure_regions"], "point_sources.exposure_regions")
        if not 1 <= regions <= len(sky.kept):
            raise at.error(f"'point_sources.exposure_regions' is a number from 1 on, got {regions}")
    return at.checked("[point_sources]", sky.with_point_sources, f, weights, s_range=s_range, exposure_regions=regions)


def _psf(at: Place, content: Mapping[str, Any]) -> Psf | None:
    from skyfold.gammaray import psf

    kind = at.text(content, "kind", "psf")
    if kind not in _PSFS:
        raise SkyfoldError(f"{at.path}: [psf]: {unknown_name(str(kind), _PSFS, 'kind')}")
    at.known(content, ("kind", *_PSFS[kind]), "psf")
    if kind == "none":
        return None
    if kind == "lat":
        return _lat(at, content)
    missing = [key for key in _PSFS[kind] if key not in content]
    if missing:
        raise at.error(f"[psf] of the kind '{kind}' lacks {', '.join(missing)}; widths (sigma) are in degrees")
    numbers = {key: at.number(content[key], f"psf.{key}") for key in _PSFS[kind]}
    for key, value in numbers.items():
        if key.startswith("sigma") and not 0 < value < 180:
            raise at.error(f"[psf]: {key} is a positive width in degrees, below 180, got {value:g}")
        if key.startswith("gamma") and not value > 1:
            raise at.error(f"[psf]: {key} is the exponent of a King function, above 1, got {value:g}")
        if key == "core" and not 0 <= value <= 1:
            raise at.error(f"[psf]: core is the share of the first King function, from 0 to 1, got {value:g}")
    numbers = {key: float(np.radians(v)) if key.startswith("sigma") else v for key, v in numbers.items()}
    makers: dict[str, Any] = {"gaussian": psf.Gaussian, "king": psf.King, "double-king": psf.DoubleKing}
    make = makers[kind]
    return at.checked("[psf]", make, **numbers)


def _lat(at: Place, content: Mapping[str, Any]) -> Psf:
    from skyfold.gammaray.psf import LatPsf

    path = at.file(content, "file", "psf")
    if path is None:
        raise at.error("[psf] of the kind 'lat' names no file; it needs file = 'psf_P8R3_ULTRACLEANVETO_V3_PSF.fits'")
    energy = at.value(content.get("energy"), "psf.energy") if "energy" in content else None
    if energy is None or (isinstance(energy, list) and len(energy) != 2):
        raise at.error("[psf] of the kind 'lat' needs energy = 2.0 (GeV), or energy = [2.0, 20.0] to average over")
    known: LatPsf = at.checked("psf.file", LatPsf.read, path, at.text(content, "event_type", "psf") or "PSF3")
    if isinstance(energy, list):
        return at.checked("psf.energy", known.averaged, *energy, at.number(content.get("index", 2.4), "psf.index"))
    return at.checked("psf.energy", known.at, energy)


def _has_sources(model: Component) -> bool:
    from skyfold.gammaray.point_sources import PointSources
    from skyfold.naming import walk

    return any(isinstance(component, PointSources) for component, _ in walk(model))


def _parameters(model: Component) -> list[Parameter]:
    from skyfold.parameters import parameters_in

    return list(parameters_in(model))
