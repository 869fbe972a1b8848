"""One rule for what lies beyond the populations' wavelengths: bands and pixels, fixed and free redshifts."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from grids import synthetic

import skyfold as sf
from skyfold.errors import SkyfoldError
from skyfold.galaxy.coverage import redshift_range
from skyfold.galaxy.filters import Filter
from skyfold.galaxy.galaxy import Galaxy
from skyfold.galaxy.igm import Inoue2014, Madau1995
from skyfold.galaxy.photometry import Photometry, magnitudes
from skyfold.galaxy.redshift_table import RedshiftTable
from skyfold.galaxy.sfh import Burst
from skyfold.galaxy.spectroscopy import Spectroscopy

#: Populations from 3,000 Angstrom on.
OPTICAL = synthetic().cropped(np.asarray(synthetic().wave) > 3000.0)
BLUE = Filter("blue", np.array([3500.0, 3800.0]), np.ones(2))


def galaxy(redshift, **parts) -> Galaxy:
    return Galaxy(OPTICAL, Burst(10.0, 1.0), 0.0, redshift=redshift, **parts)


def spectrum(first: float = 3500.0) -> Spectroscopy:
    wave = np.linspace(first, first + 300.0, 60)
    return Spectroscopy(wave, wave, wave, 1000.0, sigma_v=100.0)


@pytest.mark.parametrize("observed", [Photometry([BLUE], [1.0], [1.0]), spectrum()], ids=["bands", "pixels"])
@pytest.mark.parametrize("redshift", [0.3, sf.Uniform(0.01, 0.3)], ids=["fixed", "free"])
def test_data_beyond_the_populations_are_refused_whatever_they_are(observed, redshift):
    with pytest.raises(SkyfoldError, match="beyond the populations' wavelengths .* at redshift 0.3"):
        sf.Posterior((galaxy(redshift), observed))
    both = galaxy(0.01) + galaxy(redshift)
    with pytest.raises(SkyfoldError, match="beyond the populations'"):
        sf.Posterior((both, observed))
    near = galaxy(sf.Uniform(0.01, 0.05) if redshift != 0.3 else 0.05)
    sf.Posterior((near, observed))


def test_a_prediction_at_hand_is_refused_too():
    for observed in (Photometry([BLUE], [1.0], [1.0]), spectrum()):
        assert np.all(np.asarray(jax.jit(lambda m, o=observed: o.predict(m))(galaxy(0.05))) > 0)
        with pytest.raises(SkyfoldError, match="beyond the populations'"):
            observed.predict(galaxy(0.3))
    with pytest.raises(SkyfoldError, match="beyond the populations'"):
        magnitudes(galaxy(0.3), [BLUE])
    with pytest.raises(SkyfoldError, match="beyond the populations'"):
        RedshiftTable.of(galaxy(0.05), [BLUE], redshifts=(0.01, 0.3))


def test_the_profile_of_a_pixel_must_be_covered_and_a_thousandth_of_a_filter_need_not():
    # 100 km/s of the instrument, three standard deviations, are 5 Angstrom here
    first = float(OPTICAL.wave[0]) * 1.05
    assert spectrum(first + 12.0).bound(galaxy(0.05))
    with pytest.raises(SkyfoldError, match="1 of 60 pixels .* number 0"):
        spectrum(first + 5.0).bound(galaxy(0.05))
    wing = Filter("wing", np.array([3000.0, 3500.0, 3500.5, 4500.0]), np.array([2e-5, 2e-5, 1.0, 1.0]))
    assert magnitudes(galaxy(0.05), [wing])[0] < 40


def test_the_range_of_a_redshift_is_that_of_all_its_parameters():
    a, b = sf.Parameter(sf.Uniform(0.1, 0.2)), sf.Parameter(sf.Uniform(-0.01, 0.01))
    np.testing.assert_allclose(redshift_range(a + b), (0.09, 0.21), atol=1e-9)
    np.testing.assert_allclose(redshift_range(a), (0.1, 0.2))
    low, high = redshift_range(sf.Parameter(sf.TruncatedNormal(0.5, 0.01, 0.0, np.inf)))
    assert 0.4 < low < 0.45 and 0.55 < high < 0.6
    low, high = redshift_range(sf.Parameter(sf.Normal(a, 0.001)))
    assert 0.09 < low < 0.1 and 0.2 < high < 0.21
    assert redshift_range(0.3) == (0.3, 0.3)


def test_the_check_costs_nothing_inside_the_trace():
    observed = Photometry([BLUE], [1.0], [1.0])
    slope = jax.grad(lambda z: observed.predict(galaxy(z, distance=100.0, age=13.0))[0])(0.04)
    assert np.isfinite(slope)


# -- redshifts for which nothing is known ----------------------------------------------------------------------------


def test_a_galaxy_that_comes_towards_us_is_as_old_as_today():
    box = Filter("box", np.array([5000.0, 6000.0]), np.ones(2))
    andromeda = galaxy(-0.001, distance=0.78)
    today = galaxy(-0.001, distance=0.78, age=float(galaxy(0.0, distance=1.0).universe_age()))
    assert float(andromeda.universe_age()) == pytest.approx(13.7869, abs=1e-3)
    np.testing.assert_allclose(magnitudes(andromeda, [box]), magnitudes(today, [box]), atol=1e-9)
    for igm in (Inoue2014(), Madau1995()):
        np.testing.assert_array_equal(igm.transmission(np.array([500.0, 1000.0, 5000.0]), -0.001)[2], 1.0)
    free = galaxy(sf.Uniform(-0.002, 0.002), distance=0.78)
    posterior = sf.Posterior((free, Photometry([box], [1.0], [1.0])))
    assert np.all(np.isfinite(np.asarray(jax.grad(posterior.kernel.log_density)(np.array([-1.0])))))


@pytest.mark.parametrize(
    "redshift", [150.0, sf.Uniform(0.1, 150.0), sf.TruncatedNormal(1.0, 50.0, 0.1, np.inf)], ids=repr
)
def test_redshifts_beyond_the_tables_are_refused(redshift):
    with pytest.raises(SkyfoldError, match="known up to 100"):
        galaxy(redshift)
    with pytest.raises(SkyfoldError, match="known up to 100"):
        galaxy(redshift, distance=10.0)
    galaxy(redshift, distance=10.0, age=0.01)
    with pytest.raises(SkyfoldError, match="must be above -1"):
        galaxy(-1.0, distance=1.0)
