"""Operators: names, tables, terms, figures, fluxes and the language see through them, and they get their energies."""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
import pytest
from operators import Flux, Shift, Smooth

import skyfold as sf
from skyfold import data, xray
from skyfold.terms import select, terms
from skyfold.xray.models import COMPONENTS, Gaussian, PowerLaw, TBabs
from skyfold.xray.response import ResponseParts, WiderResponse


@pytest.fixture(scope="module")
def spectrum() -> xray.Spectrum:
    return xray.Spectrum.read(data.demo_spectrum(), background="none").notice(0.5, 8.0)


@pytest.fixture
def registered() -> Iterator[None]:
    own = {cls.name: cls for cls in (Shift, Smooth, Flux)}
    COMPONENTS.update(own)
    yield
    for name in own:
        del COMPONENTS[name]


def line() -> Gaussian:
    return Gaussian(1.5, 0.05, 1e-4)


def test_an_operator_is_a_third_kind_until_it_acts() -> None:
    assert Shift(0.1).kind == "operator" and Shift(0.1)(PowerLaw(2.0, 1.0)).kind == "additive"
    model = TBabs(0.1) * Shift(0.1) * (PowerLaw(sf.Uniform(1, 3), 1e-3) + line())
    assert repr(model) == "tbabs*shift(powerlaw + gaussian)" and model.kind == "additive"
    assert model.free_parameters == ("powerlaw.PhoIndex",)
    assert "shift.z" in model.table() and "└─ shift" in model.tree()
    assert model.latex().count(r"\left(") == model.latex().count(r"\right)") == 1


def test_operators_act_one_after_the_other_and_keep_their_brackets() -> None:
    model = (Shift(0.1) * Smooth(0.2) * PowerLaw(2.0, 1.0)) * TBabs(0.1)
    assert repr(model) == "shift(smooth(powerlaw))*tbabs"
    assert repr(Shift(0.1)(TBabs(0.1) * (PowerLaw(2.0, 1.0) + line()))) == "shift(tbabs*(powerlaw + gaussian))"
    assert model.with_values({"shift.z": 0.5}).parameters["shift.z"] == 0.5


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: Shift(0.1)(TBabs(0.1)), "acts on light"),
        (lambda: Shift(0.1)(PowerLaw(2.0, 1.0))(PowerLaw(2.0, 1.0)), "acts on something already"),
        (lambda: PowerLaw(2.0, 1.0) + Shift(0.1), "acts on nothing yet"),
    ],
)
def test_what_has_no_meaning_is_refused(wrong, said: str) -> None:
    with pytest.raises(sf.SkyfoldError, match=said):
        wrong()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("tbabs*shift(powerlaw+gaussian)", "tbabs*shift(powerlaw + gaussian)"),
        ("tbabs*shift*powerlaw", "tbabs*shift(powerlaw)"),
        ("shift*tbabs*powerlaw + bbody", "shift(tbabs*powerlaw) + bbody"),
        ("shift(smooth(pow))*tbabs", "shift(smooth(powerlaw))*tbabs"),
        ("shift*smooth*(pow + bbody)", "shift(smooth(powerlaw + bbody))"),
    ],
)
def test_the_language_has_operators(written: str, meant: str, registered: None) -> None:
    assert repr(xray.model(written)) == meant


@pytest.mark.parametrize("written", ["shift", "shift + powerlaw", "shift*tbabs", "tbabs*shift"])
def test_an_operator_without_light_is_refused_where_it_stands(written: str, registered: None) -> None:
    with pytest.raises(xray.expression.ExpressionError, match="acts on a spectrum"):
        xray.model(written)


