"""Ascent: raises the evidence lower bound of a guide by stochastic gradients, in calls of one executable."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.errors import SkyfoldError
from skyfold.inference.frames.whitened import Bend, Frame, log_density
from skyfold.inference.running import RunState
from skyfold.inference.search.quasirandom import normal_points
from skyfold.inference.variational.guides import FAMILIES, FullRank, Guide, LowRank, MeanField, log_normal
from skyfold.kernel import Kernel

#: Steps of the optimiser per call of the executable; the ELBO is smoothed over as many.
STEPS = 50
#: Factor by which the step size falls when the ELBO no longer rises, and how often it may.
_FALL, _FALLS = 0.3, 3
#: Gradient of the ELBO, in units of the Laplace approximation, that is too small to follow: Adam leaves noise be.
_SMALL = 1e-3


@dataclass(frozen=True)
class Optimiser:
    """AdamW after clipping, with a step size that is given at every step."""

    clip: float
    weight_decay: float

    def transformation(self) -> Any:
        """Optax's chain; the step size multiplies what it gives."""
        import optax

        return optax.chain(
            optax.clip_by_global_norm(self.clip),
            optax.scale_by_adam(b2=0.99, eps=_SMALL),
            optax.add_decayed_weights(self.weight_decay),
            optax.scale(-1.0),
        )


def first_state(method: Any, frame: Frame) -> dict[str, Any]:
    """What an ascent that begins adds to the state of a run: the guide, its average, Adam's moments and the rule's."""
    guide, root = first_guide(method, frame)
    leaves = jax.tree.leaves(guide)
    return {
        "unit": frame.bend.unit,
        "scale": frame.bend.scale,
        "mean": frame.mean,
        "root": root,
        "frame": frame.root,
        "history": np.empty(0),
        "rule": np.array([-np.inf, 0.0, 0.0]),
        **_numbered("guide", leaves),
        **_numbered("average", leaves),
        **_numbered("moments", jax.tree.leaves(method.optimiser.transformation().init(guide))),
    }


def _numbered(name: str, leaves: list[Any]) -> dict[str, Any]:
    return {f"{name}{i}": leaf for i, leaf in enumerate(leaves)}


class Ascent(RunState):
    """State of the optimisation, and what makes arrays of it and back."""

    modes: np.ndarray
    values: np.ndarray
    metrics: np.ndarray
    masses: np.ndarray
    covariances: np.ndarray
    best: np.ndarray
    unseen: np.ndarray
    unit: np.ndarray
    scale: np.ndarray
    mean: np.ndarray
    root: np.ndarray
    frame: np.ndarray
    spent: int
    history: np.ndarray  # ELBO of each chunk of steps
    rule: np.ndarray  # (3,) the highest ELBO, chunks waited since, falls of the rate

    def __init__(self, method: Any, state: dict[str, Any]) -> None:
        super().__init__(**state)
        self.method = method
        self.highest, waited, falls = (float(x) for x in self.rule)
        self.waited, self.falls = int(waited), int(falls)
        first, _ = first_guide(method, Frame(self.bend, self.mean, self.frame))
        moments = method.optimiser.transformation().init(first)
        self.current = self._restored("guide", first, state)
        self.guide: Guide = self._restored("average", first, state)
        self.moments = self._restored("moments", moments, state)

    @staticmethod
    def _restored(name: str, like: Any, state: dict[str, Any]) -> Any:
        leaves, structure = jax.tree.flatten(like)
        return jax.tree.unflatten(structure, [jnp.asarray(state[f"{name}{i}"]) for i in range(len(leaves))])

    def state(self) -> dict[str, Any]:
        """Everything the run needs to go on, as arrays."""
        self.rule = np.array([self.highest, self.waited, self.falls])
        return {
            **super().state(),
            **_numbered("guide", jax.tree.leaves(self.current)),
            **_numbered("average", jax.tree.leaves(self.guide)),
            **_numbered("moments", jax.tree.leaves(self.moments)),
        }

    @property
    def bend(self) -> Bend:
        return Bend(self.unit, self.scale)

    @property
    def done(self) -> int:
        """Calls of the executable so far."""
        return len(self.history)

    @property
    def settled(self) -> bool:
        return self.falls > _FALLS

    @property
    def finished(self) -> bool:
        return self.settled or self.done * STEPS >= self.method.steps

    def advance(self, kernel: Kernel, seed: int) -> None:
        """One chunk of steps, then the rule."""
        method = self.method
        rng = np.random.default_rng([seed, 11, self.done])
        ndim, half = len(self.mean), method._particles // 2
        base = normal_points(STEPS * half, ndim, rng).reshape(STEPS, half, ndim)
        self.current, self.moments, self.guide, value, error = _raise(
            kernel,
            self.bend,
            self.mean,
            self.root,
            self.current,
            self.moments,
            np.concatenate([base, -base], axis=1),
            self._rates(),
            optimiser=method.optimiser,
        )
        value, error = float(value), float(error)
        self.history = np.append(self.history, value)
        if value > self.highest + max(method.tolerance, error):
            self.highest, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= (method.patience or 1):
            self.waited, self.falls = 0, self.falls + 1

    def _rates(self) -> np.ndarray:
        method = self.method
        rates = np.full(STEPS, method.learning_rate * _FALL ** min(self.falls, _FALLS))
        if method.schedule == "cosine":
            step = self.done * STEPS + np.arange(STEPS)
            rates *= 0.5 * (1.0 + np.cos(np.pi * step / method.steps))
        return rates


