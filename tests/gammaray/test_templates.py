"""Templates, halo, disk, harmonics: against independent numbers, scipy and finite differences."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import skyfold as sf
from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.gammaray.disk import Disk
from skyfold.gammaray.emission import Emission, Population
from skyfold.gammaray.harmonics import Harmonics, harmonics, terms
from skyfold.gammaray.line_of_sight import Axis, chebyshev, interpolated
from skyfold.gammaray.nfw import NFWSquared
from skyfold.gammaray.pixels import Pixels
from skyfold.gammaray.regions import Band, Disc
from skyfold.gammaray.templates import Blend, Isotropic, Mixture, Template

pytest.importorskip("astropy_healpix")

N128 = 12 * 128**2


@pytest.fixture(scope="module")
def region() -> Pixels:
    sky = Pixels.of(128, np.arange(N128))
    inside = (Disc(25) & ~Band(2)).inside(sky.longitude, sky.latitude)
    exposure = 1e11 * (1.0 + 0.2 * np.sin(sky.longitude[inside]))
    return Pixels.of(128, np.flatnonzero(inside), exposure)


@pytest.fixture(scope="module")
def reference(reference_numbers: Path) -> dict:
    return json.loads((reference_numbers / "templates.json").read_text())


@jit
def template(model, pixels):
    return model.template(pixels)


def at(pixels: Pixels, numbers: list[int]) -> np.ndarray:
    return np.searchsorted(pixels.index, numbers)


@pytest.mark.parametrize("gamma", [0.2, 1.0, 1.2, 2.0])
def test_halo_against_reference(region: Pixels, reference: dict, gamma: float) -> None:
    wanted = reference[f"nfw2_gamma{gamma}"]
    found = np.asarray(template(NFWSquared(gamma, exposure=False), region))
    np.testing.assert_allclose(found[at(region, wanted["pixels"])], wanted["value"], rtol=1e-8)
    np.testing.assert_allclose(found.max(), wanted["max"], rtol=1e-8)


@pytest.mark.parametrize(("zs", "C"), [(0.6, 6.0), (0.25, 3.5), (0.1, 0.05), (2.5, 8.0)])
def test_disk_against_reference(region: Pixels, reference: dict, zs: float, C: float) -> None:
    wanted = reference[f"lorimer_zs{zs}_C{C}"]
    found = np.asarray(template(Disk(zs, C, published=True, exposure=False), region))
    np.testing.assert_allclose(found[at(region, wanted["pixels"])], wanted["value"], rtol=3e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.2, 1.0, 2.0])
def test_halo_on_the_whole_sky(gamma: float) -> None:
    from scipy.integrate import quad

    sky = Pixels.of(16, np.arange(12 * 16**2))
    found = np.asarray(jit(NFWSquared.shape)(NFWSquared(gamma), sky))
    psi = np.arccos(np.clip(sky.direction[0], -1, 1))
    for i in np.argsort(psi)[[0, 1, 7, 100, 1000, 2000, -1]]:
        p, nearest = 8.224 * np.sin(psi[i]), 8.224 * np.cos(psi[i])

        def density(t: float, p: float = p, nearest: float = nearest) -> float:
            x = np.hypot(p, t - nearest) / 20.0
            return (x**-gamma * (1 + x) ** (gamma - 3)) ** 2

        middle = min(max(nearest, 0.0), 40.0)
        exact = sum(
            quad(density, *ends, points=[nearest], limit=400, epsabs=0, epsrel=1e-10)[0] if ends[1] > ends[0] else 0.0
            for ends in ((0.0, middle), (middle, 40.0))
        )
        assert found[i] * 1.0 == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(("zs", "C"), [(0.1, 0.05), (0.1, 8.0), (2.5, 0.05), (2.5, 8.0), (0.4, 3.0)])
def test_disk_interpolation_and_quadrature(region: Pixels, zs: float, C: float) -> None:
    from scipy.integrate import quad

    coarse = np.asarray(template(Disk(zs, C, exposure=False), region))
    every = np.asarray(template(Disk(zs, C, exposure=False, nodes=None), region))
    np.testing.assert_allclose(coarse, every, rtol=1e-5)
    shape = np.asarray(jit(Disk.shape)(Disk(zs, C), region))
    for i in (0, 1500, 4100, 8291):
        longitude, latitude = region.longitude[i], region.latitude[i]

        def density(s: float, b: float = latitude, l: float = longitude) -> float:  # noqa: E741
            radius = np.hypot(s * np.cos(b) * np.cos(l) - 8.224, s * np.cos(b) * np.sin(l))
            return np.exp(-C * (radius / 8.224 - 1) - abs(s * np.sin(b)) / zs)

        middle = 8.224 * np.cos(longitude) / np.cos(latitude)
        exact = sum(quad(density, *ends, limit=400, epsrel=1e-10)[0] for ends in ((0, middle), (middle, 100)))
        assert shape[i] == pytest.approx(exact, rel=1e-5)


def test_disk_jacobian(region: Pixels) -> None:
    published = np.asarray(template(Disk(0.5, 3.0, exposure=False, published=True), region))
    right = np.asarray(template(Disk(0.5, 3.0, exposure=False), region))
    ratio = right / published * np.cos(region.latitude)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)


def test_shipped_maps(shared: Path, region: Pixels) -> None:
    folder = shared / "data/gammaray/fermi_573w_nside128"
    exposure = np.load(folder / "fermidata_exposure.npy")[region.index]
    pixels = Pixels.of(128, region.index, exposure)
    # the shipped maps are blurred by the PSF, which has no effect far from the centre, and have the Sun at 8.5 kpc
    far = region.direction[0] < np.cos(np.radians(5.0))
    for gamma, name in ((1.0, "nfw_g1p0"), (1.2, "nfw_g1p2")):
        shipped = np.asarray(template(Template.read(folder / f"template_{name}.npy"), pixels))[far]
        own = np.asarray(template(NFWSquared(gamma, R_sun=8.5), pixels))[far]
        np.testing.assert_allclose(own / own.mean(), shipped / shipped.mean(), rtol=6e-4)


def test_gradients(region: Pixels) -> None:
    weights = np.random.default_rng(1).standard_normal(region.n_pix)

    def total(x):
        halo = NFWSquared(x[0], r_s=x[1], modulation=Harmonics(x[4:9]))
        return jnp.sum(weights * (halo.template(region) + Disk(x[2], x[3]).template(region)))

    x = jnp.array([1.1, 18.0, 0.4, 3.0, 0.03, -0.02, 0.01, 0.04, 0.02])
    reverse, forward = np.asarray(jit(jax.grad(total))(x)), np.asarray(jit(jax.jacfwd(total))(x))
    value = jit(total)
    step = 1e-5 * np.asarray(x)
    wanted = [(value(x.at[i].add(h)) - value(x.at[i].add(-h))) / (2 * h) for i, h in enumerate(step)]
    np.testing.assert_allclose(reverse, wanted, rtol=1e-6)
    np.testing.assert_allclose(forward, reverse, rtol=1e-10)
    assert np.all(np.isfinite(jit(jax.jacfwd(jax.grad(total)))(x)))


@pytest.mark.parametrize("edge", [(0.2, 0.1, 0.05), (2.0, 2.5, 8.0)])
def test_finite_at_the_edges_of_the_priors(region: Pixels, edge: tuple[float, float, float]) -> None:
    def maps(x):
        return jnp.stack([NFWSquared(x[0]).template(region), Disk(x[1], x[2]).template(region)])

    assert np.all(np.isfinite(jit(jax.jacfwd(maps))(jnp.array(edge))))


def test_harmonics_are_those_of_scipy(region: Pixels) -> None:
    from scipy.special import sph_harm_y

    found = np.asarray(harmonics(region.direction, 4, True))
    for row, (degree, order, sine) in zip(found, terms(4, True), strict=True):
        wanted = sph_harm_y(degree, order, np.pi / 2 - region.latitude, region.longitude)
        np.testing.assert_allclose(row, wanted.imag if sine else wanted.real, atol=1e-13)
    assert terms(2, False) == [(1, 0, False), (1, 1, False), (2, 0, False), (2, 1, False), (2, 2, False)]


def test_modulation(region: Pixels) -> None:
    mixed = Isotropic(exposure=False, modulation=Harmonics(np.full(5, 0.05)))
    found = np.asarray(template(mixed, region))
    factor = 1 + 0.05 * np.asarray(harmonics(region.direction, 2)).sum(axis=0)
    np.testing.assert_allclose(found, factor / factor.mean(), rtol=1e-13)
    light = Harmonics(np.full(5, 0.05)) * Isotropic(3.0, exposure=False)
    np.testing.assert_allclose(np.asarray(light.evaluate(region).smooth), 3.0 * factor, rtol=1e-13)
    assert Harmonics(order=2, sine=True).coefficients.prior.shape == (8,)
    assert Harmonics(sf.Normal(0, 0.1)).coefficients.prior.shape == (5,)


def test_exposure(region: Pixels) -> None:
    flux = np.asarray(template(Isotropic(), region))
    np.testing.assert_allclose(flux, region.exposure / region.exposure.mean(), rtol=1e-13)
    assert np.all(np.asarray(template(Isotropic(exposure=False), region)) == 1.0)
    bare = Pixels.of(128, region.index)
    with pytest.raises(SkyfoldError, match="has no exposure"):
        Isotropic().template(bare)


def test_mixtures(region: Pixels) -> None:
    rng = np.random.default_rng(2)
    maps = rng.random((3, N128)) * np.array([[1.0], [20.0], [300.0]])
    members = [Template(m, name=n) for m, n in zip(maps, "abc", strict=True)]
    unit = maps[:, region.index] / maps[:, region.index].mean(axis=1, keepdims=True)
    mixture = Mixture(members, 7.0, np.array([0.2, 0.3, 0.5]))
    smooth = np.asarray(mixture.evaluate(region).smooth)
    np.testing.assert_allclose(smooth, 7.0 * np.array([0.2, 0.3, 0.5]) @ unit, rtol=1e-13)
    assert smooth.mean() == pytest.approx(7.0)
    blend = np.asarray(template(Blend(members[0], members[2], fraction=0.3), region))
    np.testing.assert_allclose(blend, 0.3 * unit[0] + 0.7 * unit[2], rtol=1e-13)


def test_energy_bins() -> None:
    pixels = Pixels.of(4, np.arange(192), np.ones((2, 192)))
    rng = np.random.default_rng(3)
    maps = rng.random((2, 192))
    found = np.asarray(Template(maps, np.array([2.0, 5.0])).evaluate(pixels).smooth)
    np.testing.assert_allclose(found.mean(axis=1), [2.0, 5.0])
    assert np.asarray(Isotropic(np.array([1.0, 2.0])).evaluate(pixels).smooth).shape == (2, 192)


def test_names_and_priors() -> None:
    members = [Template(np.ones(12), name="O"), Template(np.ones(12), name="A")]
    model = Mixture(members, sf.Uniform(0, 14), name="pib") + NFWSquared(norm=sf.Uniform(0, 4), name="gce")
    assert model.free_parameters == ("pib.norm", "pib.weights", "gce.norm", "gce.gamma")
    assert repr(model) == "pib + gce"


def test_emission_adds_and_scales() -> None:
    population = Population(jnp.ones(3), None)
    both = Emission(jnp.ones(3)) + Emission(2 * jnp.ones(3), (population,))
    scaled = np.arange(3.0) * both * 2.0
    assert np.asarray(scaled.smooth).tolist() == [0.0, 6.0, 12.0]
    assert np.asarray(scaled.populations[0].template).tolist() == [0.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Template(np.ones(100)), "no full HEALPix sphere"),
        (lambda: Template(np.full(12, -1.0)), "finite and not negative"),
        (lambda: Template(np.full(12, np.nan)), "finite and not negative"),
        (lambda: Mixture([]), "at least one"),
        (lambda: Mixture([Template(np.ones(12), 2.0)]), "has no effect inside"),
        (lambda: Mixture([Isotropic(sf.Uniform(0, 1))]), "has no effect inside"),
        (lambda: Mixture([Isotropic(), Isotropic()], weights=sf.Dirichlet(np.ones(3))), "as many weights"),
        (lambda: Blend(Isotropic(), 3.0), "is made of templates"),
        (lambda: Isotropic(modulation=Isotropic()), "multiplicative"),
        (lambda: Harmonics(np.ones(3)), "have 5 coefficients"),
        (lambda: Harmonics(order=0), "whole number"),
        (lambda: Disk(nodes=(2, 2)), "from 4 on"),
        (lambda: NFWSquared(s_max=-1.0), "s_max"),
        (lambda: Template(np.ones(12)).template(Pixels.of(4, np.arange(9))), "nside 1 and the counts have nside 4"),
    ],
)
def test_bad_input(make, message: str) -> None:
    with pytest.raises(SkyfoldError, match=message):
        make()


def test_chebyshev() -> None:
    x = np.linspace(-1, 1, 50)
    np.testing.assert_allclose(chebyshev(jnp.asarray(x), 13), np.polynomial.chebyshev.chebvander(x, 12).T, atol=1e-13)
    axes = Axis(jnp.asarray(x), 16), Axis(jnp.asarray(x**2), 12)
    found = interpolated(lambda u, v: jnp.exp(u * v + jnp.sin(u)), *axes)
    np.testing.assert_allclose(found, np.exp(x * x**2 + np.sin(x)), rtol=1e-10)
