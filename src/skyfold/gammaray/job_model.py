"""From tables of a TOML file to components of the gamma-ray sky."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.jobs.reading import Place
from skyfold.parameters import Prior, shape_of
from skyfold.wording import unknown_name

#: Keys of a template, besides ``kind``, by its kind.
TEMPLATES: dict[str, tuple[str, ...]] = {
    "template": ("map", "exposure", "units"),
    "bulge": ("map", "exposure"),
    "isotropic": ("exposure",),
    "nfw": ("gamma", "r_s", "R_sun", "s_max", "exposure"),
    "disk": ("zs", "C", "R_sun", "s_max", "published", "exposure"),
    "mixture": ("members", "weights"),
    "blend": ("first", "second", "fraction"),
}
_SOURCES = ("template", "Sps", "n1", "n2", "n3", "Sb1", "lambda")
#: Keys whose values may have several entries: one per energy bin, member, or harmonic.
_VECTORS = ("norm", "weights", "coefficients")
_MODULATIONS = {"harmonics": ("order", "sine", "coefficients"), "field": ("nside", "amplitude", "length")}


@dataclass(frozen=True)
class ModelReader:
    """Reads components, each with the place that its complaints name.

    Parameters
    ----------
    at : the file.
    sky : counts map that the model is for: its pixels decide what a template must have.
    shared : parameters that several components have, by name.
    s_range : range of S of all point sources.
    coarser : whether maps of templates are brought to the resolution of the counts.
    nest, frame : order and coordinates of maps whose files do not say them, as of the counts.
    """

    at: Place
    sky: Any
    shared: Mapping[str, Any] = field(default_factory=dict)
    s_range: tuple[float, float] | None = None
    coarser: bool = False
    nest: bool | None = None
    frame: str | None = None

    def model(self, tables: list[dict[str, Any]]) -> Component:
        """Sum of the components of the ``[[component]]`` tables."""
        model: Component | None = None
        names: set[str] = set()
        for number, content in enumerate(tables, start=1):
            name = self.at.text(content, "name", f"component {number}")
            if name is None or not name.replace("_", "").replace("-", "").isalnum():
                raise self.at.error(
                    f"component {number} has {'no name' if name is None else f'the name {name!r}'}; give it one of "
                    "letters, digits, '_' and '-', by which tables and figures call it"
                )
            if name in names:
                raise self.at.error(f"two components are called '{name}'; give each its own name")
            names.add(name)
            component = self.component(content, name)
            model = component if model is None else model + component
        assert model is not None
        return model

    def component(self, content: dict[str, Any], name: str) -> Component:
        """Component of a ``[[component]]`` table."""
        where = f"component.{name}"
        if self._kind(content, where, (*TEMPLATES, "point-sources")) != "point-sources":
            if "norm" not in content:
                raise self.at.error(
                    f"'{where}' has no norm; give it a prior, as in norm = \"Uniform(0, 5)\", or a number: mean counts "
                    "per pixel of the region"
                )
            return self.template(content, name, where, outer=True)
        from skyfold.gammaray.point_sources import PointSources

        self.at.known(content, ("kind", "name", *_SOURCES), where)
        if "template" not in content:
            raise self.at.error(f"'{where}' has no template: say where its sources are, as in template = {{...}}")
        shape = self.template(content["template"], f"{name}_shape", f"{where}.template")
        values = self._values(content, _SOURCES[1:], where)
        if "lambda" in values:
            values["lam"] = values.pop("lambda")
        return self._made(where, PointSources, shape, **values, s_range=self.s_range, name=name)

    def template(self, content: Any, name: str, where: str, *, outer: bool = False) -> Any:
        """Template of a table, or of the name of a file.

        Parameters
        ----------
        content : table, or file name of a map of counts.
        name : what it is called where the table does not say.
        where : its place in the file.
        outer : whether it is a component of its own, and not a part of one.
        """
        if isinstance(content, str):
            content = {"kind": "template", "map": content}
        if not isinstance(content, dict):
            raise self.at.error(f"'{where}' must be a table or the name of a file, got {content!r}")
        kind = self._kind(content, where, tuple(TEMPLATES))
        self.at.known(content, ("kind", "name", *TEMPLATES[kind], "modulation", *(("norm",) if outer else ())), where)
        settings: dict[str, Any] = self._values(content, ("norm",), where)
        settings["name"] = self.at.text(content, "name", where) or name
        if "modulation" in content:
            settings["modulation"] = self._modulation(content["modulation"], f"{where}.modulation")
        if "exposure" in content:
            settings["exposure"] = self.at.switch(content["exposure"], f"{where}.exposure")
        return getattr(self, f"_{kind}")(content, where, settings)

    # -- one kind each -------------------------------------------------------------------------------------------

    def _template(self, content: dict[str, Any], where: str, settings: dict[str, Any]) -> Any:
        import equinox as eqx

        from skyfold.gammaray.checked_maps import as_map
        from skyfold.gammaray.healpix import downgrade, nside_of
        from skyfold.gammaray.templates import Template

        path = self._map(content, where)
        if "units" in content:
            settings["units"] = self.at.text(content, "units", where)
        found = self.at.checked(f"{where}.map", as_map, path, self.nest, str(path), self.frame)
        template = self._made(where, Template, found, **settings)
        nside = self.sky.pixels.nside
        if self.coarser and nside_of(found.values.shape[-1], str(path)) > nside:
            template = eqx.tree_at(lambda t: t.map, template, downgrade(template.map, nside))
        return self._lit(template, where, path)

    def _bulge(self, content: dict[str, Any], where: str, settings: dict[str, Any]) -> Any:
        from skyfold.gammaray.plate_carree import bulge

        path = self._map(content, where)
        return self._lit(self._made(where, bulge, path, self.sky.pixels.nside, **settings), where, path)

    def _isotropic(self, content: dict[str, Any], where: str, settings: dict[str, Any]) -> Any:
        from skyfold.gammaray.templates import Isotropic

        return self._made(where, Isotropic, **settings)

    def _nfw(self, content: dict[str, Any], where: str, settings: dict[str, Any]) -> Any:
        from skyfold.gammaray.nfw import NFWSquared

        values = self._values(content, ("gamma", "r_s", "R_sun"), where) | self._length(content, where)
        return self._made(where, NFWSquared, **values, **settings)

    def _disk(self, content: dict[str, Any], where: str, settings: dict[str, Any]) -> Any:
        from skyfold.gammaray.disk import Disk

        values = self._values(content, ("zs", "C", "R_sun"), where) | self._length(content, where)
        published = self.at.switch(content.get("published", False), f"{where}.published")
        return self._made(where, Disk, **values, published=published, **settings)

    def _mixture(self, content: dict[str, Any], where: str, settings: dict[str, Any]) -> Any:
        from skyfold.gammaray.templates import Mixture

        members = content.get("members")
        if not isinstance(members, list) or not members:
            raise self.at.error(f"'{where}.members' must be a list of files or tables, got {members!r}")
        parts = [
            self.template(member, _stem(member) or f"{settings['name']}_{number}", f"{where}.members[{number}]")
            for number, member in enumerate(members)
        ]
        return self._made(where, Mixture, parts, **self._values(content, ("weights",), where), **settings)

    def _blend(self, content: dict[str, Any], where: str, settings: dict[str, Any]) -> Any:
        from skyfold.gammaray.templates import Blend

        parts = []
        for key in ("first", "second"):
            if key not in content:
                raise self.at.error(f"'{where}' has no '{key}': a blend is made of two templates")
            part = content[key]
            kind = part.get("kind", key) if isinstance(part, dict) else key
            parts.append(self.template(part, _stem(part) or f"{settings['name']}_{kind}", f"{where}.{key}"))
        return self._made(where, Blend, *parts, **self._values(content, ("fraction",), where), **settings)

    def _modulation(self, content: Any, where: str) -> Component:
        if not isinstance(content, dict):
            raise self.at.error(f"'{where}' must be a table, as in {{kind = \"harmonics\", order = 2}}")
        kind = self._kind(content, where, tuple(_MODULATIONS))
        self.at.known(content, ("kind", *_MODULATIONS[kind]), where)
        if kind == "harmonics":
            from skyfold.gammaray.harmonics import Harmonics

            order = self.at.whole(content.get("order", 2), f"{where}.order")
            sine = self.at.switch(content.get("sine", False), f"{where}.sine")
            values = self._values(content, ("coefficients",), where)
            return self._made(where, Harmonics, **values, order=order, sine=sine)
        from skyfold.gammaray.field import GaussianField

        nside = self.at.whole(content.get("nside", 8), f"{where}.nside")
        values = self._values(content, ("amplitude", "length"), where)
        return self._made(where, GaussianField.on, self.sky.pixels, nside, **values)

    # -- pieces --------------------------------------------------------------------------------------------------

    def _kind(self, content: Mapping[str, Any], where: str, kinds: tuple[str, ...]) -> str:
        kind = self.at.text(content, "kind", where)
        if kind is None:
            raise self.at.error(f"'{where}' has no kind; it is one of {', '.join(kinds)}")
        if kind not in kinds:
            raise SkyfoldError(f"{self.at.path}: '{where}': {unknown_name(kind, kinds, 'kind')}")
        return kind

    def _map(self, content: Mapping[str, Any], where: str) -> Path:
        path = self.at.file(content, "map", where)
        if path is None:
            raise self.at.error(f"'{where}' has no map; name its file")
        return path

    def _length(self, content: Mapping[str, Any], where: str) -> dict[str, float]:
        return {"s_max": self.at.number(content["s_max"], f"{where}.s_max")} if "s_max" in content else {}

    def _values(self, content: Mapping[str, Any], keys: tuple[str, ...], where: str) -> dict[str, Any]:
        """Priors and numbers of the keys that are there."""
        found = {key: self.at.value(content[key], f"{where}.{key}", self.shared) for key in keys if key in content}
        for key, value in found.items():
            shape = value.shape if isinstance(value, Prior) else shape_of(value)
            if shape != () and key not in _VECTORS:
                raise self.at.error(f"'{where}.{key}' is a single number, and its prior or value has {shape[0]}")
        return found

    def _made(self, where: str, make: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        return self.at.checked(where, make, *arguments, **settings)

    def _lit(self, template: Any, where: str, path: Path) -> Any:
        """Give a template back, or complain that it has no light in the region."""
        shown = np.asarray(template.map)
        here = shown[..., self.sky.pixels.index] if shown.shape[-1] == 12 * self.sky.pixels.nside**2 else shown
        if np.any(here.sum(axis=-1) <= 0):
            raise self.at.error(
                f"'{where}.map': {path} is zero in all of the region, so that it cannot be normalised there; choose "
                "another region, or leave the component out"
            )
        return template


def _stem(content: Any) -> str | None:
    """Name that the file of a map gives to a template."""
    file = content if isinstance(content, str) else content.get("map") if isinstance(content, dict) else None
    if not isinstance(file, str):
        return None
    return Path(file).name.removesuffix(".gz").rsplit(".", 1)[0].removeprefix("template_")
