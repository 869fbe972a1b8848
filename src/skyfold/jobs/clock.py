"""How long this process has lived."""

from __future__ import annotations

import os
import time
from pathlib import Path

_LOADED = time.perf_counter()


def process_age() -> float:
    """Seconds since this process was started.

    Linux keeps the start (to 10 ms) in ``/proc``; elsewhere the age counts from the import of this module, and misses
    what Python took to get here.
    """
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        return max(uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK"), 0.0)
    except (OSError, ValueError, IndexError, AttributeError):
        return time.perf_counter() - _LOADED


#: Age of the process when the command line was loaded: what Python, JAX and skyfold took to be imported.
IMPORT_SECONDS = process_age()
