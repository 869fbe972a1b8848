"""A small nebular grid of our own making: hydrogen alone, by case B recombination at 10,000 K and 100 per cm^3.

It is for demonstrations and tests. It has no metals, no helium, no two-photon continuum and no dependence on the
ionisation parameter, metallicity or age: no photoionisation model stands behind it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skyfold.galaxy.nebular import NebularGrid
from skyfold.galaxy.ssp import LSUN

#: Recombination coefficient to all levels but the ground, cm^3/s (Osterbrock & Ferland 2006, table 2.1), and emission
#: coefficient of H beta, 4 pi j / (n_e n_p), erg cm^3/s (table 4.4; Storey & Hummer 1995, MNRAS 272, 41).
ALPHA_B, H_BETA = 2.59e-13, 1.235e-25
#: Lines: name, wavelength in vacuum in Angstrom, luminosity over that of H beta (Storey & Hummer 1995).
HYDROGEN_LINES = (
    ("H_alpha", 6564.61, 2.8632),
    ("H_beta", 4862.68, 1.0),
    ("H_gamma", 4341.68, 0.4683),
    ("H_delta", 4102.89, 0.2589),
    ("H_epsilon", 3971.20, 0.1590),
    ("H_8", 3890.15, 0.1050),
    ("H_9", 3836.47, 0.0731),
    ("H_10", 3798.98, 0.0530),
    ("Pa_alpha", 18756.1, 0.3386),
    ("Pa_beta", 12821.6, 0.1632),
    ("Pa_gamma", 10941.1, 0.0904),
    ("Br_alpha", 40522.6, 0.0802),
    ("Br_beta", 26258.7, 0.0455),
    ("Br_gamma", 21661.2, 0.0278),
)
#: Ionisation energy of hydrogen, and that of a photon of 1 Angstrom, both over k at 10,000 K.
_RYDBERG, _PHOTON = 15.7803, 14387.769
#: Ionisation edge of hydrogen, Angstrom.
_EDGE = 911.763


def synthetic_case_b(oldest: float = 0.02) -> NebularGrid:
    r"""Hydrogen lines and continuum per ionising photon, every photon being absorbed by gas.

    .. math:: L_{\mathrm{H}\beta} = Q\, \frac{4\pi j_{\mathrm{H}\beta}}{n_e n_p \alpha_B}
        = 4.77 \times 10^{-13}\,\mathrm{erg}\; Q

    The continuum is free-free and free-bound light of hydrogen with Gaunt factors 1,

    .. math:: \frac{4\pi j_\nu}{n_e n_p} = 6.84 \times 10^{-38}\, T^{-1/2} e^{-h\nu/kT}
        \left(1 + \sum_{n > 1,\; h\nu > \mathrm{Ry}/n^2} \frac{2\theta}{n^3} e^{\theta/n^2}\right),
        \quad \theta = \frac{\mathrm{Ry}}{kT}

    in erg cm^3/s/Hz; it lacks the two-photon part, most of the light below 3000 Angstrom at low density.

    Parameters
    ----------
    oldest : age in Gyr of the oldest populations with gas.

    References
    ----------
    Osterbrock & Ferland 2006, Astrophysics of Gaseous Nebulae and Active Galactic Nuclei, chapter 4; Storey & Hummer
    1995, MNRAS 272, 41; Rybicki & Lightman 1979, Radiative Processes in Astrophysics, eq. 5.14.
    """
    names, line_wave, ratio = zip(*HYDROGEN_LINES, strict=True)
    edges = _EDGE * np.arange(2, 11) ** 2
    wave = np.unique(np.concatenate([np.geomspace(912.0, 1e6, 600), edges * (1 - 1e-6), edges * (1 + 1e-6)]))
    continuum = _hydrogen_continuum(wave) / ALPHA_B / LSUN
    lines = np.array(ratio) * H_BETA / ALPHA_B / LSUN
    arrays: dict[str, Any] = {
        "log_z": [-4.0, -1.0],
        "log_age_gyr": [-4.0, np.log10(oldest)],
        "log_u": [-4.0, -1.0],
        "line_wave": line_wave,
        "line_luminosity": np.broadcast_to(lines, (2, 2, 2, len(lines))),
        "continuum_wave": wave,
        "continuum": np.broadcast_to(continuum, (2, 2, 2, len(wave))),
    }
    return NebularGrid.from_arrays(names, **arrays)


def _hydrogen_continuum(wave: np.ndarray) -> np.ndarray:
    """Emission coefficient, erg cm^3/s/Hz (n_wave,); no captures to the ground level."""
    photon = _PHOTON / wave
    total = np.exp(-photon)
    for n in range(2, 60):
        bound = _RYDBERG / n**2
        total += np.where(wave < _EDGE * n**2, 2.0 * bound / n * np.exp(bound - photon), 0.0)
    return 6.84e-38 / 100.0 * total
