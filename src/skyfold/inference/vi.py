"""VI: variational inference with normal guides and normalizing flows, judged and corrected by importance weights.

The evidence lower bound (ELBO), the mean of log p/q over draws of q, is raised by Adam. Its gradient is the path
derivative ("sticking the landing": Roeder, Wu & Duvenaud 2017, NIPS 30), whose noise vanishes where q = p. The start
is the Laplace approximation in the bent coordinates of `skyfold.inference.frames.whitened`, so that few steps are
needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.inference.chains.from_draws import continued
from skyfold.inference.convergence.approximations import judged_draws
from skyfold.inference.density import evaluate
from skyfold.inference.frames.unit_or_normal import Coordinates, Laplace
from skyfold.inference.frames.whitened import Bend, Frame
from skyfold.inference.importance.judged import (
    CORRECTIONS,
    WALKED,
    Judged,
    check_correction,
    log_pooled,
    log_scouts,
    scouts,
    walked,
    weigh,
)
from skyfold.inference.running import NO_CHECKPOINT, Checkpoint, Clock, Draws, Method, Progress
from skyfold.inference.search.landscape import landscape
from skyfold.inference.search.modes import MOST_UNSEEN
from skyfold.inference.search.quasirandom import normal_points
from skyfold.inference.variational.elbo import STEPS, Ascent, Optimiser, first_state
from skyfold.inference.variational.guides import FAMILIES, Guide, log_normal
from skyfold.posterior import Posterior

#: First step size (in units of the Laplace approximation), particles and patience of the families.
_DEFAULTS = {
    "meanfield": (0.05, 16, 2),
    "fullrank": (0.03, 16, 2),
    "lowrank": (0.03, 16, 2),
    "flow": (0.003, 32, 4),
}


@dataclass(frozen=True)
class VI(Method):
    """Variational inference.

    Stops when the ELBO, averaged over 50 steps, has not risen by more than `tolerance` (or by its own standard error,
    if that is larger) for `patience` such averages, at each of four step sizes that fall by 0.3. What is kept is the
    average of the last 50 iterates.

    Not called converged: an ELBO that still rises; modes that q does not cover; draws handed back as they are
    (``"none"``) whose k-hat is 0.7 or more, or whose widths, means or tails differ from those of the weighted draws
    (by 10%, 0.1 sd, a factor 1.5); weighted draws (``"psis"``) with k-hat of 0.7 or more, or fewer than 400 effective,
    or from whose heaviest random walks come to much larger weights;
    chains (``"mcmc"``) that fail R-hat or ESS. What was wrong with q and has been made up for stays as a message.

    Parameters
    ----------
    family : str
        ``"meanfield"``, ``"fullrank"``, ``"lowrank"``, or ``"flow"`` (needs ``pip install 'skyfold[flows]'``).
    correction : str
        ``"psis"``: draws weighted by Pareto-smoothed p/q, and the evidence; ``"mcmc"``: draws of short NUTS chains that
        start from q; ``"adaptive"``: as ``"psis"``, and where that is not to be trusted, or modes are not covered,
        draws of adaptive importance sampling that begins with those of q; ``"none"``: those of q as they are. All are
        judged by the weights.
    draws : int
        Draws of q in the end, at least 4000.
    steps : int
        Most steps of the optimiser.
    particles : int, optional
        Draws per step: half of them quasi-random, the others their mirror images. None is the family's number: 16, or
        32 for flows.
    learning_rate : float, optional
        First step size of Adam, in units of the Laplace approximation; None is that of the family.
    schedule : str
        ``"plateau"`` lowers the step size when the ELBO stalls; ``"cosine"`` besides follows a half cosine to zero.
    clip : float
        Largest norm of a gradient.
    weight_decay : float
        Of AdamW.
    tolerance, patience : float, int
        Rise of the ELBO that counts, and number of averages to wait for one: by default 2, or 4 for flows.
    rank : int
        Columns of the low-rank factor.
    flow : str
        ``"coupling"`` or ``"autoregressive"`` rational-quadratic splines.
    layers, knots, width : int
        Layers of a flow, knots of its splines, width of its networks.
    chains : int
        Chains of the correction by MCMC.
    screen, starts : int
        Prior draws and starts in the search for the mode.

    References
    ----------
    Kucukelbir et al. 2017, JMLR 18, 14 (normal guides); Rezende & Mohamed 2015, ICML 37, 1530 (flows); Durkan et al.
    2019, NeurIPS 32 (rational-quadratic splines); Dhaka et al. 2020, NeurIPS 33 (averaged iterates, k-hat).
    """

    name: ClassVar[str] = "vi"
    family: str = "fullrank"
    correction: str = "psis"
    draws: int = 4096
    steps: int = 5000
    particles: int | None = None
    learning_rate: float | None = None
    schedule: str = "plateau"
    clip: float = 10.0
    weight_decay: float = 0.0
    tolerance: float = 0.005
    patience: int | None = None
    rank: int = 4
    flow: str = "coupling"
    layers: int = 4
    knots: int = 8
    width: int = 32
    chains: int = 8
    screen: int = 2048
    starts: int = 16

    def __post_init__(self) -> None:
        check_correction(self.correction, (*CORRECTIONS, "adaptive"))
        if self.family not in FAMILIES:
            raise SkyfoldError(f"family is one of {', '.join(FAMILIES)}; got {self.family!r}.")
        if self.schedule not in ("plateau", "cosine"):
            raise SkyfoldError(f"schedule is 'plateau' or 'cosine'; got {self.schedule!r}.")
        if self.flow not in ("coupling", "autoregressive"):
            raise SkyfoldError(f"flow is 'coupling' or 'autoregressive'; got {self.flow!r}.")
        if self.draws < 4000:
            raise SkyfoldError(f"VI is judged by the weights of at least 4000 draws; got draws={self.draws}.")
        rate, particles, patience = _DEFAULTS[self.family]
        for name, value in (("learning_rate", rate), ("particles", particles), ("patience", patience)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if self._particles < 2 or self._particles % 2 or self.steps < STEPS or self.chains < 2:
            raise SkyfoldError(f"VI needs an even number of particles, {STEPS} steps and 2 chains at least.")

    @property
    def _particles(self) -> int:
        return int(self.particles or 0)

    @property
    def optimiser(self) -> Optimiser:
        """What moves the guide."""
        return Optimiser(self.clip, self.weight_decay)

    def __call__(
        self, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint = NO_CHECKPOINT
    ) -> Draws:
        import optax  # noqa: F401  # slow to import, which is not sampling

        clock = Clock()
        state = checkpoint.load()
        fit = Ascent(self, state) if state else Ascent(self, _started(self, posterior, seed, progress))
        progress.stage("raising the ELBO", self.steps)
        while not fit.finished:
            fit.advance(posterior.kernel, seed)
            progress.update(fit.done * STEPS, f"ELBO {fit.history[-1]:.2f}")
            fit.save(checkpoint)
        judged = self._judged(posterior, fit, seed)
        draws, trusted = judged_draws(
            self,
            posterior,
            judged,
            fit.state(),
            () if fit.settled else (f"the ELBO still rose after {self.steps} steps: raise steps",),
            correction="psis" if self.correction == "adaptive" else self.correction,
            richer="sf.NUTS()" if self.family == "flow" else 'family="flow", or sf.NUTS()',
            seed=seed,
            gradients=fit.done * STEPS * self._particles,
            diagnostics={"elbo_history": np.array(fit.history), "steps": fit.done * STEPS},
            clock=clock,
        )
        draws = replace(draws, sampler=self.family)
        if self.correction == "adaptive" and not trusted:
            return self._completed(posterior, fit, draws, judged, progress, clock)
        if self.correction != "mcmc":
            return draws
        from skyfold.inference.nuts import NUTS

        return continued(
            posterior, fit.bend, NUTS, self, draws, judged.pool, fit.state(), state, progress, checkpoint, clock.seconds
        )

    def _completed(
        self, posterior: Posterior, fit: Ascent, draws: Draws, judged: Judged, progress: Progress, clock: Clock
    ) -> Draws:
        """Draws of adaptive importance sampling that begins with those of q and the modes."""
        from skyfold.inference.importance.from_draws import complete

        coordinates = Coordinates(np.asarray(fit.unit))
        heights = fit.masses - 0.5 * np.linalg.slogdet(fit.covariances)[1]
        modes = Laplace(coordinates, coordinates.from_latent(fit.modes), fit.covariances, heights)
        found, reason = complete(posterior, draws, judged.pool, modes, self.starts, self.draws, progress)
        error = found.log_evidence_error
        return replace(
            found,
            converged=bool(not reason and fit.settled and fit.unseen <= MOST_UNSEEN),
            messages=(f"not corrected: {reason}", *draws.messages) if reason else _noted(draws.messages),
            log_evidence_error=None if error is None else float(np.hypot(error, fit.unseen)),
            seconds=clock.seconds(),
        )

    def _judged(self, posterior: Posterior, fit: Ascent, seed: int) -> Judged:
        """Draws of the guide and of scouts, wide copies of it and of the Laplace approximation, and their weights."""
        rng = np.random.default_rng([seed, 12])
        ndim, few = posterior.ndim, self.draws // 4
        base = np.concatenate([normal_points(self.draws, ndim, rng), scouts(few, ndim, rng)])
        v = np.asarray(_push(fit.guide, fit.mean, fit.root, base))
        v = np.concatenate([v, fit.mean + scouts(few, ndim, rng) @ fit.frame.T])

        def pulled(v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            """Latent vectors, log density of q and of the pool, both in latent space."""
            e, z, log_de, log_dv = (np.asarray(a) for a in _pull(fit.guide, fit.bend, fit.mean, fit.root, v))
            log_q = -0.5 * np.sum(e**2, axis=1) - 0.5 * ndim * np.log(2.0 * np.pi) + log_de
            laplace = np.linalg.solve(fit.frame, (v - fit.mean).T).T
            log_laplace = log_scouts(laplace) - np.sum(np.log(np.diagonal(fit.frame))) + log_dv
            return z, log_q, log_pooled(log_q, log_scouts(e) + log_de, log_laplace, self.draws, few)

        def look(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            # walkers in one shape, so that nothing is compiled anew
            padded = v[np.arange(WALKED) % len(v)]
            z, _, log_pool = pulled(padded)
            return evaluate(posterior, z[: len(v)])[0], log_pool[: len(v)]

        z, log_q, log_pool = pulled(v)
        return walked(weigh(posterior, z, v, log_q, self.draws, log_pool), look, seed)


def _noted(messages: tuple[str, ...]) -> tuple[str, ...]:
    """What was wrong with q and has been made up for, without advice."""
    off = next((m.rpartition("; ")[0] for m in messages if m.startswith("the approximation is off")), "")
    return (f"{off or 'the approximation is not enough by itself'}; adaptive importance sampling makes up for it",)


def _started(method: VI, posterior: Posterior, seed: int, progress: Progress) -> dict[str, Any]:
    """State of a run that begins: the modes and the frame of the Laplace approximation at the best."""
    land = landscape(posterior, screened=method.screen, starts=method.starts, seed=seed, progress=progress)
    return {
        **land.record(),
        "modes": land.modes.z,
        "masses": land.laplace.log_masses,
        "values": land.modes.value,
        "metrics": land.modes.metric,
        "covariances": land.laplace.covariance,
        **first_state(method, Frame.of(land.laplace)),
    }


@jit
def _push(guide: Guide, mean: jax.Array, root: jax.Array, base: jax.Array) -> jax.Array:
    """Bent coordinates of base draws (n, ndim)."""
    return jax.vmap(lambda e: mean + root @ guide.forward(e)[0])(base)


@jit
def _pull(
    guide: Guide, bend: Bend, mean: jax.Array, root: jax.Array, v: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Base draws e and latent vectors z of bent coordinates (n, ndim), the logarithms of de/dz and dv/dz."""

    def one(v: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        e, log_det = guide.inverse(solve_triangular(root, v - mean, lower=True))
        z, prior = bend.latent(v)
        bent = log_normal(z) - prior
        return e, z, bent - log_det - jnp.sum(jnp.log(jnp.diagonal(root))), bent

    return jax.vmap(one)(v)
