"""Abundance tables: number of atoms per hydrogen atom, H to Zn."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from skyfold.errors import SkyfoldError

#: Where each table comes from, by its XSPEC name.
SOURCES = {
    "angr": "Anders & Grevesse 1989, Geochim. Cosmochim. Acta 53, 197 (photospheric)",
    "aspl": "Asplund, Grevesse, Sauval & Scott 2009, ARA&A 47, 481",
    "feld": "Feldman 1992, Phys. Scr. 46, 202",
    "aneb": "Anders & Ebihara 1982, Geochim. Cosmochim. Acta 46, 2363",
    "grsa": "Grevesse & Sauval 1998, Space Sci. Rev. 85, 161",
    "wilm": "Wilms, Allen & McCray 2000, ApJ 542, 914 (interstellar medium)",
    "lodd": "Lodders 2003, ApJ 591, 1220",
    "felc": "Feldman, Mandelbaum, Seely, Doschek & Gursky 1992, ApJS 81, 387 (coronal)",
    "lpgp": "Lodders, Palme & Gail 2009, Landolt-Boernstein VI/4B, 560 (photospheric)",
    "lpgs": "Lodders, Palme & Gail 2009, Landolt-Boernstein VI/4B, 560 (proto-solar)",
}

_NAMES = "angr aspl feld aneb grsa wilm lodd lpgp lpgs felc"
#: Former spellings of XSPEC's manual.
_ALIASES = {"lgpp": "lpgp", "lgps": "lpgs"}
_TABLE = """
H  1.00e+00 1.00e+00 1.00e+00 1.00e+00 1.00e+00 1.00e+00 1.00e+00 1.00e+00 1.00e+00 1.00e+00
He 9.77e-02 8.51e-02 9.77e-02 8.01e-02 8.51e-02 9.77e-02 7.92e-02 8.41e-02 9.69e-02 7.94e-02
Li 1.45e-11 1.12e-11 1.26e-11 2.19e-09 1.26e-11 0        1.90e-09 1.26e-11 2.15e-09 0
Be 1.41e-11 2.40e-11 2.51e-11 2.87e-11 2.51e-11 0        2.57e-11 2.40e-11 2.36e-11 0
B  3.98e-10 5.01e-10 3.55e-10 8.82e-10 3.55e-10 0        6.03e-10 5.01e-10 7.26e-10 0
C  3.63e-04 2.69e-04 3.98e-04 4.45e-04 3.31e-04 2.40e-04 2.45e-04 2.45e-04 2.78e-04 3.89e-04
N  1.12e-04 6.76e-05 1.00e-04 9.12e-05 8.32e-05 7.59e-05 6.76e-05 7.24e-05 8.19e-05 1.00e-04
O  8.51e-04 4.90e-04 8.51e-04 7.39e-04 6.76e-04 4.90e-04 4.90e-04 5.37e-04 6.06e-04 7.76e-04
F  3.63e-08 3.63e-08 3.63e-08 3.10e-08 3.63e-08 0        2.88e-08 3.63e-08 3.10e-08 0
Ne 1.23e-04 8.51e-05 1.29e-04 1.38e-04 1.20e-04 8.71e-05 7.41e-05 1.12e-04 1.27e-04 1.20e-04
Na 2.14e-06 1.74e-06 2.14e-06 2.10e-06 2.14e-06 1.45e-06 1.99e-06 2.00e-06 2.23e-06 8.51e-06
Mg 3.80e-05 3.98e-05 3.80e-05 3.95e-05 3.80e-05 2.51e-05 3.55e-05 3.47e-05 3.98e-05 1.41e-04
Al 2.95e-06 2.82e-06 2.95e-06 3.12e-06 2.95e-06 2.14e-06 2.88e-06 2.95e-06 3.27e-06 1.10e-05
Si 3.55e-05 3.24e-05 3.55e-05 3.68e-05 3.55e-05 1.86e-05 3.47e-05 3.31e-05 3.86e-05 1.26e-04
P  2.82e-07 2.57e-07 2.82e-07 3.82e-07 2.82e-07 2.63e-07 2.88e-07 2.88e-07 3.20e-07 0
S  1.62e-05 1.32e-05 1.62e-05 1.89e-05 2.14e-05 1.23e-05 1.55e-05 1.38e-05 1.63e-05 1.86e-05
Cl 3.16e-07 3.16e-07 3.16e-07 1.93e-07 3.16e-07 1.32e-07 1.82e-07 3.16e-07 2.00e-07 0
Ar 3.63e-06 2.51e-06 4.47e-06 3.82e-06 2.51e-06 2.57e-06 3.55e-06 3.16e-06 3.58e-06 3.80e-06
K  1.32e-07 1.07e-07 1.32e-07 1.39e-07 1.32e-07 0        1.29e-07 1.32e-07 1.45e-07 0
Ca 2.29e-06 2.19e-06 2.29e-06 2.25e-06 2.29e-06 1.58e-06 2.19e-06 2.14e-06 2.33e-06 8.51e-06
Sc 1.26e-09 1.41e-09 1.48e-09 1.24e-09 1.48e-09 0        1.17e-09 1.26e-09 1.33e-09 0
Ti 9.77e-08 8.91e-08 1.05e-07 8.82e-08 1.05e-07 6.46e-08 8.32e-08 7.94e-08 9.54e-08 0
V  1.00e-08 8.51e-09 1.00e-08 1.08e-08 1.00e-08 0        1.00e-08 1.00e-08 1.11e-08 0
Cr 4.68e-07 4.37e-07 4.68e-07 4.93e-07 4.68e-07 3.24e-07 4.47e-07 4.37e-07 5.06e-07 0
Mn 2.45e-07 2.69e-07 2.45e-07 3.50e-07 2.45e-07 2.19e-07 3.16e-07 2.34e-07 3.56e-07 0
Fe 4.68e-05 3.16e-05 3.24e-05 3.31e-05 3.16e-05 2.69e-05 2.95e-05 2.82e-05 3.27e-05 1.26e-04
Co 8.32e-08 9.77e-08 8.32e-08 8.27e-08 8.32e-08 8.32e-08 8.13e-08 8.32e-08 9.07e-08 0
Ni 1.78e-06 1.66e-06 1.78e-06 1.81e-06 1.78e-06 1.12e-06 1.66e-06 1.70e-06 1.89e-06 6.92e-06
Cu 1.62e-08 1.55e-08 1.62e-08 1.89e-08 1.62e-08 0        1.82e-08 1.62e-08 2.09e-08 0
Zn 3.98e-08 3.63e-08 3.98e-08 4.63e-08 3.98e-08 0        4.27e-08 4.17e-08 5.02e-08 0
"""


@lru_cache(maxsize=1)
def _columns() -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    rows = [line.split() for line in _TABLE.strip().splitlines()]
    numbers = np.array([row[1:] for row in rows], dtype=np.float64)
    numbers.setflags(write=False)
    return tuple(row[0] for row in rows), dict(zip(_NAMES.split(), numbers.T, strict=True))


def elements() -> tuple[str, ...]:
    """Return the symbols of the elements, in the order of their atomic numbers 1 to 30."""
    return _columns()[0]


def abundances(name: str) -> np.ndarray:
    """Return the number of atoms per hydrogen atom of the 30 elements H to Zn.

    Parameters
    ----------
    name : str
        XSPEC's name of the table, one of `SOURCES`.

    Returns
    -------
    (30,) array

    Raises
    ------
    SkyfoldError
        If there is no such table.
    """
    columns = _columns()[1]
    name = _ALIASES.get(name, name)
    if name not in columns:
        raise SkyfoldError(f"There is no abundance table {name!r}; choose one of {', '.join(sorted(columns))}.")
    return columns[name]
