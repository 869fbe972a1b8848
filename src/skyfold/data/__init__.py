"""Data that come with skyfold: a small simulated X-ray observation whose truth is known.

``demo.pha`` names its response ``demo.rmf``, effective area ``demo.arf`` and background ``demo_bkg.pha``;
``truth.json`` holds what they were simulated with.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from skyfold.errors import SkyfoldError

#: Embedded data sets by name: the folder below this package.
EMBEDDED = {"demo": "demo"}


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


def demo_truth() -> dict[str, Any]:
    """Read what the embedded spectrum was simulated with."""
    truth: dict[str, Any] = json.loads((folder("demo") / "truth.json").read_text(encoding="utf-8"))
    return truth
