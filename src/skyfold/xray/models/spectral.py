"""What every X-ray component is: a spectrum (additive) or a factor on one (multiplicative)."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.jit import jit
from skyfold.component import Component, Operator, Product, Sum
from skyfold.errors import SkyfoldError
from skyfold.xray.wider_grid import widened

#: Limits of norms and redshifts; like those of the other parameters, they are the hard limits of XSPEC's model.dat.
NORM, REDSHIFT = (0.0, 1e24), (-0.999, 10.0)
#: Widest bin, as a difference of natural logarithms of energy, that components take as it is.
_WIDEST = 0.05


class SpectralModel(Component):
    """A component on energy bins.

    `evaluate(edges)` takes the n + 1 edges of contiguous bins in keV, increasing and positive, and returns n
    numbers: photons/cm^2/s integrated over each bin (additive), or a dimensionless factor (multiplicative).
    """

    #: Module that gives results their `flux` and `luminosity`.
    flux_module: ClassVar[str] = "skyfold.xray.flux"
    #: Module of its own figures, see `skyfold.plots`.
    figures_module: ClassVar[str] = "skyfold.xray.plots"

    def check(self, edges: np.ndarray) -> None:
        """Refuse energy bins on which this component cannot be fitted; called when it becomes part of a posterior."""

    @classmethod
    def _sum(cls, parts: tuple[Component, ...]) -> Component:
        return SpectralSum(parts)

    @classmethod
    def _product(cls, parts: tuple[Component, ...]) -> Component:
        return SpectralProduct(parts)

    def photon_flux(self, edges: Any) -> np.ndarray:
        """Photon flux in each bin of an additive model without free parameters.

        Parameters
        ----------
        edges : (n + 1,) array or Quantity
            Bin edges in keV.

        Returns
        -------
        (n,) array
            Photons/cm^2/s.

        Raises
        ------
        SkyfoldError
            If the model is multiplicative, has free parameters, or the edges do not increase.
        """
        edges = energy_edges(edges)
        # components are made for bins of detectors; wide ones are split and summed
        pieces = int(np.ceil(np.max(np.diff(np.log(edges))) / _WIDEST))
        if pieces == 1:
            return self._on_bins(edges, "additive", "photon_flux")
        inner = np.linspace(edges[:-1], edges[1:], pieces, endpoint=False, axis=1).ravel()
        fine = self._on_bins(np.append(inner, edges[-1]), "additive", "photon_flux")
        return fine.reshape(-1, pieces).sum(axis=1)

    def factor(self, edges: Any) -> np.ndarray:
        """Factor in each bin of a multiplicative model without free parameters; see `photon_flux`."""
        return self._on_bins(edges, "multiplicative", "factor")

    def _on_bins(self, edges: Any, kind: str, method: str) -> np.ndarray:
        if self.kind != kind:
            raise SkyfoldError(f"{method} is for {kind} models; '{self!r}' is {self.kind}.")
        if self.free_parameters:
            names = ", ".join(self.free_parameters)
            raise SkyfoldError(f"'{self!r}' has free parameters ({names}); fix them with .with_values({{...}}).")
        edges = energy_edges(edges)
        wider, inside = widened(self, edges)
        return np.asarray(_evaluate(self, jnp.asarray(wider)))[inside]


@jit
def _evaluate(model: SpectralModel, edges: jax.Array) -> jax.Array:
    return model.evaluate(edges)


def energy_edges(edges: Any) -> np.ndarray:
    """Bin edges as a checked float64 array in keV (quantities, wavelengths included, are converted)."""
    try:
        if hasattr(edges, "to_value"):
            import astropy.units as u

            edges = np.sort(edges.to_value(u.keV, u.spectral()))
        edges = np.asarray(edges, dtype=np.float64)
    except (TypeError, ValueError):  # words, ragged lists, quantities of another kind
        raise SkyfoldError(f"Energy edges must be a list of numbers in keV, or a quantity; got {edges!r}.") from None
    increasing = edges.ndim == 1 and edges.size >= 2 and np.all(np.diff(edges) > 0)
    if not increasing or not edges[0] > 0 or not np.isfinite(edges[-1]):
        raise SkyfoldError("Energy edges must be a list of at least two positive, finite, increasing numbers in keV.")
    return edges


class Additive(SpectralModel):
    """A spectrum: photons/cm^2/s in each bin."""

    kind: ClassVar[str] = "additive"


class Multiplicative(SpectralModel):
    """A dimensionless factor in each bin."""

    kind: ClassVar[str] = "multiplicative"


class SpectralSum(Sum, SpectralModel):
    """Sum of spectra."""


class SpectralProduct(Product, SpectralModel):
    """Product of factors and at most one spectrum."""


class SpectralOperator(Operator, SpectralModel):
    """What takes a spectrum and gives one."""
