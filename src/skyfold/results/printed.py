"""Printed: a result as plain text."""

from __future__ import annotations

import math

from skyfold.results.notation import interval, with_errors
from skyfold.results.result import Result
from skyfold.results.summary import Marginal
from skyfold.wording import p_text, text_table


def text(result: Result) -> str:
    """Return header lines, then the table of the parameters."""
    lines = [*_failure(result), *_header(result), "", table(result)]
    fixed = [f"{name} = {value:g}" for name, value in result.description.fixed.items() if isinstance(value, float)]
    if fixed:
        lines.append(f"fixed: {', '.join(fixed)}")
    tied = [f"{name} = {expression}" for name, expression in result.description.tied.items()]
    if tied:
        lines.append(f"tied: {', '.join(tied)}")
    return "\n".join(lines)


def _failure(result: Result) -> list[str]:
    if result.converged:
        return []
    reasons = [f"*** {message}" for message in result.draws.messages] or ["*** the method gives no reason"]
    return ["*** NOT CONVERGED: do not use these numbers ***", *reasons, ""]


def _header(result: Result) -> list[str]:
    draws, description = result.draws, result.description
    spent = f"{draws.evaluations} evaluations" if draws.evaluations else "evaluations not counted"
    gradients = f" ({draws.gradients} with gradient)" if draws.gradients else ""
    amount = "" if draws.is_point else f", {draws.latent.shape[0]} x {draws.latent.shape[1]} draws"
    yes = "converged" if result.converged else "NOT converged"
    sampler = f" ({draws.sampler})" if draws.sampler else ""
    lines = [f"method {draws.method}{sampler}: {yes}{amount}, {spent}{gradients}, seed {draws.seed}"]
    lines += [
        f"{o.model}  ~  {o.name} ({o.n_data if o.n_measured is None else o.n_measured} data)"
        for o in description.observations
    ]
    s = result.statistic
    where = "at this point" if draws.is_point else "at the maximum of the likelihood"
    if s["value"] is None:
        lines.append(f"{s['name']} not known (load the result with its posterior)")
    else:
        lines.append(f"{s['name']} {s['value']:.2f} for {s['n_data']} data, {s['dof']} dof ({where})")
    if result.has_goodness:
        g = result.goodness
        found = f"{p_text(g.p_value, g.replicates)} ({g.replicates} replicates of {g.statistic})" if not g.note else ""
        lines.append(f"posterior predictive check: {f'none, {g.note}' if g.note else found}")
    if draws.log_evidence is not None:
        error = f" +- {draws.log_evidence_error:.2g}" if draws.log_evidence_error is not None else ""
        lines.append(f"ln evidence {draws.log_evidence:.3f}{error}")
    messages = draws.messages if result.converged else ()
    return lines + [f"note: {m}" for m in messages] + [f"warning: {w}" for w in result.warnings]


def table(result: Result) -> str:
    """Return the table of the parameters as text."""
    found = result.marginals
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    if result.draws.is_point:
        header = ("parameter", "unit", "value", "standard error", "note")
        rows = [(m.name, m.unit, *_point(m), m.note) for m in found]
    else:
        header = ("parameter", "unit", "median", "16-84%", "5-95%", "R-hat", "ESS", "note")
        rows = [_row(m) for m in found]
    return _without_empty(header, rows)


def _point(m: Marginal) -> tuple[str, str]:
    value, errors = with_errors(m.best, m.sd, m.sd)
    return value, "-" if errors == "-" else f"+- {errors.split()[0][1:]}"


def _row(m: Marginal) -> tuple[str, ...]:
    middle, errors = with_errors(m.median, m.q84 - m.median, m.median - m.q16)
    error = m.q84 - m.q16
    if m.limit == "upper":
        middle, errors = f"< {with_errors(m.q95, error, error)[0]}", ""
    elif m.limit == "lower":
        middle, errors = f"> {with_errors(m.q05, error, error)[0]}", ""
    rhat = f"{m.rhat:.3f}" if math.isfinite(m.rhat) else ""
    ess = f"{m.ess:.0f}" if math.isfinite(m.ess) else ""
    return m.name, m.unit, middle, errors, interval(m.q05, m.q95, error), rhat, ess, m.note


def _without_empty(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    kept = [i for i in range(len(header)) if any(r[i] for r in rows)]
    return text_table(tuple(header[i] for i in kept), [tuple(r[i] for i in kept) for r in rows])
