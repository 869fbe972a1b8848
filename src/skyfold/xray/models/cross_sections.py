"""Photo-electric cross-sections of cold gas and dust per hydrogen atom, and their means over energy bins.

The packaged table (made by ``scripts/make_absorption_tables.py`` from published fits) holds a cross-section per
element on one energy grid; abundances, depletion and grains are applied here, in NumPy, when a component is made.
"""

from __future__ import annotations

import math
from functools import lru_cache
from importlib.resources import files

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.xray.models.abundances import abundances, elements

#: Elements of the packaged table, in its order.
ELEMENTS = ("H", "He", "C", "N", "O", "Ne", "Na", "Mg", "Al", "Si", "S", "Cl", "Ar", "Ca", "Cr", "Fe", "Co", "Ni")
#: Sets of atomic cross-sections that `gas` knows, by XSPEC's names.
CROSS_SECTIONS = ("vern", "bcmc", "obcm")

_WEIGHT = np.array(
    [1.008, 4.003, 12.01, 14.01, 16.00, 20.18, 22.99, 24.31, 26.98, 28.09, 32.06, 35.45, 39.95, 40.08, 52.00]
    + [55.85, 58.93, 58.69]
)
#: Fraction of each element that stays in the gas, Wilms, Allen & McCray 2000, table 2.
_IN_GAS = np.array(
    [1, 1, 0.5, 1, 0.6, 1, 0.25, 0.2, 0.02, 0.1, 0.6, 0.5, 1, 0.003, 0.03, 0.3, 0.05, 0.04], dtype=np.float64
)
_MOLECULAR_FRACTION = 0.2
_GRAIN_RADII = (0.025e-4, 0.25e-4)  # cm
_GRAIN_DENSITY = 1.0  # g/cm^3
_ATOMIC_MASS = 1.66054e-24  # g
_MEGABARN = 1e-18  # cm^2
_UNIT = 1e-22  # cm^2: sigma times nH in 1e22/cm^2 is an optical depth
_FLOOR = 1e-12  # stands for zero, in _UNIT


class CrossSection(eqx.Module):
    r"""A cross-section per hydrogen atom, :math:`\ln\sigma` linear in :math:`\ln E` between nodes.

    An edge is two nodes at one energy. Beyond the table the power laws of its first and last interval go on.

    Parameters
    ----------
    log_energy : (m,) array, ln(E / keV), not decreasing.
    log_sigma : (m,) array, ln(sigma / 1e-22 cm^2).
    slope : (m,) array, of the interval above each node.
    integral : (m,) array, of `log_sigma` over `log_energy` up to each node.
    """

    log_energy: np.ndarray
    log_sigma: np.ndarray
    slope: np.ndarray
    integral: np.ndarray

    def __init__(self, energy: np.ndarray, sigma: np.ndarray) -> None:
        """Build from energies in keV and cross-sections in 1e-22 cm^2."""
        x, y = np.log(energy), np.log(np.maximum(sigma, _FLOOR))
        dx, dy = np.diff(x), np.diff(y)
        self.log_energy = x
        self.log_sigma = y
        self.slope = np.append(np.divide(dy, dx, out=np.zeros_like(dy), where=dx > 0), 0.0)
        self.integral = np.append(0.0, np.cumsum(0.5 * dx * (y[1:] + y[:-1])))

    def mean(self, edges: jax.Array) -> jax.Array:
        r"""Mean cross-section in each bin, :math:`\exp\langle\ln\sigma\rangle` over :math:`\ln E`.

        Exact for the table whatever lies in the bin, continuous when an edge moves through it (so that a redshift has
        a gradient), and to second order in the bin's width the arithmetic mean. Of the two it is the better exponent
        where a resonance narrower than the bin is saturated.

        Parameters
        ----------
        edges : (n + 1,) array, keV.

        Returns
        -------
        (n,) array, 1e-22 cm^2.
        """
        x = jnp.log(edges)
        i = self._below(x)
        dx = x - jnp.asarray(self.log_energy)[i]
        y = jnp.asarray(self.log_sigma)[i] + 0.5 * jnp.asarray(self.slope)[i] * dx
        return jnp.exp(jnp.diff(jnp.asarray(self.integral)[i] + y * dx) / jnp.diff(x))

    def at(self, energy: jax.Array) -> jax.Array:
        """Cross-section in 1e-22 cm^2 at energies in keV; at an edge the value above it."""
        x = jnp.log(energy)
        i = self._below(x)
        dx = x - jnp.asarray(self.log_energy)[i]
        return jnp.exp(jnp.asarray(self.log_sigma)[i] + jnp.asarray(self.slope)[i] * dx)

    def _below(self, x: jax.Array) -> jax.Array:
        nodes = jnp.asarray(self.log_energy)
        return jnp.clip(jnp.searchsorted(nodes, x, side="right") - 1, 0, nodes.size - 2)


