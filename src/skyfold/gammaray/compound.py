r"""Probability of counts in a pixel that sees unresolved sources besides smooth emission: a compound Poisson law.

A pixel of expected smooth counts :math:`\mu` and of source templates :math:`T_t` has the generating function

.. math:: \sum_k p_k z^k = \exp\Big(\sum_m X_m (z^m - 1)\Big), \quad X_m = \sum_t T_t x_m^t + \mu \delta_{m1},

where :math:`x_m^t` is the mean number of sources of population t that send m photons into a pixel of unit template
(Malyshev & Hogg 2011, ApJ 738, 181; Lee, Lisanti & Safdi 2015, JCAP 05, 056). Hence

.. math:: p_0 = \exp\Big(-\mu - \sum_t T_t v^t\Big), \quad k p_k = \sum_{j=1}^k j X_j p_{k-j}, \quad
    \frac{\partial \ln p_d}{\partial X_j} = \frac{p_{d-j}}{p_d}

with :math:`v^t = \sum_{m \ge 1} x_m^t`. All terms are positive, so the recursion loses no digits; it is kept in range
by powers of two. Derivatives take the last formula, not the way back through the recursion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero

from skyfold.errors import SkyfoldError

#: Steps of the recursion that are done between two products with the earlier ones.
_BLOCK = 16
#: Pixels that are worked on together: their probabilities stay in the fast memory of one core.
_TILE = 256
#: Rows of the classes of pixels; doubled beyond the last.
_ROWS = (32, 64, 128)
#: Most counts of a pixel: 10,000 take 0.7 GB.
_MOST = 20_000
#: Part of the rows of a class that its own data may use, so that other draws of the data fit into it too.
_FILLING = 0.85
#: Value of p_0 in the recursion, and the size from which everything is scaled down by `_STEP`.
_START, _LARGE, _STEP = 2.0**-900, 2.0**500, 2.0**-600


class Layout(eqx.Module):
    """Pixels sorted by counts and cut into tiles, so that few rows are spent on faint pixels.

    Attributes
    ----------
    order : (n_slots,) pixel in each slot; slots that are left over repeat a pixel, as if it had no counts.
    place : (n_pixels,) slot of each pixel.
    counts : (n_slots,) counts of each slot.
    blocks : (n_tiles,) blocks of steps that each tile needs.
    shape : tiles, pixels of a tile, rows of each class of pixels, faint ones first.
    """

    order: np.ndarray
    place: np.ndarray
    counts: np.ndarray
    blocks: np.ndarray
    shape: tuple[tuple[int, int, int], ...] = eqx.field(static=True)

    @property
    def highest(self) -> int:
        """Largest number of counts that the layout has room for."""
        return self.shape[-1][2] - 1


def arrange(counts: Any, like: Layout | None = None) -> Layout:
    """Sort pixels by counts; on the host.

    Parameters
    ----------
    counts : (n_pixels,) array of whole numbers, not negative.
    like : Layout, optional
        Its shape is used where the counts fit into it: data of one shape share their executables.

    Raises
    ------
    SkyfoldError
        If counts are no counts.
    """
    counts = _checked(counts)
    shape = like.shape if like is not None and _fits(np.sort(counts), like.shape) else _shape_for(counts)
    slots = sum(tiles * width for tiles, width, _ in shape)
    ranked = np.argsort(counts, kind="stable")
    spare = slots - counts.size
    order = np.concatenate([np.full(spare, ranked[0]), ranked]).astype(np.int32)
    place = np.empty(counts.size, dtype=np.int32)
    place[ranked] = spare + np.arange(counts.size)
    sorted_counts = np.concatenate([np.zeros(spare), counts[ranked]])
    blocks, start = [], 0
    for tiles, width, _ in shape:
        most = sorted_counts[start : start + tiles * width].reshape(tiles, width).max(axis=1)
        blocks.append((most // _BLOCK + 1).astype(np.int64))
        start += tiles * width
    return Layout(order, place, sorted_counts, np.concatenate(blocks), shape)


def log_probability(
    layout: Layout, x: jax.Array, mu: jax.Array, templates: jax.Array, total: jax.Array | None = None
) -> jax.Array:
    """Log-probability of the counts of every pixel, (n_pixels,), normalisation included.

    Parameters
    ----------
    layout : Layout
    x : (n, m) mean number of sources of unit template that send 1, 2, ..., m photons; m at least `layout.highest`.
    mu : (n_pixels,) expected counts of smooth emission.
    templates : (n, n_pixels)
    total : (n,) mean number of sources of unit template that send any photon; the sum of `x` over all m.
    """
    total = jnp.sum(x, axis=1) if total is None else total
    parts = [_probability(given[0], x[:, : given[0] - 1], *given[1:]) for given in _classes(layout, mu, templates)]
    smooth = jnp.concatenate([p.ravel() for p in parts])[layout.place]
    return smooth - mu - total @ jnp.asarray(templates)


def log_probability_scores(
    layout: Layout,
    x: jax.Array,
    mu: jax.Array,
    templates: jax.Array,
    total: jax.Array,
    dx: jax.Array,
    dtotal: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Log-probability of the counts of every pixel, and its derivatives.

    Parameters
    ----------
    layout, x, mu, templates, total : as for `log_probability`.
    dx, dtotal : (k, n, m) and (k, n), changes of `x` and `total` along k directions.

    Returns
    -------
    value : (n_pixels,)
    by_mu : (n_pixels,)
    by_templates : (n, n_pixels)
    along : (k, n_pixels), derivatives along the directions.
    """
    (n, k), templates = (x.shape[0], dx.shape[0]), jnp.asarray(templates)
    parts = []
    for rows, rate, maps, blocks, counts in _classes(layout, mu, templates):
        own, changes = x[:, : rows - 1], dx[:, :, rows - 2 :: -1].reshape(k * n, rows - 1)

        def use(ratios: jax.Array, templates: jax.Array, own: Any = own, changes: Any = changes) -> tuple[Any, ...]:
            along = jnp.sum((changes @ ratios).reshape(k, n, -1) * templates, axis=1)
            return ratios[-1], own[:, ::-1] @ ratios, along

        parts.append(_run(rows, own, rate, maps, blocks, counts, use=use))
    value, by_mu, by_templates, along = (
        jnp.concatenate([jnp.moveaxis(p, 0, -2).reshape(*p.shape[1:-1], -1) for p in piece], axis=-1)[..., layout.place]
        for piece in zip(*parts, strict=True)
    )
    change = along - dtotal @ templates
    return value - mu - total @ templates, by_mu - 1.0, by_templates - total[:, None], change


