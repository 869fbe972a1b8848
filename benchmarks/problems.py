"""The standard problems on which methods are compared: posteriors with what is known of them.

Each function builds one `Problem`. All but ULX-4 are simulated, with fixed seeds, so that every machine has the same
data; where an exact answer exists (funnel, banana, the two modes of the two black bodies), it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import erf

import skyfold as sf
from skyfold import xray
from skyfold.compiled.annotation import Annotation
from skyfold.component import Component
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.likelihood import Likelihood
from skyfold.likelihoods.poisson import Poisson
from skyfold.observation import Observation
from skyfold.parameters import Value, parameter
from skyfold.simulated import simulate
from skyfold.xray.models import BlackbodyRad, PowerLaw, TBabs
from skyfold.xray.models.spectral import Additive


@dataclass(frozen=True)
class Problem:
    """A posterior and what is known of it.

    Attributes
    ----------
    name : for tables.
    posterior : what to explore.
    truth : values of the parameters that the data were simulated with, by name; empty for real data.
    moments : exact mean and standard deviation of scalar entries, by name; empty where not known.
    log_evidence : exact, None where not known.
    mirror : order of the latent coordinates that leaves the posterior as it is, None where there is none: two modes of
        exactly equal mass.
    """

    name: str
    posterior: sf.Posterior
    truth: dict[str, Any] = field(default_factory=dict)
    moments: dict[str, tuple[float, float]] = field(default_factory=dict)
    log_evidence: float | None = None
    mirror: tuple[int, ...] | None = None


# -- spectra -----------------------------------------------------------------------------------------------------------


def ulx4(data: Path) -> Problem:
    """NGC 7793 ULX-4, EPIC-pn: tbabs*(powerlaw+bbodyrad), 5 parameters, 102 groups, 10,091 counts.

    Parameters
    ----------
    data : folder with ``PN_spectrum_grp20.fits``, ``PN.rmf`` and ``PN.arf``.
    """
    source = TBabs(nH=sf.Uniform(0, 1)) * (
        PowerLaw(PhoIndex=sf.Uniform(0, 5), norm=sf.LogUniform(1e-6, 1e-3))
        + BlackbodyRad(kT=sf.Uniform(0, 5), norm=sf.LogUniform(1e-2, 1e2))
    )
    spectrum = xray.Spectrum.read(data / "PN_spectrum_grp20.fits", background="none").notice(0.5, 8.0)
    return Problem("ulx4", sf.Posterior((source, spectrum)))


def _ccd(exposure: float, *, step: float = 0.02, channel: float = 0.05, band: tuple[float, float] = (0.5, 8.0)) -> Any:
    """Spectrum of a CCD without counts, as a place for simulated ones."""
    rmf, arf = xray.ccd_response(
        energies=(0.3, 9.0), energy_step=step, channel_width=channel, n_channels=round(10.0 / channel)
    )
    nothing = PowerLaw(PhoIndex=2.0, norm=0.0)
    return xray.Spectrum.assemble(xray.fakeit(nothing, rmf, arf, exposure).source, rmf, arf, name="ccd").notice(*band)


#: Exposures, in s, for which the median number of counts over the prior of `spectrum` is about 100, 1,000, 10,000.
EXPOSURES = {100: 500.0, 1000: 5000.0, 10000: 50000.0}


def spectrum(exposure: float = EXPOSURES[1000], seed: int = 1) -> Problem:
    """tbabs*(powerlaw+bbodyrad) with 5 free parameters through a CCD, 150 channels: what calibrations run on.

    Parameters
    ----------
    exposure : s.
    seed : of truth and data.
    """
    source = TBabs(nH=sf.Uniform(0, 1)) * (
        PowerLaw(PhoIndex=sf.Uniform(1, 4), norm=sf.LogUniform(1e-5, 1e-3))
        + BlackbodyRad(kT=sf.Uniform(0.1, 2), norm=sf.LogUniform(1e-3, 1))
    )
    return _simulated("spectrum", sf.Posterior((source, _ccd(exposure))), seed)


def two_temperatures() -> Problem:
    """tbabs*(bbodyrad+bbodyrad) with the same priors for both, 2,000 counts: two modes of exactly equal mass."""

    def black_body(kt: Any, norm: Any) -> Any:
        return BlackbodyRad(kT=kt, norm=norm)

    hidden = TBabs(nH=0.2) * (black_body(0.25, 4.0) + black_body(1.0, 0.04))
    empty = _ccd(20000.0, channel=0.1)
    data = empty.likelihood.sample(np.random.default_rng(3), np.asarray(empty.predict(hidden)))
    free = [black_body(sf.LogUniform(0.05, 5), sf.LogUniform(1e-3, 1e2)) for _ in range(2)]
    source = TBabs(nH=sf.Uniform(0, 1)) * (free[0] + free[1])
    truth = {
        "tbabs.nH": 0.2,
        "bbodyrad.kT": 0.25,
        "bbodyrad.norm": 4.0,
        "bbodyrad_2.kT": 1.0,
        "bbodyrad_2.norm": 0.04,
    }
    return Problem(
        "two temperatures",
        sf.Posterior((source, empty.with_data(data))),
        truth,
        mirror=(0, 3, 4, 1, 2),
    )


def _simulated(name: str, posterior: sf.Posterior, seed: int) -> Problem:
    latent, posterior = simulate(posterior, seed, seed + 1000)
    return Problem(name, posterior, {k: np.asarray(v) for k, v in posterior.values(latent).items()})


# -- shapes ------------------------------------------------------------------------------------------------------------


class Vector(Component):
    """A vector that is seen as it is."""

    name: ClassVar[str] = "vector"
    x: Value = parameter()

    def evaluate(self, grid: Any) -> jax.Array:
        return jnp.atleast_1d(self.x)


class FunnelLikelihood(Likelihood):
    """N(x; 0, exp(v/2)) of the expected data (v, x_1, ..., x_n), over the uniform prior of the x; no data at all."""

    statistic_name: ClassVar[str] = "-2 ln L"
    data: np.ndarray
    width: float

    def pointwise(self, expected: jax.Array) -> jax.Array:
        v, x = expected[0], expected[1:]
        each = -0.5 * x**2 * jnp.exp(-v) - 0.5 * v - 0.5 * jnp.log(2 * jnp.pi) + jnp.log(self.width)
        return jnp.concatenate([jnp.zeros(1), each])

    def fisher(self, expected: jax.Array) -> jax.Array:
        v, n = expected[0], expected.size - 1
        return jnp.concatenate([jnp.full(1, 0.5 * n), jnp.full(n, jnp.exp(-v))])

    def statistic(self, expected: jax.Array) -> jax.Array:
        return -2.0 * jnp.sum(self.pointwise(expected), axis=-1)

    def with_data(self, data: Any) -> FunnelLikelihood:
        return self


class Funnel(Component):
    """Log variance v and what it is the variance of."""

    name: ClassVar[str] = "funnel"
    v: Value = parameter()
    x: Value = parameter()

    def evaluate(self, grid: Any) -> jax.Array:
        return jnp.concatenate([jnp.atleast_1d(self.v), self.x])


class Seen(Observation):
    """Sees a model without an instrument."""

    def predict(self, model: Any) -> jax.Array:
        return model.evaluate(None)


def funnel(ndim: int = 10, half_width: float = 200.0) -> Problem:
    """Neal's funnel: v ~ N(0, 3), x_i ~ N(0, exp(v/2)), with the centred x under a uniform prior of +-200.

    The prior cuts 1e-3 off the mouth; the exact numbers are those of the cut funnel.

    References
    ----------
    Neal 2003, Annals of Statistics 31, 705, section 8.
    """
    n = ndim - 1
    likelihood = FunnelLikelihood(np.zeros(ndim), 2.0 * half_width)
    model = Funnel(v=sf.Normal(0.0, 3.0), x=sf.Uniform(np.full(n, -half_width), np.full(n, half_width)))
    v = np.linspace(-30.0, 30.0, 60001)
    edge = half_width / (np.sqrt(2.0) * np.exp(0.5 * v))
    inside = erf(edge)
    prior = np.exp(-0.5 * (v / 3.0) ** 2) / (3.0 * np.sqrt(2.0 * np.pi)) * (v[1] - v[0])
    weight = prior * inside**n
    z = weight.sum()
    mean = (weight * v).sum() / z
    sd = np.sqrt((weight * (v - mean) ** 2).sum() / z)
    moments = {"funnel.v": (float(mean), float(sd))}
    posterior = sf.Posterior((model, Seen(likelihood, Annotation("funnel"))))
    return Problem("funnel", posterior, {}, moments, float(np.log(z)))


class Banana(Component):
    """A vector bent: its second entry less a parabola of the first."""

    name: ClassVar[str] = "banana"
    bend: float
    x: Value = parameter()

    def evaluate(self, grid: Any) -> jax.Array:
        bent = self.x[1] + self.bend * (self.x[0] ** 2 - 100.0)
        return jnp.concatenate([self.x[:1], bent[None], self.x[2:]])


def banana(ndim: int = 10, bend: float = 0.1) -> Problem:
    """Haario's banana: x_1 ~ N(0, 10), x_2 + b (x_1^2 - 100) ~ N(0, 1), the rest N(0, 1); uniform priors.

    References
    ----------
    Haario, Saksman & Tamminen 1999, Computational Statistics 14, 375.
    """
    low, high = np.full(ndim, -10.0), np.full(ndim, 10.0)
    low[0], high[0] = -70.0, 70.0
    low[1], high[1] = -bend * 4900.0, bend * 100.0 + 10.0
    sigma = np.ones(ndim)
    sigma[0] = 10.0
    model = Banana(bend=bend, x=sf.Uniform(low, high))
    x2 = float(np.sqrt(1.0 + 2.0 * (100.0 * bend) ** 2))
    moments = {f"banana.x[{i}]": (0.0, {0: 10.0, 1: x2}.get(i, 1.0)) for i in range(ndim)}
    posterior = sf.Posterior((model, Seen(Gaussian(np.zeros(ndim), sigma), Annotation("banana"))))
    return Problem("banana", posterior, {}, moments, float(-np.log(high - low).sum()))


# -- nine lines of Perseus ---------------------------------------------------------------------------------------------

#: Rest energies in keV, good to about 1 eV: Li-like u, e; He-like z; Li-like j, r, q; He-like y, x, w, in the letters
#: of Gabriel (1972, MNRAS 160, 99); compare the measurements of Beiersdorfer et al. (1993, ApJ 409, 846). The paper
#: that the case follows does not print its own. They say where the simulated lines lie, nothing else depends on them.
REST = np.array([6.6167, 6.6204, 6.6366, 6.6447, 6.6529, 6.6620, 6.6676, 6.6823, 6.7004])
#: Photons/cm^2/s in each, as published; in the order of the energies they fit these lines (w the strongest, z next).
LINE_NORMS = np.array([1.57e-5, 1.04e-5, 9.51e-5, 2.38e-5, 3.67e-5, 2.31e-5, 7.76e-5, 6.85e-5, 2.40e-4])
#: Our choices, not published there: effective area in cm^2 (a calorimeter behind a closed gate valve), exposures in s;
#: and the width of the line-spread function, FWHM in keV.
AREA, LINE_EXPOSURES, FWHM = 150.0, (1.0e5, 1.5e5, 5.0e4), 5e-3


class HeliumLike(Component):
    """Lines of one plasma: common broadening and shift, own norms, energies known to 0.1 eV."""

    name: ClassVar[str] = "lines"
    rest: np.ndarray
    norms: Value = parameter(unit="ph / (cm2 s)")
    dE: Value = parameter(unit="keV", description="error of the line energies")
    Sigma: Value = parameter(sf.LogUniform(1e-5, 1e-3), description="velocity dispersion over c")
    delta: Value = parameter(sf.Normal(0.0, 1e-3), description="bulk velocity over c")
    Redshift: Value = parameter(sf.Normal(0.017284, 5e-5))

    def evaluate(self, grid: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Energies, widths (keV) and photons/cm^2/s of the lines as they arrive."""
        energy = jnp.asarray(self.rest) / ((1.0 + self.Redshift) * (1.0 + self.delta)) + self.dE
        return energy, self.Sigma * energy, self.norms


