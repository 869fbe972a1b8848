"""Nested: nested slice sampling of BlackJAX, batches of live points replaced side by side.

Slices are hit-and-run steps shaped by the covariance of the live points (`skyfold.inference.nested_sampling.slices`),
in latent coordinates, where the prior is standard normal. Work goes in chunks of a fixed number of steps, each one call
of one executable.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import numpy as np
from scipy.special import logsumexp

from skyfold.errors import NonFiniteModelWarning, SkyfoldError
from skyfold.inference.convergence.populations import of_live_points
from skyfold.inference.density import evaluate
from skyfold.inference.frames.unit_or_normal import coordinate_names
from skyfold.inference.nested_sampling.blackjax_steps import advance as step
from skyfold.inference.nested_sampling.blackjax_steps import begin, packed, unpacked
from skyfold.inference.nested_sampling.families import dependence, evidence_error, memory
from skyfold.inference.nested_sampling.finish import weighted_draws
from skyfold.inference.nested_sampling.prior_volume import alive, insertion_pvalue, log_evidence, log_volumes
from skyfold.inference.nested_sampling.unit_cube import require_cube
from skyfold.inference.running import NO_CHECKPOINT, Checkpoint, Clock, Draws, Method, Progress, RunState
from skyfold.posterior import Posterior

#: Prior draws per live point after which the search for points of finite likelihood is given up.
_PATIENCE = 200
#: Correlation of new points with those they set out from above which there are more sweeps, how many times more at
#: most, fall of it that these must bring, and correlation below which there are fewer again.
_REMEMBERED, _LONGEST, _FALL, _FORGOTTEN = 0.5, 4, 0.1, 0.3


@dataclass(frozen=True)
class Nested(Method):
    """Nested slice sampling (Yallup, Kroupa & Handley 2026, arXiv:2601.23252; BlackJAX): draws and the evidence.

    Parameters
    ----------
    live : int
        Live points; the error of the log evidence goes down with their square root.
    batch : int
        Live points replaced together.
    sweeps : int
        Slice steps of each new point, per dimension; up to four times as many where new points stay too near to those
        they set out from, and more steps help.
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

    def __call__(
        self, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint = NO_CHECKPOINT
    ) -> Draws:
        import blackjax.ns  # noqa: F401  # slow to import, which is not sampling

        clock = Clock()
        require_cube(posterior, self.name)
        if self.live < 2 * posterior.ndim:
            raise SkyfoldError(
                f"{self.live} live points cannot span {posterior.ndim} dimensions: Nested(live={10 * posterior.ndim})."
            )
        run = _Run.restored(checkpoint) or _Run.started(self, posterior, seed)
        advance = partial(step, posterior.kernel, remainder=self.remainder, batch=self.batch)
        key = jax.random.key(seed)
        progress.stage("nested sampling")
        interrupted = False
        try:
            while not run.finished and run.steps < self.max_steps:
                run.advance(advance, key)
                run.pace(self.sweeps)
                run.save(checkpoint)
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
        names = np.concatenate([run.dead_names, run.names])[order]
        count = alive(birth, likelihood)
        value, error, information = log_evidence(likelihood, count)
        log_weights = likelihood + log_volumes(count)
        weights = np.exp(log_weights - logsumexp(log_weights))
        of_families = evidence_error(birth, likelihood, count, weights, names, run.mothers)
        error = max(error, of_families)
        related = dependence(z, birth, likelihood, count, weights, names, run.mothers)
        inside = np.log(self.live / run.drawn)
        value, error = value + inside, float(np.hypot(error, np.sqrt(1.0 / self.live - 1.0 / run.drawn)))
        pvalue = insertion_pvalue(run.ranks, 10 * self.live)
        kinship = float(np.corrcoef(run.ranks, run.parents)[0, 1]) if len(run.ranks) > 1 else 0.0
        coordinates = coordinate_names(posterior)
        quality: dict[str, Any] = {
            "finished": run.finished,
            "left": run.left,
            "insertion_p": pvalue,
            "kinship": kinship,
            "stuck": run.stuck / max(run.slices, 1),
            "independent": related.effective,
            "worst": coordinates[related.worst],
            "share_error": related.share_error,
            "split": coordinates[related.split],
            **({"interrupted": 1.0} if interrupted else {}),
        }
        return weighted_draws(
            self,
            posterior,
            z,
            likelihood,
            log_weights,
            (value, error),
            seed=seed,
            clock=clock,
            evaluations=int(run.spent),
            messages=of_live_points(self, quality),
            diagnostics={
                **{name: quality[name] for name in ("insertion_p", "kinship", "independent", "share_error")},
                "evidence_error_families": of_families,
                "sweeps": run.slices / max(len(run.dead) * posterior.ndim, 1),
                "information": information,
                "remainder": float(run.left),
                "live": self.live,
                "steps": int(run.steps),
                "stuck": float(quality["stuck"]),
                "used_evaluations": int(run.used),
            },
        )