def _classes(layout: Layout, mu: Any, templates: Any) -> Iterator[tuple[Any, ...]]:
    """Rows, mu (tiles, width), templates (n, tiles, width), blocks and counts of every class of pixels."""
    mu, templates = jnp.asarray(mu)[layout.order], jnp.asarray(templates)[:, layout.order]
    start, first = 0, 0
    for tiles, width, rows in layout.shape:
        stop, last = start + tiles * width, first + tiles
        own = templates[:, start:stop].reshape(-1, tiles, width)
        blocks, counts = layout.blocks[first:last], layout.counts[start:stop].reshape(tiles, width)
        yield rows, mu[start:stop].reshape(tiles, width), own, jnp.asarray(blocks), jnp.asarray(counts)
        start, first = stop, last


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """Function that a CPU does one after the other where many are asked for.

    Side by side its matrix products become batched ones, which XLA does fifteen times as slowly there.
    """
    if jax.default_backend() != "cpu":
        return function
    mapped = jax.custom_batching.custom_vmap(function)

    @mapped.def_vmap
    def rule(size: int, batched: Any, *given: Any) -> tuple[Any, Any]:
        leaves, structure = jax.tree.flatten(given)
        moving = jax.tree.leaves(batched)

        def one(own: list[Any]) -> Any:
            rest = iter(own)
            return mapped(
                *jax.tree.unflatten(structure, [next(rest) if m else x for x, m in zip(leaves, moving, strict=True)])
            )

        if not any(moving):
            result = function(*given)
        else:
            result = jax.lax.map(one, [x for x, m in zip(leaves, moving, strict=True) if m])
        return result, jax.tree.map(lambda _: any(moving), result)

    return mapped