class Calorimeter(Observation):
    """Counts of lines seen with a Gaussian line-spread function, over a flat baseline.

    The gain is taken as a factor on the area, for on energies of 6.5 keV one of 1% would move lines by half the band.
    """

    edges: np.ndarray
    exposure: np.ndarray
    baseline: Value = parameter(sf.Uniform(0.0, 1e-3), unit="ph / (cm2 s keV)")
    gain: Value = parameter(1.0)
    shift: Value = parameter(0.0, unit="keV")

    def predict(self, model: Any) -> jax.Array:
        energy, width, norm = model.evaluate(None)
        sigma = jnp.sqrt(width**2 + (FWHM / 2.3548200450309493) ** 2)
        x = (jnp.asarray(self.edges) - self.shift - energy[:, None]) / (jnp.sqrt(2.0) * sigma[:, None])
        # tails of lines inside the band: differences of erf lose nothing that counts
        lines = norm @ jnp.diff(0.5 * jax.scipy.special.erf(x), axis=1)
        return AREA * self.exposure * self.gain * (lines + self.baseline * jnp.diff(jnp.asarray(self.edges)))


def perseus() -> Problem:
    """Core of Perseus, nine lines near Fe XXV He-alpha in three observations of 240 channels, 28 parameters.

    Simulated with the published posterior medians as truth (Dupourque et al. 2024, table B.1).
    """
    edges = np.linspace(6.49, 6.61, 241)
    # the published range of the norms cannot hold the published norm of w
    lines = HeliumLike(
        rest=REST, norms=sf.LogUniform(np.full(9, 1e-5), np.full(9, 1e-3)), dE=sf.Normal(np.zeros(9), 1e-4)
    )
    hidden = HeliumLike(rest=REST, Sigma=6.54e-4, delta=1.70e-4, Redshift=0.017284, norms=LINE_NORMS, dE=np.zeros(9))
    truth: dict[str, Any] = {
        "lines.Sigma": 6.54e-4,
        "lines.delta": 1.70e-4,
        "lines.Redshift": 0.017284,
        "lines.norms": LINE_NORMS,
        "lines.dE": np.zeros(9),
    }
    rng = np.random.default_rng(20)
    pairs = {}
    baselines, gains, shifts = (6.37e-4, 6.76e-4, 8.29e-4), (1.0, 0.999, 1.01), (0.0, -1.92e-4, -9.22e-5)
    for name, seconds, *own in zip(("obs40", "obs50", "obs60"), LINE_EXPOSURES, baselines, gains, shifts, strict=True):
        nothing = Poisson(np.zeros(240))
        exact = Calorimeter(nothing, Annotation(name), edges, np.array(seconds), *own)
        data = Poisson(rng.poisson(np.asarray(exact.predict(hidden))))
        free = {} if name == "obs40" else {"gain": sf.Normal(1.0, 1e-2), "shift": sf.Normal(0.0, 1e-3)}
        pairs[name] = (lines, Calorimeter(data, Annotation(name), edges, np.array(seconds), **free))
        truth |= {f"{name}.{k}": v for k, v in zip(("baseline", *free), own, strict=False)}
    return Problem("perseus", sf.Posterior(pairs), truth)


