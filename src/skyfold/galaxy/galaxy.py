"""Galaxy: stars of many ages and metallicities behind dust, as one component."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.galaxy import cosmology
from skyfold.galaxy.columns import NJY, plain
from skyfold.galaxy.coverage import reaches
from skyfold.galaxy.metallicity import ConstantMetallicity, Metallicity
from skyfold.galaxy.nebular import Nebular, line_spectrum
from skyfold.galaxy.sfh.base import StarFormationHistory
from skyfold.galaxy.sfh.weights import age_weights
from skyfold.galaxy.ssp import LYMAN_LIMIT, SSP, SSPWarning, energy_weights
from skyfold.parameters import Parameter, Value, is_symbol, parameter, shape_of
from skyfold.priors import Prior

#: Distance in Mpc below which there is no galaxy: the ten parsecs of absolute magnitudes.
_NEAREST = 1e-4
#: Centimetres in a Mpc.
MPC = 3.0856775814913673e24


class Light(NamedTuple):
    """What leaves a galaxy, in the pieces that are each known on other wavelengths.

    Attributes
    ----------
    smooth : (n_wave,) stars and continuum of the gas behind the dust, Lsun/Hz, linear between the populations'
        wavelengths.
    absorbed : luminosity that the dust takes away, Lsun, and sends out where the galaxy has `emission`; else None.
    lines : (n_line,) luminosities of the gas's lines behind the dust, Lsun; None without.
    """

    smooth: jax.Array
    absorbed: jax.Array | None
    lines: jax.Array | None


class Galaxy(Component):
    r"""Light of a galaxy.

    .. math:: L_\nu(\lambda) = \sum_{p \in \{\mathrm{young, old}\}} T_p(\lambda) \sum_{j, i} w_{p j i}\,
        \ell_\nu(Z_j, a_i, \lambda) + L_\mathrm{abs}\, e_\nu(\lambda)

    with the mass :math:`w` that the star-formation history and the metallicity put on each population of the grid, the
    transmission T of the dust for stars younger and older than its ``t_birth``, and the spectrum e that it sends out
    for each solar luminosity that it absorbs. The sum over populations is linear between their wavelengths; what dust
    sends out and the lines of gas are not bound to these: data see them at wavelengths of their own.

    Parameters
    ----------
    ssp : grid of populations.
    sfh : star-formation history, or a sum of them.
    metallicity : a component of `skyfold.galaxy.metallicity`, or a prior or number for log10(Z/Zsun) of all stars.
    dust : attenuation, a component with ``transmission(wave)`` and ``t_birth``; None for none.
    emission : what the dust sends out, a component with ``emission(wave)``; None for none.
    igm : what lies between the galaxies, with ``transmission(wave, redshift)``; None for none.
    nebular : gas that young stars ionise, `skyfold.galaxy.nebular`'s ``Nebular`` or a component with
        ``spectrum(rate, wave)`` and ``escape``; its light leaves the galaxy as that of young stars does, and the light
        that ionises is gone but for what escapes. None for none.
    redshift : redshift, above -1; up to 100 where distance or age follow from it.
    distance : luminosity distance, Mpc; default that of the cosmology (`skyfold.galaxy.cosmology`) at the redshift. At
        redshift 0 it must be given. Absolute magnitudes are those of ``magnitudes(model, filters, absolute=True)``.
    age : age of the Universe at the redshift, Gyr; default that of the cosmology, at negative redshifts today's.

    Raises
    ------
    SkyfoldError
        If a part is not of its kind, the distance of a galaxy at redshift 0 is not given, or the redshift may be one
        for which distance and age are not known.

    Warns
    -----
    SSPWarning
        Where the prior of a metallicity reaches beyond the grid, whose edge holds there.
    """

    name: ClassVar[str] = "galaxy"
    ssp: SSP
    sfh: Any
    metallicity: Any
    dust: Any
    emission: Any
    igm: Any
    nebular: Any
    redshift: Value = parameter(description="redshift")
    distance: Any = None
    age: Any = None

    def __init__(
        self,
        ssp: SSP,
        sfh: Any,
        metallicity: Any = None,
        dust: Any = None,
        emission: Any = None,
        igm: Any = None,
        nebular: Any = None,
        *,
        redshift: Any,
        distance: Any = None,
        age: Any = None,
    ) -> None:
        self.ssp = ssp
        self.sfh = sfh
        if not isinstance(metallicity, Metallicity):
            metallicity = ConstantMetallicity() if metallicity is None else ConstantMetallicity(metallicity)
        self.metallicity = metallicity
        self.dust, self.emission, self.igm, self.nebular = dust, emission, igm, nebular
        self.redshift = redshift
        self.distance, self.age = _given("distance", distance, "Mpc"), _given("age", age, "Gyr")

    def __check_init__(self) -> None:
        if not isinstance(self.ssp, SSP):
            raise SkyfoldError(f"Galaxy needs a grid of populations first, as of galaxy.SSP.read, not {self.ssp!r}.")
        if not isinstance(self.sfh, StarFormationHistory):
            raise SkyfoldError(
                f"Galaxy: sfh must be a star-formation history such as galaxy.DelayedTau(), not {self.sfh!r}."
            )
        for field, method in (
            ("dust", "transmission"),
            ("emission", "emission"),
            ("igm", "transmission"),
            ("nebular", "spectrum"),
        ):
            part = getattr(self, field)
            if part is not None and not callable(getattr(part, method, None)):
                raise SkyfoldError(f"Galaxy: {field} must have a method '{method}'; {part!r} has none.")
        if self.emission is not None and self.dust is None:
            raise SkyfoldError("Galaxy: dust that absorbs nothing sends nothing out; give dust= to emission=.")
        lowest = self.redshift.prior.support()[0] if isinstance(self.redshift, Parameter) else self.redshift
        if shape_of(self.redshift):
            raise SkyfoldError(
                f"Galaxy: the redshift is an array of the shape {shape_of(self.redshift)}; a galaxy has one. Make a "
                "galaxy for each, or fit a table of them with galaxy.fit_catalog."
            )
        if self.distance is not None and self.distance < _NEAREST and self.age is None:
            raise SkyfoldError(
                f"Galaxy: a distance of {self.distance:g} Mpc is that of absolute magnitudes, and its stars would grow "
                "as old as today. Use galaxy.magnitudes(model, filters, absolute=True), or give the age= of the "
                "Universe at the true redshift, as galaxy.age(z) tells."
            )
        if not is_symbol(lowest) and np.min(lowest) <= 0 and self.distance is None:
            raise SkyfoldError(
                f"Galaxy: the redshift may be {np.min(lowest):g}, where its distance does not follow from it; give "
                "distance= in Mpc, or a prior above 0."
            )
        reaches(self)
        self._warn_of_edges()

    def _warn_of_edges(self) -> None:
        low, high = np.asarray(self.ssp.log_z)[[0, -1]] - np.log10(self.ssp.solar_z)
        for level in self.metallicity.levels:
            value = getattr(self.metallicity, level)
            prior = value.prior if isinstance(value, Parameter) else value
            reach = prior.support() if isinstance(prior, Prior) else (prior, prior)
            if any(is_symbol(x) or np.ndim(x) or not np.isfinite(x) for x in reach):
                continue
            if reach[0] < low - 1e-9 or reach[1] > high + 1e-9:
                warnings.warn(
                    f"metallicity.{level} may be {reach[0]:.3g} to {reach[1]:.3g}, and the grid {self.ssp.name} "
                    f"reaches from "
                    f"{low:.3g} to {high:.3g} (Zsun = {self.ssp.solar_z:g}): beyond, its edge holds and the data say "
                    "nothing.",
                    SSPWarning,
                    stacklevel=4,
                )

    # -- traced ----------------------------------------------------------------------------------------------------

    def universe_age(self) -> jax.Array:
        """Age of the Universe at the galaxy's redshift, Gyr."""
        if self.age is not None:
            return jnp.asarray(self.age)
        # what comes towards us is seen as it is today
        return cosmology.age(jnp.maximum(self.redshift, 0.0))

    def luminosity_distance(self) -> jax.Array:
        """Luminosity distance, Mpc."""
        if self.distance is not None:
            return jnp.asarray(self.distance)
        return cosmology.luminosity_distance(self.redshift)

    def dimming(self) -> jax.Array:
        """Observed nJy for a rest-frame luminosity of one Lsun/Hz: (1 + z) Lsun / (4 pi d^2)."""
        area = 4.0 * jnp.pi * (self.luminosity_distance() * MPC) ** 2
        return (1.0 + self.redshift) * self.ssp.lsun / (area * NJY)

    def weights(self, age: Any = None) -> jax.Array:
        """Mass formed in each population, Msun, of young and of old stars: (2, n_met, n_age).

        `age` is that of the Universe, Gyr, where it is known already.
        """
        age = self.universe_age() if age is None else jnp.asarray(age)
        t_birth = 0.0 if self.dust is None else getattr(self.dust, "t_birth", 0.01)
        by_age = jnp.stack(age_weights(self.sfh, self.ssp.ages, age, t_birth))
        node_age = jnp.asarray(self.ssp.ages)
        if len(self.metallicity.levels) > 1:
            until, _ = self.sfh.formed(jnp.append(jnp.maximum(age - node_age, 0.0), age), age)
            formed = until[:-1] / jnp.maximum(until[-1], 1e-280)
        else:
            formed = jnp.ones_like(node_age)
        shares = self.metallicity.weights(self.ssp.log_z_solar, formed)
        return by_age[:, None, :] * shares

    def light(self) -> Light:
        """What leaves the galaxy, in pieces."""
        flux, weights, wave = jnp.asarray(self.ssp.flux), self.weights(), jnp.asarray(self.ssp.wave)
        light = jnp.reshape(weights, (2, -1)) @ jnp.reshape(flux, (-1, flux.shape[-1]))
        lines = None
        if self.nebular is not None:
            rate = weights.sum(axis=0) * self.ssp.ionising
            light = jnp.where(wave < LYMAN_LIMIT, self.nebular.escape * light, light)
            if isinstance(self.nebular, Nebular):
                light, lines = light.at[0].add(self.nebular.continuum(rate, wave)), self.nebular.lines(rate)
            else:
                light = light.at[0].add(self.nebular.spectrum(rate, wave))
        if self.dust is None:
            return Light(light.sum(axis=0), None, lines)
        left = jnp.stack(self.dust.transmission(wave))
        absorbed = jnp.sum(light * (1.0 - left), axis=0) @ energy_weights(wave)
        if lines is not None:
            through = self.dust.transmission(jnp.asarray(self.nebular.grid.line_wave))[0]
            absorbed, lines = absorbed + jnp.sum(lines * (1.0 - through)), lines * through
        return Light(jnp.sum(light * left, axis=0), None if self.emission is None else absorbed, lines)

    def continuum(self, light: Light, grid: jax.Array) -> jax.Array:
        """Luminosity without the lines of the gas, Lsun/Hz, at rest wavelengths `grid` (n,) in Angstrom."""
        smooth = jnp.interp(grid, jnp.asarray(self.ssp.wave), light.smooth)
        return smooth if light.absorbed is None else smooth + light.absorbed * self.emission.emission(grid)

    def evaluate(self, grid: Any = None) -> jax.Array:
        """Luminosity, Lsun/Hz, at rest wavelengths `grid` (n,) in Angstrom, by default those of the populations.

        Lines of the gas are averaged over the cells between the middles of the wavelengths, see `line_spectrum`.
        """
        light, wave = self.light(), jnp.asarray(self.ssp.wave if grid is None else grid)
        total = self.continuum(light, wave)
        if light.lines is None:
            return total
        return total + line_spectrum(wave, self.nebular.grid.line_wave, light.lines, self.nebular.sigma)

    # -- derived ---------------------------------------------------------------------------------------------------

    def formed_mass(self) -> jax.Array:
        """Mass of all stars ever formed, Msun."""
        return self.sfh.mass_formed(self.universe_age())

    def surviving_mass(self) -> jax.Array:
        """Mass in living stars and remnants, Msun.

        Raises
        ------
        SkyfoldError
            If the grid of populations does not say what remains.
        """
        if self.ssp.mass_remaining is None:
            raise SkyfoldError(
                f"The grid {self.ssp.name} does not say what mass remains: it has no ssp_mass_remaining."
            )
        return jnp.sum(self.weights() * self.ssp.mass_remaining)

    def star_formation_rate(self, span: float = 0.1) -> jax.Array:
        """Star-formation rate averaged over the last `span` Gyr, Msun/yr."""
        return self.sfh.mean_rate(self.universe_age(), span)

    def mass_weighted_age(self) -> jax.Array:
        """Mean age of the mass formed, Gyr."""
        age = self.universe_age()
        mass, moment = self.sfh.formed(age[None], age)
        return age - moment[0] / mass[0]

    def ionising_rate(self) -> jax.Array:
        """Rate of photons that ionise hydrogen, before dust, 1/s."""
        return jnp.sum(self.weights() * self.ssp.ionising)

    def line_luminosities(self) -> jax.Array:
        """Luminosities of the gas's lines behind the galaxy's dust, Lsun (n_line,), in the order of its grid.

        Raises
        ------
        SkyfoldError
            If the galaxy has no gas.
        """
        lines = self.light().lines
        if lines is None:
            raise SkyfoldError("Galaxy: without gas there are no lines; give nebular=.")
        return lines

    def line_fluxes(self, light: Light) -> jax.Array:
        """Fluxes of the gas's lines that arrive, erg/s/cm^2 (n_line,), in the order of its grid."""
        flux = light.lines * self.ssp.lsun / (4.0 * jnp.pi * (self.luminosity_distance() * MPC) ** 2)
        if self.igm is None:
            return flux
        wave = jnp.asarray(self.nebular.grid.line_wave) * (1.0 + self.redshift)
        return flux * self.igm.transmission(wave, self.redshift)

    def bolometric_luminosity(self) -> jax.Array:
        """Luminosity of stars and gas over all wavelengths of the grid, and of all that dust sends out, Lsun."""
        light = self.light()
        total = light.smooth @ energy_weights(jnp.asarray(self.ssp.wave))
        total = total if light.lines is None else total + jnp.sum(light.lines)
        return total if light.absorbed is None else total + light.absorbed

    def __repr__(self) -> str:
        parts = [f"sfh={self.sfh!r}", f"metallicity={type(self.metallicity).__name__}"]
        optional = ((f, getattr(self, f)) for f in ("dust", "emission", "igm", "nebular"))
        parts += [f"{f}={part!r}" for f, part in optional if part is not None]
        return f"galaxy({', '.join(parts)})"


def _given(what: str, value: Any, unit: str) -> float | None:
    """A distance or an age that is known; a number of `unit`, or an astropy quantity."""
    if value is None:
        return None
    number = np.nan if is_symbol(value) or isinstance(value, Prior) else plain(f"Galaxy: {what}=", value, unit)
    if np.ndim(number) or not 0.0 < number < np.inf:
        raise SkyfoldError(
            f"Galaxy: {what}={value!r} is no positive number of {unit}. It has no prior: where it is free, leave it "
            "out and give the redshift a prior, or let log_mass take up the uncertainty of the distance."
        )
    return float(number)
