"""Landscape: the one step with which methods begin."""

from __future__ import annotations

import numpy as np
import pytest
from toys import MEAN, run

import skyfold as sf
from skyfold.inference.running.progress import Progress
from skyfold.inference.search.landscape import landscape


def test_methods_begin_from_the_same_modes_and_searches_are_made_once(gaussian) -> None:
    land = landscape(gaussian, screened=2048, starts=16, seed=3, progress=Progress(False))
    assert not {"search", "best", "laplace"} & set(vars(land))  # a method that asks for no modes pays for none
    np.testing.assert_allclose(land.modes.z[0], MEAN, atol=1e-6)
    assert land.search is land.search and land.search.complete
    assert land.evaluations == land.search.evaluations + land.best.evaluations
    record = land.record()
    assert record["modes"] == 1 and record["spent"] == land.evaluations
    for draws in (run(sf.Laplace(), gaussian, 3), run(sf.Auto(), gaussian, 3)):
        np.testing.assert_array_equal(draws.mode, record["mode"])


def test_laplace_masses_are_exact_on_a_gaussian(gaussian) -> None:
    land = landscape(gaussian, screened=256, starts=8, seed=0)
    assert land.laplace.log_evidence == pytest.approx(run(sf.Laplace(), gaussian).log_evidence, abs=1e-8)