# -- a field under a spectrum ------------------------------------------------------------------------------------------


class LineOverField(Additive):
    r"""A line over a background whose logarithm is a Gaussian process on the bins.

    .. math:: m = T\,[b\,\exp(s\,F^{-1} \sqrt{P} F \xi) + K g(E)], \qquad P(k) \propto (1 + (k/k_0)^2)^{-2}

    The process is stationary on a circle of the bins, so that its root is a product in Fourier space.
    """

    name: ClassVar[str] = "field"
    root: np.ndarray
    energies: np.ndarray
    xi: Value = parameter(description="excitations of the process")
    level: Value = parameter(sf.LogUniform(1.0, 100.0), unit="counts", description="background in a bin")
    amplitude: Value = parameter(sf.LogNormal(-1.0, 0.5), description="standard deviation of its logarithm")
    LineE: Value = parameter(sf.Uniform(2.0, 8.0), unit="keV")
    norm: Value = parameter(sf.LogUniform(1.0, 1e4), unit="counts")

    def evaluate(self, edges: Any) -> jax.Array:
        n = self.xi.size
        field_ = jnp.fft.irfft(jnp.fft.rfft(self.xi) * jnp.asarray(self.root), n)
        line = jnp.exp(-0.5 * ((jnp.asarray(self.energies) - self.LineE) / 0.06) ** 2)
        step = 8.0 / n
        return self.level * jnp.exp(self.amplitude * field_) + self.norm * line * step / (0.06 * np.sqrt(2 * np.pi))


