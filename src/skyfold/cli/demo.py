"""``skyfold demo``: fit embedded data, whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from skyfold.cli import options
from skyfold.jobs.job import Job
from skyfold.results.result import Result

#: Priors of the demo of a spectrum.
PRIORS = {
    "tbabs.nH": "Uniform(0, 1)",
    "powerlaw.PhoIndex": "Uniform(0, 5)",
    "powerlaw.norm": "LogUniform(1e-6, 1e-3)",
    "bbodyrad.kT": "Uniform(0, 5)",
    "bbodyrad.norm": "LogUniform(1e-2, 1e2)",
}


#: What may be fitted.
DEMOS = ("xray", "gammaray", "point-sources")


@click.command("demo")
@click.argument("data", type=click.Choice(DEMOS), default="xray", required=False)
@options.method()
@options.seed()
@options.no_figures
@options.out("skyfold-demo")
def command(data: str, method: str, seed: int, no_figures: bool, out: Path) -> int:
    """Fit embedded data and compare with what they were simulated with.

    DATA is xray (a spectrum, the default), gammaray (a small sky of the templates that are fitted) or point-sources
    (the same with unresolved point sources, which takes minutes).
    """
    settings: dict[str, Any] = {"method": method, "seed": seed, "folder": out, "figures": not no_figures}
    job, truth = _spectrum(settings) if data == "xray" else _sky(data == "point-sources", settings)
    code, result = job.run(click.echo)
    if result is not None and not result.draws.is_point:
        click.echo(compare(result, truth))
    return code


def _spectrum(settings: dict[str, Any]) -> tuple[Job, dict[str, float]]:
    from skyfold.data import demo_spectrum, demo_truth
    from skyfold.jobs.prior_text import parse_prior
    from skyfold.xray.job import Source, SpectraJob

    truth = demo_truth()
    low, high = truth["notice"]
    job = SpectraJob(
        sources=(Source(demo_spectrum(), energies=((low, high),)),),
        model=truth["model"],
        priors={name: parse_prior(text) for name, text in PRIORS.items()},
        **settings,
    )
    return job, truth["parameters"]


def _sky(point_sources: bool, settings: dict[str, Any]) -> tuple[Job, dict[str, float]]:
    from skyfold.data import demo_sky, demo_truth
    from skyfold.gammaray.job import SkyJob

    truth = demo_truth("sky")["sources" if point_sources else "sky"]
    return replace(SkyJob.read(demo_sky(point_sources)), truth=truth, **settings), truth


def compare(result: Result, truth: dict[str, float]) -> str:
    """Say for each parameter whether the truth lies inside the 90% interval."""
    from skyfold.wording import text_table

    rows: list[tuple[str, ...]] = [
        (
            m.name,
            f"{truth[m.name]:g}",
            f"{m.q05:.4g} .. {m.q95:.4g}",
            "yes" if m.q05 <= truth[m.name] <= m.q95 else "no",
        )
        for m in result.marginals
    ]
    inside = sum(row[-1] == "yes" for row in rows)
    table = text_table(("parameter", "truth", "5-95%", "inside"), rows)
    return f"\n{table}\n{inside} of {len(rows)} true values lie inside their 90% interval"
