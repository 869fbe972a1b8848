"""Distances and ages against astropy."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from skyfold.errors import SkyfoldError
from skyfold.galaxy import cosmology
from skyfold.galaxy.cosmology import PLANCK18, Cosmology

Z = np.concatenate([np.geomspace(1e-5, 0.01, 5), np.linspace(0.02, 15, 40), [30.0, 99.0]])
OTHERS = {
    "planck18": PLANCK18,
    "flat": Cosmology(70.0, 0.3, Tcmb0=0.0),
    "curved": Cosmology(70.0, 0.3, 0.6, -0.9, 0.1),
    "wmap9": Cosmology.named("WMAP9"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_equals_astropy(name):
    own = OTHERS[name]
    real = own.to_astropy()
    np.testing.assert_allclose(own.luminosity_distance(Z), real.luminosity_distance(Z).value, rtol=1e-9)
    np.testing.assert_allclose(own.lookback_time(Z), real.lookback_time(Z).value, rtol=1e-9)
    np.testing.assert_allclose(own.age(Z), real.age(Z).value, rtol=1e-6)


def test_planck18_is_astropy_s():
    import astropy.cosmology as ac

    assert Cosmology.named("Planck18") == PLANCK18 == Cosmology()
    np.testing.assert_allclose(cosmology.luminosity_distance(Z), ac.Planck18.luminosity_distance(Z).value, rtol=1e-9)
    np.testing.assert_allclose(cosmology.age(Z), ac.Planck18.age(Z).value, rtol=1e-6)
    np.testing.assert_allclose(cosmology.lookback_time(Z), ac.Planck18.lookback_time(Z).value, rtol=1e-9)


@pytest.mark.parametrize("name", OTHERS)
def test_slopes_are_those_of_the_expansion(name):
    own = OTHERS[name]
    hubble = own.to_astropy().H(Z)
    rate = -1 / ((1 + Z) * hubble.to_value("1/Gyr"))
    np.testing.assert_allclose(jax.vmap(jax.grad(own.age))(Z), rate, rtol=1e-7)
    np.testing.assert_allclose(jax.vmap(jax.grad(own.lookback_time))(Z), -rate, rtol=1e-7)
    if own.Ode0 is None:
        slope = jax.vmap(jax.grad(lambda z: own.luminosity_distance(z) / (1 + z)))(Z)
        np.testing.assert_allclose(slope, 299792.458 / hubble.value, rtol=1e-7)


def test_redshift_zero_has_values_and_slopes():
    assert float(PLANCK18.luminosity_distance(0.0)) == 0.0
    assert float(jax.grad(PLANCK18.luminosity_distance)(0.0)) == pytest.approx(299792.458 / 67.66, rel=1e-8)
    assert float(PLANCK18.age(0.0)) == pytest.approx(13.787, abs=1e-3)


def test_outside_the_tables_is_no_number():
    assert np.all(np.isnan(PLANCK18.age(np.array([-0.1, 101.0]))))


def test_settings_are_values():
    assert hash(Cosmology(70.0, 0.3)) == hash(Cosmology(70.0, 0.3)) and Cosmology(70.0, 0.3) != PLANCK18


def test_unknown_name_is_refused():
    with pytest.raises(SkyfoldError, match="Planck18"):
        Cosmology.named("Planck3000")
