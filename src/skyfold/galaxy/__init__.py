"""Galaxy domain: stellar populations, star-formation histories, dust, gas; photometry and spectra.

The names below are imported when first asked for, so that importing the domain costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skyfold.catalogs.catalog import Catalog
    from skyfold.catalogs.settings import CatalogSettings
    from skyfold.galaxy.case_b import synthetic_case_b
    from skyfold.galaxy.catalog import fit_catalog
    from skyfold.galaxy.cosmology import Cosmology, age, lookback_time, luminosity_distance
    from skyfold.galaxy.dust import (
        SMC,
        Calzetti,
        Cardelli,
        Casey2012,
        CharlotFall,
        Dale2014,
        DraineLi2007,
        KriekConroy,
        ModifiedBlackBody,
        PowerLawDust,
        Salim,
        TwoComponent,
        read_dale2014,
        read_draine_li2007,
    )
    from skyfold.galaxy.filters import Filter
    from skyfold.galaxy.galaxy import Galaxy
    from skyfold.galaxy.igm import Inoue2014, Madau1995
    from skyfold.galaxy.line_fluxes import LineFluxes
    from skyfold.galaxy.mass_marginal import MassMarginal, mass_draws
    from skyfold.galaxy.metallicity import ConstantMetallicity, EvolvingMetallicity, LogNormalMetallicity
    from skyfold.galaxy.nebular import Nebular, NebularGrid
    from skyfold.galaxy.photometry import Photometry, magnitudes
    from skyfold.galaxy.redshift_table import RedshiftTable
    from skyfold.galaxy.sfh import (
        Burst,
        ConstantSFH,
        Continuity,
        DelayedTau,
        DenseBasis,
        DirichletBins,
        DoublePowerLaw,
        DoublePowerLawMass,
        GaussianProcessSFH,
        LogNormalSFH,
        PostStarburst,
        Tabulated,
    )
    from skyfold.galaxy.spectroscopy import Spectroscopy
    from skyfold.galaxy.ssp import SSP, SSPWarning
    from skyfold.galaxy.synthetic import synthetic_ssp

#: Where each public name lives.
_HOMES = {
    "Burst": "skyfold.galaxy.sfh",
    "Calzetti": "skyfold.galaxy.dust",
    "Cardelli": "skyfold.galaxy.dust",
    "Casey2012": "skyfold.galaxy.dust",
    "CharlotFall": "skyfold.galaxy.dust",
    "ConstantMetallicity": "skyfold.galaxy.metallicity",
    "ConstantSFH": "skyfold.galaxy.sfh",
    "Continuity": "skyfold.galaxy.sfh",
    "Catalog": "skyfold.catalogs.catalog",
    "CatalogSettings": "skyfold.catalogs.settings",
    "Cosmology": "skyfold.galaxy.cosmology",
    "Dale2014": "skyfold.galaxy.dust",
    "DelayedTau": "skyfold.galaxy.sfh",
    "DenseBasis": "skyfold.galaxy.sfh",
    "DirichletBins": "skyfold.galaxy.sfh",
    "DoublePowerLaw": "skyfold.galaxy.sfh",
    "DoublePowerLawMass": "skyfold.galaxy.sfh",
    "DraineLi2007": "skyfold.galaxy.dust",
    "EvolvingMetallicity": "skyfold.galaxy.metallicity",
    "Filter": "skyfold.galaxy.filters",
    "Galaxy": "skyfold.galaxy.galaxy",
    "GaussianProcessSFH": "skyfold.galaxy.sfh",
    "Inoue2014": "skyfold.galaxy.igm",
    "KriekConroy": "skyfold.galaxy.dust",
    "LineFluxes": "skyfold.galaxy.line_fluxes",
    "LogNormalMetallicity": "skyfold.galaxy.metallicity",
    "LogNormalSFH": "skyfold.galaxy.sfh",
    "Madau1995": "skyfold.galaxy.igm",
    "MassMarginal": "skyfold.galaxy.mass_marginal",
    "ModifiedBlackBody": "skyfold.galaxy.dust",
    "Nebular": "skyfold.galaxy.nebular",
    "NebularGrid": "skyfold.galaxy.nebular",
    "Photometry": "skyfold.galaxy.photometry",
    "PostStarburst": "skyfold.galaxy.sfh",
    "PowerLawDust": "skyfold.galaxy.dust",
    "RedshiftTable": "skyfold.galaxy.redshift_table",
    "SMC": "skyfold.galaxy.dust",
    "SSP": "skyfold.galaxy.ssp",
    "SSPWarning": "skyfold.galaxy.ssp",
    "Salim": "skyfold.galaxy.dust",
    "Spectroscopy": "skyfold.galaxy.spectroscopy",
    "Tabulated": "skyfold.galaxy.sfh",
    "TwoComponent": "skyfold.galaxy.dust",
    "age": "skyfold.galaxy.cosmology",
    "lookback_time": "skyfold.galaxy.cosmology",
    "fit_catalog": "skyfold.galaxy.catalog",
    "luminosity_distance": "skyfold.galaxy.cosmology",
    "magnitudes": "skyfold.galaxy.photometry",
    "mass_draws": "skyfold.galaxy.mass_marginal",
    "read_dale2014": "skyfold.galaxy.dust",
    "read_draine_li2007": "skyfold.galaxy.dust",
    "synthetic_case_b": "skyfold.galaxy.case_b",
    "synthetic_ssp": "skyfold.galaxy.synthetic",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'skyfold.galaxy' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
