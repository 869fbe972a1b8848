"""Chains that follow gradients: what NUTS and HMC share.

Sampling runs in a whitened frame (`skyfold.inference.frame`), first that of the Laplace approximation, then that of the
warm-up's own draws. Work goes in chunks of equal length, so that one executable serves warm-up and sampling, progress
can be shown, an interrupted run keeps what is done, and a killed one goes on from its checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compilation import jit
from skyfold.inference.checkpoint import Checkpoint
from skyfold.inference.clock import Clock
from skyfold.inference.coordinates import Laplace
from skyfold.inference.draws import Draws
from skyfold.inference.frame import Bend, Frame, log_density
from skyfold.inference.maximum import (
    Modes,
    climb,
    evaluate,
    linearise,
    refine,
    screen,
)
from skyfold.inference.modes import MOST_UNSEEN, Search, best_of, search_modes
from skyfold.kernel import Kernel

if TYPE_CHECKING:
    from skyfold.posterior import Posterior

#: Steps of every chain per call of the executable.
CHUNK = 100
#: Times that chains begin again with shorter steps because too many transitions diverged.
_RESTARTS = 2
#: What chains must reach to be called converged.
WORST_RHAT, LEAST_ESS, MOST_DIVERGENT = 1.01, 400.0, 0.005


def run_chains(
    method: Any, posterior: Posterior, seed: int, progress: Any, checkpoint: Checkpoint, search: Search | None = None
) -> Draws:
    """Find the mode, warm up, sample until R-hat and ESS are good enough or `max_draws` is reached.

    `method` has the settings of `NUTS` or `HMC`; its ``transition`` is a hashable function of (key, state, density,
    step size) that gives a state and BlackJAX's information on it.
    """
    import arviz  # noqa: F401  # both are slow to import, which is not sampling
    import blackjax  # noqa: F401

    clock = Clock()
    state = checkpoint.load()
    chains = Chains.resumed(state) if state else Chains.started(method, posterior, seed, progress, search)
    advance = partial(advance_chains, posterior.kernel, transition=method.transition)
    key = jax.random.key(seed)
    quality: dict[str, float] = {}
    try:
        while True:
            if chains.tuning:
                progress.stage("warm-up", method.warmup)
            while chains.tuning:
                chains.advance(advance, key, adapt=True)
                if 2 <= chains.done and chains.tuning and not chains.restarts:
                    chains.reframe()
                checkpoint.save(**chains.state())
                progress.update(chains.done * CHUNK, f"step size {chains.step[3]:.3f}")
            progress.stage("sampling", method.draws)
            while not enough(method, chains, quality, progress):
                chains.advance(advance, key, adapt=False)
                checkpoint.save(**chains.state())
                progress.update(len(chains.z) * CHUNK, f"{chains.divergent} divergences")
            if not chains.diverge() or chains.restarts >= _RESTARTS:
                break
            chains.restart()
    except KeyboardInterrupt:
        if not len(chains.z):
            raise
        quality.update(measure(chains.latent()), interrupted=1.0)
    latent = chains.latent()
    _, likelihood = evaluate(posterior, latent.reshape(-1, posterior.ndim))
    messages = complaints(quality, chains.divergent, latent.shape[0] * latent.shape[1])
    if chains.unseen > MOST_UNSEEN:
        share = 1.0 / float(chains.unseen)
        messages = (f"{chains.modes} modes were found and one in {share:.0f} starts still finds a new one", *messages)
    best = climb(posterior, np.tile(chains.best, (method.starts, 1)), with_prior=False)
    return Draws(
        method=method.name,
        latent=latent,
        log_likelihood=likelihood.reshape(latent.shape[:2]),
        converged=not messages,
        messages=messages,
        seed=seed,
        evaluations=int(chains.spent + chains.gradients),
        gradients=int(chains.gradients),
        best=best_of(posterior, best, latent.reshape(-1, posterior.ndim), likelihood, method.starts),
        mode=chains.mode,
        diagnostics={
            **quality,
            "divergences": int(chains.divergent),
            "step_size": float(chains.step[0]),
            "modes": int(chains.modes),
        },
        seconds=clock.seconds(),
    )


class Chains:
    """State of a run of chains: everything that it needs to go on, as arrays."""

    _NUMBERS = ("done", "tuning", "restarts", "divergent", "gradients", "spent", "modes")
    _ARRAYS = (
        "target",
        "unseen",
        "u",
        "density",
        "gradient",
        "step",
        "best",
        "mode",
        "warm",
        "z",
        "unit",
        "scale",
        "mean",
        "root",
    )

    def __init__(self, **state: Any) -> None:
        for name in self._NUMBERS:
            setattr(self, name, int(state[name]))
        for name in self._ARRAYS:
            setattr(self, name, np.array(state[name]))

    done: int
    tuning: int
    restarts: int
    divergent: int
    gradients: int
    spent: int
    modes: int
    target: np.ndarray
    unseen: np.ndarray
    u: np.ndarray
    density: np.ndarray
    gradient: np.ndarray
    step: np.ndarray
    best: np.ndarray
    mode: np.ndarray
    warm: np.ndarray
    z: np.ndarray
    unit: np.ndarray
    scale: np.ndarray
    mean: np.ndarray
    root: np.ndarray

    @classmethod
    def started(cls, method: Any, posterior: Posterior, seed: int, progress: Any, search: Search | None) -> Chains:
        spent = 0
        if search is None:
            progress.stage("searching for modes")
            points, density, _ = screen(posterior, method.screen, seed)
            search = search_modes(posterior, points, density, method.starts)
            spent = search.evaluations
        modes = search.modes
        best = refine(posterior, modes, method.starts)
        laplace = Laplace.at(posterior, modes)
        frame = Frame.of(laplace)
        rng = np.random.default_rng([seed, 3])
        u, density, gradient = _first(method, posterior, laplace, frame, modes, rng)
        nothing = np.empty((0, CHUNK, method.chains, posterior.ndim))
        return cls(
            done=0,
            tuning=-(-method.warmup // CHUNK),
            restarts=0,
            target=method.target_accept,
            divergent=0,
            gradients=0,
            spent=spent + best.evaluations,
            modes=len(modes.z),
            unseen=search.unseen,
            u=u,
            density=density,
            gradient=gradient,
            step=fresh_step(0.5),
            best=best.z[0],
            mode=modes.z[0],
            warm=nothing,
            z=nothing,
            unit=frame.bend.unit,
            scale=frame.bend.scale,
            mean=frame.mean,
            root=frame.root,
        )

    @classmethod
    def resumed(cls, state: dict[str, np.ndarray]) -> Chains:
        return cls(**state)

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*self._NUMBERS, *self._ARRAYS)}

    @property
    def frame(self) -> Frame:
        return Frame(Bend(self.unit, self.scale), self.mean, self.root)

    def latent(self) -> np.ndarray:
        """Draws (chains, draws, ndim)."""
        return self.z.reshape(-1, *self.z.shape[2:]).swapaxes(0, 1)

    def advance(self, advance: Callable[..., Any], key: jax.Array, *, adapt: bool) -> None:
        """One chunk of steps of every chain."""
        from blackjax.mcmc.hmc import HMCState

        states = HMCState(self.u, self.density, self.gradient)
        frame = self.frame
        states, step, out = advance(
            frame.bend,
            frame.mean,
            frame.root,
            states,
            self.step,
            jax.random.fold_in(key, self.done),
            adapt,
            target=float(self.target),
        )
        self.u, self.density, self.gradient = (np.asarray(a) for a in states)
        self.gradients += int(out["steps"].sum())
        self.done += 1
        if adapt:
            self.step = np.array(step)
            self.tuning -= 1
            if not self.tuning:
                self.step[0] = self.step[3]
            self.warm = np.concatenate([self.warm, np.asarray(out["v"])[None]])
        else:
            self.divergent += int(out["divergent"].sum())
            self.z = np.concatenate([self.z, np.asarray(out["z"])[None]])

    def diverge(self) -> bool:
        """Whether more transitions diverged than may."""
        return self.divergent > MOST_DIVERGENT * self.z[..., 0].size

    def restart(self) -> None:
        """Throw the draws away and begin again with shorter steps, from where the chains are."""
        self.restarts += 1
        self.target = np.asarray(1.0 - (1.0 - self.target) / 4.0)
        self.step = fresh_step(0.5 * self.step[0])
        self.tuning, self.divergent, self.z = 2, 0, self.z[:0]

    def reframe(self) -> None:
        """Take the mean and covariance of the warm-up so far, its first chunk left out."""
        old = self.frame
        new = old.adapted(self.warm[1:].reshape(-1, self.u.shape[1]))
        v = old.mean + self.u @ old.root.T
        gradient = np.linalg.solve(old.root.T, self.gradient.T).T
        self.u, self.gradient = new.position(v), gradient @ new.root
        self.mean, self.root = new.mean, new.root
        self.step = fresh_step(self.step[3])


def _first(
    method: Any, posterior: Posterior, laplace: Laplace, frame: Frame, modes: Modes, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States at points drawn from the Laplace approximations, those outside the support pulled in."""
    coordinates = laplace.coordinates
    roots = np.linalg.cholesky(laplace.covariance)
    log_mass = modes.value + np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    log_mass -= coordinates.log_slope(modes.z)
    mass = np.exp(log_mass - log_mass.max())
    # every mode of some mass gets its share of the chains, so that R-hat sees what a single mode would hide
    shares = (rng.random() + np.arange(method.chains)) / method.chains
    chosen = np.minimum(np.searchsorted(np.cumsum(mass) / mass.sum(), shares), len(mass) - 1)
    centre = laplace.means[chosen]
    t = centre + np.einsum("kij,kj->ki", roots[chosen], rng.standard_normal(centre.shape))
    low = 0.5 * np.minimum(centre, 1.0 - centre)
    t = np.where(coordinates.unit, np.clip(t, low, 1.0 - low), t)
    z = coordinates.to_latent(t)[0]
    pieces = [
        linearise(posterior, z[start : start + method.starts], method.starts)
        for start in range(0, method.chains, method.starts)
    ]
    value, gradient = (np.concatenate(p) for p in zip(*pieces, strict=True))
    return frame.enter(t, z, value, gradient)


