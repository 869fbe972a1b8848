"""Executables on disk are loaded where nothing that they depend on has changed, and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import skyfold as sf
from skyfold.compiled import executables
from skyfold.compiled.executables import Unknown
from skyfold.inference.nuts import NUTSTransition

#: A fit that prints what JAX traced, and the means of the draws.
FIT = """
import json
import jax.monitoring

traced = []
def hear(event, seconds, fun_name="", **_):
    if event.endswith("jaxpr_trace_duration"):
        traced.append(fun_name)
jax.monitoring.register_event_duration_secs_listener(hear)
import skyfold as sf
from skyfold import data, xray

spectrum = xray.Spectrum.read(data.demo_spectrum()).notice(0.5, 8.0)
model = xray.model("tbabs*powerlaw").with_priors({"tbabs.nH": sf.Uniform(0, 1), "powerlaw.PhoIndex": sf.Uniform(0, 5),
    "powerlaw.norm": sf.LogUniform(1e-6, 1e-2)})
posterior = sf.Posterior((model, spectrum))
traced.clear()
result = posterior.fit(METHOD, seed=3)
print(json.dumps({"traced": traced, "latent": result.draws.latent.sum(axis=(0, 1)).tolist()}))
"""


def run(folder: Path, method: str, **more: str) -> dict[str, list[Any]]:
    """Fit in a process of its own whose caches lie in a folder."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    env |= {"SKYFOLD_CACHE": "all", "XDG_CACHE_HOME": str(folder), **more}
    command = [sys.executable, "-c", FIT.replace("METHOD", repr(method))]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "skyfold" / "jax" / executables.FOLDER).glob(f"*{executables.SUFFIX}"))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[Any]]]:
    folder = tmp_path_factory.mktemp("cache")
    return folder, run(folder, "auto")


def test_a_second_process_traces_nothing_and_draws_the_same(first: tuple[Path, dict[str, list[Any]]]) -> None:
    folder, cold = first
    assert {"batch_density", "climb_batch"} <= set(cold["traced"])
    assert {p.name.split("-")[0] for p in kept(folder)} >= {"batch_density", "climb_batch"}
    warm = run(folder, "auto")
    assert not {"batch_density", "climb_batch"} & set(warm["traced"])
    assert warm["latent"] == cold["latent"]


def test_a_damaged_file_is_written_anew(first: tuple[Path, dict[str, list[Any]]]) -> None:
    folder, cold = first
    path = next(p for p in kept(folder) if p.name.startswith("batch_density"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    again = run(folder, "auto")
    assert again["latent"] == cold["latent"]
    assert len(path.read_bytes()) > len(whole) // 2
    assert "batch_density" not in run(folder, "auto")["traced"]


@pytest.mark.parametrize("setting", [{"SKYFOLD_CACHE": "jax"}, {"SKYFOLD_CACHE": "off"}, {"JAX_DEBUG_NANS": "1"}])
def test_nothing_is_kept_where_the_user_does_not_want_it(tmp_path: Path, setting: dict[str, str]) -> None:
    run(tmp_path, "laplace", **setting)
    assert not kept(tmp_path)


def test_a_folder_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "skyfold" / "jax" / executables.FOLDER
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    run(tmp_path, "laplace")
    assert not kept(tmp_path)


def test_bytes_come_in_and_go_out_by_one_door(tmp_path: Path) -> None:
    sources = {path.name: path.read_text() for path in executables.sources() if path.suffix == ".py"}
    assert [name for name, text in sources.items() if "pickle" in text] == ["executables.py"]
    inside = sources["executables.py"]
    assert inside.count("pickle.loads(") == inside.count("pickle.dumps(") == inside.count(".read_bytes()") - 1 == 1
    path = tmp_path / "own" / "thing.executable"
    executables.let_out(path, {"a": 1})
    assert executables.let_in(path) == {"a": 1} and [p.name for p in path.parent.iterdir()] == [path.name]
    path.parent.chmod(0o777)
    with pytest.raises(PermissionError, match="others can write there"):
        executables.let_in(path)


# -- what the key tells -----------------------------------------------------------------------------------------------


class Own(eqx.Module):
    """A class that is not skyfold's."""

    x: float = 1.0


def key(function: Callable[..., Any], static: dict[str, Any], *args: Any) -> str:
    return executables._key(function, static, args, {})


def test_the_key_tells_shapes_types_and_static_arguments_apart() -> None:
    f = executables.prune
    x = np.zeros(3)
    same = key(f, {"n": 3}, sf.Uniform(0.0, 1.0), x)
    assert same == key(f, {"n": 3}, sf.Uniform(0.5, 2.0), jnp.ones(3) + 0.0)
    others = [
        key(f, {"n": 4}, sf.Uniform(0.0, 1.0), x),
        key(f, {"n": 3.0}, sf.Uniform(0.0, 1.0), x),
        key(f, {"n": 3}, sf.Normal(0.0, 1.0), x),
        key(f, {"n": 3}, sf.Uniform(0.0, 1.0), np.zeros(4)),
        key(f, {"n": 3}, sf.Uniform(0.0, 1.0), np.zeros(3, dtype=np.float32)),
        key(f, {"n": 3}, sf.Uniform(np.zeros(1), 1.0), x),
        key(f, {"n": NUTSTransition(8)}, sf.Uniform(0.0, 1.0), x),
        key(f, {"n": NUTSTransition(9)}, sf.Uniform(0.0, 1.0), x),
        key(executables.obtain, {"n": 3}, sf.Uniform(0.0, 1.0), x),
    ]
    assert len({same, *others}) == len(others) + 1
    jax.config.update("jax_default_matmul_precision", "float32")
    try:
        assert key(f, {"n": 3}, sf.Uniform(0.0, 1.0), x) != same
    finally:
        jax.config.update("jax_default_matmul_precision", None)


@pytest.mark.parametrize("unknown", [Own(), lambda x: x, run, object(), {"a": Own()}, (1, [Own()])])
def test_code_of_a_user_and_closures_have_no_key(unknown: Any) -> None:
    with pytest.raises(Unknown):
        key(executables.prune, {"n": unknown}, np.zeros(3))
    with pytest.raises(Unknown):
        key(executables.prune, {}, unknown)


def test_arrays_in_static_arguments_have_no_key() -> None:
    with pytest.raises(Unknown):
        key(executables.prune, {"n": np.zeros(3)})


def test_what_was_not_used_for_longest_is_pruned(tmp_path: Path) -> None:
    for i in range(12):
        path = tmp_path / f"f-{i}{executables.SUFFIX}"
        path.write_bytes(b"x")
        os.utime(path, ns=(i * 10**9, i * 10**9))
    executables.prune(tmp_path, 12)
    assert len(list(tmp_path.iterdir())) == 12
    executables.prune(tmp_path, 8)
    left = {int(p.name.split("-")[1].split(".")[0]) for p in tmp_path.iterdir()}
    assert left == set(range(6, 12))
    executables.prune(tmp_path / "nowhere")


def test_the_key_holds_every_source_of_the_package() -> None:
    """A change in any file of skyfold makes other keys, wherever in the package this one stands."""
    package = Path(sf.__file__).parent
    assert {*package.rglob("*.py"), *package.rglob("*.npz")} == set(executables.sources())
