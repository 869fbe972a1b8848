r"""Unresolved point sources: the component that stands for them, and the likelihood of counts with them among."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.flatten_util import ravel_pytree

from skyfold.compiled.annotation import Annotation
from skyfold.compiled.jit import jit
from skyfold.component import Component
from skyfold.errors import SkyfoldError
from skyfold.gammaray.compound import Layout, arrange, log_probability, log_probability_scores, one_by_one
from skyfold.gammaray.emission import Emission, Population
from skyfold.gammaray.moments import MomentTable, tabulate
from skyfold.gammaray.source_counts import BrokenPowerLaw, SourceCount, Support
from skyfold.parameters import Value, is_symbol, parameter
from skyfold.priors import LogUniform, Uniform


class PointSources(Component):
    r"""Point sources too faint to be seen one by one, with a doubly broken power law of brightness.

    .. math:: \frac{dN}{dS} = A \begin{cases} (S/S_{b1})^{-n_1} & S \ge S_{b1} \\
        (S/S_{b1})^{-n_2} & S_{b2} \le S < S_{b1} \\ (S_{b2}/S_{b1})^{-n_2} (S/S_{b2})^{-n_3}
        & S < S_{b2} \end{cases}, \quad S_{b2} = \lambda S_{b1}

    with A such that the integral of S dN/dS over the range of S is Sps.

    Parameters
    ----------
    template : component with the relative number of sources on the sky. Only its shape counts: it is divided by its
        mean over the region, and the exposure is left out, for S holds it: maps of counts (``units="counts"``) are
        divided by it. Its norm must be fixed.
    Sps : mean counts per pixel.
    n1, n2, n3 : indices above, between and below the breaks.
    Sb1 : higher break, counts at the mean exposure.
    lam : ratio of the lower break to the higher one (lambda).
    s_range : lowest and highest counts of a source, None for all; the same as the map's.
    name : in tables.

    References
    ----------
    Lee et al. 2016, PRL 116, 051103; Sun, Mishra-Sharma, Slatyer & Wu, arXiv:2604.08648.
    """

    kind: ClassVar[str] = "additive"
    template: Component
    Sps: Value = parameter(LogUniform(1e-5, 4.0), unit="ct/pixel", description="mean counts of point sources")
    n1: Value = parameter(Uniform(2.1, 8.0), description="index above the higher break")
    n2: Value = parameter(Uniform(0.5, 2.0), description="index between the breaks")
    n3: Value = parameter(Uniform(-8.0, -1.0), description="index below the lower break")
    Sb1: Value = parameter(Uniform(5.0, 40.0), unit="ct", description="higher break")
    lam: Value = parameter(Uniform(0.1, 0.95), description="ratio of the breaks", name="lambda")
    s_range: Support = eqx.field(static=True, default=None)
    label: Annotation = eqx.field(static=True, default=Annotation("pointsources"))

    def __init__(
        self,
        template: Component,
        Sps: Any = None,
        n1: Any = None,
        n2: Any = None,
        n3: Any = None,
        Sb1: Any = None,
        lam: Any = None,
        *,
        s_range: Support = None,
        name: str = "pointsources",
    ) -> None:
        self.template = template
        self.Sps = self.Sps if Sps is None else Sps
        self.n1 = self.n1 if n1 is None else n1
        self.n2 = self.n2 if n2 is None else n2
        self.n3 = self.n3 if n3 is None else n3
        self.Sb1 = self.Sb1 if Sb1 is None else Sb1
        self.lam = self.lam if lam is None else lam
        self.s_range = None if s_range is None else (float(s_range[0]), float(s_range[1]))
        self.label = Annotation(name)

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name in tables and plots."""
        return str(self.label.value)

    def __check_init__(self) -> None:
        if is_symbol(getattr(self.template, "norm", 1.0)):
            raise SkyfoldError(
                f"The template '{self.template.name}' of point sources has a free norm, but Sps says how many counts "
                "they send; give the template norm=1."
            )

    def source_count(self) -> SourceCount:
        """Source-count function of the values of the parameters."""
        indices, sb1 = jnp.stack([jnp.asarray(n, dtype=float) for n in (self.n1, self.n2, self.n3)]), self.Sb1
        breaks = jnp.stack([jnp.asarray(sb1, dtype=float), jnp.asarray(sb1 * self.lam, dtype=float)])
        shape = BrokenPowerLaw(1.0, indices, breaks, self.s_range)
        return BrokenPowerLaw(self.Sps / shape.flux(self.s_range), indices, breaks, self.s_range)

    def evaluate(self, pixels: Any) -> Emission:
        """No smooth counts, and one population."""
        bare = pixels
        if pixels.exposure is not None:
            bare = replace(pixels, exposure=jnp.ones_like(pixels.exposure), divisor=pixels.exposure)
        shape: jax.Array = self.template.evaluate(bare).smooth
        if shape.ndim != 1:
            raise SkyfoldError(
                f"The template '{self.template.name}' of point sources must be one map, not one per energy."
            )
        return Emission(jnp.zeros_like(shape), (Population(shape / jnp.mean(shape), self.source_count()),))


