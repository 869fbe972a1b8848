"""Families of live points: found, and counted instead of their members."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from skyfold.inference.nested_sampling.families import dependence, evidence_error, families, memory


def test_ancestors_are_found_back_to_the_moment_asked_for() -> None:
    mothers = np.array([-1, -1, 0, 2, 1, 3])
    np.testing.assert_array_equal(families(mothers, np.ones(6, bool)), [0, 1, 0, 0, 1, 0])
    late = np.array([False, False, False, True, True, True])
    np.testing.assert_array_equal(families(mothers, late), [0, 1, 2, 2, 1, 2])


def test_memory_is_the_correlation_of_the_worst_coordinate() -> None:
    rng = np.random.default_rng(0)
    here = rng.standard_normal((2000, 2))
    assert memory(here, rng.standard_normal((2000, 2))) < 0.1
    assert memory(here, np.stack([rng.standard_normal(2000), np.exp(here[:, 1])], axis=1)) == 1.0


def kin(founders: int, members: int) -> tuple[np.ndarray, ...]:
    """Families of points that lie in the same place, as the arguments of `dependence`."""
    rng = np.random.default_rng(1)
    n = founders * members
    names = rng.permutation(n)
    mothers = np.where(np.arange(n) < founders, -1, np.arange(n) % founders)
    z = rng.standard_normal((founders, 2))[names % founders]
    death = np.sort(rng.standard_normal(n))
    birth = np.where(names < founders, -np.inf, death[0])
    return z, birth, death, np.full(n, float(n)), np.full(n, 1.0 / n), names, mothers


def test_members_of_a_family_count_as_one() -> None:
    assert 40.0 < dependence(*kin(50, 20)).effective < 60.0
    alone = dependence(*kin(1000, 1)).effective
    assert 900.0 < alone < 1100.0


def test_separate_modes_have_an_uncertain_share() -> None:
    z, *rest = kin(50, 20)
    apart = z + 30.0 * np.sign(z)
    found = dependence(apart, *rest)
    assert 0.04 < found.share_error < 0.1  # 50 families toss for it: sqrt(0.25 / 50)
    assert dependence(z, *rest).share_error == 0.0


def history(seed: int, live: int = 60) -> tuple[float, float]:
    """Log evidence and its error from a perfect nested sampler of a Gaussian in 5 dimensions, of known volumes."""
    rng = np.random.default_rng(seed)
    volume, names, born = rng.random(live), np.arange(live), np.full(live, -np.inf)
    mothers, dead = [-1] * live, []

    def height(x: np.ndarray | float) -> np.ndarray:
        return -0.5 * (np.asarray(x) / 1e-3) ** 0.4

    for _ in range(14 * live):
        k = int(np.argmax(volume))
        dead.append((height(volume[k]), born[k], names[k], live))
        mother = int(rng.choice(np.delete(np.arange(live), k)))
        mothers.append(int(names[mother]))
        names[k], born[k], volume[k] = len(mothers) - 1, height(volume[k]), rng.random() * volume[k]
    for left, k in zip(range(live, 0, -1), np.argsort(-volume), strict=True):
        dead.append((height(volume[k]), born[k], names[k], left))
    death, birth, who, count = (np.array(column) for column in zip(*dead, strict=True))
    shrunk = -np.cumsum(1.0 / count)
    log_weights = death + shrunk - np.log(count)
    weights = np.exp(log_weights - logsumexp(log_weights))
    error = evidence_error(birth, death, count, weights, who.astype(int), np.array(mothers))
    return float(logsumexp(log_weights)), error


def test_the_error_of_the_evidence_is_its_scatter() -> None:
    found, errors = np.array([history(seed) for seed in range(150)]).T
    # 150 runs know their scatter to 6%
    np.testing.assert_allclose(errors.mean(), found.std(), rtol=0.2)
