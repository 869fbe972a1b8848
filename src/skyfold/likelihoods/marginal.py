"""Counts with a background that was measured beside them, its rate in each datum integrated out."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, logsumexp

from skyfold.errors import SkyfoldError
from skyfold.likelihoods.on_off import local_mean
from skyfold.likelihoods.poisson import Counts, Poisson

#: Nodes of the quadrature, which is exact up to twice as many counts less one; the most are used beyond.
_NODES = (5, 9, 17, 33)
#: The same for a normal about the peak: nodes, and logarithms of weights over the normal.
_PLACES, _HEIGHTS = np.polynomial.hermite.hermgauss(_NODES[-1])
_HERMITE = (_PLACES, np.log(_HEIGHTS) + _PLACES**2)
#: Inverse variance of the background's logarithm from which it is close to normal.
_SHARP = 30.0
#: Counts of neighbours that tell the mean, and shapes of the prior, that are tried.
_WINDOWS = tuple(8 * 2**k for k in range(10))
_SHAPES = np.geomspace(0.3, 3e4, 41)
_LEAST = 1e-300
#: Shape up to which SciPy has the nodes, whose smallest weights keep their digits.
_EXACT = 100.0


class MarginalBackground(Counts):
    r"""Poisson counts n of a source region whose background is integrated out exactly.

    .. math:: L(m) = \prod_i \int P(n_i | m_i + a_i b) \, p_i(b) \, db, \qquad
              p_i(b) \propto P(o_i | b) \, \Gamma(b; \alpha, \bar b_i)

    with m the counts expected of the source and b those expected of the background region. Before its own counts o_i
    are seen, the background of a datum has a Gamma distribution about what its neighbours tell, :math:`\bar b_i`, of
    the shape :math:`\alpha`; both are chosen by how well neighbours foretell each datum (leave one out). So smooth
    backgrounds are told by many data together, and lines or edges make the shape small.

    With nothing known of the neighbours (a flat prior in each datum) every empty datum would invent a count.

    The statistic is :math:`-2 \ln L` less that of a model that equals the counts without any background.

    Parameters
    ----------
    data : (n,) counts of the source region, ordered so that neighbours are neighbours.
    off : (n,) counts of the background region.
    ratio : (n,) counts that a background gives in the source region for each in its own, above zero.

    References
    ----------
    Golub & Welsch 1969, Math. Comp. 23, 221 (quadrature); Loredo 1992, in Statistical Challenges in Modern Astronomy.
    """

    statistic_name: ClassVar[str] = "marginal"
    data: np.ndarray
    off: np.ndarray
    ratio: np.ndarray
    neighbours: np.ndarray
    shape: np.ndarray
    saturated: np.ndarray
    _nodes: np.ndarray
    _weights: np.ndarray

    def __init__(self, data: Any, off: Any, ratio: Any, *, nodes: int = 0) -> None:
        on, beside = Poisson(data), Poisson(off)
        self.data, self.off, self.saturated = on.data, beside.data, on.saturated
        self.ratio = np.array(np.broadcast_to(np.asarray(ratio, dtype=np.float64), self.data.shape))
        if not np.all(np.isfinite(self.ratio) & (self.ratio > 0)):
            raise SkyfoldError("The ratio of source to background region must be finite and above zero.")
        self.neighbours, shape = told_by_neighbours(self.off)
        self.shape = np.full(self.data.shape, shape)
        most = float(np.max(self.data, initial=0.0))
        needed = next((k for k in _NODES if most <= 2 * k - 1), _NODES[-1])
        self._nodes, self._weights = self._quadrature(max(needed, nodes))

    @property
    def known(self) -> tuple[np.ndarray, np.ndarray]:
        """Shape and rate of the Gamma distribution of the background of each datum once its off counts are seen."""
        return self.shape + self.off, 1.0 + self.shape / self.neighbours

    def _quadrature(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and logarithms of weights (n, number) for the Gamma distribution with exp(-a b) taken in."""
        r, rate = self.known
        which, place = np.unique(r, return_inverse=True)
        own = [gamma_nodes(one, number) for one in which]
        nodes, weights = (np.stack([o[i] for o in own])[place] for i in (0, 1))
        rate_all = rate + self.ratio
        return nodes / rate_all[:, None], weights + (r * np.log(rate / rate_all))[:, None]

    def _terms(self, expected: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Background at each node, and the log of the integrand times its weight, (n, nodes), without exp(-m) / n!."""
        a, n = self.ratio[:, None], jnp.asarray(self.data)[:, None]
        r, rate = (jnp.asarray(x)[:, None] for x in self.known)
        m = jnp.maximum(expected, 0.0)[:, None]
        if self._nodes.shape[1] < _NODES[-1]:
            return jnp.asarray(self._nodes), n * jnp.log(jnp.maximum(m + a * self._nodes, _LEAST)) + self._weights
        # many counts: about the peak in the logarithm of b, where -(rate + a) a b^2 + c b + r m = 0
        c = n * a - (rate + a) * m + r * a
        root = jnp.sqrt(c**2 + 4.0 * (rate + a) * a * r * m + _LEAST)
        large = 0.5 * (root + jnp.abs(c)) / ((rate + a) * a)
        peak = jnp.maximum(jnp.where(c > 0, large, 2.0 * r * m / (root + jnp.abs(c))), _LEAST)
        sharp = r + n * (a * peak / (m + a * peak)) ** 2
        centred = (n > 2 * _NODES[-1] - 1) & (sharp > _SHARP)
        width = jnp.sqrt(2.0 / sharp)
        log_b = jnp.log(peak) + width * jnp.asarray(_HERMITE[0])
        b = jnp.where(centred, jnp.exp(jnp.where(centred, log_b, 0.0)), jnp.asarray(self._nodes))
        about = r * (log_b + jnp.log(rate)) - gammaln(r) - (rate + a) * b + jnp.log(width) + jnp.asarray(_HERMITE[1])
        weight = jnp.where(centred, about, jnp.asarray(self._weights))
        return b, n * jnp.log(jnp.maximum(m + a * b, _LEAST)) + weight

    def pointwise(self, expected: jax.Array) -> jax.Array:
        total = logsumexp(self._terms(expected)[1], axis=1)
        total = total - jnp.maximum(expected, 0.0) - gammaln(jnp.asarray(self.data) + 1.0)
        return jnp.where(expected < -1e-8, -jnp.inf, total)

    def mean(self, expected: jax.Array) -> jax.Array:
        b, terms = self._terms(expected)
        return expected + self.ratio * jnp.sum(jax.nn.softmax(terms, axis=1) * b, axis=1)

    def fisher(self, expected: jax.Array) -> jax.Array:
        r, rate = self.known
        behind = self.ratio * r / rate
        return 1.0 / (jnp.maximum(expected, 0.0) + behind * (1.0 + self.ratio / rate))

    def statistic(self, expected: jax.Array) -> jax.Array:
        return 2.0 * jnp.sum(jnp.asarray(self.saturated) - self.pointwise(expected), axis=-1)

    def sample(self, rng: np.random.Generator, expected: np.ndarray) -> np.ndarray:
        """Draw a background of each datum as its neighbours tell it, and counts of both regions, (..., n, 2)."""
        behind = rng.gamma(self.shape, self.neighbours / self.shape, size=np.shape(expected))
        on = np.maximum(expected, 0.0) + self.ratio * behind
        return np.stack([rng.poisson(on), rng.poisson(behind)], axis=-1).astype(np.float64)

    def with_data(self, data: Any) -> Self:
        """Same likelihood of other counts (n,), or of counts and of those of the background, (n, 2)."""
        data = np.asarray(data, dtype=np.float64)
        on, off = (data, self.off) if data.ndim == 1 else (data[:, 0], data[:, 1])
        other = type(self)(on, off, self.ratio, nodes=self._nodes.shape[1])
        if data.ndim == 1:
            same = eqx.tree_at(lambda x: (x.neighbours, x.shape), other, (self.neighbours, self.shape))
            return eqx.tree_at(lambda x: (x._nodes, x._weights), same, same._quadrature(same._nodes.shape[1]))
        return other


def gamma_nodes(shape: float, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and log weights of Gauss' quadrature for a Gamma distribution of this shape and the scale 1."""
    if shape < _EXACT:
        from scipy.special import roots_genlaguerre

        nodes, weights, total = roots_genlaguerre(number, shape - 1.0, mu=True)
        return nodes, np.log(np.maximum(weights / total, _LEAST))
    # Golub & Welsch
    k = np.arange(number)
    off = np.sqrt(k[1:] * (k[1:] + shape - 1.0))
    values, vectors = np.linalg.eigh(np.diag(2.0 * k + shape) + np.diag(off, 1) + np.diag(off, -1))
    return np.maximum(values, 0.0), np.log(np.maximum(vectors[0] ** 2, _LEAST))


def told_by_neighbours(counts: np.ndarray) -> tuple[np.ndarray, float]:
    """What neighbours tell of the mean of each datum, (n,), and the shape of the Gamma distribution about it.

    The number of neighbours and the shape are those under which the data, each foretold by its neighbours without
    itself, are most probable.
    """
    from scipy.special import gammaln

    counts = np.asarray(counts, dtype=np.float64)
    best, found = -np.inf, (np.full(len(counts), 0.5), 0.5)
    for window in _WINDOWS:
        mean = np.maximum(local_mean(counts, window, alone=False), 0.5 / len(counts))
        p, k = _SHAPES[:, None], counts[None]
        log = (
            gammaln(k + p) - gammaln(p) - gammaln(k + 1.0) + p * np.log(p / (p + mean)) + k * np.log(mean / (p + mean))
        )
        total = log.sum(axis=1)
        if total.max() > best:
            best, found = float(total.max()), (mean, float(_SHAPES[int(np.argmax(total))]))
        if window > counts.sum():
            break
    return found