@pytest.mark.parametrize("operator", [Shift(0.2), Smooth(0.3), Flux(3.0), Shift(0.1) * Smooth(0.2)], ids=repr)
def test_the_terms_of_a_sum_inside_an_operator_add_up_to_it(operator) -> None:
    edges = np.geomspace(0.5, 8.0, 200)
    model = TBabs(0.1) * operator * (PowerLaw(2.0, 1e-3) + TBabs(0.5) * line())
    found = list(terms(model))
    assert [t.component.name for t in found] == ["powerlaw", "gaussian"]
    assert [f.name for f in found[1].factors] == ["tbabs", "tbabs"]
    parts = [select(model, t.path).evaluate(jnp.asarray(edges)) for t in found]
    np.testing.assert_allclose(sum(parts), model.evaluate(jnp.asarray(edges)), rtol=1e-12)


def test_a_smoothing_gets_the_energies_that_it_asks_for(spectrum: xray.Spectrum) -> None:
    """On the noticed energies alone the first bin kept 36% of its light."""
    whole = xray.Spectrum.read(data.demo_spectrum())
    smooth = Smooth(0.3)(PowerLaw(2.0, 1.0))
    bound = spectrum.bound(smooth)
    assert isinstance(bound.response, WiderResponse)
    np.testing.assert_array_equal(bound.energies, whole.files.rmf.edges)
    everywhere = np.asarray(smooth.evaluate(jnp.asarray(bound.energies)))
    start = np.searchsorted(bound.energies, spectrum.energies[0])
    part = np.asarray(smooth.evaluate(jnp.asarray(spectrum.energies)))
    assert part[0] / everywhere[start] < 0.5
    inside = everywhere[start : start + len(part)]
    expected = np.asarray(spectrum.bound(None).response.fold(jnp.asarray(inside)))
    np.testing.assert_allclose(bound.predict(smooth), expected, rtol=1e-12)
    np.testing.assert_allclose(spectrum.predict(smooth), expected, rtol=1e-12)
    posterior = sf.Posterior((Smooth(0.3)(PowerLaw(2.0, sf.LogUniform(0.5, 2.0))), spectrum))
    np.testing.assert_allclose(posterior.predict(np.zeros(1))[spectrum.name], expected, rtol=1e-12)


def test_a_model_without_operators_asks_for_no_more_energies_than_reach_the_groups(spectrum: xray.Spectrum) -> None:
    assert isinstance(spectrum.response, ResponseParts)
    one, other = (spectrum.bound(PowerLaw(2.0, 1.0)) for _ in range(2))
    assert one.response.matrix is other.response.matrix  # melted once
    np.testing.assert_array_equal(one.energies, spectrum.energies)
    flux = PowerLaw(2.0, 1.0).evaluate(jnp.asarray(spectrum.files.rmf.edges))
    np.testing.assert_allclose(spectrum.response.fold(flux), one.predict(PowerLaw(2.0, 1.0)), rtol=1e-12)


def test_fluxes_and_figures_see_what_is_inside(spectrum: xray.Spectrum) -> None:
    light = PowerLaw(2.0, sf.LogUniform(1e-4, 1e-2)) + Gaussian(3.0, 0.1, sf.LogUniform(1e-6, 1e-3))
    posterior = sf.Posterior((TBabs(0.1) * Shift(0.2)(light), spectrum))
    result = posterior.fit(sf.MLE(screen=64, starts=2), seed=1, progress=False)
    norm = float(np.asarray(result.samples["powerlaw.norm"]).ravel()[0])
    # photons of the power law at 2(1 + z) .. 10(1 + z) keV, each bin divided by 1 + z
    expected = norm * (1 / 2.4 - 1 / 12.0) / 1.2
    found = result.flux(2, 10, component="powerlaw", absorbed=False, photons=True).values
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    whole = result.flux(2, 10, photons=True).values
    parts = [result.flux(2, 10, component=c, photons=True).values for c in ("powerlaw", "gaussian")]
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-6)
    assert {"component:powerlaw", "component:gaussian"} <= set(result.plot_data("model").colnames)
    smooth = Smooth(0.3)(PowerLaw(2.0, 1.0))
    # far from the ends of its energies a smoothing of a straight line keeps it
    assert abs(float(smooth.photon_flux(np.linspace(4.0, 4.1, 11)).sum()) / (1 / 4.0 - 1 / 4.1) - 1) < 0.03
