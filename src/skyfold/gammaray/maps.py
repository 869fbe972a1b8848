"""A map of photon counts on the HEALPix sphere, and how a model predicts it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.axis import Axis
from skyfold.compiled.annotation import Annotation
from skyfold.errors import SkyfoldError
from skyfold.gammaray.checked_maps import as_edges, as_map, as_mask, check_order, checked_exposure, whole_counts
from skyfold.gammaray.emission import Emission
from skyfold.gammaray.healpix import nside_of, parents
from skyfold.gammaray.likelihood import FACTORS, SHARED, SHARES, Blur, CompoundPoisson, compound
from skyfold.gammaray.pixels import Pixels
from skyfold.gammaray.population_checks import check_populations
from skyfold.gammaray.regions import Region
from skyfold.likelihoods.poisson import Poisson
from skyfold.observation import Observation
from skyfold.parameters import shape_of, substitute


@dataclass(frozen=True)
class Origin:
    """Where a counts map comes from."""

    name: str
    path: Path | None = None


class CountsMap(Observation):
    """Photon counts in the pixels of a region of the sky.

    Components are evaluated, and templates normalised, on all pixels of the region; those that are not masked are
    fitted. So a mask of point sources leaves the meaning of norms as it is, and `within` changes it.

    Attributes
    ----------
    likelihood : counts of the fitted pixels, bin after bin, and their distribution.
    pixels : the region.
    kept : (n_fitted,) places of the fitted pixels in the region.
    n_bins : number of energy bins, or None for a map without such an axis.
    blur : PSF and its like, for models with point sources, or None.
    """

    figures_module: ClassVar[str | None] = "skyfold.gammaray.plots"
    pixels: Pixels
    kept: Any
    n_bins: int | None = eqx.field(static=True)
    blur: Blur | None = None

    @classmethod
    def read(
        cls,
        counts: Any,
        exposure: Any = None,
        mask: Any = None,
        *,
        nest: bool | None = None,
        frame: str | None = None,
        energies: Any = None,
        name: str | None = None,
    ) -> Self:
        """Read full-sky maps in Galactic coordinates.

        Parameters
        ----------
        counts : file (``.npy`` or HEALPix FITS) or array, (n_pix,) or (n_bins, n_pix) whole numbers.
        exposure : likewise, cm^2 s; one for all energy bins, or (n_bins, n_pix).
        mask : likewise, (n_pix,); True or 1 where a pixel is not to be fitted. Also a region, such as `Discs`.
        nest : whether the pixels are in nested order; by default as the header of a FITS file says, else ring order.
        frame : ``"galactic"``, for FITS files whose header does not say in which coordinates they are.
        energies : (n_bins + 1,) edges of the energy bins, GeV.
        name : name in tables and plots; default the file's name without its ending.

        Raises
        ------
        FileFormatError
            Where a file is missing or is no HEALPix map.
        SkyfoldError
            Where maps do not fit each other, counts are negative or fractions, the exposure is negative or NaN, or the
            plane of the Galaxy shows that the pixels are in the other order.
        """
        path = Path(counts) if isinstance(counts, str | os.PathLike) else None
        name = name or (path.name.removesuffix(".gz").rsplit(".", 1)[0] if path else "counts")
        found = as_map(counts, nest, name, frame)
        n_pix = found.values.shape[-1]
        everywhere = Pixels.of(nside_of(n_pix, name), np.arange(n_pix))
        ignored = ~found.seen
        if isinstance(mask, Region):
            ignored |= mask.inside(everywhere.longitude, everywhere.latitude)
        elif mask is not None:
            ignored |= as_mask(mask, nest, n_pix, name, frame)
        data = whole_counts(found, ignored, name)
        if not found.stated:
            check_order(data, everywhere, name)
        edges = as_edges(energies, data, name)
        lit = None
        if exposure is not None:
            lit = checked_exposure(as_map(exposure, nest, f"{name}: exposure", frame), data, ignored, name)
        kept = np.flatnonzero(~ignored)
        if not kept.size:
            raise SkyfoldError(f"'{name}': the mask leaves no pixel to fit; check the mask.")
        return cls(
            likelihood=Poisson(np.ravel(data[..., kept])),
            annotation=Annotation(Origin(name, path)),
            pixels=replace(everywhere, exposure=lit, energies=edges),
            kept=kept,
            n_bins=None if data.ndim == 1 else len(data),
        )

    # -- what is looked at ---------------------------------------------------------------------------------------

    def within(self, region: Region | Any) -> Self:
        """Keep the pixels whose centres lie inside a region; templates are normalised over these from now on.

        Parameters
        ----------
        region : such as ``Disc(25) & ~Band(2)``; or True for every pixel of the full sphere that is to stay.

        Raises
        ------
        SkyfoldError
            If no pixel is left, or none that is fitted.
        """
        inside = self._chosen(region, "within")
        fitted = np.zeros(self.pixels.n_pix, dtype=bool)
        fitted[self.kept] = True
        kept = np.flatnonzero(fitted[inside])
        return self._with(self.pixels.take(np.flatnonzero(inside)), kept, inside[self.kept], "within")

    def masked(self, mask: Region | Any) -> Self:
        """Leave pixels out of the fit; the region, and with it the normalisation of templates, stays.

        Parameters
        ----------
        mask : a region such as `Discs`; or True (1) for every masked pixel, of the full sphere or of the region.

        Raises
        ------
        SkyfoldError
            If nothing is left to fit.
        """
        stays = ~self._chosen(mask, "masked")[self.kept]
        return self._with(self.pixels, self.kept[stays], stays, "masked")

    def downgrade(self, nside: int) -> Self:
        """Return the map on a coarser sphere: counts are added, the exposure is averaged.

        Coarse pixels that the region holds only in part drop out, and those with a masked part are masked; what is
        left has exactly the counts of its parts.

        Raises
        ------
        SkyfoldError
            If `nside` is no power of two or finer, or no complete pixel is left.
        """
        fine = self.pixels
        parent = parents(fine.nside, np.asarray(fine.index), nside)
        index, place, parts = np.unique(parent, return_inverse=True, return_counts=True)
        share = (fine.nside // nside) ** 2
        whole = parts == share
        if not whole.any():
            raise SkyfoldError(f"'{self.name}': no pixel of nside {nside} lies wholly inside the region; choose finer.")

        def summed(values: np.ndarray) -> np.ndarray:
            total = np.zeros((*values.shape[:-1], len(index)))
            where: Any = (..., place)
            np.add.at(total, where, values)
            return total[..., whole]

        fitted = np.zeros(fine.n_pix)
        fitted[self.kept] = 1.0
        kept = np.flatnonzero(summed(fitted) == share)
        counts = summed(np.nan_to_num(self.counts))[..., kept]
        exposure = None if fine.exposure is None else summed(np.asarray(fine.exposure)) / share
        if not kept.size:
            raise SkyfoldError(
                f"'{self.name}': every pixel of nside {nside} has a masked part; downgrade before masking."
            )
        pixels = Pixels.of(nside, index[whole], exposure, fine.energies)
        return replace(self, likelihood=Poisson(np.ravel(counts)), pixels=pixels, kept=kept)

    def with_point_sources(
        self,
        f: Any,
        weights: Any,
        *,
        s_range: tuple[float, float] | None = None,
        exposure_regions: int | None = None,
    ) -> Self:
        """Make the map fit for models with populations of unresolved point sources.

        Parameters
        ----------
        f, weights : (n_f,) distribution rho(f) df of the fraction of a source's counts that falls into one pixel;
            the sum of f times weights is 1.
        s_range : lowest and highest mean counts of a source; None for all, (0.1, 100) in the published analysis.
        exposure_regions : regions of equal exposure in which the source counts are scaled, 7 in the published
            analysis; by default they are interpolated in exposure.

        Raises
        ------
        SkyfoldError
            If the map has several energy bins: a source's counts in these are correlated, which is not described.
        """
        if self.n_bins not in (None, 1):
            raise SkyfoldError(
                f"'{self.name}' has {self.n_bins} energy bins, and populations of point sources are described in a "
                "single one: the counts of a source in several bins are correlated. Add the bins up."
            )
        blur = Blur(np.asarray(f, dtype=np.float64), np.asarray(weights, dtype=np.float64), s_range, exposure_regions)
        return replace(self, blur=blur, likelihood=Poisson(np.asarray(self.likelihood.data)))

    def bound(self, model: Any) -> Self:
        """Return the map ready for this model: with the likelihood that its populations of point sources need.

        A `Posterior` does this to every map it is given. The map itself comes back where the model has no populations.

        Raises
        ------
        SkyfoldError
            If the model has populations of point sources and the map no PSF, or their source counts make no sense
            somewhere in the support of the priors.
        """
        check_populations(model)
        fixed = substitute(model, lambda node: np.zeros(shape_of(node)))
        emission = jax.eval_shape(lambda: fixed.evaluate(self.pixels))
        compounded = isinstance(self.likelihood, CompoundPoisson)
        if not isinstance(emission, Emission) or not emission.populations:
            return replace(self, likelihood=Poisson(np.asarray(self.likelihood.data))) if compounded else self
        if self.blur is None:
            raise SkyfoldError(
                f"The model of '{self.name}' has populations of point sources, and the map does not know how they are "
                "blurred. Give it the PSF: sky.with_point_sources(f, weights)."
            )
        exposure = self.pixels.exposure
        exposure = None if exposure is None else np.ravel(np.asarray(exposure))[self.kept]
        likelihood = compound(self.likelihood.data, emission.populations, self.blur, exposure, self.likelihood)
        return replace(self, likelihood=likelihood)

    def _chosen(self, region: Any, method: str) -> np.ndarray:
        pixels = self.pixels
        if isinstance(region, Region):
            return region.inside(pixels.longitude, pixels.latitude)
        full = 12 * pixels.nside**2
        chosen = as_mask(
            region, None, full if np.size(region) != pixels.n_pix else pixels.n_pix, f"'{self.name}' {method}"
        )
        return chosen if chosen.size == pixels.n_pix else chosen[pixels.index]

    def _with(self, pixels: Pixels, kept: np.ndarray, stays: np.ndarray, method: str) -> Self:
        if not kept.size:
            raise SkyfoldError(f"'{self.name}': {method} leaves no pixel to fit; check the region and the mask.")
        places = self._by_bin(np.arange(self.n_data))[..., stays]
        return replace(self, likelihood=self.likelihood.take(np.ravel(places)), pixels=pixels, kept=kept)

    # -- how it is predicted -------------------------------------------------------------------------------------

    def predict(self, model: Any) -> jax.Array:
        """Return the expected counts of every fitted pixel, bin after bin, for a model without free parameters.

        Where the model has populations of point sources, their templates in the fitted pixels follow, one after
        another, and then the numbers of their source-count functions.

        Raises
        ------
        SkyfoldError
            If the model is a factor without any light, or its energy bins are not those of the map.
        """
        if getattr(model, "kind", "additive") != "additive":
            raise SkyfoldError(
                f"'{model!r}' is {model.kind}, a factor without any light: nothing can be predicted from it for "
                f"'{self.name}'; multiply it with a template, or give it to one as its modulation."
            )
        return self._fitted(model.evaluate(self.pixels))

    def _smooth(self, emission: Emission) -> jax.Array:
        """Counts of smooth emission in the fitted pixels, bin after bin."""
        shape = (self.pixels.n_pix,) if self.n_bins is None else (self.n_bins, self.pixels.n_pix)
        try:
            smooth = jnp.broadcast_to(emission.smooth, shape)
        except ValueError:
            raise SkyfoldError(
                f"'{self.name}' has the shape {shape} and the model {np.shape(emission.smooth)}; give norms, maps and "
                "counts the same energy bins."
            ) from None
        return jnp.ravel(smooth[..., self.kept])

    def _fitted(self, emission: Emission) -> jax.Array:
        smooth = self._smooth(emission)
        if not emission.populations:
            return smooth
        if not isinstance(self.likelihood, CompoundPoisson):
            raise SkyfoldError(
                f"The model has populations of point sources, and '{self.name}' is not prepared for them: give the map "
                "a PSF with sky.with_point_sources(f, weights), and bind it to the model with .bound(model)."
            )
        templates = [p.template[self.kept] for p in emission.populations]
        numbers = [jnp.ravel(x) for x in jax.tree.leaves(tuple(p.source_count for p in emission.populations))]
        return jnp.concatenate([smooth, *templates, *numbers])

    def mean(self, expected: jax.Array) -> jax.Array:
        if isinstance(self.likelihood, CompoundPoisson):
            return jnp.sum(self.likelihood.mean(expected), axis=0)
        return expected

    def contribution(self, part: Any, expected: Any) -> jax.Array:
        emission = part.evaluate(self.pixels)
        likelihood: Any = self.likelihood
        sources = (likelihood.mean_of(p.template[self.kept], p.source_count) for p in emission.populations)
        return sum(sources, start=self._smooth(emission))

    def displacement(self, start: jax.Array, end: jax.Array) -> jax.Array:
        if isinstance(self.likelihood, CompoundPoisson):
            # the scores of its pixels are known, but no coordinates of which they are the derivatives: straight
            return self.whitening(start)(end - start)
        return super().displacement(start, end)

    def whitening(self, expected: jax.Array) -> Callable[[jax.Array], jax.Array]:
        if isinstance(self.likelihood, CompoundPoisson):
            return jax.linearize(self.likelihood.pointwise, expected)[1]
        return super().whitening(expected)

    def with_data(self, data: Any) -> Self:
        """Same map with other counts of the fitted pixels, (n_data,).

        Raises
        ------
        SkyfoldError
            If they are not one number per fitted pixel and bin.
        """
        if np.shape(data) != (self.n_data,):
            raise SkyfoldError(
                f"'{self.name}' has {self.n_data} fitted data, and those given have the shape {np.shape(data)}; give "
                "one number per fitted pixel, bin after bin."
            )
        return super().with_data(data)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a fit of these data must say: that sources shine into so many pixels that intervals are too narrow."""
        if self.blur is None or not isinstance(self.likelihood, CompoundPoisson) or self.blur.share > SHARED:
            return ()
        share = self.blur.share
        return (
            f"{self.name}: the pixel of one of a source's photons holds {share:.0%} of them on average, and pixels "
            f"count as independent: below {SHARED:.0%} intervals are too narrow where sources are bright, in "
            f"simulations at {share:.0%} by a factor of {np.interp(share, SHARES, FACTORS):.1f} for their mean counts; "
            "gammaray.godambe(result, psf) corrects them",
        )

    # -- what it shows -------------------------------------------------------------------------------------------

    @property
    def axis(self) -> Axis:
        return Axis.numbered(self.n_data, "fitted pixel" + (", bin after bin" if self.n_bins else ""), "counts/pixel")

    @property
    def counts(self) -> np.ndarray:
        """Counts on the region, (n_pix,) or (n_bins, n_pix); NaN in masked pixels."""
        return self.on_region(self.likelihood.data)

    def on_region(self, values: Any) -> np.ndarray:
        """Values of the fitted data (n_data,) on the pixels of the region; NaN in masked ones."""
        values = self._by_bin(np.asarray(values))
        region = np.full((*values.shape[:-1], self.pixels.n_pix), np.nan)
        region[..., np.asarray(self.kept)] = values
        return region

    def _by_bin(self, values: np.ndarray) -> np.ndarray:
        return values if self.n_bins is None else values.reshape(self.n_bins, -1)

    def __repr__(self) -> str:
        data = self.likelihood.data
        total = f"{data.sum():.6g} counts" if isinstance(data, np.ndarray) else "traced"
        bins = f", {self.n_bins} energy bins" if self.n_bins else ""
        return (
            f"CountsMap({self.name!r}: nside {self.pixels.nside}, {self.pixels.n_pix} pixels, "
            f"{np.shape(self.kept)[0]} fitted, {total}{bins})"
        )
