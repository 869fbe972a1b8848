"""Whether groups of particles, of walkers or of live points agree and have gone far enough."""

from __future__ import annotations

from typing import Any

import numpy as np

from skyfold.inference.convergence.mixing import LEAST_ESS, disagreement, interruption, least_ess, too_few

#: What live points must reach: insertion ranks no less probable than this, ranks of new points less correlated than
#: this with those of the points they set out from, no more than this share of slice steps that found no other point,
#: and error of the share of a mode at most.
LEAST_PVALUE, MOST_KINSHIP, MOST_STUCK, MOST_SHARE_ERROR = 1e-3, 0.1, 0.01, 0.1


def of_particles(method: Any, quality: dict[str, float], table: dict[str, np.ndarray]) -> tuple[str, ...]:
    """What keeps tempered particles from being called converged; `table` has a row for each temperature."""
    found = []
    stuck = table["correlation"] > method.correlation
    if stuck.any():
        found.append(
            f"at {stuck.sum()} of {len(stuck)} temperatures {method.max_steps} steps did not decorrelate the particles "
            f"(worst correlation {table['correlation'].max():.2f}, {method.correlation} wanted): raise max_steps"
        )
    worst = table["effective"].min()
    if worst < 0.5 * method.keep:
        found.append(
            f"a step of the temperature left {100 * worst:.2g}% of effective particles: raise max_temperatures"
            if len(table["power"]) >= method.max_temperatures
            else f"the likelihood is finite at so few draws of the prior that {100 * worst:.2g}% were effective: "
            "raise particles"
        )
    return (
        *interruption(quality),
        *found,
        *disagreement(quality["rhat"], "raise particles or max_rounds", "populations"),
        *too_few(least_ess(quality), "raise particles"),
    )


def of_walkers(quality: dict[str, float], enough: float) -> tuple[str, ...]:
    """What keeps ensembles of walkers from being called converged, which must run so many autocorrelation times."""
    found = []
    if not quality["length"] >= enough:
        found.append(
            f"the run has the length of {quality['length']:.0f} autocorrelation times of {quality['tau']:.0f} steps, "
            f"not {enough:.0f}: raise max_steps, or use nuts"
        )
    return (
        *interruption(quality),
        *found,
        *disagreement(quality["rhat"], "raise max_steps", "ensembles"),
        *too_few(quality["ess"], "raise max_steps"),
    )


def of_live_points(method: Any, quality: dict[str, Any]) -> tuple[str, ...]:
    """What keeps nested sampling from being called converged.

    Parameters
    ----------
    quality : ``finished``, the share of the evidence that is ``left``, the numbers that `LEAST_PVALUE` and the others
        limit, ``independent`` draws that are left once families count as one (as many as live points are needed, if
        these are few), and the coordinates ``worst`` and ``split`` of these and of the shares.
    """
    found = [*interruption(quality)]
    if not quality["finished"]:
        found.append(
            f"{100 * quality['left']:.2g}% of the evidence is still in the live points, more than the "
            f"{100 * method.remainder:.2g}% asked for: raise max_steps"
        )
    if quality["insertion_p"] < LEAST_PVALUE:
        found.append(
            f"the ranks of new points among the live ones are uneven (p = {quality['insertion_p']:.1g}): new points "
            "are no fair draws, evidence and draws may be off; use more sweeps or live points"
        )
    if quality["kinship"] > MOST_KINSHIP:
        found.append(
            "the ranks of new points follow those of the points they set out from (correlation "
            f"{quality['kinship']:.2f}): the errors are larger than they say; use more sweeps"
        )
    if quality["stuck"] > MOST_STUCK:
        found.append(
            f"{100 * quality['stuck']:.1f}% of the slice steps found no point above the contour: use more sweeps"
        )
    least = min(LEAST_ESS, method.live)
    if quality["independent"] < least:
        found.append(
            f"new points stay near those they set out from: the draws tell the mean of {quality['worst']} no better "
            f"than {quality['independent']:.0f} independent ones, below {least:.0f}; use more live points or sweeps"
        )
    if quality["share_error"] > MOST_SHARE_ERROR:
        found.append(
            f"the shares of two modes apart in {quality['split']} are known to {quality['share_error']:.2f} only: use "
            "more live points"
        )
    return tuple(found)
