"""Every kind of broken input ends in one clear paragraph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from broken_files import CASES, Case, write

from skyfold.errors import SkyfoldError
from skyfold.xray.spectrum import Spectrum


@pytest.mark.filterwarnings("ignore::skyfold.errors.SkyfoldWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_broken_input_is_refused(case: Case, tmp_path: Path) -> None:
    path = case.build(tmp_path)
    with pytest.raises(SkyfoldError) as caught:
        spectrum = Spectrum.read(path)
        spectrum = spectrum.notice(*case.notice) if case.notice else spectrum
        spectrum.check()
    message = str(caught.value)
    assert "\n" not in message
    assert message.rstrip(".").count(". ") >= 1 or case.notice, f"no cure in: {message}"
    for word in case.words:
        assert word in message, message


def test_the_good_set_is_read(tmp_path: Path) -> None:
    spectrum = Spectrum.read(write(tmp_path))
    assert spectrum.counts.sum() > 100


@pytest.mark.filterwarnings("ignore::skyfold.errors.SkyfoldWarning")
@pytest.mark.parametrize("name", ["good.pha", "good.rmf", "good.arf"])
def test_random_damage_is_refused_or_harmless(name: str, tmp_path: Path) -> None:
    """Bytes lost or changed anywhere never end in anything but a `SkyfoldError` or a finite spectrum."""
    path = write(tmp_path)
    whole = (tmp_path / name).read_bytes()
    rng = np.random.default_rng(1)
    for trial in range(60):
        damaged = bytearray(whole)
        for at in rng.integers(2880, min(len(whole), 9000), 3):
            if trial % 3 == 0:
                damaged[at] = int(rng.integers(256))
            elif trial % 3 == 1:
                damaged[at // 80 * 80 : at // 80 * 80 + 80] = b" " * 80
            else:
                del damaged[at : at + int(rng.integers(1, 3000))]
        (tmp_path / name).write_bytes(damaged)
        try:
            spectrum = Spectrum.read(path)
            spectrum.check()
        except SkyfoldError as error:
            assert "\n" not in str(error)
        else:
            assert np.all(np.isfinite(spectrum.response.matrix)) and np.all(np.isfinite(spectrum.counts))
