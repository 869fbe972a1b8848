"""Power laws: against XSPEC, and against adaptive quadrature."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.integrate import quad

from skyfold.xray.models import BrokenPowerLaw, CutoffPowerLaw, LogParabola, PowerLaw


@pytest.mark.parametrize("cls", [PowerLaw, BrokenPowerLaw])
def test_exact_integrals_agree_with_xspec(cls: type, xspec: Callable) -> None:
    for s in xspec(cls.name):
        ours = cls(*s.parameters, norm=1.0).photon_flux(s.edges)
        # XSPEC's numbers carry nine digits
        np.testing.assert_allclose(ours, s.output, rtol=2e-8, err_msg=str(s.parameters))


@pytest.mark.parametrize("cls", [CutoffPowerLaw, LogParabola])
def test_quadratures_agree_with_xspec(cls: type, xspec: Callable) -> None:
    for s in xspec(cls.name):
        ours = cls(*s.parameters, norm=1.0).photon_flux(s.edges)
        # XSPEC's incomplete gamma function is itself good to 3e-5 (see the test against quadrature below)
        assert s.deviation(ours).max() < 1e-5, s.parameters


def _quadrature(density: Callable[[float], float], edges: np.ndarray) -> np.ndarray:
    return np.array([quad(density, a, b, epsabs=0, epsrel=1e-12)[0] for a, b in zip(edges, edges[1:], strict=False)])


@pytest.mark.parametrize("index", [-2.0, 0.0, 1.0 - 1e-9, 1.0, 1.0 + 1e-7, 1.01, 1.7, 4.5, 10.0])
@pytest.mark.parametrize("edges", [np.geomspace(0.1, 20, 60), np.array([0.01, 0.3, 2.0, 10.0, 200.0])])
def test_power_law_is_exact_for_any_bins(index: float, edges: np.ndarray) -> None:
    ours = PowerLaw(index, 2.0).photon_flux(edges)
    np.testing.assert_allclose(ours, 2.0 * _quadrature(lambda e: e**-index, edges), rtol=1e-12)


@pytest.mark.parametrize("broken_at", [0.05, 0.9999999, 1.0, 3.3, 100.0])
def test_broken_power_law_is_exact_for_any_bins(broken_at: float) -> None:
    edges = np.array([0.1, 0.5, 1.0, 5.0, 20.0])
    ours = BrokenPowerLaw(1.0, broken_at, 2.5, 1.0).photon_flux(edges)
    parts = np.unique(np.concatenate([edges, np.clip([broken_at], 0.1, 20.0)]))
    pieces = _quadrature(lambda e: 1 / e if e <= broken_at else broken_at**1.5 * e**-2.5, parts)
    expected = [pieces[(parts[:-1] >= a) & (parts[1:] <= b)].sum() for a, b in zip(edges, edges[1:], strict=False)]
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


@pytest.mark.parametrize(("index", "cutoff"), [(1.7, 15.0), (-1.0, 3.0), (2.0, 15.0), (0.5, 500.0)])
def test_cutoff_power_law_error_is_as_stated(index: float, cutoff: float) -> None:
    edges = np.geomspace(0.1, 20, 201)
    ours = CutoffPowerLaw(index, cutoff, 1.0).photon_flux(edges)
    expected = _quadrature(lambda e: e**-index * np.exp(-e / cutoff), edges)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


@pytest.mark.parametrize(("alpha", "beta"), [(-1.0, -2.0), (-1.0, 2.0), (5.0, -2.0), (5.0, 2.0)])
def test_log_parabola_error_is_as_stated(alpha: float, beta: float) -> None:
    model = LogParabola(alpha, beta, 1.0, 1.0)
    for bins, error in ((180, 3e-6), (53, 4e-4)):  # bins of 3% and 10%
        edges = np.geomspace(0.1, 20, bins)
        expected = _quadrature(lambda e: e ** (-alpha - beta * np.log10(e)), edges)
        np.testing.assert_allclose(model.photon_flux(edges), expected, rtol=error)


def test_cutoff_far_above_the_band_leaves_the_power_law() -> None:
    edges = np.geomspace(0.3, 10, 200)
    with_cutoff = CutoffPowerLaw(1.7, 1e9, 1.0).photon_flux(edges)
    np.testing.assert_allclose(with_cutoff, PowerLaw(1.7, 1.0).photon_flux(edges), rtol=1e-7)
