"""Comparison of models: pointwise log-likelihoods, LOO and WAIC against exact answers, tables of several results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from toy_results import chains, weighted
from toys import Greybody, image, photometry, sky

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.component import Component
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.observation import Observation
from skyfold.parameters import Value, parameter
from skyfold.results.comparison import ComparisonWarning, compare

N, SD, WIDTH = 40, 1.3, 2.0
DATA = np.random.default_rng(5).normal(0.7, SD, N)


class Line(Component):
    name: ClassVar[str] = "line"
    mean: Value = parameter(sf.Normal(0.0, WIDTH))
    slope: Value = parameter(0.0)

    def evaluate(self, grid: jax.Array) -> jax.Array:
        return self.mean + self.slope * grid


class Points(Observation):
    x: np.ndarray

    def predict(self, model: Component) -> jax.Array:
        return model.evaluate(self.x)


class Total(Points):
    """Data with one log-likelihood for all."""

    def log_likelihood(self, expected: jax.Array) -> jax.Array:
        return -0.5 * jnp.sum((self.data - expected) ** 2)


class Correlated(Gaussian):
    independent: ClassVar[bool] = False


def points(data: np.ndarray = DATA, kind: type = Points, likelihood: type = Gaussian) -> Observation:
    return kind(likelihood(data, np.full(len(data), SD)), Annotation("points"), np.linspace(-1, 1, len(data)))


def fitted(model: Component, data: np.ndarray = DATA, **changes: object) -> sf.Result:
    posterior = sf.Posterior((model, points(data)))
    return sf.Result(posterior, replace(weighted(posterior, n=6000), **changes))


def exact_loo(data: np.ndarray = DATA) -> np.ndarray:
    """Log predictive density of each datum given the others, for a normal mean with a normal prior."""
    precision = 1 / WIDTH**2 + (len(data) - 1) / SD**2
    mean = (data.sum() - data) / SD**2 / precision
    return st.norm.logpdf(data, mean, np.sqrt(SD**2 + 1 / precision))


@pytest.fixture(scope="module")
def flat() -> sf.Result:
    return fitted(Line(), log_evidence=-70.0, log_evidence_error=0.03)


@pytest.fixture(scope="module")
def tilted() -> sf.Result:
    return fitted(Line(slope=sf.Normal(0, 1)), log_evidence=-71.5, log_evidence_error=0.04)


def test_pointwise_sums_to_the_likelihood() -> None:
    posterior = sf.Posterior((sky(), image()), (Greybody(), photometry(offset=sf.Normal(0, 0.1))))
    z = posterior.draw_prior(3)
    found = posterior.pointwise(z)
    assert {name: v.shape for name, v in found.items()} == {"image": (3, 400), "bands": (3, 7)}
    total = sum(np.asarray(v).sum(axis=-1) for v in found.values())
    np.testing.assert_allclose(total, posterior.log_likelihood(z), rtol=1e-12)
    assert posterior.pointwise(z[0])["bands"].shape == (7,)


@pytest.mark.parametrize("changes", [{"kind": Total}, {"likelihood": Correlated}], ids=["total", "correlated"])
def test_data_that_are_not_independent_are_refused(changes) -> None:
    posterior = sf.Posterior((Line(), points(**changes)))
    with pytest.raises(sf.SkyfoldError, match="'points' are not conditionally independent"):
        posterior.pointwise(np.zeros(1))
    result = sf.Result(posterior, weighted(posterior, n=300))
    with pytest.raises(sf.SkyfoldError, match="not conditionally independent"):
        result.loo()
    assert "log_likelihood" not in result.to_inference_data().groups()


def test_loo_and_waic_are_exact_on_a_normal_mean(flat) -> None:
    loo, waic = flat.loo(), flat.waic()
    exact = exact_loo()
    assert loo.elpd == pytest.approx(exact.sum(), abs=0.1)
    np.testing.assert_allclose(loo.pointwise["points"], exact, atol=0.02)
    assert loo.se == pytest.approx(np.sqrt(N * exact.var()), rel=0.02)
    assert waic.elpd == pytest.approx(exact.sum(), abs=0.15)
    assert 0.6 < loo.p_eff < 1.4
    assert loo.khat["points"].shape == (N,) and np.all(loo.khat["points"] < 0.5)
    assert loo.reliable and waic.reliable and waic.khat == {}
    assert repr(loo).startswith("elpd (LOO) = ")


def test_an_outlier_warns() -> None:
    data = DATA[:12].copy()
    data[2] = 16.0
    result = fitted(Line(), data)
    with pytest.warns(ComparisonWarning, match=r"k-hat is above 0.7 for 1 of 12 data .*points: 2"):
        loo = result.loo()
    assert not loo.reliable and loo.khat["points"][2] > 0.7 and "warning: Pareto k-hat" in repr(loo)
    with pytest.warns(ComparisonWarning, match="use loo"):
        assert not result.waic().reliable


def test_chains_give_the_same(flat) -> None:
    loo = sf.Result(flat.posterior, chains(flat.posterior, n=500)).loo()
    assert loo.elpd == pytest.approx(exact_loo().sum(), abs=0.15)


def test_arviz_takes_the_inference_data() -> None:
    import arviz as az

    posterior = sf.Posterior((sky(), image(n=60)), (Greybody(), photometry()))
    result = sf.Result(posterior, chains(posterior, n=250))
    data = result.to_inference_data()
    assert data.log_likelihood["image"].shape == (4, 250, 60)
    total = data.log_likelihood["image"].sum("image_dim_0") + data.log_likelihood["bands"].sum("bands_dim_0")
    np.testing.assert_allclose(total, data.sample_stats["total_log_likelihood"], rtol=1e-10)
    own = result.loo()
    assert sum(p.sum() for p in own.pointwise.values()) == pytest.approx(own.elpd)
    theirs = az.loo(data, var_name="image", pointwise=True)
    np.testing.assert_allclose(theirs.loo_i, own.pointwise["image"], rtol=1e-6)


def test_by_evidence(flat, tilted) -> None:
    table = compare({"tilted": tilted, "flat": flat})
    assert table.names == ("flat", "tilted")
    row = table["tilted"]
    assert row["difference"] == pytest.approx(-1.5) and row["difference_error"] == pytest.approx(0.05)
    assert row["bayes_factor"] == pytest.approx(np.exp(-1.5))
    assert row["bayes_factor_error"] == pytest.approx(0.05 * np.exp(-1.5))
    p = 1 / (1 + np.exp(1.5))
    assert row["probability"] == pytest.approx(p) and row["probability_error"] == pytest.approx(p * (1 - p) * 0.05)
    assert sum(r["probability"] for r in table.rows) == pytest.approx(1)
    assert table["flat"]["bayes_factor"] == 1 and table["flat"]["difference_error"] == 0
    assert "ln evidence, best first" in repr(table) and "-71.50" in repr(table)
    astropy = table.to_table()
    assert list(astropy["name"]) == ["flat", "tilted"] and astropy.meta["by"] == "evidence"


def test_by_loo_and_waic(flat, tilted) -> None:
    for by in ("loo", "waic"):
        table = compare({"flat": flat, "tilted": tilted}, by=by)
        best, other = table.rows
        apart = getattr(tilted, by)().pointwise["points"] - getattr(flat, by)().pointwise["points"]
        sign = 1 if best["name"] == "flat" else -1
        assert other["difference"] == pytest.approx(sign * apart.sum()) and other["difference"] < 0
        assert other["difference_se"] == pytest.approx(np.sqrt(N * apart.var()))
        assert best["difference"] == best["difference_se"] == 0
        assert best["weight"] + other["weight"] == pytest.approx(1)
        assert all("predict the data alike" in m for m in table.messages) and len(table.messages) == 1
    assert other["elpd"] == pytest.approx(tilted.waic().elpd if sign == 1 else flat.waic().elpd)


def test_loo_finds_the_better_model() -> None:
    data = DATA + 3.0 * np.linspace(-1, 1, N)
    table = compare([fitted(Line(), data), fitted(Line(slope=sf.Normal(0, 5)), data)], by="loo")
    assert table.names == ("line (2)", "line")
    assert table["line"]["difference"] < -2 * table["line"]["difference_se"]


def test_what_cannot_be_compared(flat, tilted) -> None:
    with pytest.raises(sf.SkyfoldError, match="different data: points .40 data. against points .40 data., with other"):
        compare([flat, fitted(Line(), DATA + 1e-9)], by="loo")
    with pytest.raises(sf.SkyfoldError, match="different data"):
        compare([flat, fitted(Line(), DATA[1:])])
    with pytest.raises(sf.SkyfoldError, match="No evidence is known of 'chains'"):
        compare({"a": flat, "chains": sf.Result(tilted.posterior, chains(tilted.posterior, n=20))})
    with pytest.raises(sf.SkyfoldError, match="two results"):
        compare([flat])
    with pytest.raises(sf.SkyfoldError, match="not by 'bic'"):
        compare([flat, tilted], by="bic")
    with pytest.raises(sf.SkyfoldError, match="is a point"):
        flat.posterior.fit("map").loo()


def test_doubts_are_carried_along(flat, tilted) -> None:
    bad = sf.Result(tilted.posterior, replace(tilted.draws, converged=False))
    assert compare({"flat": flat, "bad": bad}).messages == ("the draws of 'bad' have not converged",)
    assert "warning: the draws of 'bad'" in repr(compare({"flat": flat, "bad": bad}, by="loo"))


def test_a_loaded_result(flat, tilted, tmp_path: Path) -> None:
    path = flat.save(tmp_path / "flat.nc")
    alone = sf.Result.load(path)
    assert compare([alone, tilted])["line"]["log_evidence"] == -70.0
    assert "log_likelihood" not in alone.to_inference_data().groups()
    with pytest.raises(sf.SkyfoldError, match="Result.load"):
        alone.loo()
    assert sf.Result.load(path, posterior=flat.posterior).loo().elpd == flat.loo().elpd


def test_models_that_predict_alike_are_said_to_be_alike() -> None:
    one, two = fitted(Line(mean=sf.Normal(0.0, WIDTH))), fitted(Line(mean=sf.Normal(0.05, WIDTH)))
    told = compare({"one": one, "two": two}, by="loo")
    assert any("predict the data alike" in m for m in told.messages) and "warning:" in repr(told)
    other = fitted(Line(mean=sf.Normal(5.0, 0.1)))
    assert not any("alike" in m for m in compare({"one": one, "other": other}, by="loo").messages)
