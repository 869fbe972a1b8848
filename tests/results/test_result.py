"""Result: tables, statistic, goodness, derived quantities and what a reader is told."""

from __future__ import annotations

import json
from dataclasses import replace

import astropy.units as u
import jax.numpy as jnp
import numpy as np
import pytest
from toy_results import TRUTH, chains, source, toy_spectrum, weighted
from toys import Greybody, direct, image, photometry, sky

import skyfold as sf
from skyfold.results.predictive import in_chunks


@pytest.fixture(scope="module")
def bands() -> sf.Result:
    posterior = sf.Posterior((Greybody(), photometry()))
    return sf.Result(posterior, weighted(posterior, {"greybody.amplitude": 4.0, "greybody.temperature": 5.5}))


@pytest.fixture(scope="module")
def counts() -> sf.Result:
    posterior = sf.Posterior((source(), toy_spectrum(background=True)))
    return sf.Result(posterior, weighted(posterior, TRUTH))


def point(posterior: sf.Posterior, method: str = "mle") -> sf.Result:
    return posterior.fit(method)


def test_samples_and_weights(bands) -> None:
    assert bands.samples["greybody.amplitude"].shape == bands.weights.shape == (1, 3000)
    assert bands.weights.sum() == pytest.approx(1)
    values = bands.posterior.values(bands.draws.latent[0, 17])
    assert bands.samples["greybody.temperature"][0, 17] == pytest.approx(float(values["greybody.temperature"]))


def test_equal_weight_draws_repeat_and_agree(bands) -> None:
    equal = bands.equal_weight["greybody.amplitude"].ravel()
    marginal = bands.marginals[0]
    assert np.median(equal) == pytest.approx(marginal.median, abs=0.05 * marginal.sd)
    assert equal.std() == pytest.approx(marginal.sd, rel=0.05)
    again = sf.Result(bands.posterior, bands.draws)
    np.testing.assert_array_equal(again.equal_weight_indices(), bands.equal_weight_indices())
    assert len(bands.equal_weight_indices(50)) == 50


def test_equal_weight_draws_of_chains_keep_their_order() -> None:
    posterior = direct([1.0], [0.5], sf.Normal(0, 1))
    result = sf.Result(posterior, chains(posterior, n=100))
    np.testing.assert_array_equal(result.equal_weight["vector.x"], result.samples["vector.x"])
    assert result.equal_weight["vector.x"].shape == (4, 100)
    index = result.equal_weight_indices(40)
    assert len(np.unique(index)) == 40 and np.all(np.diff(index) == 10)


def test_statistic_at_the_maximum_of_the_likelihood(bands, counts) -> None:
    z = bands.draws.best
    observation = photometry()
    expected = np.asarray(bands.posterior.predict(z)["bands"])
    chi2 = np.sum(((observation.data - expected) / observation.likelihood.sigma) ** 2)
    assert bands.statistic == {"name": "chi2", "value": pytest.approx(chi2), "n_data": 7, "dof": 5}
    assert bands.best["greybody.amplitude"] == pytest.approx(float(bands.posterior.values(z)["greybody.amplitude"]))
    assert counts.statistic["name"] == "C-stat" and counts.statistic["dof"] == 156
    cash = float(counts.posterior.statistics(counts.draws.best)["detector"])
    assert counts.statistic["value"] == pytest.approx(cash)


def test_table_of_several_observations() -> None:
    model = Greybody()
    posterior = sf.Posterior((model, photometry()), (sky(), image()))
    result = sf.Result(posterior, weighted(posterior, n=600))
    assert result.statistic["name"] == "chi2+C-stat"
    assert result.statistic["value"] == pytest.approx(sum(result.statistics.values()))
    assert set(result.goodness.observations) == {"bands", "image"}
    assert set(result.to_dict()["statistic"]["observations"]) == {"bands", "image"}


def test_goodness_tells_good_from_bad() -> None:
    posterior = sf.Posterior((sky(), image()))
    good = sf.Result(posterior, weighted(posterior))
    assert 0.05 < good.goodness.p_value < 0.95
    assert good.goodness.replicates == 1000
    assert sf.Result(posterior, good.draws).goodness == good.goodness
    data = np.asarray(image().data).copy()
    data[100:130] += 15
    bad = sf.Posterior((sky(), image().with_data(data)))
    assert sf.Result(bad, weighted(bad)).goodness.p_value < 0.01


def test_goodness_of_gaussian_data_is_the_tail_of_chi_squared() -> None:
    # with a prior this tight the posterior is a point, and T is chi-squared with as many dof as data
    from scipy.stats import chi2

    posterior = direct([0.8, -1.4, 2.0], [1.0, 1.0, 1.0], sf.Normal(np.zeros(3), np.full(3, 1e-4)))
    result = sf.Result(posterior, weighted(posterior))
    assert result.goodness.p_value == pytest.approx(chi2.sf(0.8**2 + 1.4**2 + 2.0**2, 3), abs=0.04)


def test_printed(counts) -> None:
    text = str(counts)
    assert "method importance: converged" in text
    assert f"C-stat {counts.statistic['value']:.2f} for 160 data, 156 dof" in text
    assert "posterior predictive check: p = 0." in text
    assert "ln evidence -12.500 +- 0.02" in text
    assert "warning: the background of detector is shown but not fitted" in text
    assert "fixed: bump.energy = 6.4" in text
    assert "R-hat" not in text and "ESS" in text
    assert "slope.norm" in text and "photons/keV/cm^2/s" in text
    assert repr(counts).startswith("Result(importance, converged, 4 parameters")


