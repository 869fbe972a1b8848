"""Emission: what a model of the gamma-ray sky gives in every pixel."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax


class Population(eqx.Module):
    """Unresolved point sources: where they are, and how many of each brightness.

    Attributes
    ----------
    template : (n_pix,) relative number of sources in each pixel, of mean 1 over the region.
    source_count : their source-count function dN/dS, a module whose leaves are numbers.
    """

    template: jax.Array
    source_count: Any


class Emission(eqx.Module):
    """Expected counts of smooth emission, and populations of point sources, on the pixels of a region.

    Emissions add; an array multiplies the smooth counts and the number of sources in each pixel.

    Attributes
    ----------
    smooth : (n_pix,) or (n_bins, n_pix) expected counts.
    populations : point-source populations.
    """

    smooth: jax.Array
    populations: tuple[Population, ...] = ()

    # arrays of NumPy must leave a product with an emission to it
    __array_ufunc__ = None

    def __add__(self, other: Any) -> Emission:
        if not isinstance(other, Emission):
            return NotImplemented
        return Emission(self.smooth + other.smooth, self.populations + other.populations)

    def __mul__(self, factor: Any) -> Emission:
        if isinstance(factor, Emission):
            return NotImplemented
        more = tuple(Population(p.template * factor, p.source_count) for p in self.populations)
        return Emission(self.smooth * factor, more)

    __rmul__ = __mul__
