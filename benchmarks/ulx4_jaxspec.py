"""jaxspec's run of the comparison in ``ulx4.py``: 4 chains of NUTS, 1000 + 1000 steps each.

As jaxspec's documentation tells its users: 64-bit floats, as many devices as there are cores, that is one, and
everything else by default (chains one after the other, progress bar, predictive draws).
"""

from __future__ import annotations

from ulx4_case import BAND, CHAINS, DRAWS, NAMES, PRIORS, SPECTRUM, WARMUP, Stopwatch, worker_arguments, write_report


def main() -> None:
    """Fit, save and report."""
    options = worker_arguments()
    watch = Stopwatch()
    with watch.phase("import"):
        import numpyro

        numpyro.enable_x64()
        numpyro.set_platform("cpu")
        import numpyro.distributions as dist
        from jaxspec.data import ObsConfiguration
        from jaxspec.fit import MCMCFitter
        from jaxspec.model.additive import Blackbodyrad, Powerlaw
        from jaxspec.model.multiplicative import Tbabs
    watch.listen()
    watch.time_mcmc()
    with watch.phase("load"):
        low, high = BAND
        spectrum = ObsConfiguration.from_pha_file(str(options.data / SPECTRUM), low_energy=low, high_energy=high)
        model = Tbabs() * (Powerlaw() + Blackbodyrad())
        priors = (getattr(dist, kind)(low, high) for kind, low, high in PRIORS.values())
        fitter = MCMCFitter(model, dict(zip(NAMES["jaxspec"], priors, strict=True)), spectrum)
    with watch.phase("whole fit"):
        result = fitter.fit(rng_key=options.seed, num_chains=CHAINS, num_warmup=WARMUP, num_samples=DRAWS)
    with watch.phase("save"):
        result.inference_data.to_netcdf(str(options.posterior))
    counts = spectrum.folded_counts
    write_report(options.report, watch, counts.size, counts.sum(), "jaxspec", "numpyro", "jax")


if __name__ == "__main__":
    main()
