"""Parameters: identity, sharing, arithmetic, quantities."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import astropy.units as u
import jax
import numpy as np
import pytest
from toys import Greybody

import skyfold as sf
from skyfold.component import Component
from skyfold.parameters import Expression, Parameter, as_parameter, parameter, parameters_in, substitute


def test_the_same_prior_twice_is_two_parameters() -> None:
    prior = sf.Uniform(0, 1)
    model = Greybody(amplitude=prior, temperature=prior)
    assert model.amplitude.token != model.temperature.token


def test_defaults_are_made_per_instance() -> None:
    assert Greybody().amplitude.token != Greybody().amplitude.token


def test_identity_survives_copies_and_tree_maps() -> None:
    p = Parameter(sf.Uniform(0, 1))
    model = Greybody(amplitude=p)
    for same in (copy.copy(model), copy.deepcopy(model), jax.tree.map(lambda leaf: leaf, model)):
        assert same.amplitude.token == p.token


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda p: 0.5 * p + 1, 2.0),
        (lambda p: (p - 1) / p, 0.5),
        (lambda p: 10**p, 100.0),
        (lambda p: -p, -2.0),
        (lambda p: abs(-p) ** 2, 4.0),
        (lambda p: np.exp(p), np.exp(2.0)),
        (lambda p: np.float64(3) * np.sqrt(p), 3 * np.sqrt(2.0)),
        (lambda p: np.log10(p) - np.log(p), np.log10(2.0) - np.log(2.0)),
        (lambda p: 1 / p, 0.5),
    ],
)
def test_arithmetic_ties(build, expected) -> None:
    p = Parameter(sf.Uniform(0, 5))
    tied = build(p)
    assert isinstance(tied, Expression)
    assert [q.token for q in parameters_in(tied)][0] == p.token
    assert float(substitute(tied, lambda node: 2.0)) == pytest.approx(expected, rel=1e-14)


def test_quantities_are_converted_to_the_field_s_unit() -> None:
    model = Greybody(amplitude=sf.Uniform(0 * u.mJy, 5000 * u.mJy), temperature=2000 * u.nm)
    assert model.amplitude.prior.high == pytest.approx(5.0)
    assert model.temperature == pytest.approx(2.0)


def test_a_wrong_unit_is_refused() -> None:
    with pytest.raises(sf.SkyfoldError, match="cannot stand here"):
        Greybody(amplitude=3 * u.keV)


@pytest.mark.parametrize("value", ["two", None, object(), float("nan")])
def test_what_is_no_parameter_is_refused(value) -> None:
    with pytest.raises(sf.SkyfoldError):
        as_parameter(value)


def test_a_parameter_needs_a_prior() -> None:
    with pytest.raises(sf.SkyfoldError, match="needs a prior"):
        Parameter(3.0)  # type: ignore[arg-type]


class _Limited(Component):
    name: ClassVar[str] = "limited"
    column: Any = parameter(sf.Uniform(0.0, 1.0), unit="1e22 cm-2", description="column", limits=(0.0, 1e6))
    index: Any = parameter(2.0, description="index", limits=(-3.0, 10.0))


OUTSIDE = [-0.1, 2e6, sf.Uniform(-1.0, 1.0), sf.Normal(0.05, 0.02), sf.TruncatedNormal(0.0, 1.0, -0.5, 1.0)]


@pytest.mark.parametrize("value", OUTSIDE, ids=repr)
def test_values_and_priors_outside_the_limits_are_refused(value: Any) -> None:
    said = r"the limits of 'limited(_2)?.column' \(column\) are 0 and 1e\+06 1e22 cm-2, and "
    for make in (
        lambda: _Limited(column=value),
        lambda: _Limited().with_priors({"limited.column": value}),
        lambda: (_Limited() + _Limited(column=0.0)).with_priors({"limited_2.column": value}),
    ):
        with pytest.raises(sf.SkyfoldError, match=said):
            make()


def test_values_and_priors_inside_the_limits_are_taken() -> None:
    inside = sf.Normal(0.5, 0.05), sf.HalfNormal(1.0), sf.LogNormal(0.0, 1.0), 0.0, 1e6
    for value in inside:
        _Limited(column=value)
    # a tie, and a prior whose arguments are parameters, are not known before the fit
    centre = Parameter(sf.Uniform(-2.0, 2.0), "centre")
    _Limited(column=2.0 * centre, index=sf.Normal(centre, 1.0))


def test_energies_may_be_given_as_temperatures_wavelengths_and_frequencies() -> None:
    for given in (2.0 * u.MK, 71.9389895 * u.Angstrom, 4.16732385e16 * u.Hz):
        assert as_parameter(given, "keV") == pytest.approx(0.172347, rel=1e-5)
