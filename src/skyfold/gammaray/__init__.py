"""Gamma-ray domain: maps of counts on the HEALPix sphere, templates, and unresolved point sources.

The names below are imported when first asked for, so that importing the domain costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skyfold.gammaray import models, plots
    from skyfold.gammaray.disk import Disk
    from skyfold.gammaray.field import GaussianField
    from skyfold.gammaray.harmonics import Harmonics
    from skyfold.gammaray.healpix import downgrade, read_map
    from skyfold.gammaray.maps import CountsMap
    from skyfold.gammaray.nfw import NFWSquared
    from skyfold.gammaray.pixels import Pixels
    from skyfold.gammaray.plate_carree import bulge, read_plate_carree
    from skyfold.gammaray.point_sources import PointSources, point_source_log_likelihood
    from skyfold.gammaray.psf import DoubleKing, Gaussian, King, LatPsf, Psf
    from skyfold.gammaray.regions import Band, Disc, Discs, Region
    from skyfold.gammaray.rho import fraction_distribution
    from skyfold.gammaray.simulation import Sources, simulate, simulate_with_sources
    from skyfold.gammaray.source_counts import BrokenPowerLaw, LogNormalCounts
    from skyfold.gammaray.templates import Blend, Isotropic, Mixture, SkyTemplate, Template

#: Where each public name lives.
_HOMES = {
    "Band": "skyfold.gammaray.regions",
    "Blend": "skyfold.gammaray.templates",
    "BrokenPowerLaw": "skyfold.gammaray.source_counts",
    "CountsMap": "skyfold.gammaray.maps",
    "Disc": "skyfold.gammaray.regions",
    "Discs": "skyfold.gammaray.regions",
    "Disk": "skyfold.gammaray.disk",
    "DoubleKing": "skyfold.gammaray.psf",
    "Gaussian": "skyfold.gammaray.psf",
    "GaussianField": "skyfold.gammaray.field",
    "Harmonics": "skyfold.gammaray.harmonics",
    "Isotropic": "skyfold.gammaray.templates",
    "King": "skyfold.gammaray.psf",
    "LatPsf": "skyfold.gammaray.psf",
    "LogNormalCounts": "skyfold.gammaray.source_counts",
    "Mixture": "skyfold.gammaray.templates",
    "NFWSquared": "skyfold.gammaray.nfw",
    "Pixels": "skyfold.gammaray.pixels",
    "PointSources": "skyfold.gammaray.point_sources",
    "Psf": "skyfold.gammaray.psf",
    "Region": "skyfold.gammaray.regions",
    "SkyTemplate": "skyfold.gammaray.templates",
    "Sources": "skyfold.gammaray.simulation",
    "Template": "skyfold.gammaray.templates",
    "bulge": "skyfold.gammaray.plate_carree",
    "downgrade": "skyfold.gammaray.healpix",
    "fraction_distribution": "skyfold.gammaray.rho",
    "point_source_log_likelihood": "skyfold.gammaray.point_sources",
    "read_map": "skyfold.gammaray.healpix",
    "read_plate_carree": "skyfold.gammaray.plate_carree",
    "simulate": "skyfold.gammaray.simulation",
    "simulate_with_sources": "skyfold.gammaray.simulation",
}
#: Modules that are public themselves.
_MODULES = ("models", "plots")

__all__ = [*_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"skyfold.gammaray.{name}")
    raise AttributeError(f"module 'skyfold.gammaray' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
