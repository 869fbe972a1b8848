"""Models of the gamma-ray sky as published, ready to be fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.gammaray.disk import Disk
from skyfold.gammaray.harmonics import Harmonics
from skyfold.gammaray.healpix import Source
from skyfold.gammaray.map_files import read_map
from skyfold.gammaray.nfw import NFWSquared
from skyfold.gammaray.point_sources import PointSources
from skyfold.gammaray.templates import Blend, Mixture, SkyTemplate, Template
from skyfold.priors import Uniform

#: Foreground models: pi0 decay and bremsstrahlung (``Opi``), inverse Compton (``Oic``), and so on.
FOREGROUNDS = ("O", "A", "F")
#: Templates with a free norm and nothing else.
PLAIN = ("iso", "bub", "psc")
#: Files of the resolved sources, by catalogue.
RESOLVED = ("psc_3fgl", "psc_4fgl")


def read_templates(
    folder: Source, names: Sequence[str] | None = None, *, nest: bool | None = None, frame: str | None = None
) -> dict[str, Any]:
    """Full-sky template maps ``template_NAME.npy`` (or ``.fits``) of a folder, by name.

    Parameters
    ----------
    folder : with the files, such as that of the public Fermi maps.
    names : which; by default those that `galactic_centre` needs, with the resolved sources as ``psc``:
        ``psc_3fgl``, or ``psc_4fgl`` where that alone is there. Name the one of the catalogue that the mask is of.
    nest, frame : order and coordinates of the maps where the files do not say them, see `read_map`.

    Raises
    ------
    SkyfoldError
        If one is missing.
    """
    folder = Path(folder)
    chosen = names or [*(f"{f}{kind}" for f in FOREGROUNDS for kind in ("pi", "ic")), *PLAIN]
    maps = {}
    for name in chosen:
        # the resolved sources of one catalogue or the other
        files = [f"template_{n}.{end}" for n in (RESOLVED if name == "psc" else (name,)) for end in ("npy", "fits")]
        path = next((folder / file for file in files if (folder / file).is_file()), None)
        if path is None:
            raise SkyfoldError(f"{folder}: there is none of {', '.join(files)}; check the folder, or name the maps.")
        maps["psc" if name.startswith("psc") else name] = read_map(
            path, nest if path.suffix == ".npy" else None, frame=frame
        )
    return maps


def galactic_centre(
    maps: Mapping[str, Any],
    bulges: Sequence[Template],
    *,
    foregrounds: Sequence[str] = FOREGROUNDS,
    point_sources: bool = True,
    sine: bool = False,
    field: Component | None = None,
    exposure: bool = True,
    s_range: tuple[float, float] | None = None,
    published: bool = False,
) -> Component:
    r"""Model of the sky around the Galactic centre with a continuum of excess morphologies.

    Foregrounds of :math:`\pi^0` decay and bremsstrahlung (``pib``) and of inverse Compton scattering (``ics``) are
    convex mixtures of templates, the first modulated by low spherical harmonics; isotropic emission, the Fermi bubbles
    and resolved sources have norms; the excess ``gce`` is a blend of a mixture of stellar bulges and of annihilation in
    an NFW halo of free slope; unresolved sources lie in a population with a blend of its own (``gce_ps``) and in a disk
    (``dsk_ps``), each with a source-count function of two breaks. With the templates O, A and F and n bulges there are
    31 + 2 n dimensions (35 with two); without point sources 16 + n.

    Parameters
    ----------
    maps : full-sky maps of counts by name, see `read_templates`: ``Opi``, ``Oic``, ... for each foreground, ``iso``,
        ``bub``, ``psc``.
    bulges : flux maps of stellar bulges, such as `bulge` reads; `exposure` decides, not their own setting.
    foregrounds : first letters of the foreground templates.
    point_sources : include the two populations of unresolved sources; the map then needs a PSF.
    sine : let the modulation differ between east and west, 3 more dimensions.
    field : multiplicative component, such as `GaussianField`, that changes the inverse Compton foreground.
    exposure : multiply generated NFW and bulge maps by the exposure.
    s_range : support of the source counts, that of the map, see `CountsMap.with_point_sources`.
    published : as in the published analysis: no exposure on generated maps, sources of 0.1 to 100 counts, and a disk
        whose line of sight lacks a factor 1/cos b.

    Returns
    -------
    Component

    References
    ----------
    Sun, Mishra-Sharma, Slatyer & Wu, arXiv:2604.08648.
    """
    needed = [*(f"{f}{kind}" for f in foregrounds for kind in ("pi", "ic")), *PLAIN]
    missing = [name for name in needed if name not in maps]
    if missing:
        raise SkyfoldError(
            f"galactic_centre: maps lack {', '.join(missing)}; it needs {', '.join(needed)}, see read_templates."
        )
    if not bulges:
        raise SkyfoldError("galactic_centre needs at least one template of the bulge.")
    if published:
        exposure, s_range = False, (0.1, 100.0)

    def foreground(name: str, kind: str, modulation: Component | None) -> SkyTemplate:
        norm = Uniform(1e-3, 14.0)
        parts = [Template(maps[f"{f}{kind}"], name=f"{f}{kind}") for f in foregrounds]
        if len(parts) == 1:
            return Template(maps[f"{foregrounds[0]}{kind}"], norm, name=name, modulation=modulation)
        return Mixture(parts, norm, name=name, modulation=modulation)

    def excess(name: str, norm: Any) -> SkyTemplate:
        halo = NFWSquared(exposure=exposure, name=f"{name}_nfw")
        shapes = [Template(b.map, name=b.name, exposure=exposure, units="flux") for b in bulges]
        stars = shapes[0] if len(shapes) == 1 else Mixture(shapes, name=f"{name}_bulge")
        return Blend(stars, halo, norm, name=name)

    model: Component = foreground("pib", "pi", Harmonics(sine=sine)) + foreground("ics", "ic", field)
    for name in PLAIN:
        model = model + Template(maps[name], Uniform(1e-3, 5.0), name=name)
    model = model + excess("gce", Uniform(1e-5, 4.0))
    if not point_sources:
        return model
    disk = Disk(published=published, exposure=exposure, name="dsk_shape")
    return (
        model
        + PointSources(excess("gce_shape", 1.0), Uniform(1e-5, 4.0), s_range=s_range, name="gce_ps")
        + PointSources(disk, Uniform(1e-5, 4.0), s_range=s_range, name="dsk_ps")
    )
