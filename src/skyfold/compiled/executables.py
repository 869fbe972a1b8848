"""Executables on disk: what was compiled once, later processes load without tracing or compiling it again.

JAX's own compilation cache saves compiling only: a model is still traced, and what was traced is still lowered and
hashed, which takes most of the time of a warm start. Here the key is made of what tracing would depend on: the sources
of skyfold, the installed packages, the device, JAX's settings, the function and its static arguments, and the
structure, shapes and types of the others. It can be told only for functions and classes of known packages. What holds
a class or a function of a user goes JAX's own way, since nothing tells whether that code is still the same. So does
everything where skyfold runs from a checkout, whose sources change, unless ``SKYFOLD_CACHE=all``.

What is loaded is run, and JAX keeps part of it as a pickle, which runs what it says while it is read. So bytes come in
from the disk through one function, `let_in`, which looks at whose they are, and go out through one, `let_out`. This is
the one exception to skyfold's rule that nothing is executed from data.
"""

from __future__ import annotations

import atexit
import dataclasses
import enum
import hashlib
import os
import pickle
import platform
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import equinox as eqx
import jax
import numpy as np

from skyfold.compiled.annotation import Annotation
from skyfold.whole_file import whole_file

#: Packages whose code is known by the version that is installed, besides skyfold, whose sources are looked at.
_KNOWN = ("skyfold", "jax", "numpy", "equinox", "flowjax", "paramax", "builtins")
#: Folder in that of JAX's cache, ending of the files, and how many are kept.
FOLDER, SUFFIX, MOST = "executables", ".executable", 2048
#: Under this name JAX reports compiling; loading counts as that.
_EVENT = "/jax/core/compile/backend_compile_duration"
#: The folder of skyfold itself.
PACKAGE = Path(__file__).parents[1]


class Unknown(Exception):
    """Something whose code or value the key cannot tell."""


def folder() -> Path | None:
    """Where executables are kept: beside those of JAX's cache, None where that is off."""
    asked = os.environ.get("SKYFOLD_CACHE")
    if asked in ("off", "jax") or (asked != "all" and "site-packages" not in Path(__file__).parts):
        return None
    chosen = _setting("compilation_cache_dir")
    if not _setting("enable_compilation_cache") or not chosen or "://" in chosen:
        return None
    if any(_setting(name) for name in ("disable_jit", "debug_nans", "debug_infs")):
        return None
    found = Path(chosen) / FOLDER
    return found if _is_mine(found) else None


def _is_mine(directory: Path) -> bool:
    """Whether nobody else can put files there: what is loaded is run."""
    try:
        there = directory.stat()
    except OSError:
        return True  # it will be made
    return not hasattr(os, "getuid") or (there.st_uid == os.getuid() and not there.st_mode & 0o022)


