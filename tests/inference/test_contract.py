"""What every method keeps to: it repeats, is right within its errors, goes on where it was killed, knows its limits.

All runs are given stand-ins that have nothing but what the protocol names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.stats as st
from toys import DATA, MEAN, SD, SIGMA, Direct, Squared, direct

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.inference import METHODS, find
from skyfold.inference.running.checkpoint import Checkpoint
from skyfold.likelihoods.gaussian import Gaussian

EVIDENCE = st.norm.logpdf(DATA, 0.0, np.sqrt(1 + SIGMA**2)).sum()
#: Methods that give one point, and where it is.
POINTS = {"mle": DATA, "map": MEAN}
#: Methods that are over before there is anything to keep.
SHORT = {"auto", "laplace", "map", "mle", "pathfinder"}
#: Packages whose own files do not give the very draws: dynesty's are pickles, which are refused, nautilus and
#: ultranest take their points up again and draw on.
INEXACT = {"dynesty", "nautilus", "ultranest"}


@dataclass(frozen=True)
class Case:
    """Settings of a quick run; those with which it cannot converge, what it says then, and on which posterior."""

    settings: dict[str, Any] = field(default_factory=dict)
    starved: dict[str, Any] = field(default_factory=dict)
    says: str = ""
    on: Any = None


class Public:
    """A posterior of which only what is public is seen."""

    def __init__(self, posterior: sf.Posterior) -> None:
        self.__dict__["inside"] = posterior

    def __getattr__(self, name: str) -> Any:
        assert not name.startswith("_") or name.startswith("__"), f"a method asks for posterior.{name}"
        return getattr(self.__dict__["inside"], name)


class Fourth(Squared):
    """Flat at its mode: nothing that a second derivative tells of."""

    def evaluate(self, grid: Any) -> Any:
        return Squared.evaluate(self, grid) ** 2


@cache
def two_modes(width: float = 0.2) -> Any:
    return Public(sf.Posterior((Squared(x=sf.Normal(0.0, 2.0)), Direct(Gaussian([4.0], [width]), Annotation("d")))))


@cache
def flat() -> Any:
    return Public(sf.Posterior((Fourth(x=sf.Normal(0.0, 1.0)), Direct(Gaussian([0.0], [1e-4]), Annotation("d")))))


_CUBE = {"screen": 256, "starts": 4}
CASES = {
    "aies": Case({}, {"max_steps": 100}, "autocorrelation times"),
    "auto": Case({}, {"max_evaluations": 1}, "auto used SMC"),
    "chees": Case(
        {}, {"warmup": 200, "draws": 100, "max_draws": 100}, "effective sample size", lambda: two_modes(0.01)
    ),
    "dynesty": Case({"live": 200, **_CUBE}, {"max_evaluations": 600}, "max_evaluations"),
    "ess": Case({}, {"max_steps": 100}, "autocorrelation times"),
    "geovi": Case({}, {}, "a mode with some 50% of the posterior", two_modes),
    "hmc": Case({}, {"draws": 20, "max_draws": 20}, "effective sample size"),
    "laplace": Case({}, {}, "normal", flat),
    "map": Case({}, {"max_steps": 1}, "not a stationary point"),
    "meads": Case({}, {"chains": 16, "warmup": 200, "draws": 50, "max_draws": 50}, "effective sample size"),
    "mgvi": Case({}, {}, "a mode with some 50% of the posterior", two_modes),
    "mle": Case({}, {"max_steps": 1}, "not a stationary point"),
    "nautilus": Case(
        {"live": 400, "networks": 1, "effective": 3000, **_CUBE}, {"max_evaluations": 600}, "max_evaluations"
    ),
    "nested": Case({"live": 200, "batch": 20, **_CUBE}, {"max_steps": 20}, "still in the live points"),
    "nuts": Case({}, {"draws": 20, "max_draws": 20}, "effective sample size"),
    "pathfinder": Case({}, {"draws": 100}, "effective sample size"),
    "smc": Case({}, {"max_temperatures": 2, "rounds": 1, "max_rounds": 1}, "effective particles"),
    "ultranest": Case({"live": 200, **_CUBE}, {"max_evaluations": 600}, "max_evaluations"),
    "vi": Case({}, {"steps": 50}, "still rose"),
}
EVERY = pytest.mark.parametrize("name", METHODS)


class Silent:
    """Progress that is told and says nothing."""

    def stage(self, name: str, total: float | None = None) -> None: ...

    def update(self, done: float, note: str = "") -> None: ...


class Killed(Exception):
    """What stands for the end of the process."""


class Memory:
    """Checkpoint without a file, which ends the run after some saves."""

    def __init__(self) -> None:
        self.kept: dict[str, np.ndarray] | None = None
        self.saves, self.last = 0, -1

    def load(self) -> dict[str, np.ndarray] | None:
        return None if self.kept is None else {k: v.copy() for k, v in self.kept.items()}

    def save(self, **state: Any) -> None:
        self.kept = {k: np.array(v) for k, v in state.items()}
        self.saves += 1
        if self.saves == self.last:
            raise Killed


@cache
def toy() -> Any:
    return Public(direct(list(DATA), list(SIGMA), sf.Normal(np.zeros(3), 1.0)))


def method(name: str, **more: Any) -> Any:
    if name in INEXACT:
        pytest.importorskip(name, reason=f"{name} is not installed")
    return type(find(name))(**{**CASES[name].settings, **more})


@cache
def whole(name: str) -> tuple[Any, int]:
    """Draws of an uninterrupted run and how often it saved."""
    kept: Any = Checkpoint() if name in INEXACT else Memory()
    return method(name)(toy(), 4, Silent(), kept), getattr(kept, "saves", 0)


def same(one: Any, two: Any) -> None:
    np.testing.assert_array_equal(one.latent, two.latent)
    np.testing.assert_array_equal(one.log_likelihood, two.log_likelihood)
    assert (one.log_weights is None) == (two.log_weights is None)
    if one.log_weights is not None:
        np.testing.assert_array_equal(one.log_weights, two.log_weights)
    assert (one.log_evidence, one.log_evidence_error) == (two.log_evidence, two.log_evidence_error)
    assert (one.evaluations, one.gradients) == (two.evaluations, two.gradients)
    np.testing.assert_equal(one.diagnostics, two.diagnostics)
    assert (one.converged, one.messages, one.seed) == (two.converged, two.messages, two.seed)


def effective(draws: Any) -> float:
    """Effective draws: what the method says, or Kish's number of its weights."""
    stated = draws.diagnostics.get("ess", np.inf)
    return float(min(stated, 1 / np.sum(draws.weights() ** 2)))