class PreparedPixels(eqx.Module):
    """What the likelihood needs to know of counts, PSF and exposure; all leaves are arrays.

    Attributes
    ----------
    layout : pixels sorted by counts.
    table : F_m for the PSF.
    exposures : (n_nodes,) relative exposures at which x_m is computed.
    shares : (n_nodes, n_pixels) weight of each of them in each pixel; None where there is one only.
    scale_amplitude : whether dN/dS scales with exposure, see `prepare`.
    """

    layout: Layout
    table: MomentTable
    exposures: np.ndarray
    shares: np.ndarray | None
    scale_amplitude: bool = eqx.field(static=True)

    @property
    def support(self) -> Support:
        """Range of S of the sources."""
        return self.table.support


def prepare(
    counts: Any,
    f: Any = (1.0,),
    weights: Any = (1.0,),
    s_range: Support = None,
    exposure: Any = None,
    *,
    regions: int | None = None,
    nodes: int = 4,
    scale_amplitude: bool = True,
    like: PreparedPixels | None = None,
) -> PreparedPixels:
    """Sort pixels and tabulate what depends on data and PSF alone; on the host, once per data set.

    Parameters
    ----------
    counts : (n_pixels,) counts.
    f, weights : (n_f,) distribution of the fraction of a source's counts that falls into one pixel, see `rho`.
    s_range : lowest and highest mean counts of a source; None for all. At every exposure the same range of counts.
    exposure : (n_pixels,), any unit; None where it is uniform. Source counts refer to its mean.
    regions : number of regions of equal size in exposure that are taken as uniform, as in the published analyses; None
        interpolates x_m in the logarithm of exposure, between as few as `nodes` exposures.
    nodes : Chebyshev nodes of that interpolation.
    scale_amplitude : True: in pixels of relative exposure e, S grows by e and dN/dS by 1/e, so that the flux per pixel
        grows by e. False: dN/dS is not divided by e, for templates per unit of S.
    like : prepared pixels whose shapes are used where possible, so that executables are shared.
    """
    layout = arrange(counts, None if like is None else like.layout)
    table = tabulate(layout.highest, f, weights, s_range)
    if exposure is None:
        return PreparedPixels(layout, table, np.ones(1), None, scale_amplitude)
    exposures, shares = _exposures(np.asarray(exposure, dtype=np.float64), layout.place.size, regions, nodes)
    return PreparedPixels(layout, table, exposures, shares, scale_amplitude)


def log_likelihood(
    prepared: PreparedPixels, mu: jax.Array, templates: jax.Array, source_counts: Sequence[SourceCount]
) -> jax.Array:
    """Log-likelihood of each pixel, (n_pixels,).

    Parameters
    ----------
    prepared : PreparedPixels
    mu : (n_pixels,) expected smooth counts.
    templates : (n_populations, n_pixels) relative number of sources.
    source_counts : source-count function of each population; may be none. Their support must be that of the pixels.
    """
    mu = jnp.asarray(mu)
    for source_count in source_counts:
        if source_count.support != prepared.support:
            raise SkyfoldError(
                f"A source-count function with the range of S {source_count.support} meets pixels prepared for "
                f"{prepared.support} (None is all S); give the same s_range to the point sources and to the counts map."
            )
    if not len(source_counts):
        x, total, effective = jnp.zeros((0, prepared.layout.highest)), jnp.zeros(0), jnp.zeros((0, *mu.shape))
        return log_probability(prepared.layout, x, mu, effective, total)
    numbers, build = ravel_pytree(tuple(source_counts))
    return _pointwise(build, prepared, mu, jnp.asarray(templates), numbers)


