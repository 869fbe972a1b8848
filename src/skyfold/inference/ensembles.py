"""Ensembles of walkers that learn directions from each other, without gradients: `AIES` and `ESS`.

Several ensembles run side by side, started about the modes; walkers of one ensemble talk to each other, ensembles do
not, so that R-hat between them means something. Sampling goes on until it is many autocorrelation times long, the first
ten of which are burn-in. The moves and directions are NumPyro's; they are made in the whitened frame of the mode, to
which they are indifferent but for its bends at the bounds of priors. Densities of walkers are kept, so that every
evaluation is of a new point.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.inference.chains.ensemble_moves import Metropolis, Slice
from skyfold.inference.convergence.chain_draws import judged_chains
from skyfold.inference.convergence.populations import of_walkers
from skyfold.inference.convergence.walker_history import integrated_time, judge
from skyfold.inference.frames.whitened import Bend, FramedRun, log_density
from skyfold.inference.running import NO_CHECKPOINT, Checkpoint, Clock, Draws, Method, Progress, check_positive
from skyfold.inference.search.scattered_starts import scatter
from skyfold.kernel import Kernel
from skyfold.posterior import Posterior

#: Steps per call of the executable; those before anything is kept; states kept of each walker (thinned beyond).
CHUNK, TUNING, KEPT = 50, 200, 1000
#: Autocorrelation times of burn-in, and those that the rest must have.
BURN, ENOUGH = 10.0, 50.0
#: Most latent dimensions: ensembles of walkers that span more move too slowly to be of use, and fill the memory.
MOST_DIMENSIONS = 200


@dataclass(frozen=True)
class AIES(Method):
    """Affine-invariant ensemble sampler with stretch and differential-evolution moves.

    What emcee and XSPEC's chain command do, with the judgement left to the method: it stops when it is long enough.

    Parameters
    ----------
    walkers : int or None
        Walkers of each ensemble, even; None takes 4 per dimension, at least 32.
    ensembles : int
        Ensembles, at least 2.
    max_steps : int
        Steps after which it gives up.
    screen, starts : int
        Prior draws and starts in the search for the modes.

    Raises
    ------
    SkyfoldError
        If there are more than 200 latent dimensions.

    References
    ----------
    Goodman & Weare 2010, Commun. Appl. Math. Comput. Sci. 5, 65; ter Braak 2006, Stat. Comput. 16, 239; Nelson, Ford &
    Payne 2014, ApJS 210, 11; Foreman-Mackey et al. 2013, PASP 125, 306; NumPyro.
    """

    name: ClassVar[str] = "aies"
    #: One step of an ensemble.
    move: ClassVar[Any] = Metropolis()
    walkers: int | None = None
    ensembles: int = 4
    max_steps: int = 50_000
    screen: int = 2048
    starts: int = 16

    def __post_init__(self) -> None:
        check_positive(self, "ensembles", "max_steps", "screen", "starts")
        if self.ensembles < 2 or self.max_steps < CHUNK:
            raise SkyfoldError(
                f"{type(self).__name__} needs at least 2 ensembles (R-hat between them) and {CHUNK} steps."
            )
        if self.walkers is not None and (self.walkers < 6 or self.walkers % 2):
            raise SkyfoldError(f"{type(self).__name__} needs an even number of walkers, at least 6.")

    def __call__(
        self, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint = NO_CHECKPOINT
    ) -> Draws:
        return _run(self, posterior, seed, progress, checkpoint)


@dataclass(frozen=True)
class ESS(AIES):
    """Ensemble slice sampling: slices along differences of walkers, of a length tuned in the burn-in.

    Needs no step size and takes strong correlations and scales of any size; settings as for `AIES`.

    References
    ----------
    Karamanis & Beutler 2021, Stat. Comput. 31, 61; Neal 2003, Ann. Stat. 31, 705; NumPyro.
    """

    name: ClassVar[str] = "ess"
    move: ClassVar[Any] = Slice()
    max_steps: int = 10_000


# -- steps of all ensembles -------------------------------------------------------------------------------------------


@partial(jit, static_argnames="move")
def _advance(
    kernel: Kernel,
    bend: Bend,
    mean: jax.Array,
    root: jax.Array,
    u: jax.Array,
    value: jax.Array,
    size: jax.Array,
    key: jax.Array,
    *,
    move: Any,
) -> tuple[jax.Array, ...]:
    walkers = u.shape[1]

    def density(u: jax.Array) -> jax.Array:
        found = log_density(kernel, bend, mean + root @ u)
        return jnp.where(jnp.isfinite(found), found, -jnp.inf)

    def ensemble(key: jax.Array, u: jax.Array, value: jax.Array, size: jax.Array) -> tuple[jax.Array, ...]:
        shuffle, own = jax.random.split(key)
        halves = jnp.argsort(jax.random.uniform(shuffle, (walkers,))).reshape(2, -1)

        def half(i: jax.Array, state: tuple[Any, ...]) -> tuple[Any, ...]:
            u, value, counts = state
            active, passive = halves[i], halves[1 - i]
            new, density_there, *more = move(
                jax.random.fold_in(own, i), u[active], value[active], u[passive], density, size
            )
            return (
                u.at[active].set(new),
                value.at[active].set(density_there),
                counts + jnp.stack([jnp.asarray(c, float) for c in more]),
            )

        return jax.lax.fori_loop(0, 2, half, (u, value, jnp.zeros(3)))

    def step(state: tuple[Any, ...], key: jax.Array) -> tuple[Any, Any]:
        u, value, counts = state
        u, value, more = jax.vmap(ensemble)(jax.random.split(key, len(u)), u, value, size)
        z = jax.vmap(jax.vmap(lambda u: bend.latent(mean + root @ u)[0]))(u)
        return (u, value, counts + more), z

    start = (u, value, jnp.zeros((len(u), 3)))
    (u, value, counts), z = jax.lax.scan(step, start, jax.random.split(key, CHUNK))
    return u, value, counts, z


# -- the run ---------------------------------------------------------------------------------------------------------


class _Walkers(FramedRun):
    """Everything that a run needs to go on, as arrays."""

    u: np.ndarray  # (ensembles, walkers, ndim) in the frame
    value: np.ndarray  # (ensembles, walkers)
    size: np.ndarray  # (ensembles,) of the moves
    kept: np.ndarray  # (times, ensembles, walkers, ndim) latent vectors
    counts: np.ndarray  # (2,) that tell of the moves
    thin: int
    check: int

    @classmethod
    def started(cls, method: AIES, posterior: Posterior, seed: int, progress: Progress) -> _Walkers:
        ndim = posterior.ndim
        walkers = method.walkers or max(32, 4 * ndim)
        shape = (method.ensembles, walkers)
        first = scatter(
            posterior, shape[0] * walkers, screened=method.screen, starts=method.starts, seed=seed, progress=progress
        )
        frame = first.frame
        return cls(
            u=first.u.reshape(*shape, ndim),
            value=first.density.reshape(shape),
            size=np.ones(shape[0]),
            kept=np.empty((0, *shape, ndim)),
            counts=np.zeros(2),
            unit=frame.bend.unit,
            scale=frame.bend.scale,
            mean=frame.mean,
            root=frame.root,
            **first.record,
            done=0,
            thin=1,
            check=TUNING + 200,
        )

    def advance(self, posterior: Posterior, seed: int, move: Any) -> None:
        """One chunk of steps of every ensemble."""
        key = jax.random.fold_in(jax.random.key(seed), self.done)
        bend = self.frame.bend
        out = _advance(posterior.kernel, bend, self.mean, self.root, self.u, self.value, self.size, key, move=move)
        self.u, self.value, counts, z = (np.array(a) for a in out)
        self.spent += int(counts[:, 0].sum())
        if self.done < TUNING:
            if isinstance(move, Slice):
                # expansions and contractions shall balance
                self.size = self.size * 2.0 * np.maximum(counts[:, 1], 1.0) / np.maximum(counts[:, 2], 2.0)
        else:
            steps = self.done - TUNING + 1 + np.arange(CHUNK)
            self.kept = np.concatenate([self.kept, z[steps % self.thin == 0]])
            self.counts = self.counts + counts[:, 1:].sum(axis=0)
            if len(self.kept) > KEPT:
                self.kept, self.thin = self.kept[1::2], 2 * self.thin
        self.done += CHUNK


@dataclass(frozen=True)
class _Verdict:
    """What the history says: which part of it to use, and how good that is."""

    latent: np.ndarray
    quality: dict[str, float]

    @classmethod
    def of(cls, walkers: _Walkers) -> _Verdict:
        kept = walkers.kept
        tau = integrated_time(kept[len(kept) // 2 :])
        burn = int(min(np.ceil(BURN * tau), len(kept) // 2))
        used = kept[burn:]
        tau = integrated_time(used)
        every = max(1, int(tau / 2.0))
        thinned = used[every - 1 :: every]
        latent, quality = judge(thinned)
        quality["ess"] = min(quality["ess"], used[..., 0].size / tau)
        return cls(latent, {**quality, "tau": tau * walkers.thin, "length": len(used) / tau})

    def complaints(self) -> tuple[str, ...]:
        return of_walkers(self.quality, ENOUGH)


def _run(method: AIES, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint) -> Draws:
    import arviz  # noqa: F401  # both are slow to import, which is not sampling
    import numpyro.infer  # noqa: F401

    if posterior.ndim > MOST_DIMENSIONS:
        raise SkyfoldError(
            f"{method.name} is of no use in {posterior.ndim} dimensions: an ensemble must have more walkers than there "
            f"are dimensions, and moves by small steps only. Up to {MOST_DIMENSIONS} are accepted; use nuts or mgvi."
        )
    clock = Clock()
    walkers = _Walkers.restored(checkpoint) or _Walkers.started(method, posterior, seed, progress)
    progress.stage("sampling", method.max_steps)
    verdict: _Verdict | None = None
    try:
        while True:
            walkers.advance(posterior, seed, method.move)
            over = walkers.done >= method.max_steps + TUNING
            if walkers.done >= walkers.check or over:
                verdict = _Verdict.of(walkers)
                walkers.check = -(-int(1.25 * walkers.done) // CHUNK) * CHUNK
                tau, length = verdict.quality["tau"], verdict.quality["length"]
                progress.update(walkers.done, f"{length:.0f} of {ENOUGH:.0f} autocorrelation times of {tau:.0f} steps")
                if over or not verdict.complaints():
                    break
            walkers.save(checkpoint)
    except KeyboardInterrupt:
        if len(walkers.kept) < CHUNK:
            raise
        verdict = _Verdict.of(walkers)
        verdict.quality["interrupted"] = 1.0
    return judged_chains(
        method,
        posterior,
        walkers,
        verdict.latent,
        verdict.complaints(),
        seed=seed,
        evaluations=walkers.spent + verdict.latent[..., 0].size,
        diagnostics={
            **verdict.quality,
            "steps": walkers.done,
            "walkers": walkers.u.shape[1],
            "expansions" if isinstance(method, ESS) else "acceptance": float(
                walkers.counts[0] / max(walkers.counts[1], 1.0)
            ),
        },
        clock=clock,
    )
