"""Make ``absorption_tables.npz``: photo-ionisation cross-sections per element on one energy grid.

Run it as ``python scripts/make_absorption_tables.py``; inputs are the published coefficients in ``scripts/atomic``,
the output is ``src/skyfold/xray/models/absorption_tables.npz``. Arrays of the output:

``energy`` : (m,) float64, keV. Every edge stands twice, with the value below and the value above it.
``vern`` : (18, m) float32, Mb. Verner & Yakovlev 1995 and Verner et al. 1996.
``bcmc`` : (18, m) float32, Mb. Balucinska-Church & McCammon 1992, helium of Yan et al. 1998.
``obcm_helium`` : (m,) float32, Mb. Helium after Marr & West 1976, of XSPEC's older ``obcm``.
``tbabs`` : (18, m) float32, Mb. Verner with H of Band et al. 1990, He of Yan et al. 1998, and O, Ne and Fe with the
    structure of their edges.
``molecular_hydrogen`` : (m,) float32, Mb per molecule. Yan et al. 1998; Wilms et al. 2000 between 30 and 85 eV.

Rows are the elements `ELEMENTS`, those of XSPEC's absorption models.

References
----------
Balucinska-Church & McCammon 1992, ApJ 400, 699. Band et al. 1990, A&A 237, 267. Fernley, Taylor & Seaton 1987,
J. Phys. B 20, 6457. Marr & West 1976, ADNDT 18, 497. Oza 1986, Phys. Rev. A 33, 824. Verner & Yakovlev 1995,
A&AS 109, 125. Verner et al. 1996, ApJ 465, 487. Wilms, Allen & McCray 2000, ApJ 542, 914. Yan, Sadeghpour &
Dalgarno 1998, ApJ 496, 1044.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

ATOMIC = Path(__file__).parent / "atomic"
OUTPUT = Path(__file__).parents[1] / "src" / "skyfold" / "xray" / "models" / "absorption_tables.npz"

#: Atomic numbers of the rows.
ELEMENTS = (1, 2, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 20, 24, 26, 27, 28)
#: Limits of the grid in keV, and its step in ln(energy).
GRID = (1e-3, 1e3, 0.02)

_ORBITAL = np.array([0, 0, 1, 0, 1, 2, 0])  # angular momentum of the shells 1s 2s 2p 3s 3p 3d 4s
_HELIUM_EDGE = 24.58  # eV


def rows(name: str) -> list[dict[str, float]]:
    """Read a table of coefficients as one dict per row."""
    with (ATOMIC / name).open(encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("#")]
    return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(lines)]


# -- Verner ------------------------------------------------------------------------------------------------------------


def verner(z: int, energy: np.ndarray) -> np.ndarray:
    """Cross-section in Mb of the neutral atom `z` at `energy` in eV, summed over its shells."""
    shells = {int(row["shell"]): row for row in rows("verner_yakovlev_1995.csv") if row["Z"] == z}
    outer = next((row for row in rows("verner_1996.csv") if row["Z"] == z), None)
    inner = _last_inner_shell(z)
    if outer is None:
        turn = 0.0  # the 1995 fits hold everywhere
    else:
        turn = shells[inner]["threshold_eV"] if inner else np.inf
    total = np.zeros_like(energy)
    for shell, row in shells.items():
        above = energy >= row["threshold_eV"]
        old = _fit_1995(row, _ORBITAL[shell - 1], energy)
        if shell <= inner or outer is None:
            total += np.where(above, old, 0.0)
        else:
            # below the next inner threshold one 1996 fit stands for all outer shells together
            first = shell == max(shells)
            new = _fit_1996(outer, energy) if first else 0.0
            total += np.where(above, np.where(energy >= turn, old, new), 0.0)
    return total


def _last_inner_shell(z: int) -> int:
    if z <= 2:
        return 0
    if z <= 10:
        return 1
    return 3 if z <= 18 else 5


def _fit_1995(row: dict[str, float], orbital: int, energy: np.ndarray) -> np.ndarray:
    y = energy / row["E0_eV"]
    q = 5.5 + orbital - 0.5 * row["P"]
    shape = ((y - 1) ** 2 + row["yw"] ** 2) * y**-q
    return row["sigma0_Mb"] * shape * (1 + np.sqrt(y / row["ya"])) ** -row["P"]


def _fit_1996(row: dict[str, float], energy: np.ndarray) -> np.ndarray:
    x = energy / row["E0_eV"] - row["y0"]
    y = np.sqrt(x**2 + row["y1"] ** 2)
    shape = ((x - 1) ** 2 + row["yw"] ** 2) * y ** (0.5 * row["P"] - 5.5)
    return row["sigma0_Mb"] * shape * (1 + np.sqrt(y / row["ya"])) ** -row["P"]


# -- Balucinska-Church & McCammon --------------------------------------------------------------------------------------

#: Grams per 1e-24 cm^2: turns cm^2/g of the paper into barns per atom.
_ATOM = {1: 1.674, 6: 19.94, 7: 23.26, 8: 26.56, 10: 33.50, 11: 38.17, 12: 40.35, 13: 44.80, 14: 46.63, 16: 53.24}
_ATOM |= {17: 58.86, 18: 66.33, 20: 66.54, 24: 86.33, 26: 92.72, 27: 97.85, 28: 97.48}
#: Energies in eV between which the polynomials are used.
_FITTED = (30.0, 2e4)


def balucinska_mccammon(z: int, energy: np.ndarray) -> np.ndarray:
    """Cross-section in Mb of the neutral atom `z` at `energy` in eV; helium of Yan et al. 1998.

    The fits are for 30 eV to 10 keV. Below, Verner stands in their place; the polynomials are followed to 20 keV, as
    XSPEC does, and continued from there with the slope of Verner (they would turn upwards).
    """
    if z == 2:
        return helium(energy)
    low, high = _FITTED
    log_energy = np.log(np.clip(energy, low, high))
    sigma = np.zeros_like(energy)
    for row in rows("balucinska_mccammon_1992.csv"):
        if row["Z"] == z:
            polynomial = sum(row[f"c{k}"] * log_energy**k for k in range(9))
            inside = (energy >= row["low_eV"]) & (energy < row["high_eV"])
            sigma = np.where(inside, np.exp(np.where(inside, polynomial, 0.0) - 3 * log_energy), sigma)
    sigma *= np.exp(-55.26204) * _ATOM[z] * 1e18
    other = verner(z, energy)
    beyond = other / verner(z, np.array([high]))
    return np.where(energy < low, other, np.where(energy > high, sigma * beyond, sigma))


# -- hydrogen and helium -----------------------------------------------------------------------------------------------


def hydrogen(energy: np.ndarray) -> np.ndarray:
    """Cross-section in Mb of atomic hydrogen at `energy` in eV, Band et al. 1990."""
    y = 2 * energy / 13.599
    return np.where(energy >= 13.599, 605.0 * y**-1.5 * (1 + np.sqrt(y)) ** -4, 0.0)


def molecular_hydrogen(energy: np.ndarray) -> np.ndarray:
    """Cross-section in Mb of one H2 molecule at `energy` in eV."""
    x = energy / 15.4
    pieces = [
        1e2 * np.polyval([25.4, -87.227, 99.723, -37.895], x),
        2e1 * x**-0.252 * np.polyval([-0.692, 1.977, -0.673, 0.071], 1 / x),
        np.polyval([-189.953, 368.053, -231.339, 78.118, -11.768, 0.664], 1 / x),
        45.57e-6
        * (energy / 1000) ** -3.5
        * np.polyval([-81.885, 231.608, -171.044, 50.577, -4.806, -2.003, 1.0], x**-0.5),
    ]
    sigma = np.select([energy < 18, energy < 30, energy < 85], pieces[:3], pieces[3])
    return np.where(energy > 15.4, sigma, 0.0)


#: Auto-ionisation resonances of helium: profile q (Fernley et al.), effective quantum number, width in Ry (Oza).
_RESONANCES = (
    (2.81, 1.610, 2.64061e-3),
    (2.51, 2.795, 6.20116e-4),
    (2.45, 3.817, 2.56061e-4),
    (2.44, 4.824, 1.320159e-4),
)


def _resonance_energy(nu: float) -> float:
    return 13.598 * (3.0 - 1.0 / nu**2 + 1.807317)


def _fano(energy: np.ndarray) -> np.ndarray:
    factor = np.ones_like(energy)
    for q, nu, width in _RESONANCES:
        x = 2 * (energy - _resonance_energy(nu)) / (13.598 * width)
        factor *= (x - q) ** 2 / (1 + x**2)
    return factor


def helium(energy: np.ndarray) -> np.ndarray:
    """Cross-section in Mb of helium at `energy` in eV, Yan et al. 1998, with its resonances."""
    root = np.sqrt(_HELIUM_EDGE / energy)
    polynomial = np.polyval([5.9133, -23.4585, 37.3584, -30.8678, 14.8200, -4.7416, 1.0], root)
    sigma = 733e-6 * (energy / 1000) ** -3.5 * polynomial
    return np.where(energy >= _HELIUM_EDGE, sigma * _fano(energy), 0.0)


def helium_marr_west(energy: np.ndarray) -> np.ndarray:
    """Cross-section in Mb of helium at `energy` in eV, fits to Marr & West 1976."""
    wavelength = 12398.54 / energy
    x = np.log10(wavelength)
    long = [-29.53607, 7.083061, 0.8678646, -1.221932, 0.04052997, 0.1317109, -0.03265795, 0.002500933]
    short = [-24.65188, 4.354679, -3.553024, 5.573040, -5.872938, 3.720797, -1.226919, 0.1576657]
    with np.errstate(over="ignore"):
        above = 10 ** np.polyval(long[::-1], x) * _fano(energy)
        sigma = np.where(wavelength < 46, 10 ** np.polyval(short[::-1], np.minimum(x, 2.0)), above)
    return np.where(wavelength <= 503.97, sigma * 1e18, 0.0)


# -- TBabs -------------------------------------------------------------------------------------------------------------


def edge_structure(z: int) -> tuple[np.ndarray, np.ndarray]:
    """Energies in eV and cross-sections in Mb around the edge of O, Ne or Fe."""
    table = [(row["energy_eV"], row["sigma_Mb"]) for row in rows("edge_structure.csv") if row["Z"] == z]
    energy, sigma = np.array(table).T
    return energy, sigma


def wilms(z: int, energy: np.ndarray) -> np.ndarray:
    """Cross-section in Mb of the neutral atom `z` at `energy` in eV, as TBabs has it."""
    if z == 1:
        return hydrogen(energy)
    if z == 2:
        return helium(energy)
    sigma = verner(z, energy)
    if z == 26:  # joins the measured edge to Verner
        sigma = np.where((energy >= 745.0) & (energy < 795.0), 1.645 * (energy / 720.74) ** -3.2, sigma)
    if z in (8, 10, 26):
        fine, value = edge_structure(z)
        inside = (energy >= fine[0]) & (energy < fine[-1])
        sigma = np.where(inside, np.exp(np.interp(energy, fine, np.log(value))), sigma)
    return sigma


# -- grid --------------------------------------------------------------------------------------------------------------


def edges() -> np.ndarray:
    """Energies in eV at which any of the cross-sections jumps."""
    found = [row["threshold_eV"] for row in rows("verner_yakovlev_1995.csv")]
    found += [row["high_eV"] for row in rows("balucinska_mccammon_1992.csv")]
    found += [13.599, 15.4, 18.0, 30.0, 85.0, _HELIUM_EDGE, 12398.54 / 503.97, 12398.54 / 46]
    found += [745.0, 795.0]
    for z in (8, 10, 26):
        fine, _ = edge_structure(z)
        found += [fine[0], fine[-1]]
    found = np.unique(found)
    return found[np.isfinite(found) & (found > 0)]


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Energies in eV, edges twice, and for each whether it stands for the upper side of its edge."""
    low, high, step = (GRID[0] * 1e3, GRID[1] * 1e3, GRID[2])
    smooth = np.geomspace(low, high, int(np.log(high / low) / step) + 2)
    resonances = [
        _resonance_energy(nu) + 0.5 * 13.598 * width * np.concatenate([[q], np.tan(np.linspace(-1.5, 1.5, 25))])
        for q, nu, width in _RESONANCES
    ]
    jumps = edges()
    smooth = np.concatenate([smooth, *resonances, *(edge_structure(z)[0] for z in (8, 10, 26))])
    smooth = np.setdiff1d(smooth, jumps)
    energy = np.concatenate([smooth, jumps, jumps])
    above = np.concatenate([np.ones(smooth.size, bool), np.zeros(jumps.size, bool), np.ones(jumps.size, bool)])
    order = np.lexsort((above, energy))
    return energy[order], above[order]


def tables() -> dict[str, np.ndarray]:
    """Everything that goes into the file."""
    energy, above = grid()
    # every cross-section jumps at its edge exactly: the lower of two equal energies goes a hair below it
    sided = np.where(above, energy, np.nextafter(energy, 0.0))

    def stack(function: Callable[[int, np.ndarray], np.ndarray]) -> np.ndarray:
        return np.stack([function(z, sided) for z in ELEMENTS]).astype(np.float32)

    return {
        "energy": energy / 1000.0,
        "vern": stack(verner),
        "bcmc": stack(balucinska_mccammon),
        "obcm_helium": helium_marr_west(sided).astype(np.float32),
        "tbabs": stack(wilms),
        "molecular_hydrogen": molecular_hydrogen(sided).astype(np.float32),
    }


def main() -> None:
    """Write the file."""
    made = tables()
    np.savez(OUTPUT, **made)
    print(f"{OUTPUT}: {made['energy'].size} energies, {OUTPUT.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