def fresh_step(size: float) -> np.ndarray:
    """Dual-averaging state: step, summed error, count, averaged step, centre (Hoffman & Gelman 2014, section 3.2)."""
    return np.array([size, 0.0, 0.0, size, np.log(10.0 * size)])


def _tune(state: jax.Array, acceptance: jax.Array, target: float) -> jax.Array:
    _, error, count, average, centre = state
    count = count + 1.0
    rate = 1.0 / (count + 10.0)
    error = (1.0 - rate) * error + rate * (target - acceptance)
    log_step = centre - jnp.sqrt(count) / 0.05 * error
    weight = count**-0.75
    log_average = weight * log_step + (1.0 - weight) * jnp.log(average)
    return jnp.stack([jnp.exp(log_step), error, count, jnp.exp(log_average), centre])


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
    """One chunk of steps of all chains; ``step`` is a dual-averaging state (see `fresh_step`), tuned where `adapt`."""

    def density(u: jax.Array) -> jax.Array:
        return log_density(kernel, bend, mean + root @ u)

    def one(key: jax.Array, state: Any, size: jax.Array) -> tuple[Any, Any]:
        return transition(key, state, density, size)

    def body(carry: tuple[Any, jax.Array], key: jax.Array) -> tuple[Any, Any]:
        states, step = carry
        keys = jax.random.split(key, states.logdensity.shape[0])
        states, info = jax.vmap(one, in_axes=(0, 0, None))(keys, states, step[0])
        acceptance = jnp.mean(jnp.where(jnp.isfinite(info.acceptance_rate), info.acceptance_rate, 0.0))
        step = jnp.where(adapt, _tune(step, acceptance, target), step)
        v = mean + states.position @ root.T
        out = {
            "v": v,
            "z": jax.vmap(bend.latent)(v)[0],
            "divergent": info.is_divergent,
            "steps": info.num_integration_steps,
        }
        return (states, step), out

    (states, step), out = jax.lax.scan(body, (states, step), jax.random.split(key, CHUNK))
    return states, step, out


