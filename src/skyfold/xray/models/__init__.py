"""Components of X-ray spectra, under XSPEC's names for models and parameters."""

from skyfold.xray.models.factors import Constant, Edge, HighECut
from skyfold.xray.models.lines import Gaussian, ZGaussian
from skyfold.xray.models.powerlaws import BrokenPowerLaw, CutoffPowerLaw, LogParabola, PowerLaw
from skyfold.xray.models.spectral import Additive, Multiplicative
from skyfold.xray.models.thermal import Blackbody, BlackbodyRad, Bremsstrahlung, DiskBlackbody
