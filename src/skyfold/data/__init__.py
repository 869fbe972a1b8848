"""Data that come with skyfold, whose truth is known, and public data by name.

``demo`` is a simulated X-ray observation: ``demo.pha`` names its response ``demo.rmf``, effective area ``demo.arf`` and
background ``demo_bkg.pha``. ``sky`` is a simulated gamma-ray sky of nside 32, which ``sky.toml`` (without) and
``sources.toml`` (with unresolved point sources) describe for ``skyfold gammaray``. ``truth.json`` in each holds what
they were simulated with. `skyfold.data.fetch` downloads what others publish.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from skyfold.errors import SkyfoldError

#: Embedded data sets by name: the folder below this package.
EMBEDDED = {"demo": "demo", "sky": "sky"}


def folder(name: str = "demo") -> Path:
    """Folder of an embedded data set.

    Raises
    ------
    SkyfoldError
        If there is no data set of this name, or its files were not installed.
    """
    if name not in EMBEDDED:
        raise SkyfoldError(f"There is no embedded data set '{name}'. Known: {', '.join(EMBEDDED)}.")
    path = Path(str(files(__name__))) / EMBEDDED[name]
    if not path.is_dir():
        raise SkyfoldError(
            f"The embedded data set '{name}' is not installed ({path} is missing); install skyfold again."
        )
    return path


def demo_spectrum() -> Path:
    """Path of the embedded spectrum, for ``xray.Spectrum.read``."""
    return folder("demo") / "demo.pha"


def demo_truth(name: str = "demo") -> dict[str, Any]:
    """Read what an embedded data set was simulated with."""
    truth: dict[str, Any] = json.loads((folder(name) / "truth.json").read_text(encoding="utf-8"))
    return truth


def demo_sky(point_sources: bool = False) -> Path:
    """Path of the file that describes a fit of the embedded sky, for ``skyfold gammaray``.

    Parameters
    ----------
    point_sources : of the sky that has unresolved point sources.
    """
    return folder("sky") / ("sources.toml" if point_sources else "sky.toml")
