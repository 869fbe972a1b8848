"""Checkpoints: a killed run goes on and gives the draws of an uninterrupted one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from toys import direct

import skyfold as sf
from skyfold.inference.running.checkpoint import Checkpoint

TESTS = Path(__file__).parents[2]
RUN = """
import sys, numpy as np, skyfold as sf
sys.path.insert(0, {tests!r})
from toys import direct
posterior = direct([2.0, -1.0, 0.3], [0.5, 2.0, 0.05], sf.Normal(np.zeros(3), 1.0))
result = posterior.fit({method}, seed=4, progress=False, checkpoint={path!r})
np.save({out!r}, result.draws.latent)
"""
METHOD = "sf.NUTS(draws=3000, max_draws=3000)"


def start(path: Path, out: Path) -> subprocess.Popen:
    code = RUN.format(tests=str(TESTS), method=METHOD, path=str(path), out=str(out))
    return subprocess.Popen([sys.executable, "-c", code])


def test_a_killed_process_resumes_to_the_same_draws(tmp_path) -> None:
    path, out = tmp_path / "run.npz", tmp_path / "resumed.npy"
    process = start(path, out)
    for _ in range(2400):
        if path.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert path.exists() and not out.exists(), "the run ended before it could be killed"
    assert start(path, out).wait() == 0
    posterior = direct([2.0, -1.0, 0.3], [0.5, 2.0, 0.05], sf.Normal(np.zeros(3), 1.0))
    whole = posterior.fit(sf.NUTS(draws=3000, max_draws=3000), seed=4, progress=False)
    np.testing.assert_array_equal(np.load(out), whole.draws.latent)


def test_another_fit_s_checkpoint_is_refused(tmp_path) -> None:
    path = tmp_path / "run.npz"
    Checkpoint(path, "one").save(x=np.ones(2))
    assert Checkpoint(path, "one").load()["x"].tolist() == [1.0, 1.0]
    with pytest.raises(sf.SkyfoldError, match="another fit"):
        Checkpoint(path, "two").load()
    # version 0.1 of November 2026 wrote no format
    np.savez(path, fingerprint=np.array("one"), x=np.ones(2))
    with pytest.raises(sf.SkyfoldError, match="another version of skyfold"):
        Checkpoint(path, "one").load()
    path.write_bytes(b"not an archive")
    with pytest.raises(sf.SkyfoldError, match="not a checkpoint"):
        Checkpoint(path, "one").load()


def test_nothing_is_left_half_written(tmp_path) -> None:
    path = tmp_path / "deep" / "run.npz"
    checkpoint = Checkpoint(path, "one")
    checkpoint.save(x=np.ones(2))
    assert [p.name for p in path.parent.iterdir()] == ["run.npz"]
    checkpoint.discard()
    assert checkpoint.load() is None


def test_priors_with_the_same_numbers_have_checkpoints_of_their_own() -> None:
    from skyfold.inference.running.checkpoint import fingerprint

    priors = [sf.Uniform(1, 2), sf.LogUniform(1, 2), sf.Normal(1, 2), sf.LogNormal(1, 2), sf.Beta(1, 2), sf.Gamma(1, 2)]
    found = {fingerprint(direct([1.5], [0.1], prior), sf.NUTS(), 0) for prior in priors}
    assert len(found) == len(priors)
    again = [fingerprint(direct([1.5], [0.1], sf.Uniform(1, 2)), sf.NUTS(), 0) for _ in range(2)]
    assert again[0] == again[1]
