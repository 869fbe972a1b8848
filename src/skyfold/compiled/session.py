"""What importing skyfold does to JAX: 64-bit floats and a persistent compilation cache, never over the user's will."""

from __future__ import annotations

import atexit
import os
import sys
import warnings
from pathlib import Path

#: Most that the compilation cache may hold, in bytes.
CACHE_SIZE = 2 * 1024**3
#: Most executables that it may hold: JAX looks at every one of them whenever it adds one.
CACHE_ENTRIES = 4096


def prepare() -> None:
    """Switch JAX to 64-bit floats and turn the persistent compilation cache on, unless the user has set either."""
    early = "jax" in sys.modules
    import jax

    if "JAX_ENABLE_X64" not in os.environ and not getattr(jax.config, "jax_enable_x64"):  # noqa: B009
        if early and _arrays_exist():
            warnings.warn(
                "JAX arrays existed before skyfold was imported; skyfold switches JAX to 64-bit floats for the whole "
                "process, and those arrays stay 32-bit. Import skyfold first, or set JAX_ENABLE_X64 yourself.",
                stacklevel=3,
            )
        jax.config.update("jax_enable_x64", True)
    _enable_cache()


def cache_directory() -> Path:
    """Folder of the compilation cache: ``skyfold/jax`` in the user's cache directory."""
    from platformdirs import user_cache_path

    return user_cache_path("skyfold", appauthor=False) / "jax"


def _enable_cache() -> None:
    import jax

    chosen = any(k.startswith(("JAX_COMPILATION_CACHE", "JAX_ENABLE_COMPILATION_CACHE")) for k in os.environ)
    if chosen or _chosen_directory() is not None or os.environ.get("SKYFOLD_CACHE") == "off":
        return
    directory = cache_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(directory))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES" not in os.environ:
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    jax.config.update("jax_compilation_cache_max_size", CACHE_SIZE)
    atexit.register(prune, directory)


def prune(directory: Path, most: int = CACHE_ENTRIES) -> None:
    """Delete the least recently used executables of a cache that holds more than `most`, down to 3/4 of these."""
    try:
        names = [e.name for e in os.scandir(directory) if e.name.endswith("-cache")]
        if len(names) <= most:
            return
        from filelock import FileLock

        # the lock under which JAX writes; another process that holds it prunes another time
        with FileLock(directory / ".lockfile", timeout=1):
            used = sorted(names, key=lambda name: _last_use(directory, name))
            for name in used[: len(names) - 3 * most // 4]:
                (directory / name).unlink(missing_ok=True)
                (directory / f"{name.removesuffix('-cache')}-atime").unlink(missing_ok=True)
    except OSError:  # that includes a lock that is taken
        return


def _last_use(directory: Path, name: str) -> int:
    for path in (directory / f"{name.removesuffix('-cache')}-atime", directory / name):
        try:
            return path.stat().st_mtime_ns
        except OSError:
            continue
    return 0


def _chosen_directory() -> str | None:
    import jax

    return getattr(jax.config, "jax_compilation_cache_dir")  # noqa: B009


def _arrays_exist() -> bool:
    import jax

    try:
        from jax._src import xla_bridge

        return xla_bridge.backends_are_initialized() and bool(jax.live_arrays())
    except (ImportError, AttributeError):
        return False