@partial(jit, static_argnames="optimiser")
def _raise(
    kernel: Kernel,
    bend: Bend,
    mean: jax.Array,
    root: jax.Array,
    guide: Guide,
    moments: Any,
    base: jax.Array,
    rates: jax.Array,
    *,
    optimiser: Optimiser,
) -> tuple[Any, ...]:
    """Steps of the optimiser; the guide, its average over the steps, and the mean ELBO with its standard error."""
    transformation = optimiser.transformation()
    log_root = jnp.sum(jnp.log(jnp.diagonal(root)))

    def objective(guide: Guide, base: jax.Array) -> tuple[jax.Array, jax.Array]:
        def log_ratio(e: jax.Array) -> jax.Array:
            y, log_det = guide.forward(e)
            log_q = jax.lax.stop_gradient(guide).log_density(y) if guide.two_way else log_normal(e) - log_det
            return log_density(kernel, bend, mean + root @ y) + log_root - log_q

        ratios = jax.vmap(log_ratio)(base)
        return -jnp.mean(ratios), ratios

    def step(carry: tuple[Any, ...], given: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        guide, moments, total = carry
        base, rate = given
        gradient, ratios = jax.grad(objective, has_aux=True)(guide, base)
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradient)]))
        gradient = jax.tree.map(lambda g: jnp.where(finite, g, 0.0), gradient)
        change, moments = transformation.update(gradient, moments, guide)
        guide = jax.tree.map(lambda p, c: p + rate * c, guide, change)
        return (guide, moments, jax.tree.map(jnp.add, total, guide)), ratios

    guide = jax.tree.map(jnp.asarray, guide)
    nothing = jax.tree.map(jnp.zeros_like, guide)
    (guide, moments, total), ratios = jax.lax.scan(step, (guide, moments, nothing), (base, rates))
    average = jax.tree.map(lambda t: t / len(rates), total)
    good = jnp.isfinite(ratios)
    number = jnp.maximum(jnp.sum(good), 1)
    value = jnp.sum(jnp.where(good, ratios, 0.0)) / number
    scatter = jnp.sqrt(jnp.sum(jnp.where(good, (ratios - value) ** 2, 0.0)) / number)
    value = jnp.where(jnp.any(good), value, -jnp.inf)
    return guide, moments, average, value, scatter / jnp.sqrt(number)


def first_guide(method: Any, frame: Frame) -> tuple[Guide, np.ndarray]:
    """Guide of a method's family that is the Laplace approximation, or the best of its family, and its ``root``.

    Raises
    ------
    SkyfoldError
        If the family is unknown, or needs a package that is not installed.
    """
    ndim = len(frame.mean)
    if method.family == "fullrank":
        return FullRank.identity(ndim), frame.root
    if method.family == "flow":
        from skyfold.inference.variational.flows import first_flow

        return first_flow(method, ndim), frame.root
    inverse = np.linalg.inv(frame.root)
    conditional = 1.0 / np.sqrt(np.sum(inverse**2, axis=0))
    if method.family == "meanfield":
        return MeanField.identity(ndim), np.diag(conditional)
    if method.family == "lowrank":
        scaled = frame.root / conditional[:, None]
        return LowRank.of(scaled @ scaled.T, min(method.rank, ndim)), np.diag(conditional)
    raise SkyfoldError(f"The families are {', '.join(FAMILIES)}; got {method.family!r}.")
