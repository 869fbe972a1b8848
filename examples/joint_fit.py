"""Fit two simulated spectra of one source jointly: everything is shared but a constant factor."""

import skyfold as sf
from skyfold import xray
from skyfold.xray.models import Constant, PowerLaw, TBabs

rmf, arf = xray.ccd_response()
truth = TBabs(nH=0.2) * PowerLaw(PhoIndex=1.8, norm=1e-3)
first = xray.fakeit(truth, rmf, arf, 1e4, min_counts=20, seed=1)
second = xray.fakeit(Constant(factor=1.1) * truth, rmf, arf, 2e4, min_counts=20, seed=2)
spectra = [
    xray.Spectrum.assemble(fake.source, rmf, arf, name=name).notice(0.5, 8.0)
    for name, fake in (("first", first), ("second", second))
]

source = TBabs(nH=sf.Uniform(0, 1)) * PowerLaw(PhoIndex=sf.Uniform(0, 5), norm=sf.LogUniform(1e-6, 1e-1))
scale = Constant(factor=sf.LogNormal(0, 0.1))
result = sf.Posterior((source, spectra[0]), (scale * source, spectra[1])).fit(seed=1)
print(result)
