r"""Synthetic populations: a small grid from formulae, for demonstrations and tests. Not for science.

Stars of 0.1 to 100 solar masses with the initial mass function of Kroupa (2001) live on power laws: luminosity
:math:`m^{3.5}` (:math:`0.23\, m^{2.3}` below 0.43, slower above 20), radius :math:`m^{0.8}` (:math:`m^{0.57}` above 1),
lifetime :math:`10\, m^{-2.5}` Gyr plus 3 Myr. What ends its life shines for another tenth of it as a cool giant, twenty
times as bright below two solar masses, less above.
All shine as black bodies; poor ones live as long and are hotter by :math:`(Z/Z_\odot)^{-0.05}`. Remnants are white
dwarfs of 0.1 m + 0.45 solar masses, neutron stars of 1.4 above 8, and black holes of 0.24 m above 40. The colours of
such populations are right in kind and wrong in number: no lines, no horizontal branch, no breaks.
"""

from __future__ import annotations

import numpy as np

from skyfold.galaxy.ssp import LIGHT, LSUN, PLANCK, SSP, ZSUN

#: Boltzmann's constant, erg/K; temperature of the Sun, K.
_BOLTZMANN, _SUN = 1.380649e-16, 5772.0
#: Temperature of giants, K; their lifetime as a share of that before; luminosity of small ones over that before.
_GIANT, _GIANT_SHARE, _GIANT_FACTOR = 4500.0, 0.1, 20.0


def synthetic_ssp(n_met: int = 5, n_age: int = 41, n_wave: int = 320) -> SSP:
    """Grid of synthetic populations: formulae and black bodies, see the module. Its name is ``synthetic``.

    Parameters
    ----------
    n_met : number of metallicities, log10(Z/Zsun) from -2 to 0.5.
    n_age : number of ages, 1 Myr to 20 Gyr, equal steps in the logarithm.
    n_wave : number of wavelengths, 91 Angstrom to 1 mm, most of them between 900 Angstrom and 3 micrometres.
    """
    ages = np.geomspace(1e-3, 20.0, n_age)
    metals = np.linspace(-2.0, 0.5, n_met)
    inner = np.geomspace(900.0, 3e4, n_wave - n_wave // 4)
    outer = n_wave // 8
    wave = np.concatenate([np.geomspace(91.0, 890.0, n_wave // 4 - outer), inner, np.geomspace(3.1e4, 1e7, outer)])
    mass, number = _stars()
    bright = np.where(mass < 0.43, 0.23 * mass**2.3, np.where(mass < 20.0, mass**3.5, 20.0**1.7 * mass**1.8))
    radius = np.where(mass < 1.0, mass**0.8, mass**0.57)
    life = 10.0 * mass**-2.5 + 3e-3
    brighter = np.clip(_GIANT_FACTOR * (mass / 2.0) ** -1.5, 1.0, _GIANT_FACTOR)
    # share of the stars of each node of mass that is on the main sequence, or a giant, at each age: smooth over a node
    alive = _below(ages[:, None], life)
    evolved = _below(ages[:, None], (1.0 + _GIANT_SHARE) * life) - alive
    flux = np.empty((n_met, n_age, len(wave)))
    for j, metal in enumerate(metals):
        hotter = 10.0 ** (-0.05 * metal)
        dwarfs = _black_body(wave, _SUN * (bright / radius**2) ** 0.25 * hotter) * (bright * number)[:, None]
        giants = _black_body(wave, np.array([_GIANT * hotter])) * (brighter * bright * number)[:, None]
        flux[j] = alive @ dwarfs + evolved @ giants
    left = np.where(mass < 8.0, np.minimum(0.1 * mass + 0.45, mass), np.where(mass < 40.0, 1.4, 0.24 * mass))
    living = alive + evolved
    remaining = living @ (mass * number) + (1.0 - living) @ (left * number)
    return SSP.from_arrays(
        wave,
        ages,
        metals,
        flux,
        np.tile(np.minimum(remaining, 1.0), (n_met, 1)),
        metallicity="log10 Z/Zsun",
        solar_z=ZSUN,
        lsun=LSUN,
        name="synthetic",
    )


def _stars(n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Masses of stars and their number per solar mass formed (Kroupa 2001: slopes 1.3 and 2.3)."""
    mass = np.geomspace(0.1, 100.0, n)
    density = np.where(mass < 0.5, mass**-1.3, 0.5 * mass**-2.3)
    number = density * mass  # per step in ln m
    return mass, number / np.sum(number * mass)


def _below(age: np.ndarray, life: np.ndarray) -> np.ndarray:
    """Share of the stars about each node whose life exceeds `age`: 0 to 1 over a twentieth of a decade."""
    return np.clip(0.5 + np.log10(life / age) / 0.05, 0.0, 1.0)


def _black_body(wave: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """Spectra per Hz (n, n_wave) of unit luminosity."""
    x = PLANCK * LIGHT / (wave * _BOLTZMANN * temperature[:, None])
    # pi B_nu / (sigma T^4) = 15 / pi^4 h/(k T) x^3 / (e^x - 1)
    shape = np.exp(-x) * x**3 / -np.expm1(-x)
    return 15.0 / np.pi**4 * PLANCK / (_BOLTZMANN * temperature[:, None]) * shape
