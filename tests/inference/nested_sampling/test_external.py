"""Samplers of other packages through the unit cube: exact on Gaussians, honest, clear where they are missing."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats as st
from toys import direct

import skyfold as sf
from skyfold.inference.nested_sampling.dynesty import Dynesty
from skyfold.inference.nested_sampling.nautilus import Nautilus
from skyfold.inference.nested_sampling.ultranest import UltraNest
from skyfold.inference.nested_sampling.unit_cube import FLOOR, Cube
from skyfold.inference.running.checkpoint import Checkpoint
from skyfold.inference.running.progress import Progress
from skyfold.priors import NumPyroPrior

METHODS = {
    "ultranest": (UltraNest, {"live": 200, "screen": 256, "starts": 4}),
    "nautilus": (Nautilus, {"live": 400, "networks": 1, "effective": 3000, "screen": 256, "starts": 4}),
    "dynesty": (Dynesty, {"live": 200, "screen": 256, "starts": 4}),
}
DATA, SIGMA = np.array([1.0, -1.0]), np.array([0.5, 0.2])


def run(method, posterior, seed=0, **more):
    return method(posterior, seed, Progress(False), **more)


def installed(name: str):
    pytest.importorskip(name)
    kind, settings = METHODS[name]
    return lambda **own: kind(**{**settings, **own})


@pytest.fixture(scope="module")
def gaussian() -> sf.Posterior:
    return direct(list(DATA), list(SIGMA), sf.Normal(np.zeros(2), 1.0))


def moments(draws, posterior):
    x = np.asarray(posterior.values(draws.latent[0])["vector.x"]).reshape(draws.latent.shape[1], -1)
    w = draws.weights()[0]
    mean = w @ x
    return mean, np.sqrt(w @ (x - mean) ** 2)


@pytest.mark.parametrize("name", METHODS)
def test_a_gaussian_is_exact(gaussian, name, capfd) -> None:
    method = installed(name)()
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    draws = run(method, gaussian, 1)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert capfd.readouterr().out == ""
    assert draws.converged, draws.messages
    assert (draws.method, draws.seed) == (name, 1)
    exact = st.norm.logpdf(DATA, 0.0, np.sqrt(1 + SIGMA**2)).sum()
    assert draws.log_evidence == pytest.approx(exact, abs=4 * draws.log_evidence_error)
    assert 0.003 < draws.log_evidence_error < 0.5
    mean, sd = moments(draws, gaussian)
    np.testing.assert_allclose((mean - DATA / (1 + SIGMA**2)) / SIGMA, 0.0, atol=0.15)
    np.testing.assert_allclose(sd / (SIGMA / np.sqrt(1 + SIGMA**2)), 1.0, atol=0.1)
    np.testing.assert_allclose(draws.best, DATA, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_one_dimension_at_a_bound(name) -> None:
    method = installed(name)()
    posterior = direct([-0.02], [0.05], sf.Uniform(0.0, 1.0))
    exact = st.truncnorm(0.02 / 0.05, 1.02 / 0.05, -0.02, 0.05)
    draws = run(method, posterior)
    mean, sd = moments(draws, posterior)
    assert mean[0] == pytest.approx(exact.mean(), abs=0.15 * exact.std())
    assert sd[0] == pytest.approx(exact.std(), rel=0.12)
    assert draws.log_evidence == pytest.approx(np.log(st.norm.sf(0.0, -0.02, 0.05)), abs=4 * draws.log_evidence_error)


def test_slices_of_ultranest_beyond_its_regions(gaussian) -> None:
    draws = run(installed("ultranest")(max_region=1), gaussian)
    exact = st.norm.logpdf(DATA, 0.0, np.sqrt(1 + SIGMA**2)).sum()
    assert draws.log_evidence == pytest.approx(exact, abs=4 * draws.log_evidence_error)


@pytest.mark.parametrize("name", ["ultranest", "nautilus"])
def test_a_finished_run_is_taken_up_again(gaussian, name, tmp_path) -> None:
    method = installed(name)()
    path = tmp_path / "run.npz"
    first = run(method, gaussian, 2, checkpoint=Checkpoint(path, "same"))
    second = run(method, gaussian, 2, checkpoint=Checkpoint(path, "same"))
    assert second.evaluations < first.evaluations / 2
    assert second.log_evidence == pytest.approx(first.log_evidence, abs=2 * first.log_evidence_error)
    with pytest.raises(sf.SkyfoldError, match="another fit"):
        run(method, gaussian, 2, checkpoint=Checkpoint(path, "other"))


def test_dynesty_s_pickles_are_not_read(gaussian, tmp_path) -> None:
    with pytest.raises(sf.SkyfoldError, match="executes whatever is in the file"):
        run(installed("dynesty")(), gaussian, checkpoint=Checkpoint(tmp_path / "run.npz", "same"))


@pytest.mark.parametrize("name", METHODS)
def test_a_missing_package_is_named(gaussian, name, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(sf.SkyfoldError, match=rf'pip install "skyfold\[{name}\]"'):
        run(METHODS[name][0](), gaussian)


@pytest.mark.parametrize("name", METHODS)
def test_importing_the_methods_does_not_import_the_packages(name) -> None:
    module = importlib.import_module(f"skyfold.inference.nested_sampling.{name}")
    assert not any(getattr(value, "__name__", "") == name for value in vars(module).values())


def test_the_cube(gaussian) -> None:
    cube = Cube(gaussian, "test", Progress(False))
    rng = np.random.default_rng(0)
    for n in (1, 5, 8, 9, 64, 65, 1024, 1500):
        u = rng.random((n, 2))
        expected = gaussian.log_likelihood(st.norm.ppf(u))
        np.testing.assert_allclose(cube(u), expected, rtol=1e-10)
    assert cube.evaluations == 1 + 5 + 8 + 9 + 64 + 65 + 1024 + 1500
    assert np.isfinite(cube(np.array([[0.0, 1.0]]))).all()
    assert len(cube(np.empty((0, 2)))) == 0
    far = direct([1e200], [1e-200], sf.Normal(0.0, 1.0))
    assert Cube(far, "test", Progress(False))(np.array([[0.5]])) == FLOOR
    with pytest.raises(sf.SkyfoldError, match="auto or nuts"):
        Cube(direct([1.0], [1.0], NumPyroPrior(dist.Gumbel(1.0, 2.0))), "test", Progress(False))
