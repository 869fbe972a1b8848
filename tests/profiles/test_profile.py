"""Profile-likelihood intervals: exact on Gaussians and counts, one-sided at bounds, honest about two maxima."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize as so
from toy_profiles import DATA, SIGMA, X, latent, least_squares, line, twofold
from toys import Direct, Identity, direct

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.poisson import Poisson
from skyfold.profiles.profile import profile_intervals


@pytest.mark.parametrize("delta", [1.0, 2.706])
def test_a_linear_model_is_exact(delta) -> None:
    best, covariance = least_squares()
    found = profile_intervals(line(), delta=delta)
    assert found.converged and found.restarts == 0
    assert found.names == ("line.offset", "line.slope")
    np.testing.assert_allclose([i.best for i in found], best, rtol=1e-6)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-5)
    sd = np.sqrt(np.diagonal(covariance))
    np.testing.assert_allclose([i.sd for i in found], sd, rtol=1e-5)
    for i, one in enumerate(found):
        np.testing.assert_allclose(one.errors, np.sqrt(delta) * sd[i], rtol=2e-4)
        assert one.monotonic and one.bounded == (False, False) and not one.notes
    np.testing.assert_allclose(found.correlation[0, 1], covariance[0, 1] / np.prod(sd), rtol=1e-5)
    assert found.statistic == pytest.approx(np.sum(((DATA - best[0] - best[1] * X) / SIGMA) ** 2), rel=1e-8)
    assert found.dof == 7


@pytest.mark.parametrize(
    "priors",
    [
        {"offset": sf.Normal(0.0, 0.5), "slope": sf.LogUniform(1e-3, 1e3)},
        {"offset": sf.TruncatedNormal(0.0, 5.0, -3.0, 30.0), "slope": sf.Gamma(2.0, 2.0)},
    ],
)
def test_the_prior_s_density_does_not_matter(priors) -> None:
    best, covariance = least_squares()
    found = profile_intervals(line(**priors))
    assert found.converged, found.messages
    for i, one in enumerate(found):
        half = np.sqrt(2.706 * covariance[i, i])
        np.testing.assert_allclose([one.lower, one.upper], [best[i] - half, best[i] + half], atol=2e-4 * half)
        assert one.sd == pytest.approx(np.sqrt(covariance[i, i]), rel=1e-4)


def test_some_parameters_and_the_table() -> None:
    found = profile_intervals(line(), "line.slope")
    assert found.names == ("line.slope",) and len(found) == 1
    with pytest.raises(sf.SkyfoldError, match="Did you mean 'line.slope'"):
        profile_intervals(line(), ["line.slop"])
    with pytest.raises(sf.SkyfoldError, match="not positive"):
        profile_intervals(line(), delta=0.0)
    whole = profile_intervals(line())
    text = str(whole)
    assert "Delta chi2 = 2.706 (90% for one parameter)" in text
    assert "correlation" in text and "m/s" in text and "+-" in text
    table = whole.to_astropy()
    assert list(table["name"]) == list(whole.names)
    assert table["lower"][1] == whole["line.slope"].lower


def counts(n: float, high: float = 100.0) -> sf.Posterior:
    return sf.Posterior((Identity(x=sf.Uniform(0.0, high)), Direct(Poisson([n]), Annotation("counts"))))


def test_counts_are_exact() -> None:
    def rise(m):
        return 2 * (m - 9 + 9 * np.log(9 / m)) - 2.706

    one = profile_intervals(counts(9.0))["vector.x"]
    assert one.lower == pytest.approx(so.brentq(rise, 1.0, 9.0), rel=1e-4)
    assert one.upper == pytest.approx(so.brentq(rise, 9.0, 30.0), rel=1e-4)
    assert one.errors[1] > one.errors[0] > 0


def test_a_bound_makes_an_interval_one_sided() -> None:
    none = profile_intervals(counts(0.0))
    one = none["vector.x"]
    assert none.converged and one.bounded == (True, False)
    assert one.best == pytest.approx(0.0, abs=1e-12) and np.isnan(one.sd)
    assert one.lower == pytest.approx(0.0, abs=1e-12)
    assert one.upper == pytest.approx(2.706 / 2, rel=1e-4)
    assert "bound 0 is reached below, at Delta 0" in one.notes[0]
    assert "< 1.35" in str(none)
    few = profile_intervals(direct([0.5], [1.0], sf.Uniform(0.0, 10.0)))["vector.x"]
    assert few.bounded == (True, False) and few.lower == pytest.approx(0.0, abs=1e-12)
    assert few.upper == pytest.approx(0.5 + np.sqrt(2.706), rel=1e-4)
    assert "at Delta 0.25" in few.notes[0]
    both = profile_intervals(direct([0.5], [10.0], sf.Uniform(0.0, 1.0)))
    assert both["vector.x"].bounded == (True, True) and both.converged
    assert "not constrained" in str(both)


def test_what_the_data_do_not_see() -> None:
    class First(Identity):
        def evaluate(self, grid):
            return jnp.atleast_1d(self.x[0])

    posterior = sf.Posterior((First(x=sf.Normal(np.zeros(2), 1.0)), Direct(Gaussian([0.4], [0.1]), Annotation("d"))))
    found = profile_intervals(posterior)
    seen, unseen = found["vector.x[0]"], found["vector.x[1]"]
    assert seen.sd == pytest.approx(0.1, rel=1e-5)
    assert seen.upper == pytest.approx(0.4 + 0.1 * np.sqrt(2.706), rel=1e-4)
    assert np.isnan(unseen.sd) and (unseen.lower, unseen.upper) == (-np.inf, np.inf)
    assert "not constrained below" in unseen.notes


def test_a_better_fit_on_the_way_is_taken_and_said() -> None:
    posterior = twofold(3.0)
    found = profile_intervals(posterior, start=latent(posterior, -2.0))
    assert found.restarts == 1 and "better fit was found on the way" in found.messages[0]
    direct_way = profile_intervals(posterior)
    assert direct_way.restarts == 0
    assert found["twofold.x"].best == pytest.approx(direct_way["twofold.x"].best, rel=1e-6)
    assert found["twofold.x"].lower == pytest.approx(direct_way["twofold.x"].lower, rel=1e-4)


def test_a_second_dip_is_said() -> None:
    # the barrier between the maxima is lower than delta: one interval, with a hump in it
    shallow = profile_intervals(twofold(3.0))["twofold.x"]
    assert not shallow.monotonic and shallow.lower < -2
    assert any("not monotonic below" in n for n in shallow.notes)
    # a high barrier: the interval ends before it, and the other maximum lies outside
    high = profile_intervals(twofold(0.5))["twofold.x"]
    assert not high.monotonic and high.lower > 1
    assert any("outside the interval" in n for n in high.notes)


def test_parameters_that_are_tied_are_refused() -> None:
    mean = sf.Parameter(sf.Uniform(-1.0, 1.0), name="mean")
    posterior = direct([0.3], [0.1], sf.Normal(mean, 1.0))
    with pytest.raises(sf.SkyfoldError, match="cannot be held"):
        profile_intervals(posterior, ["vector.x"])
    found = profile_intervals(posterior)
    assert found.names == ("mean",) and "vector.x" in found.messages[0]
    correlated = direct([0.3, 0.1], [0.1, 0.1], sf.MultivariateNormal(np.zeros(2), [[1.0, 0.5], [0.5, 1.0]]))
    for name in ("vector.x", "vector.x[1]"):
        with pytest.raises(sf.SkyfoldError, match="cannot be held"):
            profile_intervals(correlated, [name])


def test_exosat_walkthrough(shared: Path) -> None:
    """XSPEC manual's first walkthrough: the intervals of ``error`` and the covariance matrix of the fit."""
    from skyfold.xray import Spectrum
    from skyfold.xray.models import PHabs, PowerLaw

    folder = shared / "data/xray/exosat_s54405"
    spectrum = Spectrum.read(folder / "s54405.pha", response=folder / "s54405.rsp").ignore(15.0, None)
    model = PHabs(nH=sf.Uniform(0, 10), abundances="angr", cross_sections="bcmc") * PowerLaw()
    found = profile_intervals(sf.Posterior((model, spectrum)))
    assert found.converged and found.dof == 42
    assert found.statistic == pytest.approx(43.802, abs=0.01)
    published = {
        "phabs.nH": (0.1076, 1.0072, 0.2704),
        "powerlaw.PhoIndex": (2.03775, 2.44916, 0.12646),
        "powerlaw.norm": (0.009542, 0.018162, 2.562e-3),
    }
    for name, (low, high, sd) in published.items():
        # absorption is taken at other points of the wide bins
        assert found[name].lower == pytest.approx(low, abs=6e-3 * (high - low))
        assert found[name].upper == pytest.approx(high, abs=6e-3 * (high - low))
        assert found[name].sd == pytest.approx(sd, rel=5e-3)
    upper = [7.312e-2, 3.115e-2, 6.565e-4, 1.599e-2, 3.208e-4, 6.562e-6]
    np.testing.assert_allclose(found.covariance[np.triu_indices(3)], upper, rtol=6e-3)
