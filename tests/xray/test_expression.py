"""The expression language: what it accepts, and what it says otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from skyfold import SkyfoldError, xray
from skyfold.xray.expression import ExpressionError
from skyfold.xray.models import (
    COMPONENTS,
    BlackbodyRad,
    PowerLaw,
    TBabs,
    component_class,
    component_description,
    component_list,
    component_parameters,
    component_summary,
)

EDGES = np.geomspace(0.3, 10.0, 30)


@pytest.mark.parametrize(
    ("expression", "shown"),
    [
        ("powerlaw", "powerlaw"),
        ("TBabs*(PowerLaw+BBodyRad)", "tbabs*(powerlaw + bbodyrad)"),
        ("  tbabs * ( powerlaw\n + bbodyrad ) ", "tbabs*(powerlaw + bbodyrad)"),
        ("tbabs(powerlaw+bbody)", "tbabs*(powerlaw + bbody)"),
        ("tbabs*phabs(powerlaw+bbody)", "tbabs*phabs*(powerlaw + bbody)"),
        ("(powerlaw+bbody)(tbabs)", "(powerlaw + bbody)*tbabs"),
        ("tbabs*powerlaw+bbody", "tbabs*powerlaw + bbody"),
        ("tbabs(powerlaw)+gauss", "tbabs*powerlaw + gaussian"),
        ("po+pow+gauss", "powerlaw + powerlaw + gaussian"),
        ("constant*tbabs*(const*po+edge*diskbb)", "constant*tbabs*(constant*powerlaw + edge*diskbb)"),
        ("(((powerlaw)))", "powerlaw"),
        ("tbabs", "tbabs"),
        ("(constant*phabs+constant)*powerlaw", "(constant*phabs + constant)*powerlaw"),
    ],
)
def test_expressions(expression: str, shown: str) -> None:
    assert repr(xray.model(expression)) == shown


@pytest.mark.parametrize("name", list(COMPONENTS))
def test_every_component_by_name(name: str) -> None:
    model = xray.model(name.upper())
    assert type(model) is COMPONENTS[name]
    assert [n.split(".")[1] for n in model.parameters] == [p.name for p in component_parameters(COMPONENTS[name])]


def test_same_as_written_in_python() -> None:
    values = {"tbabs.nH": 0.3, "powerlaw.PhoIndex": 1.8, "powerlaw.norm": 1e-3, "bbodyrad.kT": 0.2}
    values["bbodyrad.norm"] = 50.0
    parsed = xray.model("tbabs*(powerlaw+bbodyrad)").with_values(values)
    written = TBabs(0.3) * (PowerLaw(1.8, 1e-3) + BlackbodyRad(0.2, 50.0))
    np.testing.assert_array_equal(parsed.photon_flux(EDGES), written.photon_flux(EDGES))


def test_repeated_components_have_parameters_of_their_own() -> None:
    model = xray.model("powerlaw + powerlaw")
    assert list(model.free_parameters) == [
        "powerlaw.PhoIndex",
        "powerlaw.norm",
        "powerlaw_2.PhoIndex",
        "powerlaw_2.norm",
    ]


def test_factor_alone() -> None:
    factor = xray.model("tbabs").with_values({"tbabs.nH": 0.1}).factor(EDGES)
    assert np.all((factor > 0) & (factor < 1))


def test_tables_reach_the_components_that_take_them() -> None:
    nH = {"phabs.nH": 1.0}
    plain = xray.model("phabs").with_values(nH).factor(EDGES)
    other = xray.model("phabs", abundances="ANGR", cross_sections="bcmc").with_values(nH).factor(EDGES)
    assert np.abs(plain / other - 1).max() > 0.01
    xray.model("powerlaw", abundances="angr")


@pytest.mark.parametrize("tables", [{"abundances": "solar"}, {"cross_sections": "verner"}, {"abundances": None}])
def test_unknown_tables(tables: dict) -> None:
    with pytest.raises(ExpressionError, match=r"There is no .*; choose one of .*(wilm|vern)"):
        xray.model("powerlaw", **tables)


@pytest.mark.parametrize(
    ("expression", "message", "place"),
    [
        ("", "is empty", 0),
        ("   ", "is empty", 0),
        ("tbabs*powerlw", "no component 'powerlw'. Did you mean powerlaw", 6),
        ("tbabs*apec", "There are: powerlaw, ", 6),
        ("bb", "may stand for bbody or bbodyrad", 0),
        ("p", "no component 'p'", 0),
        ("tbabs*(powerlaw", "'(' is never closed", 6),
        ("tbabs*powerlaw)", "')' closes no bracket", 14),
        ("tbabs*()", "missing after '('", 7),
        ("powerlaw+", "missing after '+'", 9),
        ("tbabs*", "missing after '*'", 6),
        ("tbabs*(", "missing after '('", 7),
        ("*powerlaw", "A component or '(' is missing.", 0),
        ("powerlaw+*bbody", "missing after '+'", 9),
        ("powerlaw bbody", "'+' or '*' is missing", 9),
        ("tbabs(powerlaw)phabs", "'+' or '*' is missing", 15),
        ("2*powerlaw", "write constant", 0),
        ("powerlaw*2.5e-3", "'constant.factor': 2.5e-3", 9),
        ("powerlaw 2", "write constant", 9),
        ("powerlaw-bbody", "'-' has no meaning", 8),
        ("-powerlaw", "'-' has no meaning", 0),
        ("powerlaw,bbody", "',' has no meaning", 8),
        ("tbabs+powerlaw", "cannot be added", 5),
        ("powerlaw+tbabs*edge", "'tbabs*edge' is a factor", 8),
        ("powerlaw*bbody", "both spectra", 8),
        ("powerlaw(bbody)", "both spectra", 8),
        ("tbabs*cflux(powerlaw)", "'cflux' is a convolution model", 6),
        ("gsmooth*powerlaw", "not available yet", 0),
        ("(" * 60 + "powerlaw" + ")" * 60, "nested", 50),
        ("__import__('os')", "no component '__import__'", 0),
    ],
)
def test_errors_show_the_place(expression: str, message: str, place: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        xray.model(expression)
    text = str(caught.value)
    assert message in text
    shown, caret = text.splitlines()[-2:]
    assert shown == "    " + " ".join(expression.split())
    assert caret == " " * (4 + place) + "^"


def test_not_text() -> None:
    with pytest.raises(ExpressionError, match="is text such as"):
        xray.model(None)  # type: ignore[arg-type]
    assert issubclass(ExpressionError, SkyfoldError)


def test_catalogue() -> None:
    import astropy.units as u

    from skyfold.parameters import Prior

    listing = component_list()
    for name, cls in COMPONENTS.items():
        assert name in listing and component_summary(cls) in listing
        assert component_class(name.capitalize()) is cls
        description = component_description(name)
        for p in component_parameters(cls):
            assert p.name in description
            assert p.description
            u.Unit(p.unit)
            assert isinstance(p.default, Prior | float)
    with pytest.raises(SkyfoldError, match="Did you mean"):
        component_description("difkbb")