def test_the_table_is_complete() -> None:
    assert set(CASES) == set(METHODS)


@EVERY
def test_the_seed_repeats(name: str) -> None:
    one, two = whole(name)[0], method(name)(toy(), 4, Silent(), Checkpoint())
    same(one, two)
    if name not in POINTS:
        assert not np.array_equal(one.latent, method(name)(toy(), 5, Silent(), Checkpoint()).latent)


@EVERY
def test_a_normal_posterior_is_met_within_the_stated_errors(name: str) -> None:
    draws = whole(name)[0]
    assert draws.converged, draws.messages
    assert (draws.method, draws.seed, draws.evaluations > 0) == (name, 4, True)
    assert draws.latent.shape == (*draws.log_likelihood.shape, 3)
    exact = st.norm.logpdf(draws.latent, DATA, SIGMA).sum(axis=-1)
    np.testing.assert_allclose(draws.log_likelihood, exact, rtol=1e-9, atol=1e-9)
    if name in POINTS:
        np.testing.assert_allclose(draws.latent[0, 0], POINTS[name], atol=1e-5)
        return
    np.testing.assert_allclose(draws.best, DATA, atol=1e-5)
    w, z = draws.weights().ravel(), draws.latent.reshape(-1, 3)
    mean = w @ z
    error = 1 / np.sqrt(effective(draws))
    assert error < 0.1
    np.testing.assert_allclose((mean - MEAN) / SD, 0.0, atol=4 * error)
    np.testing.assert_allclose(np.sqrt(w @ (z - mean) ** 2) / SD, 1.0, atol=4 * error)
    if draws.log_evidence is not None:
        assert draws.log_evidence == pytest.approx(EVIDENCE, abs=4 * (draws.log_evidence_error or 0.0) + 1e-6)


@pytest.mark.parametrize("name", [n for n in METHODS if n not in INEXACT])
def test_a_run_killed_three_times_gives_the_same_draws(name: str) -> None:
    draws, saves = whole(name)
    assert (saves == 0) == (name in SHORT)
    kept = Memory()
    for kept.last in sorted({min(saves, 1), saves // 2, saves} - {0}):
        with pytest.raises(Killed):
            method(name)(toy(), 4, Silent(), kept)
    same(method(name)(toy(), 4, Silent(), kept), draws)


@EVERY
def test_it_says_when_it_has_not_converged(name: str) -> None:
    case = CASES[name]
    draws = method(name, **case.starved)((case.on or toy)(), 4, Silent(), Checkpoint())
    assert case.says in " ".join(draws.messages), draws.messages
    assert draws.converged == (name == "auto")
