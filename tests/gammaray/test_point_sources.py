from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from exact import log_probability
from scipy.stats import poisson

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.gammaray.emission import Emission
from skyfold.gammaray.point_sources import (
    PointSources,
    log_likelihood,
    point_source_log_likelihood,
    prepare,
)
from skyfold.gammaray.source_counts import BrokenPowerLaw

F, W = np.array([0.125, 0.5, 0.875]), np.array([2.37037037037037, 0.888888888888889, 0.296296296296296])
TWO, ONE = [0.25, 4.0, 1.5, -2.0, 8.0, 4.0], [0.0625, 2.5, 0.5, 20.0]
T = np.array([[1.0, 0.5, 2.0, 1.0, 0.25, 1.5], [0.5, 0.5, 0.5, 1.0, 1.0, 1.0]])
MU = np.array([1.0, 2.0, 0.5, 3.0, 0.0, 4.0])
COUNTS = np.array([0, 1, 3, 7, 150, 12])

RECORDED = [
    ([1.0], [1.0], [[0.5, 3.0, -1.0, 4.0]], [1.0, 2.0, 0.5, 3.0, 0.1, 4.0], [0, 1, 3, 7, 2, 12],
     [-2.8809245524140787, -2.1947084123260088, -4.07098615269118, -2.9345605169679767, -3.0948367100388485,
      -3.209269631564165]),
    ([0.125, 0.5, 0.875], [18.962962962962962, 1.7777777777777777, 0.3386243386243386], [TWO],
     [1.0, 2.0, 0.5, 3.0, 0.1, 4.0], [0, 1, 3, 7, 40, 12],
     [-8.36624711295459, -4.423039435594973, -10.9628673334917, -4.525634093941609, -9.254186428310758,
      -5.256422395935855]),
    ([0.25, 0.75], [7.529411764705882, 0.9411764705882353], [TWO, ONE], MU, COUNTS,
     [-10.787547792211374, -7.194150957586367, -13.052649208075678, -9.422017806341257, -6.958907319178167,
      -9.828251080018584]),
]  # fmt: skip


@pytest.mark.parametrize(("f", "rho_over_f", "theta", "mu", "counts", "expected"), RECORDED)
def test_recorded_values(f, rho_over_f, theta, mu, counts, expected):
    value = point_source_log_likelihood(counts, mu, T[: len(theta)], theta, f, np.multiply(f, rho_over_f))
    assert np.abs(np.subtract(value, expected)).max() < 1e-12


def cases(shared):
    folder = shared / "reference" / "gammaray"
    if not (folder / "nptf_cases.json").exists():
        pytest.skip("the reference numbers of the point-source likelihood are not there")
    return np.load(folder / "arrays.npz"), json.loads((folder / "nptf_cases.json").read_text())["cases"]


def test_published_cases_in_the_first_pixels(reference_numbers):
    """The cases below in the first five pixels, which need no observations."""
    known = json.loads((reference_numbers / "point_sources.json").read_text())
    for case in known["cases"]:
        mu = sum(v * np.array(known["templates"][f"poisson_{k}"]) for k, v in case["poisson"].items())
        f, w = np.ones((2, 1))
        if case["psf"] == "king":
            f = np.array(known["king_f"])
            w = f * known["king_df_rho_div_f"]
        templates = np.array([known["templates"][p["template"]] for p in case["np"]]).reshape(-1, mu.size)
        value = point_source_log_likelihood(known["counts"], mu, templates, [p["theta"] for p in case["np"]], f, w)
        assert np.abs(np.subtract(value, case["first5_pixel_loglike"])).max() < 1e-12, case["name"]


