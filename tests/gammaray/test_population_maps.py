"""Counts maps with populations of point sources: likelihood, scores, information, draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import skyfold as sf
from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.gammaray.emission import Emission, Population
from skyfold.gammaray.likelihood import CompoundPoisson
from skyfold.gammaray.maps import CountsMap
from skyfold.gammaray.regions import Band, Disc
from skyfold.gammaray.source_counts import BrokenPowerLaw
from skyfold.gammaray.templates import Isotropic, Template
from skyfold.inference.frames.flat_coordinates import rows
from skyfold.inference.search.metric_products import offsets
from skyfold.parameters import Value, parameter

pytest.importorskip("astropy_healpix")

NSIDE = 16
N = 12 * NSIDE**2
THETA = np.array([0.02, 4.0, 1.2, -2.0, 12.0, 5.0])
F, WEIGHTS = np.array([0.1, 0.3, 0.6]), np.array([1.0, 1.0, 1.0])
FILES = {"pib": "Opi", "ics": "Oic", "iso": "iso", "bub": "bub", "psc": "psc_3fgl"}


class Sources(Component):
    """A population whose source-count function is given by NPTFit's numbers."""

    name: ClassVar[str] = "sources"
    map: Any
    theta: Value = parameter(1.0)

    def evaluate(self, grid: Any) -> Emission:  # type: ignore[override]
        own = jnp.asarray(self.map)[grid.index]
        return Emission(jnp.zeros(own.shape), (Population(own / own.mean(), BrokenPowerLaw.from_theta(self.theta)),))


@pytest.fixture(scope="module")
def sky() -> CountsMap:
    rng = np.random.default_rng(3)
    exposure = 1e11 * rng.uniform(0.9, 1.1, N)
    return CountsMap.read(rng.poisson(3.0, N).astype(float), exposure).within(Disc(40)).masked(Disc(8))


@pytest.fixture(scope="module")
def model() -> Component:
    longitude = np.linspace(1.0, 2.0, N)
    return Isotropic(sf.Uniform(0.5, 5)) + Sources(longitude, sf.Normal(THETA, 0.05 * np.abs(THETA)))


@pytest.fixture(scope="module")
def fitted(sky: CountsMap, model: Component) -> sf.Posterior:
    return sf.Posterior((model, sky.with_point_sources(F, WEIGHTS / (WEIGHTS @ F), exposure_regions=3)))


@pytest.mark.slow
def test_cases_of_nptfit(shared: Path) -> None:
    folder = shared / "data/gammaray/fermi_573w_nside128"
    cases = json.loads((shared / "reference/gammaray/nptf_cases.json").read_text())["cases"]
    arrays = np.load(shared / "reference/gammaray/arrays.npz")
    sky = CountsMap.read(
        folder / "fermidata_counts.npy", folder / "fermidata_exposure.npy", folder / "mask_3fgl_0p8deg.npy"
    ).within(Disc(25) & ~Band(2))
    f = arrays["king_f"]
    sky = sky.with_point_sources(f, f * arrays["king_df_rho_div_f"], exposure_regions=1)
    for case in cases:
        if case["name"] not in ("N3_king_2np2b", "N8_king_hard_scd"):
            continue
        parts: list[Any] = [
            Template.read(folder / f"template_{FILES[k]}.npy", v, name=k) for k, v in case["poisson"].items()
        ]
        for population in case["np"]:
            full = np.zeros(12 * 128**2)
            full[arrays["pixel"]] = arrays[population["template"]]
            parts.append(Sources(full, np.array(population["theta"])))
        model = sum(parts[1:], start=parts[0])
        bound = sky.bound(model)
        pointwise = np.asarray(bound.pointwise(bound.predict(model)))
        np.testing.assert_allclose(pointwise[:5], case["first5_pixel_loglike"], rtol=1e-8)
        assert pointwise.sum() == pytest.approx(case["loglike_reference"], abs=1e-6)


def test_samples_of_the_metric_know_the_scores_of_pixels(fitted: sf.Posterior) -> None:
    z = np.linspace(-0.3, 0.4, fitted.ndim)
    (scores,) = jax.jit(rows)(fitted.kernel, z)
    assert scores.shape == (fitted.ndim, fitted.kernel.pairs[0][1].n_data)
    metric = np.asarray(fitted.metric(z))
    np.testing.assert_allclose(np.eye(fitted.ndim) + scores @ scores.T, metric, rtol=1e-8, atol=1e-8)
    around, missed, _ = offsets(fitted, z, 512, np.random.default_rng(1))
    assert missed.max() < 1e-3
    root = np.linalg.cholesky(metric)
    np.testing.assert_allclose(np.cov((around @ root).T), np.eye(fitted.ndim), atol=0.25)


