"""Files that former versions wrote are read, and say what they said."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import skyfold as sf

#: The demonstration spectrum fitted by ``sf.Laplace(draws=200)``, seed 3, and saved by version 0.1 of November 2026.
FILE = Path(__file__).parent / "files" / "version_0_1.nc"


def test_a_result_of_version_0_1_loads() -> None:
    result = sf.Result.load(FILE)
    assert result.converged
    assert result.draws.method == "laplace" and result.draws.seed == 3 and result.draws.evaluations == 4040
    assert list(result.samples) == ["tbabs.nH", "powerlaw.PhoIndex", "powerlaw.norm"]
    # as printed by that version
    printed = {"tbabs.nH": 0.1379, "powerlaw.PhoIndex": 1.813, "powerlaw.norm": 4.35e-4}
    for name, row in zip(printed, result.summary(), strict=True):
        np.testing.assert_allclose(row["best"], printed[name], rtol=2e-3)
    text = str(result)
    assert "C-stat 292.12 for 178 data" in text and "ln evidence -669.181 +- 0.0019" in text
    assert "0.1379    +0.0090 -0.0093    0.123 .. 0.153        236" in text
