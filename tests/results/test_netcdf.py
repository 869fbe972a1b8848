"""netCDF: a result saved and loaded again, by skyfold and by ArviZ."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from toy_results import TRUTH, chains, source, toy_spectrum, weighted
from toys import Greybody, direct, photometry

import skyfold as sf


@pytest.fixture(scope="module")
def counts() -> sf.Result:
    posterior = sf.Posterior((source(), toy_spectrum()))
    return sf.Result(posterior, weighted(posterior, TRUTH))


@pytest.fixture(scope="module")
def vector() -> sf.Result:
    posterior = direct([1.0, -2.0], [0.5, 1.5], sf.Normal(np.zeros(2), np.ones(2)))
    return sf.Result(posterior, chains(posterior))


@pytest.mark.parametrize("which", ["counts", "vector"])
def test_a_file_keeps_everything(which, request, tmp_path: Path) -> None:
    result = request.getfixturevalue(which)
    loaded = sf.Result.load(result.save(tmp_path / "fit.nc"))
    assert loaded.to_dict() == result.to_dict()
    assert str(loaded) == str(result)
    assert loaded.description == result.description
    for name, values in result.samples.items():
        np.testing.assert_array_equal(loaded.samples[name], values)
    for field in fields(sf.Draws):
        mine, theirs = getattr(result.draws, field.name), getattr(loaded.draws, field.name)
        if isinstance(mine, np.ndarray):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(theirs, mine)
        elif field.name == "diagnostics":
            assert theirs["khat"] == mine["khat"]
            np.testing.assert_array_equal(theirs["scales"], mine["scales"])
        else:
            assert theirs == mine
    np.testing.assert_array_equal(loaded.weights, result.weights)
    # a second passage changes nothing
    assert sf.Result.load(loaded.save(tmp_path / "again.nc")).to_dict() == result.to_dict()


def test_arviz_reads_the_file(counts, vector, tmp_path: Path) -> None:
    az = pytest.importorskip("arviz")
    data = az.from_netcdf(vector.save(tmp_path / "vector.nc"))
    assert data.posterior["vector.x"].dims == ("chain", "draw", "vector.x_dim_0")
    assert data.posterior["vector.x"].shape == (4, 400, 2)
    np.testing.assert_array_equal(data.posterior["vector.x"].values, vector.samples["vector.x"])
    np.testing.assert_array_equal(data.observed_data["direct"].values, [1.0, -2.0])
    summary = az.summary(data)
    assert summary.loc["vector.x[0]", "mean"] == pytest.approx(vector.marginals[0].mean, abs=6e-4)
    lp = vector.posterior.log_density(vector.draws.latent)
    np.testing.assert_allclose(data.sample_stats["lp"].values, lp, rtol=1e-10)

    data = az.from_netcdf(counts.save(tmp_path / "counts.nc"))
    assert data.posterior["slope.norm"].attrs["units"] == "photons/keV/cm^2/s"
    assert dict(data.posterior.sizes) == {"chain": 1, "draw": len(counts.equal_weight_indices())}
    assert set(data.groups()) >= {"posterior", "sample_stats", "observed_data"}


def test_inference_data_without_a_file(vector) -> None:
    pytest.importorskip("arviz")
    data = vector.to_inference_data()
    np.testing.assert_array_equal(data.posterior["vector.x"].values, vector.samples["vector.x"])
    assert data.posterior.sizes["chain"] == 4


def test_what_needs_the_model_says_so(counts, tmp_path: Path) -> None:
    loaded = sf.Result.load(counts.save(tmp_path / "fit.nc"))
    with pytest.raises(sf.SkyfoldError, match=r"Result.load\(path, posterior="):
        loaded.flux(2, 10)
    whole = sf.Result.load(tmp_path / "fit.nc", posterior=counts.posterior)
    np.testing.assert_array_equal(whole.flux(2, 10).values, counts.flux(2, 10).values)


def test_another_posterior_is_refused(counts, tmp_path: Path) -> None:
    path = counts.save(tmp_path / "fit.nc")
    with pytest.raises(sf.SkyfoldError, match="another posterior, with 160 data"):
        sf.Result.load(path, posterior=sf.Posterior((Greybody(), photometry())))


def test_files_that_are_no_results(tmp_path: Path, counts) -> None:
    with pytest.raises(sf.SkyfoldError, match="no such file"):
        sf.Result.load(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("not netCDF")
    with pytest.raises(sf.SkyfoldError, match="not a complete netCDF file"):
        sf.Result.load(tmp_path / "text.nc")
    whole = counts.save(tmp_path / "whole.nc").read_bytes()
    (tmp_path / "half.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(sf.SkyfoldError):
        sf.Result.load(tmp_path / "half.nc")
    import netCDF4

    netCDF4.Dataset(tmp_path / "other.nc", "w").close()
    with pytest.raises(sf.SkyfoldError, match="groups 'skyfold' and 'draws'"):
        sf.Result.load(tmp_path / "other.nc")


def test_writing_is_all_or_nothing(counts, tmp_path: Path, monkeypatch) -> None:
    path = counts.save(tmp_path / "fit.nc")
    before = path.read_bytes()
    monkeypatch.setattr("skyfold.results.netcdf._write_draws", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        counts.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["fit.nc"]


def test_long_texts_and_odd_names(tmp_path: Path) -> None:
    posterior = direct([1.0], [0.5], sf.Parameter(sf.Normal(0, 1), name="flux / (1 + z)", unit="erg/s"))
    draws = replace(weighted(posterior, n=300), messages=("long " * 40_000,))
    result = sf.Result(posterior, draws)
    loaded = sf.Result.load(result.save(tmp_path / "fit.nc"))
    assert list(loaded.samples) == ["flux / (1 + z)"] and loaded.to_dict() == result.to_dict()


def test_tables_of_figures_go_along(counts, tmp_path: Path) -> None:
    counts.plot_spectrum(min_significance=5.0)
    path = counts.save(tmp_path / "fit.nc")
    loaded = sf.Result.load(path)
    mine, theirs = counts._table("spectrum", min_significance=5.0), loaded._table("spectrum")
    assert theirs.meta == mine.meta and theirs.units == mine.units
    for name, values in mine.columns.items():
        np.testing.assert_array_equal(theirs[name], values)
    loaded.plot_spectrum()
    with pytest.raises(sf.SkyfoldError, match="posterior="):
        loaded.plot_spectrum(min_significance=9.0)
    with pytest.raises(sf.SkyfoldError, match="posterior="):
        loaded.plot_model()


def test_another_posterior_s_file_is_refused(tmp_path) -> None:
    import numpy as np
    import pytest
    from toys import Greybody, photometry

    import skyfold as sf

    posterior = sf.Posterior((Greybody(), photometry(2)))
    path = tmp_path / "fit.nc"
    posterior.fit("mle").save(path)
    assert np.isfinite(sf.Result.load(path, posterior=posterior).statistic["value"])
    with pytest.raises(sf.SkyfoldError, match="data of 'bands'"):
        sf.Result.load(path, posterior=sf.Posterior((Greybody(), photometry(3))))
    other = photometry(2, offset=0.3)
    with pytest.raises(sf.SkyfoldError, match="another one"):
        sf.Result.load(path, posterior=sf.Posterior((Greybody(), other)))
