"""Fit the embedded X-ray observation and write results and figures into the folder ``quickstart``."""

from pathlib import Path

import skyfold as sf
from skyfold import xray
from skyfold.data import demo_spectrum, demo_truth

spectrum = xray.Spectrum.read(demo_spectrum()).notice(0.5, 8.0)
source = xray.model("tbabs*(powerlaw+bbodyrad)").with_priors(
    {
        "tbabs.nH": sf.Uniform(0, 1),
        "powerlaw.PhoIndex": sf.Uniform(0, 5),
        "powerlaw.norm": sf.LogUniform(1e-6, 1e-3),
        "bbodyrad.kT": sf.Uniform(0, 5),
        "bbodyrad.norm": sf.LogUniform(1e-2, 1e2),
    }
)
result = sf.Posterior((source, spectrum)).fit(seed=1)
print(result)
truth = demo_truth()["parameters"]
for m in result.marginals:
    print(f"{m.name:20} truth {truth[m.name]:8g}   {m.q05:.4g} .. {m.q95:.4g}")

folder = Path("quickstart")
folder.mkdir(exist_ok=True)
result.save_figures(folder)
result.save(folder / "posterior.nc")
