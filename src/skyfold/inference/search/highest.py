"""Summit: the highest maximum of a likelihood or posterior, looked for until climbs stop coming higher.

A few climbs from the best of a few prior draws come first. Where all of them end in one maximum, there is hardly
another: after n such climbs the expected number of maxima is (n - 1) / (n - 3), below one and a half from the eighth on
(Boender & Rinnooy Kan 1987, Math. Program. 37, 59). More dimensions, in which more may hide, have more climbs.

Where climbs disagree, many more are made. Maxima of the posterior are a poor base for those of the likelihood: where a
component is not needed, or the data leave a plateau, the prior leads away from them. So the likelihood is climbed by
itself, from the screened prior draws that it prefers and from children of the best maxima so far, which have some of
their coordinates drawn anew: a component that one climb lost is tried again beside the others where they are right.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skyfold.inference.density import evaluate
from skyfold.inference.search.landscape import Landscape
from skyfold.inference.search.maxima import Modes, joined
from skyfold.inference.search.quasirandom import normal_points
from skyfold.inference.search.scoring import CALM, LANES, PATIENCE, climb
from skyfold.inference.search.screening import choose_starts
from skyfold.posterior import Posterior

#: Prior draws of the first look; climbs from the best of them, at least and for each dimension.
_LOOK, _FEWEST, _EACH = 64, 8, 4
#: Batches spent at most, and the rise (in log-likelihood) below which a batch has found nothing higher.
_BATCHES, _RISE = 12, 0.005
#: Batches in a row that must have found nothing higher.
_QUIET = 3
#: Where the data hold half of the coordinates to better than a part in so many of the prior's width, valleys are long
#: and narrow: there every start is given as many steps, for one far below the best may yet come higher.
_NARROW, _STEPS = 300.0, 200
#: Maxima whose children are climbed from.
_PARENTS = 4


def first_look(posterior: Posterior, starts: int, seed: int, *, with_prior: bool, max_steps: int = 200) -> Modes | None:
    """Maxima that a few climbs end in, best first: the only one there is where all end in one.

    None in too many dimensions or with too few starts, and where the likelihood is finite nearly nowhere.
    """
    from skyfold.inference.search import large

    wanted = min(max(_FEWEST, _EACH * posterior.ndim), starts)
    if posterior.ndim > large.LARGE or wanted < _FEWEST:
        return None
    points = normal_points(max(_LOOK, 2 * wanted), posterior.ndim, np.random.default_rng([seed, 16]))
    density, likelihood = evaluate(posterior, points)
    if np.sum(np.isfinite(density)) < wanted:
        return None
    chosen = choose_starts(points, density if with_prior else likelihood, wanted)
    found = climb(posterior, chosen, with_prior=with_prior, max_steps=max_steps, lanes=LANES, size=starts)
    return replace(found, evaluations=found.evaluations + len(points))


def highest(land: Landscape, known: Modes, seed: int, *, max_steps: int = 200) -> Modes:
    """Maxima of the likelihood, best first; `known` are those found so far."""
    from skyfold.inference.search import large

    posterior = land.posterior
    if posterior.ndim > large.LARGE:
        return known
    rng = np.random.default_rng([seed, 17])
    pool = choose_starts(land.points, land.log_likelihood, land.starts * _BATCHES)
    # best first and, from the middle on, spread out: every batch gets some of both
    quiet = 0
    for batch in range(_BATCHES):
        before = known.value[0]
        fresh = pool[batch::_BATCHES]
        if batch:
            fresh[::2] = _children(known.z, fresh[::2], rng)
        narrow = np.median(np.sqrt(np.diagonal(known.metric[0]))) > _NARROW
        patience = _STEPS if narrow else PATIENCE
        found = climb(
            posterior, fresh, with_prior=False, max_steps=max_steps, patience=patience, lanes=LANES, calm=CALM
        )
        known = joined(known, found)
        quiet = quiet + 1 if batch and known.value[0] < before + _RISE else 0
        if quiet == _QUIET:
            break
    return known


def _children(parents: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mix coordinates of the best maxima with those of other points (n, ndim)."""
    chosen = parents[rng.integers(min(_PARENTS, len(parents)), size=len(others))]
    return np.where(rng.random(others.shape) < rng.random((len(others), 1)), others, chosen)
