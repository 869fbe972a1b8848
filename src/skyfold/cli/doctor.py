"""``skyfold doctor``: is this installation sound."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import click

_PACKAGES = ("jax", "jaxlib", "equinox", "numpy", "scipy", "astropy", "numpyro", "blackjax", "arviz", "matplotlib")
_OPTIONAL = {
    "flowjax": "pip install 'skyfold[flows]'",
    "astropy-healpix": "pip install 'skyfold[gammaray]'",
    "pooch": "pip install 'skyfold[fetch]'",
    "pytest": "pip install 'skyfold[test]'",
    "sphinx": "pip install 'skyfold[docs]'",
}


@click.command("doctor")
def command() -> int:
    """Report versions, devices, precision, the compilation cache and a small timing.

    Ends with 0 when nothing is wrong, with 1 otherwise.
    """
    import jax

    from skyfold import __version__

    problems: list[str] = []
    _show("skyfold", __version__)
    _show("Python", f"{platform.python_version()} ({sys.executable})")
    _show("system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    for name in _PACKAGES:
        _show(name, _version(name) or "missing")
        if _version(name) is None:
            problems.append(f"the package {name} is missing: pip install {name}")
    for name, cure in _OPTIONAL.items():
        _show(name, _version(name) or f"not installed (optional: {cure})")
    _show("devices", ", ".join(str(d) for d in jax.devices()))
    _show("64-bit floats", "on" if jax.config.jax_enable_x64 else "off")  # type: ignore[attr-defined]
    if not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        problems.append("64-bit floats are off (JAX_ENABLE_X64): likelihoods of many counts lose precision")
    problems += _cache()
    _show("compile and run", f"{_compile_seconds():.2f} s for a small function")
    for problem in problems:
        click.echo(f"problem: {problem}", err=True)
    click.echo(f"{len(problems)} problems found" if problems else "no problem found")
    return int(bool(problems))


def _show(what: str, value: str) -> None:
    click.echo(f"{what:<17} {value}")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cache() -> list[str]:
    """Show the compilation cache; return what is wrong with it."""
    import jax

    folder = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if folder is None:
        _show("compilation cache", "off")
        return [] if os.environ.get("SKYFOLD_CACHE") == "off" else ["the compilation cache could not be set up"]
    path = Path(folder)
    files = [f for f in path.glob("**/*") if f.is_file()] if path.is_dir() else []
    size = sum(f.stat().st_size for f in files) / 1024**2
    _show("compilation cache", f"{path} ({len(files)} files, {size:.1f} MiB)")
    problems = []
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        problems.append(f"the compilation cache {path} cannot be written ({error.strerror}): every run compiles anew")
    if importlib.util.find_spec("filelock") is None:
        problems.append("the package filelock is missing: the size of the compilation cache is not limited")
    return problems


def _compile_seconds() -> float:
    import jax
    import jax.numpy as jnp

    start = time.perf_counter()
    jax.block_until_ready(jax.jit(lambda x: jnp.linalg.norm(jnp.sin(x) * x))(jnp.arange(64.0)))
    return time.perf_counter() - start
