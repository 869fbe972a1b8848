"""skyfold's run of the comparison in ``ulx4.py``, through its Python interface."""

from __future__ import annotations

from ulx4_case import BAND, MODEL, PRIORS, SPECTRUM, Stopwatch, worker_arguments, write_report


def main() -> None:
    """Fit, save and report."""
    options = worker_arguments()
    watch = Stopwatch()
    with watch.phase("import"):
        import skyfold as sf
        from skyfold import xray

        if options.method == "nuts":  # imported when first needed, which is in the fit; the others have it here, too
            import arviz  # noqa: F401
    watch.listen()
    with watch.phase("load"):
        spectrum = xray.Spectrum.read(options.data / SPECTRUM, background="none").notice(*BAND)
        priors = {name: getattr(sf, kind)(low, high) for name, (kind, low, high) in PRIORS.items()}
        posterior = sf.Posterior((xray.model(MODEL).with_priors(priors), spectrum))
    with watch.phase("fit"):
        result = posterior.fit(options.method, seed=options.seed)
    with watch.phase("save"):
        result.save(options.posterior)
    write_report(options.report, watch, spectrum.n_data, spectrum.data.sum(), "numpyro", "blackjax", "jax")


if __name__ == "__main__":
    main()
