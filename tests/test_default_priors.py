"""The default prior of a parameter is written once: in its field."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from skyfold import galaxy, gammaray
from skyfold.parameters import Parameter, Prior
from skyfold.xray import models

DECLARED = {
    f"{domain.__name__}.{name}": cls
    for domain in (models, gammaray, galaxy)
    for name in domain.__all__
    if is_dataclass(cls := getattr(domain, name)) and inspect.isclass(cls)
}


@pytest.mark.parametrize(
    "name", [n for n, cls in DECLARED.items() if any("parameter" in f.metadata for f in fields(cls))]
)
def test_the_text_of_a_class_leaves_default_priors_to_its_fields(name: str) -> None:
    cls = DECLARED[name]
    defaults = {repr(f.default) for f in fields(cls) if isinstance(f.default, Prior)}
    for text in (inspect.getdoc(cls) or "", *(inspect.getdoc(m) or "" for m in vars(cls).values() if callable(m))):
        assert not [d for d in defaults if f"default {d}" in text or f"default prior {d}" in text]


@pytest.mark.parametrize(
    "component",
    [
        gammaray.PointSources(gammaray.NFWSquared(1.0)),
        gammaray.Disk(),
        gammaray.Blend(gammaray.NFWSquared(1.0), gammaray.NFWSquared(1.2)),
        galaxy.Continuity(),
        models.TBabs(),
    ],
    ids=lambda c: type(c).__name__,
)
def test_a_class_with_an_init_of_its_own_takes_the_defaults_of_its_fields(component) -> None:
    for f in fields(component):
        if isinstance(f.default, Prior):
            value = getattr(component, f.name)
            assert isinstance(value, Parameter) and repr(value.prior) == repr(f.default)


def test_a_prior_of_one_number_holds_for_every_coefficient() -> None:
    (given,) = (f.default for f in fields(gammaray.Harmonics) if f.name == "coefficients")
    assert repr(given) == "Uniform(-0.05, 0.05)"
    prior = gammaray.Harmonics(order=2).coefficients.prior
    np.testing.assert_array_equal(prior.arguments()[0][1], np.full(5, -0.05))
