"""Whether an approximation of the posterior, or the weights of its draws, are to be believed."""

from __future__ import annotations

from typing import Any

import numpy as np

from skyfold.inference.convergence.missed_modes import incomplete, missed_by
from skyfold.inference.convergence.mixing import LEAST_ESS, too_few
from skyfold.inference.frames.unit_or_normal import coordinate_names
from skyfold.inference.importance.judged import FARTHEST, WALKS, Judged
from skyfold.inference.importance.psis import RELIABLE, normalised
from skyfold.inference.running import Clock, Draws
from skyfold.inference.search.modes import best_fit
from skyfold.posterior import Posterior

#: Relative error of a standard deviation, and shift of a mean in standard deviations, that is reported.
WORST_SD, WORST_SHIFT = 0.10, 0.10
#: Share of q's draws at which the posterior is zero that is reported.
WORST_VOID = 0.01
#: Mass beyond the 5% or 95% point of q, over 5%, that is reported.
WORST_TAIL = 1.5
#: Offsets of the mean (in standard deviations) and of the standard deviation (relative) of Laplace's approximation that
#: are passed over, and efficiency of its weights below which nothing is read from them.
_CLOSE, _CLOSE_SD, _FEW = 0.1, 0.05, 0.01


def of_normals(quality: dict[str, float], corrected: bool, evidence_offset: float) -> tuple[str, ...]:
    """Why draws of normals at the modes must not be used as they are; `quality` is what their weights say of them."""
    found = []
    off = (
        f"against the weighted draws its mean is off by up to {quality['mean_offset']:.2g} standard deviations, its "
        f"standard deviation by up to {100 * quality['sd_offset']:.0f}%, its log evidence by {evidence_offset:+.2g}"
    )
    if not quality["khat"] < RELIABLE:
        # a handful of draws with all the weight tells nothing
        how = f"{off}, if these weights can be trusted at all; " if quality["efficiency"] > _FEW else ""
        found.append(
            f"the posterior is far from normal: k-hat {quality['khat']:.2f} is not below {RELIABLE}, the weights are "
            f"{100 * quality['efficiency']:.2g}% efficient; {how}use 'auto' or 'nuts'"
        )
    elif not corrected and (quality["mean_offset"] > _CLOSE or quality["sd_offset"] > _CLOSE_SD):
        found.append(f"the posterior is not normal: {off}; use Laplace(corrected=True)")
    return (*found, *(_few(quality["effective"]) if corrected else ()))


def of_paths(khat: float, effective: float, n: int) -> tuple[str, ...]:
    """Why `n` draws of Pathfinder, of which so many are effective, must not be used."""
    found = []
    if not khat < RELIABLE:
        found.append(
            f"k-hat {khat:.2f} of the importance weights is not below {RELIABLE}, and they are "
            f"{100 * effective / n:.1f}% efficient: no path comes close enough to the posterior; use 'auto' or 'nuts'"
        )
    return (*found, *_few(effective))


def _few(effective: float) -> tuple[str, ...]:
    return too_few(effective, "raise draws, or use 'auto'", "the effective sample size")


