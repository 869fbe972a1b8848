"""An X-ray spectrum with its response: counts per group, and how a model predicts them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np

from skyfold.axis import Axis
from skyfold.compiled.annotation import Annotation
from skyfold.errors import (
    BackgroundNotFittedWarning,
    FileFormatError,
    ResponseWarning,
    SkyfoldError,
)
from skyfold.likelihoods.marginal import MarginalBackground
from skyfold.likelihoods.on_off import WithBackground
from skyfold.likelihoods.poisson import Poisson
from skyfold.naming import walk
from skyfold.observation import Observation
from skyfold.xray.background import beside, refuse_blind
from skyfold.xray.channels import channel_index, numbered
from skyfold.xray.files import locate
from skyfold.xray.files.energy_grid import ROUNDING
from skyfold.xray.files.read import background_of_row, count_spectra, read_arf, read_pha, read_rmf
from skyfold.xray.files.records import Arf, Pha, Rmf
from skyfold.xray.grouping import display_bins, groups
from skyfold.xray.grouping_schemes import regrouped
from skyfold.xray.models.spectral import SpectralModel
from skyfold.xray.ranges import ranges, stretches
from skyfold.xray.response import Response, ResponseParts, SparseResponse, WiderResponse
from skyfold.xray.spectrum_files import Files, Source, background_of, refuse_no_scaling, response_pieces
from skyfold.xray.statistic import BESIDE, likelihood_of, refuse_missing
from skyfold.xray.units import ENERGIES


class Spectrum(Observation):
    """Counts of an X-ray spectrum, grouped and noticed, with the response that predicts them.

    Counts are Poisson, under W-stat where there is a background (`with_statistic` chooses otherwise); a spectrum with
    errors of its own (HDUCLAS2 = NET) is Gaussian instead.

    Attributes
    ----------
    likelihood : counts of the noticed groups and their distribution.
    response : response of the noticed groups: in pieces, and joined for a model once the spectrum is bound to one.
    annotation : the files, unfiltered.
    """

    response: ResponseParts | Response | SparseResponse | WiderResponse

    @classmethod
    def read(
        cls,
        path: Source,
        response: Source | Rmf | None = None,
        arf: Source | Arf | None = None,
        background: Source | Pha | None = None,
        name: str | None = None,
        row: int | None = None,
    ) -> Self:
        """Read a spectrum of a PHA file with the response, effective area and background that it names.

        Files that the header names are looked for beside the spectrum, in any case, with and without ``.gz``.

        Parameters
        ----------
        path : PHA file.
        response, arf, background : files to use instead of those that the header names; ``"none"`` for none.
        name : name in tables and plots; default the file's name without its ending.
        row : which spectrum of a type II file (several in one table), from 1; ``file.pha{2}`` says the same. The error
            without it lists them. A background of type II is read from the same row, and that on both sides of a
            grating's spectrum (BACKGROUND_UP, BACKGROUND_DOWN) from its own, where there is no BACKFILE.

        Raises
        ------
        FileFormatError
            Where a file is missing, damaged or does not fit the others.

        Warns
        -----
        MissingFileWarning
            Where the header names a background that is not there.
        ResponseWarning
            Where the response is used without an effective area, or groups with counts have no response at all.
        """
        if not os.fspath(path).strip():
            raise FileFormatError("The name of the spectrum is empty. Name a PHA file")
        source = locate.find(os.fspath(path), Path(), remembered=False) or path
        pha = read_pha(source, row)
        rmf = (
            response if isinstance(response, Rmf) else locate.chosen(pha.path, response, pha.response_file, "RESPFILE")
        )
        if rmf is None:
            if response is not None:
                raise FileFormatError(
                    f"{pha.path}: response = {str(response)!r} names no file, and a spectrum needs a response. "
                    f"Name one, or leave it out for that of the header (RESPFILE = {pha.response_file!r})"
                )
            raise FileFormatError(
                f"{pha.path}: the header names no response (RESPFILE = {pha.response_file!r}). Name one: "
                f"Spectrum.read({str(path)!r}, response='...')"
            )
        area = arf if isinstance(arf, Arf) else locate.chosen(pha.path, arf, pha.arf_file, "ANCRFILE")
        behind = background if isinstance(background, Pha) else background_of(pha, background, row)
        if row is not None:
            if behind is None and background is None and locate.named(pha.background_file) is None:
                behind = background_of_row(source, row)
            name = name or f"{Path(locate.split(str(source))[0]).name.split('.')[0]}_{row}"
        return cls.assemble(
            pha,
            rmf if isinstance(rmf, Rmf) else read_rmf(rmf),
            area if isinstance(area, Arf | None) else read_arf(area),
            behind,
            name,
        )

    @classmethod
    def read_all(
        cls,
        path: Source,
        response: Sequence[Source | Rmf] | Source | Rmf | None = None,
        arf: Sequence[Source | Arf] | Source | Arf | None = None,
        background: Source | None = None,
        rows: Sequence[int] | None = None,
    ) -> tuple[Self, ...]:
        """Read the spectra of a type II file, or the single one of another.

        Parameters
        ----------
        path : PHA file.
        response, arf : as for `read`; one for all, or a list with one for each spectrum.
        background : as for `read`.
        rows : numbers of the spectra, from 1; all by default.

        Raises
        ------
        SkyfoldError
            If a list has another number of files than there are spectra.
        """
        source = locate.find(os.fspath(path), Path(), remembered=False) or path
        if rows is None:
            rows = range(1, count_spectra(source) + 1)
        lists: list[Sequence[Any]] = []
        for given, what in ((response, "response"), (arf, "arf")):
            each = list(given) if isinstance(given, list | tuple) else [given] * len(rows)
            if len(each) != len(rows):
                raise SkyfoldError(
                    f"{source}: {what} lists {len(each)} files for {len(rows)} spectra; give one for each."
                )
            lists.append(each)
        files = zip(rows, *lists, strict=True)
        return tuple(cls.read(source, rmf, area, background, row=row) for row, rmf, area in files)

    @classmethod
    def assemble(
        cls, pha: Pha, rmf: Rmf, arf: Arf | None = None, background: Pha | None = None, name: str | None = None
    ) -> Self:
        """Make a spectrum of records already read or simulated; parameters as in `read`."""
        pha, background = numbered(pha, rmf), background and numbered(background, rmf)
        divided = groups(pha.grouping, pha.quality)
        if len(divided) == 0:
            raise FileFormatError(f"{pha.path}: every channel is marked bad in QUALITY. Correct the column QUALITY")
        if arf is None and not rmf.complete:
            warnings.warn(
                f"{pha.path}: the response {rmf.path} is used without an effective area. If it is not a complete "
                "response, name the ARF: Spectrum.read(..., arf='...')",
                ResponseWarning,
                stacklevel=3,
            )
        if background is not None:
            channel_index(background, rmf)
            for one in (pha, background):
                refuse_no_scaling(one)
        default = Path(pha.path.name.removesuffix(".gz")).stem if pha.path is not None else "spectrum"
        pieces = response_pieces(pha, rmf, arf, divided)
        return cls._of(Files(name or default, pha, rmf, arf, background, divided, pieces))

    @classmethod
    def _of(cls, files: Files) -> Self:
        """Spectrum of what its files say, in their groups."""
        likelihood = likelihood_of(files.pha, files.groups, files.background, files.statistic, subtract=files.subtract)
        return cls(likelihood=likelihood, annotation=Annotation(files), response=files.response)

    def with_statistic(self, statistic: str | None, *, subtract: bool = False) -> Self:
        """Same spectrum under another statistic.

        Parameters
        ----------
        statistic : ``"cstat"`` (with a background W-stat or PG-stat, as in XSPEC), ``"cash"`` (without), ``"wstat"``,
            ``"marginal"`` (the background integrated out), ``"pgstat"``, ``"chi2-file"``, ``"chi2-data"``,
            ``"chi2-xspec"``, ``"chi2-gehrels"``, ``"chi2-const"``, ``"chi2-model"``; None for what the file says.
        subtract : take the background off the data; for a chi-squared.

        Raises
        ------
        SkyfoldError
            If there is no such statistic, or the files have not what it needs.
        """
        return self._of(replace(self._unchanged(), statistic=statistic, subtract=subtract))

    def with_background(self, background: Source | Pha | None) -> Self:
        """Same spectrum with another background: a file, a record, or None (``"none"``) for none.

        Raises
        ------
        FileFormatError
            If the file is damaged or does not fit the spectrum.
        """
        files = self._unchanged()
        read = background if isinstance(background, Pha | None) else background_of(files.pha, background)
        if read is not None:
            read = numbered(read, files.rmf)
            channel_index(read, files.rmf)
            for one in (files.pha, read):
                refuse_no_scaling(one)
        # what needs a background cannot be had without
        kept = files.statistic if read is not None or files.statistic not in BESIDE else None
        subtract = files.subtract and read is not None
        return self._of(replace(files, background=read, statistic=kept, subtract=subtract))

    def group(self, how: str) -> Self:
        """Join the channels noticed so far anew; the file's own groups are never lost.

        Parameters
        ----------
        how : ``"none"`` (every channel), ``"file"`` (GROUPING), ``"min:25"`` (counts of a group), ``"snr:3"`` (net
            counts over their error), ``"width:4"`` (channels), ``"constmin:5"`` (counts of the background),
            ``"optimal"`` (Kaastra & Bleeker 2016: as wide as resolution and counts allow), ``"optmin:5"`` (the same
            with so many counts). What is left over at the end of a stretch of channels joins its last group.

        Raises
        ------
        SkyfoldError
            If there is no such way, or no background for one that needs it.
        """
        files = self._unchanged()
        divided = regrouped(files.pha, files.background, files.rmf, files.groups, how)
        pieces = response_pieces(files.pha, files.rmf, files.arf, divided)
        return self._of(replace(files, groups=divided, response=pieces))

    def _unchanged(self) -> Files:
        """Files, where the data are still those of the files."""
        if np.array_equal(self._of(self.files).counts, self.counts):
            return self.files
        raise SkyfoldError(
            f"'{self.name}' has other data than its files (with_data): choose statistic, background and groups first."
        )

    def alongside(self, others: Sequence[Observation]) -> Self:
        """Spectrum without its background where that is one of the others: it is fitted, and not only shown."""
        behind = self.files.background
        if behind is None or behind.path is None:
            return self
        place = (behind.path.resolve(), behind.extension)
        for other in others:
            pha = other.files.pha if isinstance(other, Spectrum) else None
            if pha is not None and pha.path is not None and (pha.path.resolve(), pha.extension) == place:
                return self._without_background()
        return self

    def _without_background(self) -> Self:
        """Same data without what was measured beside; what was subtracted stays so."""
        if self.files.subtract:
            return self
        annotation = Annotation(replace(self.files, background=None))
        likelihood = self.likelihood if self.background_unused else Poisson(self.likelihood.data)
        return replace(self, annotation=annotation, likelihood=likelihood)

    def bound(self, model: Any) -> Self:
        """Spectrum whose response is joined on the energies that a model asks for."""
        response = self.files.response.melted(model)
        for part, _ in walk(model):
            if isinstance(part, SpectralModel):
                part.check(response.edges)
        return replace(self, response=response)

    def predict(self, model: Any) -> jax.Array:
        """Return the expected counts of each noticed group, (n_groups,), for a model without free parameters.

        Raises
        ------
        SkyfoldError
            If the model is a factor without any light.
        """
        if getattr(model, "kind", "additive") != "additive":
            raise SkyfoldError(
                f"'{model!r}' is {model.kind}, a factor without any light: nothing can be predicted from it for "
                f"'{self.name}'; multiply it with an additive component."
            )
        response = self._joined(model)
        return response.fold(model.evaluate(response.edges))

    def _joined(self, model: Any = None) -> ResponseParts | Response | SparseResponse | WiderResponse:
        """Response as it folds a model: in pieces only where these are traced, inside an observation that holds it."""
        response = self.response
        whole = isinstance(response, ResponseParts) and isinstance(response.values, np.ndarray)
        return response.melted(model) if whole else response  # type: ignore[union-attr]

    def with_data(self, data: Any) -> Self:
        """Same spectrum with other counts, (n_groups,), or with counts and those of the background, (n_groups, 2).

        Raises
        ------
        SkyfoldError
            If they are not one number per noticed group.
        """
        if np.shape(data) not in ((self.n_data,), (self.n_data, 2)):
            raise SkyfoldError(
                f"'{self.name}' has {self.n_data} noticed groups, and the data given have the shape {np.shape(data)}; "
                "give one number per group."
            )
        return super().with_data(data)

    def notice(self, *given: Any, channels: bool = False) -> Self:
        """Keep the groups that lie wholly inside one of the ranges, of those noticed so far.

        Parameters
        ----------
        *given : ``notice(0.5, 8.0)`` or ``notice((0.5, 2), (3, 8))``, keV; quantities (energies, wavelengths) are
            converted; None leaves an end open.
        channels : the ranges are channel numbers, both ends included.

        Raises
        ------
        SkyfoldError
            Where no group is left.
        """
        inside = np.zeros(self.n_data, bool)
        spans, rounding = self._spans(channels)
        for low, high in ranges(given, channels):
            inside |= (spans[:, 0] >= low - rounding) & (spans[:, 1] <= high + rounding)
        return self._keep(inside, f"notice{given}")

    def ignore(self, *given: Any, channels: bool = False) -> Self:
        """Drop every group that one of the ranges touches; parameters and errors as in `notice`."""
        touched = np.zeros(self.n_data, bool)
        spans, rounding = self._spans(channels)
        for low, high in ranges(given, channels):
            overlap = (spans[:, 0] < high - rounding) & (spans[:, 1] > low + rounding)
            touched |= (spans[:, 0] <= high) & (spans[:, 1] >= low) if channels else overlap
        return self._keep(~touched, f"ignore{given}")

    def _spans(self, channels: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return what `notice` compares: channels or energies of each group, and the rounding to forgive."""
        if channels:
            return self.channels, np.zeros(self.n_data)
        return self.edges, ROUNDING * self.edges[:, 1]

    def _keep(self, kept: np.ndarray, call: str) -> Self:
        if kept.all():
            return self
        chosen = np.flatnonzero(kept)
        if chosen.size == 0:
            channels, edges = self.channels, self.edges
            raise SkyfoldError(
                f"{self.files.pha.path or self.name}: {call} leaves no group of channels. Groups lie between "
                f"{edges.min():.4g} and {edges.max():.4g} keV, channels {channels.min()} to {channels.max()}, and only "
                "groups wholly inside a range are kept"
            )
        response = self.files.response.take(chosen)
        files = replace(self.files, groups=self.files.groups.take(chosen), response=response)
        likelihood = self.likelihood.take(chosen)
        return replace(self, likelihood=likelihood, response=response, annotation=Annotation(files))

    def check(self) -> None:
        """Warn of groups that hold counts and that no photon of any energy can reach.

        Raises
        ------
        FileFormatError
            Where a noticed group has no error, or an effective area that reaches it is no number or negative.
        SkyfoldError
            Where the background says nothing of a noticed group.

        Warns
        -----
        BackgroundNotFittedWarning
            Where there is a background that takes no part in the fit.
        ResponseWarning
            Where there are such groups.
        """
        files = self.files
        refuse_missing(self.likelihood, files.pha, files.groups, files.arf, files.response.energy)
        if files.background is not None:
            if self.background_unused:
                warnings.warn(
                    f"{files.pha.path}: the background {files.background.path} is shown but NOT fitted under "
                    f"{self.likelihood.statistic_name}: the model must describe source and background together. Choose "
                    "with_statistic('cstat'), or a chi-squared with subtract=True; background='none' leaves it out",
                    BackgroundNotFittedWarning,
                    stacklevel=4,
                )
            else:
                refuse_blind(files.pha, files.background, files.groups)
        blind = np.flatnonzero(~self.files.response.responds() & (np.asarray(self.counts) != 0))
        if blind.size == 0:
            return
        many = f"{blind.size} groups hold" if blind.size > 1 else "1 group holds"
        warnings.warn(
            f"{self.files.pha.path or self.name}: {many} {np.sum(self.counts[blind]):.6g} counts where the response is "
            f"zero, at {stretches(self.edges, blind)} keV: no model can explain them, and the statistic would be "
            "theirs alone. Leave them out with notice(low, high)",
            ResponseWarning,
            stacklevel=4,
        )

    @property
    def files(self) -> Files:
        """The records the spectrum was made from, and its noticed groups."""
        return self.annotation.value

    @property
    def counts(self) -> np.ndarray:
        """Counts of each noticed group."""
        return self.likelihood.data

    @property
    def exposure(self) -> float:
        """Exposure, s; the longest of any channel where they differ."""
        return float(np.max(self.files.pha.exposure))

    @property
    def energies(self) -> np.ndarray:
        """Energy edges on which the model is evaluated, (n_energies + 1,) keV."""
        return self._joined().edges

    @property
    def channels(self) -> np.ndarray:
        """First and last channel number of each noticed group, (n_groups, 2)."""
        divided = self.files.groups
        return self.files.pha.channels[np.stack([divided.first, divided.last], axis=1)]

    @property
    def edges(self) -> np.ndarray:
        """Nominal energies of each noticed group, (n_groups, 2) keV."""
        files = self.files
        ends = files.rmf.bounds[self.channels - files.pha.first_channel]
        return np.stack([ends[..., 0].min(axis=1), ends[..., 1].max(axis=1)], axis=1)

    @property
    def rate_factor(self) -> np.ndarray:
        """Factor from counts to counts/s/keV, (n_groups,)."""
        files = self.files
        channels = files.groups.sum(np.ones(len(files.pha.channels)))
        exposure = files.groups.sum(np.broadcast_to(files.pha.exposure, len(files.pha.channels))) / channels
        return 1.0 / (exposure * np.diff(self.edges, axis=1)[:, 0])

    @property
    def axis(self) -> Axis:
        low, high = self.edges.T
        return Axis(low, high, factor=self.rate_factor, **ENERGIES)

    @property
    def background(self) -> Pha | None:
        """Record of the background spectrum."""
        return self.files.background

    @property
    def background_unused(self) -> bool:
        """Whether there is a background that takes no part in the fit."""
        used = self.files.subtract or isinstance(self.likelihood, WithBackground | MarginalBackground)
        return self.files.background is not None and not used

    @property
    def background_counts(self) -> np.ndarray | None:
        """Background expected in the source region, by exposure, BACKSCAL and AREASCAL, (n_groups,) counts."""
        return self._background_sum(power=1)

    @property
    def background_variance(self) -> np.ndarray | None:
        """Variance of `background_counts`, (n_groups,)."""
        return self._background_sum(power=2)

    def _background_sum(self, power: int) -> np.ndarray | None:
        files = self.files
        if files.background is None:
            return None
        other = beside(files.pha, files.background, files.groups)
        return (other.counts if power == 1 else other.variance) * other.worth**power

    def rebin(self, min_significance: float, max_bins: int) -> np.ndarray:
        """Join groups for display only, until each is significant (XSPEC's ``setplot rebin``).

        Parameters
        ----------
        min_significance : least ratio of net counts to their error.
        max_bins : most groups to join.

        Returns
        -------
        (n_groups,) number of the display bin of each group.
        """
        behind, variance = self.background_counts, self.background_variance
        net = self.counts - (0.0 if behind is None else behind)
        return display_bins(
            net, self.likelihood.variance + (0.0 if variance is None else variance), min_significance, max_bins
        )

    def __repr__(self) -> str:
        counts, file = self.counts, self.files.pha.path
        total = f"{counts.sum():.6g} counts" if isinstance(counts, np.ndarray) else "traced"
        return (
            f"Spectrum({self.name!r}{f' from {file.name}' if file else ''}: {self.n_data} groups, {total}, "
            f"{self.edges.min():.4g}-{self.edges.max():.4g} keV, {len(self.energies) - 1} model energies, "
            f"{self.exposure:.6g} s)"
        )
