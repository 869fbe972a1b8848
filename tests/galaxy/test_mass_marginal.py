"""The mass integrated out: against brute force, and against fits with the mass as a parameter."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from grids import synthetic
from toys import Direct

import skyfold as sf
from skyfold import galaxy
from skyfold.compiled.annotation import Annotation
from skyfold.compiled.jit import jit
from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.galaxy.mass_marginal import MassMarginal, mass_draws
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.limits import Limited
from skyfold.likelihoods.poisson import Poisson
from skyfold.parameters import Value, parameter

F = np.array([1.0, 2.0, 3.0, 2.5, 1.7]) * 1e-9
PRIORS = [
    sf.LogUniform(1e5, 1e13),
    sf.LogUniform(1e9, 1e11),
    sf.Uniform(0.0, 1e11),
    sf.Normal(1e10, 3e9),
    sf.TruncatedNormal(1e10, 3e9, 5e9, 2e10),
]
_value_and_slope = jit(lambda o, f: jax.value_and_grad(o.log_likelihood)(f))


def _observation(mass, signal, prior, seed=0):
    sigma = np.full(5, mass * 2e-9 / signal)
    data = mass * F * np.array([1.02, 1, 0.98, 1, 1.01]) + np.random.default_rng(seed).standard_normal(5) * sigma
    return MassMarginal(Direct(Gaussian(data, sigma), Annotation("bands")), prior=prior)


def _log_prior(prior, m):
    if isinstance(prior, sf.Uniform):
        return np.full_like(m, -np.log(prior.high - prior.low))
    if isinstance(prior, sf.LogUniform):
        return -np.log(m) - np.log(np.log(prior.high / prior.low))
    cut = 0.0
    if isinstance(prior, sf.TruncatedNormal):
        cut = np.log(np.diff(st.norm.cdf([prior.low, prior.high], prior.loc, prior.scale))[0])
    return st.norm.logpdf(m, prior.loc, prior.scale) - cut


def _brute(o, f):
    """Log-likelihood and posterior of the mass on a dense grid."""
    d, s, prior = np.asarray(o.data), np.asarray(o.likelihood.sigma), o.prior
    low, high = prior.support()
    precision, cross = np.sum(f**2 / s**2), np.sum(f * d / s**2)
    best, width = cross / precision, precision**-0.5
    peaks = [(best, width)]
    if hasattr(prior, "loc"):
        v = 1 / (precision + prior.scale**-2)
        peaks.append((v * (cross + prior.loc / prior.scale**2), v**0.5))
    grids = [np.geomspace(low, high, 20001)] if isinstance(prior, sf.LogUniform) else []
    for centre, w in peaks:
        near = np.clip(centre, low, high)
        away = abs(near - centre) / w
        grids.append(near + w * 80 / (away + np.sqrt(away**2 + 80)) * np.linspace(-1, 1, 20001))
    m = np.unique(np.concatenate([np.clip(np.concatenate(grids), low, high)]))
    log = -0.5 * precision * (m - best) ** 2 + _log_prior(prior, m)
    density = np.exp(log - log.max())
    residual = (d - best * f) / s
    rest = -0.5 * residual @ residual - np.log(s).sum() - 2.5 * np.log(2 * np.pi)
    return log.max() + np.log(np.trapezoid(density, m)) + rest, m, density


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
@pytest.mark.parametrize("mass", [1e4, 1e8, 1e10, 3e13])
def test_likelihood_is_the_integral_over_the_mass(prior, mass):
    for signal in (0.01, 1.0, 7.0, 8.9, 30.0, 300.0):
        o = _observation(mass, signal, prior)
        value, slope = _value_and_slope(o, jnp.asarray(F))
        expected = _brute(o, F)[0]
        assert abs(float(value) - expected) < 1e-6 * max(1.0, abs(expected))
        assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
@pytest.mark.parametrize("signal", [0.5, 5.0, 50.0])
def test_slope_matches_differences(prior, signal):
    o = _observation(1e10, signal, prior)
    slope = np.asarray(_value_and_slope(o, jnp.asarray(F))[1])
    for i in range(5):
        h = np.eye(5)[i] * F[i] * 1e-5
        up, down = (float(_value_and_slope(o, jnp.asarray(F + s * h))[0]) for s in (1, -1))
        assert slope[i] * 2 * h[i] == pytest.approx(up - down, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("prior", PRIORS, ids=repr)
@pytest.mark.parametrize("signal", [0.5, 5.0, 50.0])
def test_draws_follow_the_conditional_density(prior, signal):
    o = _observation(1e10, signal, prior)
    draws = o.draw_mass(np.random.default_rng(3), np.tile(F, (1500, 1)))
    _, m, density = _brute(o, F)
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(m))])
    assert st.kstest(np.interp(draws, m, cumulative / cumulative[-1]), "uniform").pvalue > 1e-3


def test_likelihood_does_not_know_the_scale_of_the_model_under_a_wide_logarithmic_prior():
    o = _observation(1e10, 30.0, sf.LogUniform(1e5, 1e15))
    a, b = (float(_value_and_slope(o, jnp.asarray(F * s))[0]) for s in (1.0, 7.0))
    assert a == pytest.approx(b, abs=1e-7)


def test_information_is_that_of_a_fit_with_the_mass_free():
    o = _observation(1e10, 100.0, sf.LogUniform(1e5, 1e15))
    rng = np.random.default_rng(0)
    slopes = rng.standard_normal((2, 5)) * F
    joint = np.vstack([1e10 * slopes, F]) / np.asarray(o.likelihood.sigma)
    inverse = np.linalg.inv(joint @ joint.T)[:2, :2]
    own = np.asarray(o.information(jnp.asarray(F), jnp.asarray(slopes)))
    np.testing.assert_allclose(np.linalg.inv(own), inverse, rtol=0.05)
    across = np.asarray(jax.jacfwd(lambda f: o.displacement(jnp.asarray(F), f))(jnp.asarray(F))) @ slopes.T
    np.testing.assert_allclose(across.T @ across, own, rtol=1e-9)
    # along the model's own scale nothing is known
    alone = np.asarray(o.information(jnp.asarray(F), jnp.asarray(F[None])))
    assert alone[0, 0] < 1e-6 * np.sum((1e10 * F / np.asarray(o.likelihood.sigma)) ** 2)
    assert np.all(np.asarray(o.fisher(jnp.asarray(F))) >= 0)
    np.testing.assert_allclose(o.displacement(jnp.asarray(F), 7.0 * jnp.asarray(F)), 0.0, atol=1e-12)


def test_missing_bands_say_nothing():
    full = _observation(1e10, 30.0, sf.LogUniform(1e5, 1e13))
    data, sigma = (np.append(np.asarray(a), b) for a, b in ((full.data, 0.0), (full.likelihood.sigma, np.inf)))
    gap = MassMarginal(Direct(Limited(data, sigma), Annotation("bands")))
    a, b = float(full.log_likelihood(jnp.asarray(F))), float(gap.log_likelihood(jnp.asarray(np.append(F, 3e-9))))
    assert a == pytest.approx(b, rel=1e-12)
    assert np.isfinite(gap.sample(np.random.default_rng(0), np.append(F, 3e-9))).all()


def test_replicates_have_the_statistic_of_one_parameter_less():
    o = _observation(1e10, 30.0, sf.LogUniform(1e8, 1e12))
    drawn = o.sample(np.random.default_rng(1), np.tile(F, (1000, 1)))
    # signal changes with the mass drawn; the statistic at the best mass does not
    values = [float(o.with_data(d).statistic(jnp.asarray(F))) for d in drawn[:300]]
    assert np.mean(values) == pytest.approx(4.0, abs=0.6)
    assert o.likelihood.expected_statistic(F)[0] == 4.0


@pytest.mark.parametrize(
    "bad",
    [
        Direct(Poisson([3.0, 4.0]), Annotation("counts")),
        Direct(Limited([1.0, 2.0], [0.1, 0.1], dof=3.0), Annotation("robust")),
        Direct(Limited([1.0, 2.0], [0.1, 0.1], limit=[0, 1]), Annotation("limits")),
    ],
    ids=lambda o: o.name,
)
def test_other_likelihoods_are_refused(bad):
    with pytest.raises(SkyfoldError, match="not Gaussian"):
        MassMarginal(bad)


@pytest.mark.parametrize("prior", [sf.HalfNormal(1e10), sf.LogNormal(23.0, 1.0), sf.Uniform(np.zeros(2), 1.0)])
def test_other_priors_are_refused(prior):
    with pytest.raises(SkyfoldError, match="MassMarginal"):
        MassMarginal(_observation(1e10, 1.0, None).parts[0], prior=prior)


class Slope(Component):
    """A power law of unit scale, times a mass."""

    name: ClassVar[str] = "slope"
    index: Value = parameter(sf.Uniform(-3.0, 3.0))
    mass: Value = parameter(1.0)

    def evaluate(self, grid):
        return self.mass * 1e-9 * jnp.arange(1.0, 6.0) ** self.index


def test_fit_agrees_with_the_mass_as_a_parameter():
    rng = np.random.default_rng(5)
    truth = 1e10 * 1e-9 * np.arange(1.0, 6.0) ** 0.7
    data = Direct(Gaussian(truth + rng.standard_normal(5), np.ones(5)), Annotation("bands"))
    prior = sf.LogUniform(1e8, 1e12)
    joint = sf.Posterior((Slope(mass=prior), data)).fit("auto", seed=1, progress=False)
    marginal = sf.Posterior((Slope(), MassMarginal(data, prior=prior))).fit("auto", seed=1, progress=False)
    a, b = joint.equal_weight["slope.index"].ravel(), marginal.equal_weight["slope.index"].ravel()
    assert abs(a.mean() - b.mean()) < 0.1 * a.std() and abs(b.std() / a.std() - 1) < 0.1
    assert joint.draws.log_evidence == pytest.approx(marginal.draws.log_evidence, abs=0.05)
    mass = mass_draws(marginal, seed=1).values
    known = joint.equal_weight["slope.mass"].ravel()
    assert len(mass) == len(marginal.equal_weight_latent())
    assert abs(mass.mean() - known.mean()) < 0.1 * known.std() and abs(mass.std() / known.std() - 1) < 0.1
    with pytest.raises(SkyfoldError, match="there are none"):
        mass_draws(joint)


def test_derived_quantities_have_the_mass_that_was_integrated_out():
    """A rate, a mass and an age, of one galaxy and of a sum of histories, against draws of the mass by themselves."""
    bands = [
        galaxy.Filter(f"b{w}", [w, w + 1.0, w + 900.0, w + 901.0], [0.0, 1, 1, 0]) for w in (4000, 5000, 6000, 8000)
    ]
    history = galaxy.DenseBasis(0.0, sf.Uniform(-11.0, -9.0), np.full(4, 0.25))
    model = galaxy.Galaxy(synthetic(), history + galaxy.Burst(-1.0, 1.0), metallicity=0.0, redshift=0.1)
    truth = model.with_values({"dense_basis.log_sfr": -10.0})
    flux = 5e10 * np.asarray(galaxy.Photometry(bands, np.ones(4), np.ones(4)).predict(truth))
    marginal = galaxy.MassMarginal(galaxy.Photometry(bands, flux, 0.02 * flux), prior=sf.LogUniform(1e9, 1e12))
    posterior = sf.Posterior((model, marginal))
    for method in ("laplace", "mle"):
        result = posterior.fit(method, seed=0, progress=False)
        mass = galaxy.mass_draws(result).values
        assert np.median(mass) == pytest.approx(5e10, rel=0.1)
        np.testing.assert_allclose(result.derive(lambda g: g.formed_mass()).values, 1.1 * mass, rtol=1e-9)
        rate = result.derive(lambda g: g.star_formation_rate(1e-3)).values
        assert np.median(rate) == pytest.approx(5.0, rel=0.3)
        age = result.derive(lambda g: g.mass_weighted_age()).values
        assert np.all((age > 1.0) & (age < 13.0))
    with pytest.raises(SkyfoldError, match="free in the star-formation history as well"):
        free = galaxy.Galaxy(synthetic(), galaxy.DelayedTau() + galaxy.Burst(), metallicity=0.0, redshift=0.1)
        sf.Posterior((free, marginal))
    # the mass of a part may be free where that of another is not
    both = galaxy.Galaxy(synthetic(), galaxy.DelayedTau(0.0) + galaxy.Burst(), metallicity=0.0, redshift=0.1)
    sf.Posterior((both, marginal))
