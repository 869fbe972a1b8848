"""Components of X-ray spectra, under XSPEC's names for models and parameters."""

from skyfold.xray.models.absorption import PHabs, TBabs, Wabs, ZTBabs
from skyfold.xray.models.catalogue import (
    COMPONENTS,
    ParameterDescription,
    component_class,
    component_description,
    component_list,
    component_parameters,
    component_summary,
)
from skyfold.xray.models.factors import Constant, Edge, HighECut
from skyfold.xray.models.lines import Gaussian, ZGaussian
from skyfold.xray.models.powerlaws import BrokenPowerLaw, CutoffPowerLaw, LogParabola, PowerLaw
from skyfold.xray.models.spectral import Additive, Multiplicative, SpectralModel
from skyfold.xray.models.thermal import Blackbody, BlackbodyRad, Bremsstrahlung, DiskBlackbody

__all__ = [
    "COMPONENTS",
    "Additive",
    "Blackbody",
    "BlackbodyRad",
    "Bremsstrahlung",
    "BrokenPowerLaw",
    "Constant",
    "CutoffPowerLaw",
    "DiskBlackbody",
    "Edge",
    "Gaussian",
    "HighECut",
    "LogParabola",
    "Multiplicative",
    "PHabs",
    "ParameterDescription",
    "PowerLaw",
    "SpectralModel",
    "TBabs",
    "Wabs",
    "ZGaussian",
    "ZTBabs",
    "component_class",
    "component_description",
    "component_list",
    "component_parameters",
    "component_summary",
]
