"""Chains that follow gradients: what NUTS and HMC share.

Sampling runs in a whitened frame (`skyfold.inference.frames.whitened`), first that of the Laplace approximation, then
that of the warm-up's own draws. Work goes in chunks of equal length, so that one executable serves warm-up and
sampling, progress can be shown, an interrupted run keeps what is done, and a killed one goes on from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import jax
import numpy as np
from scipy.special import ndtr

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.inference.chains.step_size import fresh_step
from skyfold.inference.convergence.chain_draws import judged_chains
from skyfold.inference.convergence.mixing import (
    LEAST_ESS,
    MOST_DIVERGENT,
    WORST_RHAT,
    complaints,
    least_ebfmi,
    least_ess,
    measure,
)
from skyfold.inference.frames.whitened import Bend, Frame, FramedRun, log_density
from skyfold.inference.running import NO_CHECKPOINT, Checkpoint, Clock, Draws, Method, Progress, check_positive
from skyfold.inference.search.landscape import Landscape, landscape
from skyfold.inference.search.scattered_starts import about_modes, entered
from skyfold.kernel import Kernel
from skyfold.posterior import Posterior

#: Steps of every chain per call of the executable.
CHUNK = 100
#: Chunks that the warm-up is lengthened by at most while its transitions diverge.
_EXTRA = 2
#: Times that chains begin again with shorter steps because too many transitions diverged.
_RESTARTS = 2


@dataclass(frozen=True)
class GradientChains(Method):
    """Settings that `NUTS` and `HMC` share, and their run.

    ``transition`` is a hashable function of (density, states, step size, key, whether to adapt it, target) that makes
    `CHUNK` transitions of every chain (see `no_u_turn`).
    """

    name: ClassVar[str]
    transition: ClassVar[Any]
    chains: int = 4
    warmup: int = 300
    draws: int = 1000
    max_draws: int = 4000
    target_accept: float = 0.9
    screen: int = field(default=2048, kw_only=True)
    starts: int = field(default=16, kw_only=True)

    def __post_init__(self) -> None:
        check_positive(self, "screen", "starts", "max_draws")
        if not 0.0 < self.target_accept < 1.0:
            raise SkyfoldError(
                f"{type(self).__name__}: target_accept must lie between 0 and 1, not {self.target_accept!r}."
            )
        if self.chains < 2 or self.warmup < 2 * CHUNK or self.draws < 1:
            raise SkyfoldError(
                f"{type(self).__name__} needs at least 2 chains (R-hat), {2 * CHUNK} warm-up steps and 1 draw."
            )

    def __call__(
        self,
        posterior: Posterior,
        seed: int,
        progress: Progress,
        checkpoint: Checkpoint = NO_CHECKPOINT,
        land: Landscape | None = None,
    ) -> Draws:
        return _run(self, posterior, seed, progress, checkpoint, land)


def _run(
    method: GradientChains,
    posterior: Posterior,
    seed: int,
    progress: Progress,
    checkpoint: Checkpoint,
    land: Landscape | None,
) -> Draws:
    """Find the mode, warm up, sample until R-hat and ESS are good enough or `max_draws` is reached."""
    import arviz  # noqa: F401  # slow to import, which is not sampling

    clock = Clock()
    chains = Chains.restored(checkpoint) or Chains.started(method, posterior, seed, progress, land)
    advance = partial(advance_chains, posterior.kernel, transition=method.transition)
    quality: dict[str, float] = {}
    try:
        while True:
            if chains.tuning:
                progress.stage("warm-up", method.warmup)
            while chains.tuning:
                chains.advance(advance, seed, adapt=True)
                if 2 <= chains.done and not chains.restarts:
                    chains.mend()
                chains.save(checkpoint)
                progress.update(chains.done * CHUNK, f"step size {chains.step[3]:.3f}")
            progress.stage("sampling", method.draws)
            while not (chains.hopeless() or enough(method, chains, quality, progress)):
                chains.advance(advance, seed, adapt=False)
                chains.save(checkpoint)
                progress.update(len(chains.z) * CHUNK, f"{chains.divergent} divergences")
            if not (chains.hopeless() or chains.diverge()) or chains.restarts >= _RESTARTS:
                break
            chains.restart()
            quality.clear()
    except KeyboardInterrupt:
        if not len(chains.z):
            raise
        quality.update(measure(chains.latent()), ebfmi=least_ebfmi(chains.energy), interrupted=1.0)
    latent = chains.latent()
    return judged_chains(
        method,
        posterior,
        chains,
        latent,
        complaints(quality, chains.divergent, latent.shape[0] * latent.shape[1]),
        seed=seed,
        evaluations=int(chains.spent + chains.gradients),
        gradients=int(chains.gradients),
        diagnostics={**quality, "divergences": int(chains.divergent), "step_size": float(chains.step[0])},
        clock=clock,
    )


class Chains(FramedRun):
    """State of a run of chains: everything that it needs to go on, as arrays."""

    tuning: int
    restarts: int
    divergent: int
    gradients: int
    target: np.ndarray
    u: np.ndarray
    density: np.ndarray
    gradient: np.ndarray
    step: np.ndarray
    warm: np.ndarray
    z: np.ndarray
    energy: np.ndarray
    extra: int
    next: int
    slow: int

    def __init__(self, **state: Any) -> None:
        nothing = np.empty((0, CHUNK, len(state["u"])))
        super().__init__(**{"energy": nothing, "extra": 0, "next": 0, "slow": 0, **state})

    @classmethod
    def started(
        cls, method: Any, posterior: Posterior, seed: int, progress: Progress, land: Landscape | None
    ) -> Chains:
        known = 0 if land is None else land.search.evaluations
        if land is None:
            land = landscape(posterior, screened=method.screen, starts=method.starts, seed=seed, progress=progress)
        frame = Frame.of(land.laplace)
        begun = _first(method, land, frame, np.random.default_rng([seed, 3]))
        record = land.record()
        return cls.at(frame, begun, method.warmup, method.target_accept, {**record, "spent": record["spent"] - known})

    @classmethod
    def at(
        cls, frame: Frame, begun: tuple[np.ndarray, ...], warmup: int, target: float, search: dict[str, Any]
    ) -> Chains:
        """Chains that begin in a frame at positions u, with log densities and gradients; `search` is its record."""
        u, density, gradient = begun
        nothing = np.empty((0, CHUNK, *u.shape))
        return cls(
            done=0,
            tuning=-(-warmup // CHUNK),
            restarts=0,
            target=target,
            divergent=0,
            gradients=0,
            **search,
            u=u,
            density=density,
            gradient=gradient,
            step=fresh_step(0.5),
            warm=nothing,
            z=nothing,
            unit=frame.bend.unit,
            scale=frame.bend.scale,
            mean=frame.mean,
            root=frame.root,
        )

    def latent(self) -> np.ndarray:
        """Draws (chains, draws, ndim)."""
        return self.z.reshape(-1, *self.z.shape[2:]).swapaxes(0, 1)

    def advance(self, advance: Callable[..., Any], seed: int, *, adapt: bool) -> None:
        """One chunk of steps of every chain."""
        frame = self.frame
        states, step, out = advance(
            frame.bend,
            frame.mean,
            frame.root,
            (self.u, self.density, self.gradient),
            self.step,
            np.random.SeedSequence([seed, self.done]).generate_state(2),
            adapt,
            target=float(self.target),
        )
        out = {name: np.asarray(a) for name, a in out.items()}
        self.u, self.density, self.gradient = (np.asarray(a) for a in states)
        self.gradients += int(out["steps"].sum())
        self.done += 1
        v = frame.mean + out["u"] @ frame.root.T
        if adapt:
            self.step = np.array(step)
            self.tuning -= 1
            if not self.tuning:
                self.step[0] = self.step[3]
            self.warm = np.concatenate([self.warm, v[None]])
            self.late = int(out["divergent"][CHUNK // 2 :].sum())
        else:
            self.divergent += int(out["divergent"].sum())
            self.z = np.concatenate([self.z, frame.bend.positions(v)[None]])
            self.energy = np.concatenate([self.energy, out["energy"][None]])

    def diverge(self) -> bool:
        """Whether more transitions diverged than may."""
        return self.divergent > MOST_DIVERGENT * self.z[..., 0].size

    def hopeless(self) -> bool:
        """Whether it is cheaper to begin again than to go on: many transitions diverged, or some and mixing is slow."""
        most = (0.2 if self.slow else 3.0) * MOST_DIVERGENT * self.z[..., 0].size
        return self.restarts < _RESTARTS and len(self.z) >= 2 and self.divergent > most

    def mend(self) -> None:
        """Learn from the warm-up: a frame, and shorter steps, with one more chunk to find them, where they diverge."""
        if self.late > MOST_DIVERGENT * self.u.shape[0] * CHUNK and self.extra < _EXTRA:
            self.extra += 1
            self.tuning += 1
            self.target = _stricter(self.target)
        if self.tuning:
            self.reframe()

    def restart(self) -> None:
        """Throw the draws away and begin again with shorter steps, from where the chains are.

        What is thrown away still tells the frame: no draw that is kept has any part in it.
        """
        z = self.z.reshape(-1, self.z.shape[-1])
        t = np.where(self.unit, ndtr(z), z)
        self.reframe(self.frame.bend.inverse(t))
        self.restarts += 1
        self.target = _stricter(self.target)
        self.step = fresh_step(0.5 * self.step[0])
        self.tuning, self.divergent, self.next, self.slow = 2, 0, 0, 0
        self.z, self.energy = self.z[:0], self.energy[:0]

    def reframe(self, v: np.ndarray | None = None) -> None:
        """Take the mean and covariance of draws v (..., ndim), by default the warm-up without its first chunk."""
        old = self.frame
        new = old.adapted((self.warm[1:] if v is None else v).reshape(-1, self.u.shape[1]))
        self.u, self.gradient = new.entering(old, self.u, self.gradient)
        self.frame = new
        self.step = fresh_step(self.step[3])


def _first(
    method: Any, land: Landscape, frame: Frame, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States at points drawn from the Laplace approximations, those outside the support pulled in."""
    shares = (rng.random() + np.arange(method.chains)) / method.chains
    centre, t = about_modes(land.laplace, shares, 1.0, rng)
    low = 0.5 * np.minimum(centre, 1.0 - centre)
    return entered(land, frame, np.where(land.laplace.coordinates.unit, np.clip(t, low, 1.0 - low), t))