def obtain(
    function: Callable[..., Any],
    static: Mapping[str, Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    compile_now: Callable[[], Any],
) -> Callable[..., Any] | None:
    """Executable of a function for such arguments: from the disk, or compiled and kept there.

    Parameters
    ----------
    function : what is compiled.
    static : values of its static arguments, by name.
    args, kwargs : the others.
    compile_now : compiles it for these arguments.

    Returns
    -------
    callable or None
        Takes ``*args, **kwargs``. None where the key cannot be told.
    """
    start = time.perf_counter()
    directory = folder()
    if directory is None:
        return None
    try:
        path = directory / f"{function.__name__}-{_key(function, static, args, kwargs)}{SUFFIX}"
    except Unknown:
        return None
    found = _load(path, args, kwargs)
    if found is not None:
        jax.monitoring.record_event_duration_secs(_EVENT, time.perf_counter() - start, fun_name=function.__name__)
        return found
    start = time.perf_counter()
    with _aside():
        compiled = compile_now()
    if time.perf_counter() - start >= _setting("persistent_cache_min_compile_time_secs"):
        _save(path, compiled)
        _prune_at_exit(path.parent)
    return compiled  # type: ignore[no-any-return]


@contextmanager
def _aside() -> Iterator[None]:
    """Leave JAX's cache alone: an executable that comes from there cannot be written again, only loses symbols."""
    from jax.experimental.compilation_cache.compilation_cache import reset_cache

    jax.config.update("jax_enable_compilation_cache", False)
    reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
        reset_cache()


def prune(directory: Path, most: int = MOST) -> None:
    """Delete the executables of this folder that were not used for longest, from more than `most` down to 3/4."""
    try:
        files = [Path(e.path) for e in os.scandir(directory) if e.name.endswith(SUFFIX)]
        if len(files) > most:
            for path in sorted(files, key=lambda p: p.stat().st_mtime_ns)[: len(files) - 3 * most // 4]:
                path.unlink(missing_ok=True)
    except OSError:
        return


def _setting(name: str) -> Any:
    """Value of one of JAX's settings."""
    return jax.config.values[f"jax_{name}"]


@cache
def _prune_at_exit(directory: Path) -> None:
    atexit.register(prune, directory)


# -- the door --------------------------------------------------------------------------------------------------------


def let_in(path: Path) -> Any:
    """Read what `let_out` wrote to a file: the only place where skyfold executes what a file holds.

    Only files in a folder that nobody but this user can write to are read.

    Raises
    ------
    OSError
        If there is no such file, or others can put files there.
    Exception
        Of any kind, if the file is damaged.
    """
    if not _is_mine(path.parent):
        raise PermissionError(f"{path.parent}: others can write there, and what is loaded from it is run.")
    return pickle.loads(zlib.decompress(path.read_bytes()))


def let_out(path: Path, content: Any) -> None:
    """Write what `let_in` reads, whole or not at all, into a folder that only this user can look into."""
    packed = zlib.compress(pickle.dumps(content), 1)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_bytes(packed)


# -- executables -----------------------------------------------------------------------------------------------------


def _load(path: Path, args: Any, kwargs: Any) -> Callable[..., Any] | None:
    """Read an executable; None where there is none, or none that can be used."""
    from jax.experimental.serialize_executable import deserialize_and_load

    if not path.exists():
        return None
    try:
        _ready()
        payload, form = let_in(path)
        os.utime(path)
        trees = jax.tree.structure((args, dict(kwargs))), jax.tree.structure(form)
        return deserialize_and_load(payload, *trees)  # type: ignore[no-any-return]
    except Exception:  # a damaged file, or one that this machine cannot run, is written anew
        return None


@cache
def _ready() -> None:
    """Let JAX load LAPACK, which it does when it lowers a function that needs it: executables just call it."""
    jax.jit(jax.lax.linalg.cholesky).lower(np.eye(1))


def _save(path: Path, compiled: Any) -> None:
    """Write an executable; one that cannot be written is not kept."""
    from jax.experimental.serialize_executable import serialize

    try:
        payload, _, out = serialize(compiled)
        let_out(path, (payload, jax.tree.unflatten(out, range(out.num_leaves))))
    except Exception:  # no room, no rights, or nothing that can be serialised: it is compiled again next time
        return


# -- key -------------------------------------------------------------------------------------------------------------


def _key(function: Any, static: Mapping[str, Any], args: Any, kwargs: Any) -> str:
    """Digest of everything on which the executable depends.

    Raises
    ------
    Unknown
        If that cannot be told.
    """
    content = (
        _surroundings(),
        os.environ.get("XLA_FLAGS"),
        sorted((k, repr(v)) for k, v in jax.config.values.items() if "cache" not in k),
        _name(function),
        _told(dict(static), static=True),
        _told((args, dict(kwargs)), static=False),
    )
    return hashlib.blake2b(repr(content).encode(), digest_size=24).hexdigest()


def _told(node: Any, *, static: bool) -> Any:
    """What tracing depends on in an argument: of a static one its value, of others the structure and types."""
    if node is None or isinstance(node, Annotation):
        return str(node)
    if isinstance(node, bool | int | float | complex):
        return (type(node).__name__, repr(node)) if static else type(node).__name__
    if isinstance(node, jax.Array | np.ndarray | np.generic) and not static:
        return node.shape, str(node.dtype), getattr(node, "weak_type", False)
    if isinstance(node, str | bytes | np.dtype):
        return type(node).__name__, str(node)
    if isinstance(node, enum.Enum):
        return _name(type(node)), node.name
    if isinstance(node, dict):
        return "dict", [(_told(k, static=True), _told(v, static=static)) for k, v in node.items()]
    if isinstance(node, tuple | list):
        kind = type(node).__name__ if type(node) in (tuple, list) else _name(type(node))
        return kind, [_told(v, static=static) for v in node]
    if isinstance(node, FunctionType | type):
        return _name(node)
    if dataclasses.is_dataclass(node):
        own = isinstance(node, eqx.Module)
        if not static and not own:
            raise Unknown
        return _name(type(node)), [
            (f.name, _told(getattr(node, f.name, None), static=static or bool(f.metadata.get("static"))))
            for f in dataclasses.fields(node)
        ]
    raise Unknown


def _name(thing: Any) -> str:
    """Name of a function or class of a known package, by which it can be found."""
    module, name = getattr(thing, "__module__", None) or "", getattr(thing, "__qualname__", "<")
    if module.partition(".")[0] not in _KNOWN or "<" in name:
        raise Unknown
    return f"{module}:{name}"


def sources() -> list[Path]:
    """Every file of skyfold that what is compiled may depend on."""
    return sorted(p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".npz"))


@cache
def _surroundings() -> str:
    """Digest of skyfold's sources, of the installed packages, and of the device."""
    digest = hashlib.blake2b()
    for path in sources():
        digest.update(f"{path.relative_to(PACKAGE)}\n".encode() + path.read_bytes())
    packages = sorted(n for n in os.listdir(Path(jax.__file__).parent.parent) if n.endswith(("-info", ".egg-link")))
    devices = [(d.platform, d.device_kind, d.client.platform_version) for d in jax.local_devices()]
    digest.update(repr((sys.version, packages, devices, platform.machine(), _processor())).encode())
    return digest.hexdigest()


def _processor() -> str:
    """Kind of processor: code for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))