@pytest.mark.slow
def test_published_cases(shared):
    """Log-likelihoods of 6,839 pixels by arbitrary precision, NPTFit and the truncated public code."""
    arrays, listed = cases(shared)
    seen = ~arrays["mask_3fgl"]
    for case in listed:
        mu = sum(v * arrays[f"poisson_{k}"] for k, v in case["poisson"].items())[seen]
        f, w = [1.0], [1.0]
        if case["psf"] == "king":
            f, w = arrays["king_f"], arrays["king_f"] * arrays["king_df_rho_div_f"]
        theta = [p["theta"] for p in case["np"]]
        templates = [arrays[p["template"]][seen] for p in case["np"]]
        for s_range, key in ((None, "loglike_reference"), ((0.1, 100.0), "loglike_scd_truncated_0p1_100")):
            if key not in case:
                continue
            value = np.asarray(point_source_log_likelihood(arrays["counts"][seen], mu, templates, theta, f, w, s_range))
            assert abs(value.sum() - case[key]) < 1e-8, (case["name"], s_range)
            if s_range is None:
                assert np.abs(np.subtract(value[:5], case["first5_pixel_loglike"])).max() < 1e-12
        pixels = prepare(arrays["counts"][seen], f, w)
        for population, known in zip(theta, case.get("X_m_unit_template", []), strict=True):
            v, x = pixels.table.moments(BrokenPowerLaw.from_theta(population))
            assert np.allclose(x[: len(known["X"]) - 1], known["X"][1:], rtol=1e-12)
            assert np.isclose(v, known["N_tot"] - known["X"][0], rtol=1e-12)


def test_no_populations_are_poisson():
    mu = np.array([1.0, 20.0, 150.0, 300.0])
    value = point_source_log_likelihood([0, 25, 190, 250], mu, np.zeros((0, 4)), [], [1.0], [1.0])
    assert np.abs(value - poisson.logpmf([0, 25, 190, 250], mu)).max() < 1e-9


def test_bright_pixels_against_arbitrary_precision():
    counts, mu = [1200, 171, 20], [400.0, 100.0, 1.0]
    hard = [0.5, 2.125, 1.5, -4.0, 40.0, 20.0]
    value = point_source_log_likelihood(counts, mu, np.ones((1, 3)), [hard], F, W)
    with mp.workdps(40):
        expected = [float(log_probability(c, m, [1.0], [hard], F, W)) for c, m in zip(counts, mu, strict=True)]
    assert np.allclose(value, expected, rtol=1e-11)


def test_gradients_of_everything():
    prepared = prepare(COUNTS, F, W)

    def total(arguments):
        theta, mu, templates = arguments
        return jnp.sum(log_likelihood(prepared, mu, templates, [BrokenPowerLaw.from_theta(t) for t in theta]))

    compiled, at = jit(total), ([np.array(TWO), np.array(ONE)], MU + 0.1, T)
    gradient = jit(jax.grad(total))(at)
    leaves, structure = jax.tree.flatten(at)
    for number, leaf in enumerate(leaves):
        slopes = np.zeros(leaf.shape)
        for place in np.ndindex(leaf.shape):
            step, ends = 2e-3 * max(abs(leaf[place]), 0.1), []
            for h in (step, 0.5 * step):
                values = []
                for sign in (1, -1):
                    moved = leaf.copy()
                    moved[place] += sign * h
                    values.append(
                        compiled(jax.tree.unflatten(structure, [*leaves[:number], moved, *leaves[number + 1 :]]))
                    )
                ends.append((values[0] - values[1]) / (2 * h))
            slopes[place] = (4 * ends[1] - ends[0]) / 3
        assert np.allclose(jax.tree.leaves(gradient)[number], slopes, rtol=1e-6, atol=1e-7)


def test_support_changes_the_likelihood_and_must_agree():
    limited = point_source_log_likelihood(COUNTS, MU, T[:1], [TWO], F, W, (0.1, 100.0))
    with mp.workdps(30):
        expected = float(log_probability(7, 3.0, [1.0], [TWO], F, W, (0.1, 100.0)))
    assert np.isclose(limited[3], expected, rtol=1e-12)
    with pytest.raises(SkyfoldError, match="same s_range"):
        log_likelihood(prepare(COUNTS, F, W), MU, T[:1], [BrokenPowerLaw.from_theta(TWO, (0.1, 100.0))])


