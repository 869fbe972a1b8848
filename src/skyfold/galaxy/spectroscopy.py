"""A spectrum of a galaxy: redshift, motions of its stars, resolution, calibration, emission lines."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.axis import Axis
from skyfold.compiled.annotation import Annotation
from skyfold.component import Sum
from skyfold.errors import SkyfoldError
from skyfold.galaxy import nuisances
from skyfold.galaxy.broadening import FWHM, LIGHT_KMS, LineSpread, dispersed
from skyfold.galaxy.columns import LIGHT, NJY, check_reach, flux_densities, numbers, plain
from skyfold.galaxy.coverage import check_pixels, reaches
from skyfold.galaxy.filters import WAVELENGTHS
from skyfold.galaxy.galaxy import Galaxy
from skyfold.galaxy.igm import warn_of_absorption
from skyfold.galaxy.ssp import SSPWarning
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.limits import Limited
from skyfold.observation import Observation
from skyfold.parameters import Value, normal_cdf, parameter
from skyfold.priors import Uniform

#: Shortest wavelength at which a spectrum of a galaxy may begin, Angstrom: hydrogen absorbs what is below.
_SHORTEST = 900.0
#: Largest step of the grid, km/s, and how far it reaches beyond the data for the dispersion to have light to take.
_STEP, _MARGIN = 60.0, 4000.0
#: Ratio of distances to the neighbours from which the larger one is a gap; standard deviations of the instrument within
#: which a pixel's edge sees all but a thousandth of its light.
_GAP, _SEEN = 1.5, 3.09


class Spectroscopy(Observation):
    r"""Flux densities of a galaxy in the pixels of a spectrograph.

    The galaxy's spectrum is taken on equal steps of ln(wavelength), blurred by the velocity dispersion, then by the
    instrument's profile less that of the templates,
    :math:`\sigma^2 = \sigma_\mathrm{inst}^2(\lambda) - \sigma_\mathrm{temp}^2(\lambda/(1+z))`. Where the templates are
    coarser than the instrument, the difference is taken from the dispersion; where they are coarser than both
    together, the spectrum is as sharp as they are. A pixel holds the mean of that over ln(wavelength), in which
    photons count alike, between its edges; these are the middles between neighbours, and a pixel beside a gap is as
    wide as on its other side.

    Lines of the gas (`Nebular`) have the gas's dispersion and the instrument's profile, and neither the stars' nor the
    templates'; each pixel holds its mean of them.

    Two kinds of nuisances are integrated out analytically, which correlates the data: a polynomial that multiplies the
    model,

    .. math:: m_i \left(1 + \sum_{k=0}^{K} c_k T_k(x_i)\right), \quad c_k \sim N(0, s_k)

    in Chebyshev polynomials of the wavelength scaled to -1 .. 1, and fluxes :math:`F_l \sim N(0, s_l)` of emission
    lines (which may come out negative). `conditional` gives them back.

    Parameters
    ----------
    wave : (n,) wavelengths in vacuum, Angstrom or an astropy quantity, observed frame, increasing.
    flux, sigma : (n,) flux densities and their standard deviations: numbers in nJy, or astropy quantities per frequency
        or per wavelength, each with its own unit. What is masked or not finite is not used.
    resolution : :math:`\lambda/\Delta\lambda` at full width half maximum of the instrument, a number or (n,): of the
        profile that falls on the pixels, see `pixels_within`.
    mask : (n,) true where a pixel is used; by default all those with finite flux and positive finite sigma.
    template_fwhm : full width at half maximum of the templates, Angstrom in the rest frame: a number, or a pair of
        arrays (rest wavelength, width). Default 0, infinitely sharp; a grid that cannot be as sharp is warned of.
    calibration : order K of the calibration polynomial; None for none.
    calibration_sd : standard deviations :math:`s_k`, a number or (K + 1,).
    lines : rest wavelengths in vacuum of emission lines to integrate out, Angstrom.
    line_sd : standard deviations :math:`s_l` of their fluxes, erg/s/cm^2, a number or one for each.
    redshift : redshift of the lines; give the very parameter of the galaxy, or the same number.
    sigma_v : velocity dispersion of the stars, km/s, up to 600.
    sigma_gas : velocity dispersion of the lines, km/s; default 100.
    dof : degrees of freedom of Student-t noise against outliers; not with nuisances.
    step : of the grid in km/s; default half the instrument's smallest standard deviation, 60 at most.
    pixels_within : whether `resolution` is that of lines seen on these pixels, such as a lamp's, so that it has the
        pixel's own width in it, whose variance is then taken off. By default it has not.
    name : in tables.

    Raises
    ------
    SkyfoldError
        If arrays do not fit each other, nothing is left of the data, or Student-t noise is asked for with nuisances;
        when it meets a model, if a pixel reaches beyond the wavelengths of the populations at any redshift that the
        prior allows.

    References
    ----------
    Cappellari 2017, MNRAS 466, 798 (convolution in ln(wavelength)); Johnson et al. 2021, ApJS 254, 22 (nuisances).
    """

    likelihood: Any
    wave: Any
    low: Any
    high: Any
    origin: Any
    width: Any
    edges: Any
    edge_width: Any
    spread: LineSpread
    size: int = eqx.field(static=True)
    template: Any
    excess: Any
    basis: Any
    basis_sd: Any
    lines: Any
    line_sd: Any
    sigma_v: Value = parameter(Uniform(10.0, 500.0), unit="km/s", description="velocity dispersion of the stars")
    sigma_gas: Value = parameter(100.0, unit="km/s", description="velocity dispersion of the lines")
    redshift: Value = parameter(0.0, description="redshift of the lines")

    def __init__(
        self,
        wave: Any,
        flux: Any,
        sigma: Any,
        resolution: Any,
        *,
        mask: Any = None,
        template_fwhm: Any = 0.0,
        calibration: int | None = None,
        calibration_sd: Any = 0.1,
        lines: Any = (),
        line_sd: Any = 1e-15,
        redshift: Any = 0.0,
        sigma_v: Any = None,
        sigma_gas: Any = 100.0,
        dof: float | None = None,
        step: float | None = None,
        pixels_within: bool = False,
        name: str = "spectrum",
    ) -> None:
        self.annotation = Annotation(name)
        wave, flux, sigma, resolution, self.low, self.high = _pixels(name, wave, flux, sigma, resolution, mask)
        lines = np.atleast_1d(plain(f"'{name}': lines", lines, "Angstrom"))
        if dof is not None and (calibration is not None or len(lines)):
            raise SkyfoldError(
                f"'{name}': calibration and lines can be integrated out of normal noise only. Leave out dof, or them."
            )
        self.likelihood = Gaussian(flux, sigma) if dof is None else Limited(flux, sigma, dof=dof)
        self.wave = wave
        # widths in ln(wavelength)
        instrument = 1.0 / (FWHM * resolution)
        dv = min(0.5 * float(instrument.min()), _STEP / LIGHT_KMS) if step is None else float(step) / LIGHT_KMS
        self.template, coarse = _template(name, template_fwhm)
        self.excess = np.asarray(max(0.0, coarse**2 - float(instrument.min()) ** 2))
        own = (self.high - self.low) / wave / np.sqrt(12.0) if pixels_within else 0.0
        self.width = np.sqrt(np.maximum(instrument**2 - own**2, 0.0))
        widest = float(np.sqrt(self.width.max() ** 2 + self.excess))
        reach = max(_MARGIN / LIGHT_KMS, LineSpread.reach(widest / dv) * dv)
        start = np.log(self.low[0]) - reach
        self.spread = LineSpread.of((np.log(self.low) - start) / dv, (np.log(self.high) - start) / dv, widest / dv)
        self.edges = np.exp(start + dv * (self.spread.first + self.spread.place))
        self.edge_width = np.interp(self.edges, wave, self.width)
        self.origin = np.array([start, dv])
        self.size = _smooth_number(int(np.ceil((np.log(self.high[-1]) + reach - start) / dv)) + 2)
        order = -1 if calibration is None else int(calibration)
        x = 2.0 * (wave - wave[0]) / max(wave[-1] - wave[0], 1e-300) - 1.0
        self.basis = np.polynomial.chebyshev.chebvander(x, max(order, 0))[:, : order + 1]
        self.basis_sd = _spread_out(name, "calibration_sd", calibration_sd, order + 1)
        self.lines = lines
        self.line_sd = _spread_out(name, "line_sd", line_sd, len(lines), "erg / (s cm2)")
        self.sigma_v = self.sigma_v if sigma_v is None else sigma_v
        self.sigma_gas, self.redshift = sigma_gas, redshift

    def bound(self, model: Any) -> Self:
        """Same observation, once no pixel reaches beyond the populations at any redshift that the prior allows.

        Warns
        -----
        SkyfoldWarning
            Where nothing lies on the way to a galaxy whose light hydrogen would absorb there, and where the
            populations' wavelengths are further apart than the templates are said to be wide, and are seen to be.
        """
        wave = np.asarray(self.wave)
        warn_of_absorption(self.name, model, lambda transmission: np.asarray(transmission(wave)), float(wave[0]))
        for part in self._checked(model):
            self._warn_of_steps(part)
        return self

    def _warn_of_steps(self, part: Any) -> None:
        reach = reaches(part)
        if not reach:
            return
        rest, nodes = np.asarray(self.wave) / (1.0 + reach[0].redshift), np.asarray(part.ssp.wave)
        step = np.interp(rest, 0.5 * (nodes[1:] + nodes[:-1]), np.diff(nodes))
        said = np.interp(rest, *np.asarray(self.template))
        coarse = (step > 1.01 * said) & (step > 0.5 * FWHM * np.asarray(self.width) * rest)
        if coarse.any():
            i = int(np.argmax(coarse * step / rest))
            warnings.warn(
                f"'{self.name}': the wavelengths of {part.ssp.name} are {step[i]:.3g} Angstrom apart at {rest[i]:.0f} "
                f"in the rest frame, its templates are said to be {said[i]:.3g} wide (template_fwhm), and the "
                f"instrument sees {FWHM * self.width[i] * rest[i]:.3g}: the spectrum cannot be as sharp. Say how wide "
                "the templates are.",
                SSPWarning,
                stacklevel=2,
            )

    @property
    def marginalises(self) -> bool:
        """Whether nuisances are integrated out."""
        return self.basis.shape[1] + self.lines.shape[0] > 0

    @property
    def independent(self) -> bool:
        return not self.marginalises

    # -- traced ----------------------------------------------------------------------------------------------------

    def predict(self, model: Any) -> jax.Array:
        start, step = self.origin[0], self.origin[1]
        wave = jnp.exp(start + step * jnp.arange(self.size))
        galaxies = self._checked(model)
        received = [self._received(g, wave) for g in galaxies]
        motions = (self.sigma_v / LIGHT_KMS) ** 2
        held = jnp.minimum(motions, self.excess)
        blurred = dispersed(jnp.sum(jnp.stack([smooth for smooth, _ in received]), axis=0), motions - held, step)
        rest = jnp.asarray(self.edges) / (1.0 + galaxies[0].redshift)
        own = jnp.interp(rest, jnp.asarray(self.template[0]), jnp.asarray(self.template[1])) / rest / FWHM
        variance = jnp.asarray(self.edge_width) ** 2 - own**2 + held
        # straight lines between nodes blur by a sixth of a squared step already
        width = jnp.sqrt(jnp.maximum(variance / step**2 - 1.0 / 6.0, 1e-6))
        mean = self.spread.fold(blurred, width) * step / jnp.log(jnp.asarray(self.high) / jnp.asarray(self.low))
        return sum((lines for _, lines in received if lines is not None), start=mean)

    def _checked(self, model: Any) -> tuple[Any, ...]:
        """Galaxies that a model is made of, whose populations cover all pixels."""
        galaxies = _galaxies(model)

        def seen() -> tuple[np.ndarray, np.ndarray]:
            reach = _SEEN * np.asarray(self.width)
            return np.asarray(self.low) * (1.0 - reach), np.asarray(self.high) * (1.0 + reach)

        for part in galaxies:
            check_pixels(self.name, part, seen)
        return galaxies

    def _received(self, galaxy: Any, wave: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Flux density in nJy at observed wavelengths (n,) before any blurring, and that of lines in the pixels."""
        rest, lines = wave / (1.0 + galaxy.redshift), None
        if not isinstance(galaxy, Galaxy):
            smooth = galaxy.dimming() * galaxy.evaluate(rest)
        else:
            light = galaxy.light()
            smooth = galaxy.dimming() * galaxy.continuum(light, rest)
            if light.lines is not None:
                centre = jnp.asarray(galaxy.nebular.grid.line_wave) * (1.0 + galaxy.redshift)
                lines = self._profiles(centre, galaxy.nebular.sigma) @ galaxy.line_fluxes(light)
        if galaxy.igm is not None:
            smooth = smooth * galaxy.igm.transmission(wave, galaxy.redshift)
        return smooth, lines

    def _profiles(self, centre: jax.Array, sigma: Any) -> jax.Array:
        """Flux densities of lines of 1 erg/s/cm^2 in the pixels, nJy (n_data, n_line).

        At observed wavelengths `centre` (n_line,), of a velocity dispersion `sigma` in km/s.
        """
        wave, low, high = (jnp.asarray(x)[:, None] for x in (self.wave, self.low, self.high))
        width = jnp.sqrt((sigma / LIGHT_KMS) ** 2 + jnp.asarray(self.width)[:, None] ** 2) * centre
        share = normal_cdf((high - centre) / width) - normal_cdf((low - centre) / width)
        return share / (high - low) * (wave**2 / (LIGHT * NJY))

    def nuisance_columns(self, expected: jax.Array) -> jax.Array:
        """Derivatives of the data by the nuisances times these' standard deviations, nJy (n_data, k).

        First the coefficients of the calibration, then the fluxes of the lines.
        """
        calibration = expected[:, None] * jnp.asarray(self.basis) * self.basis_sd
        profiles = self._profiles(jnp.asarray(self.lines) * (1.0 + self.redshift), self.sigma_gas)
        return jnp.concatenate([calibration, profiles * self.line_sd], axis=1)

    def _whitened(self, expected: jax.Array) -> tuple[jax.Array, jax.Array]:
        sigma = jnp.asarray(self.likelihood.sigma)
        return (self.likelihood.data - expected) / sigma, self.nuisance_columns(expected) / sigma[:, None]

    def mean(self, expected: jax.Array) -> jax.Array:
        return expected + self._nuisances(expected) if self.marginalises else expected

    def _nuisances(self, expected: jax.Array, noise: jax.Array | None = None) -> jax.Array:
        """What the nuisances add to the data, (n_data,): most probable, or drawn with standard normal `noise` (k,)."""
        coefficients, covariance = nuisances.conditional(*self._whitened(expected))
        if noise is not None:
            coefficients = coefficients + jnp.linalg.cholesky(covariance) @ noise
        return self.nuisance_columns(expected) @ coefficients

    def pointwise(self, expected: jax.Array) -> jax.Array:
        if self.marginalises:
            raise SkyfoldError(f"'{self.name}': with nuisances integrated out no datum has a likelihood of its own.")
        return self.likelihood.pointwise(expected)

    def log_likelihood(self, expected: jax.Array) -> jax.Array:
        if not self.marginalises:
            return jnp.sum(self.likelihood.pointwise(expected))
        sigma = jnp.asarray(self.likelihood.sigma)
        norm = jnp.sum(jnp.log(sigma)) + 0.5 * sigma.size * jnp.log(2.0 * jnp.pi)
        return nuisances.log_likelihood(*self._whitened(expected)) - norm

    def fisher(self, expected: jax.Array) -> jax.Array:
        own = self.likelihood.fisher(expected)
        return own * nuisances.remaining(self._whitened(expected)[1]) if self.marginalises else own

    def displacement(self, start: jax.Array, end: jax.Array) -> jax.Array:
        if not self.marginalises:
            return super().displacement(start, end)
        # nuisances change little with the expected data: those of the start will do
        return self.whitening(start)(end - start)

    def whitening(self, expected: jax.Array) -> Callable[[jax.Array], jax.Array]:
        if not self.marginalises:
            return super().whitening(expected)
        columns = self._whitened(expected)[1]
        return lambda change: nuisances.whitened(change / self.likelihood.sigma, columns)

    def statistic(self, expected: jax.Array) -> jax.Array:
        if not self.marginalises:
            return self.likelihood.statistic(expected)
        return nuisances.deviance(*self._whitened(expected))

    # -- on the host -----------------------------------------------------------------------------------------------

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        expected = np.asarray(expected)
        drawn = self.likelihood.sample(rng, expected)
        if not self.marginalises:
            return drawn
        flat = expected.reshape(-1, expected.shape[-1])
        added = [
            c @ rng.standard_normal(c.shape[1])
            for c in (np.asarray(self.nuisance_columns(jnp.asarray(m))) for m in flat)
        ]
        return drawn + np.reshape(added, expected.shape)

    def replicate(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        drawn = self.likelihood.sample(rng, np.asarray(expected))
        if not self.marginalises:
            return drawn
        noise = rng.standard_normal((len(expected), self.basis.shape[1] + self.lines.shape[0]))
        return drawn + np.asarray(jax.lax.map(lambda own: self._nuisances(*own), (jnp.asarray(expected), noise)))

    @property
    def axis(self) -> Axis:
        wave = np.asarray(self.wave)
        middle = np.sqrt(wave[1:] * wave[:-1])
        low, high = np.append(wave[0] ** 2 / middle[0], middle), np.append(middle, wave[-1] ** 2 / middle[-1])
        return Axis(low, high, **WAVELENGTHS)

    def conditional(self, expected: Any) -> tuple[np.ndarray, np.ndarray]:
        """Mean (k,) and covariance (k, k) of the nuisances given the data and expected data (n_data,).

        First the coefficients of the calibration, then the fluxes of the lines in erg/s/cm^2.
        """
        if not self.marginalises:
            raise SkyfoldError(f"'{self.name}' has no nuisances that were integrated out.")
        mean, covariance = nuisances.conditional(*self._whitened(jnp.asarray(expected)))
        sd = np.concatenate([self.basis_sd, self.line_sd])
        return np.asarray(mean) * sd, np.asarray(covariance) * np.outer(sd, sd)


def _galaxies(model: Any) -> tuple[Any, ...]:
    parts = model.parts if isinstance(model, Sum) else (model,)
    for part in parts:
        if not hasattr(part, "redshift") or not hasattr(part, "dimming"):
            raise SkyfoldError(
                f"Spectroscopy sees galaxies, such as galaxy.Galaxy(...), or sums of them, not {part!r}."
            )
    return parts


def _pixels(name: str, wave: Any, flux: Any, sigma: Any, resolution: Any, mask: Any) -> tuple[np.ndarray, ...]:
    """Used pixels: wavelength in Angstrom, flux and error in nJy, resolution, lower and upper edge in Angstrom."""
    wave = plain(f"'{name}': the wavelengths", wave, "Angstrom")
    check_reach(f"'{name}'", wave, _SHORTEST, all_above=True)
    resolution = plain(f"'{name}': the resolution", resolution)
    shapes = {"flux": numbers(flux).values.shape, "sigma": numbers(sigma).values.shape, "resolution": resolution.shape}
    for what, shape in shapes.items():
        if wave.ndim != 1 or shape != wave.shape and (what != "resolution" or shape):
            raise SkyfoldError(f"'{name}': {what} has the shape {shape}, the wavelengths {wave.shape}; give vectors.")
    data, error, wrong = flux_densities(f"'{name}'", ("flux", "sigma"), flux, sigma, None, wave)
    if wrong:
        raise SkyfoldError(f"'{name}': in pixel {min(wrong)} the {wrong[min(wrong)]}.")
    arrays = {"flux": data, "sigma": error}
    resolution = np.broadcast_to(resolution, wave.shape)
    good = np.isfinite(data) & (error > 0)
    if mask is not None:
        mask = np.ma.filled(np.ma.asarray(mask, dtype=bool), False)
        if mask.shape != wave.shape:
            raise SkyfoldError(f"'{name}': the mask has the shape {mask.shape}, the wavelengths {wave.shape}.")
        if np.any(mask & ~good):
            first = int(np.flatnonzero(mask & ~good)[0])
            raise SkyfoldError(
                f"'{name}': pixel {first} is marked as used, but its flux is {arrays['flux'][first]:g} and its sigma "
                f"{arrays['sigma'][first]:g}. Mask it."
            )
        good &= mask
    if good.sum() < 2:
        raise SkyfoldError(
            f"'{name}': {int(good.sum())} of {wave.size} pixels can be used; check flux, sigma and mask."
        )
    rising = np.isfinite(wave) & (np.diff(wave, prepend=0.0) > 0)
    if not rising.all():
        first = int(np.argmin(rising))
        raise SkyfoldError(
            f"'{name}': the wavelengths must be positive and increase from pixel to pixel; that of pixel {first} is "
            f"{wave[first]:g} Angstrom."
        )
    sharp = np.isfinite(resolution) & (resolution > 1)
    if not sharp.all():
        first = int(np.argmin(sharp))
        raise SkyfoldError(
            f"'{name}': the resolution must be lambda/FWHM, above 1 at every pixel; in pixel {first} it is "
            f"{resolution[first]:g}."
        )
    before, after = np.diff(wave, prepend=2 * wave[0] - wave[1]), np.diff(wave, append=2 * wave[-1] - wave[-2])
    # beside a gap a pixel is as wide as on its other side
    low = wave - 0.5 * np.where(before > _GAP * after, after, before)
    high = wave + 0.5 * np.where(after > _GAP * before, before, after)
    return tuple(x[good] for x in (wave, arrays["flux"], arrays["sigma"], resolution, low, high))


def _template(name: str, fwhm: Any) -> tuple[np.ndarray, float]:
    """Table (2, n) of the templates' width over rest wavelength, and their greatest width in ln(wavelength)."""
    pair = isinstance(fwhm, tuple | list) and len(fwhm) == 2
    given = [plain(f"'{name}': template_fwhm", x, "Angstrom") for x in (fwhm if pair else (fwhm,))]
    widths = given[-1]
    good = np.all(np.isfinite(widths) & (widths >= 0)) and (given[0].shape == widths.shape if pair else not widths.ndim)
    if not good or pair and (widths.ndim != 1 or not np.all(np.diff(given[0], prepend=0.0) > 0)):
        raise SkyfoldError(
            f"'{name}': template_fwhm is a number, 0 or more, or a pair (increasing wavelengths, widths) in Angstrom."
        )
    if pair:
        return np.stack(given), float(np.max(widths / given[0])) / FWHM
    width = float(widths)
    # a width in Angstrom is largest in ln(wavelength) at the shortest wavelength; 3500 stands for the optical's end
    return np.array([[1.0, 1e9], [width, width]]), width / 3500.0 / FWHM


def _spread_out(name: str, what: str, value: Any, n: int, unit: str = "") -> np.ndarray:
    array = plain(f"'{name}': {what}", value, unit)
    if array.ndim > 1 or array.ndim == 1 and len(array) != n:
        raise SkyfoldError(f"'{name}': {what} must be a number or {n} numbers, not of shape {array.shape}.")
    if not np.all(np.isfinite(array) & (array > 0)):
        raise SkyfoldError(f"'{name}': {what} must be positive.")
    return np.broadcast_to(array, (n,)).copy()


def _smooth_number(n: int) -> int:
    """Smallest product of 2, 3 and 5 that is no less than n: a length of fast Fourier transforms."""
    from scipy.fft import next_fast_len

    return int(next_fast_len(n, real=True))
