"""``skyfold demo``: fit the embedded observation, whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from skyfold.cli import _options

if TYPE_CHECKING:
    from skyfold.results.result import Result

#: Priors of the demo.
PRIORS = {
    "tbabs.nH": "Uniform(0, 1)",
    "powerlaw.PhoIndex": "Uniform(0, 5)",
    "powerlaw.norm": "LogUniform(1e-6, 1e-3)",
    "bbodyrad.kT": "Uniform(0, 5)",
    "bbodyrad.norm": "LogUniform(1e-2, 1e2)",
}


@click.command("demo")
@_options.method
@_options.seed
@_options.no_figures
@_options.out("skyfold-demo")
def command(method: str, seed: int, no_figures: bool, out: Path) -> int:
    """Fit the embedded X-ray observation and compare with what it was simulated with."""
    from skyfold.cli._job import Job, Source
    from skyfold.cli._prior import parse_prior
    from skyfold.data import demo_spectrum, demo_truth

    truth = demo_truth()
    low, high = truth["notice"]
    job = Job(
        sources=(Source(demo_spectrum(), energies=((low, high),)),),
        model=truth["model"],
        priors={name: parse_prior(text) for name, text in PRIORS.items()},
        method=method,
        seed=seed,
        folder=out,
        figures=not no_figures,
    )
    code, result = job.run()
    if result is not None and not result.draws.is_point:
        click.echo(compare(result, truth["parameters"]))
    return code


def compare(result: Result, truth: dict[str, float]) -> str:
    """Say for each parameter whether the truth lies inside the 90% interval."""
    from skyfold.component import text_table

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
