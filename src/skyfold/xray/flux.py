"""Flux and luminosity of X-ray models in a band, from a result."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.results.contributions import find
from skyfold.results.derived import Derived
from skyfold.results.evaluation import apply
from skyfold.results.result import Result
from skyfold.terms import select
from skyfold.xray.units import kev
from skyfold.xray.wider_grid import widened

#: 1 keV in erg, exact in the SI of 2019.
ERG_PER_KEV = 1.602176634e-9
#: Centimetres in a megaparsec.
CM_PER_MPC = 3.0856775814913673e24

#: Bins of the grid on which a flux is added up; a band is divided into several such grids until halving the bins
#: changes the flux of no draw by more than `TOLERANCE`.
BINS = 512
TOLERANCE = 1e-5
_MOST_PIECES = 32


class BandFlux(eqx.Module):
    """Photon or energy flux of a part of a model between the ends of a grid.

    Parameters
    ----------
    edges : (n + 1,) keV, all that the model is evaluated on.
    inside : first and last but one of its bins that lie in the band.
    path : path of one additive component, None for the whole model.
    absorbed : keep the multiplicative components.
    photons : photons/cm^2/s rather than erg/cm^2/s.
    """

    edges: np.ndarray
    inside: tuple[int, int] = eqx.field(static=True)
    path: tuple[Any, ...] | None = eqx.field(static=True)
    absorbed: bool = eqx.field(static=True)
    photons: bool = eqx.field(static=True)

    def __call__(self, model: Any) -> jax.Array:
        band = slice(*self.inside)
        flux = select(model, self.path, factors=self.absorbed).evaluate(self.edges)[band]
        if self.photons:
            return jnp.sum(flux)
        return jnp.sum(flux * 0.5 * (self.edges[1:] + self.edges[:-1])[band]) * ERG_PER_KEV


def flux(
    result: Result,
    low: Any,
    high: Any,
    *,
    component: str | None = None,
    absorbed: bool = True,
    photons: bool = False,
    observation: str | None = None,
) -> Derived:
    """Flux between two observed energies; parameters as in `skyfold.results.result.Result.flux`."""
    name, path = find(result.posterior, component, observation)
    low, high = kev(low, "end of a band"), kev(high, "end of a band")
    if not 0 < low < high < np.inf:
        raise SkyfoldError(
            f"A flux needs a band of positive, finite, increasing energies in keV, not {low:g} .. {high:g}."
        )
    values = _flux(result, low, high, path, absorbed, photons, name)
    what = component or "whole model"
    left_out = [] if absorbed else _left_out(result.posterior.pairs[name][0], path)
    note = f"without {', '.join(left_out)}" if left_out else ""
    unit = "ph / (cm2 s)" if photons else "erg / (cm2 s)"
    return Derived(f"{'photon' if photons else 'energy'} flux {low:g}-{high:g} keV, {what}", unit, values, note)


def luminosity(
    result: Result,
    low: Any,
    high: Any,
    redshift: float | None = None,
    distance: Any = None,
    component: str | None = None,
    *,
    observation: str | None = None,
    cosmology: Any = None,
) -> Derived:
    r"""Luminosity between two rest-frame energies, absorption removed.

    .. math:: L = 4 \pi d_L^2 F\left(\frac{E_1}{1+z}, \frac{E_2}{1+z}\right)

    Parameters as in `skyfold.results.result.Result.luminosity`.
    """
    z = 0.0 if redshift is None else _finite(redshift, "redshift")
    if not z > -1.0:
        raise SkyfoldError(f"The redshift {z:g} is impossible: it must lie above -1.")
    centimetres, how = _distance(redshift, distance, cosmology)
    low, high = kev(low, "end of a band"), kev(high, "end of a band")
    observed = flux(result, low / (1 + z), high / (1 + z), component=component, absorbed=False, observation=observation)
    values = observed.values * 4.0 * np.pi * centimetres**2
    note = "; ".join(n for n in (observed.note, how) if n)
    name = f"luminosity {low:g}-{high:g} keV (rest frame), {component or 'whole model'}"
    return Derived(name, "erg / s", values, note)


def _flux(
    result: Result, low: float, high: float, path: tuple[Any, ...] | None, absorbed: bool, photons: bool, name: str
) -> np.ndarray:
    latent = result.equal_weight_latent()
    model = result.posterior.pairs[name][0]

    def one(z: np.ndarray, edges: np.ndarray) -> np.ndarray:
        wider, inside = widened(model, edges)
        ends = (inside.start, inside.stop)
        return apply(result.posterior, z, BandFlux(wider, ends, path, absorbed, photons), name)

    def total(z: np.ndarray, pieces: int) -> np.ndarray:
        ends = np.geomspace(low, high, pieces + 1)
        parts = (np.geomspace(a, b, BINS + 1) for a, b in zip(ends[:-1], ends[1:], strict=True))
        return np.sum([one(z, edges) for edges in parts], axis=0)

    few = latent[:: max(len(latent) // 64, 1)]
    pieces, coarse = 1, total(few, 1)
    while pieces < _MOST_PIECES:
        fine = total(few, 2 * pieces)
        if np.all(np.abs(fine - coarse) <= TOLERANCE * np.abs(fine)):
            break
        pieces, coarse = 2 * pieces, fine
    values = total(latent, pieces)
    if not np.all(np.isfinite(values)):
        raise SkyfoldError(
            f"The flux between {low:g} and {high:g} keV is not finite for {np.sum(~np.isfinite(values))} of "
            f"{len(values)} draws; choose a band in which the model is defined."
        )
    return values


def _left_out(model: Any, path: tuple[Any, ...] | None) -> list[str]:
    from skyfold.terms import terms

    factors = (f for t in terms(model) if path is None or t.path == path for f in t.factors)
    return list(dict.fromkeys(repr(f) for f in factors if not getattr(f, "intrinsic", False)))


def _distance(redshift: float | None, distance: Any, cosmology: Any) -> tuple[float, str]:
    """Luminosity distance in cm, and how it was found."""
    if distance is not None:
        megaparsecs = _megaparsecs(distance)
        if not 0 < megaparsecs < np.inf:
            raise SkyfoldError(f"The distance {distance!r} of a luminosity must be positive and finite.")
        shown = f"{distance:g}" if hasattr(distance, "unit") else f"{megaparsecs:g} Mpc"
        return megaparsecs * CM_PER_MPC, f"distance {shown}"
    if redshift is None or not redshift > 0:
        raise SkyfoldError("A luminosity needs a positive redshift, or a distance (Mpc or an astropy Quantity).")
    import astropy.units as u

    if cosmology is None:
        from astropy.cosmology import Planck18

        cosmology = Planck18
    return float(cosmology.luminosity_distance(redshift).to_value(u.cm)), f"z = {redshift:g}, {cosmology.name}"


def _megaparsecs(distance: Any) -> float:
    if hasattr(distance, "unit"):
        import astropy.units as u

        try:
            return float(distance.to_value(u.Mpc))
        except (u.UnitConversionError, TypeError):
            raise SkyfoldError(f"{distance!r} is no distance; give Mpc or an astropy Quantity of length.") from None
    return _finite(distance, "distance")


def _finite(value: Any, what: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise SkyfoldError(f"The {what} {value!r} is not a number.") from None
    if not np.isfinite(number):
        raise SkyfoldError(f"The {what} {value!r} is not finite.")
    return number
