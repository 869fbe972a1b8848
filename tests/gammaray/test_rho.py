from __future__ import annotations

import json

import numpy as np
import pytest

from skyfold.errors import SkyfoldError
from skyfold.gammaray import rho
from skyfold.gammaray.psf import DoubleKing, Gaussian, King
from skyfold.gammaray.rho import fraction_distribution

#: PSF of the LAT at 2 GeV as used by the published analysis.
LAT = DoubleKing(0.748988248179, 0.428653790656, 7.82363229341, 0.715962650769, 3.61883748683, 0.00456544262478)


def test_fractions_around_one_source_sum_to_what_is_contained():
    found = rho._fractions(LAT, 128, np.array([98000]), 4)
    assert abs(found.sum() / 16 - 1) < 1e-4
    assert np.all(found >= 0)


def test_fraction_of_a_pixel_is_the_integral_over_its_parts():
    """Against the sum of the density over half a million equal parts of a pixel."""
    from skyfold.gammaray.healpix import centres, within

    source, pixel = centres(128, np.array([98000])), np.array([98000])
    lon, lat = within(128, np.repeat(pixel, 512**2), 512, np.arange(512**2))
    cosine = np.sin(lat) * np.sin(source[1]) + np.cos(lat) * np.cos(source[1]) * np.cos(lon - source[0])
    for psf in (LAT, Gaussian(0.003)):
        sphere = np.pi / 3 / 128**2
        parts = sphere * psf.density(np.arccos(np.minimum(cosine, 1))).mean()
        corners = rho._boundaries(128, pixel, 4)
        exact = rho._Integrand(psf, 128).over(*rho._polar_plane(corners, source[0][0], source[1][0]))
        assert np.isclose(exact[0], parts, rtol=2e-5)


def test_weights_keep_all_counts_and_converge():
    index = np.arange(60000, 64000)
    coarse = fraction_distribution(LAT, 128, index, pixels=4, places=4, cache=False)
    fine = fraction_distribution(LAT, 128, index, pixels=8, places=8, bins=80, cache=False)
    for found in (coarse, fine):
        assert np.isclose(found.f @ found.weights, 1, rtol=1e-12)
        assert 0 <= found.lost < 2e-4
    for power in (2, 3):
        assert np.isclose(coarse.f**power @ coarse.weights, fine.f**power @ fine.weights, rtol=5e-3)


def test_a_narrow_psf_leaves_most_in_one_pixel():
    found = rho._fractions(King(3e-4, 3.0), 64, np.array([20000, 24000]), 4)
    assert abs(found.sum() / 32 - 1) < 2e-4
    assert 0.7 < (found**2).sum() / 32 < 1
    with pytest.raises(SkyfoldError, match="leave the PSF out"):
        fraction_distribution(King(1e-6, 3.0), 64, cache=False)


def test_what_lies_below_the_floor_can_be_left_out():
    kept = fraction_distribution(LAT, 128, pixels=2, places=2, floor=1e-2, cache=False)
    without = fraction_distribution(LAT, 128, pixels=2, places=2, floor=1e-2, faint=False, cache=False)
    assert kept.lost < 1e-3 < 0.02 < without.lost < 0.05
    assert np.isclose(without.f @ without.weights, 1, rtol=1e-12)


def test_simulated_tables(reference_numbers):
    """The table that NPTFit's method finds, from 10,000 sources on the whole sky, in bins of 1/15 above 0.01."""
    known = json.loads((reference_numbers / "psf_fractions.json").read_text())["fpp_king_lin15_f0p01"]
    fractions = rho._fractions(LAT, 128, ((np.arange(48) + 0.5) * 12 * 128**2 / 48).astype(int), 8)
    middle = np.array(known["f"])
    number = np.histogram(fractions[fractions > 0.01], np.linspace(0, 1, 16))[0].astype(float)
    weights = number / (number @ middle)
    assert np.allclose(weights, middle * known["df_rho_div_f"], rtol=0.04, atol=0.015)


def test_results_are_kept_by_content(tmp_path, monkeypatch):
    monkeypatch.setattr("skyfold.compiled.session.cache_directory", lambda: tmp_path / "jax")
    monkeypatch.delenv("SKYFOLD_CACHE", raising=False)
    first = fraction_distribution(LAT, 128, pixels=2, places=2)
    assert len(list((tmp_path / "rho").glob("*.npz"))) == 1

    def never(*_):
        raise AssertionError("the file was not read")

    monkeypatch.setattr(rho, "_fractions", never)
    again = fraction_distribution(LAT, 128, pixels=2, places=2)
    assert np.array_equal(first.f, again.f) and np.array_equal(first.weights, again.weights)
    with pytest.raises(AssertionError):
        fraction_distribution(King(0.004, 3.0), 128, pixels=2, places=2)


def test_settings_are_checked():
    with pytest.raises(SkyfoldError, match="power of two"):
        fraction_distribution(LAT, 100)
    with pytest.raises(SkyfoldError, match="floor"):
        fraction_distribution(LAT, 128, floor=0.0)


@pytest.mark.parametrize("degrees", [0.02, 0.05, 0.1, 0.3])
def test_no_pixel_receives_more_than_a_source_sends(degrees):
    from skyfold.gammaray.moments import checked_fractions

    psf = King(np.radians(degrees), 2.5)
    found = fraction_distribution(psf, 64, pixels=4, places=4, cache=False)
    assert found.f.max() <= 1.0
    checked_fractions(found.f, found.weights)
    fractions = rho._fractions(psf, 64, rho_hosts(64, 4), 4)
    # number, sum and squares are kept
    sources = 4 * 4**2
    scale = (fractions.sum() / sources) / (found.f @ found.weights)
    for power in (1, 2):
        assert np.isclose(scale * (found.f**power @ found.weights), (fractions**power).sum() / sources, rtol=1e-4)


def rho_hosts(nside, pixels):
    return ((np.arange(pixels) + 0.5) * 12 * nside**2 / pixels).astype(int)


def test_a_width_in_degrees_is_noticed():
    with pytest.raises(SkyfoldError, match="in radians, as in King"):
        fraction_distribution(King(0.4, 2.5), 64, pixels=2, places=2, cache=False)
