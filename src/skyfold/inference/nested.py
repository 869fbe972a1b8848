"""Nested: nested slice sampling of BlackJAX, batches of live points replaced side by side.

Slices are hit-and-run steps shaped by the covariance of the live points (`skyfold.inference.slices`), in latent
coordinates, where the prior is standard normal. Work goes in chunks of a fixed number of steps, each one call of one
executable.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compilation import jit
from skyfold.errors import NonFiniteModelWarning, SkyfoldError
from skyfold.inference.checkpoint import NO_CHECKPOINT, Checkpoint
from skyfold.inference.clock import Clock
from skyfold.inference.coverage import weighted_draws
from skyfold.inference.cube import require_cube
from skyfold.inference.draws import Draws
from skyfold.inference.maximum import evaluate
from skyfold.inference.shrinkage import alive, insertion_pvalue, log_evidence, log_volumes
from skyfold.inference.slices import side_by_side, slice_root
from skyfold.kernel import Kernel

if TYPE_CHECKING:
    from skyfold.posterior import Posterior

#: Steps (batches of deaths) per call of the executable.
CHUNK = 10
#: Prior draws per live point after which the search for points of finite likelihood is given up.
_PATIENCE = 200
#: What a run must reach to be called converged: insertion ranks no less probable than this, ranks of new points less
#: correlated than this with those of the points they set out from, and no more than this share of slice steps that
#: found no other point.
LEAST_PVALUE, MOST_KINSHIP, MOST_STUCK = 1e-3, 0.1, 0.01


@dataclass(frozen=True)
class Nested:
    """Nested slice sampling (Yallup, Kroupa & Handley 2026, arXiv:2601.23252; BlackJAX): draws and the evidence.

    Parameters
    ----------
    live : int
        Live points; the error of the log evidence goes down with their square root.
    batch : int
        Live points replaced together.
    sweeps : int
        Slice steps of each new point, per dimension.
    remainder : float
        Share of the evidence that may be left in the live points at the end (it is counted, with the accuracy of the
        mean over the live points).
    max_steps : int
        Batches after which to stop in any case.
    screen, starts : int
        Prior draws and starts of the search for maxima, which checks that the draws miss none.

    References
    ----------
    Skilling 2006, Bayesian Analysis 1, 833.
    """

    name: ClassVar[str] = "nested"
    live: int = 500
    batch: int = 50
    sweeps: int = 5
    remainder: float = 1e-3
    max_steps: int = 5000
    screen: int = 2048
    starts: int = 16

    def __post_init__(self) -> None:
        if not (1 <= self.batch <= self.live // 2 and self.live >= 20 and self.sweeps >= 1 and 0 < self.remainder < 1):
            raise SkyfoldError(
                "Nested needs at least 20 live points, a batch of at most half of them, 1 sweep, and a remainder "
                "between 0 and 1."
            )

    def __call__(self, posterior: Posterior, seed: int, progress: Any, checkpoint: Checkpoint = NO_CHECKPOINT) -> Draws:
        import blackjax.ns  # noqa: F401  # slow to import, which is not sampling

        clock = Clock()
        require_cube(posterior, self.name)
        if self.live < 2 * posterior.ndim:
            raise SkyfoldError(
                f"{self.live} live points cannot span {posterior.ndim} dimensions: Nested(live={10 * posterior.ndim})."
            )
        state = checkpoint.load()
        run = _Run(**state) if state else _Run.started(self, posterior, seed)
        advance = partial(
            _advance, posterior.kernel, remainder=self.remainder, inner=self.sweeps * posterior.ndim, batch=self.batch
        )
        key = jax.random.key(seed)
        progress.stage("nested sampling")
        interrupted = False
        try:
            while not run.finished and run.steps < self.max_steps:
                run.advance(advance, key)
                checkpoint.save(**vars(run))
                progress.update(run.steps, f"ln Z {run.log_z:.2f}, {100 * run.left:.2g}% left, {run.spent} evaluations")
        except KeyboardInterrupt:
            if not len(run.dead):
                raise
            interrupted = True
        return self._conclude(posterior, seed, run, clock, interrupted)

    def _conclude(self, posterior: Posterior, seed: int, run: _Run, clock: Clock, interrupted: bool) -> Draws:
        z = np.concatenate([run.dead, run.z])
        likelihood = np.concatenate([run.dead_likelihood, run.likelihood])
        birth = np.concatenate([run.dead_birth, run.birth])
        order = np.argsort(likelihood, kind="stable")
        z, likelihood, birth = z[order], likelihood[order], birth[order]
        count = alive(birth, likelihood)
        value, error, information = log_evidence(likelihood, count)
        inside = np.log(self.live / run.drawn)
        value, error = value + inside, float(np.hypot(error, np.sqrt(1.0 / self.live - 1.0 / run.drawn)))
        pvalue = insertion_pvalue(run.ranks, 10 * self.live)
        kinship = float(np.corrcoef(run.ranks, run.parents)[0, 1]) if len(run.ranks) > 1 else 0.0
        stuck = run.stuck / max(len(run.dead) * self.sweeps * posterior.ndim, 1)
        messages = []
        if interrupted:
            messages.append("sampling was interrupted; what was drawn is kept")
        if not run.finished:
            messages.append(
                f"{100 * run.left:.2g}% of the evidence is still in the live points, more than the "
                f"{100 * self.remainder:.2g}% asked for: raise max_steps"
            )
        if pvalue < LEAST_PVALUE:
            messages.append(
                f"the ranks of new points among the live ones are uneven (p = {pvalue:.1g}): new points are no fair "
                "draws, evidence and draws may be off; use more sweeps or live points"
            )
        if kinship > MOST_KINSHIP:
            messages.append(
                f"the ranks of new points follow those of the points they set out from (correlation {kinship:.2f}): "
                "the errors are larger than they say; use more sweeps"
            )
        if stuck > MOST_STUCK:
            messages.append(f"{100 * stuck:.1f}% of the slice steps found no point above the contour: use more sweeps")
        return weighted_draws(
            self,
            posterior,
            z,
            likelihood,
            likelihood + log_volumes(count),
            (value, error),
            seed=seed,
            clock=clock,
            evaluations=int(run.spent),
            messages=messages,
            diagnostics={
                "insertion_p": pvalue,
                "kinship": kinship,
                "information": information,
                "remainder": float(run.left),
                "live": self.live,
                "steps": int(run.steps),
                "stuck": float(stuck),
                "used_evaluations": int(run.used),
            },
        )


class _Run:
    """State of a run: everything that it needs to go on, as arrays and numbers."""

    z: np.ndarray
    prior: np.ndarray
    likelihood: np.ndarray
    birth: np.ndarray
    root: np.ndarray
    volume: np.ndarray
    evidence: np.ndarray
    evidence_left: np.ndarray
    dead: np.ndarray
    dead_likelihood: np.ndarray
    dead_birth: np.ndarray
    ranks: np.ndarray
    parents: np.ndarray
    chunks: int
    steps: int
    drawn: int
    spent: int
    used: int
    stuck: int
    finished: bool

    def __init__(self, **state: Any) -> None:
        for name, value in state.items():
            setattr(self, name, value if np.ndim(value) else np.asarray(value)[()])

    @classmethod
    def started(cls, method: Nested, posterior: Posterior, seed: int) -> _Run:
        """Live points drawn from the prior, where the likelihood is finite."""
        rng = np.random.default_rng([seed, 4])
        z, likelihood = np.empty((0, posterior.ndim)), np.empty(0)
        drawn = evaluated = 0
        while len(z) < method.live:
            points = rng.standard_normal((method.live, posterior.ndim))
            with warnings.catch_warnings():
                if drawn:  # said once is enough
                    warnings.simplefilter("ignore", NonFiniteModelWarning)
                _, values = evaluate(posterior, points)
            good = np.flatnonzero(np.isfinite(values))
            evaluated += len(points)
            missing = method.live - len(z)
            # stop counting at the last live point
            drawn += len(points) if len(good) < missing else int(good[missing - 1]) + 1
            z = np.concatenate([z, points[good[:missing]]])
            likelihood = np.concatenate([likelihood, values[good[:missing]]])
            if evaluated >= _PATIENCE * method.live and len(z) < method.live:
                raise SkyfoldError(
                    f"The likelihood is finite at only {len(z)} of {evaluated} draws of the prior: the model gives NaN "
                    "or infinite expected data nearly everywhere. Narrow the priors."
                )
        state = _begin(z, likelihood)
        return cls(
            **_packed(state),
            dead=np.empty((0, posterior.ndim)),
            dead_likelihood=np.empty(0),
            dead_birth=np.empty(0),
            ranks=np.empty(0),
            parents=np.empty(0),
            chunks=0,
            steps=0,
            drawn=drawn,
            spent=evaluated,
            used=evaluated,
            stuck=0,
            finished=False,
        )

    def advance(self, advance: Any, key: jax.Array) -> None:
        """One chunk of steps."""
        state, out, done = advance(_unpacked(self), jax.random.fold_in(key, self.chunks))
        out = jax.tree.map(np.asarray, out)
        real = out["real"]
        for name, value in _packed(state).items():
            setattr(self, name, value)
        dead = jax.tree.map(lambda a: a[real].reshape(-1, *a.shape[2:]), out["dead"])
        self.dead = np.concatenate([self.dead, dead.position])
        self.dead_likelihood = np.concatenate([self.dead_likelihood, dead.loglikelihood])
        self.dead_birth = np.concatenate([self.dead_birth, dead.loglikelihood_birth])
        self.ranks = np.concatenate([self.ranks, out["rank"][real].ravel()])
        self.parents = np.concatenate([self.parents, out["parent"][real].ravel()])
        slices = out["slices"]
        self.spent = int(self.spent + slices.evaluations[real].sum())
        self.used = int(self.used + slices.used[real].sum())
        self.stuck = int(self.stuck + slices.stuck[real].sum())
        self.steps = int(self.steps + real.sum())
        self.chunks = int(self.chunks + 1)
        self.finished = bool(done)

    @property
    def log_z(self) -> float:
        """Log evidence so far, that of the live points included."""
        return float(np.logaddexp(self.evidence, self.evidence_left))

    @property
    def left(self) -> float:
        """Share of the evidence that is in the live points."""
        return float(np.exp(self.evidence_left - self.log_z))


# -- what is compiled ------------------------------------------------------------------------------------------------


def _packed(state: Any) -> dict[str, np.ndarray]:
    arrays = {
        "z": state.particles.position,
        "prior": state.particles.logdensity,
        "likelihood": state.particles.loglikelihood,
        "birth": state.particles.loglikelihood_birth,
        "root": state.inner_kernel_params["root"],
        "volume": state.integrator.logX,
        "evidence": state.integrator.logZ,
        "evidence_left": state.integrator.logZ_live,
    }
    return {name: np.asarray(a) for name, a in arrays.items()}


def _unpacked(run: _Run) -> Any:
    from blackjax.ns.adaptive import AdaptiveNSState
    from blackjax.ns.base import StateWithLogLikelihood
    from blackjax.ns.integrator import NSIntegrator

    return AdaptiveNSState(
        StateWithLogLikelihood(run.z, run.prior, run.likelihood, run.birth),
        NSIntegrator(run.volume, run.evidence, run.evidence_left),
        {"root": run.root},
    )


@jit
def _begin(z: jax.Array, likelihood: jax.Array) -> Any:
    from blackjax.ns.adaptive import AdaptiveNSState
    from blackjax.ns.base import NSState, StateWithLogLikelihood
    from blackjax.ns.integrator import init_integrator

    prior = -0.5 * jnp.sum(z**2, axis=1) - 0.5 * z.shape[1] * jnp.log(2 * jnp.pi)
    particles = StateWithLogLikelihood(z, prior, likelihood, jnp.full(likelihood.shape, -jnp.inf))
    return AdaptiveNSState(particles, init_integrator(particles), _shape(None, NSState(particles), None))


def _shape(key: Any, state: Any, info: Any, params: Any = None) -> dict[str, jax.Array]:
    """Shape of the slices, from the live points."""
    return {"root": slice_root(state.particles.position)}


@partial(jit, static_argnames=("inner", "batch"))
def _advance(kernel: Kernel, state: Any, key: jax.Array, *, remainder: float, inner: int, batch: int) -> Any:
    from blackjax.ns.base import init_state_strategy
    from blackjax.ns.from_mcmc import build_kernel

    def likelihood(z: jax.Array) -> jax.Array:
        value = kernel.log_likelihood(z)
        return jnp.where(jnp.isfinite(value), value, -jnp.inf)

    point = partial(init_state_strategy, logprior_fn=kernel.log_prior, loglikelihood_fn=likelihood)
    nested = build_kernel(None, inner, _shape, batch, update_strategy=side_by_side(point))

    def done(state: Any) -> jax.Array:
        values = state.particles.loglikelihood
        left = state.integrator.logZ_live - jnp.logaddexp(state.integrator.logZ, state.integrator.logZ_live)
        # the second holds on a plateau: nothing lies above the next contour, and what is left is known exactly
        return (left < jnp.log(remainder)) | (jnp.max(values) <= -jax.lax.top_k(-values, batch)[0][-1])

    def step(operand: Any) -> Any:
        state, key = operand
        old = state.particles.loglikelihood
        doomed = jax.lax.top_k(-old, batch)[1]
        state, info = nested(key, state)
        new = state.particles.loglikelihood[doomed]
        survivors = old.at[doomed].set(jnp.inf)
        # ranks of the new points as they join the survivors one after the other: independent and uniform
        earlier = jnp.tril(new[None, :] < new[:, None], -1)
        below = jnp.sum(survivors[None, :] < new[:, None], axis=1) + jnp.sum(earlier, axis=1)
        places = old.size - batch + jnp.arange(batch) + 1
        jitter = jax.random.uniform(jax.random.fold_in(key, 1), (batch,))
        return state, {
            "dead": info.particles,
            "rank": (below + jitter) / places,
            "parent": jnp.mean(survivors[None, :] < info.update_info.parent[:, None], axis=1),
            "slices": info.update_info,
        }

    shapes = jax.eval_shape(lambda s, k: step((s, k))[1], state, key)

    def idle(operand: Any) -> Any:
        return operand[0], jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def body(carry: Any, key: jax.Array) -> Any:
        state, finished = carry
        state, out = jax.lax.cond(finished, idle, step, (state, key))
        return (state, finished | done(state)), {**out, "real": ~finished}

    (state, finished), out = jax.lax.scan(body, (state, done(state)), jax.random.split(key, CHUNK))
    return state, out, finished
