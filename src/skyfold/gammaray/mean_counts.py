"""Mean counts that every component of a model sends into the fitted pixels, for many draws at once."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.gammaray.maps import CountsMap
from skyfold.results.result import Result


class _MeanCounts(eqx.Module):
    """Mean counts of components (n_parts, n_data), or their sums (n_parts,)."""

    sky: CountsMap
    paths: tuple[Any, ...] = eqx.field(static=True)
    total: bool = eqx.field(static=True)

    def __call__(self, model: Any) -> jax.Array:
        from skyfold.terms import select

        rows = jnp.stack([self.sky.contribution(select(model, path), None) for path in self.paths])
        return jnp.sum(rows, axis=1) if self.total else rows


def counts_map(result: Result, name: str | None = None) -> tuple[str, CountsMap]:
    """Name and counts map of an observation of a result, by default of the first counts map.

    Raises
    ------
    SkyfoldError
        If there is none of this name.
    """
    pairs = result.posterior.pairs
    skies = {n: o for n, (_, o) in pairs.items() if isinstance(o, CountsMap)}
    chosen = next(iter(skies), None) if name is None else name
    if chosen is None or chosen not in skies:
        raise SkyfoldError(f"'{chosen}' is no counts map of this result; there are {', '.join(skies) or 'none'}.")
    return chosen, skies[chosen]


def mean_counts(result: Result, latent: Any, name: str | None = None, *, total: bool = False) -> dict[str, np.ndarray]:
    """Mean counts of every component in the fitted pixels, point sources included.

    Parameters
    ----------
    result : a fit of counts maps.
    latent : (n, ndim) latent vectors.
    name : observation, default the first counts map.
    total : sum over pixels.

    Returns
    -------
    dict of (n, n_data) or, for the sums, (n,) arrays by the component's name
    """
    from skyfold.results.contributions import term_paths
    from skyfold.results.evaluation import apply

    posterior = result.posterior
    name, sky = counts_map(result, name)
    paths = term_paths(posterior, name)
    found = apply(posterior, np.asarray(latent), _MeanCounts(sky, tuple(paths.values()), total), name)
    return {part: found[:, row] for row, part in enumerate(paths)}
