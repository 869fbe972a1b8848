"""The response of a spectrum: from photons per energy bin to expected counts per group, in one product."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.xray.files.energy_grid import same_grid
from skyfold.xray.files.records import Arf, Rmf

#: Above so many elements the matrix is kept as its non-zero elements only.
DENSE_LIMIT = 64_000_000


class Response(eqx.Module):
    r"""Expected counts of each group per photon of each energy bin.

    .. math:: m_g = \sum_e R_{ge} f_e, \qquad R_{ge} = \sum_{c \in g} T a_c \, \mathrm{RMF}_{ce} \, A_e

    with the photons :math:`f_e` in photons/cm^2/s per energy bin, the exposure :math:`T`, AREASCAL :math:`a_c` and the
    effective area :math:`A_e`: everything between the model and the counts is in the matrix.

    Parameters
    ----------
    matrix : (n_groups, n_energies) cm^2 s.
    edges : (n_energies + 1,) keV.
    """

    matrix: np.ndarray
    edges: np.ndarray

    def fold(self, flux: jax.Array) -> jax.Array:
        """Fold photons/cm^2/s per energy bin, (..., n_energies), into counts, (..., n_groups)."""
        return flux @ jnp.asarray(self.matrix).T

    def take(self, groups: np.ndarray) -> Response:
        """Return the response of some groups, on the energies that reach them."""
        matrix = self.matrix[groups]
        inside = _reached(np.flatnonzero(matrix.any(axis=0)))
        return Response(np.ascontiguousarray(matrix[:, inside]), self.edges[inside.start : inside.stop + 1])

    def responds(self) -> np.ndarray:
        """Return which groups any energy reaches, (n_groups,)."""
        return np.asarray(np.any(self.matrix, axis=1))

    def total(self) -> np.ndarray:
        """Return the effective area times exposure that reaches the groups, (n_energies,) cm^2 s."""
        return np.asarray(self.matrix).sum(axis=0)


class SparseResponse(eqx.Module):
    """The same for very large matrices: each group gathers the energies that reach it.

    Parameters
    ----------
    columns : (n_groups, width) energy bin of each stored element.
    weights : (n_groups, width) its value, cm^2 s; zero where a group has fewer.
    edges : (n_energies + 1,) keV.
    """

    columns: np.ndarray
    weights: np.ndarray
    edges: np.ndarray

    def fold(self, flux: jax.Array) -> jax.Array:
        """Fold photons/cm^2/s per energy bin, (..., n_energies), into counts, (..., n_groups)."""
        return jnp.sum(jnp.take(flux, jnp.asarray(self.columns), axis=-1) * self.weights, axis=-1)

    def take(self, groups: np.ndarray) -> SparseResponse:
        """Return the response of some groups, on the energies that reach them."""
        columns, weights = self.columns[groups], self.weights[groups]
        inside = _reached(np.unique(columns[weights != 0]))
        columns = np.clip(columns - inside.start, 0, inside.stop - inside.start - 1)
        return SparseResponse(columns, weights, self.edges[inside.start : inside.stop + 1])

    def responds(self) -> np.ndarray:
        """Return which groups any energy reaches, (n_groups,)."""
        return np.asarray(np.any(self.weights, axis=1))

    def total(self) -> np.ndarray:
        """Return the effective area times exposure that reaches the groups, (n_energies,) cm^2 s."""
        return np.bincount(self.columns.ravel(), weights=self.weights.ravel(), minlength=len(self.edges) - 1)


def build(rmf: Rmf, arf: Arf | None, group: np.ndarray, weight: np.ndarray, n_groups: int) -> Response | SparseResponse:
    """Join redistribution, effective area, exposure and area scaling into one response.

    Parameters
    ----------
    rmf : redistribution matrix, or complete response.
    arf : effective area, None for a complete response.
    group : (n_channels of the RMF,) group of each channel, -1 for none.
    weight : (n_channels of the RMF,) exposure times AREASCAL, s.
    n_groups : number of groups.

    Raises
    ------
    FileFormatError
        Where the energies of RMF and ARF differ.
    SkyfoldError
        Where no energy reaches any group.
    """
    n_energies = len(rmf.edges) - 1
    area = effective_area(rmf, arf)
    row = group[rmf.channel_index]
    values = rmf.values * weight[rmf.channel_index] * area[rmf.energy_index]
    kept = np.flatnonzero((row >= 0) & (values > 0))
    row, column, values = row[kept], rmf.energy_index[kept], values[kept]
    inside = _reached(np.flatnonzero(np.bincount(column, minlength=n_energies)), rmf)
    edges = rmf.edges[inside.start : inside.stop + 1]
    column, width = column - inside.start, inside.stop - inside.start
    if n_groups * width <= DENSE_LIMIT:
        flat = np.bincount(row * width + column, weights=values, minlength=n_groups * width)
        return Response(flat.reshape(n_groups, width), edges)
    from scipy.sparse import coo_array

    rows = coo_array((values, (row, column)), shape=(n_groups, width)).tocsr()
    lengths = np.diff(rows.indptr)
    place = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], lengths)
    at = (np.repeat(np.arange(n_groups), lengths), place)
    columns, weights = np.zeros((n_groups, lengths.max()), np.int32), np.zeros((n_groups, lengths.max()))
    columns[at], weights[at] = rows.indices, rows.data
    return SparseResponse(columns, weights, edges)


def effective_area(rmf: Rmf, arf: Arf | None) -> np.ndarray:
    """Return the area of each energy bin of the RMF, cm^2 (ones without an ARF)."""
    if arf is None:
        return np.ones(len(rmf.edges) - 1)
    if len(arf.edges) != len(rmf.edges):
        raise FileFormatError(
            f"{arf.path}: the effective area has {len(arf.area)} energy bins, the response {rmf.path} has "
            f"{len(rmf.edges) - 1}. Give the ARF that was made for this RMF"
        )
    apart = same_grid(rmf.edges, arf.edges)
    if apart is not None:
        raise FileFormatError(
            f"{arf.path}: edge {apart + 1} of the effective area lies at {arf.edges[apart]:.7g} keV, that of the "
            f"response {rmf.path} at {rmf.edges[apart]:.7g} keV. Give the ARF that was made for this RMF"
        )
    return arf.area


def _reached(columns: np.ndarray, rmf: Rmf | None = None) -> slice:
    """Return the smallest stretch of energies that holds all columns with response."""
    if columns.size == 0:
        where = f"{rmf.path}: " if rmf is not None else ""
        raise SkyfoldError(
            f"{where}the response is zero in every noticed channel. Notice channels that the detector responds in, and "
            "check that response and effective area belong to this spectrum"
        )
    return slice(int(columns[0]), int(columns[-1]) + 1)
