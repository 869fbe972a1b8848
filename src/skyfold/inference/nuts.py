"""NUTS: the No-U-Turn sampler of BlackJAX, preconditioned by the metric at the mode, chains vectorised.

Sampling runs in a whitened frame (`skyfold.inference.frame`), first that of the Laplace approximation, then that of the
warm-up's own draws. Work goes in chunks of equal length, so that one executable serves warm-up and
sampling, progress can be shown, and an interrupted run keeps what is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compilation import jit
from skyfold.errors import SkyfoldError
from skyfold.inference.clock import Clock
from skyfold.inference.coordinates import Laplace
from skyfold.inference.draws import Draws
from skyfold.inference.frame import Bend, Frame, log_density
from skyfold.inference.maximum import Modes, choose_starts, climb, evaluate, linearise, refine, screen
from skyfold.kernel import Kernel

if TYPE_CHECKING:
    from skyfold.posterior import Posterior

#: Steps of every chain per call of the executable.
CHUNK = 100


@dataclass(frozen=True)
class NUTS:
    """No-U-Turn sampler (Hoffman & Gelman 2014; BlackJAX).

    Parameters
    ----------
    chains : int
        Chains, run side by side.
    warmup, draws : int
        Steps of each chain for adaptation (discarded) and for sampling; multiples of 100 are cheapest.
    max_draws : int
        Draws per chain up to which sampling goes on while R-hat or ESS are not good enough.
    target_accept : float
        Acceptance that the step size aims at.
    max_doublings : int
        Trajectories have at most ``2**max_doublings`` steps.
    screen, starts : int
        Prior draws and starts in the search for the mode.
    """

    name: ClassVar[str] = "nuts"
    chains: int = 4
    warmup: int = 400
    draws: int = 1000
    max_draws: int = 4000
    target_accept: float = 0.8
    max_doublings: int = 8
    screen: int = 2048
    starts: int = 16

    def __post_init__(self) -> None:
        if self.chains < 2 or self.warmup < 2 * CHUNK or self.draws < 1:
            raise SkyfoldError(f"NUTS needs at least 2 chains (R-hat), {2 * CHUNK} warm-up steps and 1 draw.")

    def __call__(self, posterior: Posterior, seed: int, progress: Any, modes: Modes | None = None) -> Draws:
        import arviz  # noqa: F401  # both are slow to import, which is not sampling
        import blackjax  # noqa: F401

        clock = Clock()
        spent = 0
        if modes is None:
            progress.stage("searching for modes")
            points, density, _ = screen(posterior, self.screen, seed)
            modes = climb(posterior, choose_starts(points, density, self.starts))
            spent = len(points) + modes.evaluations
        best = refine(posterior, modes, self.starts)
        rng = np.random.default_rng([seed, 3])
        key = jax.random.key(seed)
        laplace = Laplace.at(posterior, modes)
        frame = Frame.of(laplace)
        states = self._start(posterior, laplace, frame, modes, rng)
        progress.stage("warm-up", self.warmup)
        advance = partial(_advance, posterior.kernel, target=self.target_accept, max_doublings=self.max_doublings)
        gradients = 0
        chunks = -(-self.warmup // CHUNK)
        kept: list[np.ndarray] = []
        step = _fresh_step(0.5)
        for chunk in range(chunks):
            states, step, out = advance(
                frame.bend, frame.mean, frame.root, states, step, jax.random.fold_in(key, chunk), True
            )
            gradients += int(out["steps"].sum())
            kept.append(np.asarray(out["v"]))
            progress.update((chunk + 1) * CHUNK, f"step size {float(step[3]):.3f}")
            if chunk >= 1 and chunk < chunks - 1:
                new = frame.adapted(np.concatenate(kept[-chunk:]).reshape(-1, posterior.ndim))
                states = _reframed(states, frame, new)
                frame = new
                step = _fresh_step(float(step[3]))
        progress.stage("sampling", self.draws)
        step = step.at[0].set(step[3])
        draws: list[np.ndarray] = []
        divergent = 0
        chunk, wanted, quality = chunks, self.draws, {"rhat": np.inf, "ess": 0.0}
        try:
            while True:
                states, _, out = advance(
                    frame.bend, frame.mean, frame.root, states, step, jax.random.fold_in(key, chunk), False
                )
                chunk += 1
                gradients += int(out["steps"].sum())
                divergent += int(out["divergent"].sum())
                draws.append(np.asarray(out["z"]))
                done = len(draws) * CHUNK
                progress.update(done, f"{divergent} divergences")
                if done >= wanted:
                    quality = _quality(np.concatenate(draws).swapaxes(0, 1))
                    if _good(quality) or done >= self.max_draws:
                        break
                    wanted = min(done + self.draws, self.max_draws)
                    progress.stage("sampling on: not converged yet", wanted)
        except KeyboardInterrupt:
            if not draws:
                raise
            quality = _quality(np.concatenate(draws).swapaxes(0, 1))
            quality["interrupted"] = 1.0
        latent = np.concatenate(draws).swapaxes(0, 1)
        _, likelihood = evaluate(posterior, latent.reshape(-1, posterior.ndim))
        messages = _complaints(quality, divergent, latent.shape[0] * latent.shape[1])
        return Draws(
            method=self.name,
            latent=latent,
            log_likelihood=likelihood.reshape(latent.shape[:2]),
            converged=not messages,
            messages=messages,
            seed=seed,
            evaluations=spent + best.evaluations + gradients,
            gradients=gradients,
            best=best.z[0],
            mode=modes.z[0],
            diagnostics={**quality, "divergences": divergent, "step_size": float(step[0]), "modes": len(modes.z)},
            seconds=clock.seconds(),
        )

    def _start(
        self, posterior: Posterior, laplace: Laplace, frame: Frame, modes: Modes, rng: np.random.Generator
    ) -> Any:
        """States at points drawn from the Laplace approximations, those outside the support pulled in."""
        from blackjax.mcmc.hmc import HMCState

        coordinates = laplace.coordinates
        roots = np.linalg.cholesky(laplace.covariance)
        log_mass = modes.value + np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
        log_mass -= coordinates.log_slope(modes.z)
        mass = np.exp(log_mass - log_mass.max())
        chosen = rng.choice(len(mass), size=self.chains, p=mass / mass.sum())
        centre = laplace.means[chosen]
        t = centre + np.einsum("kij,kj->ki", roots[chosen], rng.standard_normal(centre.shape))
        low = 0.5 * np.minimum(centre, 1.0 - centre)
        t = np.where(coordinates.unit, np.clip(t, low, 1.0 - low), t)
        z = coordinates.to_latent(t)[0]
        pieces = [
            linearise(posterior, z[start : start + self.starts], self.starts)
            for start in range(0, self.chains, self.starts)
        ]
        value, gradient = (np.concatenate(p) for p in zip(*pieces, strict=True))
        return HMCState(*(jnp.asarray(a) for a in frame.enter(t, z, value, gradient)))


def _reframed(states: Any, old: Frame, new: Frame) -> Any:
    """The same states in another frame; densities are in v, which does not change."""
    v = old.mean + np.asarray(states.position) @ old.root.T
    gradient = np.linalg.solve(old.root.T, np.asarray(states.logdensity_grad).T).T
    return type(states)(jnp.asarray(new.position(v)), states.logdensity, jnp.asarray(gradient @ new.root))


def _fresh_step(size: float) -> jax.Array:
    """Dual-averaging state: step, summed error, count, averaged step, centre (Hoffman & Gelman 2014, section 3.2)."""
    return jnp.asarray([size, 0.0, 0.0, size, np.log(10.0 * size)])


def _tune(state: jax.Array, acceptance: jax.Array, target: float) -> jax.Array:
    _, error, count, average, centre = state
    count = count + 1.0
    rate = 1.0 / (count + 10.0)
    error = (1.0 - rate) * error + rate * (target - acceptance)
    log_step = centre - jnp.sqrt(count) / 0.05 * error
    weight = count**-0.75
    log_average = weight * log_step + (1.0 - weight) * jnp.log(average)
    return jnp.stack([jnp.exp(log_step), error, count, jnp.exp(log_average), centre])


@partial(jit, static_argnames="max_doublings")
def _advance(
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
    max_doublings: int,
) -> tuple[Any, jax.Array, dict[str, jax.Array]]:
    import blackjax

    ndim = mean.size
    transition = blackjax.nuts.build_kernel()

    def density(u: jax.Array) -> jax.Array:
        return log_density(kernel, bend, mean + root @ u)

    def one(key: jax.Array, state: Any, size: jax.Array) -> tuple[Any, Any]:
        return transition(key, state, density, size, jnp.ones(ndim), max_doublings)

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


def _quality(latent: np.ndarray) -> dict[str, float]:
    """Worst rank-normalised R-hat and bulk/tail ESS over the latent coordinates of (chains, draws, ndim)."""
    import arviz as az

    data = az.convert_to_dataset({"z": latent})
    return {
        "rhat": float(az.rhat(data)["z"].max()),
        "ess": float(az.ess(data, method="bulk")["z"].min()),
        "ess_tail": float(az.ess(data, method="tail")["z"].min()),
    }


def _good(quality: dict[str, float]) -> bool:
    return quality["rhat"] < 1.01 and quality["ess"] > 400


def _complaints(quality: dict[str, float], divergent: int, total: int) -> tuple[str, ...]:
    found = []
    if "interrupted" in quality:
        found.append("sampling was interrupted; what was drawn is kept")
    if not quality["rhat"] < 1.01:
        found.append(f"R-hat {quality['rhat']:.3f} is not below 1.01: the chains disagree; draw more or reparametrise")
    if not quality["ess"] > 400:
        found.append(f"the smallest effective sample size is {quality['ess']:.0f}, below 400: draw more")
    if divergent > 0.005 * total:
        found.append(f"{divergent} divergent transitions: raise target_accept or reparametrise")
    return tuple(found)
