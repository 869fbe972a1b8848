"""Filters: curves from packages and files, and projections against astro-sedpy."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from grids import pegase

from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.galaxy.bands import Curves
from skyfold.galaxy.filters import Filter

NAMES = ["sdss_u0", "sdss_g0", "sdss_r0", "sdss_i0", "sdss_z0", "twomass_J", "galex_NUV", "wise_w1"]


def test_photometry_equals_sedpy(shared):
    observate = pytest.importorskip("sedpy.observate")
    ssp = pegase(shared)
    wave, flux = ssp.wave * 1.1, ssp.flux[5, 57] * 1e10
    ours = [-2.5 * np.log10(Filter.load(n).weights(wave) @ flux * 1e-20 / 3.631e-20) for n in NAMES]
    # sedpy samples filters at the wavelengths of the spectrum, so it is given the same one finely sampled
    fine = np.unique(np.concatenate([np.arange(1200.0, 2e4, 0.5), np.arange(2e4, 6e4, 5.0)]))
    spectrum = np.interp(fine, wave, flux) * 1e-20 * 2.998e18 / fine**2
    sedpy = observate.getSED(fine, spectrum, observate.load_filters(NAMES))
    np.testing.assert_allclose(ours, sedpy, atol=1e-4)
    # and of the spectrum as it is sedpy's sampling is good to some 2e-4 in the bands of SDSS
    raw = observate.getSED(wave, flux * 1e-20 * 2.998e18 / wave**2, observate.load_filters(NAMES[:5]))
    np.testing.assert_allclose(ours[:5], raw, atol=4e-4)


def test_weights_are_exact_for_spectra_that_are_linear():
    band = Filter("box", [4000.0, 4000.001, 6000.0, 6000.001], [0.0, 1.0, 1.0, 0.0])
    wave = np.array([1000.0, 4500.0, 4600.0, 9000.0])
    np.testing.assert_allclose(band.weights(wave).sum(), 1.0, rtol=1e-9)
    # the mean of lambda over ln lambda
    expected = 2000.0 / np.log(1.5)
    np.testing.assert_allclose(band.weights(wave) @ wave, expected, rtol=1e-6)


def test_narrow_filters_fall_between_wavelengths_without_harm():
    band = Filter("narrow", [5000.0, 5001.0, 5002.0], [0.0, 1.0, 0.0])
    wave = np.array([1000.0, 4000.0, 6000.0, 9000.0])
    np.testing.assert_allclose(band.weights(wave) @ wave, 5001.0, rtol=1e-6)


def test_weights_inside_the_trace_agree():
    filters = [Filter.load(n) for n in NAMES] if pytest.importorskip("sedpy") else []
    curves = Curves.of(filters)
    for z in (0.0, 0.1234, 2.0):
        wave = np.geomspace(300.0, 1e5, 3000) * (1 + z)
        exact = np.array([f.weights(wave) for f in filters])
        traced = np.asarray(curves.weights(jnp.asarray(wave)))
        np.testing.assert_allclose(traced.sum(axis=1), 1.0, atol=1e-9)
        spectrum = 1.0 + np.sin(np.log(wave) * 40.0)
        np.testing.assert_allclose(traced @ spectrum, exact @ spectrum, rtol=2e-5)


def test_curves_from_files_and_packages(tmp_path):
    np.savetxt(tmp_path / "mine.dat", np.column_stack([[6000.0, 5000.0, 5500.0], [0.0, 0.0, 1.0]]))
    mine = Filter.load(tmp_path / "mine.dat")
    assert mine.name == "mine"
    assert mine.wave[0] == 5000.0
    pytest.importorskip("speclite")
    other = Filter.load("sdss2010-r")
    assert abs(other.pivot - 6170) < 30
    pytest.importorskip("sedpy")
    assert abs(Filter.load("sdss_r0").pivot - 6175) < 5


def test_vertical_sides_are_sides(tmp_path):
    plain = Filter("box", [5000.0, 6000.0], [1.0, 1.0])
    rows = np.array([[5000.0, 0.0], [5000.0, 1.0], [6000.0, 1.0], [6000.0, 0.0]])
    for name, own in (("up.dat", rows), ("down.dat", rows[::-1]), ("wide.dat", np.vstack([[4000.0, 0.0], rows]))):
        np.savetxt(tmp_path / name, own)
        read = Filter.load(tmp_path / name)
        assert read.pivot == pytest.approx(plain.pivot, rel=1e-8) and plain.pivot == pytest.approx(5492.402, abs=1e-3)
        wave = np.linspace(4000.0, 7000.0, 301)
        np.testing.assert_allclose(read.weights(wave) @ wave, plain.weights(wave) @ wave, rtol=1e-8)
        assert Curves.of([read]).weights(jnp.asarray(wave)).sum() == pytest.approx(1.0, rel=1e-8)
    stair = Filter("stair", [5000.0, 5500.0, 5500.0, 6000.0], [1.0, 1.0, 3.0, 3.0])
    expected = (np.log(5500 / 5000) * 1.0 + np.log(6000 / 5500) * 3.0) / np.log(6000 / 5000)
    assert stair.norm / np.log(6000 / 5000) == pytest.approx(expected, rel=1e-8)
    with pytest.raises(SkyfoldError, match="same one twice"):
        Filter("thrice", [5000.0, 5000.0, 5000.0, 6000.0], [0.0, 1.0, 2.0, 1.0])


def test_a_curve_may_be_the_response_to_energy(tmp_path):
    wave = np.linspace(1.2e6, 2.2e6, 60)
    response = np.exp(-0.5 * ((wave - 1.6e6) / 2e5) ** 2)
    energy, photon = Filter("e", wave, response, counts="energy"), Filter("p", wave, response / wave)
    spectrum = wave**3.5
    assert energy.weights(wave) @ spectrum == pytest.approx(photon.weights(wave) @ spectrum, rel=1e-12)
    assert abs(energy.weights(wave) @ spectrum / (Filter("t", wave, response).weights(wave) @ spectrum) - 1) > 0.01
    # the mean over frequency of the flux density per Hz
    fine = np.linspace(wave[0], wave[-1], 200001)
    through = np.interp(fine, wave, response / wave) * fine / fine**2
    right = np.trapezoid(fine**3.5 * through, fine) / np.trapezoid(through, fine)
    assert energy.weights(fine) @ fine**3.5 == pytest.approx(right, rel=1e-6)
    for said, one in (("energy", energy), ("photon", Filter("t", wave, response))):
        np.savetxt(tmp_path / "c.dat", np.column_stack([wave, response]), header=f"band\n{said}\nan energy of photons")
        assert Filter.load(tmp_path / "c.dat").pivot == pytest.approx(one.pivot, rel=1e-9)
    with pytest.raises(SkyfoldError, match="'photon' or 'energy'"):
        Filter("bad", wave, response, counts="quanta")


def test_bad_curves_are_refused(tmp_path):
    with pytest.raises(SkyfoldError, match="increasing wavelengths"):
        Filter("bad", [1.0, 1.0], [1.0, 1.0])
    with pytest.raises(FileFormatError, match="no such file"):
        Filter.load(tmp_path / "absent.par")
    (tmp_path / "words.dat").write_text("not numbers\n")
    with pytest.raises(FileFormatError, match="not a table"):
        Filter.load(tmp_path / "words.dat")
    pytest.importorskip("sedpy")
    with pytest.raises(SkyfoldError, match="Did you mean 'sdss_r0'"):
        Filter.load("sdss_r")