@lru_cache(maxsize=1)
def _tables() -> dict[str, np.ndarray]:
    path = files("skyfold.xray.models").joinpath("absorption_tables.npz")
    with path.open("rb") as file, np.load(file) as archive:
        return {name: archive[name].astype(np.float64) for name in archive.files}


def _abundances(table: str) -> np.ndarray:
    known = elements()
    return abundances(table)[[known.index(symbol) for symbol in ELEMENTS]]


def _cross_section(sigma: np.ndarray) -> CrossSection:
    return CrossSection(_tables()["energy"], sigma * (_MEGABARN / _UNIT))


@lru_cache(maxsize=32)
def gas(abundance_table: str, cross_sections: str) -> CrossSection:
    """Neutral atoms, as ``phabs`` has them.

    Parameters
    ----------
    abundance_table : str
        One of `skyfold.xray.models.abundances.SOURCES`.
    cross_sections : str
        One of `CROSS_SECTIONS`.

    Raises
    ------
    SkyfoldError
        If there is no such table or set.
    """
    if cross_sections not in CROSS_SECTIONS:
        raise SkyfoldError(
            f"There are no cross-sections {cross_sections!r}; choose one of {', '.join(CROSS_SECTIONS)}."
        )
    atoms = _tables()["vern" if cross_sections == "vern" else "bcmc"]
    if cross_sections == "obcm":
        atoms = atoms.copy()
        atoms[ELEMENTS.index("He")] = _tables()["obcm_helium"]
    return _cross_section(_abundances(abundance_table) @ atoms)


@lru_cache(maxsize=32)
def interstellar(abundance_table: str, grains: bool) -> CrossSection:
    """Atoms, molecular hydrogen and, with `grains`, dust, as ``tbabs`` has them; without grains, ``ztbabs``.

    References
    ----------
    Wilms, Allen & McCray 2000, ApJ 542, 914.
    """
    atoms = _tables()["tbabs"]
    number = _abundances(abundance_table)
    solid = number * (1.0 - _IN_GAS) if grains else np.zeros_like(number)
    free = number - solid
    free[0] *= 1.0 - _MOLECULAR_FRACTION
    sigma = free @ atoms + 0.5 * _MOLECULAR_FRACTION * _tables()["molecular_hydrogen"]
    return _cross_section(sigma + _in_grains(solid, atoms) if grains else sigma)


def _in_grains(number: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    r"""Cross-section of the atoms in grains, Mb per hydrogen atom, self-shielding included.

    Spheres of radius a, :math:`n(a) \propto a^{-3.5}`, absorb
    :math:`\pi a^2 (1 - e^{-k a})` with :math:`k a` the optical depth of the mean chord, 4a/3.
    """
    low, high = np.sqrt(_GRAIN_RADII)
    mass = number @ _WEIGHT * _ATOMIC_MASS
    norm = mass / (_GRAIN_DENSITY * (8.0 / 3.0) * np.pi * (high - low))
    k = (4.0 / 3.0) * _GRAIN_DENSITY / mass * (number @ atoms) * _MEGABARN
    root = np.sqrt(k)
    erf = np.vectorize(math.erf, otypes=[float])

    def antiderivative(r: float) -> np.ndarray:
        # of a^(-3/2) (1 - exp(-k a)), at a = r^2
        return 2.0 * np.expm1(-k * r**2) / r + 2.0 * root * math.sqrt(math.pi) * erf(root * r)

    return norm * np.pi * (antiderivative(high) - antiderivative(low)) / _MEGABARN
