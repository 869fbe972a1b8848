"""Emission lines: against XSPEC, and where they are narrow or far away."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm as normal

from skyfold.xray.models import Gaussian, ZGaussian


@pytest.mark.parametrize("cls", [Gaussian, ZGaussian])
def test_agrees_with_xspec(cls: type, xspec: Callable) -> None:
    for s in xspec(cls.name):
        ours = cls(*s.parameters, norm=1.0).photon_flux(s.edges)
        # XSPEC puts the last 1e-8 of either wing into one bin
        np.testing.assert_allclose(ours, s.output, rtol=1e-8, atol=2e-8, err_msg=str(s.parameters))


def test_wings_keep_all_digits() -> None:
    edges = np.linspace(0.5, 12.5, 401)
    ours = Gaussian(6.5, 0.3, 1.0).photon_flux(edges)
    z = (edges - 6.5) / 0.3
    below, above = np.diff(normal.cdf(z)), -np.diff(normal.sf(z))
    expected = np.where(edges[1:] < 6.5, below, above)
    np.testing.assert_allclose(ours, expected, rtol=1e-11)


@pytest.mark.parametrize("width", [0.0, 1e-12, 1e-6, 1e-3])
def test_unresolved_line_lies_in_one_bin(width: float) -> None:
    ours = Gaussian(6.43, width, 3.0).photon_flux(np.arange(6.0, 7.0, 0.1))
    assert ours[4] == pytest.approx(3.0, rel=1e-12)
    assert np.delete(ours, 4) == pytest.approx(0.0, abs=1e-100)


def test_line_on_an_edge() -> None:
    edges = np.array([5.5, 6.0, 6.5, 7.0])
    np.testing.assert_array_equal(Gaussian(6.5, 0.0, 1.0).photon_flux(edges), [0.0, 1.0, 0.0])
    np.testing.assert_allclose(Gaussian(6.5, 1e-4, 1.0).photon_flux(edges), [0.0, 0.5, 0.5], atol=1e-100)


def test_flux_is_conserved() -> None:
    assert Gaussian(6.5, 0.5, 2.0).photon_flux(np.linspace(0.1, 13, 500)).sum() == pytest.approx(2.0, rel=1e-13)
    flux = ZGaussian(6.5, 0.5, 1.0, 2.0).photon_flux(np.linspace(0.1, 13, 500))
    assert flux.sum() == pytest.approx(1.0, rel=1e-9)
