"""Flux and luminosity in bands, against formulae and published numbers."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from toy_results import TRUTH, Bump, Cutoff, Screen, Slope, source, toy_spectrum, weighted

import skyfold as sf
from skyfold.xray.flux import ERG_PER_KEV
from skyfold.xray.models import Bremsstrahlung, Constant, PHabs, PowerLaw


def at(model, values: dict[str, float]) -> sf.Result:
    """Result that is the single point with these values."""
    pinned = {name: sf.Uniform(0.5 * value, 1.5 * value) for name, value in values.items()}
    posterior = sf.Posterior((model.with_priors(pinned), toy_spectrum()))
    z = np.zeros((1, 1, posterior.ndim))
    return sf.Result(posterior, sf.Draws("point", z, np.zeros((1, 1)), converged=True))


@pytest.fixture(scope="module")
def fit() -> sf.Result:
    posterior = sf.Posterior((source(), toy_spectrum()))
    return sf.Result(posterior, weighted(posterior, TRUTH))


def power_law_flux(low: float, high: float, index: np.ndarray, norm: np.ndarray) -> np.ndarray:
    return ERG_PER_KEV * norm * (high ** (2 - index) - low ** (2 - index)) / (2 - index)


@pytest.mark.parametrize("band", [(2.0, 10.0), (0.01, 100.0), (6.4, 6.41)])
def test_power_law_flux_is_analytic(fit, band) -> None:
    index, norm = (fit.equal_weight[f"slope.{n}"].ravel() for n in ("index", "norm"))
    energy = fit.flux(*band, component="slope", absorbed=False)
    np.testing.assert_allclose(energy.values, power_law_flux(*band, index, norm), rtol=1e-5)
    photons = fit.flux(*band, component="slope", absorbed=False, photons=True)
    expected = norm * (band[1] ** (1 - index) - band[0] ** (1 - index)) / (1 - index)
    np.testing.assert_allclose(photons.values, expected, rtol=1e-9)


def test_components_add_up_and_absorption_takes_away(fit) -> None:
    total = fit.flux(0.5, 10)
    parts = [fit.flux(0.5, 10, name) for name in ("slope", "bump")]
    np.testing.assert_allclose(sum(p.values for p in parts), total.values, rtol=1e-6)
    bare = fit.flux(0.5, 10, absorbed=False)
    assert np.all(bare.values > total.values)
    assert "without screen" in repr(bare) and "whole model" in repr(bare)


def test_units(fit) -> None:
    found = fit.flux(2 * u.keV, 10000 * u.eV)
    assert found.samples.unit.is_equivalent(u.erg / u.cm**2 / u.s)
    np.testing.assert_allclose(found.values, fit.flux(2, 10).values)
    assert found.median.to_value(u.W / u.m**2) == pytest.approx(1e-3 * np.median(found.values), rel=1e-3)
    low, high = found.interval
    assert low < found.median < high
    assert fit.flux(2, 10, photons=True).samples.unit == u.ph / u.cm**2 / u.s


def test_intrinsic_factors_stay() -> None:
    result = at(Screen() * Cutoff() * Slope(), {"screen.nH": 1.0, "slope.index": 1.5, "slope.norm": 1e-3})
    bare = at(Cutoff() * Slope(), {"slope.index": 1.5, "slope.norm": 1e-3})
    assert result.flux(1, 20, absorbed=False).values == pytest.approx(bare.flux(1, 20).values)
    assert result.flux(1, 20, absorbed=False).note == "without screen"


def test_only_absorbers_are_removed() -> None:
    values = {"slope.index": 1.5, "slope.norm": 1e-3}
    scaled = at(Constant(0.02) * Screen() * Slope(), {"screen.nH": 1.0, **values})
    bare = at(Slope(), values)
    assert scaled.flux(1, 20, absorbed=False).values == pytest.approx(0.02 * bare.flux(1, 20).values)
    assert scaled.flux(1, 20, absorbed=False).note == "without screen"


def test_nested_models_are_opened() -> None:
    model = Constant(2.0) * (Bump(norm=1e-4) + Screen() * (Slope() + Constant(3.0) * Bump(energy=3.0, norm=1e-4)))
    values = {"screen.nH": 0.5, "slope.index": 1.5, "slope.norm": 1e-3}
    result = at(model, values)
    fluxes = {n: result.flux(0.5, 10, n, photons=True).values[0] for n in ("bump", "slope", "bump_2")}
    assert sum(fluxes.values()) == pytest.approx(result.flux(0.5, 10, photons=True).values[0], rel=1e-6)
    assert fluxes["bump"] == pytest.approx(2e-4, rel=1e-6)
    assert result.flux(0.5, 10, "bump_2", absorbed=False, photons=True).values[0] == pytest.approx(6e-4, rel=1e-6)


def test_luminosity(fit) -> None:
    from astropy.cosmology import FlatLambdaCDM, Planck18

    z = 0.5
    distance = Planck18.luminosity_distance(z).to_value(u.cm)
    expected = fit.flux(2 / 1.5, 10 / 1.5, absorbed=False).values * 4 * np.pi * distance**2
    found = fit.luminosity(2, 10, redshift=z)
    np.testing.assert_allclose(found.values, expected, rtol=1e-9)
    assert found.median.unit == u.erg / u.s and "Planck18" in repr(found)
    near = fit.luminosity(2, 10, distance=10.0, component="slope")
    far = fit.luminosity(2, 10, distance=20 * u.Mpc, component="slope")
    np.testing.assert_allclose(4 * near.values, far.values, rtol=1e-9)
    other = fit.luminosity(2, 10, redshift=z, cosmology=FlatLambdaCDM(H0=50, Om0=0.3))
    assert np.all(other.values > found.values)


def test_wrong_questions(fit) -> None:
    with pytest.raises(sf.SkyfoldError, match="Did you mean 'slope'"):
        fit.flux(2, 10, "slop")
    with pytest.raises(sf.SkyfoldError, match="'screen' is multiplicative"):
        fit.flux(2, 10, "screen")
    for band in ((10, 2), (0, 2), (-1, 2), (2, np.inf), (np.nan, 2)):
        with pytest.raises(sf.SkyfoldError, match="positive, finite, increasing"):
            fit.flux(*band)
    for band in (("a", 2), (2, None), ([1, 2], 3)):
        with pytest.raises(sf.SkyfoldError, match="is not a number"):
            fit.flux(*band)
    with pytest.raises(sf.SkyfoldError, match="neither an energy nor a wavelength"):
        fit.flux(1 * u.s, 2 * u.s)
    with pytest.raises(sf.SkyfoldError, match="redshift, or a distance"):
        fit.luminosity(2, 10)
    for distance in (-5, 0, -5 * u.Mpc, np.inf * u.Mpc, np.nan * u.Mpc):
        with pytest.raises(sf.SkyfoldError, match="must be positive and finite"):
            fit.luminosity(2, 10, distance=distance)
    for distance, words in (
        (np.nan, "not finite"),
        ("far", "not a number"),
        (5 * u.s, "no distance"),
        ([1, 2] * u.Mpc, "no distance"),
    ):
        with pytest.raises(sf.SkyfoldError, match=words):
            fit.luminosity(2, 10, distance=distance)
    for redshift, words in ((np.nan, "not finite"), ("near", "not a number"), (-1, "above -1"), (-0.5, "positive")):
        with pytest.raises(sf.SkyfoldError, match=words):
            fit.luminosity(2, 10, redshift=redshift)


@pytest.mark.parametrize("edges", ["abc", [[1, 2], [3]], [1, 2] * u.s, [2, 1], [0, 1], [1], None, [1, np.nan]])
def test_edges_that_are_none(edges) -> None:
    with pytest.raises(sf.SkyfoldError, match="Energy edges"):
        PowerLaw(2.0, 1.0).photon_flux(edges)


def test_exosat_walkthrough() -> None:
    """XSPEC manual's first walkthrough: fluxes of the best fits, which XSPEC adds up on the bins of the response."""
    law = at(
        PHabs(abundances="angr", cross_sections="bcmc") * PowerLaw(),
        {"phabs.nH": 0.537846, "powerlaw.PhoIndex": 2.23646, "powerlaw.norm": 1.30320e-2},
    )
    assert law.flux(2, 10, photons=True).values[0] == pytest.approx(0.003539, rel=1e-3)
    assert law.flux(2, 10).values[0] == pytest.approx(2.2321e-11, rel=1e-3)
    # below 1 keV the response has bins of 0.15 keV, on which absorption is known to some 5% only: transmission at the
    # centre of each gives 0.00429 and 8.68e-12, the mean cross-section 0.00405 and 8.45e-12, fine bins 0.00408 and
    # 8.48e-12
    assert law.flux(0.2, 2, photons=True).values[0] == pytest.approx(0.0043484, rel=0.07)
    assert law.flux(0.2, 2).values[0] == pytest.approx(8.8419e-12, rel=0.05)
    # cflux, from a fit of its own, with its interval of 90%
    assert 10**-10.458 < law.flux(0.2, 2, absorbed=False).values[0] < 10**-10.0789


def test_narrow_features_are_resolved() -> None:
    result = at(Bump(), {"bump.norm": 1e-4})
    assert result.flux(0.1, 100, photons=True).values[0] == pytest.approx(1e-4, rel=1e-6)
    assert result.flux(0.1, 100).values[0] == pytest.approx(6.4e-4 * ERG_PER_KEV, rel=1e-5)
    brems = at(Bremsstrahlung(), {"bremss.kT": 5.0, "bremss.norm": 1e-2})
    whole = brems.flux(0.5, 10).values[0]
    assert brems.flux(0.5, 2).values[0] + brems.flux(2, 10).values[0] == pytest.approx(whole, rel=1e-4)
