"""Fits of catalogues: likelihood with limits, agreement with single fits, honesty, files, resumption."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import lru_cache

import jax
import numpy as np
import pytest
import scipy.stats as st
from scipy.integrate import quad

import skyfold as sf
from skyfold.catalogs.catalog import Catalog
from skyfold.catalogs.engine import expected_at
from skyfold.catalogs.fit import prepare
from skyfold.catalogs.settings import CatalogSettings
from skyfold.errors import SkyfoldError
from skyfold.galaxy import (
    CharlotFall,
    ConstantSFH,
    DelayedTau,
    DoublePowerLaw,
    DoublePowerLawMass,
    PowerLawDust,
    RedshiftTable,
)
from skyfold.galaxy.catalog import Galaxies, fit_catalog
from skyfold.galaxy.catalog_rows import Rows, read_rows
from skyfold.galaxy.filters import Filter
from skyfold.galaxy.galaxy import Galaxy
from skyfold.galaxy.limited_mass import Fluxes, draw_mass, log_marginal, single_posterior
from skyfold.galaxy.synthetic import synthetic_ssp

pytest.importorskip("sedpy")
NAMES = ["sdss_u0", "sdss_g0", "sdss_r0", "sdss_z0", "twomass_J"]
FILTERS = tuple(Filter.load(n) for n in NAMES)
MASS = sf.LogUniform(1e8, 1e13)
SETTINGS = CatalogSettings(library=4096, draws=256, chunk=4)
_value = jax.jit(log_marginal)
_masses = jax.jit(draw_mass)


@lru_cache
def model() -> Galaxy:
    ssp = synthetic_ssp(n_met=3, n_age=21, n_wave=200)
    return Galaxy(
        ssp,
        ConstantSFH(log_mass=0.0, begin=3.0),
        sf.Uniform(-1.5, 0.2),
        PowerLawDust(sf.Uniform(0, 3)),
        redshift=sf.Uniform(0.1, 1.0),
    )


@lru_cache
def table_of_redshifts() -> RedshiftTable:
    return RedshiftTable.of(model(), FILTERS, tolerance=5e-3)


@lru_cache
def catalogue(n=6):
    from astropy.table import Table

    ones = np.ones((1, 5))
    rows = read_rows({f"{x}{e}": [1.0] for x in NAMES for e in ("", "_err")}, FILTERS)
    assert rows.data.shape == ones.shape
    problem = Galaxies.of(rows, model(), FILTERS, mass=MASS, table=table_of_redshifts())
    z = np.random.default_rng(3).standard_normal((n, 3))
    flux = np.asarray(expected_at(problem.target, z)) * 10.0 ** np.linspace(10.0, 11.0, n)[:, None]
    error = 0.07 * flux
    data = flux + error * np.random.default_rng(4).standard_normal(flux.shape)
    data[1, 0] = np.nan
    columns = {"id": [f"g{i}" for i in range(n)]}
    for b, name in enumerate(NAMES):
        columns |= {name: data[:, b], f"{name}_err": error[:, b], f"{name}_limit": np.zeros(n, bool)}
    truth = {k: np.asarray(v) for k, v in problem.template.values(z).items()}
    return Table(columns), truth


@pytest.mark.parametrize("level", [0.5, 0.9, 1.0, 1.1, 2.0])
@pytest.mark.parametrize("prior", [MASS, sf.Uniform(0.0, 1e12), sf.LogUniform(1e9, 1.02e10)], ids=repr)
def test_limits_enter_the_integral_over_the_mass(level, prior):
    flux = np.array([1.0, 2.0, 3.0]) * 1e-9
    data, sigma = 1e10 * flux * np.array([1.05, 0.97, level]), np.array([1.0, 1.0, 1.5])
    fluxes = Fluxes.of(data, sigma, np.array([False, False, True]))

    def density(mass):
        low, high = prior.support()
        p = 1 / (high - low) if isinstance(prior, sf.Uniform) else 1 / mass / np.log(high / low)
        return p * np.exp(
            st.norm.logpdf(data[:2], mass * flux[:2], sigma[:2]).sum()
            + st.norm.logcdf((data[2] - mass * flux[2]) / sigma[2])
        )

    low, high = (float(x) for x in prior.support())
    ends = np.unique(np.clip(np.append(low, 1e10 * np.linspace(0.2, 2.0, 40)), low, min(high, 2e10)))
    exact = sum(quad(density, a, b, epsrel=1e-9)[0] for a, b in zip(ends[:-1], ends[1:], strict=True))
    assert float(_value(prior, fluxes, flux)) == pytest.approx(np.log(exact), abs=2e-4)
    drawn = np.asarray(_masses(prior, fluxes, np.tile(flux, (400, 1)), (np.arange(400) + 0.5) / 400))
    grid = np.linspace(ends[0], ends[-1], 20001)
    p = np.array([density(m) for m in grid])
    cumulative = np.append(0.0, np.cumsum(0.5 * (p[1:] + p[:-1]) * np.diff(grid)))
    assert st.kstest(np.interp(drawn, grid, cumulative / cumulative[-1]), "uniform").pvalue > 0.5


@pytest.mark.parametrize(("error", "noise"), [(1.0, 0.1), (5.0, 1.0)])
@pytest.mark.parametrize("prior", [sf.LogUniform(1e5, 1e13), sf.Uniform(0.0, 1e13)])
def test_masses_obey_limits_that_contradict_the_measured_bands(error, noise, prior):
    data, sigma, limit = np.array([100.0, 50.0]), np.array([error, noise]), np.array([False, True])
    fluxes = Fluxes.of(data, sigma, limit)
    drawn = np.asarray(_masses(prior, fluxes, np.full((200, 2), 1e-9), (np.arange(200) + 0.5) / 200))
    mass = np.linspace(3e10, 8e10, 200_001)
    logs = st.norm.logpdf(100.0, 1e-9 * mass, error) + st.norm.logcdf((50.0 - 1e-9 * mass) / noise)
    logs -= np.log(mass) if isinstance(prior, sf.LogUniform) else 0.0
    density = np.exp(logs - logs.max())
    total = np.cumsum(density) / density.sum()
    for share in (0.1, 0.5, 0.9):
        exact = np.interp([share - 0.01, share + 0.01], total, mass)
        assert exact[0] < np.quantile(drawn, share) < exact[1]


def test_fits_agree_with_single_ones_and_go_on_after_a_stop(tmp_path, monkeypatch):
    table, truth = catalogue()
    common = {"mass": MASS, "settings": SETTINGS, "redshift_table": table_of_redshifts(), "limit": "{}_limit"}
    found = fit_catalog(table, model(), NAMES, folder=tmp_path, workers=1, progress=False, **common)
    assert found.results["passed"].all() and list(found.names)[-1] == "log_mass"
    own = found.table
    for name, values in truth.items():
        pull = (own[f"{name}_mean"] - values) / own[f"{name}_sd"]
        assert np.all(np.abs(pull) < 4.5)
    # the first galaxy by itself, by another method
    rows = read_rows(table, FILTERS)
    alone = single_posterior(model(), FILTERS, MASS, table_of_redshifts(), rows.part([1]))
    other = alone.fit("auto", seed=1, progress=False)
    for name in alone.names:
        a, b = other.equal_weight[name].ravel(), found.results
        where = found.names.index(name)
        assert abs(a.mean() - b["mean"][1, where]) < 0.15 * a.std()
        assert abs(b["sd"][1, where] / a.std() - 1) < 0.15
    assert found.results["log_evidence"][1] == pytest.approx(other.draws.log_evidence, abs=0.15)
    # one chunk is lost, the other damaged: both are made again, and the same
    chunks = sorted(tmp_path.glob("chunk_*.npz"))
    assert len(chunks) == 2 and (tmp_path / "catalog.ecsv").is_file()
    chunks[0].unlink()
    chunks[1].write_bytes(chunks[1].read_bytes()[:100])
    again = fit_catalog(table, model(), NAMES, folder=tmp_path, workers=2, progress=False, **common)
    np.testing.assert_array_equal(again.results["draws"], found.results["draws"])
    # another catalogue in the same folder is not taken for this one
    table = table.copy()
    table[NAMES[0]][0] *= 1.5
    third = fit_catalog(table, model(), NAMES, folder=tmp_path, workers=1, progress=False, **common)
    assert np.any(third.results["mean"][0] != found.results["mean"][0])
    np.testing.assert_array_equal(third.results["mean"][4:], found.results["mean"][4:])
    read = Catalog.read(tmp_path / "catalog.nc")
    np.testing.assert_array_equal(read.results["draws"], third.results["draws"])
    assert read.names == third.names and set(read.draws(galaxy="g2")) == set(third.names)
    with pytest.raises(SkyfoldError, match="no galaxy 'g9'"):
        read.draws("g9")
    # chunks are read one at a time, whatever the workers
    load, reading, most = np.load, [], []

    def slow(*args, **kwargs):
        reading.append(1)
        most.append(len(reading))
        time.sleep(0.05)
        reading.pop()
        return load(*args, **kwargs)

    monkeypatch.setattr(np, "load", slow)
    fit_catalog(table, model(), NAMES, folder=tmp_path, workers=2, progress=False, **common)
    assert most == [1, 1]


def test_posteriors_are_neither_narrower_nor_shifted_on_average():
    """Against half a million prior draws weighted by their likelihood, for wide and curved posteriors, in two tries.

    Errors of single fits average out; weights that depend on the proposals' adaptation, or tests that look at the
    likeliest part of the posterior alone, do not.
    """
    ssp = synthetic_ssp(n_met=3, n_age=21, n_wave=200)
    own = Galaxy(
        ssp, DoublePowerLawMass(log_mass=0.0), sf.Uniform(-1.5, 0.2), CharlotFall(), redshift=sf.Uniform(0.1, 1.0)
    )
    table = RedshiftTable.of(own, FILTERS, tolerance=2e-2)
    n, mass = 24, sf.LogUniform(3e9, 1e12)
    ones = np.ones((n, len(FILTERS)))
    problem = Galaxies.of(Rows(np.arange(n), ones, ones, ones < 0), own, FILTERS, mass=mass, table=table)
    rng = np.random.default_rng(5)
    z = rng.standard_normal((n, problem.template.ndim))
    flux = np.asarray(expected_at(problem.target, np.tile(z, (2, 1))))[:n] * 10.0 ** rng.uniform(9.5, 12.0, (n, 1))
    error = np.hypot(300.0, 0.05 * flux)
    data = flux + error * rng.standard_normal(flux.shape)
    rows = Rows(np.arange(n), data, error, np.zeros(data.shape, bool))
    work = prepare(replace(problem, rows=rows), CatalogSettings(chunk=n), 0)
    first, former = work._explored(np.arange(n), n, 0, None)
    second, _ = work._explored(np.arange(n), n, 1, former)
    many = rng.standard_normal((2**19, problem.template.ndim))
    fluxes = np.asarray(expected_at(problem.target, many))
    marginal = jax.jit(lambda f, x: jax.vmap(lambda one: log_marginal(mass, f, one))(x))
    values = np.concatenate(
        [np.asarray(v).reshape(len(many), -1) for v in problem.template.values(many).values()], axis=1
    )
    offs: dict[int, list[np.ndarray]] = {0: [], 1: []}
    ratios: dict[int, list[np.ndarray]] = {0: [], 1: []}
    for i in range(n):
        logs = np.asarray(marginal(Fluxes.of(data[i], error[i], rows.limit[i]), fluxes))
        weights = np.exp(logs - logs.max())
        weights /= weights.sum()
        if 1.0 / np.sum(weights**2) < 1000:
            continue
        mean = weights @ values
        sd = np.sqrt(weights @ (values - mean) ** 2)
        for attempt, found in enumerate((first, second)):
            if found["passed"][i]:
                offs[attempt].append((found["mean"][i, :-1] - mean) / sd)
                ratios[attempt].append(found["sd"][i, :-1] / sd)
    for attempt in (0, 1):
        assert len(offs[attempt]) >= n // 2
        assert np.max(np.abs(np.mean(offs[attempt], axis=0))) < 0.035
        assert abs(np.mean(ratios[attempt]) - 1.0) < 0.008
    assert np.mean(second["effective"]) > 1.25 * np.mean(first["effective"])


@pytest.mark.parametrize(
    ("history", "complaint"),
    [
        (DelayedTau(), "free in the star-formation history as well"),
        (DelayedTau(log_mass=10.0), "forms 1e\\+10 Msun"),
        (DoublePowerLaw(log_peak_sfr=0.0), "normalised by the mass"),
    ],
)
def test_the_mass_of_a_catalogues_model_is_one(history, complaint):
    own = Galaxy(synthetic_ssp(n_met=3, n_age=21, n_wave=200), history, 0.0, redshift=0.1)
    with pytest.raises(SkyfoldError, match=complaint):
        fit_catalog(catalogue()[0], own, NAMES, progress=False)


def test_bad_tables_are_refused():
    good = {f"{x}{e}": [1.0, 2.0] for x in NAMES for e in ("", "_err")}
    with pytest.raises(SkyfoldError, match="no column 'sdss_u0_flux'"):
        read_rows(good, FILTERS, flux="{}_flux")
    with pytest.raises(SkyfoldError, match="row 0: the error 'sdss_g0_err' is -1"):
        read_rows(good | {"sdss_g0_err": [-1.0, 0.0]}, FILTERS)
    with pytest.raises(SkyfoldError, match="row 0: it has no measured band"):
        read_rows(good | {x: [np.nan, np.nan] for x in NAMES}, FILTERS)
    with pytest.raises(SkyfoldError, match="has no rows"):
        read_rows({x: [] for x in good}, FILTERS)
    rows = read_rows(good, FILTERS, unit="uJy", floor=0.5)
    np.testing.assert_allclose(rows.data[1], 2e3)
    np.testing.assert_allclose(rows.sigma[1], np.hypot(2e3, 1e3))
