"""ELISA's run of the comparison in ``ulx4.py``: 4 chains of NUTS, 1000 + 1000 steps each, everything else by default.

The header names a background, and ELISA has no C statistic for a spectrum with one, so the spectrum is put together
from its parts. ELISA starts its chains at values that the user gives; here they are near the posterior.
"""

from __future__ import annotations

from ulx4_case import (
    AREA,
    BAND,
    CHAINS,
    DRAWS,
    PRIORS,
    RESPONSE,
    SPECTRUM,
    WARMUP,
    Stopwatch,
    worker_arguments,
    write_report,
)

#: Where the chains start.
STARTS = {
    "tbabs.nH": 0.1,
    "powerlaw.PhoIndex": 2.0,
    "powerlaw.norm": 2e-4,
    "bbodyrad.kT": 0.7,
    "bbodyrad.norm": 0.2,
}


def main() -> None:
    """Fit, save and report."""
    options = worker_arguments()
    watch = Stopwatch()
    with watch.phase("import"):
        from elisa import BayesFit, ObservationData, Response, Spectrum, UniformParameter
        from elisa.models import BlackbodyRad, PowerLaw, TBAbs
    watch.listen()
    watch.time_mcmc()
    with watch.phase("load"):
        spectrum = Spectrum(str(options.data / SPECTRUM))
        response = Response(str(options.data / RESPONSE), str(options.data / AREA))
        data = ObservationData("pn", list(BAND), spectrum, response)
        nh, index, norm, kt, area = (
            UniformParameter(name.rpartition(".")[2], STARTS[name], low, high, log=kind == "LogUniform")
            for name, (kind, low, high) in PRIORS.items()
        )
        model = TBAbs(nH=nh, abund="wilm") * (PowerLaw(alpha=index, K=norm) + BlackbodyRad(kT=kt, K=area))
        fit = BayesFit(data, model, stat="cstat", seed=options.seed)
    with watch.phase("whole fit"):
        result = fit.nuts(warmup=WARMUP, steps=DRAWS, chains=CHAINS)
    with watch.phase("save"):
        result.idata.to_netcdf(str(options.posterior))
    counts = data.spec_counts
    write_report(options.report, watch, len(counts), counts.sum(), "astro-elisa", "numpyro", "jax")


if __name__ == "__main__":
    main()
