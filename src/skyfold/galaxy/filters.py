"""Filters: transmission curves, and what they make of a spectrum."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.galaxy.galaxy import NJY
from skyfold.galaxy.ssp import LIGHT

#: Flux density of AB magnitude 0, Jy.
AB_JY = 3631.0
#: Nodes and weights of Gauss-Legendre integration in every cell of the merged grid.
_NODES, _WEIGHTS = (0.5 * (1.0 + np.polynomial.legendre.leggauss(4)[0]), 0.5 * np.polynomial.legendre.leggauss(4)[1])
#: Transmission below this fraction of the largest one counts as none.
_FLOOR = 1e-5
#: Points on which the span of a curve is looked for.
_SPAN = 1001
#: How figures show flux densities over wavelength.
WAVELENGTHS: dict[str, Any] = {
    "label": "Wavelength [Angstrom]",
    "unit": "Angstrom",
    "data_label": "flux density [nJy]",
    "data_unit": "nJy",
    "logarithmic": True,
}
#: Units of flux densities, in nJy; magnitudes and erg/s/cm^2/Angstrom are not mere factors.
UNITS = {"nJy": 1.0, "uJy": 1e3, "mJy": 1e6, "Jy": 1e9, "maggies": AB_JY * 1e9, "erg/s/cm2/Hz": 1.0 / NJY}


@dataclass(frozen=True, eq=False)
class Filter:
    r"""Transmission curve of a band: detected photons per photon, linear between its nodes.

    The mean flux density that a photon counter sees, over that of the AB reference, is

    .. math:: \frac{\int f_\nu T\, d\lambda/\lambda}{3631\,\mathrm{Jy} \int T\, d\lambda/\lambda} .

    Parameters
    ----------
    name : as in ``"sdss_g0"``.
    wave : (n,) wavelengths, Angstrom, increasing.
    transmission : (n,) in any unit.

    Raises
    ------
    SkyfoldError
        If the curve is no curve: other shapes, numbers that are not finite, wavelengths that do not increase, no light.
    """

    name: str
    wave: np.ndarray
    transmission: np.ndarray

    def __post_init__(self) -> None:
        w, t = np.asarray(self.wave, dtype=np.float64), np.asarray(self.transmission, dtype=np.float64)
        bad = w.ndim != 1 or w.shape != t.shape or w.size < 2
        if bad or not np.all(np.isfinite(w) & np.isfinite(t)) or np.any(np.diff(w) <= 0) or w[0] <= 0 or t.max() <= 0:
            raise SkyfoldError(
                f"Filter '{self.name}': a curve needs two or more increasing wavelengths in Angstrom with finite "
                f"transmissions, some positive; got the shapes {w.shape} and {t.shape}."
            )
        t = np.maximum(t, 0.0)
        light = np.flatnonzero(t > _FLOOR * t.max())
        inside = slice(max(light[0] - 1, 0), light[-1] + 2)
        object.__setattr__(self, "wave", w[inside])
        object.__setattr__(self, "transmission", t[inside])

    @classmethod
    def load(cls, name: Any) -> Self:
        """Load a curve by name, from a file, or as it is.

        Parameters
        ----------
        name : a `Filter`; a file of two columns, wavelength in Angstrom and transmission, whose name ends on ``.par``,
            ``.txt``, ``.dat`` or ``.csv``; or a name. Names as in ``"sdss_r0"`` or ``"twomass_J"`` are those of
            astro-sedpy, those with a hyphen as in ``"decamDR1-g"`` of speclite.

        Raises
        ------
        SkyfoldError
            If the name is not known or the package that has the curve is not installed.
        """
        if isinstance(name, cls):
            return name
        text = os.fspath(name)
        if Path(text).suffix.lower() in (".par", ".txt", ".dat", ".csv"):
            return cls._read(Path(text))
        return cls._from_speclite(text) if "-" in text else cls._from_sedpy(text)

    @classmethod
    def _read(cls, path: Path) -> Self:
        if not path.is_file():
            raise FileFormatError(f"{path}: there is no such file of a transmission curve.")
        try:
            table = np.loadtxt(path, delimiter="," if path.suffix.lower() == ".csv" else None, usecols=(0, 1), ndmin=2)
        except ValueError as error:
            raise FileFormatError(
                f"{path}: not a table of wavelengths in Angstrom and transmissions ({error})."
            ) from error
        table = table[np.argsort(table[:, 0])]
        return cls(path.stem, table[:, 0], table[:, 1])

    @classmethod
    def _from_sedpy(cls, name: str) -> Self:
        try:
            from sedpy import observate
        except ImportError as error:
            raise SkyfoldError(
                f"The curve of '{name}' comes with astro-sedpy, which is not installed: pip install 'skyfold[galaxy]'. "
                "Or give a file or a galaxy.Filter."
            ) from error
        known = [n.removesuffix(".par") for n in observate.list_available_filters()]
        if name not in known:
            from skyfold.wording import unknown_name

            near = [n for n in known if n.split("_")[0] == name.split("_")[0]] or sorted(
                {n.split("_")[0] for n in known}
            )
            raise unknown_name(name, near, "filter of astro-sedpy")
        curve = observate.Filter(name, min_trans=_FLOOR)
        return cls(name, *_increasing(curve.wavelength, curve.transmission))

    @classmethod
    def _from_speclite(cls, name: str) -> Self:
        try:
            import speclite.filters
        except ImportError as error:
            raise SkyfoldError(
                f"The curve of '{name}' comes with speclite, which is not installed: pip install speclite. Or give a "
                "file or a galaxy.Filter."
            ) from error
        try:
            curve = speclite.filters.load_filter(name)
        except (ValueError, RuntimeError, OSError) as error:
            raise SkyfoldError(f"speclite knows no filter '{name}': {error}") from error
        return cls(name, *_increasing(curve.wavelength, curve.response))

    @cached_property
    def norm(self) -> float:
        """Integral of T over ln(wavelength)."""
        slope = np.diff(self.transmission) / np.diff(self.wave)
        constant = self.transmission[:-1] - slope * self.wave[:-1]
        return float(np.sum(constant * np.log(self.wave[1:] / self.wave[:-1]) + np.diff(self.transmission)))

    @cached_property
    def pivot(self) -> float:
        """Pivot wavelength, Angstrom: the root of the integral of T lambda over that of T/lambda."""
        w, t = self.wave, self.transmission
        step = np.diff(w)
        above = np.sum(step * (t[:-1] * (2 * w[:-1] + w[1:]) + t[1:] * (w[:-1] + 2 * w[1:])) / 6.0)
        return float(np.sqrt(above / self.norm))

    @property
    def span(self) -> tuple[float, float]:
        """Outermost wavelengths at which half of the greatest transmission is reached, Angstrom."""
        wave = np.linspace(self.wave[0], self.wave[-1], _SPAN)
        transmission = np.interp(wave, self.wave, self.transmission)
        seen = wave[transmission >= 0.5 * transmission.max()]
        return float(seen[0]), float(seen[-1])

    def weights(self, wave: np.ndarray, factor: Any = None) -> np.ndarray:
        """Weights of a spectrum's nodes in its mean flux density, for a spectrum that is linear in between.

        The integral over the merged grid of both is exact to rounding; the spectrum is zero outside its nodes.

        Parameters
        ----------
        wave : (n,) wavelengths of the flux densities per Hz, Angstrom, observed frame.
        factor : function of wavelengths that multiplies the spectrum, such as the transmission of gas on the way.

        Returns
        -------
        (n,) array ``w``; the mean flux density is ``w @ flux``. They add up to 1 where the spectrum covers the filter.
        """
        grid = np.union1d(self.wave, wave[(wave > self.wave[0]) & (wave < self.wave[-1])])
        grid = grid[(grid >= wave[0]) & (grid <= wave[-1])]
        weights = np.zeros(len(wave))
        if len(grid) < 2:
            return weights
        x = grid[:-1, None] + np.diff(grid)[:, None] * _NODES
        part = np.diff(grid)[:, None] * _WEIGHTS * np.interp(x, self.wave, self.transmission) / x / self.norm
        if factor is not None:
            part = part * np.asarray(factor(x.ravel())).reshape(x.shape)
        low = np.clip(np.searchsorted(wave, x, side="right") - 1, 0, len(wave) - 2)
        upper = (x - wave[low]) / (wave[low + 1] - wave[low])
        np.add.at(weights, low, part * (1.0 - upper))
        np.add.at(weights, low + 1, part * upper)
        return weights

    def __repr__(self) -> str:
        return f"Filter {self.name}: {self.wave[0]:.0f} to {self.wave[-1]:.0f} Angstrom, pivot {self.pivot:.0f}"


def _increasing(wave: Any, transmission: Any) -> tuple[np.ndarray, np.ndarray]:
    w, where = np.unique(np.asarray(wave, dtype=np.float64), return_index=True)
    return w, np.asarray(transmission, dtype=np.float64)[where]


def in_njy(name: str, flux: Any, error: Any, unit: str, pivots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fluxes and errors (..., n_band) in nJy, from any known unit or from astropy quantities."""
    if hasattr(flux, "to_value") or hasattr(error, "to_value"):
        import astropy.units as u

        both = []
        for what, value in (("flux", flux), ("error", error)):
            try:
                both.append(np.asarray(value.to_value(u.nJy, u.spectral_density(pivots * u.AA)), dtype=np.float64))
            except (AttributeError, u.UnitConversionError) as problem:
                raise SkyfoldError(f"'{name}': the {what} has no unit of flux density ({problem}).") from problem
        return both[0], both[1]
    data, sigma = np.asarray(flux, dtype=np.float64), np.asarray(error, dtype=np.float64)
    if unit == "AB":
        linear = AB_JY * 1e9 * 10.0 ** (-0.4 * data)
        return linear, linear * sigma * 0.4 * np.log(10.0)
    if unit == "erg/s/cm2/Angstrom":
        factor: Any = pivots**2 / LIGHT / NJY
    elif unit in UNITS:
        factor = UNITS[unit]
    else:
        raise SkyfoldError(
            f"'{name}': the unit {unit!r} is not known: {', '.join([*UNITS, 'erg/s/cm2/Angstrom', 'AB'])}."
        )
    return data * factor, sigma * factor
