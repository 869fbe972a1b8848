"""Public names of the package and where they live; they are imported when first asked for."""

from skyfold import galaxy as galaxy
from skyfold import gammaray as gammaray
from skyfold import xray as xray
from skyfold.checks.calibration import Calibration as Calibration
from skyfold.checks.calibration import calibrate as calibrate
from skyfold.checks.goodness import expected_statistic as expected_statistic
from skyfold.checks.goodness import simulated_statistic as simulated_statistic
from skyfold.compiled.annotation import Annotation as Annotation
from skyfold.component import Component as Component
from skyfold.errors import SkyfoldError as SkyfoldError
from skyfold.inference.auto import Auto as Auto
from skyfold.inference.chees import ChEES as ChEES
from skyfold.inference.ensembles import AIES as AIES
from skyfold.inference.ensembles import ESS as ESS
from skyfold.inference.hmc import HMC as HMC
from skyfold.inference.laplace import Laplace as Laplace
from skyfold.inference.maximum import MAP as MAP
from skyfold.inference.maximum import MLE as MLE
from skyfold.inference.meads import MEADS as MEADS
from skyfold.inference.mgvi import MGVI as MGVI
from skyfold.inference.mgvi import GeoVI as GeoVI
from skyfold.inference.nested import Nested as Nested
from skyfold.inference.nested_sampling.dynesty import Dynesty as Dynesty
from skyfold.inference.nested_sampling.nautilus import Nautilus as Nautilus
from skyfold.inference.nested_sampling.ultranest import UltraNest as UltraNest
from skyfold.inference.nuts import NUTS as NUTS
from skyfold.inference.pathfinder import Pathfinder as Pathfinder
from skyfold.inference.running.draws import Draws as Draws
from skyfold.inference.smc import SMC as SMC
from skyfold.inference.vi import VI as VI
from skyfold.observation import Observation as Observation
from skyfold.parameters import Parameter as Parameter
from skyfold.parameters import parameter as parameter
from skyfold.posterior import Posterior as Posterior
from skyfold.priors import Beta as Beta
from skyfold.priors import Dirichlet as Dirichlet
from skyfold.priors import Gamma as Gamma
from skyfold.priors import HalfNormal as HalfNormal
from skyfold.priors import LogNormal as LogNormal
from skyfold.priors import LogUniform as LogUniform
from skyfold.priors import MultivariateNormal as MultivariateNormal
from skyfold.priors import Normal as Normal
from skyfold.priors import StudentT as StudentT
from skyfold.priors import TruncatedNormal as TruncatedNormal
from skyfold.priors import Uniform as Uniform
from skyfold.profiles.profile import profile_intervals as profile_intervals
from skyfold.profiles.scan import scan as scan
from skyfold.results.comparison import compare as compare
from skyfold.results.result import Result as Result

FIGURE_MODULES: tuple[str, ...]
__version__: str
