"""Thermal continua: against XSPEC, and against adaptive quadrature."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import quad

from skyfold.xray.models import Blackbody, BlackbodyRad, Bremsstrahlung, DiskBlackbody

#: XSPEC's diskbb over the integral of its disc, in units of the constant of bbodyrad.
DISK_FACTOR = 1.0042


@pytest.mark.parametrize("cls", [Blackbody, BlackbodyRad, DiskBlackbody, Bremsstrahlung])
def test_agrees_with_xspec(cls: type, xspec: Callable) -> None:
    factor = DISK_FACTOR if cls is DiskBlackbody else 1.0
    for s in xspec(cls.name):
        ours = factor * cls(*s.parameters, norm=1.0).photon_flux(s.edges)
        assert s.deviation(ours).max() < 1e-3, s.parameters
        # on 5 eV bins XSPEC's trapezium rule is exact enough to show more (bremss: its Gaunt factor jumps at E = kT)
        if s.grid == "B" and cls is not Bremsstrahlung:
            assert s.deviation(ours).max() < 1e-4, s.parameters


@pytest.mark.parametrize("cls", [Blackbody, BlackbodyRad])
def test_differs_from_xspec_by_its_trapezium_rule(cls: type, xspec: Callable) -> None:
    for s in (s for s in xspec(cls.name) if s.grid == "A"):
        (kT,) = s.parameters
        constant = 8.0525 / kT**4 if cls is Blackbody else 1.0344e-3
        density = constant * s.edges**2 / np.expm1(s.edges / kT)
        trapezium = 0.5 * np.diff(s.edges) * (density[1:] + density[:-1])
        np.testing.assert_allclose(s.output, trapezium, rtol=1e-7)


@pytest.mark.parametrize("kT", [0.05, 0.3, 1.0, 5.0, 100.0])
def test_black_body_error_is_as_stated(kT: float) -> None:
    edges = np.geomspace(0.1, 20, 400)
    model = BlackbodyRad(kT, 1.0)
    pairs = list(zip(edges, edges[1:], strict=False))
    expected = [1.0344e-3 * quad(lambda e: e**2 / np.expm1(e / kT), a, b, epsabs=0)[0] for a, b in pairs]
    error = np.abs(model.photon_flux(edges) / expected - 1)
    assert np.all(error < 1e-6 + (np.diff(edges) / kT) ** 4 / 4320)


def test_black_body_is_accurate_far_below_its_temperature() -> None:
    edges = np.geomspace(1e-6, 1e-3, 50)
    ours = BlackbodyRad(10.0, 1.0).photon_flux(edges)
    x = 0.5 * (edges[1:] + edges[:-1]) / 10.0
    rayleigh_jeans = 1.0344e-3 * 10.0 * 0.5 * np.diff(edges**2) * (1 - 0.5 * x)
    np.testing.assert_allclose(ours, rayleigh_jeans, rtol=1e-6)


def test_luminosity_and_surface_norms_are_one_black_body() -> None:
    edges = np.geomspace(0.1, 10, 100)
    ratio = Blackbody(0.7, 1.0).photon_flux(edges) / BlackbodyRad(0.7, 1.0).photon_flux(edges)
    np.testing.assert_allclose(ratio, 8.0525 / 1.0344e-3 / 0.7**4, rtol=1e-12)


@pytest.mark.parametrize("Tin", [0.01, 0.3, 1.0, 9.0])
def test_disc_is_the_integral_over_its_rings(Tin: float) -> None:
    energy = np.geomspace(0.1, 15, 20)
    edges = np.stack([energy, energy * (1 + 1e-6)])
    ours = np.array([DiskBlackbody(Tin, 1.0).photon_flux(e)[0] for e in edges.T]) / np.diff(edges, axis=0)[0]

    def rings(e: float) -> float:
        # E^2 T^(-11/3) / (exp(E/T) - 1) over temperatures t = T/Tin, the exponential of the innermost ring apart
        x = e / Tin

        def ring(s: float) -> float:
            y = x + s
            return y ** (5 / 3) * np.exp(-s) / -np.expm1(-y)

        knots = (0, 1e-3, 0.1, 1, 5, 20, 60)
        pieces = [quad(ring, a, b, epsabs=0, epsrel=1e-11)[0] for a, b in zip(knots, knots[1:], strict=False)]
        return 8 / 3 * 1.0344e-3 * e**2 * x ** (-8 / 3) * np.exp(-x) * sum(pieces)

    expected = np.array([rings(e) for e in energy * (1 + 0.5e-6)])
    seen = expected > 1e-300
    np.testing.assert_allclose(ours[seen], expected[seen], rtol=2e-7)


@pytest.mark.parametrize("seam", [0.1358, 0.13580 / 0.95, 0.5432, 0.5432 / 0.95, 13.58, 13.58 / 0.95, 54.32])
def test_bremsstrahlung_is_continuous_where_gaunt_factors_meet(seam: float) -> None:
    edges = np.geomspace(0.1, 12, 300)
    below, above = (Bremsstrahlung(seam * (1 + s), 1.0).photon_flux(edges) for s in (-1e-7, 1e-7))
    kept = below > 1e-9 * below.max()
    np.testing.assert_allclose(above[kept], below[kept], rtol=2e-5)


@pytest.mark.parametrize("cls", [Blackbody, BlackbodyRad, DiskBlackbody, Bremsstrahlung])
def test_cold_and_hot_ends_are_finite(cls: type) -> None:
    edges = np.geomspace(1e-3, 500, 300)
    for temperature in (1e-4, 1e-3, 200.0):
        flux = cls(temperature, 1.0).photon_flux(edges)
        assert np.all(np.isfinite(flux))
        assert np.all(flux >= 0)
