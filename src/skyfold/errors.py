"""Errors and warnings of skyfold: each says what is wrong, where, and what would be right."""

from __future__ import annotations


class SkyfoldError(ValueError):
    """Base of every error that skyfold raises for bad input."""


class FileFormatError(SkyfoldError):
    """A file is not what its format promises; the message names file, HDU, column and row."""


class SkyfoldWarning(UserWarning):
    """Base of skyfold's warnings."""


class NonFiniteModelWarning(SkyfoldWarning):
    """The model gives values that are no numbers in a part of the prior; that part counts as impossible."""


class BackgroundNotFittedWarning(SkyfoldWarning):
    """A background spectrum was found; it is shown but takes no part in the fit."""


class MissingFileWarning(SkyfoldWarning):
    """A file that a spectrum names, and that a fit can do without, is not there."""


class ResponseWarning(SkyfoldWarning):
    """A response can be used, but probably not as it was meant."""
