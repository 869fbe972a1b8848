"""Coverage: maxima for methods that know nothing of them, and whether their draws are where the maxima are.

Nested sampling in all its kinds ends in `weighted_draws`.
"""

from __future__ import annotations

import numpy as np

from skyfold.inference.search.modes import MOST_UNSEEN

#: A mode with more than this share of the posterior, by Laplace's approximation, must have draws: at least so many of
#: what the share promises.
_SHARE, _FOUND = 0.02, 0.1


def incomplete(modes: int, unseen: float) -> tuple[str, ...]:
    """What to tell a user where new starts of the search still find new modes."""
    if unseen <= MOST_UNSEEN:
        return ()
    return (
        f"{modes} modes were found and one in {1.0 / unseen:.0f} starts still finds a new one: modes are "
        "missing. Exchangeable components have as many modes as they have orders: give them priors that do not "
        "overlap, or tie one to the other",
    )


def missed_by(
    z: np.ndarray,
    weights: np.ndarray,
    modes: tuple[np.ndarray, np.ndarray, np.ndarray],
    log_evidence: float | None,
    *,
    cure: str,
) -> tuple[str, ...]:
    """Say which modes hold mass, by Laplace's approximation, but few of the weighted draws.

    Parameters
    ----------
    z, weights : (n, ndim), (n,) draws and their weights.
    modes : latent vectors (k, ndim), log densities without the prior's norm (k,), and metrics (k, ndim, ndim).
    log_evidence : that of the draws, which may lack that of the modes.
    cure : what to do.
    """
    missed = []
    masses = modes[1] - 0.5 * np.linalg.slogdet(modes[2])[1]
    whole = float(np.logaddexp.reduce(masses))
    whole = whole if log_evidence is None else max(log_evidence, whole)
    for mode, value, metric, mass in zip(*modes, masses, strict=True):
        ndim, share = len(mode), float(np.exp(mass - whole))
        near = np.einsum("ni,ij,nj->n", z - mode, metric, z - mode) < ndim + 3.0 * np.sqrt(2 * ndim)
        there = float(weights @ near / weights.sum())
        if share > _SHARE and there < _FOUND * share:
            missed.append(
                f"a mode with some {100 * share:.0f}% of the posterior (log-likelihood "
                f"{value + 0.5 * mode @ mode:.2f}) has {100 * there:.1g}% of the draws: {cure}"
            )
    return tuple(missed)
