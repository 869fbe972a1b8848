"""The model of the Galactic centre as it is put together."""

import numpy as np
import pytest

import skyfold as sf
from skyfold import gammaray as g
from skyfold.errors import SkyfoldError

pytest.importorskip("astropy_healpix")

NSIDE = 32
N = 12 * NSIDE**2
NAMES = [*(f"{f}{kind}" for f in "OAF" for kind in ("pi", "ic")), "iso", "bub", "psc"]


@pytest.fixture(scope="module")
def maps() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {name: rng.uniform(1.0, 2.0, N) for name in NAMES}


@pytest.fixture(scope="module")
def bulges() -> list[g.Template]:
    rng = np.random.default_rng(2)
    return [g.Template(rng.uniform(1.0, 2.0, N), name=name, exposure=True) for name in ("one", "other")]


@pytest.fixture(scope="module")
def sky() -> g.CountsMap:
    exposure = np.random.default_rng(3).uniform(0.5e11, 1.5e11, N)
    return g.CountsMap.read(np.random.default_rng(4).poisson(5.0, N), exposure).within(g.Disc(25) & ~g.Band(2))


def test_dimensions(maps, bulges, sky) -> None:
    f, weights = [0.3, 0.7], [1.0, 1.0]
    seen = sky.with_point_sources(f, weights)
    posterior = sf.Posterior((g.models.galactic_centre(maps, bulges), seen))
    assert posterior.ndim == 35
    assert np.isfinite(float(posterior.log_likelihood(np.zeros(35))))
    assert sf.Posterior((g.models.galactic_centre(maps, bulges, point_sources=False), sky)).ndim == 18
    assert sf.Posterior((g.models.galactic_centre(maps, bulges, point_sources=False, sine=True), sky)).ndim == 21


def test_exposure_decides_for_every_generated_map(maps, bulges, sky) -> None:
    z = np.full(18, 0.1)

    def expected(flat: bool, **settings: object) -> np.ndarray:
        model = g.models.galactic_centre(maps, bulges, point_sources=False, **settings)
        counts = sky
        if flat:
            counts = g.CountsMap.read(np.ones(N), np.full(N, 1e11)).within(g.Disc(25) & ~g.Band(2))
        return np.asarray(next(iter(sf.Posterior((model, counts)).predict(z).values())))

    assert np.allclose(expected(False, published=True), expected(True, published=True), rtol=1e-12)
    assert not np.allclose(expected(False), expected(True), rtol=1e-3)


def test_missing_maps_are_named(maps, bulges) -> None:
    with pytest.raises(SkyfoldError, match="maps lack bub"):
        g.models.galactic_centre({k: v for k, v in maps.items() if k != "bub"}, bulges)
    with pytest.raises(SkyfoldError, match="at least one template of the bulge"):
        g.models.galactic_centre(maps, [])
