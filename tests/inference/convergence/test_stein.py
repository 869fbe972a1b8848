"""Stein's identities, and walks beyond weighted draws: both must see what draws leave out."""

from __future__ import annotations

import numpy as np
from toys import direct

import skyfold as sf
from skyfold.inference.convergence.stein import complaint, departures
from skyfold.inference.density import evaluate
from skyfold.inference.importance.judged import FARTHEST, log_scouts, scouts, walked, weigh

#: Prior N(0, 1) in both, data at (1, 0) with errors of 0.5: the posterior is normal.
MEAN, SD = np.array([0.8, 0.0]), np.full(2, np.sqrt(0.2))


def posterior() -> sf.Posterior:
    return direct([1.0, 0.0], [0.5, 0.5], sf.Normal(np.zeros(2), 1.0))


def test_fair_draws_obey_the_identities() -> None:
    z = MEAN + SD * np.random.default_rng(1).standard_normal((4, 1000, 2))
    departure, error = departures(posterior(), z)
    assert np.all(np.abs(departure) < 5.0 * error) and np.all(error < 0.05)
    assert complaint(posterior(), departure, error) == ()


def test_draws_that_stop_short_are_told() -> None:
    z = MEAN + SD * np.random.default_rng(1).standard_normal((40_000, 2))
    z = z[z[:, 0] > MEAN[0] - SD[0]][:32_000].reshape(4, 8000, 2)
    departure, error = departures(posterior(), z)
    # the density of the cut normal at its end, by its standard deviation
    density, mass = np.exp(-0.5) / np.sqrt(2.0 * np.pi), 0.8413447
    mean = density / mass
    width = np.sqrt(1.0 - mean - mean**2)
    np.testing.assert_allclose(departure[0, 0], -width * mean, atol=5 * error[0, 0])
    assert abs(departure[0, 1]) < 5 * error[0, 1]
    assert "stop where the posterior goes on" in complaint(posterior(), departure, error)[0]


def test_walks_find_what_the_proposal_does_not_reach() -> None:
    case = posterior()
    rng = np.random.default_rng(2)
    for width, right in ((1.0, True), (0.4, False)):

        def log_pool(z: np.ndarray, width: float = width) -> np.ndarray:
            return log_scouts((z - MEAN) / (width * SD)) - 2.0 * np.log(width) - np.sum(np.log(SD))

        z = MEAN + width * SD * scouts(4096, 2, rng)
        if not right:  # as if nothing had been drawn farther out
            z = z[np.all(np.abs(z - MEAN) < 1.5 * width * SD, axis=1)]
        judged = weigh(case, z, z, log_pool(z), len(z), log_pool(z))
        found = walked(judged, lambda x, pool=log_pool: (evaluate(case, x)[0], pool(x)), 1)
        assert (found.beyond <= FARTHEST) == right
