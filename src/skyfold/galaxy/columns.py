"""Columns: numbers as users and files give them, with units, masks and words for what is missing.

Every flux, wavelength and transmission comes in here, so that a unit is converted or refused, and what is masked is
NaN, wherever it stands.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skyfold.errors import SkyfoldError

#: Speed of light, Angstrom/s, and erg/s/cm^2/Hz in a nJy.
LIGHT, NJY = 2.99792458e18, 1e-32
#: Flux density of AB magnitude 0, Jy.
AB_JY = 3631.0
#: Units of flux densities, in nJy; those that depend on the wavelength, and magnitudes, are not mere factors.
UNITS = {"nJy": 1.0, "uJy": 1e3, "mJy": 1e6, "Jy": 1e9, "maggies": AB_JY * 1e9, "erg/s/cm2/Hz": 1.0 / NJY}
#: What astropy, files and people call AB magnitudes, spaces and capitals aside.
_AB = ("ab", "mag(ab)", "abmag", "magab", "mag_ab", "abmagnitude")
#: Text that stands for a number that is not there.
_ABSENT = ("", "n/a", "na", "<na>", "nan", "null", "none", "-", "--", "masked")
#: No source is as faint or as bright: magnitudes beyond stand for what is missing (-99, 99, 999), as do errors.
_NO_MAGNITUDE = 90.0
#: Numbers that stand for what is missing where no noise makes them, and how many errors below zero that is.
_SENTINELS, _BELOW = (-99.0, -99.9, -99.99, -999.0, -9999.0), 5.0


class Numbers(NamedTuple):
    """A column as it was given.

    Attributes
    ----------
    values : float64, NaN where masked or where text says that nothing is there.
    unit : its own, as text or an astropy unit; None where it has none.
    words : (index, text) of the entries that are no numbers, NaN in `values`.
    """

    values: np.ndarray
    unit: Any
    words: tuple[tuple[int, str], ...] = ()


def numbers(given: Any) -> Numbers:
    """Take a column apart: a sequence, a masked array, a column of a table, a quantity of astropy."""
    if isinstance(given, list | tuple) and any(hasattr(x, "to_value") for x in given):
        import astropy.units as u

        given = u.Quantity(given)
    unit, mask = getattr(given, "unit", None), getattr(given, "mask", None)
    plain = getattr(given, "unmasked", given)
    plain = getattr(plain, "value", plain) if unit is not None else plain
    if hasattr(plain, "to_numpy"):
        plain = plain.to_numpy()
    raw = np.ma.getdata(plain) if isinstance(plain, np.ma.MaskedArray) else np.asarray(plain)
    words: list[tuple[int, str]] = []
    if raw.dtype.kind in "biuf":
        values = raw.astype(np.float64)
    else:
        values = np.full(raw.shape, np.nan)
        hidden = np.broadcast_to(mask if isinstance(mask, np.ndarray) else False, raw.shape).ravel()
        for i, entry in enumerate(raw.ravel()):
            text = entry.decode(errors="replace") if isinstance(entry, bytes) else str(entry)
            try:
                values.ravel()[i] = float(text)
            except ValueError:
                if text.strip().lower() not in _ABSENT and not hidden[i]:
                    words.append((i, text.strip()))
    if isinstance(mask, np.ndarray | np.bool_):
        values = np.where(mask, np.nan, values)
    # a column of a table may state an empty unit; a quantity without one is a ratio
    stated = unit is not None and (str(unit) != "" or hasattr(given, "to_value"))
    return Numbers(values, unit if stated else None, tuple(words))


def plain(where: str, given: Any, unit: str = "") -> np.ndarray:
    """Numbers in `unit`, float64, NaN where masked; those without a unit are taken to be in it.

    Parameters
    ----------
    where : file and column, or what it is, for messages.
    given : see `numbers`.
    unit : as astropy reads it; lengths may be given as frequencies or energies too.

    Raises
    ------
    SkyfoldError
        If an entry is no number or the unit is another kind of quantity.
    """
    found = numbers(given)
    if found.words:
        raise SkyfoldError(f"{where}: entry {found.words[0][0]} is {found.words[0][1]!r}, which is no number.")
    if found.unit is None:
        return found.values
    import astropy.units as u

    try:
        return np.asarray(u.Unit(found.unit).to(unit, found.values, equivalencies=u.spectral()), dtype=np.float64)
    except (ValueError, TypeError, u.UnitConversionError) as problem:
        kind = f"'{unit}'" if unit else "a number without a unit"
        raise SkyfoldError(f"{where} is in '{found.unit}', and must be in {kind} or what converts to it.") from problem


def check_reach(where: str, wave: np.ndarray, shortest: float, *, all_above: bool = False) -> None:
    """Raise `SkyfoldError` where wavelengths end below `shortest` Angstrom (begin below it, with `all_above`).

    No light of galaxies is seen there, and plain numbers were meant as micrometres or nanometres.
    """
    positive = wave[wave > 0]
    if positive.size and (positive.min() if all_above else positive.max()) < shortest:
        raise SkyfoldError(
            f"{where}: the wavelengths reach from {np.nanmin(wave):g} to {np.nanmax(wave):g} Angstrom, where hydrogen "
            "absorbs all light; they are probably in micrometres or nanometres. Give them in Angstrom or with their "
            "unit, as in wave * astropy.units.um (a file: the unit in its header, as in '# wavelength [um]')."
        )


class Measured(NamedTuple):
    """Flux densities (n,) and their errors, nJy, NaN in both where missing; and what is wrong, by index."""

    data: np.ndarray
    sigma: np.ndarray
    wrong: dict[int, str]


def flux_densities(where: str, names: tuple[str, str], flux: Any, error: Any, unit: str | None, wave: Any) -> Measured:
    """Flux densities and errors in nJy, each by its own unit; what is masked or not finite is missing.

    Magnitudes of -99, 99 and the like are missing too (beyond 90 in size, or with such an error), and so are fluxes of
    -99, -999 and the like whose error is the same number, or so small that no noise makes them.

    Parameters
    ----------
    where, names : for messages: the file or observation, and what flux and error are called.
    flux, error : (n,) columns, see `numbers`.
    unit : of those that say none, by default nJy; a unit of their own may not contradict it.
    wave : () or (n,) wavelength, Angstrom, at which densities per wavelength are converted.

    Raises
    ------
    SkyfoldError
        If a unit is no flux density, or one of both has a unit and the other none.
    """
    both = numbers(flux), numbers(error)
    if len({np.shape(wave) or both[0].values.shape, *(b.values.shape for b in both)}) > 1:
        shapes = " and ".join(str(b.values.shape) for b in both)
        wanted = f" for each of {np.size(wave)}" if np.ndim(wave) else ""
        raise SkyfoldError(
            f"{where}: {names[0]} and {names[1]} must have one entry each{wanted}, and have the shapes {shapes}."
        )
    wrong = {
        i: f"{name} is {text!r}, which is no number" for b, name in zip(both, names, strict=True) for i, text in b.words
    }
    value, sigma = (b.values for b in both)
    units = [b.unit if b.unit is not None else unit or "nJy" for b in both]
    is_ab = _is_ab(units[0])
    factors = [1.0 if is_ab else _factor(where, n, own, wave) for n, own in zip(names, units, strict=True)]
    stated = [b.unit is not None for b in both]
    if stated[0] != stated[1] and unit is None:
        has, lacks = names if stated[0] else names[::-1]
        raise SkyfoldError(
            f"{where}: {has} has the unit '{both[1 - stated[0]].unit}' and {lacks} none; give both one, or say unit=."
        )
    for own, name in zip(both, names, strict=True):
        if own.unit is not None and unit is not None and not _same(own.unit, unit, is_ab):
            raise SkyfoldError(
                f"{where}: {name} is in '{own.unit}', and unit={unit!r} is said. Leave out unit=, or take the column's "
                "own unit away."
            )
    if is_ab:
        if not _is_ab(units[1]) and str(units[1]).strip().lower() != "mag":
            said = f"{names[0]} is in '{units[0]}' and {names[1]} in '{units[1]}'"
            raise SkyfoldError(f"{where}: {said}; give magnitudes in both.")
        missing = (np.abs(value) > _NO_MAGNITUDE) | (np.abs(sigma) > _NO_MAGNITUDE)
        linear = AB_JY * 1e9 * 10.0 ** (-0.4 * np.where(missing, np.nan, value))
        value, sigma = linear, linear * np.where(missing, np.nan, sigma) * (0.4 * np.log(10.0))
    else:
        sentinel = np.isin(value, _SENTINELS) & ((sigma == value) | (value < -_BELOW * np.abs(sigma)))
        missing = sentinel | (value == sigma) & (value < 0)
        value, sigma = (np.where(missing, np.nan, x) * f for x, f in zip((value, sigma), factors, strict=True))
    there = np.isfinite(value) & np.isfinite(sigma)
    return Measured(np.where(there, value, np.nan), np.where(there, sigma, np.nan), wrong)


def booleans(where: str, given: Any) -> np.ndarray:
    """Flags of a column: true, false, 1, 0 or text of these; NaN where masked or something else."""
    found = numbers(given)
    values = found.values
    for i, text in found.words:
        values.ravel()[i] = {"true": 1.0, "t": 1.0, "false": 0.0, "f": 0.0}.get(text.lower(), np.nan)
    return np.where((values == 0) | (values == 1), values, np.nan)


def _is_ab(unit: Any) -> bool:
    return str(unit).replace(" ", "").lower() in _AB


def _same(own: Any, said: str, is_ab: bool) -> bool:
    if is_ab or _is_ab(said):
        return _is_ab(said) and (_is_ab(own) or str(own).strip().lower() == "mag")
    import astropy.units as u

    try:
        return bool(np.isclose(u.Unit(own).to(_unit(said)), 1.0, rtol=1e-9))
    except (ValueError, TypeError, u.UnitConversionError):
        return False


def _unit(unit: Any) -> Any:
    """Astropy's unit of one of ours, or of what astropy reads."""
    import astropy.units as u

    return AB_JY * u.Jy if str(unit) in ("maggies", "maggy", "mgy") else u.Unit(unit)


def _factor(where: str, name: str, unit: Any, wave: Any) -> Any:
    """Factor (n,) or () from a unit to nJy."""
    if str(unit) in UNITS:
        return UNITS[str(unit)]
    if str(unit) == "erg/s/cm2/Angstrom":
        return np.asarray(wave) ** 2 / LIGHT / NJY
    import astropy.units as u

    try:
        own = _unit(unit)
        if isinstance(own, u.UnitBase | u.Quantity):
            return (1.0 * own).to_value(u.nJy, u.spectral_density(np.asarray(wave) * u.AA))
    except (ValueError, TypeError, u.UnitConversionError) as problem:
        reason: BaseException | None = problem
    else:
        reason = None
    raise SkyfoldError(
        f"{where}: {name} has the unit '{unit}', which is no flux density: {', '.join(UNITS)}, erg/s/cm2/Angstrom, AB "
        "magnitudes, or what astropy converts to these. Say unit=, or give the column its unit."
    ) from reason
