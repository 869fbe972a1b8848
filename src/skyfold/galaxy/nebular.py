"""Light of ionised gas: lines and continuum per ionising photon, from a grid."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.annotation import Annotation
from skyfold.component import Component
from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.galaxy.columns import plain
from skyfold.galaxy.ssp import LIGHT
from skyfold.parameters import Value, normal_cdf, parameter
from skyfold.priors import Uniform

#: Data sets of the file and their axes.
_LAYOUT = {
    "log_z": ("log_z",),
    "log_age_gyr": ("log_age_gyr",),
    "log_u": ("log_u",),
    "line_wave": ("line",),
    "line_luminosity": ("log_z", "log_age_gyr", "log_u", "line"),
    "continuum_wave": ("wave",),
    "continuum": ("log_z", "log_age_gyr", "log_u", "wave"),
}
_LIGHT_KMS = 299792.458


class NebularGrid(eqx.Module):
    """Luminosity of gas around a young population for each photon that ionises hydrogen.

    The HDF5 file has the data sets

    ==================== ============================================= ==========================
    name                 axes                                          unit
    ==================== ============================================= ==========================
    ``log_z``            (n_z,), increasing                            log10 Z (absolute)
    ``log_age_gyr``      (n_age,), increasing                          log10 Gyr
    ``log_u``            (n_u,), increasing                            log10 ionisation parameter
    ``line_name``        (n_line,) text
    ``line_wave``        (n_line,)                                     Angstrom, vacuum
    ``line_luminosity``  (n_z, n_age, n_u, n_line)                     Lsun per photon/s
    ``continuum_wave``   (n_wave,), increasing                         Angstrom
    ``continuum``        (n_z, n_age, n_u, n_wave)                     Lsun/Hz per photon/s
    ==================== ============================================= ==========================

    and may have attributes that say where it is from. Populations older than the last age have no gas.

    Attributes
    ----------
    log_z, log_age_gyr, log_u, line_wave, line_luminosity, continuum_wave, continuum : arrays as above.
    annotation : names of the lines.
    """

    log_z: Any
    log_age_gyr: Any
    log_u: Any
    line_wave: Any
    line_luminosity: Any
    continuum_wave: Any
    continuum: Any
    annotation: Annotation = eqx.field(static=True)

    @property
    def line_names(self) -> tuple[str, ...]:
        """Names of the lines."""
        return tuple(self.annotation.value)

    @classmethod
    def from_arrays(cls, line_names: Any, **arrays: Any) -> Self:
        """Make a grid of the arrays of the layout.

        Raises
        ------
        FileFormatError
            Where shapes do not fit, an axis does not increase, or numbers are not finite or negative.
        """
        return cls._checked("nebular grid", line_names, arrays)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a grid from an HDF5 file of the layout above.

        Raises
        ------
        FileFormatError
            Where the file is absent, is no HDF5 file, or what it holds does not fit the layout.
        """
        import h5py

        if not Path(path).is_file():
            raise FileFormatError(f"{path}: there is no such file. Name an HDF5 file with a nebular grid")
        try:
            with h5py.File(path) as file:
                missing = [name for name in (*_LAYOUT, "line_name") if name not in file]
                if missing:
                    raise FileFormatError(
                        f"{path}: the data sets {', '.join(missing)} are missing. The layout is that of NebularGrid"
                    )
                arrays = {name: np.asarray(file[name]) for name in _LAYOUT}
                names = [n.decode() if isinstance(n, bytes) else str(n) for n in file["line_name"]]
        except FileFormatError:
            raise
        except Exception as error:
            # a damaged file breaks h5py in many ways
            raise FileFormatError(
                f"{path}: not an HDF5 file, or a damaged one ({error}). Name one with a nebular grid"
            ) from error
        return cls._checked(str(path), names, arrays)

    @classmethod
    def _checked(cls, where: str, names: Any, arrays: dict[str, Any]) -> Self:
        units = {"line_wave": "Angstrom", "continuum_wave": "Angstrom"}
        arrays = {name: plain(f"{where}: '{name}'", arrays[name], units.get(name, "")) for name in _LAYOUT}
        sizes = {axes[0]: arrays[name].size for name, axes in _LAYOUT.items() if len(axes) == 1}
        for name, axes in _LAYOUT.items():
            expected = tuple(sizes[a] for a in axes)
            if arrays[name].shape != expected:
                raise FileFormatError(
                    f"{where}: '{name}' has the shape {arrays[name].shape}; its axes {axes} make {expected}. "
                    "Give it that shape"
                )
            if not np.all(np.isfinite(arrays[name])):
                raise FileFormatError(f"{where}: '{name}' holds numbers that are not finite. Repair the grid")
            if len(axes) == 1 and axes[0] != "line" and not np.all(np.diff(arrays[name]) > 0):
                raise FileFormatError(f"{where}: '{name}' must increase. Sort the grid along that axis")
            if len(axes) == 4 and arrays[name].min() < 0:
                raise FileFormatError(f"{where}: '{name}' holds negative luminosities. Repair the grid")
        if len(names) != sizes["line"]:
            raise FileFormatError(f"{where}: {len(names)} names for {sizes['line']} lines. Name each line once")
        return cls(**arrays, annotation=Annotation(tuple(names)))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the grid to an HDF5 file of the layout above."""
        import h5py

        with h5py.File(path, "w") as file:
            for name in _LAYOUT:
                file[name] = np.asarray(getattr(self, name))
            file["line_name"] = [n.encode() for n in self.line_names]

    def on(self, ages: Any, log_z: Any) -> Self:
        """Same grid at the ages (n_age,), Gyr, and metallicities (n_met,), log10 Z, of a grid of populations.

        Linear between nodes, the nearest node outside; zero above the last age.
        """
        ages, log_z = np.asarray(ages, dtype=np.float64), np.asarray(log_z, dtype=np.float64)
        log_age = np.log10(np.maximum(ages, 1e-12))
        young = (log_age <= self.log_age_gyr[-1] + 1e-9)[None, :, None, None]

        def resampled(table: np.ndarray) -> np.ndarray:
            for axis, (nodes, at) in enumerate(((self.log_z, log_z), (self.log_age_gyr, log_age))):
                table = _linear(table, np.asarray(nodes), at, axis)
            return table * young

        return type(self)(
            log_z,
            log_age,
            self.log_u,
            self.line_wave,
            resampled(self.line_luminosity),
            self.continuum_wave,
            resampled(self.continuum),
            self.annotation,
        )


class Nebular(Component):
    r"""Lines and continuum of gas ionised by young stars.

    .. math:: L_l = (1 - f_\mathrm{esc}) \sum_{j,i} Q_{ji}\,\ell_l(Z_j, a_i, U)

    with the rate Q of ionising photons of each population, and linear interpolation in log U. The gas has the
    metallicity of the stars that it surrounds.

    Parameters
    ----------
    grid : at the ages and metallicities of the populations, as from `NebularGrid.on`.
    log_u : log10 of the ionisation parameter.
    escape : fraction of ionising photons that escapes or is absorbed by dust; default 0.
    sigma : velocity dispersion of the lines in spectra, km/s; default 100.
    """

    name: ClassVar[str] = "nebular"
    grid: NebularGrid
    log_u: Value = parameter(Uniform(-4.0, -1.0), description="log10 of the ionisation parameter")
    escape: Value = parameter(0.0, description="fraction of ionising photons lost to the gas")
    sigma: Value = parameter(100.0, unit="km/s", description="velocity dispersion of the lines")

    def __check_init__(self) -> None:
        if not isinstance(self.grid, NebularGrid):
            raise SkyfoldError(f"Nebular needs a NebularGrid, as of NebularGrid.read(path).on(...), not {self.grid!r}.")

    def lines(self, rate: Any) -> jax.Array:
        """Luminosities of the lines, Lsun (n_line,), for ionising photons (n_met, n_age) in 1/s."""
        return self._gathered(self.grid.line_luminosity, rate)

    def continuum(self, rate: Any, wave: Any) -> jax.Array:
        """Continuum, Lsun/Hz (n_wave,), at rest wavelengths in Angstrom; zero outside the grid's."""
        spectrum = self._gathered(self.grid.continuum, rate)
        return jnp.interp(jnp.asarray(wave), jnp.asarray(self.grid.continuum_wave), spectrum, left=0.0, right=0.0)

    def spectrum(self, rate: Any, wave: Any) -> jax.Array:
        """Lines and continuum, Lsun/Hz (n_wave,), at rest wavelengths in Angstrom.

        Lines are normal profiles averaged over the cells between the middles of neighbouring wavelengths, so that the
        trapezoid rule over wavelength gives back each line's luminosity, however coarse `wave` is.
        """
        wave = jnp.asarray(wave)
        return self.continuum(rate, wave) + line_spectrum(wave, self.grid.line_wave, self.lines(rate), self.sigma)

    def _gathered(self, table: Any, rate: Any) -> jax.Array:
        nodes, table = jnp.asarray(self.grid.log_u), jnp.asarray(table)
        if nodes.size == 1:
            each = table[:, :, 0]
        else:
            place = jnp.clip(jnp.searchsorted(nodes, self.log_u, side="right") - 1, 0, nodes.size - 2)
            t = jnp.clip((self.log_u - nodes[place]) / (nodes[place + 1] - nodes[place]), 0.0, 1.0)
            each = (1.0 - t) * table[:, :, place] + t * table[:, :, place + 1]
        return (1.0 - self.escape) * jnp.tensordot(jnp.asarray(rate), each, 2)