# -- the recursion -----------------------------------------------------------------------------------------------------


def _run(
    rows: int,
    x: jax.Array,
    mu: jax.Array,
    templates: jax.Array,
    blocks: Any,
    counts: Any,
    use: Callable[[jax.Array, jax.Array], tuple[jax.Array, ...]] | None = None,
) -> tuple[jax.Array, ...]:
    """ln(p_d / p_0) of a class of pixels, (tiles, width), and for every tile what `use` makes of p_{d-j}/p_d.

    It is given these, (rows - 1, width), in the order j = rows - 1 ... 1, and the tile's templates (n, width).

    Time runs so that every pixel arrives at its own d in the last row: p_k stands in row k + rows - 1 - d. The
    products with rows of earlier blocks are one matrix product of a block of the Toeplitz matrix of j x_j.
    """
    n, (_, width) = x.shape[0], mu.shape
    jx = x * jnp.arange(1.0, rows)
    # toeplitz[t, i, rows - s + r] = (s + i - r) x_{s + i - r} for r < s: columns from rows - s on are block s
    column = np.arange(2 * rows)
    j = rows - column + np.arange(_BLOCK)[:, None]
    known = (column < rows) & (j >= 1) & (j < rows)
    toeplitz = jnp.where(known, jx[:, np.clip(j - 1, 0, rows - 2)], 0.0).reshape(n * _BLOCK, 2 * rows)
    near = jx[:, : _BLOCK - 1]

    def tile(given: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        mu, templates, needed, counts = given
        inside = (near.T @ templates).at[0].add(mu)

        def block(b: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            p, exponent = state
            s = b * _BLOCK
            products = lax.dynamic_slice(toeplitz, (0, rows - s), (n * _BLOCK, rows)) @ p
            known = jnp.sum(products.reshape(n, _BLOCK, width) * templates[:, None], axis=0)
            before = lax.dynamic_index_in_dim(p, jnp.maximum(s - 1, 0), 0, keepdims=False)
            k = s - (rows - 1) + counts
            new: list[jax.Array] = []
            for i in range(_BLOCK):
                value = known[i] + (mu * before if i == 0 else 0.0)
                for back in range(1, i + 1):
                    value = value + inside[back - 1] * new[i - back]
                new.append(value / jnp.maximum(k + i, 1.0) + jnp.where(k + i == 0, _START, 0.0))
            fresh = jnp.stack(new)
            p = lax.dynamic_update_slice(p, fresh, (s, 0))
            high = jnp.max(fresh, axis=0) > _LARGE

            def smaller(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
                return state[0] * jnp.where(high, _STEP, 1.0), state[1] + high

            return lax.cond(jnp.any(high), smaller, lambda state: state, (p, exponent))

        last = rows // _BLOCK
        p, exponent = lax.fori_loop(last - needed, last, block, (jnp.zeros((rows, width)), jnp.zeros(width)))
        log_ratio = jnp.log(p[-1]) - np.log(_START) - exponent * np.log(_STEP)
        if use is None:
            return (log_ratio,)
        # with second derivatives in range, although the square of p is not
        here = lax.stop_gradient(p[-1])
        return (log_ratio, *use((p[:-1] / here) / (p[-1] / here), templates))

    return tuple(lax.map(tile, (mu, jnp.moveaxis(templates, 0, 1), blocks, counts)))


def _probability(rows: int, x: Any, mu: Any, templates: Any, blocks: Any, counts: Any) -> jax.Array:
    """ln(p_d / p_0) of a class of pixels, (tiles, width); exact derivatives by `x`, `mu` and `templates`."""

    @jax.custom_jvp
    def call(x: jax.Array, mu: jax.Array, templates: jax.Array, blocks: Any, counts: Any) -> jax.Array:
        return _run(rows, x, mu, templates, blocks, counts)[0]

    def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
        x, mu, templates, blocks, counts = primals
        value, ratios = _run(rows, x, mu, templates, blocks, counts, lambda ratios, _: (ratios,))
        dx, dmu, dtemplates = tangents[:3]
        change = jnp.zeros_like(value)
        if not isinstance(dmu, SymbolicZero):
            change = change + ratios[:, -1] * dmu
        if not isinstance(dx, SymbolicZero):
            change = change + jnp.sum(templates * _along(dx, ratios), axis=0)
        if not isinstance(dtemplates, SymbolicZero):
            change = change + jnp.sum(dtemplates * _along(x, ratios), axis=0)
        return value, change

    call.defjvp(rule, symbolic_zeros=True)
    return call(x, mu, templates, blocks, counts)


def _along(x: jax.Array, ratios: jax.Array) -> jax.Array:
    """Sum over j of x_j p_{d-j}/p_d, (n, tiles, width)."""
    return jnp.einsum("nj,tjw->ntw", x[:, ::-1], ratios)


# -- what the host decides ---------------------------------------------------------------------------------------------


def _checked(counts: Any) -> np.ndarray:
    if isinstance(counts, jax.core.Tracer):
        raise SkyfoldError(
            "The layout of the pixels is made on the host from their counts, which are traced here; prepare the "
            "pixels outside of the compiled function."
        )
    counts = np.asarray(counts, dtype=np.float64)
    if counts.ndim != 1 or counts.size == 0:
        raise SkyfoldError(f"Counts must be one number per pixel, not an array of shape {counts.shape}.")
    wrong = np.flatnonzero(~(np.isfinite(counts) & (counts >= 0) & (counts == np.rint(counts))))
    if wrong.size:
        raise SkyfoldError(
            f"Counts must be whole numbers, not negative: pixel {wrong[0]} has {counts[wrong[0]]:g} ({wrong.size} such "
            "pixels). Mask these pixels or read a map of counts instead of one of flux."
        )
    if counts.max() > _MOST:
        raise SkyfoldError(
            f"Pixel {int(counts.argmax())} has {counts.max():g} counts, and the numbers of sources of every "
            f"brightness up to that would fill the memory: up to {_MOST} counts are taken. Mask it: so bright a "
            "source is not unresolved."
        )
    return counts


def _shape_for(counts: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    counts = np.sort(counts)
    shape: list[tuple[int, int, int]] = []
    stop, ladder = counts.size, list(_ROWS)
    while counts[-1] >= _FILLING * ladder[-1]:
        ladder.append(2 * ladder[-1])
    # from bright to faint, so that spare slots are faint ones
    for index in range(len(ladder) - 1, -1, -1):
        rows = ladder[index]
        start = int(np.searchsorted(counts[:stop], _FILLING * ladder[index - 1])) if index else 0
        if start == stop:
            continue
        width = min(_TILE, 8 * -(-(stop - start) // 8))
        tiles = -(-(stop - start) // width)
        if not shape:
            room = int(counts[stop - 1] / _FILLING) + 1
            rows = min(rows, _BLOCK * -(-room // _BLOCK))
        shape.insert(0, (tiles, width, rows))
        stop = max(stop - tiles * width, 0)
        if stop == 0:
            break
    return tuple(shape)


def _fits(ranked: np.ndarray, shape: tuple[tuple[int, int, int], ...]) -> bool:
    slots = sum(tiles * width for tiles, width, _ in shape)
    if not 0 <= slots - ranked.size < shape[0][1]:
        return False
    stop = ranked.size
    for tiles, width, rows in reversed(shape):
        if stop > 0 and ranked[stop - 1] >= rows:
            return False
        stop -= tiles * width
    return True
