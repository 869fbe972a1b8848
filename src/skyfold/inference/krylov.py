"""Krylov: MGVI and geoVI for many latent dimensions, by products of the metric with vectors only.

Samples are got as Knollmueller & Ensslin (2019) do: white noise of data and prior is pulled back to a vector whose
covariance is the metric, and conjugate gradients apply the inverse. No determinant is known, so there is no evidence.
Besides the weights' k-hat (MGVI only: geoVI's density needs a determinant for every draw) the draws are judged by
Stein's identity, -E[(z - E z) d ln p/dz] = 1 for every coordinate of draws of p; below 1 they are too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compilation import jit
from skyfold.errors import SkyfoldError
from skyfold.inference.checkpoint import Checkpoint
from skyfold.inference.clock import Clock
from skyfold.inference.coordinates import coordinate_names
from skyfold.inference.correction import judge, weigh
from skyfold.inference.draws import Draws
from skyfold.inference.straight import lift
from skyfold.kernel import Kernel

if TYPE_CHECKING:
    from skyfold.posterior import Posterior

#: Relative residual at which conjugate gradients end, and most of their steps.
_TOLERANCE, _ITERATIONS = 1e-5, 500
#: Steps by which geoVI's samples are solved for, and their residual in sds that counts as a miss.
_CHORDS, _MISS = 12, 0.01
#: Newton steps to the mode, from the middle of the prior.
_CLIMB = 50
#: Draws per call of the executables.
_BATCH = 64
#: Departure from Stein's identity that is reported, beyond five standard errors.
_WORST_STEIN = 0.2


@dataclass(frozen=True)
class Large:
    """MGVI or geoVI (`method`) of a posterior with many latent dimensions."""

    method: Any
    posterior: Posterior

    def __call__(self, seed: int, progress: Any, checkpoint: Checkpoint) -> Draws:
        clock = Clock()
        method, posterior = self.method, self.posterior
        if method.correction == "mcmc":
            raise SkyfoldError(
                f'{method.name} has no correction="mcmc" for {posterior.ndim} latent dimensions; use "none" or "psis", '
                "or sf.NUTS()."
            )
        state: dict[str, Any] = dict(checkpoint.load() or self._started(progress))
        progress.stage("moving the mean", method.rounds)
        while state["moved"] > method.tolerance and state["rounds"] < method.rounds:
            start = np.asarray(state["mean"])
            offsets, _, drawing = self._samples(start, method.pairs, np.random.default_rng([seed, 23]))
            mean, steps = self._descend(start, offsets, method.newton)
            moved = mean - start
            product = np.asarray(applied(posterior.kernel, start, moved))
            state.update(
                mean=mean,
                moved=float(np.sqrt(moved @ product / len(mean))),
                rounds=int(state["rounds"]) + 1,
                steps=int(state["steps"]) + steps + drawing,
            )
            progress.update(float(state["rounds"]), f"moved by {float(state['moved']):.3f} sd")
            checkpoint.save(**state)
        return self._draws(state, seed, progress, clock)

    def _started(self, progress: Any) -> dict[str, Any]:
        progress.stage("climbing")
        start = np.zeros(self.posterior.ndim)
        if not np.isfinite(float(divergence(self.posterior.kernel, start[None])[0])):
            raise SkyfoldError("The likelihood is not finite in the middle of the prior, where MGVI starts.")
        mode, steps = self._descend(start, np.zeros((1, len(start))), _CLIMB)
        return {"mean": mode, "mode": mode, "moved": np.inf, "rounds": 0, "steps": steps}

    def _descend(self, mean: np.ndarray, offsets: np.ndarray, most: int) -> tuple[np.ndarray, int]:
        """Newton steps of the mean (ndim,), samples at fixed offsets, and what they cost."""
        kernel = self.posterior.kernel
        cost = 0
        for _ in range(most):
            value, gradient, change, products = (np.asarray(a) for a in newton(kernel, mean + offsets))
            cost += len(offsets) * (1 + 2 * int(products))
            promise, size = float(gradient @ change), 1.0
            if promise < 1e-2 * self.method.tolerance**2 * len(mean):
                break
            while not divergence(kernel, mean + size * change + offsets)[0] > value + 1e-4 * size * promise:
                size *= 0.3
                cost += len(offsets)
                if size < 1e-3:
                    return mean, cost
            mean = mean + size * change
        return mean, cost

    def _samples(self, mean: np.ndarray, pairs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
        """Antithetic offsets (2 pairs, ndim) from the mean, residuals of their equations (2 pairs,), and what it took.

        A product with the metric counts as two evaluations with a derivative: one forward, one backward.
        """
        sizes = [o.n_data for _, o in self.posterior.pairs.values()]
        offsets, missed, cost = [], [], 0
        for _ in range(0, pairs, _BATCH):
            data = tuple(rng.standard_normal((_BATCH, n)) for n in sizes)
            prior = rng.standard_normal((_BATCH, len(mean)))
            found, miss, products = drawn(self.posterior.kernel, mean, data, prior, bent=self.method.bent)
            cost += 2 * int(products)
            offsets.append(np.asarray(found))
            missed.append(np.asarray(miss))
        both, miss = np.concatenate(offsets, axis=1)[:, :pairs], np.concatenate(missed, axis=1)[:, :pairs]
        return both.reshape(-1, len(mean)), miss.ravel(), cost

    def _draws(self, state: dict[str, Any], seed: int, progress: Any, clock: Clock) -> Draws:
        method, posterior = self.method, self.posterior
        mean = np.asarray(state["mean"])
        progress.stage("drawing")
        offsets, missed, drawing = self._samples(mean, method.draws // 2, np.random.default_rng([seed, 24]))
        z = mean + offsets
        kernel = posterior.kernel
        slopes = np.concatenate([divergence(kernel, z[i : i + _BATCH])[1] for i in range(0, len(z), _BATCH)])
        products = -slopes * (z - z.mean(axis=0))
        products = products.reshape(2, -1, len(mean)).mean(axis=0)  # a draw and its mirror image count as one
        stein, error = products.mean(axis=0), products.std(axis=0) / np.sqrt(len(products))
        log_q = np.concatenate(
            [-0.5 * np.asarray(lengths(kernel, mean, offsets[i : i + _BATCH])) for i in range(0, len(z), _BATCH)]
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
        unsolved = float(np.mean(missed > _MISS))
        settled = bool(state["moved"] <= method.tolerance)
        if unsolved > 0.01:
            messages = (f"{100 * unsolved:.0f}% of the samples do not solve their equation; use sf.NUTS()", *messages)
        if not settled:
            messages = (f"the mean still moves by {float(state['moved']):.3f} sd: raise rounds", *messages)
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
            evaluations=int(state["steps"]) + drawing + 4 * len(z),
            gradients=int(state["steps"]) + drawing + 3 * len(z),
            best=z[int(np.argmax(judged.own.log_likelihood))],
            mode=np.asarray(state["mode"]),
            diagnostics={
                **({k: numbers[k] for k in ("khat", "effective", "efficiency")} if not method.bent else {}),
                "stein": stein,
                "stein_error": error,
                "rounds": int(state["rounds"]),
                "moved": float(state["moved"]),
                "unsolved": unsolved,
            },
            seconds=clock.seconds(),
        )


# -- compiled --------------------------------------------------------------------------------------------------------


def _metric_at(kernel: Kernel, centre: jax.Array) -> tuple[Any, Any, Any]:
    """Product with the metric at a point, pull-back of data vectors, and roots of the data's Fisher information."""
    middle, push = jax.linearize(kernel.expected, centre)
    pull = jax.linear_transpose(push, centre)
    fisher = tuple(o.fisher(m) for o, m in zip(kernel.observations(centre), middle, strict=True))

    def product(v: jax.Array) -> jax.Array:
        return v + pull(tuple(f * t for f, t in zip(fisher, push(v), strict=True)))[0]

    return product, pull, tuple(jnp.sqrt(f) for f in fisher)


