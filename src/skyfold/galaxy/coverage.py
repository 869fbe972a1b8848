"""What data see of a galaxy must lie on the populations' wavelengths, at every redshift that the prior allows.

This is the one rule for bands and pixels: no more than a thousandth of what a datum sees may lie beyond.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.galaxy.cosmology import Z_MAX
from skyfold.parameters import Parameter, is_symbol, parameters_in, substitute

#: Share of what a datum sees that may lie beyond the populations' wavelengths.
BEYOND = 1e-3
#: Latent coordinate beyond which double precision has no draws, and the most parameters of a tie that are all tried.
_FAR, _TRIED = 8.2, 8


class Reach(NamedTuple):
    """Observed wavelengths that populations cover at a redshift, Angstrom."""

    redshift: float
    first: float
    last: float


def redshift_range(redshift: Any) -> tuple[float, float]:
    """Lowest and highest value of a number, parameter or expression.

    A prior without a limit ends where no draw in double precision lies; an expression is tried at the ends of all its
    parameters.
    """
    if not is_symbol(redshift):
        return float(np.min(redshift)), float(np.max(redshift))
    if isinstance(redshift, Parameter):
        limits = redshift.prior.support()
        if not any(is_symbol(x) for x in limits) and np.all(np.isfinite(np.concatenate([np.ravel(x) for x in limits]))):
            return float(np.min(limits[0])), float(np.max(limits[1]))
    tokens = list({p.token: None for p in parameters_in(redshift)})

    def at(node: Any, ends: dict[int, float], known: dict[int, Any]) -> Any:
        if node.token not in known:
            prior = substitute(node.prior, partial(at, ends=ends, known=known))
            known[node.token] = prior.transport(jnp.full(prior.latent_shape, ends.get(node.token, 0.0)))
        return known[node.token]

    values = []
    for ends in product((-_FAR, _FAR), repeat=min(len(tokens), _TRIED)):
        draw = partial(at, ends=dict(zip(tokens, ends, strict=False)), known={})
        values.append(np.asarray(substitute([redshift], draw)[0]))
    return float(np.min([v.min() for v in values])), float(np.max([v.max() for v in values]))


def reaches(model: Any, redshifts: tuple[float, float] | None = None) -> list[Reach]:
    """Wavelengths that a galaxy's populations cover at the lowest and the highest redshift that it may have.

    By default these follow from its prior. Empty where the redshift is traced, and for models without populations.

    Raises
    ------
    SkyfoldError
        If the redshift may be -1 or less, or be beyond the tables of distance and age where these follow from it.
    """
    ssp = getattr(model, "ssp", None)
    if ssp is None or any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((model.redshift, ssp.wave))):
        return []
    low, high = redshift_range(model.redshift) if redshifts is None else redshifts
    if low <= -1.0:
        raise SkyfoldError(f"A galaxy's redshift may be {low:g}, and must be above -1. Give its prior limits.")
    if high > Z_MAX and (model.distance is None or model.age is None):
        raise SkyfoldError(
            f"A galaxy's redshift may be {high:g}, and distances and ages are known up to {Z_MAX:g}. Give its prior "
            "limits, or both distance= and age=."
        )
    wave = np.asarray(ssp.wave)
    return [Reach(z, float(wave[0]) * (1.0 + z), float(wave[-1]) * (1.0 + z)) for z in dict.fromkeys((low, high))]


def check_bands(model: Any, filters: Any, redshifts: tuple[float, float] | None = None) -> None:
    """Refuse bands that reach beyond a galaxy's populations.

    Raises
    ------
    SkyfoldError
        If more than a thousandth of a filter's light does.
    """
    for reach in reaches(model, redshifts):
        for f in filters:
            # weights of a spectrum that is linear between two wavelengths add up to the share between them
            covered = float(f.weights(np.array([reach.first, reach.last])).sum())
            what = f"Filter '{f.name}' ({f.wave[0]:.0f} to {f.wave[-1]:.0f} Angstrom)"
            _refuse(what, covered >= 1.0 - BEYOND, reach, f", which cover {100 * covered:.1f}% of it", "the band")


def check_pixels(name: str, model: Any, edges: Callable[[], tuple[np.ndarray, np.ndarray]]) -> None:
    """Refuse pixels that reach beyond a galaxy's populations.

    Parameters
    ----------
    name : of the spectrum.
    model : galaxy.
    edges : gives the wavelengths, Angstrom (n_pixel,), between which each pixel sees all but a thousandth of its light.

    Raises
    ------
    SkyfoldError
        If a pixel does.
    """
    for reach in reaches(model):
        low, high = edges()
        out = np.flatnonzero((low < reach.first * (1 - 1e-12)) | (high > reach.last * (1 + 1e-12)))
        if out.size:
            span = f"{low[out].min():.0f} to {high[out].max():.0f} Angstrom"
            what = f"'{name}': {out.size} of {low.size} pixels (the first of them number {out[0]}, all in {span})"
            _refuse(what, False, reach, "", "these pixels")


def _refuse(what: str, covered: bool, reach: Reach, share: str, part: str) -> None:
    if not covered:
        raise SkyfoldError(
            f"{what} reaches beyond the populations' wavelengths ({reach.first:.0f} to {reach.last:.0f} Angstrom at "
            f"redshift {reach.redshift:g}{share}). Leave out {part}, narrow the prior of the redshift, or use a grid "
            "with more wavelengths."
        )
