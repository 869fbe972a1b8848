from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from skyfold.errors import SkyfoldError
from skyfold.gammaray.psf import DoubleKing, Gaussian, King, Kings, LatPsf

SAMPLE = [King(0.003, 2.5), Gaussian(0.004), DoubleKing(0.75, 0.43, 7.8, 0.72, 3.6, 0.00456)]


@pytest.mark.parametrize("psf", SAMPLE)
def test_containment_is_the_integral_of_the_density(psf):
    for r in (0.001, 0.005, 0.03):
        inside = quad(lambda a: 2 * np.pi * a * psf.density(a), 0, r, epsabs=0, epsrel=1e-12)[0]
        assert np.isclose(psf.containment(r), inside, rtol=1e-11)
    assert np.isclose(psf.containment(10.0), 1, rtol=1e-5)
    assert np.isclose(1 - psf.containment(psf.radius(0.01)), 0.01, rtol=1e-6)


def test_king_function_is_that_of_the_documentation():
    x, sigma, gamma = 0.7, 0.4, 3.0
    expected = (1 - 1 / gamma) / (2 * np.pi * sigma**2) * (1 + x**2 / (2 * gamma * sigma**2)) ** -gamma
    assert np.isclose(King(sigma, gamma).density(x), expected, rtol=1e-14)


def lat(shared):
    path = shared / "data" / "gammaray" / "psf" / "psf_P8R3_ULTRACLEANVETO_V3_PSF.fits"
    if not path.exists():
        pytest.skip("the LAT's PSF file is not there")
    return LatPsf.read(path), path


def test_lat_file(shared):
    psf, path = lat(shared)
    assert psf.scaling == pytest.approx((4.97e-2, 6.13e-4, -0.8), rel=1e-6)
    two, ten = psf.at(2.0), psf.at(10.0)
    # 68 per cent of the best quarter of events fall within a quarter of a degree at 2 GeV
    assert 0.2 < np.degrees(two.radius(0.32)) < 0.25
    assert np.degrees(ten.radius(0.32)) < 0.4 * np.degrees(two.radius(0.32))
    worst = LatPsf.read(path, "PSF0").at(2.0)
    assert worst.radius(0.32) > 2 * two.radius(0.32)
    with pytest.raises(SkyfoldError, match="PSF0, PSF1, PSF2, PSF3"):
        LatPsf.read(path, "FRONT")
    with pytest.raises(SkyfoldError, match="is known from"):
        psf.at(1e5)


def test_average_over_a_band(shared):
    psf, _ = lat(shared)
    band, finer = psf.averaged(2.0, 20.0, 2.4), psf.averaged(2.0, 20.0, 2.4, nodes=400)
    r = np.radians([0.05, 0.2, 0.5, 2.0])
    assert np.allclose(band.containment(r), finer.containment(r), rtol=2e-3)
    assert psf.at(2.0).radius(0.32) > band.radius(0.32) > psf.at(20.0).radius(0.32)


def test_wrong_numbers_are_refused():
    with pytest.raises(SkyfoldError, match="above one"):
        King(0.003, 1.0)
    with pytest.raises(SkyfoldError, match="sum one"):
        Kings(np.array([0.5, 0.4]), np.array([1e-3, 2e-3]), np.array([2.0, 2.0]))
    with pytest.raises(SkyfoldError, match="positive"):
        Gaussian(0.0)
