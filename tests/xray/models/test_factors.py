"""Factors: against XSPEC, and bin averages against quadrature."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from skyfold.xray.models import Constant, Edge, HighECut, PowerLaw


def test_constant(xspec: Callable) -> None:
    for s in xspec("constant"):
        np.testing.assert_array_equal(Constant(*s.parameters).evaluate(jnp.asarray(s.edges)), s.output)
    edges = np.geomspace(0.3, 10, 20)
    both = (Constant(2.5) * PowerLaw(1.7, 1.0)).photon_flux(edges)
    np.testing.assert_allclose(both, 2.5 * PowerLaw(1.7, 1.0).photon_flux(edges))


def test_edge_agrees_with_xspec(xspec: Callable) -> None:
    for s in xspec("edge"):
        energy, depth = s.parameters
        # the bin of the edge included: XSPEC too averages over both sides, by the trapezium rule
        assert s.deviation(Edge(energy, depth).factor(s.edges)).max() < (2e-4 if s.grid == "A" else 1e-6), s.parameters


def test_highecut_agrees_with_xspec(xspec: Callable) -> None:
    for s in xspec("highecut"):
        ours = HighECut(*s.parameters).factor(s.edges)
        holds = (s.edges[:-1] <= s.parameters[0]) & (s.parameters[0] <= s.edges[1:])
        assert s.deviation(ours)[~holds].max() < 1e-4, s.parameters
        # in the bin of the cutoff XSPEC takes the mean of its ends; below, its factor is exp(-0.001/foldE), not 1
        ends = 0.5 * (
            np.exp(-1e-3 / s.parameters[1]) + np.exp((s.parameters[0] - s.edges[1:][holds]) / s.parameters[1])
        )
        np.testing.assert_allclose(s.output[holds], ends, rtol=1e-8)
        width = np.diff(s.edges)[holds]
        assert np.all(s.deviation(ours)[holds] <= width / s.parameters[1] / 8 * 1.1 + 1e-4), s.parameters


@pytest.mark.parametrize("threshold", [0.05, 1.0, 1.3, 7.1, 30.0])
def test_edge_is_the_average_over_each_bin(threshold: float) -> None:
    edges = np.geomspace(0.1, 20, 201)
    edges[np.argmin(np.abs(edges - 1.0))] = 1.0

    def factor(e: float) -> float:
        return float(np.exp(-1.5 * (e / threshold) ** -3)) if e >= threshold else 1.0

    expected = _average(factor, edges, threshold)
    np.testing.assert_allclose(Edge(threshold, 1.5).factor(edges), expected, rtol=1e-6)


@pytest.mark.parametrize("cutoff", [0.05, 1.0, 7.1, 30.0])
@pytest.mark.parametrize("fold", [0.5, 15.0, 1e4])
def test_highecut_is_the_average_over_each_bin(cutoff: float, fold: float) -> None:
    edges = np.array([0.1, 0.2, 0.5, 1.0, 5.0, 10.0, 10.1, 20.0])
    expected = _average(lambda e: float(np.exp(min(cutoff - e, 0.0) / fold)), edges, cutoff)
    np.testing.assert_allclose(HighECut(cutoff, fold).factor(edges), expected, rtol=1e-11)


def _average(factor: Callable[[float], float], edges: np.ndarray, break_at: float) -> np.ndarray:
    result = []
    for a, b in zip(edges, edges[1:], strict=False):
        m = min(max(a, break_at), b)
        left = quad(factor, a, np.nextafter(m, a), epsrel=1e-13, epsabs=0)[0] if m > a else 0.0
        right = quad(factor, m, b, epsrel=1e-13, epsabs=0)[0] if b > m else 0.0
        result.append((left + right) / (b - a))
    return np.array(result)
