r"""Templates: where smooth emission comes from, of which only the amount, or the proportions, are free.

Every template is divided by its own mean over the region of interest, before sources are masked, so that its norm is
the mean number of counts per pixel that it explains there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.annotation import Annotation
from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.gammaray.checked_maps import as_map
from skyfold.gammaray.emission import Emission
from skyfold.gammaray.fits_sky import parse
from skyfold.gammaray.healpix import Source, nside_of
from skyfold.gammaray.map_files import SkyMap, read_sky_map
from skyfold.gammaray.pixels import Pixels
from skyfold.parameters import Value, is_symbol, parameter, shape_of
from skyfold.priors import Dirichlet, Uniform

_NAMES = {"counts": "of counts", "flux": "a flux"}
#: Part of the brightest pixel that is as good as nothing: what reprojecting leaves below zero.
_NOTHING = 1e-9
#: What a parameter ``norm`` is called in tables.
NORM = "mean over the region before sources are masked"


class SkyTemplate(Component):
    r"""Base of everything that has a shape on the sky and an amount.

    .. math:: \mu_p = N \, t_p, \qquad t_p = \frac{s_p \epsilon_p m_p}{\langle s \epsilon m \rangle}

    with the shape s, the exposure :math:`\epsilon` (where the shape is a flux), the modulation m and the mean over the
    region of interest. A subclass gives s.

    Attributes
    ----------
    norm : N, mean counts per pixel; of length n_bins it is one per energy bin.
    modulation : multiplicative component whose factors (n_pix,) change the shape, or None.
    exposure : whether the shape is a flux, which the exposure turns into counts.
    label : the component's name.
    """

    kind: ClassVar[str] = "additive"
    norm: eqx.AbstractVar[Value]
    modulation: eqx.AbstractVar[Component | None]
    exposure: eqx.AbstractVar[bool]
    label: eqx.AbstractVar[Annotation]

    def shape(self, pixels: Pixels) -> jax.Array:
        """Relative brightness of each pixel, (n_pix,) or (n_bins, n_pix), on any scale."""
        raise NotImplementedError

    def template(self, pixels: Pixels) -> jax.Array:
        """Shape with exposure and modulation, of mean 1 over the region; (n_pix,) or (n_bins, n_pix)."""
        shape = self.shape(pixels)
        if self.exposure:
            if pixels.exposure is None:
                raise SkyfoldError(
                    f"'{self.name}' is a flux and the counts map has no exposure to turn it into counts. Give the "
                    "exposure map to CountsMap, or exposure=False to the template to use it as it is."
                )
            shape = shape * pixels.exposure
        if self.modulation is not None:
            shape = shape * self.modulation.evaluate(pixels)
        return shape / jnp.mean(shape, axis=-1, keepdims=True)

    def evaluate(self, pixels: Pixels) -> Emission:  # type: ignore[override]
        """Expected counts on the pixels of a region."""
        return Emission(jnp.asarray(self.norm)[..., None] * self.template(pixels))

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name in tables and plots."""
        return str(self.label.value)

    def __check_init__(self) -> None:
        if self.modulation is not None and getattr(self.modulation, "kind", "") != "multiplicative":
            raise SkyfoldError(f"'{self.name}': a modulation is a multiplicative component, not {self.modulation!r}.")


