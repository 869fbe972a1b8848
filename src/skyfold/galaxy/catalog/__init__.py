"""Catalogues: many galaxies fitted with one model, a chunk at a time, each with its own test of convergence."""

from skyfold.galaxy.catalog.catalog import Catalog
from skyfold.galaxy.catalog.fit import fit_catalog
from skyfold.galaxy.catalog.settings import CatalogSettings

__all__ = ["Catalog", "CatalogSettings", "fit_catalog"]
