"""Many chains in step: what `ChEES` and `MEADS` share. They suit devices that compute many points at once.

Chains start scattered about the modes, share step size and trajectory, which they tune together, and move in a
whitened frame: that of the mode, then that of their own warm-up. They are judged in groups: R-hat between the groups,
effective sample size with the memory and the disagreement of all chains counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.inference.convergence.chain_draws import judged_chains
from skyfold.inference.convergence.mixing import complaints
from skyfold.inference.convergence.walker_history import judge
from skyfold.inference.frames.whitened import Bend, FramedRun, log_density
from skyfold.inference.running import NO_CHECKPOINT, Checkpoint, Clock, Draws, Method, Progress, check_positive
from skyfold.inference.search.scattered_starts import scatter
from skyfold.kernel import Kernel
from skyfold.posterior import Posterior

#: Steps of all chains per call of the executable; groups in which chains are judged.
CHUNK, GROUPS = 50, 4


@dataclass(frozen=True)
class ManyChains(Method):
    """Settings that `ChEES` and `MEADS` share, and their run.

    ``tuner`` makes the state of all chains and of what they tune, and steps; every ``thin``-th draw is kept.
    """

    name: ClassVar[str]
    thin: ClassVar[int] = 1
    tuner: ClassVar[Any]
    chains: int = 64
    warmup: int = 400
    draws: int = 100
    max_draws: int = 2000
    screen: int = field(default=2048, kw_only=True)
    starts: int = field(default=16, kw_only=True)

    def __post_init__(self) -> None:
        check_positive(self, "chains", "warmup", "draws", "max_draws", "screen", "starts")
        if self.chains < 4 * GROUPS or self.chains % GROUPS or self.warmup < 4 * CHUNK or self.draws < CHUNK:
            raise SkyfoldError(
                f"{type(self).__name__} needs a number of chains that is a multiple of {GROUPS}, at least "
                f"{4 * GROUPS}, {4 * CHUNK} warm-up steps and {CHUNK} draws."
            )

    def __call__(
        self, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint = NO_CHECKPOINT
    ) -> Draws:
        return _run(self, posterior, seed, progress, checkpoint)


def _run(method: ManyChains, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint) -> Draws:
    """Find the modes, warm up, sample until the groups agree or `max_draws` is reached."""
    import arviz  # noqa: F401  # both are slow to import, which is not sampling
    import blackjax  # noqa: F401

    clock = Clock()
    run = _Run(method, posterior, seed, checkpoint.load(), progress)
    warm = -(-method.warmup // CHUNK)
    progress.stage("warm-up" if run.done < warm else "sampling", method.max_draws)
    quality: dict[str, float] = {}
    try:
        while run.done < warm:
            run.advance(adapt=True)
            if run.done in (warm // 4, warm // 2):
                run.reframe()
            run.save(checkpoint)
            progress.update(run.done * CHUNK)
        while True:
            run.advance(adapt=False)
            draws = len(run.kept)
            if draws >= method.draws and (draws % method.draws < CHUNK // method.thin or draws >= method.max_draws):
                quality = judge(run.history())[1]
                if draws >= method.max_draws or not complaints(quality, 0, 1):
                    break
            run.save(checkpoint)
            progress.update(draws, f"{run.divergent} divergences")
    except KeyboardInterrupt:
        if len(run.kept) < 20:
            raise
        quality = {**judge(run.history())[1], "interrupted": 1.0}
    latent = judge(run.history())[0]
    steps = len(run.kept) * method.thin * method.chains
    return judged_chains(
        method,
        posterior,
        run,
        latent,
        complaints(quality, run.divergent, steps),
        seed=seed,
        evaluations=run.spent + run.gradients + latent[..., 0].size,
        gradients=run.gradients,
        diagnostics={
            **quality,
            "divergences": run.divergent,
            "acceptance": run.accepted / max(steps, 1),
            "chains": method.chains,
            **method.tuner.numbers(run.tuning),
        },
        clock=clock,
    )


class _Run(FramedRun):
    """Everything that a run needs to go on; `state` gives it as arrays."""

    kept: np.ndarray  # (draws, chains, ndim) latent vectors
    warm: np.ndarray  # (steps, chains, ndim) of the warm-up since the last frame, bent coordinates
    divergent: int
    gradients: int
    accepted: float

    def __init__(self, method: Any, posterior: Posterior, seed: int, saved: dict[str, Any] | None, progress: Progress):
        self.method, self.posterior, self.key = method, posterior, jax.random.key(seed)
        n, ndim = method.chains, posterior.ndim
        empty = np.empty((0, n, ndim))
        if saved is None:
            first = scatter(posterior, n, screened=method.screen, starts=method.starts, seed=seed, progress=progress)
            self.frame = first.frame
            self.kept, self.warm = empty, empty
            for name, value in first.record.items():
                setattr(self, name, value)
            self.done = self.divergent = self.gradients = 0
            self.accepted = 0.0
            u, density, gradient = first.u, first.density, first.gradient
        else:
            super().__init__(**saved)
            u, density, gradient = np.zeros((n, ndim)), np.zeros(n), np.zeros((n, ndim))
        rng = np.random.default_rng([seed, 21])
        state = method.tuner.start(u, density, gradient, rng)
        self.chains, self.tuning = jax.tree.map(np.asarray, state)
        if saved is not None:
            leaves, tree = jax.tree.flatten((self.chains, self.tuning))
            self.chains, self.tuning = jax.tree.unflatten(tree, [saved[f"leaf{i}"] for i in range(len(leaves))])

    def state(self) -> dict[str, Any]:
        leaves = {f"leaf{i}": leaf for i, leaf in enumerate(jax.tree.leaves((self.chains, self.tuning)))}
        return {**leaves, **super().state()}

    def history(self) -> np.ndarray:
        """Draws (times, groups, chains of a group, ndim)."""
        return self.kept.reshape(len(self.kept), GROUPS, -1, self.kept.shape[2])

    def advance(self, *, adapt: bool) -> None:
        """One chunk of steps of all chains."""
        self.chains, self.tuning, out = jax.tree.map(
            np.asarray,
            _advance(
                self.posterior.kernel,
                self.frame.bend,
                self.mean,
                self.root,
                self.chains,
                self.tuning,
                jax.random.fold_in(self.key, self.done),
                adapt,
                tuner=self.method.tuner,
            ),
        )
        self.gradients += int(out["gradients"].sum()) * self.method.chains
        self.done += 1
        if adapt:
            self.warm = np.concatenate([self.warm, out["v"]])
        else:
            self.divergent += int(out["divergent"].sum())
            self.accepted += float(out["accepted"].sum())
            thin = self.method.thin
            self.kept = np.concatenate([self.kept, out["z"][thin - 1 :: thin]])

    def reframe(self) -> None:
        """Take the mean and covariance of the later half of the warm-up so far."""
        old = self.frame
        self.frame = new = old.adapted(self.warm[len(self.warm) // 2 :].reshape(-1, self.warm.shape[2]))
        position, gradient = new.entering(old, self.chains.position, self.chains.logdensity_grad)
        self.chains = self.chains._replace(position=position, logdensity_grad=gradient)
        self.warm = self.warm[:0]


@partial(jit, static_argnames="tuner")
def _advance(
    kernel: Kernel,
    bend: Bend,
    mean: jax.Array,
    root: jax.Array,
    chains: Any,
    tuning: Any,
    key: jax.Array,
    adapt: bool,
    *,
    tuner: Any,
) -> tuple[Any, Any, dict[str, jax.Array]]:
    def density(u: jax.Array) -> jax.Array:
        return log_density(kernel, bend, mean + root @ u)

    def step(carry: tuple[Any, Any], key: jax.Array) -> tuple[Any, Any]:
        old, tuning = carry
        chains, tuned, out = tuner.step(key, old, tuning, density, adapt)
        tuned = jax.tree.map(lambda new, known: jnp.asarray(new, known.dtype), tuned, tuning)
        v = mean + chains.position @ root.T
        accepted = jnp.sum(jnp.any(chains.position != old.position, axis=1))
        return (chains, tuned), {**out, "v": v, "z": jax.vmap(bend.latent)(v)[0], "accepted": accepted}

    (chains, tuning), out = jax.lax.scan(step, (chains, tuning), jax.random.split(key, CHUNK))
    return chains, tuning, out
