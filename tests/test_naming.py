"""Names of what observations hold: components, other observations, and parameters of their own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import Direct, Greybody, Identity, Photometry, photometry

import skyfold as sf
from skyfold.compiled.annotation import Annotation
from skyfold.component import Component
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.observation import Observation
from skyfold.parameters import Parameter
from skyfold.results.description import Description


class WithBackground(Observation):
    """Bands that see a further component, which no model knows of."""

    inner: Photometry
    background: Component

    def predict(self, model: Component) -> jax.Array:
        return self.inner.predict(model) + self.inner.predict(self.background)


class Both(Observation):
    """Two observations of one model, one after the other."""

    parts: tuple[Observation, ...]

    def predict(self, model: Component) -> jax.Array:
        return jnp.concatenate([o.predict(model) for o in self.parts])


def both(*parts: Observation) -> Both:
    likelihoods: Any = [p.likelihood for p in parts]
    data, sigma = (np.concatenate([getattr(x, k) for x in likelihoods]) for k in ("data", "sigma"))
    return Both(Gaussian(data, sigma), Annotation("both"), parts)


def with_background(background: Component, **own: object) -> WithBackground:
    inner = photometry(**own)
    return WithBackground(inner.likelihood, Annotation("bands"), inner, background)


def test_a_component_inside_an_observation_is_free_and_numbered() -> None:
    posterior = sf.Posterior((Greybody(), with_background(Greybody(temperature=3.0))))
    assert posterior.names == ("greybody.amplitude", "greybody.temperature", "greybody_2.amplitude")
    z = np.array([0.1, 0.2, 0.3])
    values = posterior.values(z)
    model, observation = posterior.resolved(z)["bands"]
    assert float(observation.background.amplitude) == pytest.approx(float(values["greybody_2.amplitude"]))
    expected = np.asarray(observation.predict(model))
    np.testing.assert_allclose(posterior.kernel.expected(jnp.asarray(z))[0], expected, rtol=1e-12)
    described = Description.of(posterior)
    assert described.entries == posterior.names
    assert described.fixed == {"greybody_2.temperature": 3.0, "bands.offset": 0.0}
    slope = jax.grad(posterior.kernel.log_likelihood)(jnp.asarray(z))
    np.testing.assert_allclose(posterior.kernel.linearised(jnp.asarray(z))[1], slope, rtol=1e-9)


def test_a_result_with_a_background_of_its_own_is_kept(tmp_path: Any) -> None:
    posterior = sf.Posterior((Greybody(), with_background(Greybody(temperature=3.0))))
    result = posterior.fit("map", progress=False)
    assert "greybody_2.amplitude" in str(result)
    again = sf.Result.load(result.save(tmp_path / "result.nc"))
    assert again.best["greybody_2.amplitude"] == pytest.approx(float(result.best["greybody_2.amplitude"]))


def test_the_very_same_component_and_parameter_keep_one_name() -> None:
    source, t = Greybody(), Parameter(sf.Normal(5.0, 1.0))
    same = sf.Posterior((source, with_background(source)))
    assert same.names == ("greybody.amplitude", "greybody.temperature")
    shared = sf.Posterior((Greybody(temperature=t), with_background(Greybody(temperature=t), offset=0.1 * t)))
    assert shared.names == ("greybody.amplitude", "greybody.temperature", "greybody_2.amplitude")


def test_own_parameters_of_observations_inside_an_observation() -> None:
    free = sf.Normal(0, 0.1)
    one = sf.Posterior((Greybody(), both(photometry(offset=free))))
    assert one.names[-1] == "both.offset"
    two = sf.Posterior((Greybody(), both(photometry(offset=free), photometry(3, offset=free))))
    assert two.names[-2:] == ("both.offset", "both.offset_2")
    moved = two.kernel.expected(jnp.array([0.0, 0.0, 1.0, 0.0]))[0] - two.kernel.expected(jnp.zeros(4))[0]
    np.testing.assert_allclose(moved, [0.1] * 7 + [0.0] * 7, atol=1e-12)
    p = Parameter(free)
    once = sf.Posterior((Greybody(), both(photometry(offset=p), photometry(3, offset=p))))
    assert once.names[-1] == "both.offset" and once.ndim == 3
    fixed = sf.Posterior((Greybody(), both(photometry(offset=0.1), photometry(offset=0.2))))
    assert fixed.fields["both.offset"].value == 0.1 and fixed.fields["both.offset_2"].value == 0.2


def test_a_parameter_in_a_field_that_is_not_declared_is_refused() -> None:
    class Undeclared(Observation):
        offset: Any

        def predict(self, model: Component) -> jax.Array:
            return model.evaluate(None) + self.offset

    o = Undeclared(Gaussian([1.0], [1.0]), Annotation("o"), Parameter(sf.Normal(0, 1)))
    with pytest.raises(sf.SkyfoldError, match=r"Normal\(0, 1\).*declare"):
        sf.Posterior((Identity(x=sf.Normal(0, 1)), o))


def test_what_stands_in_a_static_field_is_not_walked() -> None:
    o = Direct(Gaussian([1.0], [1.0]), Annotation(Greybody()))
    assert sf.Posterior((Identity(x=sf.Normal(0, 1)), o)).names == ("vector.x",)


def test_tables_that_pairs_share_stand_once_in_the_kernel() -> None:
    class Tabulated(Identity):
        table: np.ndarray = None

        def evaluate(self, grid: Any) -> jax.Array:
            return self.x * self.table

    model = Tabulated(x=sf.Normal(0.0, 1.0), table=np.ones(1000))
    o = Direct(Gaussian(np.ones(1000), np.full(1000, 0.1)), Annotation("d"))
    leaves = [jax.tree.leaves(sf.Posterior(*[(model, o)] * n).kernel) for n in (1, 3)]
    one, three = ({x.unsafe_buffer_pointer() for x in found} for found in leaves)
    assert len(three) == len(one)
    posterior = sf.Posterior(*[(model, o)] * 3)
    single = sf.Posterior((model, o))
    z = np.array([0.3])
    assert float(posterior.log_likelihood(z)) == pytest.approx(3 * float(single.log_likelihood(z)), rel=1e-12)
