"""Joining RMF, ARF, exposure and area scaling; trimming; folding."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from broken_files import records

from skyfold.errors import FileFormatError, SkyfoldError
from skyfold.xray import response as module
from skyfold.xray.files.records import Arf, Rmf
from skyfold.xray.response import Response, ResponseParts, SparseResponse


@pytest.fixture
def parts() -> tuple[Rmf, Arf, np.ndarray, np.ndarray]:
    _, rmf, arf = records()
    group = np.repeat(np.arange(20), 4)
    group[5] = -1
    weight = 1e3 * np.linspace(0.5, 1.0, 80)
    return rmf, arf, group, weight


def build(*parts: Any) -> Response | SparseResponse:
    return ResponseParts.of(*parts).melted()


def naive(rmf: Rmf, arf: Arf, group: np.ndarray, weight: np.ndarray, n_groups: int) -> np.ndarray:
    channels = rmf.dense() * arf.area * weight[:, None]
    return np.stack([channels[group == g].sum(axis=0) for g in range(n_groups)])


def test_matrix_is_the_plain_product(parts: tuple) -> None:
    rmf, arf, group, weight = parts
    response = build(rmf, arf, group, weight, 20)
    expected = naive(rmf, arf, group, weight, 20)
    reached = np.flatnonzero(expected.any(axis=0))
    np.testing.assert_allclose(response.matrix, expected[:, reached[0] : reached[-1] + 1], rtol=1e-12)
    np.testing.assert_allclose(response.edges, rmf.edges[reached[0] : reached[-1] + 2])
    flux = np.random.default_rng(0).random(len(response.edges) - 1)
    np.testing.assert_allclose(response.fold(flux), response.matrix @ flux, rtol=1e-12)
    np.testing.assert_allclose(response.total(), response.matrix.sum(axis=0))


def test_some_groups_need_only_some_energies(parts: tuple) -> None:
    pieces = ResponseParts.of(*parts, 20)
    response, part = pieces.melted(), pieces.take(np.arange(5, 9)).melted()
    assert len(part.edges) < len(response.edges) / 2
    offset = int(np.flatnonzero(response.edges == part.edges[0])[0])
    flux = np.random.default_rng(0).random(len(response.edges) - 1)
    np.testing.assert_allclose(
        part.fold(flux[offset : offset + len(part.edges) - 1]), response.fold(flux)[5:9], rtol=1e-12
    )
    assert part.matrix[:, 0].any() and part.matrix[:, -1].any()


def test_very_large_matrices_gather(parts: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces, chosen = ResponseParts.of(*parts, 20), np.array([3, 4, 11])
    dense, one = pieces.melted(), pieces.take(chosen).melted()
    monkeypatch.setattr(module, "DENSE_LIMIT", 10)
    pieces = ResponseParts.of(*parts, 20)
    sparse, other = pieces.melted(), pieces.take(chosen).melted()
    assert isinstance(dense, Response) and isinstance(sparse, SparseResponse)
    np.testing.assert_array_equal(dense.edges, sparse.edges)
    flux = np.random.default_rng(0).random((3, len(dense.edges) - 1))
    np.testing.assert_allclose(sparse.fold(flux), dense.fold(flux), rtol=1e-12)
    np.testing.assert_allclose(sparse.total(), dense.total(), rtol=1e-12)
    np.testing.assert_array_equal(one.edges, other.edges)
    np.testing.assert_allclose(other.fold(np.ones(len(one.edges) - 1)), one.matrix.sum(axis=1), rtol=1e-12)


def test_a_batch_is_one_matrix_product(parts: tuple) -> None:
    response = build(*parts, 20)
    flux = jnp.ones((7, len(response.edges) - 1))
    jaxpr = jax.make_jaxpr(jax.vmap(response.fold))(flux)
    products = [e for e in jaxpr.jaxpr.eqns if e.primitive.name == "dot_general"]
    assert len(products) == 1
    assert products[0].params["dimension_numbers"][1] == ((), ())  # no batch dimensions: a plain product
    assert products[0].outvars[0].aval.shape == (7, 20)


def test_complete_response_needs_no_area(parts: tuple) -> None:
    rmf, _, group, weight = parts
    ones = Arf(None, rmf.edges, np.ones(len(rmf.edges) - 1))
    np.testing.assert_allclose(build(rmf, None, group, weight, 20).matrix, build(rmf, ones, group, weight, 20).matrix)


def test_area_must_share_the_grid(parts: tuple) -> None:
    rmf, arf, group, weight = parts
    close = Arf(None, np.float32(arf.edges * (1 + 1e-7)).astype(float), arf.area)
    build(rmf, close, group, weight, 20)
    with pytest.raises(FileFormatError, match="edge"):
        build(rmf, Arf(None, arf.edges + 0.02, arf.area), group, weight, 20)
    with pytest.raises(FileFormatError, match="150 energy bins"):
        build(rmf, Arf(None, arf.edges[:151], arf.area[:150]), group, weight, 20)
    with pytest.raises(SkyfoldError, match="zero in every noticed channel"):
        build(rmf, Arf(None, arf.edges, 0 * arf.area), group, weight, 20)
