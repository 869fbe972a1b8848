"""SSP: luminosity of simple stellar populations on a grid of metallicity, age and wavelength."""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.annotation import Annotation
from skyfold.errors import FileFormatError, SkyfoldError, SkyfoldWarning
from skyfold.galaxy.columns import LIGHT, plain

#: Nominal luminosity of the Sun, erg/s (IAU 2015, resolution B3).
LSUN = 3.828e33
#: Solar metal fraction (Asplund et al. 2009, ARA&A 47, 481), proto-solar as FSPS and MIST take it.
ZSUN = 0.0142
#: Planck's constant, erg s.
PLANCK = 6.62607015e-27
#: Ionisation edge of hydrogen, Angstrom.
LYMAN_LIMIT = 911.75

#: Bolometric luminosity that a population of about 1 Gyr may have, Lsun/Msun; every published grid has about 1.
_PLAUSIBLE = (0.02, 50.0)


class SSPWarning(SkyfoldWarning):
    """A grid of stellar populations can be used, but probably not as it was meant."""


@dataclass(frozen=True)
class Origin:
    """Where a grid came from.

    Parameters
    ----------
    name : shown in tables.
    path : file it was read from, None if it was made in memory.
    notes : what the file says of itself.
    """

    name: str
    path: Path | None = None
    notes: tuple[tuple[str, str], ...] = ()