def enough(method: Any, chains: Chains, quality: dict[str, float], progress: Any) -> bool:
    """Whether to stop: looked at after `draws` steps and every as many more."""
    done = len(chains.z) * CHUNK
    if done < method.draws or (done < method.max_draws and done % method.draws >= CHUNK):
        return False
    quality.update(measure(chains.latent()))
    if done >= method.max_draws or (quality["rhat"] < WORST_RHAT and _least(quality) > LEAST_ESS):
        return True
    progress.stage("sampling on: not converged yet", method.max_draws)
    return False


def measure(latent: np.ndarray) -> dict[str, float]:
    """Worst rank-normalised R-hat and bulk and tail ESS over the latent coordinates of (chains, draws, ndim)."""
    import arviz as az

    data = az.convert_to_dataset({"z": latent})
    return {
        "rhat": float(az.rhat(data)["z"].max()),
        "ess": float(az.ess(data, method="bulk")["z"].min()),
        "ess_tail": float(az.ess(data, method="tail")["z"].min()),
    }


def _least(quality: dict[str, float]) -> float:
    return min(quality["ess"], quality["ess_tail"])


def complaints(quality: dict[str, float], divergent: int, total: int) -> tuple[str, ...]:
    """What keeps chains from being called converged."""
    found = []
    if "interrupted" in quality:
        found.append("sampling was interrupted; what was drawn is kept")
    if not quality["rhat"] < WORST_RHAT:
        found.append(
            f"R-hat {quality['rhat']:.3f} is not below {WORST_RHAT}: the chains disagree; draw more or reparametrise"
        )
    if not _least(quality) > LEAST_ESS:
        found.append(
            f"the smallest effective sample size (bulk or tail) is {_least(quality):.0f}, below {LEAST_ESS:.0f}: draw "
            "more"
        )
    if divergent > MOST_DIVERGENT * total:
        found.append(f"{divergent} divergent transitions: raise target_accept or reparametrise")
    return tuple(found)
