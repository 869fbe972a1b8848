"""Galaxy domain: stellar populations, star-formation histories, dust, gas; photometry and spectra.

The names below are imported when first asked for, so that importing the domain costs nothing.
"""

from skyfold.lazy import listed

__getattr__, __dir__, __all__ = listed(__name__)
