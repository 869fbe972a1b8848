"""Simulate X-ray spectra: a CCD-like response, and the counts that a model gives through any response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.xray.files.records import Arf, Pha, Rmf
from skyfold.xray.files.write import write_arf, write_pha, write_rmf
from skyfold.xray.grouping import group_counts
from skyfold.xray.response import effective_area

#: Energy for one electron-hole pair in silicon (keV), and its Fano factor.
_PAIR, _FANO = 3.65e-3, 0.118
#: Energy that a silicon K photon takes along when it escapes, and the energy from which it can, keV.
_ESCAPE, _SILICON_K = 1.74, 1.839
_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))


def ccd_fwhm(energy: Any, noise: float = 0.05) -> np.ndarray:
    r"""Full width at half maximum of a silicon detector's line.

    .. math:: \mathrm{FWHM}(E) = \sqrt{n^2 + 8 \ln 2 \, F w E}

    Parameters
    ----------
    energy : keV.
    noise : electronic noise n, FWHM in keV. F = 0.118 and w = 3.65 eV are silicon's.

    Returns
    -------
    FWHM in keV.
    """
    return np.sqrt(noise**2 + _FWHM**2 * _FANO * _PAIR * np.asarray(energy, float))


def ccd_area(energy: Any, peak: float = 1000.0) -> np.ndarray:
    """Effective area of a mirror with a CCD behind a filter, cm^2.

    A smooth sketch with the edges that real ones have: carbon 0.284, oxygen 0.543 and aluminium 1.56 keV of the
    filter, silicon 1.839 keV of the detector, gold 2.22 keV of the mirror, and the mirror's fall above 6 keV.

    Parameters
    ----------
    energy : keV.
    peak : scale, about the largest area, cm^2.
    """
    energy = np.asarray(energy, float)
    depth = 0.05 * energy**-2.5 * (0.35 + 0.35 * (energy > 0.284) + 0.5 * (energy > 0.543))
    depth = depth + 0.12 * (energy > 1.56) * (1.56 / energy) ** 2.8
    silicon = 1.0 - 0.12 * (energy > _SILICON_K) * (_SILICON_K / energy) ** 3
    gold = 1.0 - 0.28 * (energy > 2.22) * (2.22 / energy) ** 0.5
    return peak * np.exp(-depth) * silicon * gold / (1.0 + (energy / 6.5) ** 4)


def ccd_response(
    *,
    energies: tuple[float, float] = (0.2, 12.0),
    energy_step: float = 0.01,
    channel_width: float = 0.02,
    n_channels: int = 600,
    first_channel: int = 0,
    noise: float = 0.05,
    escape: float = 0.0,
    tail: float = 0.0,
    peak_area: float = 1000.0,
    threshold: float = 1e-6,
) -> tuple[Rmf, Arf]:
    """Make the response of a CCD-like detector: Gaussian lines of `ccd_fwhm`, area `ccd_area`.

    Parameters
    ----------
    energies : span of the model energies, keV.
    energy_step : width of a model energy bin, keV.
    channel_width, n_channels, first_channel : channel grid, from 0 keV up; width in keV.
    noise : electronic noise, FWHM in keV.
    escape : part of the photons above 1.84 keV that lose 1.74 keV to an escaping silicon photon.
    tail : part of the photons spread evenly below their energy (incomplete charge collection).
    peak_area : scale of the area, cm^2.
    threshold : matrix elements below are dropped.

    Returns
    -------
    Rmf, Arf
    """
    from scipy.special import ndtr

    low, high = energies
    if not 0 < low < high or min(energy_step, channel_width) <= 0 or n_channels < 1 or not 0 <= escape + tail < 1:
        raise SkyfoldError("A CCD response needs 0 < low < high energies, positive steps, and escape + tail below 1.")
    edges = np.float32(np.linspace(low, high, max(1, round((high - low) / energy_step)) + 1)).astype(float)
    channel_edges = np.float32(channel_width * np.arange(n_channels + 1)).astype(float)
    middle = 0.5 * (edges[1:] + edges[:-1])

    def line(centre: np.ndarray) -> np.ndarray:
        sigma = ccd_fwhm(np.maximum(centre, 0.0), noise) / _FWHM
        return np.diff(ndtr((channel_edges - centre[:, None]) / sigma[:, None]), axis=1)

    escaping = escape * (middle > _SILICON_K)
    matrix = (1.0 - escaping - tail)[:, None] * line(middle)
    if escape:
        matrix += escaping[:, None] * line(middle - _ESCAPE)
    if tail:
        matrix += tail * np.diff(np.clip(channel_edges / middle[:, None], 0.0, 1.0), axis=1)
    energy, channel = np.nonzero(matrix > threshold)
    bounds = np.stack([channel_edges[:-1], channel_edges[1:]], axis=1)
    values = np.float32(matrix[energy, channel]).astype(float)
    keywords = {"TELESCOP": "SKYFOLD", "INSTRUME": "CCD"}
    rmf = Rmf(None, edges, first_channel, bounds, energy, channel, values, False, keywords)
    return rmf, Arf(None, edges, np.float32(ccd_area(middle, peak_area)).astype(float))


@dataclass(frozen=True, eq=False)
class Fake:
    """What `fakeit` gives.

    Parameters
    ----------
    source : simulated spectrum, background included.
    background : simulated spectrum of the background region, None without a background.
    expected : (n_channels,) counts that the source alone is expected to give.
    """

    source: Pha
    background: Pha | None
    expected: np.ndarray


def expected_counts(model: Any, rmf: Rmf, arf: Arf | None, exposure: float) -> np.ndarray:
    """Return the counts that a model without free parameters is expected to give in each channel.

    Parameters
    ----------
    model : additive component, or anything with ``photon_flux(edges)`` or ``evaluate(edges)``.
    rmf, arf : response.
    exposure : s.
    """
    flux = model.photon_flux(rmf.edges) if hasattr(model, "photon_flux") else model.evaluate(rmf.edges)
    flux = np.asarray(flux, float)
    if flux.shape != (len(rmf.edges) - 1,) or not np.all(np.isfinite(flux) & (flux >= 0)):
        raise SkyfoldError(
            "A spectrum can be simulated only from a model that is finite and not negative in every bin."
        )
    photons = (flux * effective_area(rmf, arf))[rmf.energy_index]
    expected = exposure * np.bincount(rmf.channel_index, weights=rmf.values * photons, minlength=len(rmf.bounds))
    if not np.all(np.isfinite(expected)):
        raise SkyfoldError(f"The effective area {arf.path if arf else None} holds values that are no numbers.")
    return np.maximum(expected, 0.0)


def fakeit(
    model: Any,
    rmf: Rmf,
    arf: Arf | None = None,
    exposure: float = 1e4,
    *,
    background: Any = None,
    background_ratio: float = 10.0,
    min_counts: float | None = None,
    seed: int = 0,
    response_file: str = "",
    arf_file: str = "",
    background_file: str = "",
) -> Fake:
    """Simulate a spectrum with Poisson counts.

    Parameters
    ----------
    model : model without free parameters, as for `expected_counts`.
    rmf, arf : response.
    exposure : s.
    background : expected background in the source region, counts/s in each channel (or one number for all).
    background_ratio : size of the background region over that of the source region (BACKSCAL).
    min_counts : least counts of a group; no grouping without it.
    seed : the same seed gives the same counts.
    response_file, arf_file, background_file : names for the header.
    """
    if not exposure > 0 or not background_ratio > 0:
        raise SkyfoldError(f"Exposure ({exposure}) and background_ratio ({background_ratio}) must be above zero.")
    rng = np.random.default_rng(seed)
    source = expected_counts(model, rmf, arf, exposure)
    n_channels = len(source)
    behind = np.broadcast_to(np.asarray(0.0 if background is None else background, float) * exposure, n_channels)
    if not np.all(np.isfinite(behind) & (behind >= 0)):
        raise SkyfoldError("The background must be finite and not negative in every channel.")
    counts = rng.poisson(source + behind).astype(float)
    grouping, quality = np.zeros(n_channels, int), np.zeros(n_channels, int)
    if min_counts is not None:
        grouping, quality = group_counts(counts, min_counts)

    def record(values: np.ndarray, scale: float, **more: Any) -> Pha:
        return Pha(
            path=None,
            channels=rmf.first_channel + np.arange(n_channels),
            first_channel=rmf.first_channel,
            detector_channels=n_channels,
            counts=values,
            exposure=float(exposure),
            area_scaling=np.ones(n_channels),
            back_scaling=np.full(n_channels, scale),
            sys_err=np.zeros(n_channels),
            keywords=dict(rmf.keywords),
            **more,
        )

    plain = {"grouping": np.zeros(n_channels, int), "quality": np.zeros(n_channels, int)}
    other = None
    if background is not None:
        other = record(rng.poisson(behind * background_ratio).astype(float), background_ratio, **plain)
    files = {"response_file": response_file, "arf_file": arf_file, "background_file": background_file}
    return Fake(record(counts, 1.0, grouping=grouping, quality=quality, **files), other, source)


__all__ = [
    "Fake",
    "ccd_area",
    "ccd_fwhm",
    "ccd_response",
    "expected_counts",
    "fakeit",
    "write_arf",
    "write_pha",
    "write_rmf",
]
