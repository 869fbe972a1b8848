r"""Mean number of sources that send m photons into a pixel, from a source-count function and the PSF.

.. math:: x_m = \int dS \frac{dN}{dS} F_m(S), \quad F_m(S) = \sum_f w_f \frac{(f S)^m}{m!} e^{-f S},
    \quad v = \sum_{m \ge 1} x_m = \int dS \frac{dN}{dS} \sum_f w_f (1 - e^{-f S})

The F_m depend on data and PSF alone and are smooth in S, so they are tabulated once, on the host, at Gauss-Legendre
nodes of panels in ln S. What is left for each new dN/dS is its value at some hundred nodes and one product with a
matrix, which costs the same for any number of bins in f. In a panel with a break of dN/dS, F_m is replaced by the
polynomial through the panel's nodes, and the integral of that polynomial times the piecewise dN/dS is done piece by
piece; that is exact to the error of the polynomial. Below the first panel F_m is a short power series, above the last
it is zero.
"""

from __future__ import annotations

from math import factorial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.gammaray.source_counts import SourceCount, Support

#: Nodes of a panel.
_NODES = 24
#: Width of a panel in units of the width of F_m in ln S, 1/sqrt(1 + f S), and its upper limit.
_WIDTH, _WIDEST = 3.0, 0.8
#: Largest f S below the first panel, and terms of the power series there.
_SERIES_END, _TERMS = 1e-3, 5


class MomentTable(eqx.Module):
    """F_m at the nodes, for one PSF, one range of S and the largest m.

    Attributes
    ----------
    edges : (n_panels + 1,) edges of the panels in ln S.
    matrix : (1 + m_max, n_columns) takes integrals of dN/dS to v and x_1 ... x_m_max.
    support : range of S, None for all.
    """

    edges: np.ndarray
    matrix: np.ndarray
    support: Support = eqx.field(static=True)

    def moments(self, source_count: SourceCount) -> tuple[jax.Array, jax.Array]:
        """Return v, a scalar, and x_1 ... x_m_max, (m_max,), of a template of one."""
        columns = [self._panels(source_count).ravel()]
        if self.support is None:
            columns.append(source_count.below(self.edges[0], np.arange(1, _TERMS + 1)))
            columns.append(jnp.reshape(source_count.above(self.edges[-1]), (1,)))
        result = jnp.asarray(self.matrix) @ jnp.concatenate(columns)
        return result[0], result[1:]

    def _panels(self, source_count: SourceCount) -> jax.Array:
        """Weight of F_m at each node, (n_panels, _NODES)."""
        t, w = np.polynomial.legendre.leggauss(_NODES)
        edges = jnp.asarray(self.edges)
        middle, half = 0.5 * (edges[1:] + edges[:-1]), 0.5 * (edges[1:] - edges[:-1])
        nodes = middle[:, None] + half[:, None] * t
        plain = half[:, None] * jnp.asarray(w) * source_count.density(nodes)
        kinks = source_count.kinks
        if kinks.size == 0:
            return plain
        kinks = jnp.clip(kinks, edges[0], edges[-1])
        panel = jnp.sum(kinks[:, None] >= edges[1:-1], axis=1)
        mid, wide = middle[panel], half[panel]
        # what the step at the kink adds to the panel: piece by piece, minus what `plain` holds of it
        start = (kinks - mid) / wide
        inner = 0.5 * (1.0 - start)
        at = 1.0 - inner[:, None] * (1.0 - t)
        piece = wide[:, None] * inner[:, None] * w * source_count.jump(mid[:, None] + wide[:, None] * at)
        held = t > start[:, None]
        safe = jnp.where(held, t, 1.0)
        rough = wide[:, None] * w * jnp.where(held, source_count.jump(mid[:, None] + wide[:, None] * safe), 0.0)
        change = jnp.einsum("iq,iqk->ik", piece, _cardinal(at)) - rough
        return plain + jnp.einsum("ip,ik->pk", jax.nn.one_hot(panel, plain.shape[0]), change)


def _cardinal(at: jax.Array) -> jax.Array:
    """Polynomials that are one at one Gauss-Legendre node and zero at the others, (..., _NODES)."""
    t, w = np.polynomial.legendre.leggauss(_NODES)
    values = [jnp.ones_like(at), at]
    for n in range(1, _NODES - 1):
        values.append(((2 * n + 1) * at * values[n] - n * values[n - 1]) / (n + 1))
    # l_k(x) = w_k sum_n (n + 1/2) P_n(t_k) P_n(x)
    basis = np.polynomial.legendre.legvander(t, _NODES - 1) * (np.arange(_NODES) + 0.5) * w[:, None]
    return jnp.stack(values, axis=-1) @ basis.T