def test_exposure_regions_are_separate_likelihoods_and_interpolation_joins_them():
    rng = np.random.default_rng(0)
    counts, mu, t = rng.poisson(12, 60), rng.uniform(3, 9, 60), rng.uniform(0.3, 2, (1, 60))
    exposure = rng.permutation(np.linspace(0.93, 1.06, 60))
    source_count = BrokenPowerLaw.from_theta([0.05, 4.0, 1.5, -4.0, 12.0, 6.0])
    evaluate = jit(lambda p: log_likelihood(p, mu, t, [source_count]))
    regions = evaluate(prepare(counts, F, W, exposure=exposure, regions=3))
    parts = np.array_split(np.argsort(exposure, kind="stable"), 3)
    means = np.array([exposure[p].mean() for p in parts])
    for part, e in zip(parts, means / means.mean(), strict=True):
        theta = [0.05 / e, 4.0, 1.5, -4.0, 12.0 * e, 6.0 * e]
        own = point_source_log_likelihood(counts[part], mu[part], t[:, part], [theta], F, W)
        assert np.allclose(regions[part], own, rtol=1e-12)
    every = evaluate(prepare(counts, F, W, exposure=exposure, regions=60))
    smooth = evaluate(prepare(counts, F, W, exposure=exposure))
    assert np.abs(smooth - every).max() < 3e-5
    finer = evaluate(prepare(counts, F, W, exposure=exposure, nodes=7))
    assert np.abs(finer - every).max() < 1e-8
    assert np.abs(regions - every).max() > 1e-3


@dataclass(frozen=True)
class Map:
    """Stands in for the pixels of a region."""

    exposure: Any = field(default_factory=lambda: np.array([1.0, 2.0, 4.0]))
    divisor: Any = None


class Slope(PointSources.__mro__[1]):
    kind = "additive"
    name = "slope"
    exposure = True

    def evaluate(self, grid):
        return Emission(jnp.array([3.0, 2.0, 4.0]) * grid.exposure)


def test_component_gives_a_population_of_the_flux_it_is_asked_for():
    for s_range in (None, (0.1, 100.0)):
        sources = PointSources(Slope(), 1.7, 3.0, 1.5, -2.0, 20.0, 0.4, s_range=s_range, name="disk_ps")
        emission = sources.evaluate(Map())
        assert np.all(emission.smooth == 0)
        (population,) = emission.populations
        assert np.allclose(population.template, [1.0, 2 / 3, 4 / 3])
        assert np.isclose(population.source_count.flux(s_range), 1.7, rtol=1e-13)
        assert np.allclose(population.source_count.breaks, [20.0, 8.0])
        assert population.source_count.support == s_range
    assert "disk_ps.lambda" in PointSources(Slope(), name="disk_ps").parameters


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"theta": [[0.1, 3.0, 1.0, -1.0, 5.0, 8.0]]}, "positive and fall"),
        ({"theta": [[0.1, 0.9, 0.5, 5.0]]}, "n1 > 1"),
        ({"theta": [[0.1, 3.0, 2.1, 5.0]]}, "last index"),
        ({"theta": [[0.1, 3.0, 5.0]]}, "4, 6, 8"),
        ({"mu": MU[:3]}, "must be"),
        ({"mu": -MU}, "Expected counts"),
        ({"mu": 0 * MU, "templates": 0 * T[:1]}, "Expected counts"),
        ({"weights": W * 1.1}, "one for every PSF"),
        ({"counts": COUNTS + 0.5}, "whole numbers"),
    ],
)
def test_what_cannot_be_evaluated_is_an_error(change, message):
    given = {"counts": COUNTS, "mu": MU, "templates": T[:1], "theta": [TWO], "f": F, "weights": W} | change
    with pytest.raises(SkyfoldError, match=message):
        point_source_log_likelihood(**given)
