"""Star-formation histories."""

from __future__ import annotations

from skyfold.galaxy.sfh.base import Histories, StarFormationHistory
from skyfold.galaxy.sfh.bins import Continuity, DirichletBins, standard_edges
from skyfold.galaxy.sfh.burst import Burst, PostStarburst
from skyfold.galaxy.sfh.double_power_law import DoublePowerLaw, DoublePowerLawMass
from skyfold.galaxy.sfh.flexible import DenseBasis, GaussianProcessSFH
from skyfold.galaxy.sfh.parametric import ConstantSFH, DelayedTau, LogNormalSFH
from skyfold.galaxy.sfh.tabulated import Tabulated
from skyfold.galaxy.sfh.weights import age_weights

__all__ = [
    "Burst",
    "ConstantSFH",
    "Continuity",
    "DelayedTau",
    "DenseBasis",
    "DirichletBins",
    "DoublePowerLaw",
    "DoublePowerLawMass",
    "GaussianProcessSFH",
    "Histories",
    "LogNormalSFH",
    "PostStarburst",
    "StarFormationHistory",
    "Tabulated",
    "age_weights",
    "standard_edges",
]
