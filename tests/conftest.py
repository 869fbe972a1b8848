"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# tests patch internals, which must not get into executables that other processes load
os.environ.setdefault("SKYFOLD_CACHE", "jax")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real observations and all reference numbers, beside the repository; tests skip without it."""
    if not SHARED.is_dir():
        pytest.skip("the folder 'shared' with real observations and reference numbers is not beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def reference_numbers() -> Path:
    """Folder with the reference numbers that need no observations; see the README in it."""
    return Path(__file__).resolve().parent / "reference"
