"""Nebular grids: files, interpolation, energy, and the synthetic hydrogen grid."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from skyfold.errors import FileFormatError
from skyfold.galaxy.case_b import synthetic_case_b
from skyfold.galaxy.nebular import Nebular, NebularGrid, line_spectrum

LIGHT, LSUN = 2.99792458e18, 3.828e33


def _grid(**changes):
    rng = np.random.default_rng(1)
    arrays = {
        "log_z": [-3.0, -2.0, -1.5],
        "log_age_gyr": [-3.0, -2.0],
        "log_u": [-4.0, -3.0, -2.0],
        "line_wave": [5008.24, 4862.68],
        "line_luminosity": rng.random((3, 2, 3, 2)),
        "continuum_wave": [1000.0, 2000.0, 9000.0, 20000.0],
        "continuum": rng.random((3, 2, 3, 4)),
    }
    return NebularGrid.from_arrays(("O3", "H_beta"), **{**arrays, **changes})


def test_file_comes_back_as_it_was_written(tmp_path):
    pytest.importorskip("h5py")
    grid = _grid()
    grid.write(tmp_path / "grid.h5")
    again = NebularGrid.read(tmp_path / "grid.h5")
    assert again.line_names == ("O3", "H_beta")
    for a, b in zip(jax.tree.leaves(grid), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_damaged_files_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with pytest.raises(FileFormatError, match="no such file"):
        NebularGrid.read(tmp_path / "grid.h5")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(FileFormatError, match="not an HDF5"):
        NebularGrid.read(tmp_path / "text.h5")
    _grid().write(tmp_path / "grid.h5")
    with h5py.File(tmp_path / "grid.h5", "a") as file:
        del file["continuum"]
    with pytest.raises(FileFormatError, match="continuum"):
        NebularGrid.read(tmp_path / "grid.h5")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log_u": [-4.0, -2.0, -3.0]}, "increase"),
        ({"log_u": [-4.0, -3.0]}, "shape"),
        ({"line_luminosity": -np.ones((3, 2, 3, 2))}, "negative"),
        ({"continuum": np.full((3, 2, 3, 4), np.nan)}, "finite"),
    ],
)
def test_bad_arrays_are_refused(changes, message):
    with pytest.raises(FileFormatError, match=message):
        _grid(**changes)


def test_grid_moves_to_the_nodes_of_populations():
    grid = _grid()
    moved = grid.on([1e-3, 10**-2.5, 0.01, 0.02, 10.0], [-2.5, -1.0])
    lines = np.asarray(grid.line_luminosity)
    assert moved.line_luminosity.shape == (2, 5, 3, 2)
    middle = 0.25 * (lines[0, 0] + lines[0, 1] + lines[1, 0] + lines[1, 1])
    np.testing.assert_allclose(moved.line_luminosity[0, 1], middle, rtol=1e-9)
    np.testing.assert_allclose(moved.line_luminosity[1, 2], lines[2, 1])
    assert np.all(moved.line_luminosity[:, 3:] == 0) and np.all(moved.continuum[:, 3:] == 0)


def test_luminosities_are_linear_in_log_u_and_in_the_photons():
    grid = _grid()
    rate = np.random.default_rng(2).random((3, 2))
    at = [np.asarray(Nebular(grid, log_u=u).lines(rate)) for u in (-3.0, -2.75, -2.0)]
    np.testing.assert_allclose(at[1], 0.75 * at[0] + 0.25 * at[2], rtol=1e-12)
    np.testing.assert_allclose(at[0], np.einsum("ij,ijl->l", rate, np.asarray(grid.line_luminosity)[:, :, 1]))
    np.testing.assert_allclose(Nebular(grid, log_u=-3.0, escape=0.25).lines(2 * rate), 1.5 * at[0])
    assert np.all(np.isfinite(jax.grad(lambda u: Nebular(grid, log_u=u).lines(rate).sum())(-2.5)))


def test_lines_keep_their_luminosity_on_any_grid():
    luminosity, line = np.array([2.0, 3.0]), np.array([5008.24, 4862.68])
    for n in (30, 300, 30000):
        wave = np.geomspace(1000, 20000, n)
        spectrum = np.asarray(line_spectrum(wave, line, luminosity, 150.0)) * LIGHT / wave**2
        assert np.trapezoid(spectrum, wave) == pytest.approx(5.0, rel=1e-9)
    outside = line_spectrum(np.geomspace(1000, 4000, 50), line, luminosity, 150.0)
    assert np.all(outside == 0)


def test_hydrogen_lines_follow_case_b():
    grid = synthetic_case_b()
    of = dict(zip(grid.line_names, np.asarray(grid.line_luminosity)[0, 0, 0] * LSUN, strict=True))
    # Osterbrock & Ferland 2006: 4 pi j = 1.235e-25, alpha_B = 2.59e-13; Kennicutt 1998: 7.9e-42 L(H alpha) = 1.08e-53 Q
    assert of["H_beta"] == pytest.approx(4.768e-13, rel=1e-3)
    assert of["H_alpha"] == pytest.approx(1.08e-53 / 7.9e-42, rel=0.01)
    assert of["H_alpha"] / of["H_beta"] == pytest.approx(2.863, rel=1e-3)
    assert of["H_gamma"] / of["H_beta"] == pytest.approx(0.468, rel=2e-3)
    assert of["Pa_alpha"] / of["H_beta"] == pytest.approx(0.339, rel=2e-3)


def test_hydrogen_continuum_jumps_at_the_balmer_edge():
    grid = synthetic_case_b()
    wave, spectrum = np.asarray(grid.continuum_wave), np.asarray(grid.continuum)[0, 0, 0] * LSUN * 2.59e-13
    blue, red = np.interp([3646.9, 3647.2], wave, spectrum)
    # the formula's terms by hand: free-free 0.019, n = 2 3.945, n = 3 0.131, n = 4 0.026, the rest 0.019
    assert blue == pytest.approx(6.84e-40 * 4.14, rel=0.01)
    assert blue - red == pytest.approx(6.84e-40 * 3.945, rel=0.01)
    lines = np.asarray(grid.line_luminosity)[0, 0, 0].sum() * LSUN
    # together they carry less than the photons brought, 13.6 eV each at the least
    energy = -np.trapezoid(spectrum / 2.59e-13, LIGHT / wave) + lines
    assert 0.05 < energy / 2.18e-11 < 0.5


def test_component_wants_a_grid():
    with pytest.raises(ValueError, match="NebularGrid"):
        Nebular("grid")
