r"""Point-spread functions: how the photons of one point are spread over the sky, as a function of angle alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.gammaray.fits_sky import column, factor, opened

#: Energy that the scaling of the LAT's PSF refers to, MeV.
_SCALING_ENERGY = 100.0


class Psf:
    """Base of the point-spread functions; immutable, on the host, angles in radians.

    They are normalised in the plane; what wide tails lose on the sphere is found by `skyfold.gammaray.rho`.
    """

    def density(self, r: Any) -> np.ndarray:
        """Probability per steradian at angle r."""
        raise NotImplementedError

    def containment(self, r: Any) -> np.ndarray:
        """Probability within angle r."""
        raise NotImplementedError

    def key(self) -> tuple[np.ndarray, ...]:
        """Numbers that tell this PSF from every other one of its class."""
        raise NotImplementedError

    def radius(self, outside: float) -> float:
        """Angle outside of which this part of the photons falls, at most pi."""
        low, high = 0.0, np.pi
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if 1.0 - self.containment(middle) <= outside else (middle, high)
        return high


@dataclass(frozen=True)
class Kings(Psf):
    r"""Sum of King functions.

    .. math:: P(r) = \sum_i \frac{w_i}{2 \pi \sigma_i^2} \Big(1 - \frac{1}{\gamma_i}\Big)
        \Big(1 + \frac{r^2}{2 \gamma_i \sigma_i^2}\Big)^{-\gamma_i}

    Parameters
    ----------
    weights : (n,) of sum one.
    sigma : (n,) radians.
    gamma : (n,) above one.

    References
    ----------
    King 1962, AJ 67, 471; Read et al. 2011, A&A 534, A34.
    """

    weights: np.ndarray
    sigma: np.ndarray
    gamma: np.ndarray

    def __post_init__(self) -> None:
        values = [np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in (self.weights, self.sigma, self.gamma)]
        for name, value in zip(("weights", "sigma", "gamma"), np.broadcast_arrays(*values), strict=True):
            object.__setattr__(self, name, np.array(value))
        wrong = [
            f"{name} = {value.tolist()}"
            for name, value, good in (
                ("weights", self.weights, np.all(self.weights >= 0) and abs(self.weights.sum() - 1.0) < 1e-9),
                ("sigma", self.sigma, np.all((self.sigma > 0) & (self.sigma < np.pi))),
                ("gamma", self.gamma, np.all((self.gamma > 1) & np.isfinite(self.gamma))),
            )
            if not good
        ]
        if wrong:
            raise SkyfoldError(
                "A sum of King functions needs weights of sum one, positive widths in radians, and exponents above "
                f"one; got {', '.join(wrong)}."
            )

    def density(self, r: Any) -> np.ndarray:
        r = np.asarray(r, dtype=np.float64)[..., None]
        factor = self.weights * (1.0 - 1.0 / self.gamma) / (2.0 * np.pi * self.sigma**2)
        return np.sum(factor * (1.0 + r**2 / (2.0 * self.gamma * self.sigma**2)) ** -self.gamma, axis=-1)

    def containment(self, r: Any) -> np.ndarray:
        r = np.asarray(r, dtype=np.float64)[..., None]
        log = np.log1p(r**2 / (2.0 * self.gamma * self.sigma**2))
        return np.sum(self.weights * -np.expm1((1.0 - self.gamma) * log), axis=-1)

    def key(self) -> tuple[np.ndarray, ...]:
        return self.weights, self.sigma, self.gamma


def King(sigma: float, gamma: float) -> Kings:
    """One King function: `sigma` in radians, `gamma` above one."""
    return Kings(np.ones(1), np.full(1, sigma), np.full(1, gamma))


def DoubleKing(
    core: float, sigma_core: float, gamma_core: float, sigma_tail: float, gamma_tail: float, scale: float = 1.0
) -> Kings:
    """Two King functions, of which `core` is the first one's part; widths times `scale` are in radians."""
    return Kings(
        np.array([core, 1.0 - core]), scale * np.array([sigma_core, sigma_tail]), np.array([gamma_core, gamma_tail])
    )


@dataclass(frozen=True)
class Gaussian(Psf):
    r"""Gaussian in two dimensions, :math:`P(r) = e^{-r^2/2\sigma^2}/2\pi\sigma^2`, `sigma` in radians."""

    sigma: float

    def __post_init__(self) -> None:
        if not 0 < self.sigma < np.inf:
            raise SkyfoldError(f"The width of a Gaussian PSF must be a positive number of radians, not {self.sigma}.")

    def density(self, r: Any) -> np.ndarray:
        return np.exp(-0.5 * (np.asarray(r) / self.sigma) ** 2) / (2.0 * np.pi * self.sigma**2)

    def containment(self, r: Any) -> np.ndarray:
        return -np.expm1(-0.5 * (np.asarray(r) / self.sigma) ** 2)

    def key(self) -> tuple[np.ndarray, ...]:
        return (np.array([self.sigma]),)