def test_no_convergence_is_loud(bands) -> None:
    draws = replace(bands.draws, converged=False, messages=("k-hat is 1.2",))
    result = sf.Result(bands.posterior, draws)
    assert str(result).startswith("*** NOT CONVERGED: do not use these numbers ***\n*** k-hat is 1.2")
    assert "NOT CONVERGED" in repr(result)
    content = result.to_dict()
    assert content["converged"] is False and content["messages"] == ["k-hat is 1.2"]


def test_dictionary_is_strict_json(counts) -> None:
    content = counts.to_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    keys = "statistic parameters fixed method converged evaluations log_evidence seconds versions seed goodness"
    assert set(content) >= set(keys.split())
    numbers = content["parameters"]["slope.index"]
    assert set(numbers) >= {"best", "median", "mean", "sd", "q05", "q16", "q84", "q95", "ess", "rhat"}
    assert numbers["q05"] < numbers["q16"] < numbers["median"] < numbers["q84"] < numbers["q95"]
    assert numbers["rhat"] is None
    assert content["fixed"] == {"bump.energy": 6.4}
    assert content["seconds"]["sample"] == 0.25 and content["seconds"]["import"] is None
    assert content["versions"]["skyfold"] == sf.__version__
    assert content["goodness"]["p_value"] == counts.goodness.p_value


def test_summary_table(bands) -> None:
    table = bands.summary()
    assert table.colnames[:4] == ["name", "unit", "best", "median"] and table.colnames[-1] == "note"
    assert list(table["name"]) == ["greybody.amplitude", "greybody.temperature"]
    assert table["sd"][0] == bands.marginals[0].sd


def test_ties_are_listed() -> None:
    norm = sf.Parameter(sf.LogUniform(1, 100), name="bright")
    model = sky().with_priors({"template.norm": norm, "template_2.norm": 0.4 * norm})
    posterior = sf.Posterior((model, image()))
    result = sf.Result(posterior, weighted(posterior, n=500))
    assert result.to_dict()["tied"] == {"template_2.norm": "(0.4 * bright)"}
    assert "tied: template_2.norm = " in str(result)
    assert list(result.to_dict()["parameters"]) == ["bright"]


# -- point estimates -------------------------------------------------------------------------------------------------


def test_standard_errors_of_a_maximum_likelihood() -> None:
    posterior = direct([1.0, -2.0], [0.5, 1.5], sf.Uniform(np.full(2, -10.0), np.full(2, 10.0)))
    result = point(posterior)
    np.testing.assert_allclose([m.best for m in result.marginals], [1.0, -2.0], atol=1e-5)
    np.testing.assert_allclose([m.sd for m in result.marginals], [0.5, 1.5], rtol=1e-5)
    text = str(result)
    assert "value" in text and "+- 0.50" in text and "(at this point)" in text
    numbers = result.to_dict()["parameters"]["vector.x[0]"]
    assert numbers["median"] is None and numbers["sd"] == pytest.approx(0.5)
    assert 0 <= result.goodness.p_value <= 1


def test_standard_errors_of_a_mode() -> None:
    posterior = direct([1.0], [0.5], sf.Normal(0, 2))
    sd = 1 / np.sqrt(1 / 0.25 + 1 / 4)
    marginal = point(posterior, "map").marginals[0]
    assert (marginal.best, marginal.sd) == (pytest.approx(sd**2 / 0.25, abs=1e-5), pytest.approx(sd, rel=1e-5))


def test_maximum_at_a_bound() -> None:
    result = point(direct([-1.0, 0.5], [0.5, 0.1], sf.Uniform(np.zeros(2), np.ones(2))))
    assert result.marginals[0].note == "at the lower bound of its prior"
    assert np.isnan(result.marginals[0].sd) and result.marginals[1].sd == pytest.approx(0.1, rel=1e-4)
    assert result.to_dict()["parameters"]["vector.x[0]"]["sd"] is None


# -- derived quantities ----------------------------------------------------------------------------------------------


def test_derived_quantity(bands) -> None:
    found = bands.derive(
        lambda m: m.amplitude * jnp.exp(-0.5 * ((5.0 - m.temperature) / 2.0) ** 2), name="flux", unit="Jy"
    )
    amplitude, temperature = (bands.equal_weight[f"greybody.{n}"].ravel() for n in ("amplitude", "temperature"))
    expected = amplitude * np.exp(-0.5 * ((5.0 - temperature) / 2.0) ** 2)
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)
    assert found.median.to_value(u.mJy) == pytest.approx(1e3 * np.median(expected), rel=1e-3)
    assert found.interval.shape == (2,) and found.samples.unit == u.Jy
    assert repr(found).startswith("flux = ") and "Jy" in repr(found)


def test_flux_needs_a_spectral_model(bands) -> None:
    with pytest.raises(sf.SkyfoldError, match="no spectral model"):
        bands.flux(2, 10)
    with pytest.raises(sf.SkyfoldError, match="'elsewhere' is no observation"):
        bands.flux(2, 10, observation="elsewhere")


def test_chunks_pad_the_last_call() -> None:
    shapes = []

    def twice(x: np.ndarray) -> np.ndarray:
        shapes.append(x.shape)
        return 2 * x

    x = np.arange(22.0).reshape(11, 2)
    np.testing.assert_array_equal(in_chunks(twice, x, size=4), 2 * x)
    assert shapes == [(4, 2)] * 3


def test_a_model_that_does_not_describe_the_data_is_said_so() -> None:
    bad = direct([0.0, 9.0], [0.1, 0.1], sf.Normal(np.zeros(2), 0.1))
    result = sf.Result(bad, weighted(bad))
    assert "p < 0.001" in str(result) and "p = 0.000" not in str(result)
    assert any("does not describe the data" in w for w in result.warnings)
    good = direct([0.0, 0.05], [0.1, 0.1], sf.Normal(np.zeros(2), 0.1))
    assert not sf.Result(good, weighted(good)).warnings