class Template(SkyTemplate):
    """A map times its norm.

    Parameters
    ----------
    map : (12 nside^2,) or (n_bins, 12 nside^2) array
        Full-sky map in ring order and Galactic coordinates; not negative, and finite inside the region that is fitted.
    norm : prior or number
        Mean counts per pixel over the region of interest. Leave it out where the template is part of another one.
    name : str
        Its name: parameters are called ``name.norm``.
    exposure : bool, optional
        Whether the map is to be multiplied by the exposure; by default, flux is and counts are not.
    units : ``"counts"`` or ``"flux"``, optional
        What the map holds: counts that were expected of the instrument, the exposure among them, or a flux (or density,
        of point sources). By default flux where `exposure` is true, else counts. Only point sources need to know it
        besides: their template of counts is divided by the exposure.
    modulation : multiplicative component, optional
        Such as `Harmonics`; the modulated map is normalised anew.

    Raises
    ------
    SkyfoldError
        If the map is no full HEALPix sphere, has negative or infinite values, or is of counts that the exposure would
        multiply again.

    Examples
    --------
    >>> bubbles = Template.read("template_bub.npy", norm=sf.Uniform(1e-3, 5), name="bub")  # doctest: +SKIP
    """

    map: Any = None
    norm: Value = parameter(1.0, unit="ct/pixel", description=NORM)
    label: Annotation = eqx.field(static=True, default=Annotation("template"))
    exposure: bool = eqx.field(static=True, default=False)
    units: str = eqx.field(static=True, default="counts")
    modulation: Component | None = None

    def __init__(
        self,
        map: Any,
        norm: Any = 1.0,
        *,
        name: str = "template",
        exposure: bool | None = None,
        units: str | None = None,
        modulation: Component | None = None,
    ) -> None:
        found = map if isinstance(map, SkyMap) else as_map(map, None, f"Template '{name}'")
        stated = _stated_units(found.unit, found.source)
        units = units or stated or ("flux" if exposure else "counts")
        if units not in ("counts", "flux"):
            raise SkyfoldError(f"Template '{name}': units are 'counts' or 'flux', not {units!r}.")
        if stated not in (None, units):
            raise SkyfoldError(
                f"{found.source}: the map has the unit '{found.unit}', so it is {_NAMES[stated]}, and not "
                f'{_NAMES[units]}: give units="{stated}", or correct the unit if it is wrong.'
            )
        self.exposure = units == "flux" if exposure is None else exposure
        if self.exposure and units == "counts":
            raise SkyfoldError(
                f"Template '{name}': a map of counts holds the exposure already; leave exposure=True out, or give "
                'units="flux" if it is a flux.'
            )
        values = np.asarray(found.values, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            values = np.where((values < 0) & (values > -_NOTHING * np.nanmax(values, initial=0.0)), 0.0, values)
            bad = (values < 0) | np.isinf(values) | (np.isnan(values) & found.seen)
        if bad.any():
            *bin_, pixel = np.argwhere(bad)[0]
            raise SkyfoldError(
                f"{found.place(sum(bin_), int(pixel))} holds {values[bad][0]}; a template is finite and not negative. "
                "Replace such pixels by zero, or call them UNSEEN (masked, in an array) where the map does not reach."
            )
        self.map, self.norm, self.label, self.units, self.modulation = values, norm, Annotation(name), units, modulation

    @classmethod
    def read(
        cls,
        path: Source,
        norm: Any = 1.0,
        *,
        name: str | None = None,
        nest: bool | None = None,
        frame: str | None = None,
        **settings: Any,
    ) -> Template:
        """Template of a HEALPix file (``.npy`` or FITS).

        Parameters
        ----------
        path, nest, frame : file, as for `skyfold.gammaray.read_map`.
        norm, **settings : as for the class.
        name : default the file's name without ``template_`` and its ending.
        """
        from pathlib import Path

        stem = Path(path).name.removesuffix(".gz").rsplit(".", 1)[0].removeprefix("template_")
        return cls(read_sky_map(path, nest, frame), norm, name=name or stem, **settings)

    def shape(self, pixels: Pixels) -> jax.Array:
        nside = nside_of(np.shape(self.map)[-1], self.name)
        if nside != pixels.nside:
            raise SkyfoldError(
                f"'{self.name}' is a map of nside {nside} and the counts have nside {pixels.nside}; bring it there "
                f"with skyfold.gammaray.downgrade(map, {pixels.nside})."
            )
        if not isinstance(self.map, jax.core.Tracer) and not isinstance(pixels.index, jax.core.Tracer):
            self._check(np.asarray(self.map)[..., np.asarray(pixels.index)], np.asarray(pixels.index))
        here = jnp.asarray(self.map)[..., pixels.index]
        if self.units == "counts" and pixels.divisor is not None:
            some = pixels.divisor > 0
            here = jnp.where(some, here / jnp.where(some, pixels.divisor, 1.0), 0.0)
        return here

    def _check(self, here: np.ndarray, index: np.ndarray) -> None:
        """Raise `SkyfoldError` where the map says nothing in the region, or has no light there."""
        missing = np.isnan(here)
        if missing.any():
            pixel = index[np.argwhere(missing)[0][-1]]
            raise SkyfoldError(
                f"Template '{self.name}': pixel {pixel} of the region holds no number (NaN or UNSEEN), and "
                f"{missing.sum()} in all; choose a region that the map covers, or replace such pixels by zero."
            )
        if np.any(here.sum(axis=-1) <= 0):
            raise SkyfoldError(
                f"Template '{self.name}' is zero in all of the region, so that it cannot be normalised there; choose "
                "another region, or leave the component out."
            )


def _stated_units(unit: Any, where: str) -> str | None:
    """``"counts"`` or ``"flux"`` where a unit says so."""
    if unit is None or not str(unit).strip():
        return None
    kind = parse(unit, where)
    if any(kind == parse(u, where) for u in ("ct", "ph", "ct pix-1", "ph pix-1")):
        return "counts"
    # of a brightness only the shape counts: something per area, or per solid angle
    per = dict(zip((str(b) for b in kind.decompose().bases), kind.decompose().powers, strict=True))
    return "flux" if per.get("m", 0) < 0 or per.get("rad", 0) < 0 or per.get("kg", 0) > 0 else None


class Isotropic(SkyTemplate):
    """The same flux from everywhere.

    Parameters
    ----------
    norm : mean counts per pixel over the region of interest.
    """

    norm: Value = parameter(1.0, unit="ct/pixel", description=NORM)
    label: Annotation = eqx.field(static=True, default=Annotation("iso"))
    exposure: bool = eqx.field(static=True, default=True)
    modulation: Component | None = None

    def __init__(
        self, norm: Any = 1.0, *, name: str = "iso", exposure: bool = True, modulation: Component | None = None
    ) -> None:
        self.norm, self.label, self.exposure, self.modulation = norm, Annotation(name), exposure, modulation

    def shape(self, pixels: Pixels) -> jax.Array:
        return jnp.ones(pixels.n_pix)


class Mixture(SkyTemplate):
    r"""Convex mixture of templates, each of mean 1 over the region.

    .. math:: s_p = \sum_i \theta_i t_{i,p}, \qquad \sum_i \theta_i = 1

    Parameters
    ----------
    members : templates without norms of their own.
    norm : mean counts per pixel over the region of interest.
    weights : :math:`\theta`, default Dirichlet(1/n, ..., 1/n), which prefers mixtures that few members dominate.
    name, modulation : as for `Template`.
    """

    members: tuple[SkyTemplate, ...] = ()
    norm: Value = parameter(1.0, unit="ct/pixel", description=NORM)
    weights: Value = parameter(1.0, description="shares of the members")
    label: Annotation = eqx.field(static=True, default=Annotation("mixture"))
    exposure: bool = eqx.field(static=True, default=False)
    modulation: Component | None = None

    def __init__(
        self,
        members: Sequence[SkyTemplate],
        norm: Any = 1.0,
        weights: Any = None,
        *,
        name: str = "mixture",
        modulation: Component | None = None,
    ) -> None:
        self.members = tuple(members)
        n = len(self.members)
        check_parts(self.members, name)
        self.weights = Dirichlet(np.full(n, 1.0 / n)) if weights is None else weights
        self.norm, self.label, self.exposure, self.modulation = norm, Annotation(name), False, modulation

    def __check_init__(self) -> None:
        if shape_of(self.weights) != (len(self.members),):
            raise SkyfoldError(
                f"Mixture '{self.name}' of {len(self.members)} templates needs as many weights, not a value of the "
                f"shape {shape_of(self.weights)}; give sf.Dirichlet([1/3, 1/3, 1/3]), say, or numbers."
            )

    def shape(self, pixels: Pixels) -> jax.Array:
        maps = jnp.stack([m.template(pixels) for m in self.members])
        return jnp.tensordot(jnp.asarray(self.weights), maps, axes=1)


class Blend(SkyTemplate):
    r"""Two templates, each of mean 1 over the region, in a free proportion.

    .. math:: s_p = f t_{1,p} + (1 - f) t_{2,p}

    Parameters
    ----------
    first, second : templates without norms of their own.
    norm : mean counts per pixel over the region of interest.
    fraction : f, the share of the first.
    name, modulation : as for `Template`.
    """

    first: SkyTemplate = eqx.field(default=None)
    second: SkyTemplate = eqx.field(default=None)
    norm: Value = parameter(1.0, unit="ct/pixel", description=NORM)
    fraction: Value = parameter(Uniform(0.0, 1.0), description="share of the first")
    label: Annotation = eqx.field(static=True, default=Annotation("blend"))
    exposure: bool = eqx.field(static=True, default=False)
    modulation: Component | None = None

    def __init__(
        self,
        first: SkyTemplate,
        second: SkyTemplate,
        norm: Any = 1.0,
        fraction: Any = None,
        *,
        name: str = "blend",
        modulation: Component | None = None,
    ) -> None:
        check_parts((first, second), name)
        self.first, self.second, self.norm = first, second, norm
        self.fraction = self.fraction if fraction is None else fraction
        self.label, self.exposure, self.modulation = Annotation(name), False, modulation

    def shape(self, pixels: Pixels) -> jax.Array:
        first, second = self.first.template(pixels), self.second.template(pixels)
        return second + self.fraction * (first - second)


def check_parts(parts: Sequence[Any], owner: str) -> None:
    """Raise `SkyfoldError` where something is no template or has a norm that would have no effect."""
    if not parts:
        raise SkyfoldError(f"'{owner}' needs at least one template.")
    for part in parts:
        if not isinstance(part, SkyTemplate):
            raise SkyfoldError(f"'{owner}' is made of templates such as Template or NFWSquared, not {part!r}.")
        if is_symbol(part.norm) or np.any(np.asarray(part.norm) != 1.0):
            raise SkyfoldError(
                f"'{part.name}' has a norm, which has no effect inside '{owner}', where only its shape counts. Leave "
                "it out and give the norm to the whole."
            )
