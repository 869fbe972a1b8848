"""A component is registered where it is written, and known everywhere from then on."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skyfold import SkyfoldError, Uniform, xray
from skyfold.naming import parameter_names
from skyfold.parameters import Value, parameter
from skyfold.xray import models
from skyfold.xray.joint_models import build_models
from skyfold.xray.models import Additive, SpectralModel, component_description, component_list
from skyfold.xray.models.catalogue import COMPONENTS, register
from skyfold.xray.models.spectral import SpectralOperator


class Ramp(Additive):
    """Spectrum that rises with energy."""

    name: ClassVar[str] = "ramp"
    slope: Value = parameter(Uniform(0.0, 3.0), unit="ph / (keV2 cm2 s)", description="slope")

    def evaluate(self, edges: jax.Array) -> jax.Array:
        return self.slope * jnp.diff(0.5 * edges**2)


class Nothing(SpectralOperator):
    """Operator that changes nothing."""

    name: ClassVar[str] = "nothing"

    def evaluate(self, edges: jax.Array) -> jax.Array:
        return self.inner.evaluate(edges)


def test_one_line_registers_a_component(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.catalogue, "COMPONENTS", {**COMPONENTS})
    assert register(Ramp) is Ramp and register(Ramp) is Ramp
    register(Nothing)
    model = xray.model("tbabs*nothing(ramp + pow)")
    assert repr(model) == "tbabs*nothing(ramp + powerlaw)"
    assert repr(model.parameters["ramp.slope"].prior) == "Uniform(0, 3)"
    assert "Uniform(0, 3)" in component_description("ramp")
    lines = {line.split()[0]: line for line in component_list().splitlines()}
    assert "additive" in lines["ramp"] and "Spectrum that rises" in lines["ramp"]
    assert "operator" in lines["nothing"]
    assert component_description("nothing").startswith("nothing (operator): Operator that changes nothing")


def test_a_name_that_is_taken_is_refused() -> None:
    class Other(Additive):
        name: ClassVar[str] = "powerlaw"

    with pytest.raises(SkyfoldError, match="name of skyfold.xray.models.powerlaws.PowerLaw already"):
        register(Other)
    assert COMPONENTS["powerlaw"] is models.PowerLaw


def test_no_component_of_the_package_is_forgotten() -> None:
    for found in pkgutil.iter_modules(models.__path__):
        module = importlib.import_module(f"{models.__name__}.{found.name}")
        for name, cls in inspect.getmembers(module, inspect.isclass):
            if issubclass(cls, SpectralModel) and cls.__module__ == module.__name__ and "name" in vars(cls):
                assert COMPONENTS[cls.name] is cls
                assert getattr(models, name) is cls and name in models.__all__


@pytest.mark.parametrize("name", list(COMPONENTS))
def test_a_default_prior_is_written_in_its_field_alone(name: str) -> None:
    text = inspect.getdoc(COMPONENTS[name])
    assert text is not None and "Uniform(" not in text


def test_the_names_of_the_package_are_its_components_and_what_lists_them() -> None:
    assert "PowerLaw" in dir(models) and "jnp" not in dir(models)
    assert len(set(models.__all__)) == len(models.__all__)


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("tbabs", "nH", -0.1),
        ("ztbabs", "Redshift", -1.0),
        ("powerlaw", "PhoIndex", 11.0),
        ("gaussian", "Sigma", -0.1),
        ("gaussian", "LineE", -1.0),
        ("bbodyrad", "kT", 0.0),
        ("diskbb", "norm", -1.0),
        ("edge", "MaxTau", -1.0),
        ("constant", "factor", -1.0),
    ],
)
def test_values_outside_the_hard_limits_are_refused(name: str, parameter: str, value: float) -> None:
    model = xray.model(name)
    with pytest.raises(SkyfoldError, match=rf"the limits of '{name}.{parameter}' .* give a value inside"):
        model.with_values({f"{name}.{parameter}": value})


@pytest.mark.parametrize("name", list(COMPONENTS))
def test_every_parameter_of_a_component_has_hard_limits(name: str) -> None:
    for key, entry in parameter_names([xray.model(name)]).items():
        assert np.isfinite(entry.label.limits).all() or key in ("gaussian.norm", "zgauss.norm"), key


@pytest.mark.parametrize(
    "given", [{"values": {"constant_2.factor": -1.0}}, {"values": {"tbabs.nH": -0.1}}, {"redshift": -2.0}]
)
def test_values_of_jobs_outside_the_hard_limits_are_refused(given: dict) -> None:
    with pytest.raises(SkyfoldError, match=r"the limits of '(constant_2.factor|tbabs.nH|zgauss.Redshift)'"):
        build_models("constant*tbabs*(powerlaw + zgauss)", 2, {}, **{"values": {}, **given})


@pytest.mark.parametrize("name", ["bbody.kT", "bbodyrad.kT", "bremss.kT", "cutoffpl.HighECut"])
def test_a_prior_of_what_is_positive_may_begin_at_zero(name: str) -> None:
    """As published priors of temperatures do, Uniform(0, 5); XSPEC's limit of kT is 1e-4."""
    model = xray.model(name.partition(".")[0])
    assert model.with_priors({name: Uniform(0, 5)}) is not None
    with pytest.raises(SkyfoldError, match="the limits of"):
        model.with_priors({name: Uniform(-1, 5)})
    with pytest.raises(SkyfoldError, match="the limits of"):
        model.with_values({name: 0.0})
