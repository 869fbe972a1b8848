"""Contributions: the pieces of light that a model adds up, each with the factors that act on it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.kernel import Kernel
from skyfold.posterior import Posterior
from skyfold.results.evaluation import resolve
from skyfold.terms import select, terms
from skyfold.wording import unknown_name


def term_paths(posterior: Posterior, observation: str) -> dict[str, tuple[Any, ...]]:
    """Names and paths of the additive components of one observation's model; empty where it is multiplicative."""
    number = list(posterior.pairs).index(observation)
    model, _ = posterior.pairs[observation]
    found: dict[str, tuple[Any, ...]] = {}
    if model.kind != "additive":
        return found
    for term in terms(model):
        base = name = posterior.component_names.get((number, term.path), term.component.name or "component")
        count = 1
        while name in found:
            count += 1
            name = f"{base}_{count}"
        found[name] = term.path
    return found


def find(posterior: Posterior, component: str | None, observation: str | None) -> tuple[str, tuple[Any, ...] | None]:
    """Observation whose model holds a component, and the component's path in it (None for the whole model).

    Raises
    ------
    SkyfoldError
        If there is no such observation or component.
    """
    if observation is not None and observation not in posterior.pairs:
        raise unknown_name(observation, posterior.pairs, "observation")
    if component is None:
        return observation or next(iter(posterior.pairs)), None
    names: list[str] = []
    for name in posterior.pairs if observation is None else (observation,):
        paths = term_paths(posterior, name)
        if component in paths:
            return name, paths[component]
        names += [n for n in paths if n not in names]
    if component in (n for (number, _), n in posterior.component_names.items() if number < len(posterior.pairs)):
        raise SkyfoldError(
            f"'{component}' is multiplicative and has no light of its own; choose among {', '.join(names)}."
        )
    raise unknown_name(component, names, "additive component")


def folded(posterior: Posterior, latent: Any, observation: str) -> dict[str, np.ndarray]:
    """What each additive component of one observation's model adds to the expected data (n_data,), by name.

    Parameters
    ----------
    latent : (ndim,) latent vector.

    Returns
    -------
    dict
        Empty where the model is a single component.
    """
    paths = term_paths(posterior, observation)
    if len(paths) < 2:
        return {}
    number = list(posterior.pairs).index(observation)
    parts = _folded(number, tuple(paths.values()), posterior.kernel, latent)
    return dict(zip(paths, map(np.asarray, parts), strict=True))


@jax.jit(static_argnums=(0, 1))
def _folded(number: int, paths: tuple[tuple[Any, ...], ...], kernel: Kernel, z: Any) -> tuple[jax.Array, ...]:
    model, observation = resolve(kernel, number, z)
    whole = observation.predict(model)
    return tuple(observation.contribution(select(model, path), whole) for path in paths)
