"""Make the reference numbers that the tests read, ``tests/reference``, from the full collection.

Run it as ``python scripts/make_reference_numbers.py ../shared/reference`` after a component is added. Numbers are kept
as they are; left out are models that skyfold does not have, and pixels that no test compares.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from skyfold.xray.models import COMPONENTS

TARGET = Path(__file__).resolve().parents[1] / "tests" / "reference"
#: What a test reads of each set of an XSPEC model's parameters.
OF_A_SET = ("par", "grid", "abund", "xsect", "out_r8", "out")
OF_A_CASE = ("name", "poisson", "np", "psf", "first5_pixel_loglike")
#: Pixels of the sky whose log-likelihoods are listed.
PIXELS = 5


def xspec_models(content: dict[str, Any]) -> dict[str, Any]:
    """All sets of the models that skyfold has."""
    models = {
        name: {"sets": [{key: s[key] for key in OF_A_SET if key in s} for s in model["sets"]]}
        for name, model in content["models"].items()
        if name.lower() in COMPONENTS
    }
    used = {s["grid"] for model in models.values() for s in model["sets"]}
    return {
        "source": content["meta"]["source"],
        "grids": {name: grid for name, grid in content["grids"].items() if name in used},
        "models": models,
        "cross_sections": content["cross_sections"],
    }


def point_sources(content: dict[str, Any], arrays: Any) -> dict[str, Any]:
    """Return counts and templates of the first pixels, with every case's log-likelihood of each."""
    seen = np.flatnonzero(~arrays["mask_3fgl"])[:PIXELS]
    templates = [name for name in arrays if name.startswith(("poisson_", "np_"))]
    return {
        "counts": arrays["counts"][seen].tolist(),
        "templates": {name: arrays[name][seen].tolist() for name in templates},
        "king_f": arrays["king_f"].tolist(),
        "king_df_rho_div_f": arrays["king_df_rho_div_f"].tolist(),
        "cases": [{key: case[key] for key in OF_A_CASE if key in case} for case in content["cases"]],
    }


def write(name: str, content: dict[str, Any]) -> None:
    """One entry of two levels per line, so that a change shows where it is."""
    text = json.dumps(content, separators=(",", ":"))
    text = text.replace("},", "},\n").replace("],", "],\n") + "\n"
    (TARGET / name).write_text(text, encoding="utf-8")
    print(f"{name}: {len(text) / 1000:.0f} kB")


def main(source: Path) -> None:
    """Write every file."""

    def read(name: str) -> dict[str, Any]:
        return json.loads((source / name).read_text(encoding="utf-8"))

    write("xspec_models.json", xspec_models(read("xspec_models.json")))
    write(
        "point_sources.json", point_sources(read("gammaray/nptf_cases.json"), np.load(source / "gammaray/arrays.npz"))
    )
    write("psf_fractions.json", {"fpp_king_lin15_f0p01": read("gammaray/psf_rho_f.json")["fpp_king_lin15_f0p01"]})
    write("templates.json", read("gammaray/templates_nfw2_lorimer.json"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
