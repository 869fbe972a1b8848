"""Fixtures that every test may use."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# tests patch internals, which must not get into executables that other processes load
os.environ.setdefault("SKYFOLD_CACHE", "jax")

SHARED = Path(__file__).resolve().parents[2] / "shared"

#: Size in MB above which a process of tests lets go of what finished modules have compiled.
FULL = 700


def size() -> int:
    """Memory of this process in MB, 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")), 0)


@pytest.fixture(scope="module", autouse=True)
def _executables() -> Iterator[None]:
    """Each module leaves hundreds of executables behind, of shapes that no other module has."""
    yield
    before = size()
    if before > FULL:
        from skyfold.compiled.jit import forget

        forget()
        gc.collect()
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)


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
