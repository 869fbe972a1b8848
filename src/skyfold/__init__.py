"""skyfold: fold a differentiable model of the sky through real instruments and infer its parameters.

Importing skyfold switches JAX to 64-bit floats and turns its persistent compilation cache on, unless the user has
set either; see `skyfold.compiled.session`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from skyfold.compiled import session as _session

_session.prepare()

if TYPE_CHECKING:
    from skyfold import galaxy, gammaray, xray
    from skyfold.checks.calibration import Calibration, calibrate
    from skyfold.checks.goodness import expected_statistic, simulated_statistic
    from skyfold.compiled.annotation import Annotation
    from skyfold.component import Component
    from skyfold.errors import SkyfoldError
    from skyfold.inference.auto import Auto
    from skyfold.inference.chees import ChEES
    from skyfold.inference.ensembles import AIES, ESS
    from skyfold.inference.hmc import HMC
    from skyfold.inference.laplace import Laplace
    from skyfold.inference.maximum import MAP, MLE
    from skyfold.inference.meads import MEADS
    from skyfold.inference.mgvi import MGVI, GeoVI
    from skyfold.inference.nested import Nested
    from skyfold.inference.nested_sampling.dynesty import Dynesty
    from skyfold.inference.nested_sampling.nautilus import Nautilus
    from skyfold.inference.nested_sampling.ultranest import UltraNest
    from skyfold.inference.nuts import NUTS
    from skyfold.inference.pathfinder import Pathfinder
    from skyfold.inference.running import Draws
    from skyfold.inference.smc import SMC
    from skyfold.inference.vi import VI
    from skyfold.observation import Observation
    from skyfold.parameters import Parameter, parameter
    from skyfold.posterior import Posterior
    from skyfold.priors import (
        Beta,
        Dirichlet,
        Gamma,
        HalfNormal,
        LogNormal,
        LogUniform,
        MultivariateNormal,
        Normal,
        StudentT,
        TruncatedNormal,
        Uniform,
    )
    from skyfold.profiles.profile import profile_intervals
    from skyfold.profiles.scan import scan
    from skyfold.results.comparison import compare
    from skyfold.results.result import Result

#: Where each public name lives; a module is imported when one of its names is first asked for.
_HOMES = {
    "AIES": "skyfold.inference.ensembles",
    "ChEES": "skyfold.inference.chees",
    "ESS": "skyfold.inference.ensembles",
    "GeoVI": "skyfold.inference.mgvi",
    "MEADS": "skyfold.inference.meads",
    "MGVI": "skyfold.inference.mgvi",
    "SMC": "skyfold.inference.smc",
    "VI": "skyfold.inference.vi",
    "Annotation": "skyfold.compiled.annotation",
    "Auto": "skyfold.inference.auto",
    "Beta": "skyfold.priors",
    "Component": "skyfold.component",
    "Dirichlet": "skyfold.priors",
    "Dynesty": "skyfold.inference.nested_sampling.dynesty",
    "Nautilus": "skyfold.inference.nested_sampling.nautilus",
    "Nested": "skyfold.inference.nested",
    "UltraNest": "skyfold.inference.nested_sampling.ultranest",
    "Calibration": "skyfold.checks.calibration",
    "calibrate": "skyfold.checks.calibration",
    "Draws": "skyfold.inference.running.draws",
    "Gamma": "skyfold.priors",
    "HMC": "skyfold.inference.hmc",
    "HalfNormal": "skyfold.priors",
    "Laplace": "skyfold.inference.laplace",
    "LogNormal": "skyfold.priors",
    "LogUniform": "skyfold.priors",
    "MAP": "skyfold.inference.maximum",
    "MLE": "skyfold.inference.maximum",
    "MultivariateNormal": "skyfold.priors",
    "NUTS": "skyfold.inference.nuts",
    "Normal": "skyfold.priors",
    "Observation": "skyfold.observation",
    "Parameter": "skyfold.parameters",
    "Pathfinder": "skyfold.inference.pathfinder",
    "Posterior": "skyfold.posterior",
    "Result": "skyfold.results.result",
    "SkyfoldError": "skyfold.errors",
    "StudentT": "skyfold.priors",
    "TruncatedNormal": "skyfold.priors",
    "Uniform": "skyfold.priors",
    "compare": "skyfold.results.comparison",
    "expected_statistic": "skyfold.checks.goodness",
    "parameter": "skyfold.parameters",
    "profile_intervals": "skyfold.profiles.profile",
    "scan": "skyfold.profiles.scan",
    "simulated_statistic": "skyfold.checks.goodness",
}
_DOMAINS = ("galaxy", "gammaray", "xray")
#: Modules of the domains with figures of their own, see `skyfold.plots`.
FIGURE_MODULES = ("skyfold.gammaray.plots", "skyfold.xray.plots")

__all__ = [*_HOMES, *_DOMAINS]  # noqa: PLE0604
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _DOMAINS:
        return importlib.import_module(f"skyfold.{name}")
    raise AttributeError(f"module 'skyfold' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
