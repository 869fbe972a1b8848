"""The compilation cache stays small."""

import os
from pathlib import Path

from skyfold.compiled.session import prune


def fill(folder: Path, n: int) -> None:
    for i in range(n):
        (folder / f"jit_f-{i}-cache").write_bytes(b"x")
        atime = folder / f"jit_f-{i}-atime"
        atime.write_bytes(b"t")
        os.utime(atime, ns=(i * 10**9, i * 10**9))


def test_a_full_cache_loses_what_was_used_longest_ago(tmp_path: Path) -> None:
    fill(tmp_path, 20)
    prune(tmp_path, 20)
    assert len(list(tmp_path.glob("*-cache"))) == 20
    prune(tmp_path, 16)
    left = {int(p.name.split("-")[1]) for p in tmp_path.glob("*-cache")}
    assert left == set(range(8, 20))
    assert {int(p.name.split("-")[1]) for p in tmp_path.glob("*-atime")} == left


def test_a_missing_or_locked_cache_is_left_alone(tmp_path: Path) -> None:
    from filelock import FileLock

    prune(tmp_path / "nowhere", 1)
    fill(tmp_path, 5)
    with FileLock(tmp_path / ".lockfile"):
        prune(tmp_path, 2)
    assert len(list(tmp_path.glob("*-cache"))) == 5