def _pointwise(build: Any, prepared: PreparedPixels, mu: Any, templates: Any, numbers: Any) -> jax.Array:
    """Log-likelihood of each pixel; `build` makes source-count functions of the `numbers`.

    Derivatives by mu, templates and numbers are found together with the value, so that what is left for each
    direction, forwards or backwards, is little.
    """

    def moments(prepared: PreparedPixels, numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
        total, x = zip(*(_moments(prepared, s) for s in build(numbers)), strict=True)
        return jnp.concatenate(total), jnp.concatenate(x)

    def spread(prepared: PreparedPixels, templates: jax.Array) -> jax.Array:
        """Templates times the shares of each exposure, (n_populations * n_nodes, n_pixels)."""
        if prepared.shares is None:
            return templates
        return (templates[:, None] * jnp.asarray(prepared.shares)).reshape(-1, templates.shape[1])

    @one_by_one
    def value(prepared: PreparedPixels, mu: jax.Array, templates: jax.Array, numbers: jax.Array) -> jax.Array:
        total, x = moments(prepared, numbers)
        return log_probability(prepared.layout, x, mu, spread(prepared, templates), total)

    @one_by_one
    def scores(
        prepared: PreparedPixels, mu: jax.Array, templates: jax.Array, numbers: jax.Array
    ) -> tuple[jax.Array, ...]:
        def push(direction: jax.Array) -> Any:
            return jax.jvp(lambda n: moments(prepared, n), (numbers,), (direction,))

        (total, x), (dtotal, dx) = jax.vmap(push, out_axes=(None, 0))(jnp.eye(numbers.size))
        value, by_mu, by_parts, by_numbers = log_probability_scores(
            prepared.layout, x, mu, spread(prepared, templates), total, dx, dtotal
        )
        shares = 1.0 if prepared.shares is None else jnp.asarray(prepared.shares)
        by_templates = jnp.sum(by_parts.reshape(templates.shape[0], -1, mu.size) * shares, axis=1)
        return value, by_mu, by_templates, by_numbers

    @jax.custom_jvp
    def call(prepared: PreparedPixels, mu: jax.Array, templates: jax.Array, numbers: jax.Array) -> jax.Array:
        return value(prepared, mu, templates, numbers)

    def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
        result, by_mu, by_templates, by_numbers = scores(*primals)
        _, dmu, dtemplates, dnumbers = tangents
        change = jnp.zeros_like(result)
        if not isinstance(dmu, SymbolicZero):
            change = change + by_mu * dmu
        if not isinstance(dtemplates, SymbolicZero):
            change = change + jnp.sum(by_templates * dtemplates, axis=0)
        if not isinstance(dnumbers, SymbolicZero):
            change = change + dnumbers @ by_numbers
        return result, change

    call.defjvp(rule, symbolic_zeros=True)
    return call(jax.tree.map(jnp.asarray, prepared), mu, templates, numbers)


_compiled = jit(log_likelihood)


def point_source_log_likelihood(
    counts: Any,
    mu: Any,
    templates: Any,
    theta: Sequence[Any],
    f: Any,
    weights: Any,
    s_range: Support = None,
) -> jax.Array:
    r"""Log-likelihood of each pixel under smooth emission and populations of unresolved point sources.

    The populations have broken power laws :math:`dN/dS` and are seen through a PSF that puts a fraction f of a source's
    counts into a pixel. See `skyfold.gammaray.compound` for the formula. Whoever evaluates this often keeps what
    `prepare` returns and calls `log_likelihood`.

    Parameters
    ----------
    counts : (n_pixels,) counts; concrete numbers.
    mu : (n_pixels,) expected smooth counts.
    templates : (n_populations, n_pixels)
    theta : for each population [A, n1, ..., n_{K+1}, Sb1 > ... > SbK], Sb in counts.
    f, weights : (n_f,) with sum(f * weights) = 1; weights are rho(f) df. [1.0], [1.0] without PSF.
    s_range : None for all S, or lowest and highest S.

    Returns
    -------
    (n_pixels,) natural logarithms of probabilities, differentiable by mu, templates and theta in both modes.

    Raises
    ------
    SkyfoldError
        If shapes do not fit, counts or rho(f) are none, the breaks do not fall, the number of sources or their flux is
        infinite, or the result is not finite.

    References
    ----------
    Malyshev & Hogg 2011, ApJ 738, 181; Mishra-Sharma, Rodd & Safdi 2017, AJ 153, 253.
    """
    prepared = prepare(counts, f, weights, s_range)
    mu, n = jnp.asarray(mu, dtype=float), prepared.layout.place.size
    templates = jnp.reshape(jnp.asarray(templates, dtype=float), (-1, n)) if len(theta) else jnp.zeros((0, n))
    if mu.shape != (n,) or templates.shape[0] != len(theta):
        raise SkyfoldError(
            f"There are {n} pixels and {len(theta)} source-count functions, so mu must be ({n},), not {mu.shape}, and "
            f"templates ({len(theta)}, {n}), not {templates.shape}."
        )
    for name, value in (("mu", mu), ("templates", templates)):
        if not isinstance(value, jax.core.Tracer) and not np.all(np.asarray(value) >= 0):
            raise SkyfoldError(
                f"Expected counts cannot be negative or NaN, but {name} is in some pixel; mend it there."
            )
    for number, values in enumerate(theta):
        _check_theta(number, values, s_range)
    result = _compiled(prepared, mu, templates, tuple(BrokenPowerLaw.from_theta(t, prepared.support) for t in theta))
    if not isinstance(result, jax.core.Tracer) and not np.all(np.isfinite(result)):
        pixel = int(np.flatnonzero(~np.isfinite(result))[0])
        raise SkyfoldError(
            f"The likelihood of pixel {pixel} with {np.asarray(counts)[pixel]:g} counts is {float(result[pixel])}: mu "
            f"is {float(mu[pixel]):g} and its templates are {np.asarray(templates[:, pixel])}. Expected counts must be "
            "finite, not negative, and positive somewhere where counts are."
        )
    return result


def _moments(prepared: PreparedPixels, source_count: SourceCount) -> tuple[jax.Array, jax.Array]:
    """Return v (n_nodes,) and x_m (n_nodes, m) at the exposures."""
    if prepared.shares is None:
        v, x = prepared.table.moments(source_count)
        return v[None], x[None]

    def at(relative: jax.Array) -> tuple[jax.Array, jax.Array]:
        return prepared.table.moments(source_count.at_exposure(relative, prepared.scale_amplitude))

    return jax.vmap(at)(jnp.asarray(prepared.exposures))


def _exposures(exposure: np.ndarray, n: int, regions: int | None, nodes: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Relative exposures (n_nodes,), and their weights (n_nodes, n_pixels) in each pixel."""
    if exposure.shape != (n,):
        raise SkyfoldError(
            f"There are {n} fitted pixels, and exposures of the shape {exposure.shape}; give one for each."
        )
    bad = ~(np.isfinite(exposure) & (exposure > 0))
    if bad.any():
        raise SkyfoldError(
            f"{bad.sum()} of {n} fitted pixels, the first of them number {int(np.argmax(bad))} of these, have the "
            f"exposure {exposure[bad][0]:g}: no source can be seen there. Leave them out: sky.masked(exposure == 0), "
            "or mask = [...] in a file."
        )
    if regions is not None:
        parts = np.array_split(np.argsort(exposure, kind="stable"), regions)
        means = np.array([exposure[p].mean() for p in parts])
        shares = np.zeros((regions, n))
        for number, part in enumerate(parts):
            shares[number, part] = 1.0
        return means / means.mean(), shares
    u = np.log(exposure / exposure.mean())
    if u.max() - u.min() < 1e-9 or nodes == 1:
        return np.ones(1), None
    t = -np.cos((np.arange(nodes) + 0.5) * np.pi / nodes)
    half, middle = 0.5 * (u.max() - u.min()), 0.5 * (u.max() + u.min())
    place = (u - middle) / half
    others = [np.delete(t, k) for k in range(nodes)]
    shares = np.stack([np.prod((place - o[:, None]) / (t[k] - o)[:, None], axis=0) for k, o in enumerate(others)])
    return np.exp(middle + half * t), shares


def _check_theta(number: int, theta: Any, s_range: Support) -> None:
    if any(isinstance(v, jax.core.Tracer) for v in jax.tree.leaves(theta)):
        return
    values = np.asarray(theta, dtype=np.float64).ravel()
    k = values.size // 2 - 1
    if values.size < 4 or values.size % 2:
        return  # the source-count function says so
    indices, breaks = values[1 : k + 2], values[k + 2 :]
    where = f"Population {number}:"
    if not np.all(np.isfinite(values)) or values[0] < 0 or np.any(breaks <= 0) or np.any(np.diff(breaks) >= 0):
        raise SkyfoldError(
            f"{where} theta is {values.tolist()}, but A must not be negative and the breaks must be positive and fall, "
            "[A, n1, ..., n(K+1), Sb1 > ... > SbK]."
        )
    if s_range is None and not (indices[0] > 1 and indices[-1] < 2):
        raise SkyfoldError(
            f"{where} over all S, an index {indices[0]:g} above the breaks and {indices[-1]:g} below them gives "
            "infinitely many bright sources or infinite flux of faint ones; the likelihood needs n1 > 1 and the last "
            "index < 2. Limit S by s_range, or limit the indices."
        )
