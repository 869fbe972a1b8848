"""Calibration: right methods pass, over-confident ones are found out, killed ones go on, nothing is compiled twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import jax.monitoring
import numpy as np
import pytest
from toys import direct

import skyfold as sf
from skyfold.checks.calibration import Calibration, calibrate
from skyfold.checks.calibration.ranks import rank
from skyfold.checks.calibration.uniformity import band, fractions, p_value
from skyfold.inference.running.checkpoint import NO_CHECKPOINT
from skyfold.inference.running.draws import Draws

SIGMA = np.array([0.5, 2.0])


@dataclass(frozen=True)
class Exact:
    """Draws from the posterior of `gaussian`, which is known; wrong ones where asked for."""

    name: ClassVar[str] = "exact"
    shrink: float = 1.0
    shift: float = 0.0
    weighted: bool = False
    draws: int = 400
    fails: int = 0

    def __call__(self, posterior, seed, progress, checkpoint=NO_CHECKPOINT) -> Draws:
        rng = np.random.default_rng(seed)
        data = np.concatenate([o.data for _, o in posterior.pairs.values()])
        precision = 1 / SIGMA**2
        mean, sd = precision * data / (precision + 1), self.shrink / np.sqrt(precision + 1)
        mean = mean + self.shift * sd
        log_weights = None
        if self.weighted:
            broad = rng.standard_t(4, size=(self.draws, 2)) * 1.5
            log_weights = (-0.5 * broad**2 + 2.5 * np.log1p(broad**2 / 9)).sum(axis=1)[None]
            # the density of Student's t with 4 degrees of freedom, stretched by 1.5
        else:
            broad = rng.standard_normal((self.draws, 2))
        latent = mean + sd * broad
        failed = self.fails and seed % self.fails == 0
        return Draws(
            method=self.name,
            latent=latent[None],
            log_likelihood=np.asarray(posterior.log_likelihood(latent))[None],
            log_weights=log_weights,
            converged=not failed,
            messages=("on purpose",) if failed else (),
            seed=seed,
            evaluations=self.draws,
            diagnostics={"ess": float(self.draws)},
        )


@pytest.fixture(scope="module")
def gaussian() -> sf.Posterior:
    return direct([0.0, 0.0], SIGMA, sf.Normal(np.zeros(2), 1.0))


# -- uniformity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [7, 50, 300])
def test_the_band_holds_uniform_numbers_with_its_probability(n) -> None:
    rng = np.random.default_rng(n)
    low, high = band(n, 0.9)
    inside = [np.all((f >= low - 1e-12) & (f <= high + 1e-12)) for f in (fractions(rng.random(n)) for _ in range(3000))]
    assert np.mean(inside) >= 0.9 - 3 * np.sqrt(0.09 / 3000)
    assert np.mean(inside) <= (1.0 if n < 50 else 0.94)


def test_p_values_agree_with_the_band_and_are_honest() -> None:
    rng = np.random.default_rng(3)
    low, high = band(100, 0.9)
    p = []
    for _ in range(300):
        u = rng.random(100)
        p.append(p_value(u))
        f = fractions(u)
        assert np.all((f >= low) & (f <= high)) == (p[-1] > 0.1)
    assert np.mean(np.array(p) <= 0.2) == pytest.approx(0.2, abs=0.08)
    assert p_value(np.full(100, 0.5)) < 1e-10
    assert p_value(np.full(100, 1.0)) < 1e-10
    assert p_value((np.arange(100) + 0.5) / 100) > 0.99


def test_ranks_are_uniform_for_few_draws_ties_and_weights() -> None:
    rng = np.random.default_rng(4)
    for x in (rng.normal(size=(2000, 6)), rng.integers(0, 3, (2000, 6))):
        u = [rank(row[1:], np.full(5, 0.2), row[0], rng.random()) for row in x]
        assert p_value(np.array(u)) > 1e-3
    weighted = []
    for v in rng.random(2000):
        x = rng.normal(0.0, 1.5, 300)
        w = np.exp(-0.5 * x**2 * (1 - 1 / 1.5**2))
        weighted.append(rank(x, w / w.sum(), rng.normal(), v))
    assert p_value(np.array(weighted)) > 1e-3


# -- calibrations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [Exact(), Exact(weighted=True), Exact(draws=9)], ids=["equal", "weighted", "few"])
def test_a_right_method_passes(gaussian, method) -> None:
    found = calibrate(gaussian, method, 300, seed=1)
    assert found.calibrated, str(found)
    assert found.quantities == ("vector.x[0]", "vector.x[1]", "log-likelihood")
    assert np.all(np.abs(found.spread - 1) < 4 / np.sqrt(600))
    assert np.all(np.abs(found.excess) < 4 * found.excess_error)
    errors = np.abs(found.coverage() - [0.5, 0.68, 0.9, 0.95]) / found.coverage_errors()
    assert np.max(errors) < 4


def test_over_confidence_is_found_and_measured(gaussian) -> None:
    found = calibrate(gaussian, Exact(shrink=0.8), 300, seed=1)
    assert not found.calibrated
    assert "OUTSIDE" in str(found)
    assert found.spread[:2] == pytest.approx(1.25, abs=0.15)
    assert np.all(found.excess[:2] < -3 * found.excess_error)
    assert np.all(found.coverage([0.68])[:2, 0] < 0.65)


def test_a_bias_is_found(gaussian) -> None:
    found = calibrate(gaussian, Exact(shift=0.5), 300, seed=1)
    assert not found.inside[0] and not found.inside[1]
    assert found.bias[:2] == pytest.approx(-0.5, abs=0.2)


def test_a_method_that_ignores_the_data_is_seen_in_the_log_likelihood(gaussian) -> None:
    @dataclass(frozen=True)
    class Prior(Exact):
        def __call__(self, posterior, seed, progress, checkpoint=NO_CHECKPOINT) -> Draws:
            latent = posterior.draw_prior(400, seed)[None]
            likelihood = np.asarray(posterior.log_likelihood(latent[0]))[None]
            return replace(super().__call__(posterior, seed, progress), latent=latent, log_likelihood=likelihood)

    found = calibrate(gaussian, Prior(), 300, seed=1)
    assert found.inside.tolist() == [True, True, False]


def test_fits_that_say_they_failed_are_listed_and_not_counted(gaussian) -> None:
    found = calibrate(gaussian, Exact(fails=5), 60, seed=1)
    assert 0 < len(found.flagged) < 30
    assert found.n + len(found.flagged) == 60
    assert found.everything().n == 60
    text = str(found)
    assert f"{len(found.flagged)} fits have not converged (not counted)" in text and "on purpose" in text
    d = found.to_dict()
    assert len(d["not_converged"]) == len(found.flagged) and d["counted"] == found.n


def test_a_killed_calibration_goes_on(gaussian, tmp_path) -> None:
    path = tmp_path / "deep" / "exact.csv"
    whole = calibrate(gaussian, Exact(), 12, seed=5)
    calibrate(gaussian, Exact(), 7, seed=5, path=path)
    content = path.read_bytes()
    path.write_bytes(content[:-20])  # killed while it wrote the seventh row
    started = []

    @dataclass(frozen=True, repr=False)
    class Counting(Exact):
        def __repr__(self) -> str:
            return repr(Exact())

        def __call__(self, posterior, seed, progress, checkpoint=NO_CHECKPOINT) -> Draws:
            started.append(seed)
            return super().__call__(posterior, seed, progress)

    resumed = calibrate(gaussian, Counting(), 12, seed=5, path=path)
    assert len(started) == 6
    np.testing.assert_allclose(resumed.ranks, whole.ranks, atol=1e-6)
    np.testing.assert_allclose(Calibration.load(path).ranks, whole.ranks, atol=1e-6)
    assert Calibration.load(path).to_dict() == calibrate(gaussian, Counting(), 12, seed=5, path=path).to_dict()
    with pytest.raises(sf.SkyfoldError, match="another calibration"):
        calibrate(gaussian, Exact(), 12, seed=6, path=path)
    path.write_text("number,converged\n")
    with pytest.raises(sf.SkyfoldError, match="not a file of a calibration"):
        Calibration.load(path)


def test_point_estimates_are_refused(gaussian) -> None:
    with pytest.raises(sf.SkyfoldError, match="single point"):
        calibrate(gaussian, "mle", 2)


def test_auto_is_calibrated_and_compiles_for_the_first_data_set_only(gaussian) -> None:
    compiled: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: compiled.append(event))
    calibrate(gaussian, sf.Auto(effective=500), 2, seed=2)
    compiled.clear()
    found = calibrate(gaussian, sf.Auto(effective=500), 40, seed=3)
    assert not [event for event in compiled if "backend_compile" in event]
    assert found.calibrated, str(found)
    assert not found.flagged


def test_the_figure_shows_every_calibration(gaussian, tmp_path) -> None:
    from skyfold.plots.calibration import calibration

    good = calibrate(gaussian, Exact(), 60, seed=1)
    bad = calibrate(gaussian, Exact(shrink=0.6, fails=7), 60, seed=1)
    figure = calibration({"good": good, "bad": bad})
    figure.savefig(tmp_path / "figure.png")
    assert len(figure.axes) == 4
    assert "outside the band" in figure.axes[3].get_title(loc="left")
    assert len(good.plot().axes) == 2
