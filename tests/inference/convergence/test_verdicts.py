"""Verdicts: one limit for too few draws, and one way of saying what is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import skyfold
from skyfold.inference.convergence.approximations import of_normals, of_paths
from skyfold.inference.convergence.missed_modes import incomplete
from skyfold.inference.convergence.mixing import LEAST_ESS, complaints, disagreement, too_few
from skyfold.inference.convergence.populations import of_walkers

GOOD = {"rhat": 1.001, "ess": 2000.0, "ess_tail": 1500.0, "length": 80.0, "tau": 20.0}
NORMAL = {"khat": 0.1, "effective": 3900.0, "efficiency": 0.97, "mean_offset": 0.01, "sd_offset": 0.01}


def test_what_is_good_passes() -> None:
    assert complaints(GOOD, 0, 1000) == of_walkers(GOOD, 50.0) == ()
    assert of_normals(NORMAL, True, 0.0) == of_paths(0.1, 3900.0, 4000) == incomplete(3, 0.05) == ()


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (complaints({**GOOD, "rhat": np.nan}, 0, 1000), "R-hat nan is not below 1.01: the chains disagree"),
        (disagreement(1.2, "raise max_steps", "ensembles"), "R-hat 1.200 between ensembles"),
        (complaints({**GOOD, "ess_tail": 300.0}, 0, 1000), "(bulk or tail) is 300, below 400: draw more"),
        (complaints(GOOD, 30, 1000), "30 divergent transitions"),
        (complaints({**GOOD, "interrupted": 1.0}, 0, 1000), "interrupted"),
        (of_walkers({**GOOD, "length": 40.0}, 50.0), "40 autocorrelation times of 20 steps, not 50"),
        (of_normals({**NORMAL, "effective": 300.0}, True, 0.0), "the effective sample size is 300, below 400"),
        (of_normals({**NORMAL, "sd_offset": 0.1}, False, 0.0), "the posterior is not normal"),
        (of_paths(0.8, 300.0, 4000), "k-hat 0.80"),
        (incomplete(3, 0.25), "3 modes were found and one in 4 starts still finds a new one: modes are missing"),
    ],
)
def test_what_is_wrong_is_said(found, words) -> None:
    assert words in found[0]


def test_the_limit_is_one() -> None:
    assert too_few(LEAST_ESS - 1.0, "") and not too_few(LEAST_ESS + 1.0, "")
    inference = Path(skyfold.__file__).parent / "inference"
    written = [p.name for p in inference.rglob("*.py") if re.search(r"^_?[A-Z_, ]+= .*\b400\.0", p.read_text(), re.M)]
    assert written == ["mixing.py"]
