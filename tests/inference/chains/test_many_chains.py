"""ChEES and MEADS: bounds, agreement with auto, honest flags."""

from __future__ import annotations

import numpy as np
import pytest
from shapes import piled_up_at_a_bound
from toys import Direct, Greybody, Squared, photometry, run

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.inference.chees import ChEES
from skyfold.inference.meads import MEADS
from skyfold.likelihoods.gaussian import Gaussian

METHODS = pytest.mark.parametrize("method", [ChEES(), MEADS()], ids=lambda m: m.name)
SHORT = pytest.mark.parametrize(
    "method",
    [ChEES(warmup=200, draws=100, max_draws=100), MEADS(warmup=200, draws=50, max_draws=50)],
    ids=lambda m: m.name,
)


@METHODS
def test_a_posterior_piled_up_at_a_bound(method) -> None:
    x, exact = piled_up_at_a_bound(method)
    assert x.mean() == pytest.approx(exact.mean(), abs=0.07 * exact.std())
    assert x.std() == pytest.approx(exact.std(), rel=0.06)


@METHODS
def test_it_agrees_with_auto_on_another_domain(method) -> None:
    posterior = sf.Posterior((Greybody(), photometry()))
    one, two = run(method, posterior), run(sf.Auto(), posterior)
    assert one.converged, one.messages
    assert 0 < one.gradients < one.evaluations
    z, w = two.latent.reshape(-1, 2), two.weights().ravel()
    mean = w @ z
    sd = np.sqrt(w @ (z - mean) ** 2)
    np.testing.assert_allclose((one.latent.reshape(-1, 2).mean(axis=0) - mean) / sd, 0.0, atol=0.08)
    np.testing.assert_allclose(one.latent.reshape(-1, 2).std(axis=0) / sd, 1.0, atol=0.06)


@SHORT
def test_chains_stuck_in_modes_are_not_called_converged(method) -> None:
    posterior = sf.Posterior((Squared(x=sf.Normal(0.0, 2.0)), Direct(Gaussian([4.0], [0.01]), Annotation("d"))))
    draws = run(method, posterior, 1)
    x = np.asarray(posterior.values(draws.latent.reshape(-1, 1))["squared.x"])
    assert 0.2 < np.mean(x > 0) < 0.8
    assert not draws.converged
    assert any("effective sample size" in m for m in draws.messages), draws.messages


@pytest.mark.parametrize("kind", [ChEES, MEADS])
def test_settings_that_cannot_be_judged_are_refused(kind) -> None:
    with pytest.raises(sf.SkyfoldError, match="multiple of 4"):
        kind(chains=10)