@partial(jit, static_argnames="transition")
def advance_chains(
    kernel: Kernel,
    bend: Bend,
    mean: jax.Array,
    root: jax.Array,
    states: Any,
    step: jax.Array,
    key: jax.Array,
    adapt: bool,
    *,
    target: float,
    transition: Callable[..., Any],
) -> tuple[Any, jax.Array, dict[str, jax.Array]]:
    """One chunk of steps of all chains; ``step`` is a dual-averaging state (see `fresh_step`), tuned where `adapt`.

    ``key`` (2,) holds the bits of a random key: making the key itself outside would cost two executables more.
    """

    def density(u: jax.Array) -> jax.Array:
        return log_density(kernel, bend, mean + root @ u)

    states, step, out = transition(density, states, step, jax.random.wrap_key_data(key), adapt, target)
    return states, step, {name: out[name] for name in ("u", "divergent", "steps", "energy")}


def _stricter(target: np.ndarray) -> np.ndarray:
    """Acceptance nearer to 1."""
    return np.asarray(1.0 - 0.4 * (1.0 - target))


def enough(method: Any, chains: Chains, quality: dict[str, float], progress: Progress) -> bool:
    """Whether to stop: looked at after `draws` steps, then when the rest should have been drawn by what was seen."""
    done = len(chains.z) * CHUNK
    if done < method.draws or (done < method.max_draws and done < chains.next):
        return False
    quality.update(measure(chains.latent()))
    if len(chains.energy):
        quality["ebfmi"] = least_ebfmi(chains.energy)
    if done >= method.max_draws or (quality["rhat"] < WORST_RHAT and least_ess(quality) > LEAST_ESS):
        return True
    # both R-hat - 1 and 1/ESS fall like 1/draws; R-hat is noisy, so it is looked at again after a quarter more at least
    short = max(1.1 * LEAST_ESS / least_ess(quality), 1.25 if quality["rhat"] >= WORST_RHAT else 1.0)
    chains.slow = int(short >= 2.0)
    chains.next = int(np.clip(short, 1.1, 2.0) * done)
    progress.stage("sampling on: not converged yet", method.max_draws)
    return False
