"""Priors as text."""

from __future__ import annotations

import numpy as np
import pytest

from skyfold import priors
from skyfold.errors import SkyfoldError
from skyfold.jobs.prior_text import NAMES, parse_number, parse_prior
from skyfold.parameters import Prior


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Uniform(0, 1)", priors.Uniform(0, 1)),
        (" Uniform( low=0 , high=1.5e1 ) ", priors.Uniform(0, 15)),
        ("sf.LogUniform(1e-6, 1e-3)", priors.LogUniform(1e-6, 1e-3)),
        ("Normal(-1, scale=+0.1)", priors.Normal(-1, 0.1)),
        ("TruncatedNormal(1, 0.5, low=0, high=inf)", priors.TruncatedNormal(1, 0.5, 0, np.inf)),
        ("TruncatedNormal(1, 0.5, low=-inf, high=2)", priors.TruncatedNormal(1, 0.5, -np.inf, 2)),
        ("StudentT(3)", priors.StudentT(3)),
        ("HalfNormal()", priors.HalfNormal()),
    ],
)
def test_good(text: str, expected: Prior) -> None:
    found = parse_prior(text)
    assert type(found) is type(expected)
    assert found.arguments() == expected.arguments()


def test_nested_lists_make_vectors() -> None:
    found = parse_prior("MultivariateNormal([0, 1], [[2, 0.5], [0.5, 1]])")
    assert isinstance(found, priors.MultivariateNormal)
    np.testing.assert_array_equal(found.covariance, [[2, 0.5], [0.5, 1]])
    assert parse_prior("Dirichlet((1, 1, 1))").shape == (3,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a prior"),
        ("1.5", "is not a prior"),
        ("Uniform", "is not a prior"),
        ("Uniform(0, 1", "is not a prior"),
        ("Uniform(0, 1); 1", "is not a prior"),
        ("Uniform(0, 2*3)", "is not a prior"),
        ("Uniform(0, True)", "is not a prior"),
        ("Uniform(0, 1j)", "is not a prior"),
        ("Uniform(0, 'a')", "is not a prior"),
        ("Uniform(0, x)", "is not a prior"),
        ("Uniform(*[0, 1])", "is not a prior"),
        ("Uniform(**{'low': 0})", "is not a prior"),
        ("Uniform(0, -[1])", "is not a prior"),
        ("__import__('os').system('true')", "is not a prior"),
        ("os.system(1)", "is not a prior"),
        ("eval(1)", "'eval' is no prior here"),
        ("NumPyroPrior(1)", "'NumPyroPrior' is no prior here"),
        ("uniform(0, 1)", "Did you mean 'Uniform'"),
        ("Uniform(0)", "Uniform(low, high)"),
        ("Uniform(0, 1, 2)", "Uniform(low, high)"),
        ("Uniform(0, 1, low=2)", "Uniform(low, high)"),
        ("Uniform(0, width=2)", "Uniform(low, high)"),
        ("Uniform(1, 0)", "low must lie below high"),
        ("Uniform(0, inf)", "finite"),
        ("LogUniform(0, 1)", "low must be positive"),
        ("Normal(0, -1)", "scale must be positive"),
        ("Dirichlet([])", "empty"),
        ("MultivariateNormal([0, 0], [[1, 0], [0]])", "differ in length"),
        ("Uniform(" + "[" * 4000 + "]" * 4000 + ")", "prior"),
        ("Uniform(" + "-" * 5000 + "1, 2)", "prior"),
        ("Uniform(0, " + "1" * 20_000 + ")", "too long"),
        ("Uniform(0, " + "1" * 400 + ")", "is not a prior"),
    ],
)
def test_bad(text: str, words: str) -> None:
    with pytest.raises(SkyfoldError) as error:
        parse_prior(text)
    assert words in str(error.value)
    assert len(str(error.value)) < 600


def test_every_prior_may_be_written() -> None:
    shipped = {
        name
        for name, value in vars(priors).items()
        if isinstance(value, type) and issubclass(value, Prior) and value.__module__ == priors.__name__
    }
    assert set(NAMES) == {name for name in shipped if not name.startswith("_")} - {"NumPyroPrior"}


@pytest.mark.parametrize("text", ["", "a", "nan", "inf", "1,5", "0x10"])
def test_bad_number(text: str) -> None:
    with pytest.raises(SkyfoldError, match="--set powerlaw.norm"):
        parse_number(text, "--set powerlaw.norm")
