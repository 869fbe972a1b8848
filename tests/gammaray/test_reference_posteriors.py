"""Posteriors of real data against long chains of another program, and the likelihood of many points at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import skyfold as sf
from skyfold.compiled.jit import jit
from skyfold.gammaray.maps import CountsMap
from skyfold.gammaray.models import galactic_centre
from skyfold.gammaray.nfw import NFWSquared
from skyfold.gammaray.point_sources import log_likelihood, prepare
from skyfold.gammaray.regions import Band, Disc
from skyfold.gammaray.source_counts import BrokenPowerLaw
from skyfold.gammaray.templates import Template

pytest.importorskip("astropy_healpix")

#: Files and upper ends of the priors.
TEMPLATES = {"pib": ("Opi", 14), "ics": ("Oic", 14), "iso": ("iso", 5), "bub": ("bub", 5), "psc": ("psc_3fgl", 5)}
THETA = np.array([0.1, 4.0, 1.2, -2.0, 9.0, 4.0])


@pytest.fixture(scope="module")
def inner_galaxy(shared: Path) -> sf.Posterior:
    folder = shared / "data/gammaray/fermi_573w_nside128"
    files = [folder / f"{name}.npy" for name in ("fermidata_counts", "fermidata_exposure", "mask_3fgl_0p8deg")]
    sky = CountsMap.read(*files).within(Disc(25) & ~Band(2))
    parts: list[Any] = [
        Template.read(folder / f"template_{file}.npy", sf.Uniform(1e-3, high), name=name)
        for name, (file, high) in TEMPLATES.items()
    ]
    model = sum(parts[1:], start=parts[0]) + NFWSquared(0.9, sf.Uniform(1e-5, 4), exposure=False)
    return sf.Posterior((model, sky))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["auto", sf.NUTS(draws=2000)], ids=["auto", "nuts"])
def test_six_norms_against_long_chains(inner_galaxy: sf.Posterior, shared: Path, method: Any) -> None:
    wanted = json.loads((shared / "reference/gammaray/posterior_small_models_nuts.json").read_text())["poisson"]
    result = inner_galaxy.fit(method, seed=3)
    assert result.converged
    for name, values in result.samples.items():
        true = wanted["S_" + name.removesuffix(".norm")]
        mean = np.average(values.ravel(), weights=result.weights.ravel())
        sd = np.sqrt(np.average((values.ravel() - mean) ** 2, weights=result.weights.ravel()))
        assert abs(mean - true["mean"]) < 0.1 * true["sd"], name
        assert sd == pytest.approx(true["sd"], rel=0.05), name


@pytest.mark.slow
def test_many_points_at_once_are_those_one_by_one() -> None:
    rng = np.random.default_rng(5)
    counts = rng.poisson(6.0, 60)
    prepared = prepare(counts, [0.3, 0.7], [1.0, 1.0], exposure=rng.uniform(0.8, 1.2, 60))
    templates = rng.uniform(0.5, 1.5, (1, 60))

    def total(p: jax.Array) -> jax.Array:
        source_count = BrokenPowerLaw.from_theta(THETA * p[:6])
        return log_likelihood(prepared, p[6] * np.full(60, 3.0), templates * p[7], [source_count]).sum()

    point = rng.uniform(0.95, 1.05, 8)
    step = 1e-5 * np.eye(8)
    value, gradient = jit(jax.vmap(jax.value_and_grad(total)))(np.concatenate([point + step, point - step]))
    v, slope = jit(jax.value_and_grad(total))(point + step[3])
    assert value[3] == pytest.approx(float(v), abs=1e-9)
    np.testing.assert_allclose(gradient[3], slope, rtol=1e-9, atol=1e-9)
    middle = 0.5 * (gradient[:8] + gradient[8:])
    np.testing.assert_allclose(np.diagonal(middle), (value[:8] - value[8:]) / 2e-5, rtol=1e-6, atol=1e-6)
    curvature = jit(jax.jacfwd(jax.grad(total)))(point)
    np.testing.assert_allclose(curvature, (gradient[:8] - gradient[8:]) / 2e-5, rtol=1e-5, atol=1e-4)


def test_published_priors_of_point_sources() -> None:
    names = [*(f"{f}{kind}" for f in "OAF" for kind in ("pi", "ic")), "iso", "bub", "psc"]
    ones = np.ones(12 * 16**2)
    sky = CountsMap.read(ones, 1e11 * ones).within(Disc(40)).with_point_sources([1.0], [1.0])
    model = galactic_centre({name: ones for name in names}, [Template(ones, name="bulge")])
    priors = {p.name: p.prior for p in sf.Posterior((model, sky)).parameters}
    for name in ("gce_ps.Sps", "dsk_ps.Sps", "gce.norm"):
        assert isinstance(priors[name], sf.Uniform) and (priors[name].low, priors[name].high) == (1e-5, 4.0), name
