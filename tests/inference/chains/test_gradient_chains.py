"""Chains: transitions against BlackJAX's, adaptation, diagnostics of energies, chains that begin again."""

from __future__ import annotations

import numpy as np
import pytest
from toys import direct

import skyfold as sf
from skyfold.inference.convergence.mixing import complaints, least_ebfmi
from skyfold.inference.running.progress import Progress


def banana(u):
    return -0.5 * u[0] ** 2 - 2.0 * (u[1] - 0.5 * (u[0] ** 2 - 1.0)) ** 2 - 0.5 * u[2] ** 2


@pytest.mark.parametrize("size", [0.15, 0.4])
def test_transitions_are_those_of_blackjax(size) -> None:
    """Same sizes of trees, acceptance, moments: two samplers of one kernel, up to their noise."""
    import blackjax
    import jax
    import jax.numpy as jnp

    from skyfold.inference.chains.no_u_turn import no_u_turn
    from skyfold.inference.chains.step_size import fresh_step

    chains, length = 16, 1000
    u = np.random.default_rng(0).normal(size=(chains, 3))
    u[:, 1] = 0.5 * (u[:, 0] ** 2 - 1.0) + 0.5 * u[:, 1]
    value, gradient = jax.vmap(jax.value_and_grad(banana))(u)

    @jax.jit
    def ours(key):
        begin = (u, value, gradient)
        return no_u_turn(banana, begin, fresh_step(size), key, False, 0.8, doublings=8, length=length)[2]

    kernel = blackjax.nuts.build_kernel()

    @jax.jit
    def theirs(key):
        def body(states, key):
            keys = jax.random.split(key, chains)
            states, info = jax.vmap(lambda k, s: kernel(k, s, banana, size, jnp.ones(3), 8))(keys, states)
            return states, {
                "u": states.position,
                "steps": info.num_integration_steps,
                "acceptance": info.acceptance_rate,
            }

        begin = blackjax.mcmc.hmc.HMCState(u, value, gradient)
        return jax.lax.scan(body, begin, jax.random.split(key, length))[1]

    one, two = ours(jax.random.key(1)), theirs(jax.random.key(2))
    assert np.mean(one["steps"]) == pytest.approx(float(np.mean(two["steps"])), rel=0.02)
    assert np.mean(one["acceptance"]) == pytest.approx(float(np.mean(two["acceptance"])), abs=0.01)
    assert np.mean(np.asarray(one["steps"]) < 8) == pytest.approx(
        float(np.mean(np.asarray(two["steps"]) < 8)), abs=0.02
    )
    exact = np.array([0.0, 0.0, 0.0]), np.array([1.0, 0.75, 1.0])  # Var[(x^2 - 1)/2] + 1/4
    draws = np.asarray(one["u"]).reshape(-1, 3)
    np.testing.assert_allclose(draws.mean(axis=0), exact[0], atol=0.06)
    np.testing.assert_allclose(draws.var(axis=0), exact[1], rtol=0.15)


def test_ebfmi_of_independent_and_of_slow_energies() -> None:
    rng = np.random.default_rng(2)
    independent = rng.normal(size=(10, 100, 4))
    assert least_ebfmi(independent) == pytest.approx(2.0, abs=0.2)
    slow = np.cumsum(rng.normal(size=(10, 100, 4)).reshape(-1, 4), axis=0).reshape(10, 100, 4)
    quality = {"rhat": 1.0, "ess": 1000.0, "ess_tail": 1000.0, "ebfmi": least_ebfmi(slow)}
    assert quality["ebfmi"] < 0.1
    assert "E-BFMI" in complaints(quality, 0, 4000)[0]


@pytest.mark.parametrize("method", [sf.NUTS(), sf.HMC()], ids=lambda m: m.name)
def test_ebfmi_is_reported(method) -> None:
    draws = method(direct([0.5, -1.0], [0.5, 2.0], sf.Normal(np.zeros(2), 1.0)), 3, Progress(False))
    assert draws.converged, draws.messages
    assert draws.diagnostics["ebfmi"] > 0.5


def test_chains_that_diverge_warm_up_longer_or_begin_again() -> None:
    """A wanted acceptance of 0.3 makes steps that diverge at a steep wall; what is kept must have few divergences."""
    from toys import Direct, Identity

    from skyfold.compiled.annotation import Annotation
    from skyfold.likelihoods.gaussian import Gaussian

    class Steep(Identity):
        name = "steep"

        def evaluate(self, grid):
            import jax.numpy as jnp

            return jnp.exp(3.0 * jnp.atleast_1d(self.x))

    posterior = sf.Posterior(
        (Steep(x=sf.Normal(np.zeros(3), 1.0)), Direct(Gaussian([0.0] * 3, [0.5] * 3), Annotation("d")))
    )
    draws = sf.NUTS(target_accept=0.3)(posterior, 1, Progress(False))
    assert draws.diagnostics["divergences"] <= 0.005 * draws.latent.shape[0] * draws.latent.shape[1]
    assert draws.converged, draws.messages
    x = np.linspace(-8.0, 3.0, 20001)
    density = np.exp(-0.5 * x**2 - 0.5 * (np.exp(3.0 * x) / 0.5) ** 2)
    mean = np.sum(x * density) / density.sum()
    assert draws.latent.mean(axis=(0, 1)) == pytest.approx(np.full(3, mean), abs=0.08)
