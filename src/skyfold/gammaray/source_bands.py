"""Source-count functions of the draws of a posterior."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.results.result import Result

#: Quantiles of a band: 95%, 68%, median.
QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)
#: Counts of sources at which functions are computed.
_LOWEST, _HIGHEST, _POINTS = 0.1, 300.0, 200


class _Density(eqx.Module):
    """S dN/dS of populations, (n_populations, n_points)."""

    log_s: np.ndarray
    paths: tuple[Any, ...] = eqx.field(static=True)

    def __call__(self, model: Any) -> jax.Array:
        from skyfold.terms import select

        parts: list[Any] = [select(model, path, factors=False) for path in self.paths]
        return jnp.stack([part.source_count().density(jnp.asarray(self.log_s)) for part in parts])


def populations(result: Result, name: str | None = None) -> dict[str, tuple[Any, ...]]:
    """Names of the populations of point sources in the model of a counts map, and their paths in it."""
    from skyfold.gammaray.mean_counts import counts_map
    from skyfold.gammaray.point_sources import PointSources
    from skyfold.results.contributions import term_paths
    from skyfold.terms import select

    name, _ = counts_map(result, name)
    model = result.posterior.pairs[name][0]
    paths = term_paths(result.posterior, name)
    return {part: path for part, path in paths.items() if isinstance(select(model, path, factors=False), PointSources)}


def bands(result: Result, name: str | None = None, draws: int = 500) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Quantiles of S dN/dS (sources per pixel and unit of ln S) of every population.

    Parameters
    ----------
    result : a fit of a counts map with point sources.
    name : observation, default the first counts map.
    draws : draws of the posterior.

    Returns
    -------
    dict of S (n_points,) in counts, and quantiles (5, n_points) at `QUANTILES`, by component

    Raises
    ------
    SkyfoldError
        If the model has no populations of point sources.
    """
    from skyfold.gammaray.mean_counts import counts_map
    from skyfold.results.evaluation import apply

    name, sky = counts_map(result, name)
    paths = populations(result, name)
    if not paths:
        raise SkyfoldError(f"The model of '{name}' has no populations of point sources, so it has no source counts.")
    support = sky.blur.s_range if sky.blur is not None else None
    low, high = (_LOWEST, _HIGHEST) if support is None else support
    s = np.geomspace(low, high, _POINTS)
    latent = result.equal_weight_latent(1 if result.draws.is_point else draws)
    found = apply(result.posterior, latent, _Density(np.log(s), tuple(paths.values())), name)
    return {part: (s, np.quantile(found[:, row], QUANTILES, axis=0)) for row, part in enumerate(paths)}
