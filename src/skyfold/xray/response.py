"""The response of a spectrum: from photons per energy bin to expected counts per group.

It is kept in pieces until a model is bound to the spectrum, and then joined to one product on the energies that the
model asks for.
"""

from __future__ import annotations

import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.compiled.annotation import Annotation
from skyfold.errors import FileFormatError, ResponseWarning, SkyfoldError
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

    def total(self) -> np.ndarray:
        """Return the effective area times exposure that reaches the groups, (n_energies,) cm^2 s."""
        return np.bincount(self.columns.ravel(), weights=self.weights.ravel(), minlength=len(self.edges) - 1)


class ResponseParts(eqx.Module):
    """A response in pieces: redistribution, effective area, exposure and groups, until a model is bound to them.

    It folds as it stands, element by element; `melted` joins the pieces into the fastest form for a model.

    Parameters
    ----------
    edges : (n_energies + 1,) keV, all that the files have.
    area : (n_energies,) effective area, cm^2.
    weight : (n_channels of the RMF,) exposure times AREASCAL, s.
    group : (n_channels of the RMF,) group of each channel, -1 for none.
    energy, channel, values : (n_elements,) non-zero elements of the redistribution matrix that reach a group.
    n_groups : number of groups.
    """

    edges: np.ndarray
    area: np.ndarray
    weight: np.ndarray
    group: np.ndarray
    energy: np.ndarray
    channel: np.ndarray
    values: np.ndarray
    n_groups: int = eqx.field(static=True)
    # what was melted before, with the pieces it was made of: spectra that are bound again share one matrix
    _known: Annotation = eqx.field(static=True)

    def __init__(self, edges: Any, area: Any, weight: Any, group: Any, energy: Any, channel: Any, values: Any, n: int):
        kept = np.flatnonzero((group[channel] >= 0) & (values * area[energy] * weight[channel] != 0))
        whole = len(kept) == len(values)
        self.edges, self.area, self.weight, self.group, self.n_groups = edges, area, weight, group, n
        self.energy, self.channel, self.values = (x if whole else x[kept] for x in (energy, channel, values))
        self._known = Annotation({})

    @classmethod
    def of(cls, rmf: Rmf, arf: Arf | None, group: np.ndarray, weight: np.ndarray, n_groups: int) -> ResponseParts:
        """Pieces as the files have them.

        Raises
        ------
        FileFormatError
            Where the energies of RMF and ARF differ.
        SkyfoldError
            Where no energy reaches any group.
        """
        area = effective_area(rmf, arf)
        parts = cls(rmf.edges, area, weight, group, rmf.energy_index, rmf.channel_index, rmf.values, n_groups)
        _reached(parts.energy, rmf)
        return parts

    @property
    def matrix(self) -> Any:
        """The pieces joined, (n_groups, n_energies) cm^2 s, on the energies that reach the groups."""
        return self.melted().matrix  # type: ignore[union-attr]

    @property
    def elements(self) -> Any:
        """Element of the whole response for each of the redistribution matrix, (n_elements,) cm^2 s."""
        return self.values * self.weight[self.channel] * self.area[self.energy]

    def fold(self, flux: jax.Array) -> jax.Array:
        """Fold photons/cm^2/s per energy bin, (..., n_energies), into counts, (..., n_groups)."""
        counts = jnp.zeros((*flux.shape[:-1], self.n_groups))
        return counts.at[..., self.group[self.channel]].add(flux[..., self.energy] * self.elements)

    def take(self, groups: np.ndarray) -> ResponseParts:
        """Return the response of some groups."""
        number = np.append(np.full(self.n_groups, -1), -1)
        number[groups] = np.arange(len(groups))
        parts = (self.edges, self.area, self.weight, number[self.group], self.energy, self.channel, self.values)
        taken = ResponseParts(*parts, len(groups))
        _reached(taken.energy)
        return taken

    def responds(self) -> np.ndarray:
        """Return which groups any energy reaches, (n_groups,)."""
        return np.bincount(self.group[self.channel], minlength=self.n_groups) > 0

    def melted(self, model: Any = None) -> Response | SparseResponse | WiderResponse:
        """Join the pieces on the energies that reach the groups, and on more where a model asks for them."""
        pieces = (self.edges, self.area, self.weight, self.group, self.energy, self.channel, self.values)
        inside = _reached(self.energy)
        edges = self.edges[inside.start : inside.stop + 1]
        asked = getattr(model, "needs", None)  # anything with a method `evaluate` is a model
        wanted = edges if asked is None else np.asarray(asked(edges, self.edges))
        key = (tuple(map(id, pieces)), wanted.tobytes())
        if key not in self._known.value:
            joined = self._joined(edges, inside)
            found: Response | SparseResponse | WiderResponse = joined
            if len(wanted) != len(edges):
                found = WiderResponse(joined, wanted, int(np.flatnonzero(wanted == edges[0])[0]))
            self._known.value[key] = (found, pieces)
        return self._known.value[key][0]  # type: ignore[no-any-return]

    def _joined(self, edges: np.ndarray, inside: slice) -> Response | SparseResponse:
        row, values = self.group[self.channel], self.elements
        column, width = self.energy - inside.start, inside.stop - inside.start
        if self.n_groups * width <= DENSE_LIMIT:
            flat = np.bincount(row * width + column, weights=values, minlength=self.n_groups * width)
            return Response(flat.reshape(self.n_groups, width), edges)
        from scipy.sparse import coo_array

        rows = coo_array((values, (row, column)), shape=(self.n_groups, width)).tocsr()
        lengths = np.diff(rows.indptr)
        place = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], lengths)
        at = (np.repeat(np.arange(self.n_groups), lengths), place)
        columns, weights = np.zeros((self.n_groups, lengths.max()), np.int32), np.zeros((self.n_groups, lengths.max()))
        columns[at], weights[at] = rows.indices, rows.data
        return SparseResponse(columns, weights, edges)


class WiderResponse(eqx.Module):
    """A response for a model that is evaluated on more energies than reach the groups.

    Parameters
    ----------
    response : on the energies that reach the groups.
    edges : (n_energies + 1,) keV, all that the model is evaluated on.
    start : energy bin at which those of `response` begin.
    """

    response: Response | SparseResponse
    edges: np.ndarray
    start: int = eqx.field(static=True)

    def fold(self, flux: jax.Array) -> jax.Array:
        """Fold photons/cm^2/s per energy bin, (..., n_energies), into counts, (..., n_groups)."""
        return self.response.fold(flux[..., self.start : self.start + len(self.response.edges) - 1])


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
    if abs(rmf.edges[0] - arf.edges[0]) > 0.1 * (rmf.edges[1] - rmf.edges[0]):
        warnings.warn(
            f"{arf.path}: the effective area begins at {arf.edges[0]:.4g} keV, the response {rmf.path} at "
            f"{rmf.edges[0]:.4g} keV; the response's is used",
            ResponseWarning,
            stacklevel=5,
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
    return slice(int(columns.min()), int(columns.max()) + 1)
