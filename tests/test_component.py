"""Components: algebra, names, values and priors by name, text."""

from __future__ import annotations

from typing import ClassVar

import jax
import numpy as np
import pytest
from toys import Greybody, Template

import skyfold as sf
from skyfold.component import Component
from skyfold.naming import parameter_names
from skyfold.parameters import Parameter, Value, parameter
from skyfold.priors import Uniform


class Screen(Component):
    name: ClassVar[str] = "screen"
    kind: ClassVar[str] = "multiplicative"
    depth: Value = parameter(Uniform(0.0, 1.0), description="optical depth")

    def evaluate(self, grid: jax.Array) -> jax.Array:
        return np.exp(-self.depth) * np.ones(np.shape(grid))


def test_names_count_repeated_components() -> None:
    model = Screen() * (Greybody() + Greybody())
    assert list(model.parameters) == [
        "screen.depth",
        "greybody.amplitude",
        "greybody.temperature",
        "greybody_2.amplitude",
        "greybody_2.temperature",
    ]


def test_a_shared_parameter_has_one_name() -> None:
    t = Parameter(Uniform(1, 2))
    model = Greybody(temperature=t) + Greybody(temperature=t)
    assert "greybody_2.temperature" not in model.parameters
    assert model.free_parameters == ("greybody.amplitude", "greybody.temperature", "greybody_2.amplitude")


def test_one_source_in_two_models_keeps_its_names() -> None:
    source = Greybody()
    assert list(parameter_names([source, Screen() * source])) == [
        "greybody.amplitude",
        "greybody.temperature",
        "screen.depth",
    ]


def test_own_names_and_inner_names() -> None:
    width = Parameter(Uniform(0, 1), name="width")
    model = Greybody(amplitude=sf.Normal(Parameter(sf.Normal(0, 1)), width), temperature=2 * Parameter(Uniform(0, 1)))
    assert set(model.free_parameters) == {
        "greybody.amplitude",
        "greybody.amplitude.loc",
        "width",
        "greybody.temperature.1",
    }


def test_clashing_names_are_refused() -> None:
    with pytest.raises(sf.SkyfoldError, match="called 'x'"):
        _ = Greybody(
            amplitude=Parameter(Uniform(0, 1), name="x"), temperature=Parameter(Uniform(0, 1), name="x")
        ).parameters


def test_with_values_fixes_shared_and_tied_ones() -> None:
    n = Parameter(Uniform(0, 1))
    model = (Greybody(amplitude=n) + Greybody(amplitude=0.5 * n)).with_values({"greybody.amplitude": 3.0})
    assert model.parameters["greybody.amplitude"] == 3.0
    assert float(model.parameters["greybody_2.amplitude"]) == 1.5


def test_with_priors_frees_a_fixed_parameter() -> None:
    model = Greybody(amplitude=1.0).with_priors({"greybody.amplitude": Uniform(0, 2), "greybody.temperature": 4.0})
    assert model.free_parameters == ("greybody.amplitude",)
    assert model.parameters["greybody.temperature"] == 4.0


def test_values_of_an_unchanged_original_stay() -> None:
    model = Greybody()
    model.with_values({"greybody.amplitude": 1.0})
    assert "greybody.amplitude" in model.free_parameters


def test_an_unknown_name_is_named_with_its_neighbours() -> None:
    with pytest.raises(sf.SkyfoldError, match="Did you mean 'greybody.amplitude'"):
        Greybody().with_values({"greybody.amplitud": 1.0})


def test_light_times_light_and_light_plus_factor_are_refused() -> None:
    with pytest.raises(sf.SkyfoldError, match="add them"):
        Greybody() * Greybody()
    with pytest.raises(sf.SkyfoldError, match="dimensionless"):
        Greybody() + Screen()


def test_sums_and_products_are_flat_and_evaluate() -> None:
    model = (
        Screen(depth=0.0) * Screen(depth=np.log(2.0)) * (Greybody(1.0, 5.0) + Greybody(2.0, 5.0) + Greybody(3.0, 5.0))
    )
    assert len(model.parts) == 3
    assert len(model.parts[2].parts) == 3
    assert float(model.evaluate(np.array([5.0]))[0]) == pytest.approx(3.0)


def test_text() -> None:
    model = Screen() * (Greybody() + Template(np.ones(3)))
    assert repr(model) == "screen*(greybody + template)"
    assert "Uniform(0, 1)" in str(model)
    assert "optical depth" in model.table()
    assert model.latex() == r"\mathrm{screen} \times \left(\mathrm{greybody} + \mathrm{template}\right)"
    assert [line.strip("├└│─ ") for line in model.tree().splitlines()] == [
        "product",
        "screen",
        "sum",
        "greybody",
        "template",
    ]


def test_ties_are_written_with_names() -> None:
    n = Parameter(Uniform(0, 1))
    table = (Greybody(amplitude=n) + Greybody(amplitude=0.5 * n + 1)).table()
    assert "((0.5 * greybody.amplitude) + 1)" in table


def test_hyperparameters_can_be_fixed_and_given_other_priors() -> None:
    model = Greybody(temperature=sf.Normal(Parameter(sf.Normal(0, 1)), 0.1))
    fixed = model.with_values({"greybody.temperature.loc": 1.5})
    assert fixed.free_parameters == ("greybody.amplitude", "greybody.temperature")
    assert fixed.temperature.prior.loc == 1.5
    assert fixed.temperature.token == model.temperature.token
    freed = model.with_priors({"greybody.temperature.loc": Uniform(1, 2)})
    assert freed.temperature.prior.loc.prior.high == 2.0


def test_an_own_name_survives_another_prior() -> None:
    model = Greybody(amplitude=Parameter(Uniform(0, 1), name="bright")).with_priors({"bright": Uniform(0, 2)})
    assert "bright" in model.free_parameters


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.with_values(None),
        lambda m: m.with_values([1, 2]),
        lambda m: m.with_values({"greybody.amplitude": Uniform(0, 1)}),
        lambda m: m.with_values({"greybody.amplitude": np.inf}),
        lambda m: m.with_priors({"greybody.amplitude": [1, 2]}),
        lambda m: m.with_priors({"greybody.amplitude": sf.Normal(np.zeros(2), 1)}),
        lambda m: m.with_priors({"greybody.amplitude": None}),
    ],
)
def test_bad_changes_are_refused(change) -> None:
    with pytest.raises(sf.SkyfoldError):
        change(Greybody())


def test_different_ties_in_two_models_are_two_components() -> None:
    n = Parameter(Uniform(0, 1), name="n")
    names = parameter_names([Greybody(amplitude=2 * n, temperature=5.0), Greybody(amplitude=1 - n, temperature=5.0)])
    assert "greybody_2.amplitude" in names