def _inverse(product: Any, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Inverse of the metric times v (ndim,) by conjugate gradients, and how many products that took."""
    enough = _TOLERANCE**2 * (v @ v)

    def unfinished(state: Any) -> jax.Array:
        count, _, _, _, square = state
        return (count < _ITERATIONS) & (square > enough)

    def step(state: Any) -> Any:
        count, x, left, direction, square = state
        image = product(direction)
        along = square / jnp.maximum(direction @ image, 1e-300)
        x, left = x + along * direction, left - along * image
        new = left @ left
        return count + 1, x, left, left + new / jnp.maximum(square, 1e-300) * direction, new

    count, x, *_ = jax.lax.while_loop(unfinished, step, (0, jnp.zeros_like(v), v, v, v @ v))
    return x, jnp.asarray(count)


@jit
def applied(kernel: Kernel, centre: jax.Array, v: jax.Array) -> jax.Array:
    """Metric at a centre times a vector (ndim,)."""
    return _metric_at(kernel, centre)[0](v)


@jit
def lengths(kernel: Kernel, centre: jax.Array, v: jax.Array) -> jax.Array:
    """Squared lengths (n,) of vectors (n, ndim) by the metric at a centre."""
    product = _metric_at(kernel, centre)[0]
    return jnp.sum(v * jax.vmap(product)(v), axis=1)


@jit
def divergence(kernel: Kernel, points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean log density over points (n, ndim), and its gradient at each."""
    value, gradient = jax.vmap(jax.value_and_grad(kernel.log_density))(points)
    return jnp.mean(value), gradient


@jit
def newton(kernel: Kernel, points: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Mean log density over points (n, ndim), its gradient, the Newton step by the mean metric, and its products."""
    value, gradient = jax.vmap(jax.value_and_grad(kernel.log_density))(points)
    mean = jnp.mean(gradient, axis=0)
    middle, push = jax.linearize(jax.vmap(kernel.expected), points)
    pull = jax.linear_transpose(push, points)
    fisher = jax.vmap(lambda z, m: tuple(o.fisher(e) for o, e in zip(kernel.observations(z), m, strict=True)))(
        points, middle
    )

    def product(v: jax.Array) -> jax.Array:
        pushed = push(jnp.broadcast_to(v, points.shape))
        return v + jnp.mean(pull(tuple(f * t for f, t in zip(fisher, pushed, strict=True)))[0], axis=0)

    return jnp.mean(value), mean, *_inverse(product, mean)


@partial(jit, static_argnames="bent")
def drawn(
    kernel: Kernel, mean: jax.Array, data: tuple[jax.Array, ...], prior: jax.Array, *, bent: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Offsets (2, n, ndim) of samples and their mirror images from white noise, residuals in sds (2, n), products."""
    product, pull, roots = _metric_at(kernel, mean)

    def image(z: jax.Array) -> jax.Array:
        return z - mean + pull(tuple(r * x for r, x in zip(roots, lift(kernel, mean, z), strict=True)))[0]

    def one(data: tuple[jax.Array, ...], prior: jax.Array, sign: float) -> tuple[jax.Array, jax.Array, jax.Array]:
        vector = sign * (prior + pull(tuple(r * n for r, n in zip(roots, data, strict=True)))[0])
        offset, products = _inverse(product, vector)
        if not bent:
            left = vector - product(offset)
            return offset, jnp.sqrt(jnp.mean(left * left)), products + 1

        def chord(_: int, state: Any) -> Any:
            z, products = state
            change, more = _inverse(product, image(z) - vector)
            return z - change, products + more + 1

        z, products = jax.lax.fori_loop(0, _CHORDS, chord, (mean + offset, products))
        left = image(z) - vector
        inverse, more = _inverse(product, left)
        return z - mean, jnp.sqrt(jnp.maximum(left @ inverse, 0.0) / left.size), products + more + 1

    both = [jax.vmap(partial(one, sign=sign))(data, prior) for sign in (1.0, -1.0)]
    return jnp.stack([b[0] for b in both]), jnp.stack([b[1] for b in both]), jnp.sum(jnp.stack([b[2] for b in both]))
