"""Dust emission from tables: Dale et al. 2014 and Draine & Li 2007."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import FileFormatError
from skyfold.galaxy.dust.greybody import LIGHT
from skyfold.galaxy.dust.law import DustEmission
from skyfold.galaxy.ssp import energy_weights
from skyfold.parameters import Value, parameter
from skyfold.priors import LogUniform, Uniform

#: PAH mass fraction in per cent of the dust models, by the name that ends Draine & Li's file names.
PAH_FRACTIONS = {
    "MW3.1_00": 0.47,
    "MW3.1_10": 1.12,
    "MW3.1_20": 1.77,
    "MW3.1_30": 2.50,
    "MW3.1_40": 3.19,
    "MW3.1_50": 3.90,
    "MW3.1_60": 4.58,
}


class Dale2014(DustEmission):
    r"""Templates of star-forming galaxies of one parameter, the exponent of the heating intensities' distribution.

    .. math:: dM_\mathrm{dust} \propto U^{-\alpha}\,dU

    Linear interpolation between templates of unit luminosity, and in wavelength; zero outside the table.

    Parameters
    ----------
    alpha : exponent.
    wave : (n_wave,) wavelengths of the table, Angstrom, increasing.
    alphas : (n_alpha,) exponents of the templates, increasing.
    spectra : (n_alpha, n_wave) templates in 1/Hz; each is normalised here.

    References
    ----------
    Dale et al. 2014, ApJ 784, 83.
    """

    name: ClassVar[str] = "dale2014"
    wave: np.ndarray
    alphas: np.ndarray
    spectra: np.ndarray
    alpha: Value = parameter(Uniform(0.5, 3.5), description="exponent of the heating intensities")

    def __post_init__(self) -> None:
        self.spectra = self.spectra / (self.spectra @ energy_weights(self.wave))[..., None]

    def emission(self, wave: Any) -> jax.Array:
        return _resampled(wave, self.wave, _between(jnp.asarray(self.spectra), self.alphas, self.alpha))


class DraineLi2007(DustEmission):
    r"""Dust of which a part is heated by stronger light than the rest.

    .. math:: L_\nu \propto (1 - \gamma)\,j_\nu(U_\mathrm{min}, U_\mathrm{min})
        + \gamma\,j_\nu(U_\mathrm{min}, U_\mathrm{max})

    with j the emission per hydrogen atom of the tables, interpolated linearly in the PAH fraction, in the logarithm of
    :math:`U_\mathrm{min}` and in wavelength; zero outside the table.

    Parameters
    ----------
    qpah : PAH mass fraction in per cent.
    umin : heating intensity of the diffuse dust.
    gamma : mass fraction of dust heated by more than `umin`.
    wave : (n_wave,) wavelengths of the table, Angstrom, increasing.
    qpahs, umins : (n_q,), (n_u,) nodes, increasing.
    diffuse, heated : (n_q, n_u, n_wave) emission per hydrogen atom of the two parts, any one unit per Hz.

    References
    ----------
    Draine & Li 2007, ApJ 657, 810, eq. 23; Draine et al. 2007, ApJ 663, 866.
    """

    name: ClassVar[str] = "draine_li2007"
    wave: np.ndarray
    qpahs: np.ndarray
    umins: np.ndarray
    diffuse: np.ndarray
    heated: np.ndarray
    qpah: Value = parameter(Uniform(0.47, 4.58), unit="%", description="PAH mass fraction")
    umin: Value = parameter(LogUniform(0.1, 25.0), description="heating intensity of the diffuse dust")
    gamma: Value = parameter(Uniform(0.0, 0.3), description="mass fraction heated by more than umin")

    def emission(self, wave: Any) -> jax.Array:
        log_u, log_nodes = jnp.log(self.umin), jnp.log(jnp.asarray(self.umins))

        def part(table: np.ndarray) -> jax.Array:
            return _between(_between(jnp.asarray(table), self.qpahs, self.qpah), log_nodes, log_u)

        spectrum = (1.0 - self.gamma) * part(self.diffuse) + self.gamma * part(self.heated)
        return _resampled(wave, self.wave, spectrum / (spectrum @ energy_weights(self.wave)))


def read_dale2014(path: str | os.PathLike[str], shortest: float = 3.0, **parameters: Any) -> Dale2014:
    """Read a file of the templates as published, such as ``spectra.0.00AGN.dat``.

    Columns: wavelength in micrometres, then one of log10(nu L_nu) for each of the 64 exponents 0.0625, 0.125 ... 4.

    Parameters
    ----------
    path : file.
    shortest : wavelength in micrometres below which a template counts as starlight and is left out; the published
        templates hold the light of old stars as well.
    **parameters : values or priors of the component's parameters.

    Raises
    ------
    FileFormatError
        Where the file is missing or is no such table.
    """
    if not Path(path).is_file():
        raise FileFormatError(f"{path}: there is no such file. Name the file of the Dale et al. 2014 templates")
    try:
        table = np.loadtxt(path)
    except ValueError as error:
        raise FileFormatError(
            f"{path}: not a table of numbers ({error}). The templates are 65 columns of numbers"
        ) from error
    if table.ndim != 2 or table.shape[1] != 65 or not np.all(np.isfinite(table)):
        raise FileFormatError(
            f"{path}: the table has the shape {table.shape}, not (n, 65) finite numbers: wavelength in micrometres and "
            "64 templates. Use the file as published"
        )
    table = table[np.argsort(table[:, 0])]
    table = table[table[:, 0] >= shortest]
    if len(table) < 2:
        raise FileFormatError(f"{path}: no wavelengths above {shortest} micrometres. They must be in micrometres")
    wave = table[:, 0] * 1e4
    spectra = 10.0 ** (table[:, 1:].T - table[:, 1:].max()) * wave / LIGHT
    return Dale2014(wave, np.arange(1, 65) * 0.0625, spectra, **parameters)


def read_draine_li2007(folder: str | os.PathLike[str], umax: str = "1e6", **parameters: Any) -> DraineLi2007:
    """Read the tables of Draine & Li 2007 for the Milky Way's dust as published, ``U1.00_1e6_MW3.1_60.txt`` and so on.

    A file's last block of lines of three numbers is wavelength in micrometres, nu P_nu in erg/s/H, j_nu.

    Parameters
    ----------
    folder : where the files lie, in any sub-folders.
    umax : largest heating intensity, as in the file names.
    **parameters : values or priors of the component's parameters.

    Raises
    ------
    FileFormatError
        Where files are missing, do not fit each other or are no such tables.
    """
    pattern = re.compile(r"U([0-9.]+)_([0-9.e]+)_(MW3\.1_\d\d)\.txt(?:\.gz)?$")
    found = {}
    for path in sorted(Path(folder).rglob("U*_MW3.1_*.txt*")):
        match = pattern.search(path.name)
        if match and match[3] in PAH_FRACTIONS:
            kind = "diffuse" if match[2] == match[1] else match[2]
            found[kind, PAH_FRACTIONS[match[3]], float(match[1])] = path
    qpahs = sorted({q for kind, q, _ in found if kind in ("diffuse", umax)})
    umins = sorted({u for kind, _, u in found if kind == umax})
    if len(qpahs) < 2 or len(umins) < 2:
        raise FileFormatError(
            f"{folder}: tables U<umin>_{umax}_MW3.1_<qpah>.txt of at least two values of umin and qpah are needed, but "
            f"{len(umins)} and {len(qpahs)} are there. Unpack the files of Draine & Li 2007 there"
        )
    wave: np.ndarray | None = None
    tables = {kind: np.empty(0) for kind in ("diffuse", umax)}
    for kind in tables:
        rows = []
        for q in qpahs:
            for u in umins:
                if (kind, q, u) not in found:
                    raise FileFormatError(
                        f"{folder}: the table of umin = {u:g}, qpah = {q:g}% and umax = "
                        f"{u if kind == 'diffuse' else umax} is missing. Unpack it there, or take its umin or qpah out"
                    )
                own, spectrum = _read_block(found[kind, q, u])
                if wave is None:
                    wave = own
                if len(own) != len(wave) or not np.allclose(own, wave, rtol=1e-4):
                    raise FileFormatError(f"{found[kind, q, u]}: its wavelengths differ from those of the others")
                rows.append(spectrum)
        tables[kind] = np.reshape(rows, (len(qpahs), len(umins), -1))
    assert wave is not None
    return DraineLi2007(wave, np.array(qpahs), np.array(umins), tables["diffuse"], tables[umax], **parameters)


def _read_block(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Wavelengths in Angstrom, increasing, and nu P_nu / nu of one file."""
    import gzip

    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as file:
        lines = file.read().splitlines()
    block: list[list[float]] = []
    for line in reversed(lines):
        try:
            numbers = [float(word) for word in line.split()]
        except ValueError:
            numbers = []
        if len(numbers) == 3:
            block.append(numbers)
        elif block:
            break
    if len(block) < 10:
        raise FileFormatError(f"{path}: no block of lines of three numbers. Use the file as published")
    table = np.array(block)
    table = table[np.argsort(table[:, 0], kind="stable")]
    table = table[np.concatenate([[True], np.diff(table[:, 0]) > 0])]
    wave = table[:, 0] * 1e4
    return wave, table[:, 1] * wave / LIGHT


def _between(table: jax.Array, nodes: Any, value: Any) -> jax.Array:
    """Linear interpolation of a table (n, ...) along its first axis; values outside the nodes take the nearest one."""
    x = jnp.asarray(nodes)
    place = jnp.clip(jnp.searchsorted(x, value, side="right") - 1, 0, x.size - 2)
    t = jnp.clip((value - x[place]) / (x[place + 1] - x[place]), 0.0, 1.0)
    return (1.0 - t) * table[place] + t * table[place + 1]


def _resampled(wave: Any, table_wave: np.ndarray, spectrum: jax.Array) -> jax.Array:
    return jnp.interp(jnp.asarray(wave), jnp.asarray(table_wave), spectrum, left=0.0, right=0.0)
