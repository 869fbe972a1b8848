"""Every kind of broken input ends in one clear paragraph."""

from __future__ import annotations

from pathlib import Path

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
        if case.notice:
            spectrum.notice(*case.notice)
    message = str(caught.value)
    assert "\n" not in message
    assert message.rstrip(".").count(". ") >= 1 or case.notice, f"no cure in: {message}"
    for word in case.words:
        assert word in message, message


def test_the_good_set_is_read(tmp_path: Path) -> None:
    spectrum = Spectrum.read(write(tmp_path))
    assert spectrum.counts.sum() > 100
