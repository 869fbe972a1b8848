"""Units in the headers of files, as factors to the unit wanted."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

#: Spellings that astropy does not know.
_SPELLINGS = {
    **dict.fromkeys(("counts", "cts", "event", "events"), "ct"),
    **dict.fromkeys(("photons", "phot"), "ph"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("hour", "hours", "hr"), "h"),
    **dict.fromkeys(("channel", "channels"), "chan"),
    **{name.lower(): name for name in ("eV", "keV", "MeV", "GeV", "TeV")},
}
_NONE = ("", "none", "no", "-", "unitless", "dimensionless", "fraction")
#: What is counted is no unit.
_COUNTED = ("ct", "count", "ph", "photon", "bin", "chan", "electron", "adu")


@lru_cache(maxsize=256)
def conversion(text: str | None, wanted: str) -> float | None:
    """Return the factor from a unit in a header to the one wanted; 1 without a unit, None where it is another kind.

    Counts and photons are numbers: ``cm2 count/photon`` is an area, and ``1/s`` a rate.
    """
    from astropy import units

    if text is None or text.strip().lower() in _NONE:
        return 1.0
    try:
        unit = _without_counts(_unit(text.strip()))
        return float(unit.to(units.Unit(wanted)))
    except (ValueError, TypeError):
        return None


def known(text: str) -> bool:
    """Whether a text is a unit at all."""
    try:
        return _unit(text.strip()) is not None
    except (ValueError, TypeError):
        return False


def _unit(text: str) -> Any:
    from astropy import units

    def spelled(match: re.Match[str]) -> str:
        try:
            units.Unit(match[0])
        except ValueError:
            return _SPELLINGS.get(match[0].lower(), match[0].lower())
        return match[0]

    return units.Unit(re.sub("[A-Za-z]+", spelled, text))


def _without_counts(unit: Any) -> Any:
    from astropy import units

    plain = unit.decompose()
    kept = [(base, power) for base, power in zip(plain.bases, plain.powers, strict=True) if base.name not in _COUNTED]
    return units.CompositeUnit(plain.scale, [base for base, _ in kept], [power for _, power in kept])
