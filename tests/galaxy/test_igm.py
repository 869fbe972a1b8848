"""Intergalactic absorption against the published formulae."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from skyfold.compiled.jit import jit
from skyfold.galaxy.igm import Inoue2014, Madau1995

# Inoue et al. 2014, table 2: wavelength, forest (three ranges of redshift), damped systems (two)
TABLE = [
    (1215.670, 1.690e-02, 2.354e-03, 1.026e-04, 1.617e-04, 5.390e-05),
    (1025.720, 4.692e-03, 6.536e-04, 2.849e-05, 1.545e-04, 5.151e-05),
    (972.537, 2.239e-03, 3.119e-04, 1.360e-05, 1.498e-04, 4.992e-05),
    (949.743, 1.319e-03, 1.837e-04, 8.010e-06, 1.460e-04, 4.868e-05),
]


def by_the_paper(wave, z):
    """Optical depth at wavelengths between Lyman delta and beyond Lyman alpha: lines only, equations 21 and 22."""
    tau = np.zeros_like(wave)
    for line, a1, a2, a3, d1, d2 in TABLE:
        x = wave / line
        laf = np.where(x < 2.2, a1 * x**1.2, np.where(x < 5.7, a2 * x**3.7, a3 * x**5.5))
        dla = np.where(x < 3.0, d1 * x**2, d2 * x**3)
        tau += np.where((x > 1) & (x < 1 + z), laf + dla, 0.0)
    return tau


@pytest.mark.parametrize("z", [0.5, 1.5, 3.0, 4.0, 6.0, 8.0])
def test_lines_follow_table_2(z):
    wave = np.linspace(940.0, 1300.0, 500) * (1 + z)
    np.testing.assert_allclose(Inoue2014().optical_depth(wave, z), by_the_paper(wave, z), rtol=5e-4, atol=1e-12)


@pytest.mark.parametrize(
    ("z", "x", "forest", "damped"),
    [
        # equations 25 to 29 with the printed coefficients, x the observed wavelength over 911.8 Angstrom
        (1.0, 1.3, lambda u, x: 0.325 * (x**1.2 - u**-0.9 * x**2.1), None),
        (3.0, 2.5, lambda u, x: 2.55e-2 * (u**1.6 * x**2.1 - x**3.7), None),
        (3.0, 1.5, lambda u, x: 2.55e-2 * u**1.6 * x**2.1 + 0.325 * x**1.2 - 0.250 * x**2.1, None),
        (6.0, 6.2, lambda u, x: 5.22e-4 * (u**3.4 * x**2.1 - x**5.5), None),
        (6.0, 3.5, lambda u, x: 5.22e-4 * u**3.4 * x**2.1 + 0.218 * x**2.1 - 2.55e-2 * x**3.7, None),
        (6.0, 1.5, lambda u, x: 5.22e-4 * u**3.4 * x**2.1 + 0.325 * x**1.2 - 3.14e-2 * x**2.1, None),
    ],
)
def test_continuum_follows_the_printed_formulae(z, x, forest, damped):
    u = 1 + z
    if z < 2:
        dla = 0.211 * u**2 - 7.66e-2 * u**2.3 * x**-0.3 - 0.135 * x**2
    elif x < 3:
        dla = 0.634 + 4.70e-2 * u**3 - 1.78e-2 * u**3.3 * x**-0.3 - 0.135 * x**2 - 0.291 * x**-0.3
    else:
        dla = 4.70e-2 * u**3 - 1.78e-2 * u**3.3 * x**-0.3 - 2.92e-2 * x**3
    wave = np.array([911.8 * x, 911.8 * u * 1.00001])
    # lines do not step between the limit and just above it, but they grow slowly; take them off by the whole series
    from skyfold.galaxy import igm

    lines, laf, dlas = (np.array(c) for c in zip(*igm._SERIES, strict=True))
    series = igm._series(wave, z, lines, laf, (1.0, 2.2, 5.7), (1.2, 3.7, 5.5))
    series += igm._series(wave, z, lines, dlas, (1.0, 3.0), (2.0, 3.0))
    continuum = np.asarray(Inoue2014().optical_depth(wave, z) - series)
    # three printed digits of terms that partly cancel
    assert continuum[0] == pytest.approx(forest(u, x) + dla, rel=4e-3)
    assert continuum[1] == pytest.approx(0.0, abs=1e-4)


def test_transmission_at_redshift_3_as_other_programs_have_it():
    # eazy 0.8.7, Inoue14
    wave = np.array([4000.0, 3000.0, 4700.0])
    np.testing.assert_allclose(Inoue2014().transmission(wave, 3.0), [0.74194787, 0.17184887, 0.70213196], rtol=5e-4)


def test_madau_at_redshift_3_as_synphot_has_it():
    wave = np.array([4000.0, 4500.0, 4800.0])
    np.testing.assert_allclose(Madau1995().transmission(wave, 3.0), [0.66367497, 0.71671336, 0.65940615], rtol=1e-7)


@pytest.mark.parametrize("igm", [Inoue2014(), Madau1995()], ids=repr)
def test_nothing_is_absorbed_redward_of_lyman_alpha_and_scale_counts(igm):
    wave = np.linspace(1217.0, 3000.0, 50)
    for z in (0.0, 0.5, 4.0, 9.0):
        np.testing.assert_array_equal(igm.transmission(wave * (1 + z), z), 1.0)
    blue = np.linspace(300.0, 1200.0, 50) * 5
    double = igm.with_values({f"{igm.name}.scale": 2.0}).transmission(blue, 4.0)
    np.testing.assert_allclose(double, igm.transmission(blue, 4.0) ** 2, rtol=1e-12)
    assert np.all(np.isfinite(igm.transmission(np.geomspace(10, 1e7, 500), 5.0)))


@pytest.mark.parametrize("igm", [Inoue2014(), Madau1995()], ids=repr)
@pytest.mark.parametrize("z", [1.0, 2.5, 4.0, 7.0])
def test_slope_by_redshift_matches_differences(igm, z):
    wave = np.linspace(400, 1300, 211) * (1 + z) + 0.037

    def f(z):
        return igm.transmission(wave, z).sum()

    slope, h = float(jax.grad(f)(z)), 1e-6
    assert slope == pytest.approx(float(f(z + h) - f(z - h)) / (2 * h), rel=1e-6, abs=1e-7)


def test_optical_depth_is_continuous_in_redshift():
    wave = np.linspace(1000.0, 6000.0, 301) + 0.01
    f = jit(Inoue2014().optical_depth)
    for z in (1.2, 2.0, 4.7):
        off_lines = np.abs(np.asarray(f(wave, z + 1e-7)) - np.asarray(f(wave, z - 1e-7)))
        assert np.median(off_lines) < 1e-6 and np.mean(off_lines > 1e-4) < 0.05