def tabulate(m_max: int, f: Any, weights: Any, support: Support = None) -> MomentTable:
    """Tabulate F_m; on the host.

    Parameters
    ----------
    m_max : largest m.
    f, weights : (n_f,) fractions of a source's counts that fall into one pixel, and how many pixels receive it,
        rho(f) df; the sum of f times weights is one. [1.0], [1.0] without PSF.
    support : lowest and highest S, or None for all S.

    Raises
    ------
    SkyfoldError
        If f and weights are no such distribution, or the support is empty.
    """
    from scipy.special import gammaln

    f, weights = checked_fractions(f, weights)
    low, high = _ends(m_max, f, support)
    edges = _edges(low, high, f.max(), m_max)
    t, _ = np.polynomial.legendre.leggauss(_NODES)
    s = np.exp((0.5 * (edges[1:] + edges[:-1]))[:, None] + (0.5 * np.diff(edges))[:, None] * t).ravel()
    body = np.zeros((m_max + 1, s.size))
    m = np.arange(1, m_max + 1)[:, None]
    log_factorial = gammaln(m + 1.0)
    for fraction, weight in zip(f, weights, strict=True):
        mean = fraction * s
        body[0] -= weight * np.expm1(-mean)
        body[1:] += weight * np.exp(m * np.log(mean) - mean - log_factorial)
    if support is None:
        return MomentTable(edges, np.hstack([body, _tails(m_max, f, weights)]), None)
    return MomentTable(edges, body, (float(support[0]), float(support[1])))


def checked_fractions(f: Any, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return f and weights without empty bins, or say what is wrong with them."""
    if isinstance(f, jax.core.Tracer) or isinstance(weights, jax.core.Tracer):
        raise SkyfoldError(
            "rho(f) is tabulated on the host, but f or weights are traced here; prepare the pixels outside of the "
            "compiled function."
        )
    f, weights = np.asarray(f, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if f.ndim != 1 or f.shape != weights.shape or f.size == 0:
        raise SkyfoldError(f"f and weights must be two lists of one length, not of shapes {f.shape}, {weights.shape}.")
    if not (np.all((f > 0) & (f <= 1.0)) and np.all(np.isfinite(weights) & (weights >= 0))):
        raise SkyfoldError("Fractions f must lie in (0, 1] and their weights rho(f) df must not be negative.")
    total = float(f @ weights)
    if abs(total - 1.0) > 1e-6:
        raise SkyfoldError(
            f"The sum of f times weights is {total:.8g}, but it is one for every PSF: the weights are rho(f) df, the "
            "mean number of pixels that receive the fraction f. Tables of df rho(f)/f need weights = f times that."
        )
    return f[weights > 0], weights[weights > 0]


def _ends(m_max: int, f: np.ndarray, support: Support) -> tuple[float, float]:
    if support is not None:
        low, high = float(support[0]), float(support[1])
        if not 0 < low < high < np.inf:
            raise SkyfoldError(f"The range of S must be two rising positive numbers, not {support}; None means all S.")
        return float(np.log(low)), float(np.log(high))
    most = m_max + 12.0 * np.sqrt(m_max) + 50.0
    return float(np.log(_SERIES_END / f.max())), float(np.log(most / f.min()))


def _edges(low: float, high: float, f_max: float, m_max: int) -> np.ndarray:
    """Edges of panels as wide as F_m allows, in ln S."""
    edges = [low]
    while edges[-1] < high:
        mean = min(f_max * np.exp(edges[-1] + 0.5 * _WIDEST), float(m_max))
        edges.append(edges[-1] + min(_WIDEST, _WIDTH / np.sqrt(1.0 + mean)))
    return np.array([*edges[:-1], high])


def _tails(m_max: int, f: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Columns of the matrix for the powers of S below the first panel and for the sources above the last."""
    tails = np.zeros((m_max + 1, _TERMS + 1))
    for j in range(1, _TERMS + 1):
        mean = weights @ f**j
        tails[0, j - 1] = -mean * (-1) ** j / factorial(j)
        for m in range(1, min(j, m_max) + 1):
            tails[m, j - 1] = mean * (-1) ** (j - m) / (factorial(m) * factorial(j - m))
    tails[0, -1] = weights.sum()
    return tails
