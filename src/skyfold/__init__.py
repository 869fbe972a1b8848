"""skyfold: fold a differentiable model of the sky through real instruments and infer its parameters.

Importing skyfold switches JAX to 64-bit floats and turns its persistent compilation cache on, unless the user has
set either; see `skyfold.compiled.session`.
"""

from skyfold.compiled import session as _session
from skyfold.lazy import listed as _listed

_session.prepare()

#: Modules of the domains with figures of their own, see `skyfold.plots`.
FIGURE_MODULES = ("skyfold.gammaray.plots", "skyfold.xray.plots")

__getattr__, __dir__, __all__ = _listed(__name__)
__version__ = "0.1.0"
