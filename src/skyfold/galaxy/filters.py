"""Filters: transmission curves, and what they make of a spectrum."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.galaxy.columns import check_reach, plain

#: Nodes and weights of Gauss-Legendre integration in every cell of the merged grid.
_NODES, _WEIGHTS = (0.5 * (1.0 + np.polynomial.legendre.leggauss(4)[0]), 0.5 * np.polynomial.legendre.leggauss(4)[1])
#: Transmission below this fraction of the largest one counts as none.
_FLOOR = 1e-5
#: Transmissions below zero by more than this fraction of the largest one are no noise.
_NEGATIVE = 0.05
#: Curves that end below it are no filters for galaxies: the Lyman limit, Angstrom.
_SHORTEST = 912.0
#: The unit of wavelengths as headers state it: in the column's heading, after "unit", or alone on a line.
_STATED = re.compile(
    r"(?:\b(?:wave\w*?|lam(?:bda)?|wl)[\s\[\](){}_:=,/-]*|\bunits?\s*[:=]\s*|^\W*)"
    r"(angstroms?|aa?|\u00c5|nm|nanomet(?:er|re)s?|um|[\u00b5\u03bc]m|microns?|micromet(?:er|re)s?)(?=[\W_]|$)",
    re.IGNORECASE,
)
#: Share of its wavelength over which a vertical side inside a curve rises or falls.
_UPRIGHT = 1e-9
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


@dataclass(frozen=True, eq=False)
class Filter:
    r"""Transmission curve of a band: detected photons per photon, linear between its nodes.

    The mean flux density that a photon counter sees, over that of the AB reference, is

    .. math:: \frac{\int f_\nu T\, d\lambda/\lambda}{3631\,\mathrm{Jy} \int T\, d\lambda/\lambda} .

    Parameters
    ----------
    name : as in ``"sdss_g0"``.
    wave : (n,) wavelengths, Angstrom, increasing; or with their unit, as an astropy quantity. A vertical side is the
        same wavelength twice.
    transmission : (n,) in any unit.
    counts : what `transmission` is the response to: ``"photon"``, or ``"energy"``, the signal for a unit of energy, as
        for bolometers. The latter is divided by the wavelength, so that `transmission` is always that per photon.

    Raises
    ------
    SkyfoldError
        If the curve is no curve: other shapes, numbers that are masked or not finite, wavelengths that do not increase
        or end below the Lyman limit (in other units, that is), transmissions below zero, no light; or
        `counts` is neither.
    """

    name: str
    wave: np.ndarray
    transmission: np.ndarray
    counts: InitVar[str] = "photon"

    def __post_init__(self, counts: str) -> None:
        w = plain(f"Filter '{self.name}'", self.wave, "Angstrom")
        t = plain(f"Transmission of the filter '{self.name}'", self.transmission)
        bad = w.ndim != 1 or w.shape != t.shape or w.size < 2 or not np.all(np.isfinite(w) & np.isfinite(t))
        if bad or not _rises(w) or np.max((t[1:] + t[:-1]) * np.diff(w)) <= 0:
            raise SkyfoldError(
                f"Filter '{self.name}': a curve needs two or more increasing wavelengths in Angstrom (a vertical side "
                "has the same one twice) with finite transmissions, some positive; got the shapes "
                f"{w.shape} and {t.shape}."
            )
        check_reach(f"Filter '{self.name}'", w, _SHORTEST)
        if t.min() < -_NEGATIVE * t.max():
            raise SkyfoldError(
                f"Filter '{self.name}': the transmission at {w[np.argmin(t)]:g} Angstrom is {t.min():g}; transmissions "
                f"are not negative, but for noise below {100 * _NEGATIVE:.0f}% of the largest one."
            )
        if counts not in ("photon", "energy"):
            raise SkyfoldError(f"Filter '{self.name}': counts={counts!r} is not known; it is 'photon' or 'energy'.")
        t = np.maximum(t, 0.0) / (w / w[-1] if counts == "energy" else 1.0)
        light = np.flatnonzero(t > _FLOOR * t.max())
        inside = slice(max(light[0] - 1, 0), light[-1] + 2)
        w, t = w[inside], t[inside]
        # nothing lies outside of a curve, so a vertical side at its end is there without the point at its foot
        keep = slice(int(w[0] == w[1]), len(w) - int(w[-1] == w[-2]))
        w, t = w[keep], t[keep]
        object.__setattr__(self, "wave", np.where(np.diff(w, prepend=0.0) == 0, w * (1.0 + _UPRIGHT), w))
        object.__setattr__(self, "transmission", t)

    @classmethod
    def load(cls, name: Any) -> Self:
        """Load a curve by name, from a file, or as it is.

        Parameters
        ----------
        name : a `Filter`; a file of two columns, wavelength and transmission, whose name ends on ``.par``, ``.txt``,
            ``.dat`` or ``.csv``; or a name. Wavelengths are in Angstrom, or in the unit that the lines before the
            numbers state, as in ``# wavelength [nm]`` or ``# unit: micron``. Names as in ``"sdss_r0"`` or
            ``"twomass_J"`` are those of astro-sedpy, those with a hyphen as in ``"decamDR1-g"`` of speclite. A line
            before the numbers of no more than ``energy`` or ``photon``, as in CIGALE's files, says what is counted.

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
        heading: list[str] = []
        rows: list[list[float]] = []
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            cells = [_number(cell) for cell in line.split("#")[0].replace(",", " ").split()]
            if not rows and all(cell is None for cell in cells) or not cells:
                heading.append(line)
                continue
            pair = [cell for cell in cells[:2] if cell is not None and np.isfinite(cell)]
            if len(pair) < 2:
                raise FileFormatError(
                    f"{path}: line {number} ({line.strip()!r}) holds no finite wavelength and transmission. Mend the "
                    "line, or leave it out."
                )
            rows.append(pair)
        if not rows:
            raise FileFormatError(f"{path}: not a table of wavelengths and transmissions.")
        # turned, not sorted alone: the two points of a vertical side keep their order
        rows = rows[::-1] if rows[0][0] > rows[-1][0] else rows
        table = np.array(sorted(rows, key=lambda row: row[0]))
        try:
            return cls(path.stem, table[:, 0] * _unit(path, heading), table[:, 1], _counts(heading))
        except SkyfoldError as problem:
            raise FileFormatError(f"{path}: {problem}") from problem

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
        return float(np.sum(in_logarithm(self.wave, self.transmission)))

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


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _unit(path: Path, heading: Sequence[str]) -> float:
    """Angstrom in the unit of wavelengths that the lines before the numbers state, 1 where they state none."""
    found = {match[1].lower() for line in heading if (match := _STATED.search(line))}
    factors = {{"n": 10.0, "a": 1.0, "\u00e5": 1.0}.get(unit[0], 1e4) for unit in found}
    if len(factors) > 1:
        raise FileFormatError(f"{path}: the heading states several units of wavelength ({', '.join(sorted(found))}).")
    return factors.pop() if factors else 1.0


def _counts(heading: Sequence[str]) -> str:
    """What the lines before the numbers say that the transmission counts."""
    return "energy" if any(line.strip("# \t").lower() == "energy" for line in heading) else "photon"


def in_logarithm(wave: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Integrals (n - 1,) over ln(wavelength) of a curve (n,) that is linear between wavelengths (n,)."""
    step, ratio = np.diff(wave), np.log1p(np.diff(wave) / wave[:-1])
    return np.asarray(curve[:-1] * ratio + np.diff(curve) / step * (step - wave[:-1] * ratio))


def _rises(wave: np.ndarray) -> bool:
    """Whether wavelengths are positive and increase, each standing there twice at most."""
    return bool(wave[0] > 0 and wave[-1] > wave[0] and np.all(np.diff(wave) >= 0) and np.all(wave[2:] > wave[:-2]))


def _increasing(wave: Any, transmission: Any) -> tuple[np.ndarray, np.ndarray]:
    w, where = np.unique(np.asarray(wave, dtype=np.float64), return_index=True)
    return w, np.asarray(transmission, dtype=np.float64)[where]
