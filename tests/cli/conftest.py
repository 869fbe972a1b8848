"""Running the command line inside the test's process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from invocation import Run

from skyfold.cli import main
from skyfold.data import demo_spectrum


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Run the command line with arguments."""
    monkeypatch.delenv("SKYFOLD_DEBUG", raising=False)

    def invoke(*arguments: object) -> Run:
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in arguments])
        captured = capfd.readouterr()
        return Run(int(ended.value.code or 0), captured.out, captured.err)

    return invoke


@pytest.fixture
def demo() -> Path:
    """Path of the embedded spectrum."""
    return demo_spectrum()
