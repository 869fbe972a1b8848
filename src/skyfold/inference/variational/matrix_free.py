"""Krylov: MGVI and geoVI for many latent dimensions, by products of the metric with vectors only.

Samples come from conjugate gradients (see `conjugate`). No determinant is known, so there is no evidence. Besides the
weights' k-hat (MGVI only: geoVI's density needs a determinant for every draw) the draws are judged by Stein's identity,
-E[(z - E z) d ln p/dz] = 1 for every coordinate of draws of p; below 1 they are too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.inference.convergence.approximations import judge
from skyfold.inference.frames.unit_or_normal import coordinate_names
from skyfold.inference.importance.judged import weigh
from skyfold.inference.running import Checkpoint, Clock, Draws, Progress, RunState
from skyfold.inference.search.large import DENSE
from skyfold.inference.search.mass_centre import central, centre
from skyfold.inference.search.metric_products import BATCH, applied, descend, divergence, lengths, offsets
from skyfold.inference.search.screening import screen
from skyfold.posterior import Posterior

#: Residual of a sample's equation, in sds, that counts as a miss.
_MISS = 0.01
#: Log mass below the heaviest centre's from which others do not matter, and the distance of one from the draws' mean,
#: in sds of the draws, from which on it is another.
_LIGHT, _FAR = 5.0, 2.0
#: Departure from Stein's identity that is reported, beyond five standard errors.
_WORST_STEIN = 0.2


class _Moving(RunState):
    """The mean on its way."""

    mean: np.ndarray
    mode: np.ndarray
    rivals: np.ndarray  # other centres
    moved: float  # by the last round, in sds
    rounds: int
    steps: int


@dataclass(frozen=True)
class Large:
    """MGVI or geoVI (`method`) of a posterior with many latent dimensions."""

    method: Any
    posterior: Posterior

    def __call__(self, seed: int, progress: Progress, checkpoint: Checkpoint) -> Draws:
        clock = Clock()
        method, posterior = self.method, self.posterior
        if method.correction == "mcmc":
            raise SkyfoldError(
                f'{method.name} has no correction="mcmc" for {posterior.ndim} latent dimensions; use "none" or "psis", '
                "or sf.NUTS()."
            )
        state = _Moving.restored(checkpoint) or self._started(seed, progress)
        progress.stage("moving the mean", method.rounds)
        while state.moved > method.tolerance and state.rounds < method.rounds:
            start = state.mean
            rng = np.random.default_rng([seed, 23])
            around, _, drawing = offsets(posterior, start, method.pairs, rng, bent=method.bent)
            mean, steps = descend(posterior, start, around, method.newton, method.tolerance)
            moved = mean - start
            product = np.asarray(applied(posterior.kernel, start, moved))
            state.mean, state.moved = mean, float(np.sqrt(moved @ product / len(mean)))
            state.rounds += 1
            state.steps += steps + drawing
            progress.update(state.rounds, f"moved by {state.moved:.3f} sd")
            state.save(checkpoint)
        return self._draws(state, seed, progress, clock)

    def _started(self, seed: int, progress: Progress) -> _Moving:
        progress.stage("searching for the centre")
        posterior = self.posterior
        nothing = np.empty((0, posterior.ndim))
        if posterior.ndim > DENSE:
            mean, spent = centre(posterior, np.zeros(posterior.ndim), seed, progress)
            return _Moving(mean=mean, mode=mean, rivals=nothing, moved=np.inf, rounds=0, steps=spent)
        points, density, _ = screen(posterior, self.method.screen, seed)
        found = central(posterior, points, density, seed, progress)
        masses = found.value - 0.5 * np.linalg.slogdet(found.metric)[1]
        rivals = found.z[1:][masses[1:] > masses[0] - _LIGHT]
        return _Moving(
            mean=found.z[0],
            mode=found.z[0],
            rivals=rivals if len(rivals) else nothing,
            moved=np.inf,
            rounds=0,
            steps=found.evaluations + len(points),
        )

    def _draws(self, state: _Moving, seed: int, progress: Progress, clock: Clock) -> Draws:
        method, posterior = self.method, self.posterior
        mean = state.mean
        progress.stage("drawing")
        rng = np.random.default_rng([seed, 24])
        around, missed, drawing = offsets(posterior, mean, method.draws // 2, rng, bent=method.bent)
        z = mean + around
        kernel = posterior.kernel
        slopes = np.concatenate([divergence(kernel, z[i : i + BATCH])[1] for i in range(0, len(z), BATCH)])
        products = -slopes * (z - z.mean(axis=0))
        products = products.reshape(2, -1, len(mean)).mean(axis=0)  # a draw and its mirror image count as one
        stein, error = products.mean(axis=0), products.std(axis=0) / np.sqrt(len(products))
        log_q = np.concatenate(
            [-0.5 * np.asarray(lengths(kernel, mean, around[i : i + BATCH])) for i in range(0, len(z), BATCH)]
        )
        judged = weigh(posterior, z, z, log_q, len(z), log_q, normalised=False)
        messages: tuple[str, ...] = ()
        log_weights = None
        sound = True
        if not method.bent:
            sound, messages = judge(posterior, judged, method.correction, "sf.NUTS()")
            log_weights = judged.own.smoothed if method.correction == "psis" else None
        off = np.abs(stein - 1.0) - 5.0 * error
        worst = int(np.argmax(off))
        if off[worst] > _WORST_STEIN:
            sound = False
            how = "narrow: over-confident" if stein[worst] < 1.0 else "wide"
            messages = (
                f"Stein's identity is {stein[worst]:.2f} instead of 1 for {coordinate_names(posterior)[worst]}: the "
                f"draws are too {how}; use sf.NUTS()",
                *messages,
            )
        if method.bent and method.correction == "psis":
            messages = (
                *messages,
                "the density of geoVI's draws is not known in so many dimensions: they are not weighted, and judged by "
                "Stein's identity instead of k-hat",
            )
        rivals = np.abs(state.rivals - z.mean(axis=0)) / z.std(axis=0)
        others = np.any(rivals > _FAR, axis=1)
        if np.any(others):
            sound = False
            where = int(np.argmax(np.max(rivals[others], axis=0)))
            messages = (
                f"the search found {1 + int(others.sum())} centres of comparable mass, {np.max(rivals):.1f} sd apart "
                f"in {coordinate_names(posterior)[where]}, and the draws are about one of them; use sf.NUTS()",
                *messages,
            )
        unsolved = float(np.mean(missed > _MISS))
        settled = state.moved <= method.tolerance
        if unsolved > 0.01:
            messages = (f"{100 * unsolved:.0f}% of the samples do not solve their equation; use sf.NUTS()", *messages)
        if not settled:
            messages = (f"the mean still moves by {state.moved:.3f} sd: raise rounds", *messages)
        numbers = judged.diagnostics()
        return Draws(
            method=method.name,
            sampler="conjugate gradients",
            latent=z[None],
            log_likelihood=judged.own.log_likelihood[None],
            log_weights=None if log_weights is None else log_weights[None],
            converged=sound and settled and unsolved <= 0.01,
            messages=messages,
            seed=seed,
            evaluations=state.steps + drawing + 4 * len(z),
            gradients=state.steps + drawing + 3 * len(z),
            best=z[int(np.argmax(judged.own.log_likelihood))],
            mode=state.mode,
            diagnostics={
                **({k: numbers[k] for k in ("khat", "effective", "efficiency")} if not method.bent else {}),
                "stein": stein,
                "stein_error": error,
                "rounds": state.rounds,
                "moved": state.moved,
                "unsolved": unsolved,
            },
            seconds=clock.seconds(),
        )
