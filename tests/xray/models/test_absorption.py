"""Photo-electric absorption against XSPEC's numbers, and on its own."""

from __future__ import annotations

import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import skyfold as sf
from skyfold.errors import SkyfoldError
from skyfold.xray.models import abundances, cross_sections
from skyfold.xray.models.absorption import PHabs, TBabs, Wabs, ZTBabs

ROOT = Path(__file__).parents[3]
EDGES = np.geomspace(0.1, 20.0, 301)

#: Agreement in optical depth demanded of every bin that holds no edge.
TOLERANCE = 0.01
#: The same for wabs, whose bins are averaged as XSPEC averages them, edges included.
TOLERANCE_WABS = 0.001
#: For bins that hold an edge. XSPEC takes the mean of the values at the bin's two ends, wherever in the bin the edge
#: lies; a proper mean may be near either end's value. At a jump by J they differ by up to (J - 1) / (J + 1), and
#: iron's K edge has J = 2.20 with angr. (The recipe itself is tested to 1% below.)
TOLERANCE_EDGE = 0.375
#: The same for bcmc, where XSPEC mixes the logarithms of each element's E^3 sigma on the two sides.
TOLERANCE_EDGE_BCMC = 0.06


@lru_cache(maxsize=1)
def reference(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def xspec(reference_numbers: Path) -> dict[str, Any]:
    return reference(reference_numbers / "xspec_models.json")


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_tables", ROOT / "scripts" / "make_absorption_tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def component(model: str, par: list[float], abund: str, xsect: str) -> Any:
    match model.lower():
        case "tbabs":
            return TBabs(par[0], abundances=abund)
        case "ztbabs":
            return ZTBabs(*par, abundances=abund)
        case "phabs":
            return PHabs(par[0], abundances=abund, cross_sections=xsect)
        case _:
            return Wabs(par[0])


def holds_edge(model: str, entry: dict[str, Any], edges: np.ndarray) -> np.ndarray:
    """Bins in which a cross-section of the model jumps or resonates."""
    jumps = script().edges()
    if model.lower() in ("tbabs", "ztbabs"):
        jumps = np.concatenate([jumps, np.arange(525.0, 585.0, 1.0), np.arange(865.0, 871.0), np.arange(700.0, 747.0)])
    scale = 1.0 + (entry["par"][1] if model == "zTBabs" else 0.0)
    place = np.searchsorted(edges * scale, jumps / 1000.0) - 1
    held = np.zeros(edges.size - 1, dtype=bool)
    held[place[(place >= 0) & (place < held.size)]] = True
    return held


def depths(model: str, entry: dict[str, Any], edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Optical depths of XSPEC and of skyfold, and which bins hold an edge; bins without a transmission left out."""
    theirs = np.array(entry.get("out_r8", entry["out"]))
    ours = component(model, entry["par"], entry["abund"], entry["xsect"]).factor(edges)
    seen = (theirs > 1e-300) & (ours > 1e-300)
    return -np.log(theirs[seen]), -np.log(ours[seen]), holds_edge(model, entry, edges)[seen]


@pytest.mark.parametrize("model", ["TBabs", "zTBabs", "phabs", "wabs"])
def test_agrees_with_xspec(xspec: dict[str, Any], model: str) -> None:
    compared = 0
    for entry in xspec["models"][model]["sets"]:
        edges = np.array(xspec["grids"][entry["grid"]]["edges"])
        theirs, ours, edge = depths(model, entry, edges)
        label = f"{model} {entry['par']} {entry['grid']} {entry['abund']} {entry['xsect']}"
        if entry["par"][0] == 0.0:
            assert np.all(ours == 0.0), label
            continue
        deviation = np.abs(ours / theirs - 1.0)
        compared += deviation.size
        if model == "wabs":
            assert deviation.max() < TOLERANCE_WABS, label
            continue
        assert deviation[~edge].max() < TOLERANCE, label
        beside = TOLERANCE_EDGE_BCMC if model == "phabs" and entry["xsect"] == "bcmc" else TOLERANCE_EDGE
        assert deviation[edge].max() < beside, label
    assert compared > 700


@pytest.mark.parametrize("model", ["TBabs", "zTBabs", "phabs"])
def test_edges_agree_with_xspec_under_its_own_recipe(xspec: dict[str, Any], model: str) -> None:
    """With the mean of the values at a bin's ends, every bin agrees to 1%, edges and resonances included."""
    for entry in xspec["models"][model]["sets"]:
        if entry["xsect"] != "vern" or entry["par"][0] == 0.0:
            continue
        edges = np.array(xspec["grids"][entry["grid"]]["edges"])
        absorber = component(model, entry["par"], entry["abund"], entry["xsect"])
        scale = 1.0 + (entry["par"][1] if model == "zTBabs" else 0.0)
        at = np.asarray(absorber.cross_section.at(jnp.asarray(edges * scale)))
        ours = entry["par"][0] * 0.5 * (at[1:] + at[:-1])
        theirs = np.array(entry.get("out_r8", entry["out"]))
        seen = theirs > 1e-300
        np.testing.assert_allclose(ours[seen], -np.log(theirs[seen]), rtol=TOLERANCE)


def test_cross_sections_agree_with_xspec(xspec: dict[str, Any]) -> None:
    table = xspec["cross_sections"]
    energies = np.array(table["energies_keV"])
    edges = np.sort(np.concatenate([energies * (1 - 1e-4), energies * (1 + 1e-4)]))
    assert len(table["values"]) >= 36
    for key, values in table["values"].items():
        model, abund, xsect = (*key.split("/"), "angr", "vern")[:3]
        depth = -np.log(component(model, [1e-3, 0.0], abund, xsect).factor(edges)[::2]) * 1e3
        np.testing.assert_allclose(depth, values, rtol=TOLERANCE, err_msg=key)


@pytest.mark.parametrize(
    ("absorber", "values"),
    [
        (PHabs(1e-3, abundances="angr"), [6.8412, 2.5025, 0.44294, 0.036641]),
        (PHabs(1e-3, abundances="angr", cross_sections="bcmc"), [7.1357, 2.5912, 0.45526, 0.037028]),
        (TBabs(1e-3, abundances="wilm"), [6.2964, 1.7375, 0.29207, 0.023902]),
        (Wabs(1e-3), [7.3560, 2.4220, 0.43013, 0.035252]),
    ],
    ids=["phabs vern/angr", "phabs bcmc/angr", "tbabs wilm", "wabs"],
)
def test_effective_cross_sections(absorber: Any, values: list[float]) -> None:
    """1e-22 cm^2 per hydrogen atom at 0.5, 1, 2 and 5 keV as XSPEC 12.9 has them."""
    edges = np.ravel([(e * (1 - 1e-4), e * (1 + 1e-4)) for e in (0.5, 1.0, 2.0, 5.0)])
    np.testing.assert_allclose(-np.log(absorber.factor(edges)[::2]) * 1e3, values, rtol=TOLERANCE)


# -- without reference data ----------------------------------------------------------------------------------------

ABSORBERS = [
    TBabs(0.3),
    TBabs(0.3, abundances="angr"),
    ZTBabs(0.3, 0.2),
    PHabs(0.3),
    PHabs(0.3, cross_sections="bcmc"),
    PHabs(0.3, abundances="lodd", cross_sections="obcm"),
    Wabs(0.3),
]
IDS = ["tbabs", "tbabs angr", "ztbabs", "phabs", "phabs bcmc", "phabs obcm", "wabs"]


def transmission(absorber: Any, column: Any, edges: Any = EDGES) -> jax.Array:
    return eqx.tree_at(lambda a: a.nH, absorber, column).evaluate(jnp.asarray(edges))


def test_script_gives_the_packaged_table() -> None:
    made, packaged = script().tables(), cross_sections._tables()
    assert sorted(made) == sorted(packaged)
    for name, values in made.items():
        np.testing.assert_allclose(packaged[name], values, rtol=1e-6, err_msg=name)


def test_table_is_small_and_sane() -> None:
    path = ROOT / "src" / "skyfold" / "xray" / "models" / "absorption_tables.npz"
    assert path.stat().st_size < 600_000
    for name, values in cross_sections._tables().items():
        assert np.all(np.isfinite(values)) and np.all(values >= 0.0), name
    assert np.all(np.diff(cross_sections._tables()["energy"]) >= 0.0)


def test_published_values() -> None:
    """H and He at threshold; H2 near three atoms at high energy, and without a gap where its fits meet."""
    make = script()
    assert make.verner(1, np.array([13.6]))[0] == pytest.approx(6.35, rel=0.01)
    assert make.helium(np.array([24.6]))[0] == pytest.approx(7.4, rel=0.02)
    high = np.geomspace(200.0, 1e5, 20)
    ratio = make.molecular_hydrogen(high) / make.hydrogen(high)
    assert np.all((ratio > 2.7) & (ratio < 3.0))
    below, above = make.molecular_hydrogen(np.array([84.99, 85.01]))
    assert above / below == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("absorber", ABSORBERS, ids=IDS)
def test_no_column_absorbs_nothing(absorber: Any) -> None:
    assert np.all(np.asarray(transmission(absorber, 0.0)) == 1.0)


@pytest.mark.parametrize("absorber", ABSORBERS, ids=IDS)
def test_more_column_absorbs_more(absorber: Any) -> None:
    factors = np.asarray([transmission(absorber, c) for c in (0.0, 0.01, 0.1, 1.0, 10.0, 1e6)])
    assert np.all(np.diff(factors, axis=0) <= 0.0)
    assert np.all((factors >= 0.0) & (factors <= 1.0))


@pytest.mark.parametrize("absorber", ABSORBERS, ids=IDS)
def test_softer_light_is_absorbed_more_between_edges(absorber: Any) -> None:
    edges = np.geomspace(9.0, 400.0, 60)  # above the edge of nickel
    assert np.all(np.diff(np.asarray(transmission(absorber, 1.0, edges * 1.2))) > 0.0)


@pytest.mark.parametrize("absorber", ABSORBERS, ids=IDS)
def test_gradient_matches_finite_differences(absorber: Any) -> None:
    rng = np.random.default_rng(3)
    weights = jnp.asarray(rng.uniform(0.5, 1.5, EDGES.size - 1))

    @jax.jit
    def total(column: jax.Array) -> jax.Array:
        return jnp.sum(weights * transmission(absorber, column))

    slope = jax.jit(jax.grad(total))
    for column in rng.uniform(0.01, 10.0, 20):
        step = 1e-5 * column
        expected = (total(column + step) - total(column - step)) / (2 * step)
        assert float(slope(column)) == pytest.approx(float(expected), rel=1e-6)
    for column in (0.0, 1e6):
        assert np.isfinite(slope(column))
    assert float(slope(0.0)) < 0.0


def test_gradient_in_redshift_matches_finite_differences() -> None:
    """Edges and resonances included: the mean over a bin is continuous in the redshift."""
    absorber = ZTBabs(0.3, 0.2)

    @jax.jit
    def total(z: jax.Array) -> jax.Array:
        moved = eqx.tree_at(lambda a: a.Redshift, absorber, z)
        return jnp.sum(moved.evaluate(jnp.asarray(EDGES)) * jnp.asarray(EDGES[:-1]))

    for z in np.random.default_rng(4).uniform(0.0, 2.0, 20):
        expected = (total(z + 1e-7) - total(z - 1e-7)) / 2e-7
        assert float(jax.grad(total)(z)) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("absorber", ABSORBERS, ids=IDS)
def test_batches(absorber: Any) -> None:
    columns = jnp.asarray([0.0, 0.1, 3.0])
    batch = jax.vmap(lambda c: transmission(absorber, c))(columns)
    np.testing.assert_allclose(batch, [transmission(absorber, c) for c in columns], rtol=1e-12)


def test_interpolation_does_not_depend_on_the_column() -> None:
    """Under vmap over columns the cross-section is found once: nothing but the exponential has a batch axis."""
    absorber = TBabs(0.3)
    jaxpr = jax.make_jaxpr(jax.vmap(lambda c: transmission(absorber, c)))(jnp.ones(7))
    batched = {str(eqn.primitive) for eqn in jaxpr.eqns if any(7 in getattr(v.aval, "shape", ()) for v in eqn.outvars)}
    assert batched <= {"exp", "mul", "neg", "broadcast_in_dim", "reshape"}


def test_bins_may_be_split() -> None:
    """The mean logarithm of two halves is that of the whole, whatever edge lies inside."""
    section = TBabs(0.3).cross_section
    coarse = np.geomspace(0.3, 9.0, 21)
    fine = np.geomspace(0.3, 9.0, 41)
    halves = np.log(np.asarray(section.mean(jnp.asarray(fine)))).reshape(-1, 2)
    np.testing.assert_allclose(np.log(np.asarray(section.mean(jnp.asarray(coarse)))), halves.mean(axis=1), atol=1e-9)


def test_one_executable_serves_all_tables() -> None:
    """Tables are traced arguments, names annotations: the tree structure does not tell tables apart."""
    structures = {
        jax.tree.structure(PHabs(0.3, abundances=a, cross_sections=x))
        for a in ("wilm", "angr")
        for x in ("vern", "bcmc")
    }
    assert len(structures) == 1
    shapes = {tuple(np.shape(leaf) for leaf in jax.tree.leaves(TBabs(0.3, abundances=a))) for a in abundances.SOURCES}
    assert len(shapes) == 1


def test_default_priors_and_names() -> None:
    assert TBabs().free_parameters == ("tbabs.nH",)
    assert ZTBabs().free_parameters == ("ztbabs.nH",)
    assert tuple(ZTBabs().parameters) == ("ztbabs.nH", "ztbabs.Redshift")
    assert PHabs(nH=sf.Uniform(0, 1)).free_parameters == ("phabs.nH",)
    assert Wabs().with_values({"wabs.nH": 0.5}).parameters == {"wabs.nH": 0.5}
    assert TBabs(abundances="angr").with_values({"tbabs.nH": 0.5}).abundances.value == "angr"


@pytest.mark.parametrize("absorber", ABSORBERS, ids=IDS)
def test_shows_its_column(absorber: Any) -> None:
    assert f"{absorber.name}.nH" in str(absorber) and "1e22 cm-2" in str(absorber)


def test_unknown_tables_are_refused() -> None:
    with pytest.raises(SkyfoldError, match="angr, aspl"):
        TBabs(abundances="solar")
    with pytest.raises(SkyfoldError, match="vern, bcmc, obcm"):
        PHabs(cross_sections="verner")


def test_abundance_tables() -> None:
    assert len(abundances.elements()) == 30
    for name in abundances.SOURCES:
        table = abundances.abundances(name)
        assert table.shape == (30,) and table[0] == 1.0 and np.all(table >= 0.0)
    assert abundances.abundances("angr")[25] == 4.68e-5
    assert abundances.abundances("wilm")[7] == 4.90e-4


def test_ranges_beyond_the_table_stay_finite() -> None:
    edges = np.geomspace(1e-5, 1e5, 200)
    for absorber in ABSORBERS:
        factor = np.asarray(transmission(absorber, 1.0, edges))
        assert np.all(np.isfinite(factor)) and factor[-1] > 1 - 1e-9 and factor[0] > 1 - 1e-6


def test_every_abundance_table_of_xspec_is_there() -> None:
    assert abundances.abundances("felc")[25] == 1.26e-4 and abundances.abundances("felc")[7] == 7.76e-4
    assert abundances.abundances("lpgp")[7] == 5.37e-4 and abundances.abundances("lpgs")[1] == 9.69e-2
    np.testing.assert_array_equal(abundances.abundances("lgpp"), abundances.abundances("lpgp"))