class _Run(RunState):
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
    names: np.ndarray
    dead_names: np.ndarray
    mothers: np.ndarray
    chunks: int
    steps: int
    drawn: int
    spent: int
    used: int
    stuck: int
    slices: int
    sweeps: int
    memory: float
    before: float
    helpless: bool
    finished: bool

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
        state = begin(z, likelihood)
        return cls(
            **packed(state),
            dead=np.empty((0, posterior.ndim)),
            dead_likelihood=np.empty(0),
            dead_birth=np.empty(0),
            ranks=np.empty(0),
            parents=np.empty(0),
            names=np.arange(method.live),
            dead_names=np.empty(0, int),
            mothers=np.full(method.live, -1),
            chunks=0,
            steps=0,
            drawn=drawn,
            spent=evaluated,
            used=evaluated,
            stuck=0,
            slices=0,
            sweeps=method.sweeps,
            memory=0.0,
            before=np.inf,
            helpless=False,
            finished=False,
        )

    def advance(self, advance: Any, key: jax.Array) -> None:
        """One chunk of steps."""
        inner = self.sweeps * self.z.shape[1]
        state, out, done = advance(unpacked(self), jax.random.fold_in(key, self.chunks), inner)
        out = jax.tree.map(np.asarray, out)
        real = out["real"]
        for name, value in packed(state).items():
            setattr(self, name, value)
        dead = jax.tree.map(lambda a: a[real].reshape(-1, *a.shape[2:]), out["dead"])
        self.dead = np.concatenate([self.dead, dead.position])
        self.dead_likelihood = np.concatenate([self.dead_likelihood, dead.loglikelihood])
        self.dead_birth = np.concatenate([self.dead_birth, dead.loglikelihood_birth])
        self.ranks = np.concatenate([self.ranks, out["rank"][real].ravel()])
        self.parents = np.concatenate([self.parents, out["parent"][real].ravel()])
        slices = out["slices"]
        here, there = (a[real].reshape(-1, a.shape[-1]) for a in (out["here"], out["there"]))
        self.memory = memory(here, there) if len(here) > 1 else 0.0
        self.slices = int(self.slices + len(here) * inner)
        names, mothers, gone = self.names.copy(), [self.mothers], [self.dead_names]
        born = len(self.mothers)
        for place, origin in zip(out["place"][real], slices.parent[real], strict=True):
            gone.append(names[place])
            mothers.append(names[origin])
            names[place] = born + np.arange(len(place))
            born += len(place)
        self.names, self.mothers, self.dead_names = names, np.concatenate(mothers), np.concatenate(gone)
        self.spent = int(self.spent + slices.evaluations[real].sum())
        self.used = int(self.used + slices.used[real].sum())
        self.stuck = int(self.stuck + slices.stuck[real].sum())
        self.steps = int(self.steps + real.sum())
        self.chunks = int(self.chunks + 1)
        self.finished = bool(done)

    def pace(self, least: int) -> None:
        """Set the sweeps of the next chunk by how much the points of the last one remember."""
        if self.sweeps == least:
            self.before = self.memory
        if self.sweeps == _LONGEST * least and self.memory > self.before - _FALL:
            self.sweeps, self.helpless = least, True  # separate modes remain separate
        elif self.memory > _REMEMBERED and not self.helpless:
            self.sweeps = int(min(2 * self.sweeps, _LONGEST * least))
        elif self.memory < _FORGOTTEN:
            self.sweeps = int(max(self.sweeps // 2, least))

    @property
    def log_z(self) -> float:
        """Log evidence so far, that of the live points included."""
        return float(np.logaddexp(self.evidence, self.evidence_left))

    @property
    def left(self) -> float:
        """Share of the evidence that is in the live points."""
        return float(np.exp(self.evidence_left - self.log_z))
