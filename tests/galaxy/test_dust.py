"""Dust laws against published curves as other programs compute them, and energy balance."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skyfold.compiled.jit import jit
from skyfold.errors import FileFormatError
from skyfold.galaxy import dust

LIGHT = 2.99792458e18
WAVE = np.array([1500.0, 2175.0, 3000.0, 4400.0, 8000.0, 20000.0])
# dust_extinction 1.7 (CCM89, G03_SMCBar), extinction 0.4 (calzetti00), bagpipes 1.3 (Salim, delta = -0.3, B = 2)
CURVES = {
    "cardelli 3.1": [2.66387921, 3.18510128, 1.8181567, 1.32452125, 0.59748901, 0.13234973],
    "cardelli 5": [1.49603462, 1.97428611, 1.37417624, 1.20110764, 0.66743949, 0.15351259],
    "smc": [4.76702021, 3.13109021, 2.01726236, 1.374, 0.57953365, 0.12692964],
    "calzetti": [2.55158182, 2.09349184, 1.70999069, 1.24945386, 0.63430543, 0.12220173],
    "salim": [3.79639991, 3.43178659, 2.08901582, 1.34326388, 0.56834993, 0.08317057],
}
LAWS = {
    "cardelli 3.1": dust.Cardelli(Av=1.0),
    "cardelli 5": dust.Cardelli(Av=1.0, Rv=5.0),
    "smc": dust.SMC(Av=1.0),
    "calzetti": dust.Calzetti(Av=1.0),
    "salim": dust.Salim(Av=1.0, slope=-0.3, bump=2.0),
}


@pytest.mark.parametrize("name", CURVES)
def test_curves_are_the_published_ones(name):
    np.testing.assert_allclose(LAWS[name].curve(WAVE), CURVES[name], rtol=1e-7)


@pytest.mark.parametrize("name", CURVES)
def test_transmission_is_of_the_curve_and_the_same_for_all_stars(name):
    young, old = LAWS[name].transmission(WAVE)
    np.testing.assert_allclose(young, 10 ** (-0.4 * np.array(CURVES[name])), rtol=1e-7)
    np.testing.assert_array_equal(young, old)
    assert LAWS[name].t_birth == 0.01


def test_kriek_conroy_is_the_starburst_law_with_a_tied_bump():
    law = dust.KriekConroy(Av=1.0, slope=-0.3)
    drude = (350 * WAVE) ** 2 / ((WAVE**2 - 2175**2) ** 2 + (350 * WAVE) ** 2)
    expected = (4.05 * np.array(CURVES["calzetti"]) + (0.85 + 1.9 * 0.3) * drude) / 4.05 * (WAVE / 5500) ** -0.3
    np.testing.assert_allclose(law.curve(WAVE), expected, rtol=1e-7)
    bare = dust.KriekConroy(Av=1.0, slope=0.0, bump=0.0)
    np.testing.assert_allclose(bare.curve(WAVE), CURVES["calzetti"], rtol=1e-7)


def test_salim_without_slope_and_bump_is_the_starburst_law():
    np.testing.assert_allclose(dust.Salim(Av=1.0, slope=0.0, bump=0.0).curve(WAVE), CURVES["calzetti"], rtol=1e-7)


def test_charlot_fall_puts_the_clouds_on_top_of_the_diffuse_dust():
    law = dust.CharlotFall(tau_bc=1.0, tau_diff=0.5, slope=-0.7, slope_bc=-1.3)
    young, old = law.transmission(np.array([5500.0, 2000.0]))
    x = 2000 / 5500
    np.testing.assert_allclose(old, np.exp([-0.5, -0.5 * x**-0.7]), rtol=1e-14)
    np.testing.assert_allclose(young, np.exp([-1.5, -0.5 * x**-0.7 - x**-1.3]), rtol=1e-14)


def test_two_components_of_any_laws():
    birth, diffuse = dust.SMC(Av=1.0), dust.PowerLawDust(Av=0.5)
    young, old = dust.TwoComponent(birth, diffuse).transmission(WAVE)
    np.testing.assert_allclose(old, diffuse.transmission(WAVE)[0])
    np.testing.assert_allclose(young, old * birth.transmission(WAVE)[0])
    clouds = 1.0857362047581294  # magnitudes per optical depth
    same = dust.TwoComponent(dust.PowerLawDust(Av=clouds), dust.PowerLawDust(Av=0.3 * clouds)).transmission(WAVE)
    for a, b in zip(same, dust.CharlotFall(tau_bc=1.0, tau_diff=0.3).transmission(WAVE), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("law", [*LAWS.values(), dust.KriekConroy(Av=1.0), dust.PowerLawDust(Av=1.0)], ids=repr)
def test_curves_fall_from_far_ultraviolet_to_infrared_and_stay_finite(law):
    law = law.with_values({f"{law.name}.{p.split('.')[1]}": 0.0 for p in law.free_parameters})
    wave = np.geomspace(50, 1e7, 3000)
    k = np.asarray(law.curve(wave))
    assert np.all(np.isfinite(k)) and np.all(k >= 0)
    assert np.all(k[wave > 40000] < 0.25)


def test_slopes_by_parameters_match_differences():
    def total(slope, bump):
        return jnp.sum(dust.Salim(Av=0.7, slope=slope, bump=bump).transmission(WAVE)[0])

    h = 1e-6
    a, b = jax.grad(total, (0, 1))(-0.3, 1.0)
    np.testing.assert_allclose(a, (total(-0.3 + h, 1.0) - total(-0.3 - h, 1.0)) / (2 * h), rtol=1e-7)
    np.testing.assert_allclose(b, (total(-0.3, 1.0 + h) - total(-0.3, 1.0 - h)) / (2 * h), rtol=1e-7)


# -- emission --------------------------------------------------------------------------------------------------------

EMISSIONS = [
    dust.ModifiedBlackBody(T=25.0, beta=1.6),
    dust.ModifiedBlackBody(T=80.0, beta=2.5),
    dust.Casey2012(T=35.0, beta=1.6, alpha=2.0),
    dust.Casey2012(T=60.0, beta=2.3, alpha=1.2),
    dust.Casey2012(T=15.0, beta=1.0, alpha=3.5),
]


def luminosity(emission, wave):
    return -np.trapezoid(np.asarray(emission.emission(wave)), LIGHT / wave)


@pytest.mark.parametrize("emission", EMISSIONS)
def test_emission_has_unit_luminosity(emission):
    assert luminosity(emission, np.geomspace(9.999e3, 1e9, 20000)) == pytest.approx(1.0, abs=2e-4)


def test_modified_black_body_of_no_emissivity_is_planck_s():
    wave = np.array([1e5, 1e6, 1e7])
    h, k, sigma = 6.62607015e-27, 1.380649e-16, 5.670374419e-5
    nu = LIGHT / wave
    planck = 2 * h * nu**3 / 2.99792458e10**2 / np.expm1(h * nu / (k * 40.0))
    mine = dust.ModifiedBlackBody(T=40.0, beta=0.0).emission(wave)
    np.testing.assert_allclose(mine, np.pi * planck / (sigma * 40.0**4), rtol=1e-9)


def test_casey_joins_its_parts_and_follows_the_power_law_below():
    e = dust.Casey2012(T=35.0, beta=1.6, alpha=2.0)
    near, far = np.asarray(e.emission(np.array([3e4, 4e4])))
    assert np.log(far / near) / np.log(4 / 3) == pytest.approx(2.0, abs=0.02)
    assert float(e.emission(np.array([9e3]))[0]) == 0.0


@pytest.mark.parametrize("emission", EMISSIONS[::2])
def test_emission_has_finite_slopes_everywhere(emission):
    wave = np.geomspace(91, 1e8, 200)
    slope = jax.jacobian(lambda e: e.emission(wave))(jax.tree.map(jnp.asarray, emission))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slope))


def test_what_is_absorbed_is_sent_out_again():
    wave = np.geomspace(912, 1e8, 4000)
    light = np.exp(-(np.log(wave / 5000.0) ** 2)) / 1e15
    left = np.asarray(dust.Calzetti(Av=1.0).transmission(wave)[0])
    absorbed = -np.trapezoid(light * (1 - left), LIGHT / wave)
    for emission in EMISSIONS:
        total = light * left + absorbed * np.asarray(emission.emission(wave))
        assert np.trapezoid(total, LIGHT / wave) == pytest.approx(np.trapezoid(light, LIGHT / wave), rel=1e-3)


def _templates(path, cut=None):
    micron = np.geomspace(1, 1000, 300)
    alphas = np.arange(1, 65) * 0.0625
    peak = 60 * (1 + alphas)
    table = np.column_stack([micron, -(np.log10(micron[:, None] / peak) ** 2) * 3 + 9.0])
    np.savetxt(path, table[:, :cut])


def test_dale_templates_are_read_and_normalised(tmp_path):
    _templates(tmp_path / "spectra.dat")
    e = dust.read_dale2014(tmp_path / "spectra.dat", alpha=2.03)
    assert luminosity(e, np.geomspace(2e4, 2e7, 30000)) == pytest.approx(1.0, abs=1e-3)
    at = [float(e.with_values({"dale2014.alpha": a}).emission(np.array([3e5]))[0]) for a in (2.0, 2.03, 2.0625)]
    assert at[1] == pytest.approx(at[0] + (at[2] - at[0]) * 0.03 / 0.0625, rel=1e-12)


def test_dale_file_of_another_shape_is_refused(tmp_path):
    _templates(tmp_path / "spectra.dat", 20)
    with pytest.raises(FileFormatError, match="65"):
        dust.read_dale2014(tmp_path / "spectra.dat")
    with pytest.raises(FileFormatError, match="no such file"):
        dust.read_dale2014(tmp_path / "other.dat")


def _draine_li(folder):
    micron = np.geomspace(1e4, 1, 400)
    for q, name in ((0.47, "00"), (4.58, "60")):
        for u in ("1.00", "10.0"):
            for top in (u, "1e6"):
                shape = np.exp(-((np.log(micron * float(u) ** 0.18 / (100 if top == u else 40))) ** 2)) * (1 + q / 50)
                nu_p = float(u) * 1e-24 * shape
                rows = "\n".join(f" {a:.4e} {b:.4e} {c:.4e}" for a, b, c in zip(micron, nu_p, nu_p, strict=True))
                text = (
                    f" {u} {top} {name}\n 4.58 = qpah\n lambda nu*dP/dnu j_nu\n (um) (erg s-1 H-1) (Jy cm2 sr-1 H-1)\n"
                )
                (folder / f"U{u}_{top}_MW3.1_{name}.txt").write_text(text + rows + "\n")


def test_draine_li_tables_are_read_and_mixed(tmp_path):
    _draine_li(tmp_path)
    wave = np.geomspace(1.1e4, 9e7, 20000)
    e = dust.read_draine_li2007(tmp_path, qpah=2.0, umin=3.0, gamma=0.1)
    assert luminosity(e, wave) == pytest.approx(1.0, abs=1e-3)
    cold = dust.read_draine_li2007(tmp_path, qpah=0.47, umin=1.0, gamma=0.0)
    own = np.exp(-(np.log(wave * 1e-4 / 100) ** 2)) * wave
    own /= -np.trapezoid(own, LIGHT / wave)
    np.testing.assert_allclose(cold.emission(wave)[5000:15000], own[5000:15000], rtol=2e-3)


def test_incomplete_draine_li_tables_are_refused(tmp_path):
    _draine_li(tmp_path)
    (tmp_path / "U1.00_1e6_MW3.1_00.txt").unlink()
    with pytest.raises(FileFormatError, match="umin = 1, qpah = 0.47%"):
        dust.read_draine_li2007(tmp_path)
    with pytest.raises(FileFormatError, match="at least two"):
        dust.read_draine_li2007(tmp_path / "nowhere")


def test_laws_compile_once_for_other_numbers():
    f = jit(lambda law, wave: law.transmission(wave))
    for tau in (0.1, 0.7):
        f(jax.tree.map(jnp.asarray, dust.CharlotFall(tau_bc=tau, tau_diff=tau)), jnp.asarray(WAVE))
    assert f.executables() == 1