def judged_draws(
    method: Any,
    posterior: Posterior,
    judged: Judged,
    state: dict[str, Any],
    own: tuple[str, ...],
    *,
    correction: str,
    richer: str,
    seed: int,
    gradients: int,
    diagnostics: dict[str, Any],
    clock: Clock,
) -> tuple[Draws, bool]:
    """Draws of a variational approximation, and whether it and its weights cover the posterior, settled or not.

    Parameters
    ----------
    state : what the run kept of the search: modes, their values and metrics, unseen, best, and evaluations spent.
    own : what keeps the method's own criteria from being met.
    correction, richer : as for `judge`.
    """
    sound, messages = judge(posterior, judged, correction, richer)
    z, likelihood, log_weights = judged.kept(correction)
    weights = np.ones(len(z)) if log_weights is None else normalised(log_weights)
    modes, unseen = np.asarray(state["modes"]), float(state["unseen"])
    parts = modes, np.asarray(state["values"]), np.asarray(state["metrics"])
    missed = missed_by(z, weights, parts, None, cure="use sf.Auto() or sf.NUTS()") if len(modes) > 1 else ()
    lacking = (*incomplete(len(modes), unseen), *missed)
    log_evidence, error = (None, None) if missed else judged.pool.log_evidence()
    draws = Draws(
        method=method.name,
        latent=z[None],
        log_likelihood=likelihood[None],
        log_weights=None if log_weights is None else log_weights[None],
        converged=bool(sound and not lacking and not own),
        messages=(*lacking, *own, *messages),
        seed=seed,
        evaluations=int(state["spent"]) + gradients + len(judged.pool.raw) + WALKS,
        gradients=gradients,
        log_evidence=log_evidence,
        log_evidence_error=None if error is None else float(np.hypot(error, unseen)),
        best=best_fit(posterior, np.asarray(state["best"]), z, likelihood, method.starts),
        mode=modes[0],
        diagnostics={**judged.diagnostics(), **diagnostics, "modes": len(modes)},
        seconds=clock.seconds(),
    )
    return draws, bool(sound and not lacking)


def judge(posterior: Posterior, judged: Judged, correction: str, richer: str) -> tuple[bool, tuple[str, ...]]:
    """Whether the draws may be used as they are handed back, and what must be said of them.

    Parameters
    ----------
    correction : what is done to them: "none", "psis" or "mcmc"; chains are judged by themselves.
    richer : what the user could use in place of this approximation.
    """
    faults = judged.faults()
    names = coordinate_names(posterior)
    found: list[str] = []
    error = np.maximum(faults["sd"], 1.0 / faults["sd"]) - 1.0
    wrong, far, heavy = (int(np.argmax(a)) for a in (error, np.abs(faults["shift"]), faults["tail"]))
    off = []
    if error[wrong] > WORST_SD:
        off.append(f"its sd of {names[wrong]} is {faults['sd'][wrong]:.2f} times that of the weighted draws")
    if abs(faults["shift"][far]) > WORST_SHIFT:
        off.append(f"its mean of {names[far]} is {abs(faults['shift'][far]):.2f} sd from that of the weighted draws")
    if faults["tail"][heavy] > WORST_TAIL:
        off.append(
            f"over-confident tail: beyond its 5% or 95% point of {names[heavy]} lies {faults['tail'][heavy]:.1f} times "
            "that mass"
        )
    if not judged.own.khat < RELIABLE:
        off.insert(0, f"over-confident: k-hat {judged.own.khat:.2f} of its weights is not below {RELIABLE}")
    void = float(np.mean(~np.isfinite(judged.own.raw)))
    if void > WORST_VOID:
        off.append(f"{100 * void:.0f}% of its draws lie where the posterior is zero")
    if off:
        remedy = {
            "none": f'these draws are not corrected: use correction="psis" or "mcmc", or {richer}',
            "psis": "the weights of the draws make up for it",
            "mcmc": "the chains make up for it",
        }
        found.append(f"the approximation is off ({'; '.join(off)}); {remedy[correction]}")
    sound = correction == "mcmc" or not off
    if correction == "psis":
        good = judged.pool.khat < RELIABLE and judged.pool.effective > LEAST_ESS
        reached = judged.beyond <= FARTHEST
        sound = good and reached
        if good and not reached:
            found.insert(
                0,
                "the corrected draws end before the posterior does: walks from the heaviest come to weights "
                f'{np.exp(judged.beyond):.0f} times as large as any; use correction="mcmc" or {richer}',
            )
        if not good:
            found = [
                f"the corrected draws are not to be trusted (k-hat {judged.pool.khat:.2f}, to be below {RELIABLE}; "
                f'{judged.pool.effective:.0f} effective draws, to be above {LEAST_ESS:.0f}): use correction="mcmc" '
                f"or {richer}",
                *(m.replace(remedy["psis"], "the weights do not make up for it") for m in found),
            ]
    return sound, tuple(found)
