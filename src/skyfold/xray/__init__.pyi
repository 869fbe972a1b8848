"""Public names of the package and where they live; they are imported when first asked for."""

from skyfold.xray import models as models
from skyfold.xray.expression import model as model
from skyfold.xray.files.read import read_arf as read_arf
from skyfold.xray.files.read import read_pha as read_pha
from skyfold.xray.files.read import read_rmf as read_rmf
from skyfold.xray.files.records import Arf as Arf
from skyfold.xray.files.records import Pha as Pha
from skyfold.xray.files.records import Rmf as Rmf
from skyfold.xray.files.write import write_arf as write_arf
from skyfold.xray.files.write import write_pha as write_pha
from skyfold.xray.files.write import write_rmf as write_rmf
from skyfold.xray.response import Response as Response
from skyfold.xray.response import SparseResponse as SparseResponse
from skyfold.xray.simulate import ccd_response as ccd_response
from skyfold.xray.simulate import expected_counts as expected_counts
from skyfold.xray.simulate import fakeit as fakeit
from skyfold.xray.spectrum import Spectrum as Spectrum
