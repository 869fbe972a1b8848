"""Derived quantities: what follows from the parameters, with its posterior."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from skyfold.errors import SkyfoldError, SkyfoldWarning
from skyfold.inference.running import Draws
from skyfold.observation import Observation
from skyfold.posterior import Posterior
from skyfold.results.notation import interval, with_errors
from skyfold.results.predictive import predict
from skyfold.results.summary import QUANTILES, quantiles


@dataclass(frozen=True, repr=False)
class Derived:
    """A quantity that follows from the parameters.

    Attributes
    ----------
    name : what it is.
    unit : unit in words that astropy reads.
    values : (n, ...) equally weighted draws, without the unit; a single one of a point estimate.
    note : what was left out or assumed.
    """

    name: str
    unit: str
    values: np.ndarray
    note: str = ""

    @cached_property
    def _quantiles(self) -> dict[str, np.ndarray]:
        found = quantiles(self.values, np.ones(len(self.values)), list(QUANTILES.values()))
        return dict(zip(QUANTILES, found, strict=True))

    def _quantity(self, value: Any) -> Any:
        import astropy.units as u

        return u.Quantity(value, u.Unit(self.unit))

    @property
    def samples(self) -> Any:
        """Equally weighted draws as an astropy Quantity, (n, ...)."""
        return self._quantity(self.values)

    @property
    def median(self) -> Any:
        """Median as an astropy Quantity."""
        return self._quantity(self._quantiles["median"])

    @property
    def interval(self) -> Any:
        """16% and 84% quantiles as an astropy Quantity, (2, ...)."""
        return self._quantity([self._quantiles["q16"], self._quantiles["q84"]])

    def quantile(self, q: Any) -> Any:
        """Quantiles of other probabilities as an astropy Quantity."""
        return self._quantity(quantiles(self.values, np.ones(len(self.values)), q))

    def __repr__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        if self.values.ndim > 1:
            return f"{self.name}: {len(self.values)} draws of shape {self.values.shape[1:]} {self.unit}{note}"
        if len(self.values) == 1:
            return f"{self.name} = {self.values[0]:.5g} {self.unit}{note}"
        low, middle, high = (float(self._quantiles[k]) for k in ("q16", "median", "q84"))
        value, errors = with_errors(middle, high - middle, middle - low)
        outer = interval(float(self._quantiles["q05"]), float(self._quantiles["q95"]), high - low)
        return f"{self.name} = {value} {errors} {self.unit} (68%; 90%: {outer}){note}"


class DerivedQuantities:
    """What a result derives from its model: the part of `Result` that needs the posterior for it."""

    if TYPE_CHECKING:
        draws: Draws

        @property
        def posterior(self) -> Posterior: ...

        def equal_weight_latent(self, n: int | None = None) -> np.ndarray: ...

    def derive(
        self, function: Any, *, name: str = "derived", unit: str = "", observation: str | None = None
    ) -> Derived:
        """Posterior of a quantity that follows from a model; what was integrated out of the model is drawn for it.

        Parameters
        ----------
        function : pure JAX function of the model, whose parameters are numbers in it.
        name, unit : shown; the unit in words that astropy reads.
        observation : the observation whose model is meant, by default the first.

        Warns
        -----
        SkyfoldWarning
            Where the quantity is no number.
        """
        from skyfold.results.contributions import find
        from skyfold.results.evaluation import apply

        place, _ = find(self.posterior, None, observation)
        latent = self.equal_weight_latent()
        values = apply(self.posterior, latent, function, place, self.integrated(place, latent))
        if (n := int(np.isnan(np.reshape(values, (len(values), -1))).any(axis=1).sum())) > 0:
            warnings.warn(f"'{name}' is no number for {n} of {len(values)} draws.", SkyfoldWarning, stacklevel=2)
        return Derived(name, unit, values)

    def integrated(self, place: str, latent: np.ndarray, seed: int = 0) -> np.ndarray | None:
        """What an observation integrates out of its model, drawn for latent vectors; None where that is nothing.

        Of a point estimate it is the most probable one.
        """
        _, observation = self.posterior.pairs[place]
        if type(observation).integrated is Observation.integrated:
            return None
        rng = None if self.draws.is_point else np.random.default_rng([seed, 30])
        return observation.integrated(rng, predict(self.posterior, latent)[place])

    def flux(
        self,
        low: Any,
        high: Any,
        component: str | None = None,
        *,
        absorbed: bool = True,
        photons: bool = False,
        observation: str | None = None,
    ) -> Derived:
        """Flux in a band, erg/cm^2/s.

        Parameters
        ----------
        low, high : ends of the band, in the unit of the model's energies or as astropy quantities.
        component : name of one additive component (``"powerlaw"``), by default the whole model.
        absorbed : as it arrives; False removes what absorbs: the multiplicative components, save those with a true
            attribute ``intrinsic`` (a constant, a cutoff).
        photons : photons/cm^2/s instead.
        observation : the observation whose model is meant, by default the first that has the component.

        Raises
        ------
        SkyfoldError
            If there is no such component or the model has no flux.
        """
        return self._fluxes(observation).flux(
            self, low, high, component=component, absorbed=absorbed, photons=photons, observation=observation
        )

    def luminosity(self, low: Any, high: Any, *given: Any, observation: str | None = None, **options: Any) -> Derived:
        """Luminosity in a rest-frame band, erg/s, absorption removed.

        Parameters
        ----------
        low, high : ends of the rest-frame band, as in `flux`.
        *given, **options : how far the source is, and which component is meant, as the function ``luminosity`` of the
            domain takes them.
        observation : as in `flux`.

        Raises
        ------
        SkyfoldError
            If the distance is not given, or `flux` would.
        """
        return self._fluxes(observation).luminosity(self, low, high, *given, observation=observation, **options)

    def _fluxes(self, observation: str | None) -> Any:
        from skyfold.results.contributions import find

        model, _ = self.posterior.pairs[find(self.posterior, None, observation)[0]]
        module = getattr(type(model), "flux_module", None)
        if module is None:
            raise SkyfoldError(f"'{model!r}' is no spectral model: it has no flux in a band of energies.")
        return importlib.import_module(module)
