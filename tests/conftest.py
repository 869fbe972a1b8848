"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real observations and reference numbers, beside the repository; tests skip without it."""
    if not SHARED.is_dir():
        pytest.skip("the folder 'shared' with real observations and reference numbers is not beside the repository")
    return SHARED
