"""The engine with problems that are nobody's: counts with a gamma posterior, normal data, two modes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
import pytest
import scipy.stats as st
from toys import Direct, Identity

import skyfold as sf
from skyfold.catalogs.catalog import Catalog
from skyfold.catalogs.fit import fit_objects
from skyfold.catalogs.judge import judge
from skyfold.catalogs.problem import Target
from skyfold.catalogs.settings import CatalogSettings
from skyfold.compiled.annotation import Annotation
from skyfold.errors import SkyfoldError, SkyfoldWarning
from skyfold.inference.running.progress import Progress
from skyfold.likelihoods.gaussian import Gaussian
from skyfold.likelihoods.poisson import Poisson

SETTINGS = CatalogSettings(library=4096, starts=8, adaptation=256, draws=512, chunk=4, kept=1000)


@dataclass(frozen=True)
class Sources:
    """Counts of sources in two bands and their colour, two parameters each: all that a domain writes."""

    kind: ClassVar[str] = "source"
    columns: ClassVar[tuple[tuple[str, str], ...]] = ()
    statistic: ClassVar[str] = "deviance"
    counts: np.ndarray
    colour: np.ndarray
    prior: Any = sf.Gamma(2.0, 0.1)

    @property
    def ids(self) -> np.ndarray:
        return np.array([f"s{i}" for i in range(len(self.counts))])

    def _pairs(self, counts: np.ndarray, colour: float) -> sf.Posterior:
        rate, slope = Identity(x=self.prior), Identity(x=sf.Normal(0.0, 1.0))
        return sf.Posterior(
            (rate, Direct(Poisson(counts), Annotation("counts"))),
            (slope, Direct(Gaussian([colour], [0.5]), Annotation("colour"))),
        )

    @cached_property
    def template(self) -> sf.Posterior:
        return self._pairs(np.ones(1), 0.0)

    @cached_property
    def target(self) -> Target:
        return Target(self.template.kernel)

    def data(self, numbers: np.ndarray) -> Any:
        each = [[o.likelihood for _, o in self.posterior(int(i)).kernel.pairs] for i in numbers]
        return jax.tree.map(lambda *x: np.stack(x), *map(tuple, each))

    def guide(self, numbers: np.ndarray, expected: np.ndarray) -> np.ndarray:
        rate, slope = expected.T
        counts = st.poisson.logpmf(self.counts[numbers], rate)
        return counts - 0.5 * ((self.colour[numbers, None] - slope) / 0.5) ** 2

    def posterior(self, number: int) -> sf.Posterior:
        return self._pairs(self.counts[number], float(self.colour[number]))


def sources(n: int = 6) -> Sources:
    rng = np.random.default_rng(1)
    return Sources(rng.poisson(rng.gamma(2.0, 10.0, n))[:, None].astype(float), rng.normal(0.0, 1.1, n))


def fitted(problem: Any, settings: CatalogSettings = SETTINGS, **more: Any) -> Catalog:
    return fit_objects(problem, settings, progress=Progress(False), workers=1, **more)


def test_another_problem_goes_through_the_same_engine(tmp_path):
    problem = sources()
    found = fitted(problem, folder=tmp_path)
    assert found.results["passed"].all() and repr(found).startswith("Catalogue of 6, 6 converged")
    assert found.names == problem.template.names
    # a gamma prior and counts: a gamma posterior; a normal prior and datum: a normal one
    counts = problem.counts[:, 0]
    exact = [st.gamma(2.0 + counts, scale=1 / 1.1), st.norm(problem.colour * 0.8, np.sqrt(0.2))]
    for i, law in enumerate(exact):
        # a thousand draws' mean and spread scatter by 0.03 and 0.02 standard deviations, those of six objects less
        off = (found.results["mean"][:, i] - law.mean()) / law.std()
        assert np.all(np.abs(off) < 0.12) and abs(np.mean(off)) < 0.05
        assert np.all(np.abs(found.results["sd"][:, i] / law.std() - 1) < 0.1)
    evidence = st.nbinom.logpmf(counts, 2.0, 0.1 / 1.1) + st.norm.logpdf(problem.colour, 0.0, np.sqrt(1.25))
    np.testing.assert_allclose(found.results["log_evidence"], evidence, atol=0.06)
    assert np.all(found.table["deviance"] >= 0) and np.all(found.table["deviance"] < 0.1)
    # files: words of the problem's own, and what is read is what was written
    read = Catalog.read(tmp_path / "catalog.nc")
    assert (read.kind, read.names) == ("source", found.names)
    np.testing.assert_array_equal(read.draws("s3")[found.names[0]], found.draws("s3")[found.names[0]])
    with pytest.raises(SkyfoldError, match="no source 's9'"):
        read.draws("s9")
    assert sorted(p.name for p in tmp_path.glob("chunk_*.npz")) == ["chunk_00000000.npz", "chunk_00000004.npz"]
    again = fitted(problem, folder=tmp_path)
    np.testing.assert_array_equal(again.results["seconds"], found.results["seconds"])


def test_what_fails_in_the_batch_is_fitted_alone():
    impossible = replace(SETTINGS, effective=10**9, tries=2)
    found = fitted(sources(1), impossible)
    assert found.results["stage"][0] == 2
    law = st.gamma(2.0 + sources(1).counts[0, 0], scale=1 / 1.1)
    assert abs(found.results["mean"][0, 0] - law.mean()) < 0.12 * law.std()


@dataclass(frozen=True)
class Numbered(Sources):
    """Sources with whole numbers as names, of which one is known to be bad and one breaks every method."""

    names: tuple[int, ...] = (10, 20, 30, 40, 50, 60)

    @property
    def ids(self) -> np.ndarray:
        return np.array(self.names)

    @property
    def problems(self) -> np.ndarray:
        return np.array(["", "", "row 2: no counts", "", "", ""])

    def posterior(self, number: int) -> sf.Posterior:
        if number == 4:
            raise ValueError("Probabilities contain NaN")
        return super().posterior(number)

    def data(self, numbers: np.ndarray) -> Any:
        counts, colour = super()._pairs(np.ones(1), 0.0).kernel.pairs
        bad = np.asarray(numbers) == 4
        own = [counts[1].likelihood, colour[1].likelihood]
        rates = np.where(bad[:, None], np.nan, self.counts[numbers])
        stacked = [jax.tree.map(lambda x: np.stack([x] * len(numbers)), o) for o in own]
        return (
            eqx.tree_at(lambda o: o.data, stacked[0], rates),
            eqx.tree_at(lambda o: o.data, stacked[1], self.colour[numbers, None]),
        )


def numbered(**changes: Any) -> Numbered:
    plain = sources()
    return Numbered(plain.counts, plain.colour, **changes)


def test_a_bad_object_is_named_and_the_others_are_fitted_as_without_it(tmp_path):
    few = replace(SETTINGS, tries=1)
    with pytest.warns(SkyfoldWarning, match="2 of 6 were not fitted: row 2: no counts; number 4: .*contain NaN"):
        found = fitted(numbered(), few, folder=tmp_path)
    good = np.array([0, 1, 3, 5])
    np.testing.assert_allclose(found.results["mean"][good], fitted(sources(), few).results["mean"][good])
    table = found.table
    assert table["stage"][2] == table["stage"][4] == "not fitted" and not table["converged"][[2, 4]].any()
    assert np.isnan(found.results["draws"][[2, 4]]).all() and np.isnan(table["deviance"][2])
    assert list(table["problem"][good]) == [""] * 4 and "ValueError" in table["problem"][4]
    assert repr(found).endswith("2 not fitted)")
    # whole numbers stay whole numbers in files, and a name may be given by the kind of the objects
    read = Catalog.read(tmp_path / "catalog.nc")
    assert read.ids.tolist() == [10, 20, 30, 40, 50, 60] and list(read.results["problem"]) == list(table["problem"])
    for draws in (read.draws(20), read.draws(source=20), read.draws(which=20), read.draws("20")):
        np.testing.assert_array_equal(draws[found.names[0]], found.draws(20)[found.names[0]])
    with pytest.raises(TypeError, match=r"draws\(source=...\)"):
        read.draws(galaxy=20)


def test_names_that_stand_for_two_objects_are_refused():
    with pytest.raises(SkyfoldError, match="sources number 1, 3 have the same name 20"):
        fitted(numbered(names=(10, 20, 30, 20, 50, 60)))
    ids = np.array(["a", "a"])
    twice = Catalog(ids, ("x",), ("",), {"draws": np.zeros((2, 3, 1))}, "source")
    with pytest.raises(SkyfoldError, match="names several sources here"):
        twice.draws("a")


def test_chunks_that_cannot_be_used_are_made_anew_with_a_word(tmp_path):
    problem = sources(2)
    found = fitted(problem, folder=tmp_path)
    (path,) = tmp_path.glob("chunk_*.npz")
    whole = path.read_bytes()
    with np.load(path) as file:
        former = {name: file[name] for name in file.files if name != "version"}
    later = bytearray(whole)
    later[whole.index(b"PK\x01\x02") + 6] = 255  # a version of zip that nobody has
    for damaged in (b"", whole[: len(whole) // 2], bytes(later), b"text" * 99):
        path.write_bytes(damaged)
        with pytest.warns(SkyfoldWarning, match=r"cannot be read \(chunk_00000000\.npz: .*made anew"):
            again = fitted(problem, folder=tmp_path)
        np.testing.assert_array_equal(again.results["draws"], found.results["draws"])
    np.savez(path, **{**former, "mark": np.array("another")})
    with pytest.warns(SkyfoldWarning, match="chunks of another version of skyfold are made anew"):
        fitted(problem, folder=tmp_path)
    with pytest.warns(SkyfoldWarning, match="chunks of other data, model, settings or seed are made anew"):
        fitted(problem, folder=tmp_path, seed=1)


def test_problems_that_the_engine_cannot_take_are_refused():
    with pytest.raises(SkyfoldError, match="no free parameter"):
        fitted(Fixed(np.ones((1, 1)), np.zeros(1)))
    import numpyro.distributions as dist

    with pytest.raises(SkyfoldError, match="no exact transport"):
        fitted(replace(sources(1), prior=dist.Weibull(2.0, 1.5)))


class Fixed(Sources):
    """Nothing is free."""

    @cached_property
    def template(self) -> sf.Posterior:
        return sf.Posterior((Identity(x=1.0), Direct(Poisson(np.ones(1)), Annotation("counts"))))


def test_halves_that_found_different_modes_do_not_pass():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((2, 1000, 3))
    good = [(np.array([0.0]), np.array([0.0]))] * 2
    weights = 0.1 * rng.standard_normal((2, 1000))
    assert judge(z, weights, good)[0].passes(CatalogSettings())
    away = z + np.array([0.0, 1.0])[:, None, None]
    assert not judge(away, weights, good)[0].passes(CatalogSettings())
    lighter = weights - np.array([0.0, 1.0])[:, None]
    assert not judge(z, lighter, good)[0].passes(CatalogSettings())
    # the library's posterior lies where the proposals have next to nothing
    missed = [(np.array([0.0]), np.array([-9.0]))] * 2
    assert not judge(z, weights, missed)[0].passes(CatalogSettings())
    heavy = rng.standard_cauchy((2, 1000)) * 3
    assert not judge(z, heavy, good)[0].passes(CatalogSettings())
    assert not judge(z, np.full((2, 1000), -np.inf), good)[0].passes(CatalogSettings())