def line_spectrum(wave: jax.Array, line_wave: Any, luminosity: jax.Array, sigma: Any) -> jax.Array:
    """Spectrum of lines, Lsun/Hz (n_wave,).

    Parameters
    ----------
    wave : (n_wave,) Angstrom, increasing; of one alone, the spectrum there.
    line_wave : (n_line,) Angstrom.
    luminosity : (n_line,) Lsun; of lines within `wave` all of it is kept.
    sigma : velocity dispersion, km/s.
    """
    line = jnp.asarray(line_wave)[:, None]
    if wave.size < 2:
        # one wavelength has no cell
        width = line * sigma / _LIGHT_KMS
        profile = jnp.exp(-0.5 * ((wave - line) / width) ** 2) / (width * jnp.sqrt(2.0 * jnp.pi))
        return luminosity @ profile * wave**2 / LIGHT
    middle = 0.5 * (wave[1:] + wave[:-1])
    share = normal_cdf((middle - line) / (line * sigma / _LIGHT_KMS))
    ends = jnp.zeros((line.shape[0], 1)), jnp.ones((line.shape[0], 1))
    # what lies beyond the ends of the grid is not forced into its last cells
    inside = ((line > wave[0]) & (line < wave[-1])).astype(wave.dtype)
    cell = jnp.diff(jnp.concatenate([ends[0], share, ends[1]], axis=1), axis=1) * inside
    width = jnp.diff(jnp.concatenate([wave[:1], middle, wave[-1:]]))
    return (luminosity @ cell) / width * wave**2 / LIGHT


def _linear(table: np.ndarray, nodes: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    if nodes.size == 1:
        return np.repeat(np.take(table, [0], axis=axis), at.size, axis=axis)
    place = np.clip(np.searchsorted(nodes, at, side="right") - 1, 0, nodes.size - 2)
    t = np.clip((at - nodes[place]) / (nodes[place + 1] - nodes[place]), 0.0, 1.0)
    t = np.expand_dims(t, tuple(i for i in range(table.ndim) if i != axis))
    return (1.0 - t) * np.take(table, place, axis=axis) + t * np.take(table, place + 1, axis=axis)
