"""Figures of counts maps."""

from __future__ import annotations

import numpy as np
import pytest

import skyfold as sf
from skyfold.errors import SkyfoldError
from skyfold.gammaray.maps import CountsMap
from skyfold.gammaray.nfw import NFWSquared
from skyfold.gammaray.plots import flux_fractions, image, maps, significance
from skyfold.gammaray.regions import Disc
from skyfold.gammaray.templates import Isotropic

pytest.importorskip("astropy_healpix")

N = 12 * 16**2


def test_figures() -> None:
    counts = np.random.default_rng(1).poisson(3.0, N).astype(float)
    sky = CountsMap.read(counts, name="toy").within(Disc(40)).masked(Disc(5))
    model = Isotropic(sf.Uniform(0, 5), exposure=False) + NFWSquared(1.0, sf.Uniform(0, 5), exposure=False)
    result = sf.Posterior((model, sky)).fit("map")
    for projection in ("cartesian", "gnomonic", "mollweide"):
        figure = maps(result, projection=projection)
        assert [a.get_title() for a in figure.axes if a.get_title()] == [
            "counts", "best fit", "residual [$\\sigma$]", "iso", "nfw",
        ]  # fmt: skip
    assert flux_fractions(result, draws=1).axes[0].get_xlabel() == "share of the expected counts"
    shown, _ = image(sky, np.where(np.isnan(sky.counts), np.nan, sky.pixels.longitude))
    # longitude grows to the left
    row = shown[shown.shape[0] // 4]
    seen = row[np.isfinite(row)]
    assert seen[0] > seen[-1] and np.isnan(shown[200, 200])
    with pytest.raises(SkyfoldError, match="projection"):
        image(sky, sky.counts, "conic")
    with pytest.raises(SkyfoldError, match="less than half"):
        image(CountsMap.read(counts), counts, "gnomonic")
    assert significance(np.array([4.0]), np.array([4.0]))[0] == 0.0