@dataclass(frozen=True)
class LatPsf:
    r"""PSF of the Fermi LAT by energy, as in the files of its response functions.

    At each inclination two King functions in :math:`x = r/s(E)`, with
    :math:`s(E) = \sqrt{(c_0 (E/100\,\mathrm{MeV})^\beta)^2 + c_1^2}`; the core's part is
    :math:`1/(1 + N_t \sigma_t^2/\sigma_c^2)`. Parameters are interpolated linearly in ln E between the bins' middles,
    and the functions, not their parameters, are averaged over inclination. No correction for the fish-eye effect.

    Attributes
    ----------
    log_energy : (n,) middles of the energy bins, ln MeV.
    table : (5, n_cos_theta, n) core's part, sigma and gamma of core, sigma and gamma of tail.
    share : (n_cos_theta,) how the inclinations count, of sum one.
    scaling : c_0, c_1 (radians), beta.

    References
    ----------
    https://fermi.gsfc.nasa.gov/ssc/data/analysis/documentation/Cicerone/Cicerone_LAT_IRFs/IRF_PSF.html
    """

    log_energy: np.ndarray
    table: np.ndarray
    share: np.ndarray
    scaling: tuple[float, float, float]

    @classmethod
    def read(cls, path: str | os.PathLike[str], event_type: str = "PSF3", weights: Any = None) -> LatPsf:
        """Read a file such as ``psf_P8R3_ULTRACLEANVETO_V3_PSF.fits``.

        Parameters
        ----------
        path : file.
        event_type : the part of the file's extensions after ``RPSF_``: "PSF0" (worst quarter) to "PSF3" (best).
        weights : (n_cos_theta,) how the inclinations count; by default by the photons that the LAT collects at
            each of the file's eight inclinations, as NPTFit has them.

        Raises
        ------
        FileFormatError
            If the file is none of this kind, or holds no such event type.
        """
        with opened(Path(path)) as file:
            names = [h.name for h in file]
            if f"RPSF_{event_type}" not in names or f"PSF_SCALING_PARAMS_{event_type}" not in names:
                types = [n.removeprefix("RPSF_") for n in names if n.startswith("RPSF_")]
                raise FileFormatError(
                    f"{os.fspath(path)}: no tables RPSF_{event_type} and PSF_SCALING_PARAMS_{event_type}. The file "
                    f"holds {', '.join(types) or 'no PSF of the LAT'}; give one of these as event_type."
                )
            table, where = file[f"RPSF_{event_type}"], f"{os.fspath(path)}, HDU RPSF_{event_type}"
            row = {k: _first_row(table, k, where, "MeV" if k.startswith("ENERG") else "") for k in _COLUMNS}
            scaled, place = (
                file[f"PSF_SCALING_PARAMS_{event_type}"],
                f"{os.fspath(path)}, HDU PSF_SCALING_PARAMS_{event_type}",
            )
            scaling = _first_row(scaled, "PSFSCALE", place, "")
        _check_tables(row, scaling, where, place)
        share = np.asarray(_INCLINATIONS if weights is None else weights, dtype=np.float64)
        if (
            share.shape != row["NTAIL"].shape[:1]
            or not np.all((share >= 0) & np.isfinite(share))
            or not share.sum() > 0
        ):
            raise SkyfoldError(
                f"{os.fspath(path)}: weights must be {row['NTAIL'].shape[0]} positive numbers, one per cos(theta)."
            )
        core = 1.0 / (1.0 + row["NTAIL"] * row["STAIL"] ** 2 / row["SCORE"] ** 2)
        middles = 0.5 * (np.log(row["ENERG_LO"]) + np.log(row["ENERG_HI"]))
        table = np.stack([core, row["SCORE"], row["GCORE"], row["STAIL"], row["GTAIL"]])
        used = share > 0
        scales = (float(scaling[0]), float(scaling[1]), float(scaling[2]))
        return cls(middles, table[:, used], share[used] / share.sum(), scales)

    def at(self, energy: float) -> Kings:
        """PSF at one energy in GeV."""
        log_energy = np.log(1e3 * energy)
        if not self.log_energy[0] <= log_energy <= self.log_energy[-1]:
            low, high = np.exp(self.log_energy[[0, -1]]) / 1e3
            raise SkyfoldError(f"The PSF is known from {low:.3g} to {high:.3g} GeV, not at {energy:g} GeV.")
        bin = min(int(np.searchsorted(self.log_energy, log_energy, side="right")), self.log_energy.size - 1)
        part = (log_energy - self.log_energy[bin - 1]) / (self.log_energy[bin] - self.log_energy[bin - 1])
        core, sigma_core, gamma_core, sigma_tail, gamma_tail = (
            self.table[..., bin - 1] * (1.0 - part) + self.table[..., bin] * part
        )
        c0, c1, beta = self.scaling
        scale = float(np.hypot(c0 * (1e3 * energy / _SCALING_ENERGY) ** beta, c1))
        weights = np.concatenate([self.share * core, self.share * (1.0 - core)])
        sigma = scale * np.concatenate([sigma_core, sigma_tail])
        return Kings(weights, sigma, np.concatenate([gamma_core, gamma_tail]))

    def averaged(self, low: float, high: float, index: float = 2.4, nodes: int = 24) -> Kings:
        """PSF of photons between two energies in GeV whose numbers fall as E^-index; Gauss-Legendre nodes in ln E."""
        if not 0 < low < high:
            raise SkyfoldError(f"Energies must be positive and rise, not {low} to {high} GeV.")
        t, w = np.polynomial.legendre.leggauss(nodes)
        energies = np.exp(0.5 * (np.log(low) + np.log(high)) + 0.5 * np.log(high / low) * t)
        share = w * energies ** (1.0 - index)
        parts = [self.at(e) for e in energies]
        weights = np.concatenate([s * p.weights for s, p in zip(share / share.sum(), parts, strict=True)])
        return Kings(weights, np.concatenate([p.sigma for p in parts]), np.concatenate([p.gamma for p in parts]))


