"""Energies at the border: numbers of keV, and quantities of astropy."""

from __future__ import annotations

from typing import Any

from skyfold.errors import SkyfoldError

#: How figures show counts over energy.
ENERGIES: dict[str, Any] = {
    "label": "Energy [keV]",
    "unit": "keV",
    "data_label": "counts s$^{-1}$ keV$^{-1}$",
    "data_unit": "ct / (s keV)",
    "logarithmic": True,
}


def kev(value: Any, what: str) -> float:
    """Turn a number of keV, or a quantity (energy, wavelength or frequency), into a number of keV.

    Raises
    ------
    SkyfoldError
        If it is neither; `what` says what it is for.
    """
    try:
        if hasattr(value, "unit"):
            from astropy import units

            try:
                return float(value.to_value(units.keV, equivalencies=units.spectral()))
            except units.UnitConversionError:
                raise SkyfoldError(f"{value} is neither an energy nor a wavelength.") from None
        return float(value)
    except (TypeError, ValueError) as error:
        if isinstance(error, SkyfoldError):
            raise
        raise SkyfoldError(f"The {what} {value!r} is not a number.") from None
