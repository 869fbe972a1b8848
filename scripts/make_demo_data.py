"""Make the small X-ray spectrum that comes with skyfold: tbabs*(powerlaw+bbodyrad) through a CCD-like response.

    python scripts/make_demo_data.py [folder]

The same seed gives the same files, byte for byte. The truth goes into truth.json beside them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from skyfold.xray.models.absorption import TBabs
from skyfold.xray.models.powerlaws import PowerLaw
from skyfold.xray.models.thermal import BlackbodyRad
from skyfold.xray.simulate import ccd_response, fakeit, write_arf, write_pha, write_rmf

MODEL = "tbabs*(powerlaw+bbodyrad)"
TRUTH = {
    "tbabs.nH": 0.1,
    "powerlaw.PhoIndex": 2.0,
    "powerlaw.norm": 3e-4,
    "bbodyrad.kT": 0.75,
    "bbodyrad.norm": 0.2,
}
EXPOSURE = 22_000.0  # s
SEED = 20240711
#: Background in the source region, counts/s in each channel: some 0.2 % of the counts, for it is not fitted.
BACKGROUND = 1.5e-6
BACKGROUND_RATIO = 20.0
LEAST_COUNTS = 20


def main(folder: Path) -> None:
    """Write demo.pha, demo.rmf, demo.arf, demo_bkg.pha and truth.json."""
    source = TBabs() * (PowerLaw() + BlackbodyRad())
    rmf, arf = ccd_response(energies=(0.2, 12.0), energy_step=0.02, channel_width=0.02, n_channels=600)
    fake = fakeit(
        source.with_values(TRUTH),
        rmf,
        arf,
        EXPOSURE,
        background=BACKGROUND,
        background_ratio=BACKGROUND_RATIO,
        min_counts=LEAST_COUNTS,
        seed=SEED,
        response_file="demo.rmf",
        arf_file="demo.arf",
        background_file="demo_bkg.pha",
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_pha(folder / "demo.pha", fake.source, overwrite=True)
    write_pha(folder / "demo_bkg.pha", fake.background, overwrite=True)
    write_rmf(folder / "demo.rmf", rmf, overwrite=True)
    write_arf(folder / "demo.arf", arf, overwrite=True)
    truth = {
        "model": MODEL,
        "parameters": TRUTH,
        "exposure": EXPOSURE,
        "seed": SEED,
        "notice": [0.5, 8.0],
        "counts": int(fake.source.counts.sum()),
        "made_by": "scripts/make_demo_data.py",
    }
    (folder / "truth.json").write_text(json.dumps(truth, indent=2) + "\n")


if __name__ == "__main__":
    here = Path(__file__).resolve().parents[1] / "src/skyfold/data/demo"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else here)
