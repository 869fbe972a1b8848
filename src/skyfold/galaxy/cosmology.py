"""Distances and ages of the universe, by interpolation of tables, differentiable in redshift."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError

#: Largest redshift of the tables, and their number of intervals, which are equal in ln(1 + z).
Z_MAX = 100.0
_INTERVALS = 1200
#: Redshift from which time is counted; what was before is 1e-14 of the age at redshift 100.
_BEGINNING = 1e10


@dataclass(frozen=True)
class Cosmology:
    r"""Expanding universe of fixed parameters.

    .. math:: E(z)^2 = \Omega_m (1+z)^3 + \Omega_k (1+z)^2 + \Omega_\mathrm{de} f(z) + \Omega_\gamma (1+z)^4 + \nu(z)

    The parameters are numbers, not fitted; cosmologies of equal numbers share every compiled function. The functions
    of redshift interpolate tables, made with astropy's E, by cubic splines in :math:`\ln(1+z)`, of distance over
    :math:`\ln(1+z)`, lookback time over the same, and the logarithm of age: to 1e-10 (relative) for 0 <= z <= 100,
    with derivatives to 1e-7. They are NaN outside.

    Parameters
    ----------
    H0 : Hubble constant in km/s/Mpc.
    Om0 : matter density today, neutrinos of mass left out.
    Ode0 : dark energy density; None makes space flat.
    w0, wa : equation of state of dark energy, :math:`w = w_0 + w_a z/(1+z)`.
    Tcmb0 : temperature of the background radiation, K.
    Neff : effective number of neutrino species.
    m_nu : masses of the neutrinos, eV.

    Examples
    --------
    >>> float(Cosmology().luminosity_distance(1.0))  # doctest: +SKIP
    6791.3
    """

    H0: float = 67.66
    Om0: float = 0.30966
    Ode0: float | None = None
    w0: float = -1.0
    wa: float = 0.0
    Tcmb0: float = 2.7255
    Neff: float = 3.046
    m_nu: tuple[float, ...] = (0.0, 0.0, 0.06)

    @classmethod
    def named(cls, name: str) -> Cosmology:
        """Cosmology of a data release as astropy knows it, such as ``"Planck18"`` or ``"WMAP9"``.

        Raises
        ------
        SkyfoldError
            If astropy knows no cosmology of that name.
        """
        import astropy.cosmology as ac

        known = ac.available
        if name not in known:
            raise SkyfoldError(f"'{name}' is no cosmology that astropy knows. Known: {', '.join(known)}.")
        real = getattr(ac, name)
        return cls(
            H0=float(real.H0.value),
            Om0=float(real.Om0),
            Ode0=None if isinstance(real, ac.FlatFLRWMixin) else float(real.Ode0),
            Tcmb0=float(real.Tcmb0.value),
            Neff=float(real.Neff),
            m_nu=tuple(float(m) for m in np.atleast_1d(real.m_nu.value)) if real.Tcmb0.value > 0 else (0.0, 0.0, 0.0),
        )

    def to_astropy(self) -> Any:
        """Same cosmology as an astropy object."""
        import astropy.cosmology as ac
        import astropy.units as u

        settings: dict[str, Any] = {"Tcmb0": self.Tcmb0, "Neff": self.Neff, "m_nu": list(self.m_nu) * u.eV}
        if self.Ode0 is None:
            return ac.Flatw0waCDM(self.H0, self.Om0, w0=self.w0, wa=self.wa, **settings)
        return ac.w0waCDM(self.H0, self.Om0, self.Ode0, w0=self.w0, wa=self.wa, **settings)

    def luminosity_distance(self, z: Any) -> jax.Array:
        """Luminosity distance in Mpc; 0 at redshift 0."""
        t = jnp.log1p(jnp.asarray(z, dtype=float))
        return jnp.exp(t) * t * _interpolate(_tables(self)[0], t)

    def lookback_time(self, z: Any) -> jax.Array:
        """Time since light of redshift `z` was sent out, Gyr."""
        t = jnp.log1p(jnp.asarray(z, dtype=float))
        return t * _interpolate(_tables(self)[1], t)

    def age(self, z: Any) -> jax.Array:
        """Age of the universe at redshift `z`, Gyr."""
        return jnp.exp(_interpolate(_tables(self)[2], jnp.log1p(jnp.asarray(z, dtype=float))))


#: The cosmology that is meant where none is given: Planck Collaboration 2020, A&A 641, A6, table 2.
PLANCK18 = Cosmology()


def luminosity_distance(z: Any, cosmology: Cosmology = PLANCK18) -> jax.Array:
    """Luminosity distance in Mpc at redshift `z`."""
    return cosmology.luminosity_distance(z)


def lookback_time(z: Any, cosmology: Cosmology = PLANCK18) -> jax.Array:
    """Time since light of redshift `z` was sent out, Gyr."""
    return cosmology.lookback_time(z)


def age(z: Any, cosmology: Cosmology = PLANCK18) -> jax.Array:
    """Age of the universe at redshift `z`, Gyr."""
    return cosmology.age(z)


@lru_cache(maxsize=16)
def _tables(cosmology: Cosmology) -> np.ndarray:
    """Spline coefficients (3, 4, intervals), highest power first, of what the functions interpolate."""
    from scipy.interpolate import CubicSpline

    real = cosmology.to_astropy()
    t = np.linspace(0.0, np.log1p(Z_MAX), _INTERVALS + 1)
    # integrals over t = ln(1 + z) of dt / E and (1 + z) dt / E, interval by interval
    time = np.concatenate([[0.0], np.cumsum(_pieces(real, t, 0.0))])
    distance = np.concatenate([[0.0], np.cumsum(_pieces(real, t, 1.0))])
    earlier = np.sum(_pieces(real, np.linspace(t[-1], np.log(_BEGINNING), 500), 0.0))
    curvature = float(real.Ok0)
    if curvature != 0.0:
        root = np.sqrt(complex(curvature))
        distance = (np.sinh(root * distance) / root).real
    hubble_time, hubble_distance = float(real.hubble_time.value), 299792.458 / cosmology.H0
    over_t = [np.concatenate([[1.0], values[1:] / t[1:]]) for values in (distance, time)]
    log_age = np.log(hubble_time * (time[-1] - time + earlier))
    curves = (hubble_distance * over_t[0], hubble_time * over_t[1], log_age)
    return np.stack([np.asarray(CubicSpline(t, values).c) for values in curves])


def _pieces(real: Any, edges: np.ndarray, power: float) -> np.ndarray:
    """Integrals of (1 + z)^power / E over ln(1 + z) between edges, by Gauss-Legendre rules of five points."""
    x, weight = np.polynomial.legendre.leggauss(5)
    half = 0.5 * np.diff(edges)[:, None]
    t = 0.5 * (edges[1:] + edges[:-1])[:, None] + half * x
    integrand = np.exp(power * t) * np.reshape(real.inv_efunc(np.expm1(t.ravel())), t.shape)
    return np.sum(half * weight * integrand, axis=1)


def _interpolate(coefficients: np.ndarray, t: jax.Array) -> jax.Array:
    step = np.log1p(Z_MAX) / _INTERVALS
    place = jnp.clip(jnp.floor(t / step), 0, _INTERVALS - 1).astype(int)
    c = jnp.asarray(coefficients)[:, place]
    d = t - place * step
    value = ((c[0] * d + c[1]) * d + c[2]) * d + c[3]
    # a hair outside is rounding
    inside = (t >= -1e-12) & (t <= np.log1p(Z_MAX) * (1 + 1e-12))
    return jnp.where(inside, value, jnp.nan)