def field_under_line(n: int = 1000, scale: float = 20.0) -> Problem:
    """A line over a log-Gaussian background of 1,000 bins, each with an excitation of its own: 1,004 parameters.

    Parameters
    ----------
    n : bins, from 1 to 9 keV.
    scale : correlation length in bins.
    """
    k = np.fft.rfftfreq(n) * 2.0 * np.pi * scale
    power = (1.0 + k**2) ** -2
    both = np.where((np.arange(k.size) == 0) | ((n % 2 == 0) & (np.arange(k.size) == k.size - 1)), 1.0, 2.0)
    power *= n / np.sum(both * power)  # unit variance in every bin
    middle = 1.0 + 8.0 * (np.arange(n) + 0.5) / n
    common = {"root": np.sqrt(power), "energies": middle}
    truth = {"level": 10.0, "amplitude": 0.4, "LineE": 5.0, "norm": 200.0}
    rng = np.random.default_rng(31)
    xi = rng.standard_normal(n)
    hidden = LineOverField(**common, xi=xi, **truth)
    data = rng.poisson(np.asarray(hidden.evaluate(None)))
    model = LineOverField(**common, xi=sf.Normal(np.zeros(n), 1.0))
    posterior = sf.Posterior((model, Seen(Poisson(data), Annotation("bins"))))
    return Problem("field", posterior, {"field.xi": xi, **{f"field.{key}": v for key, v in truth.items()}})


#: Problems that need no files, by name.
PROBLEMS: dict[str, Callable[[], Problem]] = {
    "spectrum": spectrum,
    "two temperatures": two_temperatures,
    "funnel": funnel,
    "banana": banana,
    "perseus": perseus,
    "field": field_under_line,
}


def problem(name: str, data: Path | None = None) -> Problem:
    """Build a problem by its name; `data` is the folder that ULX-4 needs."""
    if name == "ulx4":
        if data is None:
            raise SystemExit("ulx4 needs the folder with its files: --data FOLDER")
        return ulx4(data)
    if name not in PROBLEMS:
        raise SystemExit(f"'{name}' is no problem here; there are: ulx4, {', '.join(PROBLEMS)}")
    return PROBLEMS[name]()
