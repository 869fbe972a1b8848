"""Emission lines: against XSPEC, and where they are narrow or far away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.stats import norm as normal

from skyfold import Posterior, SkyfoldError, Uniform, xray
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


EDGES = np.arange(6.0, 7.0, 0.02)


@pytest.mark.parametrize(
    "line",
    [Gaussian(Sigma=0.0), Gaussian(Sigma=0.005), Gaussian(LineE=Uniform(6.2, 6.8), Sigma=0.0), ZGaussian(Sigma=0.0)]
    + [ZGaussian(LineE=6.4, Sigma=0.0, Redshift=Uniform(0.0, 0.1))],
    ids=lambda line: f"{line.name}-{line.Sigma}",
)
def test_a_free_energy_that_the_data_see_in_steps_is_refused(line) -> None:
    with pytest.raises(SkyfoldError, match=r"LineE|Redshift.* is free, and Sigma is fixed at .* Sigma = 0.01 keV"):
        line.check(EDGES)


def test_lines_whose_energy_is_fixed_or_seen_are_taken() -> None:
    elsewhere = Gaussian(LineE=Uniform(8.0, 9.0), Sigma=0.0)
    for line in (Gaussian(LineE=6.4, Sigma=0.0), Gaussian(Sigma=0.01), Gaussian(), elsewhere):
        line.check(EDGES)


@pytest.mark.parametrize("apart", [0.0, 1e-10, -1e-10, 1e-8, -3e-9])
def test_the_energy_of_a_line_without_width_has_no_slope_near_an_edge_either(apart: float) -> None:
    slope = jax.jacfwd(lambda energy: Gaussian(energy, 0.0, 1.0).evaluate(EDGES))(EDGES[20] + apart)
    assert not np.any(slope)


def test_the_error_of_a_line_narrower_than_a_bin(shared: Path) -> None:
    """The norm's error is 9.7e-7 when the line's energy is fitted with a width that the detector does not resolve."""
    spectrum = xray.Spectrum.read(shared / "cases" / "xray" / "line.pha").notice(5.0, 8.0)
    model = xray.model("powerlaw + gaussian").with_priors({"gaussian.LineE": Uniform(6.0, 7.0)})
    with pytest.raises(SkyfoldError, match="see the line's energy in steps"):
        Posterior((model.with_values({"gaussian.Sigma": 0.0}), spectrum))
    result = Posterior((model.with_values({"gaussian.Sigma": 0.005}), spectrum)).fit("mle")
    norm = next(m for m in result.marginals if m.name == "gaussian.norm")
    assert norm.best == pytest.approx(2.92e-5, rel=0.02) and norm.sd == pytest.approx(9.7e-7, rel=0.03)
    assert next(m for m in result.marginals if m.name == "gaussian.LineE").sd == pytest.approx(2e-3, rel=0.5)
