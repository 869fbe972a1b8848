"""Posteriors that several methods are tried on."""

from __future__ import annotations

import numpy as np
import pytest
from toys import DATA, SIGMA, direct

import skyfold as sf


@pytest.fixture(scope="module")
def gaussian() -> sf.Posterior:
    """Three parameters seen as they are: the posterior is normal, with moments in `toys`."""
    return direct(list(DATA), list(SIGMA), sf.Normal(np.zeros(3), 1.0))
