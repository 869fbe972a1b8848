"""Scans: exact on linear models, the same from every side where there are several maxima, and their figures."""

from __future__ import annotations

import numpy as np
import pytest
from toy_profiles import latent, least_squares, line, twofold

import skyfold as sf
from skyfold.profiles.scan import scan


def test_one_parameter_of_a_linear_model() -> None:
    best, covariance = least_squares()
    values = best[1] + np.sqrt(covariance[1, 1]) * np.linspace(-3, 3, 13)
    found = scan(line(), {"line.slope": values})
    assert found.converged and not found.messages
    np.testing.assert_allclose(found.delta, np.linspace(-3, 3, 13) ** 2, atol=1e-6)
    np.testing.assert_allclose(found.fitted["line.slope"], values, rtol=1e-10)
    # the other parameter follows the regression line
    follows = best[0] + covariance[0, 1] / covariance[1, 1] * (values - best[1])
    np.testing.assert_allclose(found.fitted["line.offset"], follows, atol=1e-6)
    assert found.best["line.offset"] == pytest.approx(best[0], rel=1e-6)


def test_two_parameters_with_nothing_left_to_fit() -> None:
    best, covariance = least_squares()
    sd = np.sqrt(np.diagonal(covariance))
    a, b = (best[i] + sd[i] * np.linspace(-2, 2, n) for i, n in ((0, 5), (1, 7)))
    found = scan(line(), {"line.offset": a, "line.slope": b})
    assert found.delta.shape == (5, 7) and found.converged
    offset = np.stack(np.meshgrid(a - best[0], b - best[1], indexing="ij"), axis=-1)
    expected = np.einsum("abi,ij,abj->ab", offset, np.linalg.inv(covariance), offset)
    np.testing.assert_allclose(found.delta, expected, rtol=1e-6, atol=1e-6)


def test_the_grid_reaches_bounds_exactly() -> None:
    found = scan(line(slope=sf.Uniform(0.0, 2.0)), {"line.slope": [0.0, 1.0, 2.0]})
    np.testing.assert_allclose(found.fitted["line.slope"], [0.0, 1.0, 2.0], atol=1e-12)
    assert np.all(np.isfinite(found.statistic))


def test_a_better_fit_than_the_start_is_said() -> None:
    posterior = twofold(0.5)
    values = np.linspace(-3, 3, 25)
    whole = scan(posterior, {"twofold.x": values})
    lame = scan(posterior, {"twofold.x": values}, start=latent(posterior, -2.0))
    assert any("better by" in m for m in lame.messages) and not whole.messages
    np.testing.assert_allclose(lame.delta, whole.delta, atol=1e-5)
    exact = ((values**2 - 4.0) / 0.5) ** 2 + ((values - 0.5) / 3.0) ** 2
    np.testing.assert_allclose(whole.statistic, exact, rtol=1e-9)


def test_wrong_grids() -> None:
    with pytest.raises(sf.SkyfoldError, match="outside its prior, which reaches from -10 to 10"):
        scan(line(), {"line.slope": [0.0, 11.0]})
    with pytest.raises(sf.SkyfoldError, match="Did you mean 'line.slope'"):
        scan(line(), {"line.slop": [0.0]})
    with pytest.raises(sf.SkyfoldError, match="finite numbers"):
        scan(line(), {"line.slope": [0.0, np.nan]})
    with pytest.raises(sf.SkyfoldError, match="at least one"):
        scan(line(), {})


def test_tables_and_figures(tmp_path) -> None:
    best, covariance = least_squares()
    sd = np.sqrt(np.diagonal(covariance))
    a, b = (best[i] + sd[i] * np.linspace(-3, 3, 11) for i in (0, 1))
    one, two = scan(line(), {"line.slope": b}), scan(line(), {"line.offset": a, "line.slope": b})
    table = two.table()
    assert len(table) == 121 and table.units["line.offset"] == "m"
    assert table.to_astropy().meta["statistic_name"] == "chi2"
    figure = one.plot()
    assert figure.axes[0].get_xlabel() and "chi2" in figure.axes[0].get_ylabel()
    assert {t.get_text() for t in figure.axes[0].texts} == {"68%", "90%", "99%"}
    figure.savefig(tmp_path / "one.png", dpi=50)
    two.plot(levels=[1.0, 4.0]).savefig(tmp_path / "two.png", dpi=50)
    text = str(two)
    assert "line.offset" in text and "chi2" in text