@pytest.mark.slow
def test_scores_and_information(fitted: sf.Posterior) -> None:
    z = jnp.linspace(-0.3, 0.4, fitted.ndim)
    kernel = fitted.kernel
    scores = np.asarray(jax.jit(jax.jacfwd(lambda z: kernel.pointwise(z)[0]))(z))
    value, gradient, metric = (np.asarray(a) for a in jax.jit(lambda z: kernel.linearised(z))(z))
    np.testing.assert_allclose(gradient, scores.sum(axis=0), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(metric, scores.T @ scores, rtol=1e-8, atol=1e-8)
    expected = kernel.expected(z)[0]
    exact = jax.jit(jax.jacfwd(lambda e: kernel.pairs[0][1].pointwise(e)))(expected)
    np.testing.assert_allclose(kernel.pairs[0][1].fisher(expected), np.sum(exact**2, axis=0), rtol=1e-8, atol=1e-10)
    step = 1e-5 * np.eye(fitted.ndim)
    values = np.asarray(fitted.log_likelihood(np.concatenate([z + step, z - step])))
    np.testing.assert_allclose(gradient, (values[: fitted.ndim] - values[fitted.ndim :]) / 2e-5, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_draws_have_the_likelihoods_moments(fitted: sf.Posterior) -> None:
    (_, sky), *_ = fitted.pairs.values()
    assert isinstance(sky.likelihood, CompoundPoisson)
    expected = np.asarray(fitted.kernel.expected(jnp.zeros(fitted.ndim))[0])
    means = np.asarray(sky.likelihood.mean(jnp.asarray(expected)))
    drawn = sky.sample(np.random.default_rng(5), np.broadcast_to(expected, (200, expected.size)))
    assert drawn.shape == (200, sky.n_data) and np.all(drawn == np.rint(drawn))
    error = drawn.sum(axis=1).std() / np.sqrt(200)
    assert abs(drawn.sum(axis=1).mean() - means.sum()) < 4 * error
    # sources cluster photons: the variance exceeds the mean, by the second moment of what one source sends
    assert np.mean(drawn.var(axis=0)) > 1.5 * means.sum(axis=0).mean()
    # the likelihood of its own draws is stationary at the truth: mean scores vanish
    totals = []
    for counts in drawn[:40]:
        own = sky.with_data(counts)
        local, common = own.likelihood.scores(jnp.asarray(expected))
        totals.append(np.concatenate([np.asarray(local).sum(axis=1), np.asarray(common).sum(axis=1)]))
    totals = np.array(totals)
    assert np.all(np.abs(totals.mean(axis=0)) < 4.5 * totals.std(axis=0) / np.sqrt(len(totals)))


def test_bright_sources_are_drawn(sky: CountsMap) -> None:
    # hard enough that sources beyond what the layout has room for matter
    model = Isotropic(1.0) + Sources(np.ones(N), np.array([2e-4, 2.3, 1.5, -2.0, 100.0, 50.0]))
    bound = sky.with_point_sources([1.0], [1.0]).bound(model)
    expected = np.asarray(bound.predict(model))
    drawn = bound.sample(np.random.default_rng(1), np.broadcast_to(expected, (400, expected.size)))
    high = bound.likelihood.prepared.layout.highest
    rate = float(
        np.asarray(bound.likelihood.prepared.table.moments(BrokenPowerLaw.from_theta(model.parts[1].theta))[1]).sum()
    )
    total = float(
        np.asarray(bound.likelihood.prepared.table.moments(BrokenPowerLaw.from_theta(model.parts[1].theta))[0])
    )
    wanted = (total - rate) * bound.n_data
    seen = (drawn > high).sum(axis=1).mean()
    assert seen == pytest.approx(wanted, rel=0.1)


def test_binding(sky: CountsMap, model: Component, fitted: sf.Posterior) -> None:
    plain = Isotropic(2.0)
    assert sky.bound(plain) is sky
    with pytest.raises(SkyfoldError, match="does not know how they are blurred"):
        sky.bound(model)
    ready = sky.with_point_sources([1.0], [1.0])
    with pytest.raises(SkyfoldError, match="is not prepared for them"):
        ready.predict(model.with_values({}).with_priors({"iso.norm": 1.0, "sources.theta": THETA}))
    bound = ready.bound(model)
    assert bound.bound(model) is not ready and bound.bound(model).likelihood is bound.likelihood
    assert type(bound.bound(plain).likelihood) is sf.Poisson if hasattr(sf, "Poisson") else True
    one, two = model, model + Sources(np.ones(N), THETA)
    with pytest.raises(SkyfoldError, match="bind the map to this model"):
        b = ready.bound(two)
        b.pointwise(b.predict(one.with_priors({"iso.norm": 1.0, "sources.theta": THETA})))


def test_other_data_share_executables(fitted: sf.Posterior, model: Component) -> None:
    from skyfold.posterior import _jitted

    (_, sky), *_ = fitted.pairs.values()
    fitted.log_likelihood(np.zeros(fitted.ndim))
    before = _jitted.executables()
    other = sky.with_data(np.roll(sky.data, 1))
    sf.Posterior((model, other)).log_likelihood(np.zeros(fitted.ndim))
    assert _jitted.executables() == before
