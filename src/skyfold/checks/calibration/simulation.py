"""Calibrate: draw parameters from the prior, simulate data, fit them, rank the truth among the draws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from skyfold.checks.calibration.file import Fit, Fits, FitsFile
from skyfold.checks.calibration.findings import Calibration
from skyfold.checks.calibration.ranks import LOG_LIKELIHOOD, ranks
from skyfold.errors import SkyfoldError
from skyfold.inference import find
from skyfold.inference.running import Draws, Progress, fingerprint
from skyfold.posterior import Posterior
from skyfold.results.description import Description
from skyfold.results.predictive import flat_values
from skyfold.simulated import simulate


def calibrate(
    posterior: Posterior,
    method: Any = "auto",
    n: int = 200,
    *,
    seed: int = 0,
    path: str | Path | None = None,
    progress: bool | None = None,
) -> Calibration:
    """Fit data simulated from the prior, and see where the truth lies in each posterior.

    All data sets have the shapes of the posterior's own, so they share every executable: nothing is compiled after the
    first fit. Draws of the prior at which the expected data are not finite are drawn again, as their likelihood is 0.

    Parameters
    ----------
    posterior : models, priors and observations; of the data only the shapes matter.
    method : name or settings, as for `Posterior.fit`.
    n : number of simulated data sets.
    seed : data set i depends on this and i alone, so that a longer run goes on where a shorter one ended.
    path : CSV file to which every fit is added; a calibration started again with it goes on.
    progress : show a progress bar; by default when standard error is a terminal.

    Returns
    -------
    Calibration

    Raises
    ------
    SkyfoldError
        If the method gives a point, or the file is that of another calibration.

    Examples
    --------
    >>> print(sf.calibrate(posterior, "auto", 300, path="auto.csv"))  # doctest: +SKIP
    """
    if n < 1:
        raise SkyfoldError(f"A calibration needs at least one simulated data set, not {n}.")
    settings = find(method)
    quantities = (*Description.of(posterior).entries, LOG_LIKELIHOOD)
    fits = Fits(settings.name, repr(settings), seed, quantities)
    file = FitsFile(path, fits, fingerprint(posterior, settings, seed))
    known = {fit.number: fit for fit in file.load()}
    with Progress(progress) as bar:
        bar.stage(f"calibrating {settings.name}", n)
        for number in range(n):
            if number not in known:
                known[number] = _one(posterior, settings, seed, number)
                file.add(known[number])
            bar.update(number + 1, known[number].message[:60])
    return Calibration(replace(fits, rows=tuple(known[i] for i in range(n))))


def _one(posterior: Posterior, settings: Any, seed: int, number: int) -> Fit:
    """Simulate and fit one data set."""
    seeds = np.random.SeedSequence([seed, number]).generate_state(3)
    latent, simulated = simulate(posterior, int(seeds[0]), int(seeds[1]))
    truth = flat_values(posterior, latent[None])[0]
    likelihood = float(simulated.log_likelihood(latent))
    quantities = len(truth) + 1
    try:
        draws: Draws = settings(simulated, int(seeds[2]), Progress(False))
    except SkyfoldError as error:
        nothing = (float("nan"),) * quantities
        return Fit(number, False, "", 0, 0.0, 0.0, nothing, (*truth, likelihood), f"no result: {error}")
    if draws.is_point:
        raise SkyfoldError(
            f"'{settings.name}' gives a single point; only methods that draw from the posterior can be calibrated."
        )
    if "interrupted" in draws.diagnostics:
        raise KeyboardInterrupt
    placed = ranks(simulated, draws, np.append(truth, likelihood), np.random.default_rng([seed, number, 1]))
    return Fit(
        number=number,
        converged=bool(draws.converged),
        sampler=draws.sampler or draws.method,
        evaluations=int(draws.evaluations),
        compile_seconds=float(draws.seconds.get("compile", 0.0)),
        sample_seconds=float(draws.seconds.get("sample", 0.0)),
        ranks=tuple(placed),
        truth=(*truth, likelihood),
        message="; ".join(draws.messages),
    )