class SSP(eqx.Module):
    """Grid of simple stellar populations, each of one solar mass formed.

    Between the nodes of the grid the luminosity is linear in age and in log10 Z; outside, the nearest node holds.

    Attributes
    ----------
    wave : (n_wave,) rest wavelengths in vacuum, Angstrom, increasing.
    ages : (n_age,) ages, Gyr, increasing; the first may be 0.
    log_z : (n_met,) log10 of the metal mass fraction Z (absolute, not relative to the Sun), increasing.
    flux : (n_met, n_age, n_wave) luminosity, Lsun/Hz per Msun formed.
    mass_remaining : (n_met, n_age) mass in stars and remnants per mass formed, or None.
    solar_z : metal fraction that log(Z/Zsun) = 0 stands for.
    lsun : luminosity that the file calls Lsun, erg/s.
    ionising : (n_met, n_age) rate of photons that ionise hydrogen, 1/s per Msun formed.
    line_wave, line_luminosity : (n_line,) Angstrom and (n_met, n_age, n_line) Lsun/Msun, or None.
    """

    units: ClassVar[dict[str, str]] = {
        "wave": "Angstrom",
        "ages": "Gyr",
        "log_z": "log10(Z)",
        "flux": "Lsun/Hz/Msun",
        "mass_remaining": "Msun/Msun",
        "ionising": "1/s/Msun",
        "line_wave": "Angstrom",
        "line_luminosity": "Lsun/Msun",
        "lsun": "erg/s",
    }

    wave: Any
    ages: Any
    log_z: Any
    flux: Any
    mass_remaining: Any
    solar_z: Any
    lsun: Any
    ionising: Any
    line_wave: Any = None
    line_luminosity: Any = None
    annotation: Annotation = eqx.field(static=True, default=Annotation(Origin("ssp")))

    @classmethod
    def read(
        cls,
        path: str | os.PathLike[str],
        *,
        metallicity: str = "log10 Z",
        solar_z: float | None = None,
        lsun: float | None = None,
        name: str | None = None,
    ) -> Self:
        """Read a grid in the HDF5 layout of DSPS.

        Data sets: ``ssp_lgmet``, ``ssp_lg_age_gyr``, ``ssp_wave``, ``ssp_flux``, and where there are any
        ``ssp_mass_remaining`` (or ``ssp_surviving_mass``), ``ssp_emline_wave`` and ``ssp_emline_luminosity``.

        Parameters
        ----------
        path : file.
        metallicity : what ``ssp_lgmet`` holds: ``"log10 Z"`` (the layout's own rule) or ``"log10 Z/Zsun"``.
        solar_z : metal fraction of the Sun in the tracks of this grid (0.0142 MIST, 0.0152 PARSEC, 0.019 Padova,
            0.02 BC03 and PEGASE). Default: what the file says, as those of `write` do (attribute ``solar_z``), else
            0.0142.
        lsun : luminosity of the Sun that the fluxes are in, erg/s. Default: what the file says (``lsun_erg_s``), else
            3.828e33.
        name : shown in tables; default the file's name.

        Raises
        ------
        FileFormatError
            If the file is absent or damaged, or its numbers cannot be what the layout says.

        References
        ----------
        Hearin et al. 2023, MNRAS 521, 1741 (DSPS).
        """
        import h5py

        path = Path(path)
        if not path.is_file():
            raise FileFormatError(f"{path}: there is no such file. Name a grid of populations in the layout of DSPS.")
        try:
            with h5py.File(path) as file:
                held = {key: _dataset(path, key, file[key]) for key in file if isinstance(file[key], h5py.Dataset)}
                said = dict(file.attrs)
        except FileFormatError:
            raise
        except Exception as error:
            # a damaged file breaks h5py in many ways
            raise FileFormatError(
                f"{path}: not an HDF5 file, or a damaged one ({error}). Name a grid in the layout of DSPS."
            ) from error
        solar_z = _said(path, "solar_z", said, ZSUN) if solar_z is None else solar_z
        lsun = _said(path, "lsun_erg_s", said, LSUN) if lsun is None else lsun
        notes = tuple((str(k), str(v)) for k, v in said.items())
        for key in ("ssp_lgmet", "ssp_lg_age_gyr", "ssp_wave", "ssp_flux"):
            if key not in held:
                raise FileFormatError(
                    f"{path}: the data set '{key}' is missing (found: {', '.join(held) or 'none'}). A grid in the "
                    f"layout "
                    "of DSPS has ssp_lgmet, ssp_lg_age_gyr, ssp_wave and ssp_flux; others go through SSP.from_arrays."
                )
        return cls.from_arrays(
            held["ssp_wave"],
            held["ssp_lg_age_gyr"],
            held["ssp_lgmet"],
            held["ssp_flux"],
            held.get("ssp_mass_remaining", held.get("ssp_surviving_mass")),
            age="log10 Gyr",
            metallicity=metallicity,
            solar_z=solar_z,
            lsun=lsun,
            lines=(held["ssp_emline_wave"], held["ssp_emline_luminosity"])
            if {"ssp_emline_wave", "ssp_emline_luminosity"} <= set(held)
            else None,
            name=name or path.stem,
            origin=Origin(name or path.stem, path, notes),
        )

    @classmethod
    def from_arrays(
        cls,
        wave: Any,
        ages: Any,
        metallicities: Any,
        flux: Any,
        mass_remaining: Any = None,
        *,
        age: str = "Gyr",
        metallicity: str = "log10 Z",
        flux_unit: str = "Lsun/Hz",
        solar_z: float = ZSUN,
        lsun: float = LSUN,
        lines: tuple[Any, Any] | None = None,
        name: str = "ssp",
        origin: Origin | None = None,
    ) -> Self:
        """Make a grid of arrays, whose meaning is stated and not guessed.

        FSPS: ``age="log10 yr"`` (``sp.log_age``), ``metallicity="Z"`` (``sp.zlegend``), ``flux_unit="Lsun/Hz"``.
        Bagpipes: ``age="yr"``, ``metallicity="Z/Zsun"`` with its ``solar_z=0.02``, ``flux_unit="Lsun/Angstrom"``.

        Parameters
        ----------
        wave : (n_wave,) rest wavelengths, Angstrom.
        ages : (n_age,)
        metallicities : (n_met,)
        flux : (n_met, n_age, n_wave) per solar mass formed.
        mass_remaining : (n_met, n_age), optional.
        age : ``"Gyr"``, ``"yr"``, ``"log10 Gyr"`` or ``"log10 yr"``.
        metallicity : ``"log10 Z"``, ``"Z"``, ``"log10 Z/Zsun"`` or ``"Z/Zsun"``.
        flux_unit : ``"Lsun/Hz"`` or ``"Lsun/Angstrom"``.
        solar_z, lsun, name : as in `read`.
        lines : (n_line,) wavelengths and (n_met, n_age, n_line) luminosities, Lsun/Msun.

        Raises
        ------
        FileFormatError
            If shapes do not fit, numbers are not finite, axes do not increase, or the numbers cannot be what is said.
        """
        origin = origin or Origin(name)
        where = str(origin.path or origin.name)
        for what, value in (("solar_z", solar_z), ("lsun", lsun)):
            if not 0.0 < float(value) < np.inf:
                raise FileFormatError(f"{where}: {what} = {value!r}; it must be a positive number.")
        w, f = (
            _axis(where, "wavelengths", plain(f"{where}: the wavelengths", wave, "Angstrom")),
            _plain(where, "flux", flux),
        )
        t = _axis(where, "ages", _converted(where, "age", age, ages, _AGES))
        z = _axis(
            where, "metallicities", _converted(where, "metallicity", metallicity, metallicities, _METALS, solar_z)
        )
        if f.shape != (len(z), len(t), len(w)):
            raise FileFormatError(
                f"{where}: the flux has the shape {f.shape}, but there are {len(z)} metallicities, {len(t)} ages and "
                f"{len(w)} wavelengths; its axes must be (metallicity, age, wavelength)."
            )
        if not np.all(np.isfinite(f)) or f.min() < 0:
            bad = np.unravel_index(np.argmin(np.where(np.isfinite(f), f, -np.inf)), f.shape)
            raise FileFormatError(
                f"{where}: the flux at (metallicity, age, wavelength) = {tuple(map(int, bad))} is {f[bad]:g}; "
                f"luminosities "
                "must be finite and not negative. Repair the grid."
            )
        if flux_unit == "Lsun/Angstrom":
            f = f * w**2 / LIGHT
        elif flux_unit != "Lsun/Hz":
            raise SkyfoldError(f"flux_unit = {flux_unit!r} is not known; it is 'Lsun/Hz' or 'Lsun/Angstrom'.")
        left = None if mass_remaining is None else _plain(where, "remaining mass", mass_remaining)
        if left is not None and (left.shape != f.shape[:2] or not np.all((left >= 0) & (left <= 1.0 + 1e-6))):
            raise FileFormatError(
                f"{where}: the remaining mass must be a fraction 0 to 1 of shape {f.shape[:2]}; it has the shape "
                f"{left.shape} and values {np.min(left):g} to {np.max(left):g}."
            )
        _check(where, w, t, z, f)
        line_wave = line_luminosity = None
        if lines is not None:
            line_wave = plain(f"{where}: the wavelengths of the lines", lines[0], "Angstrom")
            line_luminosity = _plain(where, "luminosity of the lines", lines[1])
            for what, numbers in (("wavelengths", line_wave), ("luminosities", line_luminosity)):
                if not np.all(np.isfinite(numbers) & (numbers > 0 if what == "wavelengths" else numbers >= 0)):
                    raise FileFormatError(f"{where}: the {what} of the lines must be finite and not negative.")
            if line_luminosity.shape != (*f.shape[:2], len(line_wave)):
                raise FileFormatError(
                    f"{where}: the line luminosities have the shape {line_luminosity.shape}, which does not fit "
                    f"{f.shape[:2]} populations and {len(line_wave)} lines."
                )
        return cls(
            w,
            t,
            z,
            f,
            left,
            float(solar_z),
            float(lsun),
            _ionising(w, f, lsun),
            line_wave,
            line_luminosity,
            annotation=Annotation(origin),
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the grid in the HDF5 layout of DSPS."""
        import h5py

        with np.errstate(divide="ignore"), h5py.File(path, "w") as file:
            file["ssp_wave"], file["ssp_flux"], file["ssp_lgmet"] = self.wave, self.flux, self.log_z
            file["ssp_lg_age_gyr"] = np.log10(self.ages)
            if self.mass_remaining is not None:
                file["ssp_mass_remaining"] = self.mass_remaining
            if self.line_wave is not None:
                file["ssp_emline_wave"], file["ssp_emline_luminosity"] = self.line_wave, self.line_luminosity
            file.attrs["solar_z"], file.attrs["lsun_erg_s"] = self.solar_z, self.lsun

    # -- what follows from the grid --------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name in tables."""
        return str(self.annotation.value.name)

    @property
    def log_z_solar(self) -> Any:
        """log10(Z/Zsun) of the nodes, (n_met,)."""
        return self.log_z - jnp.log10(self.solar_z)

    def content_hash(self) -> str:
        """SHA-256 of every number of the grid, the conventions included: the key of what is cached from it."""
        digest = hashlib.sha256()
        for array in (self.wave, self.ages, self.log_z, self.flux, self.mass_remaining, self.solar_z, self.lsun):
            own = np.zeros(0) if array is None else np.ascontiguousarray(np.asarray(array, dtype="<f8"))
            digest.update(repr(own.shape).encode() + own.tobytes())
        return digest.hexdigest()

    def bolometric(self) -> np.ndarray:
        """Luminosity over all wavelengths of the grid, (n_met, n_age), Lsun/Msun."""
        return np.asarray(self.flux) @ energy_weights(np.asarray(self.wave))

    def cropped(self, keep: np.ndarray) -> Self:
        """Grid of the wavelengths that `keep` (n_wave,) selects."""
        where = (lambda s: s.wave, lambda s: s.flux)
        new = (np.asarray(self.wave)[keep], np.ascontiguousarray(np.asarray(self.flux)[..., keep]))
        return eqx.tree_at(lambda s: tuple(w(s) for w in where), self, new)

    def __repr__(self) -> str:
        z, t, w = (np.asarray(x) for x in (self.log_z, self.ages, self.wave))
        if not all(x.dtype.kind == "f" and x.size for x in (z, t, w)):
            return f"SSP {self.name}"
        return (
            f"SSP {self.name}: {len(z)} metallicities (log10 Z {z[0]:.2f} to {z[-1]:.2f}, Zsun {self.solar_z:g}), "
            f"{len(t)} ages ({t[0]:.3g} to {t[-1]:.3g} Gyr), {len(w)} wavelengths ({w[0]:g} to {w[-1]:g} Angstrom)"
        )


def energy_weights(wave: Any) -> Any:
    """Weights (n_wave,), Hz, of luminosities per Hz in their integral over frequency.

    It is exact for a spectrum that is linear between the wavelengths `wave` (n_wave,), Angstrom, as bands take it.
    """
    xp = np if isinstance(wave, np.ndarray) else jnp
    ratio = xp.diff(wave) / wave[:-1]
    whole, upper = LIGHT * ratio / wave[1:], LIGHT / xp.diff(wave) * (xp.log1p(ratio) - ratio / (1.0 + ratio))
    nothing = xp.zeros(1)
    return xp.concatenate([whole - upper, nothing]) + xp.concatenate([nothing, upper])


def _ionising(wave: np.ndarray, flux: np.ndarray, lsun: float) -> np.ndarray:
    """Rate of photons below the Lyman limit: L_nu/(h nu) over frequency, which is L_nu/h over ln(wavelength)."""
    below = wave < LYMAN_LIMIT
    if not below.any():
        return np.zeros(flux.shape[:2])
    # up to the limit the last node below it holds: the next one already lies in other light
    grid = np.append(wave[below], LYMAN_LIMIT)
    own = np.concatenate([flux[..., below], flux[..., below][..., -1:]], axis=-1)
    return lsun / PLANCK * np.trapezoid(own / grid, grid, axis=-1)


#: Units of the data sets of the layout, as an attribute may state them; the first is shown.
_LAYOUT = {
    "ssp_wave": ("angstrom", "aa", "angstroms", "a"),
    "ssp_emline_wave": ("angstrom", "aa", "angstroms", "a"),
    "ssp_flux": ("lsun/hz/msun", "lsun/hz", "lsun/(hzmsun)", "lsunhz-1msun-1"),
    "ssp_lg_age_gyr": ("log10(gyr)", "dex(gyr)", "loggyr", "lggyr", "log10gyr"),
    "ssp_lgmet": ("log10(z)", "dex", "log10z", "logz"),
    "ssp_mass_remaining": ("msun/msun", "", "1"),
    "ssp_surviving_mass": ("msun/msun", "", "1"),
    "ssp_emline_luminosity": ("lsun/msun", "lsun", "lsunmsun-1"),
}
_AGES = {
    "Gyr": lambda x, _: x,
    "yr": lambda x, _: x / 1e9,
    "log10 Gyr": lambda x, _: 10.0**x,
    "log10 yr": lambda x, _: 10.0 ** (x - 9.0),
}
_METALS = {
    "log10 Z": lambda x, _: x,
    "Z": lambda x, _: np.log10(x),
    "log10 Z/Zsun": lambda x, solar: x + np.log10(solar),
    "Z/Zsun": lambda x, solar: np.log10(x * solar),
}


def _converted(where: str, what: str, unit: str, given: Any, known: dict[str, Any], solar: float = 1.0) -> np.ndarray:
    if unit not in known:
        raise SkyfoldError(f"{where}: {what} = {unit!r} is not known; it is one of {', '.join(map(repr, known))}.")
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(known[unit](_plain(where, what, given), solar))


def _plain(where: str, what: str, given: Any) -> np.ndarray:
    """Numbers whose unit an argument states; NaN where masked."""
    return plain(f"{where}: the {what}, whose unit is said by an argument,", given)


def _dataset(path: Path, key: str, data: Any) -> Any:
    """Numbers of a data set in the unit of the layout, which it may state in an attribute."""
    stated = next((data.attrs[k] for k in ("unit", "units") if k in data.attrs), None)
    stated = stated.decode() if isinstance(stated, bytes) else stated
    if stated is None or key not in _LAYOUT or str(stated).replace(" ", "").lower() in _LAYOUT[key]:
        return np.asarray(data)
    if not key.endswith("_wave"):
        raise FileFormatError(
            f"{path}: the data set '{key}' says that it is in '{stated}', and is in {_LAYOUT[key][0]} in the layout of "
            "DSPS. Convert it, or go through SSP.from_arrays."
        )
    import astropy.units as u

    try:
        return u.Quantity(np.asarray(data), str(stated)).to_value(u.AA, u.spectral())
    except (ValueError, TypeError, u.UnitConversionError) as problem:
        raise FileFormatError(f"{path}: the data set '{key}' is in '{stated}', which is no wavelength.") from problem


def _said(path: Path, key: str, said: dict[str, Any], default: float) -> float:
    """A number that a file states of itself."""
    try:
        value = float(said.get(key, default))
    except (TypeError, ValueError):
        value = np.nan
    if not 0.0 < value < np.inf:
        raise FileFormatError(f"{path}: the attribute '{key}' is {said[key]}; it must be a positive number.")
    return value


def _axis(where: str, what: str, given: Any) -> np.ndarray:
    axis = np.asarray(given, dtype=np.float64)
    if axis.ndim != 1 or not axis.size or not np.all(np.isfinite(axis)) or np.any(np.diff(axis) <= 0):
        raise FileFormatError(
            f"{where}: the {what} must be finite numbers on one axis, strictly increasing; they have the shape "
            f"{axis.shape}. Sort the grid."
        )
    return axis


def _check(where: str, wave: np.ndarray, ages: np.ndarray, log_z: np.ndarray, flux: np.ndarray) -> None:
    if log_z[-1] > np.log10(0.3):
        raise FileFormatError(
            f"{where}: the metallicities reach log10 Z = {log_z[-1]:.2f}, more than any star has; they are probably "
            "relative to the Sun: say metallicity='log10 Z/Zsun', and solar_z."
        )
    if log_z[-1] < -4.0 and len(log_z) > 1:
        raise FileFormatError(
            f"{where}: the metallicities end at log10 Z = {log_z[-1]:.2f}; they are probably not relative to the Sun: "
            "say metallicity='log10 Z'."
        )
    if ages[-1] > 1e3 or ages[0] < 0:
        raise FileFormatError(
            f"{where}: the ages reach from {ages[0]:g} to {ages[-1]:g} Gyr; they are probably in other units: say "
            "age='yr', 'log10 yr', 'log10 Gyr' or 'Gyr' in SSP.from_arrays."
        )
    if wave[-1] < 1e3:
        raise FileFormatError(
            f"{where}: the wavelengths end at {wave[-1]:g} Angstrom; they are probably in micrometres or nanometres. "
            "Convert them."
        )
    node = int(np.argmin(np.abs(ages - 1.0)))
    light = flux[:, node] @ energy_weights(wave)
    if 0.2 < ages[node] < 5.0 and not np.all((light > _PLAUSIBLE[0]) & (light < _PLAUSIBLE[1])):
        warnings.warn(
            f"{where}: a population of {ages[node]:.2g} Gyr has {light.min():.3g} to {light.max():.3g} Lsun/Msun, and "
            "about 1 is expected: the fluxes are probably not Lsun/Hz per Msun formed. Say flux_unit in "
            "SSP.from_arrays.",
            SSPWarning,
            stacklevel=4,
        )
