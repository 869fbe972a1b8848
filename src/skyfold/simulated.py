"""Data drawn from a posterior."""

from __future__ import annotations

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.posterior import Posterior

#: Draws of the prior among which one with finite expected data is looked for.
_CANDIDATES = 64


def simulate(posterior: Posterior, prior_seed: int, data_seed: int) -> tuple[np.ndarray, Posterior]:
    """Latent vector drawn from the prior, and the posterior of data simulated at it.

    Raises
    ------
    SkyfoldError
        If the expected data are not finite, or too large to be drawn.
    """
    candidates = posterior.draw_prior(_CANDIDATES, prior_seed)
    expected = {name: np.asarray(m) for name, m in posterior.expected(candidates).items()}
    finite = np.all([np.isfinite(m).all(axis=1) for m in expected.values()], axis=0)
    if not finite.any():
        raise SkyfoldError(
            f"The expected data are not finite at any of {_CANDIDATES} draws of the prior: check the priors' ranges."
        )
    chosen = int(np.argmax(finite))
    rng = np.random.default_rng(data_seed)
    pairs = {}
    resolved = posterior.resolved(candidates[chosen])
    for name, (model, observation) in posterior.pairs.items():
        try:
            data = resolved[name][1].sample(rng, expected[name][chosen])
        except ValueError as error:
            raise SkyfoldError(
                f"{name}: data cannot be drawn for expected data up to {expected[name][chosen].max():.3g} ({error}); "
                "narrow the priors."
            ) from error
        pairs[name] = (model, observation.with_data(data))
    return candidates[chosen], Posterior(pairs)
