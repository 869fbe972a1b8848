"""Star-formation histories: mass, moments, derivatives, and the weights of a grid's ages."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate as si

import skyfold as sf
from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.galaxy import sfh
from skyfold.galaxy.sfh.double_power_law import power_law_shape

AGE = 12.4
AGES = np.geomspace(1e-3, 20.0, 60)
rng = np.random.default_rng(1)

formed = jit(lambda history, t: history.formed(t, jnp.asarray(AGE)))
rate = jit(lambda history, t: history.rate(t, jnp.asarray(AGE)))
weights = jit(lambda history, cut: sfh.age_weights(history, AGES, AGE, cut))

HISTORIES = {
    "constant": (sfh.ConstantSFH(10.0, 5.0, 1.0), [7.4, 11.4]),
    "delayed": (sfh.DelayedTau(10.0, 0.7, 8.0), [4.4]),
    "recent delayed": (sfh.DelayedTau(10.0, 0.1, 0.5), [11.9]),
    "lognormal": (sfh.LogNormalSFH(10.0, 3.0, 4.0), []),
    "dpl": (sfh.DoublePowerLaw(1.0, 3.0, 3.0, 2.0), []),
    "dpl, all slopes 1": (sfh.DoublePowerLaw(1.0, 5.0, 1.0, 1.0), []),
    "dpl, fall 2": (sfh.DoublePowerLaw(1.0, 5.0, 2.0, 10.0), []),
    "dpl, early peak": (sfh.DoublePowerLaw(1.0, 0.1, 10.0, 10.0), [0.05, 0.1, 0.2]),
    "dpl by mass": (sfh.DoublePowerLawMass(10.0, 2.0, 5.0, 1.0), []),
    "psb": (sfh.PostStarburst(10.0, 9.0, 2.0, 0.5, 50.0, 0.2), [3.4, 11.8, 11.9, 12.0]),
    "continuity": (sfh.Continuity(10.0, np.array([0.3, -0.2, 0.1, 0.5, 0.0, -0.4])), None),
    "dirichlet": (sfh.DirichletBins(10.0, np.arange(1.0, 8.0) / 28.0), None),
    "dense basis": (sfh.DenseBasis(10.0, 0.5, np.array([0.2, 0.2, 0.3, 0.3])), None),
    "gp": (sfh.GaussianProcessSFH(10.0, rng.standard_normal(24)), None),
    "table": (sfh.Tabulated([0.0, 5.0, 12.0], [1.0, 5.0, 2.0]), [5.0, 12.0]),
}


def breaks(name):
    history, at = HISTORIES[name]
    if at is not None:
        return at
    if isinstance(history, sfh.DenseBasis):
        return list(np.asarray(history._cells(jnp.asarray(AGE))[0]))
    if isinstance(history, sfh.GaussianProcessSFH):
        return list(np.asarray(history._table(jnp.asarray(AGE))[0]))
    return list(np.asarray(history._table(jnp.asarray(AGE))[0]))


def pieces(at):
    """Nodes and weights of a quadrature from 0 to AGE that knows where a rate breaks."""
    edges = np.array(sorted({0.0, AGE, *(float(b) for b in at if 0 < b < AGE)}))
    fine = np.unique(np.concatenate([edges, np.linspace(0.0, AGE, 60), np.geomspace(1e-3, AGE, 40)]))
    x, w = np.polynomial.legendre.leggauss(16)
    half = 0.5 * np.diff(fine)[:, None]
    return fine, (fine[:-1, None] + half * (1 + x)), half * w


@pytest.mark.parametrize("name", HISTORIES)
def test_mass_and_moment_are_the_integrals_of_the_rate(name):
    history = HISTORIES[name][0]
    edges, t, w = pieces(breaks(name))
    values = np.asarray(rate(history, jnp.asarray(t.ravel()))).reshape(t.shape) * 1e9
    mass, moment = (np.asarray(x) for x in formed(history, jnp.asarray(edges)))
    for found, power in ((mass, 0), (moment, 1)):
        expected = np.append(0.0, np.cumsum(np.sum(w * values * t**power, axis=1)))
        np.testing.assert_allclose(found, expected, atol=1e-6 * found[-1], rtol=0)


@pytest.mark.parametrize("name", HISTORIES)
def test_weights_conserve_mass_and_mean_age(name):
    history = HISTORIES[name][0]
    for cut in (0.0, 0.01, 0.0123, 30.0):
        young, old = weights(history, cut)
        mass, moment = formed(history, jnp.array([AGE, AGE - min(cut, AGE)]))
        np.testing.assert_allclose(float(jnp.sum(young + old)), float(mass[0]), rtol=1e-12)
        np.testing.assert_allclose(float(young.sum()), float(mass[0] - mass[1]), rtol=1e-9, atol=1e-9 * float(mass[0]))
        assert float(jnp.minimum(young.min(), old.min())) > -1e-9 * float(mass[0])
    # what is younger than the first node takes that node's age; the rest keeps its mean age exactly
    late = float(formed(history, jnp.array([AGE, AGE - AGES[0]]))[0][1])
    mean = AGE - float(moment[0] / mass[0])
    assert abs(float((young + old) @ AGES / mass[0]) - mean) < 1e-9 + AGES[0] * (1.0 - late / float(mass[0]))


@pytest.mark.parametrize("name", ["delayed", "dpl", "psb", "continuity", "gp"])
def test_integration_over_cells_is_exact_where_sampling_converges(name):
    history = HISTORIES[name][0]
    exact = np.asarray(sum(weights(history, 0.0)))
    errors = []
    for n in (2000, 20000):
        edges = np.linspace(0.0, AGE, n + 1)
        t = AGE - 0.5 * (edges[1:] + edges[:-1])
        mass = np.asarray(rate(history, jnp.asarray(t))) * 1e9 * AGE / n
        ages = np.clip(AGE - t, AGES[0], AGES[-1])
        i = np.clip(np.searchsorted(AGES, ages) - 1, 0, len(AGES) - 2)
        u = (ages - AGES[i]) / (AGES[i + 1] - AGES[i])
        sampled = np.zeros(len(AGES))
        np.add.at(sampled, i, mass * (1 - u))
        np.add.at(sampled, i + 1, mass * u)
        errors.append(np.abs(sampled - exact).sum() / exact.sum())
    assert errors[1] < 2e-3 and errors[1] < 0.3 * errors[0]


def test_a_finer_grid_of_ages_changes_no_integral():
    # luminosity linear in age: nodes put in between change nothing
    history = HISTORIES["dpl"][0]
    light = 1.0 / (AGES + 0.01)
    fine = np.sort(np.concatenate([AGES, 0.5 * (AGES[1:] + AGES[:-1])]))
    coarse = float(sum(sfh.age_weights(history, AGES, AGE)) @ light)
    np.testing.assert_allclose(
        float(sum(sfh.age_weights(history, fine, AGE)) @ np.interp(fine, AGES, light)), coarse, rtol=1e-10
    )


def logarithmic(x, k, tau, alpha, beta):
    y = x - np.log(tau)
    return np.exp(x * (k + 1)) / (np.exp(alpha * y) + np.exp(-beta * y))


def test_power_law_mass_against_scipy_over_the_prior():
    shape = jit(power_law_shape)
    draw = np.random.default_rng(5)
    for _ in range(20):
        tau, alpha, beta = draw.uniform(0.1, 10), draw.uniform(1, 10), draw.uniform(1, 10)
        mass, moment = shape(jnp.array([AGE]), tau, alpha, beta)
        for k, value in enumerate((mass, moment)):
            exact = si.quad(
                logarithmic, -12, np.log(AGE), (k, tau, alpha, beta), 0, 0, 1e-11, 400, [min(np.log(tau), 2.4)]
            )[0]
            np.testing.assert_allclose(float(value[0]), exact, rtol=1e-8)


def test_the_peak_rate_is_the_peak():
    history = sfh.DoublePowerLaw(1.3, 4.0, 3.0, 1.5)
    t = jnp.linspace(0.01, AGE, 20001)
    np.testing.assert_allclose(float(history.evaluate((t, AGE)).max()), 10**1.3, rtol=1e-6)


@pytest.mark.parametrize("cls", [sfh.DoublePowerLaw, sfh.DoublePowerLawMass])
def test_gradients_at_and_inside_the_edges_of_the_prior(cls):
    light = jnp.asarray(1.0 / (AGES + 0.01))

    def value(p):
        young, old = sfh.age_weights(cls(*p), AGES, AGE, 0.01)
        return jnp.log((3.0 * young + old) @ light)

    gradient, value = jax.jit(jax.grad(value)), jax.jit(value)
    for p in ([1.0, 3.0, 2.5, 1.7], [1.0, 12.4, 1.0, 1.0], [0.0, 0.1, 10.0, 10.0], [0.0, 10.0, 2.0, 10.0]):
        p = np.array(p)
        found = np.asarray(gradient(p))
        assert np.all(np.isfinite(found))
        step = 1e-4 * np.eye(4)
        expected = [(float(value(p + s)) - float(value(p - s))) / 2e-4 for s in step]
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-6)


def test_bursts_stand_at_their_age_and_not_before_the_big_bang():
    young, old = weights(sfh.Burst(9.0, 0.005), 0.01)
    np.testing.assert_allclose([float(young.sum()), float(old.sum())], [1e9, 0.0], atol=1e-3)
    np.testing.assert_allclose(float(young @ AGES) / 1e9, 0.005, rtol=1e-6)
    assert float(sum(weights(sfh.Burst(9.0, 13.0), 0.01)).sum()) == 0.0


def test_histories_add_up_and_do_not_multiply():
    both = sfh.DelayedTau(10.0, 1.0, 8.0) + sfh.Burst(9.0, 0.1)
    np.testing.assert_allclose(float(both.mass_formed(AGE)), 1.1e10, rtol=1e-10)
    assert len((both + sfh.Burst(8.0, 0.2)).parts) == 3
    with pytest.raises(SkyfoldError, match="no meaning"):
        both * sfh.Burst(9.0, 0.1)


def test_bins_follow_their_ratios_and_edges():
    ratios = np.array([0.3, -0.2, 0.1, 0.5, 0.0, -0.4])
    history = sfh.Continuity(10.0, ratios)
    edges = np.asarray(sfh.standard_edges(7, AGE))
    middle = AGE - 0.5 * (edges[1:] + edges[:-1])
    rates = np.asarray(history.rate(jnp.asarray(middle), jnp.asarray(AGE)))
    np.testing.assert_allclose(np.log10(rates[:-1] / rates[1:]), ratios, atol=1e-12)
    np.testing.assert_allclose(edges[[1, 2, -2]], [0.03, 0.1, 0.85 * AGE])
    with pytest.raises(SkyfoldError, match="bins; edges must be"):
        sfh.Continuity(10.0, ratios, edges=[0.0, 1.0, 2.0])
    assert sfh.Continuity(edges=[0.0, 1.0, 5.0, 14.0]).parameters["continuity.log_ratios"].prior.shape == (2,)


def test_dense_basis_goes_through_its_knots():
    gaps = np.array([0.1, 0.2, 0.3, 0.4])
    history = sfh.DenseBasis(10.0, 0.5, gaps)
    at = np.cumsum(gaps) * AGE
    mass = np.asarray(history.formed(jnp.asarray(at), jnp.asarray(AGE))[0]) / 1e10
    np.testing.assert_allclose(mass, [0.25, 0.5, 0.75, 1.0], atol=2e-3)
    np.testing.assert_allclose(float(history.mean_rate(AGE, 0.005)), 10**0.5, rtol=0.02)


def test_the_gaussian_process_has_its_covariance():
    times = np.asarray(sfh.GaussianProcessSFH(10.0, np.zeros(8), 0.3, 2.0)._table(jnp.asarray(AGE))[0])
    draws = np.random.default_rng(2).standard_normal((20000, 8))
    process = jax.vmap(lambda x: jnp.log10(sfh.GaussianProcessSFH(10.0, x, 0.3, 2.0)._table(jnp.asarray(AGE))[1]))
    logs = np.asarray(process(draws))
    differences = logs[:, 1:] - logs[:, :-1]
    expected = 2 * 0.3**2 * (1 - np.exp(-np.diff(times) / 2.0))
    np.testing.assert_allclose(differences.var(axis=0), expected, rtol=0.05)


def test_bad_histories_are_refused():
    with pytest.raises(SkyfoldError, match="increasing times"):
        sfh.Tabulated([0.0, 0.0], [1.0, 1.0])
    with pytest.raises(SkyfoldError, match="vector"):
        sfh.GaussianProcessSFH(latent=sf.Normal(0.0, 1.0))
