"""``skyfold xray``: fit X-ray spectra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from skyfold.cli import options
from skyfold.cli.options import FileName
from skyfold.errors import SkyfoldError
from skyfold.jobs.prior_text import parse_number, parse_pairs, parse_prior


@click.command("xray")
@click.argument("spectra", metavar="SPECTRUM...", nargs=-1, required=True, type=FileName())
@click.option(
    "--model", "-m", "expression", metavar="EXPR", required=True, help="Model, as in tbabs*(powerlaw+bbodyrad)."
)
@click.option(
    "--energies", "-e", metavar="LO HI", nargs=2, type=float, multiple=True, help="Range to fit, keV; may be repeated."
)
@click.option(
    "--channels", metavar="LO HI", nargs=2, type=int, multiple=True, help="Channels to fit, both included; repeatable."
)
@click.option(
    "--group", metavar="HOW", help="Join channels: none, file, min:N, snr:X, width:N, constmin:N, optimal, optmin:N."
)
@click.option("--statistic", metavar="NAME", help="Statistic, as cstat, wstat, marginal, pgstat, chi2-data.")
@click.option("--subtract", is_flag=True, help="Take the background off the data; with a chi2-* statistic.")
@options.prior("powerlaw.PhoIndex=Uniform(1,3)")
@options.value
@click.option("--abund", metavar="TABLE", help="Abundances of the absorbing gas, by XSPEC's names.")
@click.option("--xsect", metavar="TABLE", help="Photo-electric cross-sections, by XSPEC's names.")
@click.option("--redshift", "-z", metavar="Z", type=float, help="Value of every parameter called Redshift.")
@click.option(
    "--response",
    metavar="FILE",
    type=FileName(needed="a response"),
    help="Response instead of the header's (single spectrum).",
)
@click.option(
    "--arf",
    metavar="FILE",
    type=FileName(),
    help="Effective area instead of the header's, or 'none' (single spectrum).",
)
@click.option(
    "--background",
    metavar="FILE",
    type=FileName(),
    help="Background instead of the header's, or 'none' (single spectrum).",
)
@options.method()
@options.seed()
@options.checkpoint
@options.no_figures
@options.out()
def command(
    spectra: tuple[Path, ...],
    expression: str,
    energies: tuple[tuple[float, float], ...],
    channels: tuple[tuple[int, int], ...],
    group: str | None,
    statistic: str | None,
    subtract: bool,
    priors: tuple[str, ...],
    values: tuple[str, ...],
    abund: str | None,
    xsect: str | None,
    redshift: float | None,
    response: Path | None,
    arf: Path | None,
    background: Path | None,
    method: str,
    seed: int,
    checkpoint: Path | None,
    no_figures: bool,
    out: Path | None,
) -> int:
    """Fit one or several X-ray spectra, or report the statistic when nothing is free.

    Several spectra are fitted jointly and share every parameter. A leading constant factor of the model belongs to each
    spectrum: constant.factor of the first is fixed to 1 unless --prior or --set names it, constant_2.factor of the
    second and so on are free. Parameters without --prior or --set have the default priors that 'skyfold models' lists.
    """
    from skyfold.xray.job import Source, SpectraJob

    overrides: dict[str, Any] = {"response": response, "arf": arf, "background": background}
    if len(spectra) > 1 and any(v is not None for v in overrides.values()):
        given = next(name for name, v in overrides.items() if v is not None)
        raise SkyfoldError(
            f"--{given} goes with a single spectrum, here are {len(spectra)}; describe the job in a file for "
            "'skyfold fit'."
        )
    common: dict[str, Any] = {
        "energies": energies, "channels": channels, "group": group, "statistic": statistic, "subtract": subtract
    }  # fmt: skip
    job = SpectraJob(
        sources=tuple(Source(path, **common, **overrides) for path in spectra),
        model=expression,
        priors=parse_pairs(priors, "--prior", lambda text, _: parse_prior(text)),
        values=parse_pairs(values, "--set", parse_number),
        tables={k: v for k, v in (("abundances", abund), ("cross_sections", xsect)) if v is not None},
        redshift=redshift,
        method=method,
        seed=seed,
        folder=out,
        checkpoint=checkpoint,
        figures=not no_figures,
    )
    return job.run(click.echo)[0]
