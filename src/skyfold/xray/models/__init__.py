"""Components of X-ray spectra, under XSPEC's names for models and parameters.

A family of components is a file whose classes are marked by `catalogue.register`; the lines below import the families,
in the order of lists.
"""

# isort: off
from skyfold.xray.models.powerlaws import *
from skyfold.xray.models.thermal import *
from skyfold.xray.models.lines import *
from skyfold.xray.models.absorption import *
from skyfold.xray.models.factors import *

# isort: on
from skyfold.xray.models.catalogue import (
    COMPONENTS,
    ParameterDescription,
    component_class,
    component_description,
    component_list,
    component_parameters,
    component_summary,
)
from skyfold.xray.models.spectral import Additive, Multiplicative, SpectralModel

__all__ = [  # noqa: PLE0604
    "COMPONENTS",
    "Additive",
    "Multiplicative",
    "ParameterDescription",
    "SpectralModel",
    "component_class",
    "component_description",
    "component_list",
    "component_parameters",
    "component_summary",
    *(cls.__name__ for cls in COMPONENTS.values()),
]


def __dir__() -> list[str]:
    return sorted(__all__)
