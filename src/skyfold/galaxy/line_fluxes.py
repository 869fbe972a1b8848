"""Line fluxes: measured fluxes of emission lines as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.axis import Axis
from skyfold.compiled.annotation import Annotation
from skyfold.component import Sum
from skyfold.errors import SkyfoldError
from skyfold.galaxy.columns import numbers, plain
from skyfold.galaxy.galaxy import Galaxy
from skyfold.likelihoods.limits import checked_likelihood
from skyfold.observation import Observation

#: Unit of data and expected data, erg/s/cm^2.
UNIT = 1e-17


class LineFluxes(Observation):
    r"""Fluxes of emission lines of ionised gas, corrected for the absorption lines of the stars.

    .. math:: F_l = \frac{T_\mathrm{dust}(\lambda_l)\, T_\mathrm{IGM}\, L_l}{4 \pi d_L^2}

    with the luminosities of `Nebular`, behind the dust of young stars. Data and expected data are in 1e-17 erg/s/cm^2.

    Parameters
    ----------
    lines : names of the lines as in the galaxy's `NebularGrid`, one for each datum; a tuple of names is a blend, whose
        fluxes add up.
    flux, error : (n_line,) fluxes and standard deviations. NaN in either, or a true `missing`, marks a line that was
        not observed.
    unit : of both, as astropy understands it; quantities carry their own.
    missing : (n_line,) booleans, optional.
    upper_limits : (n_line,) booleans: there `flux` is an upper limit and `error` the standard deviation of the noise.
    floor : error of the calibration or of the grid as a fraction of the observed flux, added in quadrature.
    outliers : degrees of freedom of Student's t in place of the normal distribution; None for normal noise.
    name : name in tables and plots.

    Raises
    ------
    SkyfoldError
        If shapes differ, a unit is no flux, errors are not positive or nothing is left; when it meets a model, if that
        has no gas or its gas no such line.

    Examples
    --------
    >>> lines = galaxy.LineFluxes(["H_alpha", ("OII_3727", "OII_3730")], [31.0, 12.0], [1.5, 0.9])
    """

    members: tuple[Any, ...] | None

    def __init__(
        self,
        lines: str | Sequence[str | Sequence[str]],
        flux: Any,
        error: Any,
        unit: str = "1e-17 erg / (s cm2)",
        *,
        missing: Any = None,
        upper_limits: Any = None,
        floor: float = 0.0,
        outliers: float | None = None,
        name: str = "lines",
    ) -> None:
        given = [lines] if isinstance(lines, str) else lines
        blends = tuple((line,) if isinstance(line, str) else tuple(line) for line in given)
        for blend in blends:
            if not blend or len(set(blend)) < len(blend):
                raise SkyfoldError(f"'{name}': a blend needs one name or more, each once, not {blend}.")
        if (numbers(flux).unit is None) != (numbers(error).unit is None):
            raise SkyfoldError(
                f"'{name}': one of flux and error has a unit and the other none; give both as quantities, or neither."
            )
        data, sigma = (_in_unit(name, what, v, unit) for what, v in (("flux", flux), ("error", error)))
        self.likelihood = checked_likelihood(
            name, "line", [" + ".join(b) for b in blends], data, sigma, missing, upper_limits, floor, outliers
        )
        self.annotation = Annotation((name, blends))
        self.members = None

    @property
    def name(self) -> str:
        """Name in tables, plots and files."""
        return str(self.annotation.value[0])

    @property
    def lines(self) -> tuple[tuple[str, ...], ...]:
        """Names of the lines of each datum."""
        return tuple(self.annotation.value[1])

    @property
    def axis(self) -> Axis:
        return Axis.numbered(self.n_data, "line", "flux [$10^{-17}$ erg s$^{-1}$ cm$^{-2}$]", "1e-17 erg / (s cm2)")

    def bound(self, model: Any) -> Self:
        """Look up the lines in the grids of a model's gas.

        Raises
        ------
        SkyfoldError
            If the model is no galaxy with gas, or the grid of one of its galaxies lacks a line.
        """
        members = tuple(self._members(part) for part in _galaxies(model))
        if all(m is None for m in members):
            raise SkyfoldError(f"'{self.name}': the model has no gas that could shine; give the galaxy nebular=.")
        return eqx.tree_at(lambda o: o.members, self, members, is_leaf=lambda x: x is None)

    def predict(self, model: Any) -> jax.Array:
        """Return the expected fluxes, 1e-17 erg/s/cm^2, (n_line,), of a galaxy without free parameters, or a sum.

        A bound observation predicts for the model that it is bound to.
        """
        if self.members is None:
            return self.bound(model).predict(model)
        parts, total = _galaxies(model), jnp.zeros(self.n_data)
        if [p.nebular is None for p in parts] != [m is None for m in self.members]:
            raise SkyfoldError(f"'{self.name}' is bound to another model; bind it to this one: lines.bound(model).")
        for part, members in zip(parts, self.members, strict=True):
            if members is not None:
                total = total + jnp.asarray(members) @ part.line_fluxes(part.light()) / UNIT
        return total

    def _members(self, part: Galaxy) -> np.ndarray | None:
        """Which lines of a galaxy's gas add up to each datum, (n_line, n_grid)."""
        if part.nebular is None:
            return None
        known = part.nebular.grid.line_names
        absent = [line for blend in self.lines for line in blend if line not in known]
        if absent:
            raise SkyfoldError(
                f"'{self.name}': the galaxy's gas has no line '{absent[0]}'; its grid has {', '.join(known)}."
            )
        return np.array([[float(k in blend) for k in known] for blend in self.lines])

    def __repr__(self) -> str:
        return f"{self.name}: {', '.join(' + '.join(b) for b in self.lines)}"


def _galaxies(model: Any) -> tuple[Galaxy, ...]:
    parts = model.parts if isinstance(model, Sum) else (model,)
    for part in parts:
        if not isinstance(part, Galaxy):
            raise SkyfoldError(f"LineFluxes sees galaxies, as of galaxy.Galaxy, or sums of them, not {part!r}.")
    return tuple(parts)


def _in_unit(name: str, what: str, value: Any, unit: str) -> np.ndarray:
    """Fluxes in 1e-17 erg/s/cm^2; NaN where masked."""
    import astropy.units as u

    try:
        factor = (1.0 * u.Unit(unit)).to_value(u.erg / (u.s * u.cm**2)) / UNIT
    except (ValueError, TypeError, u.UnitConversionError) as problem:
        raise SkyfoldError(
            f"'{name}': unit={unit!r} is no flux in a unit that astropy knows, as 'erg / (s cm2)' is."
        ) from problem
    try:
        return plain(f"'{name}': the {what}", value, unit) * factor
    except SkyfoldError as problem:
        raise SkyfoldError(f"'{name}': the {what} is no flux in a unit that astropy knows ({problem}).") from problem
