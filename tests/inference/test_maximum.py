"""MLE and MAP: exact on Gaussians, right at bounds, and the best of several maxima."""

from __future__ import annotations

import numpy as np
import pytest
from toys import Direct, Greybody, Identity, direct, image, photometry, sky

import skyfold as sf
from skyfold.annotation import Annotation
from skyfold.inference.maximum import choose_starts, climb, screen
from skyfold.inference.progress import Progress
from skyfold.likelihoods import Gaussian, Poisson


def run(method, posterior, seed=0):
    return method(posterior, seed, Progress(False))


def test_map_of_a_gaussian_is_exact() -> None:
    posterior = direct([2.0, -1.0], [0.5, 2.0], sf.Normal(np.zeros(2), 1.0))
    draws = run(sf.MAP(), posterior)
    precision = 1 / np.array([0.5, 2.0]) ** 2
    np.testing.assert_allclose(draws.latent[0, 0], precision * [2.0, -1.0] / (precision + 1), rtol=1e-6)
    np.testing.assert_allclose(draws.diagnostics["metric"], np.diag(precision + 1), rtol=1e-10)
    assert draws.converged


def test_mle_of_poisson_counts_is_the_linear_solution() -> None:
    posterior = sf.Posterior((sky(), image()))
    draws = run(sf.MLE(), posterior)
    gradient = posterior.kernel.linearised(draws.latent[0, 0])[1]
    assert np.max(np.abs(gradient)) < 1e-3
    # at the maximum of a Poisson likelihood that is linear in its norms the expected counts add up to the data
    assert float(posterior.predict(draws.latent[0, 0])["image"].sum()) == pytest.approx(image().data.sum(), rel=1e-8)


def test_mle_reaches_an_exact_bound() -> None:
    posterior = direct([-0.3], [0.2], sf.Uniform(0.0, 1.0))
    draws = run(sf.MLE(), posterior)
    assert draws.converged
    assert float(posterior.values(draws.latent[0, 0])["vector.x"]) == pytest.approx(0.0, abs=1e-15)
    upper = run(sf.MLE(), direct([1.4], [0.2], sf.Uniform(0.0, 1.0)))
    assert float(posterior.values(upper.latent[0, 0])["vector.x"]) == pytest.approx(1.0, abs=1e-15)


def test_mle_ignores_the_prior_s_density() -> None:
    draws = run(sf.MLE(), direct([8.0], [0.1], sf.Normal(0.0, 1.0)))
    assert draws.latent[0, 0, 0] == pytest.approx(8.0, abs=1e-5)


def test_both_maxima_of_a_bimodal_likelihood_are_found() -> None:
    class Squared(Identity):
        def evaluate(self, grid):
            return Identity.evaluate(self, grid) ** 2

    posterior = sf.Posterior((Squared(x=sf.Normal(0.3, 2.0)), Direct(Gaussian([4.0], [0.1]), Annotation("d"))))
    points, density, _ = screen(posterior, 512, 0)
    modes = climb(posterior, choose_starts(points, density, 16))
    x = np.sort(np.ravel(posterior.values(modes.z)["vector.x"]))
    np.testing.assert_allclose(x, [-2.0, 2.0], atol=0.01)
    assert posterior.values(modes.z[0])["vector.x"] > 0


def test_the_seed_repeats() -> None:
    posterior = sf.Posterior((Greybody(), photometry()))
    np.testing.assert_array_equal(run(sf.MLE(), posterior, 5).latent, run(sf.MLE(), posterior, 5).latent)


def test_a_likelihood_that_is_nowhere_finite_is_an_error() -> None:
    class Broken(Identity):
        def evaluate(self, grid):
            return Identity.evaluate(self, grid) * np.nan

    posterior = sf.Posterior((Broken(x=sf.Normal(0.0, 1.0)), Direct(Poisson([4.0]), Annotation("d"))))
    with pytest.raises(sf.SkyfoldError, match="finite"):
        run(sf.MLE(), posterior)
