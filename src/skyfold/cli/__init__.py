"""Command line: ``skyfold xray``, ``gammaray``, ``fit``, ``models``, ``demo``, ``data``, ``doctor``; one file each.

Exit codes: 0 done and converged, 1 done but not converged, 2 bad input, 70 an error inside skyfold, 130 interrupted.
"""

from __future__ import annotations

from skyfold.cli.program import Program
from skyfold.jobs.clock import IMPORT_SECONDS  # first: it notes what the imports took  # noqa: F401, I001

#: What the console script ``skyfold`` runs.
main = Program()

__all__ = ["main"]
