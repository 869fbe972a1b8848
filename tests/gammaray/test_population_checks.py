"""Populations whose source counts make no sense somewhere in the support of their priors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import skyfold as sf
from skyfold.errors import SkyfoldError
from skyfold.gammaray.maps import CountsMap
from skyfold.gammaray.point_sources import PointSources
from skyfold.gammaray.population_checks import reach
from skyfold.gammaray.simulation import simulate
from skyfold.gammaray.templates import Isotropic

pytest.importorskip("astropy_healpix")
N = 12 * 4**2
SLOPE = sf.Parameter(sf.Uniform(1.0, 3.0))


def population(**given: Any) -> PointSources:
    settings: dict[str, Any] = {"Sps": 1.0, "n1": 4.0, "n2": 1.0, "n3": -2.0, "Sb1": 10.0, "lam": 0.5, **given}
    return PointSources(Isotropic(exposure=False), **settings)


def sky(s_range: Any = None) -> CountsMap:
    return CountsMap.read(np.ones(N)).with_point_sources([1.0], [1.0], s_range=s_range)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n1": sf.Uniform(1.5, 8)}, "n1 reaches 1.5, but .* infinite unless n1 is above 2"),
        ({"n1": 2.0}, "n1 is 2"),
        ({"n1": sf.Normal(4.0, 0.5)}, "n1 reaches -inf"),
        ({"n1": 0.5 * SLOPE + 1.0}, "n1 reaches 1.5"),
        ({"n3": sf.Uniform(-8, 3)}, "n3 reaches 3"),
        ({"n3": 2.0}, "n3 is 2"),
        ({"lam": sf.Uniform(0.1, 1.5)}, "lambda reaches 1.5, but the breaks"),
        ({"lam": 1.2}, "lambda is 1.2"),
        ({"lam": sf.Uniform(-0.5, 0.9)}, "lambda reaches -0.5"),
        ({"Sb1": sf.Normal(10.0, 5.0)}, "Sb1 reaches -inf"),
        ({"Sps": sf.Uniform(-1.0, 3.0)}, "Sps reaches -1"),
    ],
)
def test_infinite_flux_and_breaks_out_of_order_are_refused_over_the_whole_prior(given: Any, message: str) -> None:
    model = Isotropic(sf.Uniform(0, 5), exposure=False) + population(**given)
    with pytest.raises(SkyfoldError, match=message):
        sf.Posterior((model, sky()))


def test_what_is_finite_is_accepted() -> None:
    for given in (
        {"n1": sf.Uniform(2.0, 8)},
        {"lam": sf.Uniform(0, 1)},
        {"n1": SLOPE + 1.5},
        {"n3": sf.TruncatedNormal(0.0, 1.0, high=1.9)},
    ):
        assert sf.Posterior((population(**given), sky())).ndim == 1
    # a range of S makes every slope finite, but no order of the breaks
    free = PointSources(
        Isotropic(exposure=False), 1.0, sf.Uniform(1, 8), 1.0, sf.Uniform(-2, 4), 10.0, 0.5, s_range=(0.1, 100.0)
    )
    posterior = sf.Posterior((free, sky((0.1, 100.0))))
    assert np.all(np.isfinite(posterior.log_likelihood(posterior.draw_prior(8))))


def test_sources_of_infinite_flux_are_not_left_out_of_simulations() -> None:
    with pytest.raises(SkyfoldError, match="n1 is 1.9"):
        simulate(population(n1=1.9), sky())


def test_reach_of_numbers_parameters_and_expressions() -> None:
    assert reach(3.0) == (3.0, 3.0)
    assert reach(sf.Parameter(sf.Uniform(1.0, sf.Parameter(sf.Uniform(2.0, 5.0))))) == (1.0, 5.0)
    assert reach(1.0 - 2.0 * SLOPE) == (-5.0, -1.0)