def _first_row(table: Any, name: str, where: str, unit: str) -> np.ndarray:
    """First row of a column, in a unit."""
    values = column(table, name, where)
    if not len(values):
        raise FileFormatError(f"{where}, column {name}: the table has no row. Fetch the file anew")
    return values[0] * factor(table.columns[name].unit, unit, f"{where}, column {name}", "this column")


def _check_tables(row: dict[str, np.ndarray], scaling: np.ndarray, where: str, place: str) -> None:
    """Raise `FileFormatError` where columns of the LAT's file do not fit each other or hold what no PSF has."""
    low, high = row["ENERG_LO"], row["ENERG_HI"]
    shape = row["NTAIL"].shape
    rising = low.shape == high.shape and low.ndim == 1 and low.size > 1 and bool(np.all((low > 0) & (high > low)))
    if not rising or not np.all(np.isfinite(high)) or not np.allclose(high[:-1], low[1:], rtol=1e-3, atol=0.0):
        raise FileFormatError(
            f"{where}, columns ENERG_LO and ENERG_HI, row 1: energy bins must rise, and each begin where the one "
            "before ends. Fetch the file anew"
        )
    for name, least in (("NTAIL", 0.0), ("SCORE", 0.0), ("STAIL", 0.0), ("GCORE", 1.0), ("GTAIL", 1.0)):
        values = row[name]
        if values.shape != shape or values.ndim != 2 or shape[1] != low.size:
            raise FileFormatError(
                f"{where}, column {name}, row 1: the shape {values.shape} is not that of NTAIL, {shape}, with one "
                f"entry for each of {low.size} energies. Fetch the file anew"
            )
        bad = ~(np.isfinite(values) & ((values > least) | ((values == least) & (name == "NTAIL"))))
        if bad.any():
            angle, energy = np.argwhere(bad)[0]
            raise FileFormatError(
                f"{where}, column {name}, row 1, inclination {angle + 1}, energy {energy + 1}: {values[bad][0]:g} is "
                f"no finite number above {least:g}. Fetch the file anew"
            )
    if scaling.shape != (3,) or not np.all(np.isfinite(scaling)) or np.any(scaling[:2] < 0) or not scaling[:2].any():
        raise FileFormatError(
            f"{place}, column PSFSCALE, row 1: {scaling.tolist()} are not c0, c1 (radians, not negative) and beta. "
            "Fetch the file anew"
        )


#: Part of the photons at cos(theta) 0.2-0.3, ..., 0.9-1.0, from the default of NPTFit's PSF module.
_INCLINATIONS = (0.0, 9.7381019e-06, 0.0024811595, 0.022328802, 0.080147663, 0.17148392, 0.30634315, 0.41720551)
_COLUMNS = ("ENERG_LO", "ENERG_HI", "NTAIL", "SCORE", "STAIL", "GCORE", "GTAIL")
